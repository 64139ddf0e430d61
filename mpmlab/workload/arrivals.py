"""Arrivals that are drawn: open, closed and session workloads become skeletons of plans.

Times only: classes and demands are drawn in compile.py, recordings are replayed in replay.py and
har_replay.py. The moments at which things come by themselves are processes.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpmlab.workload.distributions import Distribution, whole
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.processes import Process
from mpmlab.workload.skeleton import LONGEST_US, MAX_REQUESTS, Int64s, Skeleton
from mpmlab.workload.streams import Streams

# Each kind of arrivals says in `recorded` which demands of a request a recording gives; None: it is
# no recording, and all are drawn.


@dataclass(frozen=True)
class OpenArrivals:
    """Requests that come by themselves, each a session of its own."""

    process: Process
    recorded: ClassVar[None] = None

    @property
    def kind(self) -> str:
        """That of the process."""
        return self.process.kind


@dataclass(frozen=True)
class SessionArrivals:
    """Clients that come by themselves (partly open: `starts` does not wait for anybody), send some
    requests with thinks between, and leave."""

    starts: Process
    requests_per_session: Distribution
    think_s: Distribution
    kind: ClassVar[str] = "sessions"
    recorded: ClassVar[None] = None


@dataclass(frozen=True)
class ClosedArrivals:
    """`users` who each send, await, think, and send again, cycling through `requests_listed`. They
    begin thinking, spread evenly over `ramp_s`."""

    users: int
    requests_listed: int
    think_s: Distribution
    ramp_s: float
    kind: ClassVar[str] = "closed"
    recorded: ClassVar[None] = None


def open_skeleton(arrivals: OpenArrivals, streams: Streams, duration_us: int) -> Skeleton:
    """Each request is a session of its own."""
    process = arrivals.process
    _limit(process.expected(duration_us), f"{process.rate_text} times the duration")
    starts = process.times_us(streams, duration_us)
    return Skeleton(starts, np.ones_like(starts), starts, np.zeros_like(starts))


def session_skeleton(arrivals: SessionArrivals, streams: Streams, duration_us: int) -> Skeleton:
    """Sessions start by their process; their later requests follow after thinks."""
    starting, wanted = arrivals.starts, arrivals.requests_per_session
    what = f"{starting.rate_text} times the duration times requests_per_session"
    _limit(starting.expected(duration_us) * wanted.mean, what)
    starts = starting.times_us(streams, duration_us)
    drawn = wanted.values(streams.open("session/requests").uniforms(len(starts)))
    counts = np.maximum(whole(drawn, MAX_REQUESTS), 1)
    _limit(float(counts.sum()), what)
    first = np.cumsum(counts) - counts
    think = _think_us(arrivals.think_s, streams, int(counts.sum()))
    think[first] = 0
    planned = np.full(len(think), -1, dtype=np.int64)
    planned[first] = starts
    return Skeleton(starts, counts, planned, think)


def closed_skeleton(arrivals: ClosedArrivals, streams: Streams, duration_us: int) -> Skeleton:
    """Each user begins with a think, at an evenly spaced moment of the ramp. Users whose first
    think outlasts the run are left out."""
    users, listed = arrivals.users, arrivals.requests_listed
    _limit(users * listed, "users times requests_listed")
    think = _think_us(arrivals.think_s, streams, users * listed).reshape(users, listed)
    ramp_us = round(arrivals.ramp_s * 1e6)
    starts = np.arange(users, dtype=np.int64) * ramp_us // users + think[:, 0]
    order = np.argsort(starts, kind="stable")
    order = order[starts[order] < duration_us]
    starts, think = starts[order], think[order]
    planned = np.full(think.shape, -1, dtype=np.int64)
    planned[:, 0] = starts
    counts = np.full(len(starts), listed, dtype=np.int64)
    return Skeleton(starts, counts, planned.ravel(), think.ravel(), cycle=True)


def _think_us(think_s: Distribution, streams: Streams, n: int) -> Int64s:
    seconds = think_s.values(streams.open("session/think").uniforms(n))
    return whole(seconds * 1e6, LONGEST_US)


def _limit(requests: float, what: str) -> None:
    if requests > MAX_REQUESTS:
        raise ScenarioError(
            f"arrivals: {what} gives {requests:.4g} requests; accepted: at most {MAX_REQUESTS:,}"
        )
