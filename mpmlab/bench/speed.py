"""How fast this machine is at this moment: a fixed loop, timed.

Nothing else lives here. Virtual machines change speed by almost 2 within seconds, CPU time with
them, so a run carries the probe's reading from before and after it: when they differ, the numbers
between them are disturbed, and the reader must know.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SLICES: Final = 15
_TURNS: Final = 20_000  # about 1 to 2 ms a slice; a slice is shorter than a scheduler's time slice
#: Beyond this ratio a run is called disturbed: the noise of 15 slices is below 5 %.
DISTURBED_RATIO: Final = 1.15


@dataclass(frozen=True)
class Speed:
    """Microseconds that the fixed loop took (median of the slices) before and after a run."""

    before_us: float
    after_us: float

    @property
    def ratio(self) -> float:
        """after / before: 1 is steady, 1.5 means the machine ended a third slower."""
        return self.after_us / self.before_us

    @property
    def disturbed(self) -> bool:
        """True if the machine's speed changed so much that the run is worth repeating."""
        return not 1 / DISTURBED_RATIO <= self.ratio <= DISTURBED_RATIO


def probe_us(core: int | None = None) -> float:
    """Median CPU microseconds of the fixed loop, on `core` if given, else wherever we are.

    Takes about 25 ms. This thread's affinity is put back."""
    with _on_core(core):
        return statistics.median(_slice_us() for _ in range(_SLICES))


def _slice_us() -> float:
    began = time.thread_time_ns()
    total = 0
    for i in range(_TURNS):
        total += i & 7
    return (time.thread_time_ns() - began) / 1000


@contextlib.contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
