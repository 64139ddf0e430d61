"""What the benchmarks share: how a result is told (machine, table, median with its interval), CPU
of other processes, and the cores that server and client get. No measuring.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from mpmlab.real.machine import fingerprint, fingerprint_key, usable_cores

#: Before anybody pins this process: cores that it may not use would not count.
_FACTS: Final = fingerprint()
CORES: Final = tuple(usable_cores())
#: Width of tables when stdout is not a terminal.
_FILE_WIDTH: Final = 180


class Estimate(NamedTuple):
    """A median, and the interval that holds the true one with 95 %."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:,.2f}  ({self.low:,.2f} to {self.high:,.2f})"


def estimate(values: Sequence[float]) -> Estimate:
    """Median and its 95 % interval by order statistics (no assumption but independence): ranks
    n/2 -+ 0.98 sqrt(n), the normal approximation of the binomial."""
    ordered = sorted(values)
    n = len(ordered)
    reach = 0.98 * math.sqrt(n)
    low = max(0, math.floor(n / 2 - reach))
    high = min(n - 1, math.ceil(n / 2 + reach))
    return Estimate(median(ordered), ordered[low], ordered[high])


def report(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str) -> None:
    """Print the machine and a table."""
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    facts = _FACTS
    console.print(
        f"machine {fingerprint_key(facts)}: {facts['cpu']}, {facts['cores']} cores, "
        f"{facts['virtualisation']}, {facts['system']} {facts['kernel']}, {facts['python']}"
    )
    table = Table(title=title, caption=note)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def server_and_client_cores() -> tuple[list[int], list[int]]:
    """The first core and the last: one each, or the only one for both."""
    return list(CORES[:1]), list(CORES[-1:])


def cpu_us(pids: Iterable[int]) -> float:
    """CPU microseconds that processes (not ours) have used. Linux only: the clock of process p is
    (~p << 3) | CPUCLOCK_SCHED (include/linux/posix-timers.h); a tick of /proc would be too coarse.
    """
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids) / 1000


def pin(cores: Iterable[int]) -> None:
    """Run on these cores only, where this can be asked for."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
