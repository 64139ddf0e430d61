"""Runs a conformance body in the simulated world: a fresh world, a listener, the body in it.

Nothing is checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpmlab.core.platform import Platform
from mpmlab.kernel.interface import Kernel, Listener, Steps
from mpmlab.sim import World

#: A body that takes longer than this, in simulated seconds, does not end.
LIMIT_S = 120.0

Body = Callable[[Kernel, Listener], Steps[Any]]


def run_body(body: Body, backlog: int = 8) -> Any:
    """What the body returns. Raises what it raises, Deadlock, Livelock, or TimeoutError."""
    world = World(Platform(cores=2))
    listener = world.listener(backlog)
    result: list[Any] = []

    def main(k: Kernel) -> Steps[int]:
        result.append((yield from body(k, listener)))
        return 0

    pid = world.spawn(main, name=body.__name__)
    world.run(until_s=LIMIT_S, until_exit=pid)
    if result:
        return result[0]
    if world.exit_code(pid) is None:
        raise TimeoutError(f"{body.__name__} has not ended after {LIMIT_S} simulated seconds")
    raise RuntimeError(f"{body.__name__} was killed by {world.deaths[pid].signal}")
