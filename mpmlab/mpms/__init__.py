"""The Multi-Processing Modules, each written once, as generators over the kernel interface.

Nothing here may import os, socket, threading, time, random or simpy (tests/test_tidy.py holds it):
whatever touches the world goes through the kernel `k`.
"""
