"""Naive baselines: what textbook queues say of a plan and a pool, beside what a simulation says.

Closed forms only, of a station's few figures; nothing in them is fitted. A simulation that is not
better than these is not worth its time. No randomness, no clock, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.workload.plan import Plan

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Station:
    """What a plan asks, and of what: all that the baselines know of a run.

    Raises ValueError for a figure that no station has."""

    #: Requests that come in a second.
    rate_per_s: float
    #: Requests that may be served at once.
    workers: int
    #: Cores that the server has.
    cores: int
    #: What a request asks on average: of a core, and besides (the worker is held, the core is not).
    cpu_s_mean: float
    wait_s_mean: float
    #: Squared coefficient of variation of CPU and wait together: 0 if constant, 1 if exponential.
    #: M/M/c takes it for 1 and processor sharing is insensitive to it, so that no figure here
    #: depends on it; it says how far a station is from what M/M/c takes it for.
    service_scv: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_per_s) and self.rate_per_s > 0):
            raise ValueError(f"rate_per_s is {self.rate_per_s!r}; accepted: a number above 0")
        for name in ("workers", "cores"):
            _check_count(name, getattr(self, name))
        for name in ("cpu_s_mean", "wait_s_mean", "service_scv"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value!r}; accepted: a number from 0 on")

    @property
    def service_s_mean(self) -> float:
        """For how long a request holds its worker if it has a core whenever it wants one."""
        return self.cpu_s_mean + self.wait_s_mean


@dataclass(frozen=True)
class Predicted:
    """What a model says of the steady state. None: it says nothing, or the figure is infinite."""

    #: Answers in a second.
    throughput_rps: float | None
    #: Response times, from a request's arrival to its answer's end.
    mean_ms: float | None
    p50_ms: float | None
    p99_ms: float | None
    #: Workers that hold a request, on average over time.
    busy_mean: float | None


def station_of(plan: Plan, workers: int, cores: int) -> Station | None:
    """What the plan's measured groups ask of so many workers and cores between warm-up and end.

    Requests count where `plan.earliest_us` has them, so that the rate is `plan.offered_rate`:
    clients who think are taken for ones who are answered at once, and groups that are not measured
    for ones that are not there. None if a measured group is closed (the server sets its rate) or no
    measured request comes in the window. Raises ValueError for less than one worker or core."""
    _check_count("workers", workers)
    _check_count("cores", cores)
    rate = plan.offered_rate
    if not rate:
        return None
    at = plan.earliest_us()
    counted = (at >= plan.warmup_us) & (at < plan.duration_us) & plan.request_measured()
    service_us = (plan.cpu_us + plan.wait_us)[counted]
    mean_us = float(service_us.mean())
    return Station(
        rate_per_s=rate,
        workers=workers,
        cores=cores,
        cpu_s_mean=float(plan.cpu_us[counted].mean()) / 1e6,
        wait_s_mean=float(plan.wait_us[counted].mean()) / 1e6,
        service_scv=float(service_us.var()) / mean_us**2 if mean_us else 0.0,
    )


# ---- M/M/c ---------------------------------------------------------------------------------------


def erlang_c(servers: int, load: float) -> float:
    """Probability of waiting in M/M/c with offered load a = lambda / mu (Erlang 1917); 1 from a = c
    on, where nobody is served at once.

    From Erlang B, and that by its recursion B(n) = a B(n-1) / (n + a B(n-1)), which needs no
    factorials (Cooper, Introduction to Queueing Theory, 1981, 3.3 and 3.4)."""
    if load >= servers:
        return 1.0
    loss = 1.0
    for n in range(1, servers + 1):
        loss = load * loss / (n + load * loss)
    return servers * loss / (servers - load * (1 - loss))


def mmc(station: Station) -> Predicted:
    """M/M/c, first come, first served: a worker is a server, CPU and wait together its exponential
    service; cores are no limit.

    Mean response = 1/mu + C / (c mu - lambda) with Erlang's C (Kleinrock, Queueing Systems 1, 1975,
    3.5). Where the workers cannot carry the rate, the throughput is their capacity, and times grow
    without bound."""
    service_s, servers = station.service_s_mean, station.workers
    load = station.rate_per_s * service_s
    if load >= servers:
        return Predicted(servers / service_s, None, None, None, float(servers))
    waiting = erlang_c(servers, load)
    surplus = servers - load
    return Predicted(
        throughput_rps=station.rate_per_s,
        mean_ms=1e3 * service_s * (1 + waiting / surplus),
        p50_ms=1e3 * service_s * _mmc_quantile(0.5, waiting, surplus),
        p99_ms=1e3 * service_s * _mmc_quantile(0.99, waiting, surplus),
        busy_mean=load,
    )


def _mmc_beyond(t: float, waiting: float, surplus: float) -> float:
    """Probability that a response takes longer than t mean services in M/M/c with C = `waiting` and
    c - a = `surplus`.

    The wait is 0, or with probability C exponential of rate c - a (Kleinrock, 3.5); a service of
    rate 1 follows. So P(T > t) = e^-t + C (e^-t - e^-(c-a)t) / (c - a - 1), written here without
    the difference, which is 0 / 0 at c - a = 1, and so that no exponential overflows."""
    from scipy.special import exprel  # (e^x - 1) / x, and 1 at 0

    slower = math.exp(-min(1.0, surplus) * t)
    return math.exp(-t) + waiting * t * slower * float(exprel(-abs(surplus - 1) * t))


def _mmc_quantile(p: float, waiting: float, surplus: float) -> float:
    """The p-quantile of response times of M/M/c in mean services: the root of `_mmc_beyond`."""
    from scipy.optimize import brentq

    beyond = 1 - p
    # If T > t, the wait or the service is longer than its share of t; each is in beyond / 2.
    most = math.log(2 / beyond) * (1 + 1 / surplus)
    return float(brentq(lambda t: _mmc_beyond(t, waiting, surplus) - beyond, 0.0, most))


# ---- M/G/1/K*PS ----------------------------------------------------------------------------------


def mg1kps(station: Station, capacity: int) -> Predicted:
    """M/G/1/K*PS of Cao, Andersson, Nyberg and Kihl (Web server performance modeling using an
    M/G/1/K*PS queue, 10th International Conference on Telecommunications, 2003): one processor,
    shared evenly by at most K = `capacity` requests; who finds K inside is lost.

    Their number is geometric, cut off at K, whatever the service's distribution: p_n = (1 - rho)
    rho^n / (1 - rho^(K+1)), of which p_K is lost; throughput = lambda (1 - p_K), mean response by
    Little's law. The paper gives no percentiles.

    The paper has one core, and fits the mean service; here it is what the station asks. Time
    without the core does not share it: `wait_s_mean` is added to the response. C cores are one of C
    times the speed, and (C - 1) / C of the CPU time is added, so that a request alone takes as long
    as it does (Seidmann, Schweitzer and Shalev-Oren, Computerized closed queueing network models of
    flexible manufacturing systems, Large Scale Systems 12, 1987). What is so added does not count
    in K: with long waits `busy_mean` may exceed it.

    Raises ValueError for a capacity below 1."""
    _check_count("capacity", capacity)
    shared_s = station.cpu_s_mean / station.cores
    added_s = station.service_s_mean - shared_s
    inside = _cut_geometric(station.rate_per_s * shared_s, capacity)
    throughput_rps = station.rate_per_s * float(inside[:-1].sum())
    sharing = float(inside @ np.arange(capacity + 1))
    return Predicted(
        throughput_rps=throughput_rps,
        mean_ms=1e3 * (sharing / throughput_rps + added_s),
        p50_ms=None,
        p99_ms=None,
        busy_mean=sharing + throughput_rps * added_s,
    )


def _cut_geometric(ratio: float, last: int) -> Floats:
    """Probabilities of 0 to `last`, each `ratio` times the one before it. Their sum is taken
    instead of its closed form, which is 0 / 0 at ratio 1 and imprecise beside it."""
    n = np.arange(last + 1)
    weights = np.power(ratio, n if ratio <= 1 else n - last, dtype=np.float64)
    return np.asarray(weights / weights.sum())


def _mg1kps_of_pool(station: Station) -> Predicted:
    """M/G/1/K*PS in which as many requests are inside as there are workers."""
    return mg1kps(station, station.workers)


# ---- all of them ---------------------------------------------------------------------------------


def _check_count(name: str, value: int) -> None:
    if not (isinstance(value, int) and value >= 1):
        raise ValueError(f"{name} is {value!r}; accepted: a whole number from 1 on")


#: The baselines by the names that tables give them, in the order of their columns.
BASELINES: Final[Mapping[str, Callable[[Station], Predicted]]] = {
    "M/M/c": mmc,
    "M/G/1/K*PS": _mg1kps_of_pool,
}
