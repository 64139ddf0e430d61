"""The real world (floor 2): the kernel interface performed on this machine's operating system."""
