"""Ratios and their intervals: pairs in ABBA order, and the block bootstrap of single runs."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from mpmlab.bench import stats_compare
from mpmlab.bench.stats_compare import (
    Ratio,
    Series,
    abba,
    log_ratio,
    paired,
    quantile_ratio,
)
from mpmlab.bench.stats_quantiles import Interval
from tests.bench.queue_data import Process, band, exponential, mm1, share

SEEDS = 300


def series(process: Process, seed: int, n: int, factor: float = 1.0) -> Series:
    """One run of 10 s."""
    values = factor * process(np.random.default_rng(seed), n)
    return Series(np.linspace(0, 10, n), values)


# ---- pairs --------------------------------------------------------------------------------------


def test_the_order_is_abba() -> None:
    """Pairs turn about."""
    assert abba(1) == "AB"
    assert abba(4) == "ABBAABBA"


def test_values_find_their_pairs() -> None:
    """Whichever of a pair ran first, it is A's value that comes first."""
    assert paired("ABBA", [1.0, 2.0, 20.0, 10.0]) == ([1.0, 10.0], [2.0, 20.0])


@pytest.mark.parametrize(("order", "values"), [("ABB", 3), ("AABB", 4), ("AB", 3), ("AC", 2)])
def test_what_is_not_pairs_is_refused(order: str, values: int) -> None:
    """A run too many, twins, a value too many, an unknown letter."""
    with pytest.raises(ValueError, match="accepted: pairs AB or BA"):
        paired(order, [1.0] * values)


def test_log_ratio_by_hand() -> None:
    """Ratios 2 and 8: 4 on average; logs 0.69 and 2.08, t of one degree of freedom is 12.7."""
    found = log_ratio([1.0, 10.0], [2.0, 80.0])
    half = 12.7062 * math.log(4) / math.sqrt(2) / math.sqrt(2)
    assert found.value == pytest.approx(4)
    assert found.interval.low == pytest.approx(4 * math.exp(-half), rel=1e-3)
    assert found.interval.high == pytest.approx(4 * math.exp(half), rel=1e-3)
    assert (found.n, found.differs) == (2, False)


def test_a_ratio_and_its_inverse_say_the_same() -> None:
    """A against B is B against A, turned over."""
    first, second = [1.0, 1.1, 0.9, 1.2], [2.0, 2.3, 1.7, 2.2]
    there, back = log_ratio(first, second), log_ratio(second, first)
    assert there.value * back.value == pytest.approx(1)
    assert there.interval.low is not None
    assert back.interval.high is not None
    assert there.interval.low * back.interval.high == pytest.approx(1)
    assert there.differs
    assert back.differs


def test_one_pair_has_a_ratio_and_no_interval() -> None:
    """Nothing to tell the scatter from, so nothing is shown to differ."""
    assert log_ratio([2.0], [2.0]) == Ratio(1.0, Interval(None, None), 1)
    assert not log_ratio([2.0], [30.0]).differs


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], []), ([1.0], [0.0])])
def test_what_has_no_ratio_is_refused(first: list[float], second: list[float]) -> None:
    """No pairs, half a pair, a value of 0."""
    with pytest.raises(ValueError, match="accepted: as many of each"):
        log_ratio(first, second)


@pytest.mark.parametrize("pairs", [3, 5, 10])
def test_the_interval_of_pairs_covers(pairs: int) -> None:
    """Whatever a pair has in common, a machine's mood of a factor of two say, does not matter."""

    def covers(seed: int) -> bool:
        draw = random.Random(seed)
        moods = [draw.gauss(0, math.log(2)) for _ in range(pairs)]
        first = [math.exp(mood + draw.gauss(0, 0.05)) for mood in moods]
        second = [1.5 * math.exp(mood + draw.gauss(0, 0.05)) for mood in moods]
        return log_ratio(first, second).interval.contains(1.5)

    low, high = band(0.95, 1000)
    assert low <= share(covers, 1000) <= high


def test_a_steady_trend_does_not_favour_either() -> None:
    """If every run is 5 % slower than the one before it, ABBA still finds the two equal; always A
    first would find B 5 % slower."""
    times = [1.05**i for i in range(8)]
    assert log_ratio(*paired(abba(4), times)).value == pytest.approx(1)
    assert log_ratio(*paired("AB" * 4, times)).value == pytest.approx(1.05)


# ---- single runs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("process", "p", "n"),
    [(exponential, 0.5, 1000), (exponential, 0.99, 4000), (mm1(0.5), 0.5, 4000),
     (mm1(0.5), 0.99, 8000)],
)  # fmt: skip
def test_the_bootstrap_interval_covers(
    process: Process, p: float, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ratio of two runs' quantiles, the second twice as slow, lies inside in 95 % of cases: of
    independent requests, and of those of one queue."""
    monkeypatch.setattr(stats_compare, "RESAMPLES", 300)

    def covers(seed: int) -> bool:
        first, second = series(process, 2 * seed, n), series(process, 2 * seed + 1, n, 2.0)
        return quantile_ratio([first], [second], p, seed=seed).interval.contains(2.0)

    low, _ = band(0.95, SEEDS)
    _, high = band(0.97, SEEDS)
    assert low <= share(covers, SEEDS) <= high


def test_drawing_requests_instead_of_blocks_would_not_cover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Why blocks: with as many of them as requests the interval of a queue's median is far too
    short."""
    monkeypatch.setattr(stats_compare, "RESAMPLES", 200)

    def covers(seed: int) -> bool:
        first, second = (series(mm1(0.7), 2 * seed + i, 3000) for i in (0, 1))
        return quantile_ratio([first], [second], 0.5, blocks=3000).interval.contains(1.0)

    assert share(covers, 100) < 0.75


def test_several_runs_a_side_include_what_differs_between_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If runs scatter by 20 % besides, the interval from five a side covers, that from one does
    not."""
    monkeypatch.setattr(stats_compare, "RESAMPLES", 200)

    def covers(seed: int, runs: int) -> bool:
        draw = np.random.default_rng(seed)
        sides = [
            [series(exponential, 100 * seed + 10 * side + i, 1000, draw.lognormal(0, 0.2))
             for i in range(runs)]
            for side in (0, 1)
        ]  # fmt: skip
        return quantile_ratio(sides[0], sides[1], 0.5, seed=seed).interval.contains(1.0)

    low, _ = band(0.95, 100)
    assert share(lambda seed: covers(seed, 5), 100) >= low
    assert share(lambda seed: covers(seed, 1), 100) < 0.8


def test_the_same_seed_gives_the_same_interval() -> None:
    """And another seed nearly the same one: the number of resamples is enough."""
    first, second = series(exponential, 1, 2000), series(exponential, 2, 2000, 1.3)
    found = quantile_ratio([first], [second], 0.9, seed=7)
    assert quantile_ratio([first], [second], 0.9, seed=7) == found
    other = quantile_ratio([first], [second], 0.9, seed=8)
    assert other != found
    assert other.interval.low == pytest.approx(found.interval.low, rel=0.05)
    assert other.interval.high == pytest.approx(found.interval.high, rel=0.05)


def test_the_ratio_is_that_of_the_quantiles() -> None:
    """Of order statistics, in any order of the requests; over several runs the geometric mean."""
    values = np.arange(1.0, 101.0)
    order = np.random.default_rng(1).permutation(100)
    one = Series(np.arange(100.0)[order], values[order])
    four = Series(np.arange(100.0), 4 * values)
    assert quantile_ratio([one], [four], 0.9).value == pytest.approx(4)
    assert quantile_ratio([one, four], [four], 0.9).value == pytest.approx(2)


def test_a_run_without_time_has_no_interval() -> None:
    """All planned at one moment are one block: a ratio and no ends."""
    once = Series(np.zeros(50), np.arange(1.0, 51.0))
    found = quantile_ratio([once], [once], 0.5)
    assert found == Ratio(1.0, Interval(None, None), 1)


@pytest.mark.parametrize("values", [[], [0.0, 1.0]])
def test_runs_that_have_no_ratio_are_refused(values: list[float]) -> None:
    """No requests, response times of 0, no runs."""
    good = series(exponential, 1, 100)
    bad = Series(np.arange(float(len(values))), np.array(values))
    with pytest.raises(ValueError, match="no ratio"):
        quantile_ratio([good], [bad], 0.5)
    with pytest.raises(ValueError, match="at least one run"):
        quantile_ratio([good], [], 0.5)
