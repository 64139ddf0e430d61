"""Machine: a platform with its processors, costs and listeners; server or client.

No processes' behaviour lives here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpmlab.core.platform import Platform
from mpmlab.sim.costs import US, CostTable
from mpmlab.sim.cpu import Cpu, Warmth
from mpmlab.sim.gil import Gil

if TYPE_CHECKING:
    from mpmlab.sim.listener import SimListener
    from mpmlab.sim.process import SimProcess
    from mpmlab.sim.world import World


class Machine:
    """One machine of the world. `processes` are those alive, by pid."""

    __slots__ = ("cost", "cpu", "listeners", "name", "platform", "processes", "world")

    def __init__(self, world: World, name: str, platform: Platform) -> None:
        if platform.cores < 1:
            raise ValueError(f"platform {platform.name!r}: cores is {platform.cores}, not >= 1")
        self.world = world
        self.name = name
        self.platform = platform
        self.cost = CostTable(platform)
        stale_s, idle_s = self.cost.stale, self.cost.idle
        warmth = Warmth(stale_s, platform.stale_after_us * US, idle_s, platform.idle_after_us * US)
        self.cpu = Cpu(
            world.clock,
            platform.cores,
            warmth if stale_s or idle_s else None,
            platform.fresh_us * US,
        )
        self.listeners: list[SimListener] = []
        self.processes: dict[int, SimProcess] = {}

    def new_gil(self, process: SimProcess) -> Gil | None:
        """The interpreter lock of a process, where the platform's interpreter has one."""
        if not self.platform.gil:
            return None
        interval_s = self.platform.gil_switch_interval_us * US
        return Gil(self.cpu, process, interval_s, self.cost.thread_switch)

    def thread_count(self) -> int:
        """Threads of all processes."""
        return sum(len(process.threads) for process in self.processes.values())

    def memory_kib(self) -> float:
        """What the platform says that the live processes, threads and connections take."""
        platform = self.platform
        total = 0.0
        for process in self.processes.values():
            root = process.parent is None and process.pid in self.world.roots
            total += platform.parent_memory_kib if root else platform.process_memory_kib
            total += platform.thread_memory_kib * (len(process.threads) - 1)
            total += platform.connection_memory_kib * len(process.conns)
        return total
