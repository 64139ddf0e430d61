"""The drift test: its false alarms on steady queues and its power on drifting ones. MSER-5."""

from __future__ import annotations

import numpy as np
import pytest

from mpmlab.bench.stats_batches import (
    DRIFT_FLOOR,
    DRIFT_LEVEL,
    LEAST_IN_BATCH,
    drift,
    mser5,
)
from mpmlab.bench.stats_quantiles import BATCHES
from tests.bench.queue_data import Floats, Process, band, exponential, mm1, response_s, share

SEEDS = 400


def rejected(values: Floats) -> bool:
    """Whether the test alone, without the floor of what matters, sees a drift."""
    found = drift(values)
    assert found is not None
    return found.p_value < DRIFT_LEVEL


def found_in(values: Floats) -> bool:
    """Whether there is a drift that matters."""
    found = drift(values)
    assert found is not None
    return found.found


def slowing(random: np.random.Generator, n: int) -> Floats:
    """M/M/1 at utilisation 0.5 whose service gets slower by 30 %."""
    service = random.exponential(0.5, n) * np.linspace(1.0, 1.3, n)
    return response_s(np.cumsum(random.exponential(1.0, n)), service)


# ---- drift --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [400, 2000, 10_000])
def test_independent_values_are_rejected_in_one_percent(n: int) -> None:
    """Over independent values the test's level is 1 %, or less: the batches' own correlation is
    estimated, and only what looks positive is corrected for."""
    low, high = band(DRIFT_LEVEL, SEEDS)
    assert low <= share(lambda s: rejected(exponential(np.random.default_rng(s), n)), SEEDS) <= high


@pytest.mark.parametrize(
    ("utilisation", "n"), [(0.5, 400), (0.7, 400), (0.7, 2000), (0.85, 2000), (0.95, 2000)]
)
def test_a_steady_queue_is_rarely_said_to_drift(utilisation: float, n: int) -> None:
    """Though neighbouring batches of a queue are alike, false alarms stay below 5 %."""
    process = mm1(utilisation)
    alarms = share(lambda s: found_in(process(np.random.default_rng(s), n)), SEEDS)
    assert alarms <= 0.05


@pytest.mark.parametrize(("factor", "n"), [(1.5, 10_000), (1.85, 2000)])
def test_a_step_in_the_middle_is_found(factor: float, n: int) -> None:
    """A server that is suddenly slower is no correlation of neighbours, and found in more than half
    of the runs: a test for trends has no more to say on one step."""

    def stepped(seed: int) -> bool:
        values = mm1(0.3)(np.random.default_rng(seed), n)
        return found_in(values * np.where(np.arange(n) < n / 2, 1.0, factor))

    assert share(stepped, 200) >= 0.55


@pytest.mark.parametrize(("utilisation", "least"), [(1.1, 0.75), (1.3, 0.99)])
def test_an_overloaded_queue_is_found(utilisation: float, least: float) -> None:
    """It grows all the time, in steps that look like those of a random walk."""

    def grows(seed: int) -> bool:
        random = np.random.default_rng(seed)
        arrivals = np.cumsum(random.exponential(1.0, 2000))
        return found_in(response_s(arrivals, random.exponential(utilisation, 2000)))

    assert share(grows, 100) >= least


@pytest.mark.parametrize(
    ("process", "n", "least"), [(slowing, 10_000, 0.8), (slowing, 40_000, 0.95)]
)
def test_a_server_that_gets_slower_is_found(process: Process, n: int, least: float) -> None:
    """30 % in the service time at utilisation 0.5 is found in most runs of 10,000 requests, and in
    95 of 100 of 40,000."""
    assert share(lambda s: found_in(process(np.random.default_rng(s), n)), 100) >= least


def test_a_drift_too_small_to_matter_is_no_drift() -> None:
    """5 % over a very long run is beyond doubt, and below the floor."""
    values = exponential(np.random.default_rng(1), 400_000) * np.linspace(1.0, 1.05, 400_000)
    found = drift(values)
    assert found is not None
    assert found.p_value < DRIFT_LEVEL
    assert 0.03 < found.change < DRIFT_FLOOR
    assert not found.found


def test_the_change_is_that_of_the_line() -> None:
    """Values that rise from 1 to 2 changed by 1 / 1.5, those that fall by as much the other way;
    constant ones by nothing."""
    rising = np.linspace(1.0, 2.0, 2000)
    up, down, flat = drift(rising), drift(rising[::-1]), drift(np.full(2000, 3.0))
    assert up is not None
    assert down is not None
    assert flat is not None
    assert up.change == pytest.approx(1 / 1.5, rel=0.01)
    assert down.change == pytest.approx(-up.change)
    assert (flat.change, flat.p_value, flat.found) == (0.0, 1.0, False)


def test_the_unit_does_not_matter() -> None:
    """Seconds or milliseconds: the same verdict."""
    values = slowing(np.random.default_rng(3), 5000)
    first, second = drift(values), drift(1000 * values)
    assert first is not None
    assert second is not None
    assert second.p_value == pytest.approx(first.p_value)
    assert second.change == pytest.approx(first.change)


def test_few_values_are_not_judged() -> None:
    """Fewer than LEAST_IN_BATCH for each batch say nothing."""
    assert drift(np.ones(BATCHES * LEAST_IN_BATCH - 1)) is None
    assert drift(np.ones(BATCHES * LEAST_IN_BATCH)) is not None


# ---- MSER-5 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [250, 1000, 2000])
def test_mser5_cuts_a_transient_where_it_ends(length: int) -> None:
    """A start that is 3 higher than a noise of 1 is cut off, and hardly more than that: at most a
    twentieth of the run, at most two batches less."""
    for seed in range(20):
        values = exponential(np.random.default_rng(seed), 5000)
        values[:length] += 3
        found = mser5(values)
        assert found is not None
        assert found.reliable
        assert length - 10 <= found.cut <= length + 250


def test_mser5_cuts_next_to_nothing_of_a_steady_run() -> None:
    """Without a transient it keeps nine tenths in nine of ten runs."""

    def keeps(seed: int) -> bool:
        found = mser5(exponential(np.random.default_rng(seed), 5000))
        assert found is not None
        return found.cut <= 500

    assert share(keeps, 100) >= 0.9


def test_mser5_does_not_trust_a_cut_in_the_second_half() -> None:
    """If most of the run is transient, the answer is marked as one to discard."""
    values = exponential(np.random.default_rng(1), 5000)
    values[:4000] += 5
    found = mser5(values)
    assert found is not None
    assert found.cut == pytest.approx(4000, abs=50)
    assert not found.reliable


def test_mser5_by_hand() -> None:
    """Means of fives 9, 1, 1, ... 1: cutting one batch leaves no error at all."""
    found = mser5(np.concatenate([np.full(5, 9.0), np.ones(60), [1.0, 1.0]]))
    assert found is not None
    assert (found.cut, found.reliable) == (5, True)
    assert mser5(np.ones(49)) is None


def test_mser5_is_the_minimum_of_its_formula() -> None:
    """The running sums give what the formula says, cut by cut."""
    values = 1000 + exponential(np.random.default_rng(7), 200)
    values[:30] += 2
    means = values.reshape(-1, 5).mean(axis=1)
    errors = [float(np.var(means[d:])) / len(means[d:]) for d in range(len(means) - 4)]
    found = mser5(values)
    assert found is not None
    assert found.cut == 5 * int(np.argmin(errors))
