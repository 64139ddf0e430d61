"""A slice of measuring: on which cores, who else was on them, and how fast they were.

Virtual CPUs jump between two speeds within seconds, each core by itself, so that every slice is
placed by a reading of the speed loop (bench/speed.py) on both cores right before and after it. What
another process took of a core is read from the system's account of that core (bench/cores.py).
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from benchmarks.common import CORES, cpu_us, server_and_client_cores
from mpmlab.bench.cores import CoreTimes, foreign_share, read_cores
from mpmlab.bench.gates_machine import CLIENT_FOREIGN_LIMIT
from mpmlab.bench.speed import DISTURBED_RATIO, probe_us
from mpmlab.bench.stats_compare import Ratio, log_ratio

#: If fewer slices are undisturbed, so many of the best count.
FEWEST: Final = 3


@dataclass(frozen=True)
class Conditions:
    """Under what a slice was measured. The speed loop's CPU microseconds on the client's and the
    server's core, before and after; share of either core that others had."""

    client_us: tuple[float, float]
    server_us: tuple[float, float]
    client_foreign: float
    server_foreign: float

    @property
    def foreign(self) -> float:
        """Of the worse core."""
        return max(self.client_foreign, self.server_foreign)

    @property
    def disturbed(self) -> bool:
        """True if another process had one of the cores for more than a run may bear."""
        return self.foreign > CLIENT_FOREIGN_LIMIT


class Slice(Protocol):
    """Anything measured under conditions."""

    @property
    def conditions(self) -> Conditions: ...


S = TypeVar("S", bound=Slice)
T = TypeVar("T", bound=Slice)


class Watch:
    """The cores of a server and its clients; `begin` and `end` enclose a slice.

    The server has the first core; the clients have the last `clients` ones. Raises ValueError if
    there are not that many besides the server's."""

    def __init__(self, server_pids: Callable[[], Iterable[int]], clients: int = 1) -> None:
        self._server_pids = server_pids
        server, client = server_and_client_cores()
        if clients > 1:
            client = list(CORES[1:][-clients:])
        if len(client) < clients:
            raise ValueError(f"{clients} client processes need {clients + 1} cores")
        self.server_cores = server
        self.client_cores = client
        self._before: tuple[CoreTimes, float, float] | None = None
        self._before_us = (0.0, 0.0)

    def begin(self, clients: Iterable[int] = ()) -> None:
        """Now, before the slice. `clients`: client processes that run already; those that begin
        later must be on the clients' cores from the start. All must be reaped at the end."""
        self._before_us = self._speeds_us()
        served_s = cpu_us(self._server_pids()) / 1e6
        self._before = (self._read(), served_s, _reaped_s() + cpu_us(clients) / 1e6)

    def end(self) -> Conditions:
        """Now, after the slice."""
        assert self._before is not None, "begin first"
        first, served_s, clients_s = self._before
        last = self._read()
        served_s = cpu_us(self._server_pids()) / 1e6 - served_s
        clients_s = _reaped_s() - clients_s
        client_us, server_us = self._speeds_us()
        return Conditions(
            client_us=(self._before_us[0], client_us),
            server_us=(self._before_us[1], server_us),
            client_foreign=foreign_share(first, last, self.client_cores, clients_s) or 0.0,
            server_foreign=foreign_share(first, last, self.server_cores, served_s) or 0.0,
        )

    def _read(self) -> CoreTimes:
        return read_cores([*self.server_cores, *self.client_cores])

    def _speeds_us(self) -> tuple[float, float]:
        return probe_us(self.client_cores[0]), probe_us(self.server_cores[0])


def _reaped_s() -> float:
    """CPU of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# ---- choosing among slices -----------------------------------------------------------------------


def undisturbed(slices: Sequence[S]) -> list[S]:
    """Those in which nobody else had the cores, and the three best in any case."""
    good = sum(1 for one in slices if not one.conditions.disturbed)
    return sorted(slices, key=lambda one: one.conditions.foreign)[: max(good, FEWEST)]


def used_text(used: Sequence[Slice], measured: Sequence[Slice]) -> str:
    """How many slices are used of how many, and whether that had to include disturbed ones."""
    bad = sum(1 for one in used if one.conditions.disturbed)
    return f"{len(used)}/{len(measured)}{f', {bad} of them disturbed' if bad else ''}"


def fastest_us(slices: Iterable[Slice]) -> float:
    """The client's core in its fast state: the lowest reading of all these slices."""
    return min(reading for one in slices for reading in one.conditions.client_us)


def state(one: Slice, fast_us: float) -> str:
    """Of the client's core: "fast" or "slow" before and after the slice, else "changing"."""
    slow = {reading > DISTURBED_RATIO * fast_us for reading in one.conditions.client_us}
    return "changing" if len(slow) > 1 else "slow" if slow.pop() else "fast"


def states(slices: Sequence[Slice], fast_us: float) -> str:
    """How many of the slices were in which state: "3 fast, 1 changing, 1 slow"."""
    found = [state(one, fast_us) for one in slices]
    kinds = ("fast", "changing", "slow")
    return ", ".join(f"{found.count(kind)} {kind}" for kind in kinds if kind in found)


# ---- pairs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair(Generic[S, T]):
    """Two slices of different things, one right after the other."""

    first: S
    second: T

    @property
    def conditions(self) -> Conditions:
        """The worse of both; speeds are those at the outer ends."""
        one, other = self.first.conditions, self.second.conditions
        return Conditions(
            client_us=(one.client_us[0], other.client_us[1]),
            server_us=(one.server_us[0], other.server_us[1]),
            client_foreign=max(one.client_foreign, other.client_foreign),
            server_foreign=max(one.server_foreign, other.server_foreign),
        )

    @property
    def same_speed(self) -> bool:
        """True if each core had the same speed before and after either slice."""
        one, other = self.first.conditions, self.second.conditions
        cores = (one.client_us + other.client_us, one.server_us + other.server_us)
        return all(max(readings) <= DISTURBED_RATIO * min(readings) for readings in cores)


def in_pairs(pairs: int, first: Callable[[], S], second: Callable[[], T]) -> list[Pair[S, T]]:
    """So many pairs, ABBA: what changes steadily meanwhile helps the first in one pair and the
    second in the next."""
    found = []
    for number in range(pairs):
        if number % 2:
            other = second()
            found.append(Pair(first(), other))
        else:
            found.append(Pair(first(), second()))
    return found


def ratio_of(
    pairs: Sequence[Pair[S, T]], value: Callable[[S | T], float]
) -> tuple[Ratio | None, int]:
    """Second to first over the pairs, and how many these are; None of none."""
    values = [(value(pair.first), value(pair.second)) for pair in pairs]
    good = [(a, b) for a, b in values if a > 0 and b > 0]
    if not good:
        return None, 0
    return log_ratio([a for a, _ in good], [b for _, b in good]), len(good)


def ratio_text(found: Ratio | None, count: int) -> str:
    """For a table: "0.97 (0.93 to 1.01), n=8"."""
    if found is None:
        return "none"
    low, high = found.interval.low, found.interval.high
    ends = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{found.value:.3f}{ends}, n={count}"
