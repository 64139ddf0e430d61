"""How several load processes share a plan: which sessions, and how many of a pool's connections.

Arithmetic only; carrying them out is client.py, and putting the records together recorder.merged.
"""

from __future__ import annotations

import numpy as np

from mpmlab.workload.plan import Plan


def sessions_of(plan: Plan, part: tuple[int, int]) -> list[int]:
    """The sessions of process i of n: every n-th. Where a group's pool has fewer connections than
    there are processes, as many of these share the group's sessions."""
    process, processes = part
    turns = [min(group.client.pool or processes, processes) for group in plan.groups]
    turn = np.array(turns)[plan.session_group]
    mine: list[int] = np.flatnonzero(np.arange(plan.sessions) % turn == process).tolist()
    return mine


def pool_share(pool: int, part: tuple[int, int]) -> int:
    """How many of a pool's connections are process i's of n."""
    process, processes = part
    return pool // processes + (process < pool % processes)
