"""The application that the real servers run: burn CPU, wait, answer bytes, or crash.

Nothing of the kernel lives here. In simulation the same Demand holds a simulated core instead.
"""

from __future__ import annotations

import signal
import time
from functools import lru_cache
from itertools import pairwise
from time import thread_time_ns
from typing import Final

from mpmlab.core.demand import Demand

_PATTERN: Final = bytes(range(32, 127)) * 11 + b"\n"
#: Passes of the burning loop between two looks at the clock, some 10 us: a look is a system call
#: (0.3 us), and the application is to burn its time in user mode.
_BURN_PASSES: Final = range(400)
#: From this much before the end on, the clock is looked at all the time.
_BURN_FINE_NS: Final = 40_000


def _cost_of_a_look_ns() -> int:
    looks = [thread_time_ns() for _ in range(50)]
    return min(b - a for a, b in pairwise(looks))


#: The look that starts a burn was half over when it read the clock, and the last one comes half a
#: look late on average: together one look too long, which is some percent of a short burn.
_LOOK_NS: Final = _cost_of_a_look_ns()


@lru_cache(maxsize=4)
def response_body(size: int) -> bytes:
    """A body of that many bytes; the last few sizes are kept."""
    return (_PATTERN * (size // len(_PATTERN) + 1))[:size]


def burn(cpu_us: float) -> None:
    """Use that much CPU time of the calling thread, measured by its own clock: waiting for a core
    or for the interpreter lock does not count."""
    clock = thread_time_ns
    end = clock() + int(cpu_us * 1000) - _LOOK_NS
    while end - clock() > _BURN_FINE_NS:
        for _ in _BURN_PASSES:
            pass
    while clock() < end:
        pass


def answer(demand: Demand) -> bytes:
    """Do what one request asks for, in the calling thread, and return its body."""
    if demand.cpu_us:
        burn(demand.cpu_us)
    if demand.crash:
        signal.raise_signal(signal.SIGSEGV)  # to this thread: nothing runs after it
    if demand.wait_us:
        time.sleep(demand.wait_us / 1e6)
    return response_body(demand.response_bytes)
