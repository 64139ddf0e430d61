"""Anderson-Darling tests of gaps: their level, their power, and what a real client may do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from mpmlab.bench.stats_arrivals import (
    KNOWN_MEAN_LIMIT,
    LEAST_GAPS,
    LEVEL,
    MOST_GAPS,
    OWN_MEAN_LIMIT,
    TWO_SAMPLE_LIMIT,
    arrival_test,
    gamma_statistic,
    two_sample_statistic,
)
from tests.bench.queue_data import Floats, band, share

SEEDS = 1000
KINDS = ["poisson", "constant", "bursty"]


def planned(kind: str, rate: float, seed: int, n: int = 10_000) -> Floats:
    """n planned times in whole microseconds, as plans have them."""
    random = np.random.default_rng(seed)
    gaps = np.ones(n) if kind == "constant" else random.exponential(1.0, n)
    if kind == "bursty":
        gaps = gaps * np.where(random.random(n) < 0.1, 5.5, 0.5)
    return np.asarray(np.floor(np.cumsum(gaps) / rate * 1e6) / 1e6)


def begun(planned_s: Floats, seed: int, hog: bool = False) -> Floats:
    """When a client that needs 10 us a request takes them in hand: 2 us late on average; with a
    hog on its core, half of the time only when a slice of 3 ms is over."""
    random = np.random.default_rng(seed)
    late_s = random.exponential(2e-6, len(planned_s))
    ready_s = planned_s + late_s
    if hog:
        ends_s = np.cumsum(random.exponential(0.003, int(planned_s[-1] / 0.005) + 100) + 0.003)
        following = ends_s[np.searchsorted(ends_s, ready_s)]
        ready_s = np.where(following - ready_s < 0.003, following, ready_s)
    place = 10e-6 * np.arange(len(planned_s))
    return np.asarray(np.maximum.accumulate(ready_s - place) + place)


# ---- the statistics -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [60, 500])
def test_the_level_of_the_exponential_test_is_one_percent(n: int) -> None:
    """With the mean known, and with their own mean, exponential gaps are rejected in 1 %."""

    def known(seed: int) -> bool:
        gaps = np.random.default_rng(seed).exponential(3.0, n)
        return gamma_statistic(gaps, mean=3.0) > KNOWN_MEAN_LIMIT

    def own(seed: int) -> bool:
        gaps = np.random.default_rng(seed).exponential(3.0, n)
        return gamma_statistic(gaps) > OWN_MEAN_LIMIT

    low, high = band(LEVEL, SEEDS)
    assert low <= share(known, SEEDS) <= high
    assert low <= share(own, SEEDS) <= high


@pytest.mark.parametrize("together", [2, 10, 40])
def test_the_level_over_several_requests_is_at_most_one_percent(together: int) -> None:
    """Sums of gaps are held against their own distribution: exactly with the mean known, and
    with room to spare with their own."""

    def gaps(seed: int) -> Floats:
        return np.random.default_rng(seed).gamma(together, 1.0, 500)

    low, high = band(LEVEL, SEEDS)
    known = share(lambda s: gamma_statistic(gaps(s), together, together) > KNOWN_MEAN_LIMIT, SEEDS)
    assert low <= known <= high
    assert share(lambda s: gamma_statistic(gaps(s), together) > OWN_MEAN_LIMIT, SEEDS) <= high


@pytest.mark.parametrize(("shape", "least"), [(0.8, 0.8), (1.3, 0.9), (2.0, 1.0)])
def test_gaps_that_are_not_exponential_are_found(shape: float, least: float) -> None:
    """Burstier or more even than Poisson: 500 gaps tell a coefficient of variation of 1.12, 0.88
    and 0.71."""

    def found(seed: int) -> bool:
        gaps = np.random.default_rng(seed).gamma(shape, 1.0, 500)
        return gamma_statistic(gaps) > OWN_MEAN_LIMIT

    assert share(found, 200) >= least


def test_the_exponential_statistic_is_that_of_the_formula() -> None:
    """-n - sum((2i-1)(ln F(x_i) + ln(1 - F(x_n+1-i))))/n, with and without the mean."""
    gaps = np.sort(np.random.default_rng(1).exponential(2.0, 300))
    n = len(gaps)
    for mean, factor in ((2.0, 1.0), (None, 1 + 0.6 / n)):
        u = 1 - np.exp(-gaps / (gaps.mean() if mean is None else mean))
        terms = [(2 * i + 1) * (np.log(u[i]) + np.log(1 - u[n - 1 - i])) for i in range(n)]
        assert gamma_statistic(gaps, mean=mean) == pytest.approx((-n - sum(terms) / n) * factor)


@pytest.mark.parametrize(("n", "m"), [(20, 30), (500, 400)])
@pytest.mark.parametrize("grain", [0.0, 1.0, 8.0])
def test_the_two_sample_statistic_is_scipys(n: int, m: int, grain: float) -> None:
    """Also with few and with many ties."""
    random = np.random.default_rng(n)
    first, second = random.exponential(10, n), random.exponential(12, m)
    if grain:
        first, second = np.rint(first / grain), np.rint(second / grain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of p values beyond its table, and of its next version
        wanted = stats.anderson_ksamp([first, second]).statistic
    assert two_sample_statistic(first, second) == pytest.approx(wanted)


def test_the_level_of_the_two_sample_test_is_one_percent() -> None:
    """Two samples of one distribution are told apart in 1 %, those of two always."""

    def apart(seed: int, second: float) -> bool:
        random = np.random.default_rng(seed)
        one, two = random.exponential(1.0, 300), random.exponential(second, 200)
        return two_sample_statistic(one, two) > TWO_SAMPLE_LIMIT

    low, high = band(LEVEL, SEEDS)
    assert low <= share(lambda seed: apart(seed, 1.0), SEEDS) <= high
    assert share(lambda seed: apart(seed, 2.0), 100) == 1.0


def test_equal_samples_do_not_differ() -> None:
    """All values the same, or both samples the same: nothing to reject, nothing divided by 0."""
    assert two_sample_statistic(np.ones(60), np.ones(50)) == 0.0
    values = np.random.default_rng(1).exponential(1.0, 500)
    assert two_sample_statistic(values, values) < 0


# ---- clients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [100, 2000, 40_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_works_is_not_rejected(kind: str, rate: float) -> None:
    """Microseconds of delay and of its own work are no disturbance, at 40,000/s neither, where
    every third request comes while it is busy with the one before."""

    def rejects(seed: int) -> bool:
        planned_s = planned(kind, rate, seed)
        test = arrival_test(planned_s, begun(planned_s, seed), kind == "poisson")
        assert test is not None
        return test.rejected

    assert share(rejects, 200) <= 0.005


@pytest.mark.parametrize("rate", [100, 2000, 40_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_is_held_up_is_rejected(kind: str, rate: float) -> None:
    """A hog that takes every second slice of 3 ms of the client's core always shows."""
    for seed in range(20):
        planned_s = planned(kind, rate, seed)
        test = arrival_test(planned_s, begun(planned_s, seed, hog=True), kind == "poisson")
        assert test is not None
        assert test.rejected, (seed, test)


def test_an_unlucky_plan_is_not_the_clients_fault() -> None:
    """Some plans' own gaps do not look exponential: their clients pass all the same."""
    unlucky = 0
    for seed in range(300):
        planned_s = planned("poisson", 500, seed, 2001)
        test = arrival_test(planned_s, begun(planned_s, seed), poisson=True)
        assert test is not None
        assert not test.rejected
        unlucky += test.statistic > OWN_MEAN_LIMIT
    assert unlucky > 0


def test_another_process_than_the_plan_says_is_rejected() -> None:
    """Requests sent evenly where the plan is Poisson, and the other way round."""
    poisson, even = planned("poisson", 500, 1), planned("constant", 500, 1)
    for told, done, is_poisson in ((poisson, even, True), (even, poisson, False)):
        test = arrival_test(told, done, is_poisson)
        assert test is not None
        assert test.rejected


def test_gaps_are_counted_over_milliseconds_and_thinned() -> None:
    """At 10,000/s a gap is taken over 25 requests, and no more than MOST_GAPS are."""
    planned_s = planned("constant", 10_000, 1, 100_000)
    test = arrival_test(planned_s, planned_s, poisson=False)
    assert test is not None
    assert test.requests_per_gap == 25
    assert MOST_GAPS / 2 < test.gaps <= MOST_GAPS


@pytest.mark.parametrize("rate_per_s", [200, 400, 600, 1000, 5000])
def test_a_client_that_takes_its_time_for_each_request_is_punctual(rate_per_s: int) -> None:
    """A tenth of a millisecond for each request, so that no two leave closer than that, is what a
    clean run on a slow machine looks like; at no rate that one client can do is it rejected."""
    for seed in range(20):
        planned_s = planned("poisson", rate_per_s, seed, 10_000)
        begun_s = planned_s.copy()
        for i in range(1, len(begun_s)):
            begun_s[i] = max(begun_s[i], begun_s[i - 1] + 1e-4)
        test = arrival_test(planned_s, begun_s, poisson=True)
        assert test is not None
        assert not test.rejected, (seed, test)


def test_few_gaps_are_not_judged() -> None:
    """Fewer than LEAST_GAPS, none at all, or all at one moment."""
    times_s = 0.01 * np.arange(float(LEAST_GAPS + 1))
    assert arrival_test(times_s, times_s, poisson=False) is not None
    assert arrival_test(times_s[1:], times_s[1:], poisson=False) is None
    assert arrival_test(np.zeros(0), np.zeros(0), poisson=True) is None
    assert arrival_test(np.ones(100), np.ones(100), poisson=True) is None
