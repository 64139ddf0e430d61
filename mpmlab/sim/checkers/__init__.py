"""Checkers: what must hold in every run, one per file, each knowing nothing of the MPM.

A checker looks and reports; it changes nothing. `breaches(...)` lists what is wrong, in sentences.
"""
