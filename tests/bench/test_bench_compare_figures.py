"""The ratio of one figure: equal to what arithmetic says, with an interval that holds the truth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest

from mpmlab.bench.compare_figures import (
    FIGURES,
    Compared,
    Condensed,
    Sums,
    compared,
    condense,
    mean_ratio_interval,
    own,
)
from mpmlab.bench.run import Run
from mpmlab.bench.stats_compare import log_ratio
from mpmlab.bench.stats_quantiles import BATCHES
from mpmlab.bench.summary import summarise
from mpmlab.load.recorder import Outcome
from tests.bench.bench_data import failed, make_experiment, make_records, make_run, ok
from tests.bench.stored_data import arrivals, make_plan, served

FIGURE = {figure.name: figure for figure in FIGURES}
AT_S = arrivals(1)
PLAN = make_plan(AT_S.tolist())


def condensed(run: Run) -> Condensed:
    """Of a run under PLAN's arrivals, 2 s of warm-up, 10 s in all."""
    return condense(run, summarise(run, 2.0, 10.0, 3.0), make_experiment(), PLAN)


def with_figures(deterministic: bool = False, **values: object) -> Condensed:
    """A run whose summary says so."""
    run = condensed(served(AT_S, 1.0, 2))
    summary = dataclasses.replace(run.summary, **values)  # type: ignore[arg-type]
    return dataclasses.replace(run, summary=summary, deterministic=deterministic)


def several(name: str, values: Sequence[float], deterministic: bool = False) -> list[Condensed]:
    """Repetitions with these values of one figure."""
    return [with_figures(deterministic, **{name: value}) for value in values]


# ---- single runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["throughput_rps", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "busy_mean"]
)
def test_a_ratio_of_single_runs_is_that_of_their_summaries(name: str) -> None:
    """The value is the second summary's, the ratio that of both, inside its interval; a second time
    gives the same bits."""
    first, second = condensed(served(AT_S, 1.0, 2)), condensed(served(AT_S, 1.3, 3))
    found = compared(FIGURE[name], [first], [second], seed=1)
    values = [FIGURE[name].value(run.summary) for run in (first, second)]
    assert values[0] is not None
    assert values[1] is not None
    assert found.value == values[1]
    assert found.ratio == pytest.approx(values[1] / values[0])
    assert found.interval.exists
    assert found.interval.contains(values[1] / values[0])
    assert found.basis == "blocks of one run"
    assert found == compared(FIGURE[name], [first], [second], seed=1)


def test_a_real_difference_is_found_and_none_is_not_invented() -> None:
    """A server that is 30 % slower: mean, p50, p90 and busy workers exclude 1, throughput (the same
    arrivals) does not. The same server again: all contain 1."""
    first = condensed(served(AT_S, 1.0, 2))
    slower, same = condensed(served(AT_S, 1.3, 3)), condensed(served(AT_S, 1.0, 4))
    for name in ("mean_ms", "p50_ms", "p90_ms", "busy_mean"):
        interval = compared(FIGURE[name], [first], [slower], seed=1).interval
        assert interval.low is not None
        assert interval.low > 1, name
        assert interval.contains(1.3), name
        assert compared(FIGURE[name], [first], [same], seed=1).interval.contains(1), name
    assert compared(FIGURE["throughput_rps"], [first], [slower], seed=1).interval.contains(1)


@pytest.mark.parametrize("name", ["cpu_per_request_us", "memory_mib", "errors_percent"])
def test_one_value_each_has_a_ratio_and_no_interval(name: str) -> None:
    """CPU and memory are one number a run: nothing tells their scatter."""
    runs = [with_figures(cpu_per_request_us=100.0, memory_mib=50.0, errors=40, requests=400)]
    others = [with_figures(cpu_per_request_us=150.0, memory_mib=75.0, errors=60, requests=400)]
    found = compared(FIGURE[name], runs, others, seed=1)
    assert found.ratio == pytest.approx(1.5)
    assert not found.interval.exists
    assert found.basis == "one value each"


def test_the_interval_of_a_mean_holds_the_truth() -> None:
    """Of 1000 pairs of runs whose means differ by 20 %, with blocks that share their load (as under
    one plan), 93 to 97 % of the 95 % intervals hold 1.2; they are narrower than if the blocks of
    each run were taken for unrelated."""
    random = np.random.default_rng(5)
    held, widths, unrelated = 0, [], []
    for _ in range(1000):
        load = random.lognormal(0, 0.2, BATCHES)
        number = random.poisson(100, BATCHES).astype(float)
        sides = [
            Sums(scale * load * number * random.lognormal(0, 0.05, BATCHES), number)
            for scale in (1.0, 1.2)
        ]
        means = [side.total.sum() / side.number.sum() for side in sides]
        found = mean_ratio_interval(sides[0], sides[1], means[1] / means[0])
        shuffled = Sums(sides[1].total[::-1], number[::-1])
        apart = mean_ratio_interval(sides[0], shuffled, means[1] / means[0])
        held += found.contains(1.2)
        widths.append(math.log(found.high or 0) - math.log(found.low or 1))
        unrelated.append(math.log(apart.high or 0) - math.log(apart.low or 1))
    assert 930 <= held <= 970
    assert np.mean(widths) < 0.4 * np.mean(unrelated)


def test_blocks_are_of_the_measured_window_and_clients() -> None:
    """An answer counts in the block in which it came, a response time in that of its plan; what was
    planned in the warm-up has no response time here, and who is not measured has neither."""
    rows = [ok(1.9, 0.2), ok(2.0, 0.1), ok(2.5, 0.1), ok(9.9, 0.5), ok(9.5, 0.3)]
    run = make_run("real", make_records(rows))
    plan = make_plan([1.9, 2.0, 2.5, 9.4, 9.5], slow=[4])
    found = condense(run, summarise(run, 2.0, 10.0, 3.0), make_experiment(), plan)
    answers, times = found.sums["throughput_rps"].total, found.sums["mean_ms"]
    assert np.flatnonzero(answers).tolist() == [
        0,
        1,
    ]  # 2.1 s (two of them) and 2.6 s, of 0.4 s each
    assert answers.sum() == 3
    assert times.number.tolist() == [1.0, 1.0, *[0.0] * 17, 1.0]
    assert times.total[-1] == pytest.approx(0.5)
    assert sorted(found.series.value) == pytest.approx([0.1, 0.1, 0.5])


# ---- repetitions ---------------------------------------------------------------------------------


def test_as_many_of_each_are_paired() -> None:
    """The geometric mean of the ratios with Student's interval of their logarithms; what moves both
    runs of a pair alike does not count."""
    a, b = [10.0, 20.0, 12.0, 16.0], [11.0, 22.4, 13.1, 17.7]
    found = compared(FIGURE["p99_ms"], several("p99_ms", a), several("p99_ms", b), seed=1)
    want = log_ratio(a, b)
    assert found.ratio == pytest.approx(want.value)
    assert found.interval == want.interval
    assert found.basis == "4 pairs"
    assert found.value == pytest.approx(math.exp(np.mean(np.log(b))))
    assert found.interval.low is not None
    assert found.interval.low > 1.05


def test_unequal_numbers_are_not_paired() -> None:
    """Two and three runs: the interval is that of Welch's kind, wider than either side's alone, and
    contains the ratio of the geometric means."""
    a, b = [10.0, 11.0], [20.0, 22.0, 21.0]
    found = compared(FIGURE["p99_ms"], several("p99_ms", a), several("p99_ms", b), seed=1)
    assert found.basis == "2 and 3 runs"
    assert found.ratio == pytest.approx(np.cbrt(20 * 22 * 21) / math.sqrt(110))
    # Half-widths of the logarithms: t(0.975, 1) * s / sqrt(2), t(0.975, 2) * s / sqrt(3).
    half_a = 12.7062 * np.std(np.log(a), ddof=1) / math.sqrt(2)
    half_b = 4.30265 * np.std(np.log(b), ddof=1) / math.sqrt(3)
    want = np.cbrt(20 * 22 * 21) / math.sqrt(110) * math.exp(math.hypot(half_a, half_b))
    assert found.interval.high == pytest.approx(want, rel=1e-4)


def test_repetitions_against_one_run_have_no_interval() -> None:
    """One real run tells nothing of how it would come out again."""
    found = compared(
        FIGURE["p99_ms"], several("p99_ms", [10, 11, 12]), several("p99_ms", [20]), seed=1
    )
    assert found.ratio == pytest.approx(20 / np.cbrt(10 * 11 * 12))
    assert not found.interval.exists
    assert found.basis == "one run on one side"


@pytest.mark.parametrize("simulated_first", [True, False])
def test_a_simulation_is_its_own_repetition(simulated_first: bool) -> None:
    """It would be the same again: only the real runs scatter, whichever side they are on."""
    real, sim = several("p99_ms", [10, 11, 12]), several("p99_ms", [11], deterministic=True)
    sides = (sim, real) if simulated_first else (real, sim)
    found = compared(FIGURE["p99_ms"], *sides, seed=1)
    values = ([11.0] * 3, [10.0, 11.0, 12.0])
    assert found.interval == log_ratio(*(values if simulated_first else values[::-1])).interval
    assert found.basis == "3 pairs"


# ---- what has no ratio ---------------------------------------------------------------------------


def bounded(first: bool, second: bool) -> Compared:
    """p99 of two runs, each with or without enough time-outs to reach it."""
    sides = []
    for timed_out in (first, second):
        rows = [ok(3 + 0.01 * i, 0.01) for i in range(95)]
        rows += [failed(5, 3.0, Outcome.TIMEOUT) if timed_out else ok(5, 0.02) for _ in range(5)]
        run = make_run("real", make_records(rows))
        plan = make_plan([row[0] for row in sorted(rows)])
        sides.append(condense(run, summarise(run, 2.0, 10.0, 3.0), make_experiment(), plan))
    return compared(FIGURE["p99_ms"], sides[:1], sides[1:], seed=1)


@pytest.mark.parametrize(
    ("first", "second", "ratio_bound", "value_bound"),
    [
        (True, False, "≤", ""),
        (False, True, "≥", "≥"),
        (True, True, "?", "≥"),
        (False, False, "", ""),
    ],
)
def test_a_ratio_of_time_outs_is_a_bound(
    first: bool, second: bool, ratio_bound: str, value_bound: str
) -> None:
    """If the baseline's p99 is at least 3 s, the ratio is at most what is shown; if the other's is,
    at least; if both are, neither. No interval pretends otherwise."""
    found = bounded(first, second)
    assert (found.ratio_bound, found.value_bound) == (ratio_bound, value_bound)
    assert found.interval.exists is not (first or second)
    assert (found.basis == "rests on time-outs") is (first or second)


def test_nothing_and_zero_have_no_ratio() -> None:
    """A figure that one run lacks, or that is zero, is shown without a ratio."""
    plain = [with_figures()]
    for values in ({"busy_mean": None}, {"busy_mean": 0.0}):
        for sides in ((plain, [with_figures(**values)]), ([with_figures(**values)], plain)):
            found = compared(FIGURE["busy_mean"], *sides, seed=1)
            assert (found.ratio, found.interval.exists, found.basis) == (None, False, "no ratio")
    assert compared(FIGURE["busy_mean"], plain, [with_figures(busy_mean=None)], 1).value is None
    assert compared(FIGURE["busy_mean"], plain, [with_figures(busy_mean=0.0)], 1).value == 0
    mixed = several("busy_mean", [0.0, 3.0])
    assert compared(FIGURE["busy_mean"], plain, mixed, 1).value == 1.5


def test_an_instant_answer_has_no_log() -> None:
    """A response time of 0 (a simulation without costs): a ratio, no interval, no failure."""
    run = condensed(served(AT_S, 1.0, 2))
    value = run.series.value.copy()
    value[0] = 0.0
    instant = dataclasses.replace(run, series=dataclasses.replace(run.series, value=value))
    found = compared(FIGURE["p50_ms"], [instant], [run], seed=1)
    assert found.ratio == 1
    assert (found.interval.exists, found.basis) == (False, "no ratio")


def test_the_baseline_has_a_value_only() -> None:
    """It is not compared with itself; a bound of it is marked."""
    assert own(FIGURE["p99_ms"], several("p99_ms", [2, 8])).value == pytest.approx(4)
    found = own(FIGURE["p99_ms"], [with_figures(lower_bounds=("p99_ms",))])
    assert (found.ratio, found.interval.exists, found.value_bound) == (None, False, "≥")
