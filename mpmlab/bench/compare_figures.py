"""The figures by which runs are compared, and the ratio of each between two sets of repetitions,
with what is known of its error.

A run is condensed to what that takes (Condensed), so that many runs fit into memory. The intervals
are those of stats_compare.py and stats_quantiles.py; which runs may be compared is compare.py.
No clock, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from mpmlab.bench.experiment import Experiment
from mpmlab.bench.response import Floats, responses, window_end_s
from mpmlab.bench.run import Run
from mpmlab.bench.stats_compare import Ratio, Series, log_ratio, quantile_ratio
from mpmlab.bench.stats_quantiles import BATCHES, Interval, t_interval
from mpmlab.bench.summary import Summary
from mpmlab.load.recorder import Outcome
from mpmlab.workload.plan import Plan

_NO_ENDS: Final = Interval(None, None)


class Sums(NamedTuple):
    """A mean by blocks of the measured window: what is summed, and by how many it is divided."""

    total: Floats
    number: Floats


@dataclass(frozen=True)
class Condensed:
    """What comparing takes of one run. `sums` are by name of the figure; `deterministic`: it would
    be the same again (a simulation), so that it has no scatter from run to run."""

    summary: Summary
    series: Series
    sums: dict[str, Sums]
    deterministic: bool


class Figure(NamedTuple):
    """A number of a summary that is compared: its field (or what is made of two), its title with
    the unit, and which quantile of the response times it is, if it is one."""

    name: str
    title: str
    share: float | None = None

    def value(self, summary: Summary) -> float | None:
        """The number itself, None if it was not measured."""
        if self.name == "errors_percent":
            return 100 * summary.errors / summary.requests if summary.requests else None
        found: float | None = getattr(summary, self.name)
        return found


FIGURES: Final = (
    Figure("throughput_rps", "throughput (answers/s)"),
    Figure("mean_ms", "response mean (ms)"),
    Figure("p50_ms", "response p50 (ms)", 0.5),
    Figure("p90_ms", "response p90 (ms)", 0.9),
    Figure("p99_ms", "response p99 (ms)", 0.99),
    Figure("p999_ms", "response p99.9 (ms)", 0.999),
    Figure("errors_percent", "errors (% of requests)"),
    Figure("busy_mean", "mean busy workers"),
    Figure("cpu_per_request_us", "server CPU per answer (us)"),
    Figure("memory_mib", "memory, all processes (MiB)"),
)


@dataclass(frozen=True)
class Compared:
    """One figure of two sets of runs: the geometric mean of each, second to first, and where that
    ratio lies. `basis` says what the interval rests on, or why there is none (`interval` has no
    ends then). `value` and `ratio` are None where a run lacks the figure or it is zero."""

    value: float | None
    ratio: float | None
    interval: Interval
    basis: str
    #: "" or how value and ratio are to be read: they rest on time-outs.
    value_bound: str = ""
    ratio_bound: str = ""


def condense(run: Run, summary: Summary, asked: Experiment, plan: Plan) -> Condensed:
    """What comparing takes of `run`."""
    seen = responses(run.records, asked.warmup_s, asked.duration_s, asked.timeout_s, plan)
    blocks = _Blocks(asked.warmup_s, window_end_s(run.records, asked.duration_s))
    rows = seen.counted & ~np.isnan(seen.response_s)
    series = Series(seen.planned_s[rows], seen.response_s[rows])
    answered = seen.measured & (run.records.error == Outcome.OK)
    answers = blocks.sums(run.records.last_byte_s[answered]).number
    return Condensed(
        summary=summary,
        series=series,
        sums={
            "throughput_rps": Sums(answers, np.ones(BATCHES)),
            "mean_ms": blocks.sums(series.time_s, series.value),
            "busy_mean": blocks.sums(run.samples.time_s, run.samples.busy.astype(np.float64)),
        },
        deterministic=run.digest is not None,
    )


class _Blocks(NamedTuple):
    """BATCHES equally long pieces of a window."""

    start_s: float
    end_s: float

    def sums(self, time_s: Floats, value: Floats | None = None) -> Sums:
        """Sum of the values (ones, if there are none) and their number, by block; those outside
        are in no block."""
        edges = np.linspace(self.start_s, max(self.start_s, self.end_s), BATCHES + 1)
        block = np.searchsorted(edges, time_s, side="right") - 1
        inside = (block >= 0) & (block < BATCHES)
        number = np.bincount(block[inside], minlength=BATCHES).astype(np.float64)
        if value is None:
            return Sums(number, number)
        total = np.bincount(block[inside], value[inside], minlength=BATCHES)
        return Sums(total.astype(np.float64), number)


# ---- one figure ----------------------------------------------------------------------------------


def own(figure: Figure, runs: Sequence[Condensed]) -> Compared:
    """The figure of the runs that others are compared with: there is no ratio."""
    bound = any(figure.name in run.summary.lower_bounds for run in runs)
    value = _shown([figure.value(run.summary) for run in runs])
    return Compared(value, None, _NO_ENDS, "baseline", "≥" if bound else "")


def repeated(figure: Figure, runs: Sequence[Condensed]) -> Compared:
    """The figure of repetitions of one another: their geometric mean, and where that lies by
    Student's t of the logarithms."""
    found = own(figure, runs)
    known = _all_positive([figure.value(run.summary) for run in runs])
    if found.value_bound:
        return replace(found, basis="rests on time-outs")
    if known is None or len(known) < 2:
        return replace(found, basis="one run" if len(runs) == 1 else "no mean of logarithms")
    low, high = astuple(t_interval(np.log(np.asarray(known))))
    return replace(
        found, interval=Interval(math.exp(low), math.exp(high)), basis=f"{len(runs)} runs"
    )


def compared(
    figure: Figure, first: Sequence[Condensed], second: Sequence[Condensed], seed: int
) -> Compared:
    """`second` to `first`; several runs of a side are repetitions in order of time. `seed` is that
    of the bootstrap."""
    values = [[figure.value(run.summary) for run in side] for side in (first, second)]
    bounds = [
        any(figure.name in run.summary.lower_bounds for run in side) for side in (first, second)
    ]
    known = [_all_positive(side) for side in values]
    value = _shown(values[1])
    mark = "≥" if bounds[1] else ""
    if known[0] is None or known[1] is None:
        return Compared(value, None, _NO_ENDS, "no ratio", mark)
    ratio = _geometric(known[1]) / _geometric(known[0])
    if any(bounds):
        reading = "?" if all(bounds) else "≥" if bounds[1] else "≤"
        return Compared(value, ratio, _NO_ENDS, "rests on time-outs", mark, reading)
    interval, basis = _interval(figure, first, second, known[0], known[1], ratio, seed)
    return Compared(value, ratio, interval, basis, mark)


def _interval(
    figure: Figure,
    first: Sequence[Condensed],
    second: Sequence[Condensed],
    a: list[float],
    b: list[float],
    ratio: float,
    seed: int,
) -> tuple[Interval, str]:
    """Of second to first, and what it rests on."""
    if len(a) == len(b) == 1:
        return _single(figure, first[0], second[0], ratio, seed)
    # What would be the same again is its own repetition.
    if len(a) == 1 and first[0].deterministic:
        a = a * len(b)
    if len(b) == 1 and second[0].deterministic:
        b = b * len(a)
    if len(a) == len(b):
        return log_ratio(a, b).interval, f"{len(a)} pairs"
    if min(len(a), len(b)) == 1:
        return _NO_ENDS, "one run on one side"
    return _unpaired(a, b), f"{len(a)} and {len(b)} runs"


def _single(
    figure: Figure, first: Condensed, second: Condensed, ratio: float, seed: int
) -> tuple[Interval, str]:
    if figure.share is not None:
        found = _quantiles(first, second, figure.share, seed)
        return (_NO_ENDS, "no ratio") if found is None else (found.interval, "blocks of one run")
    if figure.name in first.sums:
        pair = first.sums[figure.name], second.sums[figure.name]
        return mean_ratio_interval(*pair, ratio), "blocks of one run"
    return _NO_ENDS, "one value each"


def _quantiles(first: Condensed, second: Condensed, share: float, seed: int) -> Ratio | None:
    for run in (first, second):
        if not len(run.series.value) or run.series.value.min() <= 0:
            return None
    return quantile_ratio([first.series], [second.series], share, seed=seed)


def mean_ratio_interval(first: Sums, second: Sums, ratio: float) -> Interval:
    """Interval of the ratio of two means from blocks of one run each, paired by their place in
    time: under one plan the same requests fall into both. What each block adds to the logarithm of
    the ratio, linearised (Cochran, Sampling Techniques, 6.3), scatters as t."""
    if not (first.total.any() and second.total.any()):
        return _NO_ENDS
    half = t_interval(_shares(second) - _shares(first)).high or 0.0
    return Interval(ratio * math.exp(-half), ratio * math.exp(half))


def _shares(sums: Sums) -> Floats:
    """By how much of the mean each block lifts it; they add up to 0."""
    mean = sums.total.sum() / sums.number.sum()
    return np.asarray((sums.total - mean * sums.number) / sums.total.mean())


def _unpaired(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Where there are not as many of each: the two intervals of the logarithms combined (Zou and
    Donner 2008, the method of variance estimates recovery)."""
    middles, halves = [], []
    for side in (a, b):
        logs = np.log(np.asarray(side))
        middles.append(float(logs.mean()))
        high = t_interval(logs).high
        halves.append(math.inf if high is None else high - middles[-1])
    middle, half = middles[1] - middles[0], math.hypot(*halves)
    return Interval(math.exp(middle - half), math.exp(middle + half))


def _all_positive(values: Sequence[float | None]) -> list[float] | None:
    found = [value for value in values if value is not None and value > 0]
    return found if len(found) == len(values) else None


def _geometric(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _shown(values: Sequence[float | None]) -> float | None:
    """What stands for the runs of a side: the geometric mean, or the mean if one of them is 0."""
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        return None
    if len(found) == 1:
        return found[0]
    return _geometric(found) if min(found) > 0 else math.fsum(found) / len(found)
