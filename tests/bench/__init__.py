"""Tests of the harness, of the tables and pictures, and of whole runs of `mpmlab bench`."""
