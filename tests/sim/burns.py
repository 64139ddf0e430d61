"""Jobs for the tests of the processor: they burn, and note when they are done. Helpers only."""

from __future__ import annotations

from collections.abc import Callable

from mpmlab.sim.clock import Clock, Timer
from mpmlab.sim.cpu import Home


class House:
    """A process, as the processor knows it. `ran_s`: when it last computed."""

    def __init__(self, ran_s: float = 0.0) -> None:
        self.computing = 0
        self.ran_s = ran_s


class Burn:
    """A job that notes when its burst ends, and may do something then. It has a home of its own,
    and is fresh for so long."""

    def __init__(
        self,
        clock: Clock,
        then: Callable[[], object] | None = None,
        home: Home | None = None,
        fresh_s: float = 0.0,
    ) -> None:
        self.clock = clock
        self.burst = 0
        self.finish = 0.0
        self.fresh_s = fresh_s
        self.home: Home = House() if home is None else home
        self.later_s = 0.0
        self.level = 0
        self.left_s = 0.0
        self.asked_s = 0.0
        self.ended: list[float] = []
        self.then = then

    def burst_done(self) -> None:
        """Note the time."""
        self.ended.append(self.clock.now)
        if self.then is not None:
            self.then()


def at(clock: Clock, time_s: float, fn: Callable[[], object]) -> None:
    """Call it then."""
    clock.at(Timer([lambda _event: fn()], None), time_s)
