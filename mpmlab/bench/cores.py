"""Who uses the cores: how much of a core's time went to processes that are not ours.

Reading of the system's accounts only (psutil); when to read is the engine's affair. A core's busy
time has in it what the hypervisor took: whoever had the core, we had it not. It has no interrupts
in it: the network's are our own traffic's, and those that come while a core rests are in no
process's account (with a connection for each request they were 12 % of a core, and taken for
somebody else). The kernel counts in ticks (4 ms at 250 Hz): a share of some seconds is good to a
per cent or so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import psutil

#: Kinds of time that no process had (psutil's names; Linux has all of them).
_NOBODYS: Final = ("idle", "iowait", "irq", "softirq", "interrupt", "dpc")


@dataclass(frozen=True)
class CoreTimes:
    """Seconds since the system's start that each core was busy, and was there at all."""

    busy_s: Mapping[int, float]
    total_s: Mapping[int, float]


def read_cores(cores: Iterable[int]) -> CoreTimes:
    """A reading now. Cores that the system does not list (they need not be numbered through) are
    left out."""
    times = psutil.cpu_times(percpu=True)
    busy, total = {}, {}
    for core in cores:
        if core >= len(times):
            continue
        # guest time is part of user time already
        parts = {n: v for n, v in times[core]._asdict().items() if not n.startswith("guest")}
        total[core] = sum(parts.values())
        busy[core] = total[core] - sum(parts.get(name, 0.0) for name in _NOBODYS)
    return CoreTimes(busy, total)


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
