"""Apache httpd itself as an engine, and beside our own engines."""
