"""All bodies of the conformance suite, gathered: importing this fills table.BODIES.

What a body is, and its rules: table.py.
"""

from __future__ import annotations

from . import bodies_network, bodies_poll, bodies_process, bodies_sync
from .table import BODIES, Body

__all__ = ["BODIES", "Body", "bodies_network", "bodies_poll", "bodies_process", "bodies_sync"]
