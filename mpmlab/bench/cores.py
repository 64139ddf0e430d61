"""Who uses the cores: how much of a core's time went to processes that are not ours.

Reading of the system's accounts only (psutil); when to read is the engine's affair. A core was busy
for what is missing of its idle time: to the hypervisor, to interrupts or to whom else does not
matter, we had it not. Idle time is what Linux measures (tick_get_idle_time, to 10 ms as it is
told); its user and system columns are *sampled* at ticks, 250 a second. Requests at a steady rate
meet the ticks always at the same few points of their course: at 150 requests/s the columns had
twice the time of a core that its processes had, or a thirtieth, by where the run began.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class CoreTimes:
    """Seconds that each core was busy, and was there at all, since times that are the same for all
    readings: two of them have a difference."""

    busy_s: Mapping[int, float]
    total_s: Mapping[int, float]


def read_cores(cores: Iterable[int]) -> CoreTimes:
    """A reading now. Cores that the system does not list (they need not be numbered through) are
    left out."""
    times, now_s = psutil.cpu_times(percpu=True), time.monotonic()
    there = [core for core in cores if core < len(times)]
    rested = {core: times[core].idle + getattr(times[core], "iowait", 0.0) for core in there}
    return CoreTimes({core: now_s - rested[core] for core in there}, dict.fromkeys(there, now_s))


def foreign_share(
    first: CoreTimes, last: CoreTimes, cores: Iterable[int], ours_s: float
) -> float | None:
    """Share of the time of `cores`, all together, between two readings that went to others, if our
    processes used `ours_s` of it; at least 0. None if no time passed or none was read."""
    read = [core for core in cores if core in first.total_s and core in last.total_s]
    total_s = sum(last.total_s[core] - first.total_s[core] for core in read)
    if total_s <= 0:
        return None
    busy_s = sum(last.busy_s[core] - first.busy_s[core] for core in read)
    return max(0.0, busy_s - ours_s) / total_s
