"""Apache httpd itself: found, configured, started, asked and stopped. No plan, no load, no results
here (bench/ has those), and nothing of our own MPMs."""
