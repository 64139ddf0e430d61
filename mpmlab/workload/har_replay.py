"""Replaying a HAR file: its requests at their own times, or faster, on connections like its own.

From columns (har.py) to a skeleton of a plan; no reading of files, and no chance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from mpmlab.workload.classes import RequestClass, class_of
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.har import HarRequests
from mpmlab.workload.replay import faster, grouped
from mpmlab.workload.skeleton import Int64s, RecordedFacts, Skeleton

#: Times of a HAR file are rounded (to 1 ms in the format's own example), each by itself: a request
#: that seems to begin so long before the end of the one before on its connection does not overlap.
RESOLUTION_US: Final = 2_000
#: So many hosts are listed in a complaint.
_HOSTS_SHOWN: Final = 8


@dataclass(frozen=True)
class HarArrivals:
    """A HAR file sent again, `speedup` times faster: of all its requests, or of those to hosts that
    `host` is found in. With `recorded_wait` the server waits as long for each as the recorded one
    did (timings.wait: its time to answer and the way there and back), whatever the speedup."""

    file: Path
    speedup: float
    host: re.Pattern[str] | None
    recorded_wait: bool
    kind: ClassVar[str] = "har"

    @property
    def recorded(self) -> tuple[str, ...]:
        """What its classes do not say."""
        sizes = ("request_bytes", "response_bytes")
        return ("wait_us", *sizes) if self.recorded_wait else sizes


def har_skeleton(
    arrivals: HarArrivals,
    classes: tuple[RequestClass, ...],
    requests: HarRequests,
    duration_us: int,
) -> Skeleton:
    """The requests by session, each planned as long after the first as it was recorded, divided by
    the speedup; those at or after the duration are left out. Raises ScenarioError if none is of the
    host."""
    chosen = _select(arrivals, requests)
    chosen = chosen[np.argsort(requests.start_us[chosen], kind="stable")]
    start_us = requests.start_us[chosen]
    session = group_connections(
        requests.connection[chosen],
        start_us + requests.blocked_us[chosen],
        start_us + requests.total_us[chosen],
    )
    at_us = faster(start_us - start_us[0], arrivals.speedup)
    within = at_us < duration_us
    order, starts, counts = grouped(session[within], at_us[within])
    taken = chosen[within][order]
    klass = np.array([class_of(path, classes) for path in requests.paths], dtype=np.int16)
    facts = RecordedFacts(
        klass=klass[taken],
        response_bytes=requests.response_bytes[taken],
        place=order,
        request_bytes=requests.request_bytes[taken],
        wait_us=requests.wait_us[taken] if arrivals.recorded_wait else None,
    )
    planned = at_us[within][order]
    return Skeleton(starts, counts, planned, np.zeros_like(planned), recorded=facts)


def group_connections(
    connection: npt.NDArray[np.int64], begin_us: Int64s, end_us: Int64s
) -> Int64s:
    """The session's number of each request (sorted by time), in order of their first requests.

    Requests of one connection are one session for as long as each begins after the one before it
    ended. Where they overlap, several connections must have been behind the number (a page's, a
    server's port) or one of HTTP/2, which carries many at once and HTTP/1.1 cannot: then each takes
    the first session that is free, or a new one."""
    sessions: dict[int, list[int]] = {}
    free_us: list[int] = []
    numbers = np.empty(len(connection), dtype=np.int64)
    rows = zip(connection.tolist(), begin_us.tolist(), end_us.tolist(), strict=True)
    for i, (which, begin, end) in enumerate(rows):
        mine = sessions.setdefault(which, [])
        number = next((one for one in mine if free_us[one] <= begin + RESOLUTION_US), None)
        if number is None:
            number = len(free_us)
            mine.append(number)
            free_us.append(0)
        free_us[number] = max(end, free_us[number])
        numbers[i] = number
    return numbers


def _select(arrivals: HarArrivals, requests: HarRequests) -> npt.NDArray[np.intp]:
    """Indices of the requests to the hosts that are wanted."""
    wanted = arrivals.host
    if wanted is None:
        return np.arange(len(requests))
    chosen = np.flatnonzero([wanted.search(host) is not None for host in requests.hosts])
    if not len(chosen):
        hosts = sorted(set(requests.hosts))
        more = f" and {len(hosts) - _HOSTS_SHOWN} more" if len(hosts) > _HOSTS_SHOWN else ""
        raise ScenarioError(
            f"arrivals.host: {wanted.pattern!r} is found in no host of {arrivals.file}; it has "
            f"{', '.join(hosts[:_HOSTS_SHOWN])}{more}"
        )
    return chosen
