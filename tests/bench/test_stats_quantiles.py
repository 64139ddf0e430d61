"""Intervals of quantiles and means: exact ranks, coverage over hundreds of seeds, censoring."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from mpmlab.bench.stats_quantiles import (
    BATCHES,
    LEAST_BEYOND,
    Interval,
    batch_means_interval,
    batch_quantile_interval,
    batched,
    effective_size,
    least_n,
    quantile,
    quantile_interval,
    ranks,
    relaxation_s,
    samples_for,
    t_interval,
)
from tests.bench.queue_data import Process, band, exponential, mm1, mm1_quantile, share

SEEDS = 400


def drawn(process: Process, seed: int, n: int) -> np.ndarray:
    """n values of the process."""
    return process(np.random.default_rng(seed), n)


# ---- ranks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "p", "expected"),
    [
        (5, 0.5, (None, None)),
        (6, 0.5, (1, 6)),
        (367, 0.99, (359, None)),
        (368, 0.99, (360, 368)),
        (9, 0.5, (2, 8)),
        (100, 0.5, (40, 61)),
    ],
)
def test_ranks_of_the_tables(n: int, p: float, expected: tuple[int | None, int | None]) -> None:
    """The ranks are those of printed tables of the sign test's interval; no end where none is."""
    assert ranks(n, p) == expected


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [400, 1000, 5000])
def test_ranks_hold_the_confidence_and_could_not_be_nearer(n: int, p: float) -> None:
    """At most 2.5 % lie on either side; with each rank one step further in, it would be more."""
    low, high = ranks(n, p)
    assert low is not None
    assert high is not None
    assert binom.cdf(low - 1, n, p) <= 0.025 < binom.cdf(low, n, p) + 1e-12
    assert binom.sf(high - 1, n, p) <= 0.025 < binom.sf(high - 2, n, p) + 1e-12


@pytest.mark.parametrize(("p", "n"), [(0.5, 6), (0.9, 36), (0.99, 368), (0.999, 3688)])
def test_the_fewest_values_that_have_an_interval(p: float, n: int) -> None:
    """least_n is where the second end appears, neither earlier nor later."""
    assert least_n(p) == n
    assert None not in ranks(n, p)
    assert None in ranks(n - 1, p)


@pytest.mark.parametrize(("p", "relative", "n"), [(0.99, 0.05, 7200), (0.999, 0.05, 32000)])
def test_required_samples_are_those_of_the_measurement_rules(
    p: float, relative: float, n: int
) -> None:
    """p99 to 5 % takes about 7,200 independent exponential values, p99.9 about 32,000."""
    assert samples_for(p, relative) == pytest.approx(n, rel=0.01)


@pytest.mark.parametrize("relative", [0.05, 0.10])
def test_required_samples_give_that_half_width(relative: float) -> None:
    """With so many values the half-width is the one asked for, on average over seeds, or up to a
    quarter more, as ranks are whole."""
    n = samples_for(0.99, relative)
    widths = []
    for seed in range(100):
        values = drawn(exponential, seed, n)
        found = quantile_interval(values, 0.99).half_width(float(np.quantile(values, 0.99)))
        assert found is not None
        widths.append(found)
    assert relative < float(np.mean(widths)) < 1.25 * relative


# ---- coverage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "n"), [(0.5, 100), (0.9, 300), (0.99, 1000), (0.99, 4000)])
def test_the_interval_covers_as_often_as_the_binomial_law_says(p: float, n: int) -> None:
    """Over independent exponential values, coverage is that of the two ranks, which is no less than
    95 %: the interval is exact, not asymptotic."""
    low, high = ranks(n, p)
    assert low is not None
    assert high is not None
    exact = binom.cdf(high - 1, n, p) - binom.cdf(low - 1, n, p)
    assert exact >= 0.95
    true = -math.log1p(-p)
    covered = share(
        lambda seed: quantile_interval(drawn(exponential, seed, n), p).contains(true), SEEDS
    )
    least, most = band(float(exact), SEEDS)
    assert least <= covered <= most


@pytest.mark.parametrize(
    ("utilisation", "p", "n"), [(0.5, 0.5, 2000), (0.5, 0.99, 20_000), (0.8, 0.5, 20_000)]
)
def test_the_interval_of_correlated_requests_covers(utilisation: float, p: float, n: int) -> None:
    """Response times of a queue are not independent: with the effective size the interval covers
    what it says, taken for independent they would not."""
    process, true = mm1(utilisation), mm1_quantile(utilisation, p)

    def covers(seed: int, corrected: bool) -> bool:
        values = drawn(process, seed, n)
        worth = effective_size(values, p) if corrected else None
        return quantile_interval(values, p, effective=worth).contains(true)

    least, _ = band(0.95, SEEDS)
    assert share(lambda seed: covers(seed, True), SEEDS) >= least
    assert share(lambda seed: covers(seed, False), SEEDS) < least - 0.1


def test_independent_values_are_worth_nearly_all_of_themselves() -> None:
    """The correction costs independent values less than a fifth of their number, and they are
    never worth more than they are."""
    worth = [effective_size(drawn(exponential, seed, 4000), 0.9) / 4000 for seed in range(SEEDS)]
    assert max(worth) <= 1
    assert 0.8 < float(np.mean(worth)) < 1


def test_the_effective_size_knows_the_correlation_of_a_repeated_sample() -> None:
    """If every value comes ten times in a row, a tenth is what they are worth."""
    worth = [
        effective_size(np.repeat(drawn(exponential, seed, 1000), 10), 0.5) for seed in range(SEEDS)
    ]
    assert float(np.mean(worth)) == pytest.approx(1000, rel=0.2)


@pytest.mark.parametrize(("p", "n"), [(0.5, 1000), (0.9, 2000), (0.99, 20_000)])
def test_the_interval_of_batch_quantiles_covers(p: float, n: int) -> None:
    """The t interval over the quantiles of batches covers about as often as it says."""
    true = -math.log1p(-p)

    def covers(seed: int) -> bool:
        found = batch_quantile_interval(drawn(exponential, seed, n), p)
        assert found is not None
        return found.contains(true)

    least, most = band(0.94, SEEDS)
    assert least <= share(covers, SEEDS) <= most


def test_short_batches_have_no_quantile_of_their_own() -> None:
    """With fewer than LEAST_BEYOND values beyond it in a batch there is no batch interval."""
    enough = LEAST_BEYOND * BATCHES * 10
    assert batch_quantile_interval(drawn(exponential, 1, enough), 0.9) is not None
    assert batch_quantile_interval(drawn(exponential, 1, enough - 1), 0.9) is None
    assert batch_quantile_interval(drawn(exponential, 1, enough), 0.9, effective=10) is None


@pytest.mark.parametrize("process", [exponential, mm1(0.5)])
def test_the_interval_of_batch_means_covers(process: Process) -> None:
    """Means of batches are nearly normal and nearly independent: 95 % is 95 %."""
    least, most = band(0.95, SEEDS)
    covered = share(
        lambda seed: batch_means_interval(drawn(process, seed, 10_000)).contains(1.0), SEEDS
    )
    assert least <= covered <= most


# ---- ends ---------------------------------------------------------------------------------------


def test_values_in_any_order_have_the_same_interval() -> None:
    """The ends are values that were measured, by rank."""
    values = np.arange(1.0, 101.0)
    assert quantile_interval(values[::-1], 0.5) == Interval(40.0, 61.0)
    assert quantile_interval(np.random.default_rng(1).permutation(values), 0.5) == Interval(40, 61)


def test_a_time_out_is_no_upper_end() -> None:
    """Where the upper end would be a value that is only known to be at least so much, there is
    none; the lower end stays."""
    values = np.arange(1.0, 1001.0)
    whole = quantile_interval(values, 0.99)
    assert whole == Interval(983.0, 997.0)
    assert quantile_interval(values, 0.99, censored_from=998.0) == whole
    assert quantile_interval(values, 0.99, censored_from=997.0) == Interval(983.0, None)
    assert quantile_interval(values, 0.99, censored_from=5.0) == Interval(983.0, None)


def test_nothing_has_no_interval() -> None:
    """Empty and single samples are told, not crashed on."""
    nothing = np.zeros(0)
    assert quantile_interval(nothing, 0.5) == Interval(None, None)
    assert quantile(nothing, 0.5) is None
    assert batch_means_interval(nothing) == Interval(None, None)
    assert t_interval(np.array([1.0])) == Interval(None, None)
    one = quantile(np.array([3.0]), 0.5)
    assert one is not None
    assert (one.value, one.half_width, one.batch_interval) == (3.0, None, None)


def test_a_constant_is_known_exactly() -> None:
    """No scatter, no width: and nothing is divided by zero on the way."""
    found = quantile(np.full(1000, 7.0), 0.5)
    assert found is not None
    assert (found.value, found.interval, found.half_width) == (7.0, Interval(7.0, 7.0), 0.0)


def test_half_width_is_relative() -> None:
    """(110 - 90) / 2 of 100 is a tenth; without an end, or of nothing, there is none."""
    assert Interval(90.0, 110.0).half_width(100.0) == pytest.approx(0.1)
    assert Interval(90.0, None).half_width(100.0) is None
    assert Interval(0.0, 0.0).half_width(0.0) is None
    assert Interval(None, 2.0).contains(-5)
    assert not Interval(None, 2.0).contains(3)


def test_batches_leave_out_what_is_nearest_to_the_warm_up() -> None:
    """Of 7 values in 3 batches the first is in none."""
    assert batched(np.arange(7.0), 3).tolist() == [[1, 2], [3, 4], [5, 6]]


# ---- relaxation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("utilisation", "seconds"), [(0.7, 0.19), (0.85, 0.82), (0.95, 7.8)])
def test_relaxation_times_of_the_measurement_rules(utilisation: float, seconds: float) -> None:
    """With s/c = 5 ms: 0.19 s, 0.82 s and 7.8 s; s/c is what utilisation and rate say it is."""
    assert relaxation_s(utilisation, utilisation / 0.005) == pytest.approx(seconds, rel=0.02)


def test_an_overloaded_queue_never_forgets() -> None:
    """At utilisation 1 and beyond, and if nothing was completed, there is no relaxation time."""
    assert relaxation_s(1.0, 100.0) == math.inf
    assert relaxation_s(0.5, 0.0) == math.inf
    assert relaxation_s(0.0, 100.0) == 0.0


def test_relaxation_is_how_long_a_queue_remembers() -> None:
    """The autocorrelation of M/M/1's response times has fallen below 1/e after one relaxation
    time and is not yet gone after a twentieth of it: the scale is right."""
    utilisation, n = 0.7, 400_000
    values = drawn(mm1(utilisation), 5, n) - mm1_quantile(utilisation, 1 - 1 / math.e)
    lag = round(relaxation_s(utilisation, 1.0))

    def correlation(by: int) -> float:
        return float((values[by:] * values[:-by]).mean() / values.var())

    assert correlation(lag) < 1 / math.e
    assert correlation(max(1, lag // 20)) > 0.5
