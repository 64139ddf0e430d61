"""Checker: no machine has computed more than its cores can, and CPU is conserved."""

from __future__ import annotations

from mpmlab.sim.world import World

#: Relative rounding of a long sum.
_ROUNDING = 1e-9


def breaches(world: World) -> list[str]:
    """At any time."""
    found = []
    for name, machine in world.machines.items():
        used_s = machine.cpu.used_s()
        most_s = machine.platform.cores * world.now
        if not 0.0 <= used_s <= most_s * (1 + _ROUNDING):
            found.append(f"the {name} has computed {used_s} s in {most_s} core seconds")
    return found
