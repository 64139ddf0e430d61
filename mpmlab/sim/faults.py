"""Faults: what a chaos run does to the processes of the server.

They know processes, not MPMs, and draw from a stream of their own, named by the world's seed: the
load of a run is the same with and without them. A fault ends at a given time (safety first, then
liveness: stop injecting, then demand convergence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from mpmlab.kernel.interface import Signal

if TYPE_CHECKING:
    from mpmlab.sim.process import SimProcess
    from mpmlab.sim.world import World

#: How much likelier a process that holds a shared mutex is hit: aimed at where it hurts.
HOLDER_WEIGHT: Final = 10


@dataclass(frozen=True, slots=True)
class Kill:
    """One injected death."""

    time_s: float
    pid: int
    signal: Signal
    held_mutex: bool


class Killer:
    """Kills random children of the server, `per_s` a second on average, until `until_s`.

    Root processes are spared: there is nobody to reap them. `kills` is what it did."""

    def __init__(
        self,
        world: World,
        per_s: float,
        until_s: float,
        signals: Sequence[Signal] = (Signal.KILL, Signal.SEGV),
    ) -> None:
        if per_s <= 0:
            raise ValueError(f"per_s is {per_s}; a rate is above 0")
        self.kills: list[Kill] = []
        self._world = world
        self._per_s = per_s
        self._until_s = until_s
        self._signals = tuple(signals)
        self._random = Random(f"{world.seed}/faults")
        self._next()

    def _next(self) -> None:
        time_s = self._world.now + self._random.expovariate(self._per_s)
        if time_s < self._until_s:
            self._world.at(time_s, self._strike)

    def _strike(self, now: float) -> None:
        victims = self._victims()
        # Drawn even if there is nobody, so that the stream does not depend on it.
        place, choice = self._random.random(), self._random.random()
        if victims:
            weights = [HOLDER_WEIGHT if process.mutexes else 1 for process in victims]
            at = place * sum(weights)
            i = 0
            while at >= weights[i]:
                at -= weights[i]
                i += 1
            victim = victims[i]
            signal = self._signals[int(choice * len(self._signals))]
            self.kills.append(Kill(now, victim.pid, signal, bool(victim.mutexes)))
            self._world.kill(victim.pid, signal)
        self._next()

    def _victims(self) -> list[SimProcess]:
        world = self._world
        server = world.machines["server"]
        return [process for pid, process in server.processes.items() if pid not in world.roots]
