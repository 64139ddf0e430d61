"""The order of MPMs and configurations: pairs of made-up observations, and the intervals that tell
which of them count, of runs with known ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpmlab.bench.measured import measured
from mpmlab.bench.ordering import CONFIGURATION, MPM, among, pairs, right
from mpmlab.bench.stats_quantiles import batch_means_interval
from mpmlab.bench.validate import intervals_of
from mpmlab.bench.validation import ORDERED, SIM, Share
from mpmlab.load.recorder import Outcome
from mpmlab.report.validation_targets import order_lines, order_table
from tests.bench.bench_data import Row, failed, make_records, ok
from tests.bench.seen import apart, shown


def test_only_pairs_that_were_measured_apart_count() -> None:
    """Of intervals that overlap or touch nobody knows the order."""
    runs = [
        apart("a", "prefork", 10, 12, {SIM: 11}),
        apart("a", "worker", 12, 14, {SIM: 11}),
        apart("a", "event", 13, 15, {SIM: 14}),
    ]
    (pair,) = pairs(runs)
    assert (pair.kind, pair.figure) == (MPM, "mean_ms")
    assert (pair.less.mpm, pair.more.mpm) == ("prefork", "event")
    assert pair.right


@pytest.mark.parametrize(("less", "more", "good"), [(1, 2, True), (2, 1, False), (2, 2, False)])
def test_a_pair_is_right_if_the_prediction_has_its_order(
    less: float, more: float, good: bool
) -> None:
    """By how much does not matter; who cannot tell the two apart is wrong. The order in which the
    two were run does not matter either."""
    runs = [apart("a", "event", 10, 12, {SIM: less}), apart("a", "worker", 20, 22, {SIM: more})]
    assert [pair.right for pair in pairs(runs)] == [good]
    assert [pair.right for pair in pairs(runs[::-1])] == [good]


def test_what_is_paired() -> None:
    """One case with two MPMs; one MPM and scenario in two cases. Not two MPMs in two cases, not two
    scenarios, no case for fitting and no invalid run."""
    said = {SIM: 1.0}
    runs = [
        apart("a", "event", 10, 11, said),
        apart("b", "event", 20, 21, said),
        apart("b", "worker", 30, 31, said),
        apart("c", "event", 40, 41, said, scenario="wait"),
        apart("d", "event", 50, 51, said, role="train"),
        apart("e", "event", 60, 61, said, reasons=("the client was late",)),
    ]
    found = {(p.kind, p.less.case, p.less.mpm, p.more.case, p.more.mpm) for p in pairs(runs)}
    assert found == {
        (CONFIGURATION, "a", "event", "b", "event"),
        (MPM, "b", "event", "b", "worker"),
    }


def test_repetitions_widen_the_interval() -> None:
    """From the smallest lower to the largest upper end; what was predicted is the median. If one
    of them has no interval nobody knows where the figure may lie."""
    once = [apart("a", "event", 10, 12, {SIM: 1}), apart("a", "worker", 14, 16, {SIM: 2})]
    assert len(pairs(once)) == 1
    wider = apart("a", "event", 13, 15, {SIM: 1})
    assert pairs([*once, wider]) == []
    further = apart("a", "event", 7, 9, {SIM: 5}), apart("a", "event", 8, 9, {SIM: 9})
    (pair,) = pairs([*once, *further])
    assert (pair.less.low, pair.less.high, pair.less.predicted) == (7, 12, 5)
    assert not pair.right
    unknown = replace(once[0], intervals={})
    assert pairs([*once, unknown]) == []


def test_shares_are_told_by_figure_and_kind() -> None:
    """Of the pairs that have both."""
    runs = [
        apart("a", "event", 10, 11, {SIM: 1}),
        apart("a", "worker", 20, 21, {SIM: 2}),
        apart("b", "event", 30, 31, {SIM: 0}),
    ]
    found = pairs(runs)
    assert right(found) == Share(1, 2)
    assert right(found, kind=MPM, figure="mean_ms") == Share(1, 1)
    assert right(found, kind=CONFIGURATION) == Share(0, 1)
    assert right(found, figure="p99_ms") == Share(0, 0)


def test_baselines_are_held_against_the_simulation_on_the_same_pairs() -> None:
    """A baseline without an answer is not asked; the simulation's other pairs are left out beside
    it. The wrong ones of the simulation are named with what was measured and predicted."""
    runs = [
        apart("a", "event", 10, 11, {SIM: 1, "M/M/c": 7}),
        apart("a", "worker", 20, 21, {SIM: 2, "M/M/c": 7}),
        apart("a", "prefork", 30, 31, {SIM: 1.5}),
    ]
    simulated, baseline = pairs(runs), pairs(runs, "M/M/c")
    assert right(simulated) == Share(2, 3)
    assert right(baseline) == Share(0, 1)
    assert right(among(simulated, baseline)) == Share(1, 1)
    rows = [
        [part.strip() for part in line.strip("│").split("│")]
        for line in shown(order_table(runs, "t")).splitlines()
        if " of " in line and "│" in line
    ]
    assert [(row[0], row[2], row[-1]) for row in rows] == [
        ("simulation", "2 of 3", "2 of 3"),
        ("M/M/c", "0 of 1", "0 of 1"),
        ("simulation, same pairs", "1 of 1", "1 of 1"),
    ]
    assert list(order_lines(runs)) == [
        "wrong order by mean response: a worker (measured 20 to 21, simulated 2) is less than "
        "a prefork (measured 30 to 31, simulated 1.5)"
    ]
    assert order_table(runs[:1], "t") is None


# ---- intervals -----------------------------------------------------------------------------------


def intervals(rows: list[Row]) -> dict[str, tuple[float, float]]:
    """Of a run of 10 s with 2 s of warm-up and a time-out of 3 s."""
    return intervals_of(measured(make_records(rows), 2.0, 10.0, 3.0))


def poisson(seed: int, n: int = 8000, mean_s: float = 0.01) -> list[Row]:
    """About `n` requests in 10 s, exponential response times."""
    random = np.random.default_rng(seed)
    planned_s = np.sort(random.uniform(0, 10, random.poisson(n)))
    took_s = random.exponential(mean_s, len(planned_s))
    return [ok(float(p), float(t)) for p, t in zip(planned_s, took_s, strict=True)]


def test_intervals_hold_the_truth() -> None:
    """Of exponential responses with mean 10 ms at 800/s: in nearly all of 40 runs (95 % of them
    are promised; 32 or fewer would be seen in one of a thousand such tests); and they are short."""
    truth = {"throughput_rps": 800.0, "mean_ms": 10.0, "p99_ms": 10 * np.log(100)}
    found = [intervals(poisson(seed)) for seed in range(40)]
    for figure in ORDERED:
        inside = [one[figure][0] <= truth[figure] <= one[figure][1] for one in found]
        assert sum(inside) > 32, figure
        lengths = [(one[figure][1] - one[figure][0]) / truth[figure] for one in found]
        assert 0 < np.median(lengths) < 0.3, figure


def test_what_comes_in_waves_is_known_less_well() -> None:
    """Ten times slower in every other second: the requests are as many, but worth far less."""
    steady = poisson(1)
    waves = [
        ok(planned_s, (ended_s - planned_s) * (10 if int(planned_s) % 2 else 1))
        for planned_s, _, ended_s, _, _ in steady
    ]
    rest, moved = intervals(steady), intervals(waves)
    assert moved["mean_ms"][1] - moved["mean_ms"][0] > 5 * (rest["mean_ms"][1] - rest["mean_ms"][0])
    assert moved["p99_ms"][1] - moved["p99_ms"][0] > 5 * (rest["p99_ms"][1] - rest["p99_ms"][0])


def test_the_mean_is_of_the_measured_window() -> None:
    """What was planned in the warm-up does not touch it."""
    rows = poisson(2)
    slow_start = [ok(p, 1.0) if p < 2 else ok(p, e - p) for p, _, e, _, _ in rows]
    times_ms = [1000 * (e - p) for p, _, e, _, _ in rows if p >= 2]
    interval = batch_means_interval(np.array(times_ms))
    assert intervals(slow_start)["mean_ms"] == pytest.approx((interval.low, interval.high))


def test_time_outs_leave_no_upper_end() -> None:
    """The mean may then be anything above; the p99 is known as long as it lies below them. Of too
    few requests, or none, there is no interval."""
    rows = poisson(3)
    few = [*rows, failed(5.0, 3.0, Outcome.TIMEOUT)]
    assert set(intervals(few)) == {"throughput_rps", "p99_ms"}
    many = [*rows, *(failed(2 + i / 40, 3.0, Outcome.TIMEOUT) for i in range(200))]
    assert set(intervals(many)) == {"throughput_rps"}
    assert set(intervals(poisson(4, n=50))) == {"throughput_rps", "mean_ms"}
    assert intervals([]).keys() <= {"throughput_rps"}
