"""Who uses the cores: how much of a core's time went to processes that are not ours.

Reading of the system's accounts only (psutil, and CPU clocks); when to read is the engine's affair.
A core's busy time has interrupts and what the hypervisor took in it: whoever had the core, we had
it not. The kernel counts it in ticks (4 ms at 250 Hz), so that a share of a window of some seconds
is good to a per cent or so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Reading:
    """Seconds since the system's start that each core was busy, and was there at all; and the CPU
    time of our processes on them."""

    busy_s: Mapping[int, float]
    total_s: Mapping[int, float]
    ours_s: float


def read_cores(cores: Sequence[int], ours_s: float) -> Reading:
    """A reading now."""
    times = psutil.cpu_times(percpu=True)
    busy, total = {}, {}
    for core in cores:
        if core >= len(times):
            continue  # a machine whose cores are not numbered through
        now = times[core]
        # guest time is part of user time already
        parts = {n: v for n, v in now._asdict().items() if not n.startswith("guest")}
        total[core] = sum(parts.values())
        busy[core] = total[core] - parts["idle"] - parts.get("iowait", 0.0)
    return Reading(busy, total, ours_s)


def foreign_share(first: Reading, last: Reading) -> float | None:
    """Share of these cores' time between two readings that went to others, all cores together, at
    least 0. None if no time passed."""
    total_s = sum(last.total_s[core] - first.total_s[core] for core in first.total_s)
    if total_s <= 0:
        return None
    busy_s = sum(last.busy_s[core] - first.busy_s[core] for core in first.busy_s)
    return max(0.0, busy_s - (last.ours_s - first.ours_s)) / total_s
