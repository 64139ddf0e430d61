"""Arrivals: open (Poisson, constant), closed and session workloads become skeletons of plans.

Times only: classes and demands are drawn in compile.py, access logs are replayed in replay.py.
Times are summed up in whole nanoseconds or microseconds, never in floating point, so that a plan is
the same on every platform.
"""

from __future__ import annotations

import numpy as np

from mpmlab.workload.distributions import Distribution, Exponential
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.scenario import ClosedArrivals, OpenArrivals, SessionArrivals
from mpmlab.workload.skeleton import MAX_REQUESTS, Int64s, Skeleton
from mpmlab.workload.streams import Floats, Stream

#: Blocks of the Poisson stream overshoot the expected count by so many standard deviations, so that
#: a second block is rare. It has no influence on the numbers.
_SIGMAS = 4


def open_skeleton(arrivals: OpenArrivals, seed: int, duration_us: int) -> Skeleton:
    """Each request is a session of its own."""
    _limit(arrivals.rate_per_s * duration_us / 1e6, "rate_per_s times the duration")
    if arrivals.kind == "constant":
        starts = constant_times_us(arrivals.rate_per_s, duration_us)
    else:
        starts = poisson_times_us(arrivals.rate_per_s, duration_us, Stream(seed, "arrivals"))
    return Skeleton(starts, np.ones_like(starts), starts, np.zeros_like(starts))


def session_skeleton(arrivals: SessionArrivals, seed: int, duration_us: int) -> Skeleton:
    """Sessions come as a Poisson stream; their later requests follow after thinks."""
    mean = arrivals.requests_per_session.mean
    what = "rate_per_s times the duration times requests_per_session"
    _limit(arrivals.rate_per_s * duration_us / 1e6 * mean, what)
    starts = poisson_times_us(arrivals.rate_per_s, duration_us, Stream(seed, "arrivals"))
    drawn = arrivals.requests_per_session.values(
        Stream(seed, "session/requests").uniforms(len(starts))
    )
    counts = np.maximum(whole(drawn, MAX_REQUESTS), 1)
    _limit(float(counts.sum()), what)
    first = np.cumsum(counts) - counts
    think = _think_us(arrivals.think_s, seed, int(counts.sum()))
    think[first] = 0
    planned = np.full(len(think), -1, dtype=np.int64)
    planned[first] = starts
    return Skeleton(starts, counts, planned, think)


def closed_skeleton(arrivals: ClosedArrivals, seed: int, duration_us: int) -> Skeleton:
    """Each user begins with a think, at an evenly spaced moment of the ramp. Users whose first
    think outlasts the run are left out."""
    users, listed = arrivals.users, arrivals.requests_listed
    _limit(users * listed, "users times requests_listed")
    think = _think_us(arrivals.think_s, seed, users * listed).reshape(users, listed)
    ramp_us = round(arrivals.ramp_s * 1e6)
    starts = np.arange(users, dtype=np.int64) * ramp_us // users + think[:, 0]
    order = np.argsort(starts, kind="stable")
    order = order[starts[order] < duration_us]
    starts, think = starts[order], think[order]
    planned = np.full(think.shape, -1, dtype=np.int64)
    planned[:, 0] = starts
    counts = np.full(len(starts), listed, dtype=np.int64)
    return Skeleton(starts, counts, planned.ravel(), think.ravel(), cycle=True)


def constant_times_us(rate_per_s: float, duration_us: int) -> Int64s:
    """0, 1/rate, 2/rate ... below the duration, each rounded by itself: no drift."""
    steps = np.arange(int(rate_per_s * duration_us / 1e6) + 2, dtype=np.float64)
    times = np.rint(steps * (1e6 / rate_per_s)).astype(np.int64)
    return np.asarray(times[times < duration_us])


def poisson_times_us(rate_per_s: float, duration_us: int, stream: Stream) -> Int64s:
    """The times below the duration of a Poisson process. A longer duration only adds to them."""
    gaps_ns = Exponential(1e9 / rate_per_s)
    expected = rate_per_s * duration_us / 1e6
    block = int(expected + _SIGMAS * expected**0.5) + 16
    times = np.zeros(0, dtype=np.int64)
    last_ns = 0
    while not len(times) or times[-1] < duration_us:
        sums_ns = last_ns + np.cumsum(whole(gaps_ns.values(stream.uniforms(block)), 2**53))
        last_ns = int(sums_ns[-1])
        times = np.concatenate([times, sums_ns // 1000])
        block = 1024
    return np.asarray(times[times < duration_us])


def whole(values: Floats, most: int) -> Int64s:
    """Rounded to whole numbers from 0 to `most`."""
    return np.rint(np.clip(values, 0, most)).astype(np.int64)


def _think_us(think_s: Distribution, seed: int, n: int) -> Int64s:
    seconds = think_s.values(Stream(seed, "session/think").uniforms(n))
    # A heavy tail is cut where no run ever comes: at 2**50 us, 35 years.
    return whole(seconds * 1e6, 2**50)


def _limit(requests: float, what: str) -> None:
    if requests > MAX_REQUESTS:
        raise ScenarioError(
            f"arrivals: {what} gives {requests:.4g} requests; accepted: at most {MAX_REQUESTS:,}"
        )
