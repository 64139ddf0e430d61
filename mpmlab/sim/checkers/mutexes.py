"""Checker: no mutex is owned by the dead.

A shared one is freed with its owner by the system; one within a process stays locked for ever if
the thread that holds it has returned.
"""

from __future__ import annotations

from mpmlab.sim.process import SimProcess
from mpmlab.sim.world import World


def breaches(world: World) -> list[str]:
    """At any time."""
    found = []
    for mutex in sorted(world.mutexes, key=repr):
        owner = mutex.owner
        if owner is None:
            continue
        if isinstance(owner, SimProcess):
            if not owner.alive:
                found.append(f"{mutex!r} is owned by process {owner.pid}, which is dead")
        elif owner.dead and owner.process.alive:
            found.append(f"{mutex!r} is owned by {owner.describe()}, which has ended")
    return sorted(found)
