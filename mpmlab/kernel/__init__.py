"""Floor 1: the interface between the MPMs and their world. See interface.py."""
