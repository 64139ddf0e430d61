"""The skeleton of a plan: when sessions start, how many requests they have, when those come.

One value object, made by arrivals.py and replay.py, given flesh (classes, demands) by compile.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

#: Most requests of one plan: ten million are 600 MB of arrays.
MAX_REQUESTS: Final = 10_000_000


@dataclass(frozen=True, eq=False)
class LoggedFacts:
    """What an access log says of each request; without a log, drawing decides."""

    klass: npt.NDArray[np.int16]
    response_bytes: Int64s
    #: Whether the request has a body, of the size that its class draws (POST, PUT, PATCH).
    has_body: npt.NDArray[np.bool_]
    #: The request's place among those replayed, by time: the same however long the run.
    place: npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Sessions by start, requests grouped by session: the columns of a Plan by the same names."""

    session_start_us: Int64s
    session_requests: Int64s
    planned_us: Int64s
    think_us: Int64s
    cycle: bool = False
    logged: LoggedFacts | None = None

    @property
    def session_first(self) -> Int64s:
        """Index of each session's first request."""
        return np.asarray(np.cumsum(self.session_requests) - self.session_requests)
