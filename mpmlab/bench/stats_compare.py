"""How do two things compare? Ratios with intervals: of paired repetitions, and of single runs.

Arithmetic over values; how well one run's quantile is known is stats_quantiles.py. No clock and no
I/O; random numbers come from a generator with a seed, so the same runs give the same interval.

Ratios are averaged as logarithms: that B is half of A and that A is twice B is then one finding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.stats_quantiles import BATCHES, CONFIDENCE, Interval, t_interval

Floats = NDArray[np.float64]

#: Resamples of a bootstrap: the ends of a 95 % interval then scatter by a fiftieth of its length.
RESAMPLES: Final = 1000


@dataclass(frozen=True)
class Ratio:
    """A ratio of second to first, and where it lies with the confidence asked for. The interval has
    no ends if there is nothing to tell the scatter from."""

    value: float
    interval: Interval
    #: Pairs, or time blocks of the shorter run: what the interval rests on.
    n: int

    @property
    def differs(self) -> bool:
        """True if it is shown that the two are not equal."""
        return not self.interval.contains(1.0)


# ---- paired repetitions ------------------------------------------------------------------------


def abba(pairs: int) -> str:
    """The order of so many pairs of runs: "ABBAABBA...". Whatever changes steadily with time
    meanwhile helps A in one pair and B in the next."""
    return "".join("AB" if i % 2 == 0 else "BA" for i in range(pairs))


def paired(order: str, values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Values of runs in that order (see abba), as the A of each pair and the B of each pair.
    Raises ValueError if the order is not one of pairs or the values are not as many."""
    couples = [order[i : i + 2] for i in range(0, len(order), 2)]
    if len(values) != len(order) or any(sorted(couple) != ["A", "B"] for couple in couples):
        raise ValueError(f"{len(values)} values in the order {order!r}; accepted: pairs AB or BA")
    first = [values[2 * i + couple.index("A")] for i, couple in enumerate(couples)]
    second = [values[2 * i + couple.index("B")] for i, couple in enumerate(couples)]
    return first, second


def log_ratio(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Ratio:
    """Second to first over pairs of runs: the geometric mean of their ratios, and Student's
    interval of the logarithms (Jain, The Art of Computer Systems Performance Analysis, 13.4).
    Raises ValueError unless there are as many of each, at least one, all positive."""
    if len(first) != len(second) or not first or min(*first, *second) <= 0:
        raise ValueError(
            f"a ratio of {len(first)} and {len(second)} values; accepted: as many of each, at "
            "least one, all above 0"
        )
    logs = np.log(np.asarray(second, dtype=np.float64) / np.asarray(first, dtype=np.float64))
    return Ratio(math.exp(logs.mean()), _exponentiated(t_interval(logs, confidence)), len(logs))


def _exponentiated(logs: Interval) -> Interval:
    return Interval(
        None if logs.low is None else math.exp(logs.low),
        None if logs.high is None else math.exp(logs.high),
    )


# ---- single runs -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Series:
    """Values of one run's requests with the times at which they were planned, in any order."""

    time_s: Floats
    value: Floats


def quantile_ratio(
    first: Sequence[Series],
    second: Sequence[Series],
    p: float,
    confidence: float = CONFIDENCE,
    *,
    blocks: int = BATCHES,
    seed: int = 0,
) -> Ratio:
    """The p-quantile of the second runs to that of the first, geometric means over the runs of
    each side, with a bootstrap interval.

    Requests of one run are not independent, so whole blocks of its time are drawn again, not
    requests (Kunsch 1989); with several runs a side, first runs and then blocks of each (the
    hierarchical bootstrap of Kalibera and Jones 2013). With few blocks a percentile interval is
    too short, so its percentiles are those that would make it Student's were the ratio normal
    (Hesterberg 2015, the expanded percentile interval). It covers what a run that lasts can tell:
    one that is shorter than the memory of its queue is only one draw, and so is a machine's mood
    between two runs. Repeat in pairs to see those.

    Raises ValueError if a side has no run, or a run no request or a value that is not above 0."""
    if not first or not second:
        raise ValueError("a ratio needs at least one run on each side")
    sides = [[_blocked(run, p, blocks) for run in side] for side in (first, second)]
    own = [math.fsum(run.log_quantile() for run in side) / len(side) for side in sides]
    # Counter-based: the same bits on every platform for the same seed.
    random = np.random.Generator(np.random.Philox(seed))
    logs = np.array([_resampled(sides, random) for _ in range(RESAMPLES)])
    least = min(run.blocks for side in sides for run in side)
    value = own[1] - own[0]
    if least < 2:
        return Ratio(math.exp(value), Interval(None, None), least)
    low, high = np.quantile(logs, _expanded(confidence, _freedom(sides)))
    return Ratio(math.exp(value), Interval(math.exp(low), math.exp(high)), least)


@dataclass(frozen=True, eq=False)
class _Blocked:
    """One run, sorted by value, with the time block of each value."""

    p: float
    value: Floats
    block: NDArray[np.int64]
    blocks: int

    def log_quantile(self, weight: NDArray[np.int64] | None = None) -> float:
        """Of the values, each as often as its block's weight says."""
        if weight is None:
            weight = np.ones(self.blocks, dtype=np.int64)
        upto = np.cumsum(weight[self.block])
        place = int(np.searchsorted(upto, max(1.0, math.ceil(self.p * upto[-1]))))
        return math.log(self.value[place])


def _blocked(run: Series, p: float, blocks: int) -> _Blocked:
    if not len(run.value) or run.value.min() <= 0:
        raise ValueError("a run without requests has no quantile, and values of 0 have no ratio")
    order = np.argsort(run.value, kind="stable")
    start_s, length_s = float(run.time_s.min()), float(np.ptp(run.time_s))
    share = (run.time_s - start_s) / length_s if length_s > 0 else np.zeros(len(run.value))
    block = np.minimum((share * blocks).astype(np.int64), blocks - 1)
    # Blocks in which nothing was planned are no draw.
    used, block = np.unique(block, return_inverse=True)
    return _Blocked(p, run.value[order], block[order].astype(np.int64), len(used))


def _resampled(sides: Sequence[Sequence[_Blocked]], random: np.random.Generator) -> float:
    """The log ratio of one draw: on each side, runs anew (if there are several) and blocks anew."""
    sums = []
    for side in sides:
        chosen = random.integers(len(side), size=len(side)) if len(side) > 1 else (0,)
        logs = []
        for number in chosen:
            run = side[int(number)]
            weight = np.bincount(
                random.integers(run.blocks, size=run.blocks), minlength=run.blocks
            ).astype(np.int64)
            logs.append(run.log_quantile(weight))
        sums.append(math.fsum(logs) / len(logs))
    return sums[1] - sums[0]


def _freedom(sides: Sequence[Sequence[_Blocked]]) -> int:
    """Of the less known side: what is drawn anew, less one."""
    return max(1, min(len(s) if len(s) > 1 else s[0].blocks for s in sides) - 1)


def _expanded(confidence: float, freedom: int) -> tuple[float, float]:
    """The two percentiles, farther out than those of the confidence."""
    from scipy.stats import t

    reach = float(t.ppf(0.5 + confidence / 2, freedom)) * math.sqrt((freedom + 1) / freedom)
    tail = NormalDist().cdf(-reach)
    return tail, 1 - tail
