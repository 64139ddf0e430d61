"""The skeleton of a plan: when sessions start, how many requests they have, when those come.

One value object, made by arrivals.py, replay.py and har_replay.py, given flesh (classes, demands)
by compile.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

#: Most requests of one plan: ten million are 600 MB of arrays.
MAX_REQUESTS: Final = 10_000_000
#: Where a heavy tail is cut, as no run ever comes so far: 35 years.
LONGEST_US: Final = 2**50


@dataclass(frozen=True, eq=False)
class RecordedFacts:
    """What a recording (an access log, a HAR file) says of each request; where it says nothing,
    drawing decides."""

    klass: npt.NDArray[np.int16]
    response_bytes: Int64s
    #: The request's place among those replayed, by time: the same however long the run.
    place: npt.NDArray[np.intp]
    #: Whether the request has a body (POST, PUT, PATCH), of the size that its class draws.
    has_body: npt.NDArray[np.bool_] | None = None
    #: The size of the request's body, if the recording knows it.
    request_bytes: Int64s | None = None
    #: The server's waits, if those of the recording are to be waited again.
    wait_us: Int64s | None = None


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Sessions by start, requests grouped by session: the columns of a Plan by the same names."""

    session_start_us: Int64s
    session_requests: Int64s
    planned_us: Int64s
    think_us: Int64s
    #: See Plan.session_cycle: the same for all sessions of one part of the load.
    cycle: bool = False
    recorded: RecordedFacts | None = None

    @property
    def session_first(self) -> Int64s:
        """Index of each session's first request."""
        return np.asarray(np.cumsum(self.session_requests) - self.session_requests)
