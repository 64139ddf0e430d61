"""A module that is never done importing: what a server that hangs at its start looks like."""

import threading

threading.Event().wait()
