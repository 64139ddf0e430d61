"""How fast this machine is at this moment: a fixed loop, timed.

Nothing else lives here. Virtual machines change speed by almost 2 within seconds, CPU time with
them. So a run carries readings from before, during and after it: they place it in a fast or slow
state, let a simulation be given the costs of that state, and tell when a run was disturbed.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

#: Turns of the loop that a reading stands for: about 0.5 ms. The cost probe of real/ uses the same,
#: so that its profile can be compared with a run.
TURNS: Final = 20_000
_SLICES: Final = 15
#: A reading during a run is a fifth of the loop: 0.1 ms on the server's core.
_QUICK_TURNS: Final = TURNS // 5
#: Beyond this spread the run is worth repeating: readings of a quiet machine differ by 5 %.
DISTURBED_RATIO: Final = 1.25


@dataclass(frozen=True)
class Speed:
    """CPU microseconds of the fixed loop on the server's core: before the run (median of some),
    during it (mean, and the tenth and ninetieth percentile), and after it."""

    before_us: float
    mean_us: float
    fast_us: float
    slow_us: float
    after_us: float

    @property
    def ratio(self) -> float:
        """Slow against fast state during the run: 1 is a steady machine. What it was before and
        after does not count: starting and stopping processes is not the run."""
        return self.slow_us / self.fast_us

    @property
    def disturbed(self) -> bool:
        """True if the machine's speed changed so much that the run is worth repeating."""
        return self.ratio > DISTURBED_RATIO


def summed_up(before_us: float, during_us: Sequence[float], after_us: float) -> Speed:
    """A Speed from its readings; without any from during the run, the two others stand in."""
    during = sorted(during_us) or sorted((before_us, after_us))
    last = len(during) - 1
    return Speed(
        before_us=before_us,
        mean_us=statistics.fmean(during),
        fast_us=during[round(0.1 * last)],
        slow_us=during[round(0.9 * last)],
        after_us=after_us,
    )


def probe_us(core: int | None = None) -> float:
    """Median reading of 15 on `core`, or wherever we are. Takes about 10 ms."""
    with _on_core(core):
        return statistics.median(_loop_us(TURNS) for _ in range(_SLICES))


def glance_us(core: int | None = None) -> float:
    """One short reading, so cheap that a run can bear it."""
    with _on_core(core):
        _loop_us(_QUICK_TURNS)  # a core that rested is cold, which is not the machine's speed
        return _loop_us(_QUICK_TURNS) * TURNS / _QUICK_TURNS


def _loop_us(turns: int) -> float:
    began = time.thread_time_ns()
    total = 0
    for i in range(turns):
        total += i & 7
    return (time.thread_time_ns() - began) / 1000


@contextlib.contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    """Run inside on that core; afterwards this thread may run where it could before."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
