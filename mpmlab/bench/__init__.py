"""The harness (floor 4): runs a plan on an engine, condenses what came of it, keeps it.

The one place besides the tests that sees the real and the simulated world at once. It prints and
draws nothing; that is report/.
"""
