"""Checker: no slot of the scoreboard names a process that is not alive, and none is named twice.

A parent learns of a death a little later: ask once it has had the time.
"""

from __future__ import annotations

from mpmlab.core.scoreboard import Scoreboard
from mpmlab.sim.world import World


def breaches(world: World, board: Scoreboard) -> list[str]:
    """After convergence."""
    found = []
    slots: dict[int, int] = {}
    for slot, pid in enumerate(board.pid):
        if not pid:
            continue
        if pid not in world.processes:
            found.append(f"slot {slot} names process {pid}, which is not alive")
        if pid in slots:
            found.append(f"process {pid} stands in slots {slots[pid]} and {slot}")
        slots[pid] = slot
    return found
