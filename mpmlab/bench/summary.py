"""One engine's run in a few numbers, and the error of one run's numbers against another's.

Pure arithmetic over records and samples: no clock, no I/O, no formatting (report/ does that).
Percentiles are order statistics, numpy's "inverted_cdf": the smallest response time such that at
least p of all are no longer; always a value that was measured, never an interpolation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.measured import Measured, measured
from mpmlab.bench.run import Run
from mpmlab.workload.plan import Plan


@dataclass(frozen=True)
class Summary:
    """What one engine did with the requests planned in [warm-up, duration).

    Times in milliseconds. Response time runs from the *planned* send to the last byte, so that a
    server that stalls is charged with the requests that had to wait (no coordinated omission);
    service time from the actual send. A request that timed out counts with at least the time-out;
    a percentile that rests on such a value is a lower bound, listed in `lower_bounds`. Requests
    that failed otherwise are errors and have no response time. None: nothing to compute it from.
    """

    requests: int
    completed: int
    offered_rps: float | None
    throughput_rps: float | None  # answers whose last byte came inside the window, per second
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    service_p50_ms: float | None
    service_p99_ms: float | None
    lateness_p50_ms: float | None
    lateness_p99_ms: float | None
    abandoned: int  # left by the client on purpose; no errors
    errors: int
    errors_by_kind: Mapping[str, int]
    busy_mean: float | None
    idle_mean: float | None
    processes_mean: float | None
    cpu_utilisation: float | None  # of the server's cores, 0..1
    cpu_per_request_us: float | None
    memory_mib: float | None
    lower_bounds: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON: plain values by field name."""
        return dataclasses.asdict(self)


def summarise(
    run: Run, warmup_s: float, duration_s: float, timeout_s: float, plan: Plan | None = None
) -> Summary:
    """The summary of `run` over the requests of measured clients planned in [warmup_s, duration_s);
    without a plan all clients are."""
    seen = measured(run.records, warmup_s, duration_s, timeout_s, plan)
    length_s = seen.length_s
    inside = run.samples.between(seen.start_s, seen.end_s)
    cpu_s, ended = run.cpu_s, seen.ended_in_window
    return Summary(
        requests=seen.requests,
        completed=seen.completed,
        offered_rps=seen.requests / length_s if length_s else None,
        throughput_rps=ended / length_s if length_s else None,
        **_response_times(seen),
        service_p50_ms=quantile_ms(seen.service_s, 0.5),
        service_p99_ms=quantile_ms(seen.service_s, 0.99),
        lateness_p50_ms=quantile_ms(seen.lateness_s, 0.5),
        lateness_p99_ms=quantile_ms(seen.lateness_s, 0.99),
        abandoned=seen.abandoned,
        errors=sum(seen.errors.values()),
        errors_by_kind=dict(seen.errors),
        busy_mean=_mean(inside.busy),
        idle_mean=_mean(inside.idle),
        processes_mean=_mean(inside.processes),
        cpu_utilisation=None
        if cpu_s is None or not length_s
        else cpu_s / (length_s * run.server_cores),
        cpu_per_request_us=None if cpu_s is None or not ended else 1e6 * cpu_s / ended,
        memory_mib=None if run.memory_kib is None else run.memory_kib / 1024,
    )


def _response_times(seen: Measured) -> dict[str, Any]:
    """mean, percentiles and which of them are lower bounds."""
    times = {
        "mean_ms": 1000 * float(np.mean(seen.response_s)) if len(seen.response_s) else None,
        "p50_ms": quantile_ms(seen.response_s, 0.5),
        "p90_ms": quantile_ms(seen.response_s, 0.9),
        "p99_ms": quantile_ms(seen.response_s, 0.99),
        "p999_ms": quantile_ms(seen.response_s, 0.999),
    }
    first_ms = 1000 * seen.censored_from_s
    bounds = [
        name
        for name, value in times.items()
        if value is not None
        and (value >= first_ms or (name == "mean_ms" and math.isfinite(first_ms)))
    ]
    return {**times, "lower_bounds": tuple(bounds)}


def quantile_ms(seconds: NDArray[np.float64], p: float) -> float | None:
    """The p-quantile in milliseconds, or None of nothing."""
    if not len(seconds):
        return None
    return 1000 * float(np.quantile(seconds, p, method="inverted_cdf"))


def _mean(values: NDArray[np.int64]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def error_percent(simulated: float | None, real: float | None) -> float | None:
    """How far the simulation is off, in percent of the real value; None where that has no meaning
    (a value is missing, or the real one is zero and the other not)."""
    if simulated is None or real is None:
        return None
    if real == 0:
        return 0.0 if simulated == 0 else None
    return 100 * (simulated - real) / real
