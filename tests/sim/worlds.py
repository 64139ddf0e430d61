"""Small worlds for the tests of the simulation. Helpers only; the tests state the properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpmlab.core.platform import NEARLY_FREE, Costs, Platform
from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.sim.listener import SimListener
from mpmlab.sim.world import World

#: No primitive costs anything that a test could see.
FREE = Platform(name="free", costs=NEARLY_FREE, cores=1000)
#: As FREE, to the last digit: for times that are compared exactly.
NOTHING = Costs(**dict.fromkeys(Costs.__dataclass_fields__, 0.0))


def server_and_client(
    server: Callable[..., Steps[Any]],
    client: Callable[..., Steps[Any]],
    platform: Platform = FREE,
    backlog: int = 100,
) -> tuple[World, SimListener, int]:
    """A world with a process server(k, listener) and a process client(k, listener), which is run to
    the client's end. -> world, listener, the server's pid"""
    world = World(platform)
    listener = world.listener(backlog)
    pid = world.spawn(server, listener)
    world.run(until_exit=world.spawn(client, listener, machine="client"))
    return world, listener, pid


def sleeps(k: Kernel, seconds: float) -> Steps[int]:
    """A process that does nothing for that long."""
    yield k.sleep(seconds)
    return 0
