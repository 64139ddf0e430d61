"""What a real server used: CPU and memory of its parent and everything below it.

Reading of the system's accounts only (psutil, and CPU clocks); when to read is the engine's affair.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable
from typing import Final

import psutil

#: A reading is torn if a child was reaped in the middle of it; then it is taken again.
_TRIES: Final = 5
#: The clock of a process's CPU time (include/linux/posix-timers.h: (~pid << 3) | which).
_CPUCLOCK_SCHED: Final = 2


def server_cpu_s(parent_pid: int) -> float | None:
    """User and system CPU seconds of the parent, its living children and those it has reaped.
    None if the parent is gone. Of living processes Linux tells it to the nanosecond; elsewhere, and
    of reaped ones, it comes in clock ticks (10 ms) for each process."""
    total_s = None
    for _ in range(_TRIES):
        try:
            parent = psutil.Process(parent_pid)
            before = _reaped_s(parent)
            # Children first: one that is reaped meanwhile shows in the parent's account, where the
            # comparison finds it.
            children_s = sum(_own_s(child) for child in parent.children(recursive=True))
            total_s = _own_s(parent) + before + children_s
            if _reaped_s(parent) == before:
                return total_s
        except psutil.NoSuchProcess:
            return None
    return total_s


def server_pss_kib(pids: Iterable[int]) -> float | None:
    """Proportional set size of all these processes, in KiB: pages that several share are counted
    once. None where the system does not tell or none of them is left."""
    total, found = 0, False
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            pss = getattr(psutil.Process(pid).memory_full_info(), "pss", None)
            if pss is not None:
                total, found = total + pss, True
    return total / 1024 if found else None


def server_threads(pids: Iterable[int]) -> int:
    """How many threads all these processes have together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += psutil.Process(pid).num_threads()
    return total


def _own_s(process: psutil.Process) -> float:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a zombie has no clock any more, but an account
            return time.clock_gettime((~process.pid << 3) | _CPUCLOCK_SCHED)
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # reaped just now: its CPU is in the parent's account
        return 0.0
    return float(times.user + times.system)


def _reaped_s(process: psutil.Process) -> float:
    """CPU of the children that the process has waited for (where the system keeps that account)."""
    times = process.cpu_times()
    return float(getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0))
