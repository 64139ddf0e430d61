"""bench/knee.py: the search finds the edge in few runs, through noise, and admits its limits."""

from __future__ import annotations

import math
import random

import pytest

from mpmlab.bench.knee import MAX_TRIALS, TOLERANCE, Answer, OutOfReachError, Trial, find_knee


def server(edge_per_s: float, noise: float = 0.0, seed: int = 1):  # type: ignore[no-untyped-def]
    """Meets its objective up to an edge, that moves from run to run by so much."""
    random_ = random.Random(seed)

    def evaluate(rate_per_s: float) -> Trial:
        good = rate_per_s <= edge_per_s * math.exp(random_.gauss(0, noise))
        return Trial(rate_per_s, Answer.GOOD if good else Answer.BAD, "")

    return evaluate


@pytest.mark.parametrize("edge_per_s", [3.0, 70.0, 99.0, 101.0, 130.0, 4000.0])
def test_edge_within_tolerance_in_few_runs(edge_per_s: float) -> None:
    """Whatever the first rate, the true edge lies between the two rates, these are within the
    tolerance, and a search takes no more runs than doublings and four bisections."""
    knee = find_knee(server(edge_per_s), 100.0)
    assert knee.found
    assert knee.good_per_s is not None
    assert knee.bad_per_s is not None
    assert knee.good_per_s <= edge_per_s < knee.bad_per_s
    assert knee.bad_per_s / knee.good_per_s <= 1 + TOLERANCE
    assert len(knee.trials) <= 2 + abs(math.log2(edge_per_s / 100)) + 4


def test_noise_of_the_edge_moves_the_answer_no_more_than_itself() -> None:
    """With an edge that varies by 3 % from run to run, 200 searches are within 10 % and three
    standard deviations of it."""
    for seed in range(200):
        knee = find_knee(server(130.0, 0.03, seed), 100.0)
        assert knee.found, seed
        assert knee.good_per_s is not None
        assert abs(math.log(knee.good_per_s / 130)) <= math.log(1 + TOLERANCE) + 3 * 0.03, seed


def test_invalid_runs_are_repeated_once_then_the_search_ends() -> None:
    """One invalid run at a rate costs one more; two in a row end the search, and say so."""
    answers = iter([Answer.NOTHING, Answer.GOOD, Answer.NOTHING, Answer.NOTHING])
    asked = []

    def evaluate(rate_per_s: float) -> Trial:
        asked.append(rate_per_s)
        return Trial(rate_per_s, next(answers), "")

    knee = find_knee(evaluate, 10.0)
    assert asked == [10.0, 10.0, 20.0, 20.0]
    assert not knee.found
    assert knee.good_per_s == 10.0
    assert "invalid" in knee.reason


def test_a_rate_out_of_reach_ends_with_what_was_found() -> None:
    """Beyond 250/s there can be no run: the good rates stand, and the reason is told."""

    def evaluate(rate_per_s: float) -> Trial:
        if rate_per_s > 250:
            raise OutOfReachError("too many requests")
        return Trial(rate_per_s, Answer.GOOD, "")

    knee = find_knee(evaluate, 100.0)
    assert (knee.good_per_s, knee.bad_per_s, knee.found) == (200.0, None, False)
    assert knee.reason == "no run at 400 requests/s: too many requests"
    assert len(knee.trials) == 2


@pytest.mark.parametrize("answer", [Answer.GOOD, Answer.BAD])
def test_no_edge_ends_with_a_reason(answer: Answer) -> None:
    """A server that meets its objective at every rate, or at none, ends the search."""
    knee = find_knee(lambda rate: Trial(rate, answer, ""), 10.0)
    assert not knee.found
    assert len(knee.trials) == MAX_TRIALS
    assert str(MAX_TRIALS) in knee.reason
    assert (knee.good_per_s is None) == (answer is Answer.BAD)


def test_a_good_run_beyond_a_bad_one_does_not_count() -> None:
    """The knee lies below the lowest rate that failed, whatever luck came above it."""
    told = {100.0: Answer.GOOD, 200.0: Answer.BAD}

    def evaluate(rate_per_s: float) -> Trial:
        return Trial(rate_per_s, told.get(rate_per_s, Answer.BAD), "")

    knee = find_knee(evaluate, 100.0)
    assert knee.good_per_s == 100.0
    assert knee.bad_per_s is not None
    assert knee.bad_per_s <= 110.0


@pytest.mark.parametrize(("first", "tolerance"), [(0.0, 0.1), (-1.0, 0.1), (1.0, 0.0)])
def test_rates_and_tolerances_are_positive(first: float, tolerance: float) -> None:
    """Anything else is the caller's mistake."""
    with pytest.raises(ValueError, match="above 0"):
        find_knee(server(1.0), first, tolerance)
