"""A changing rate, added up and turned round: against exact arithmetic and against itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from mpmlab.workload.rates import NANO, Rates
from mpmlab.workload.skeleton import LONGEST_US
from mpmlab.workload.streams import Stream


def rates(*segments: tuple[int, float, float]) -> Rates:
    """(length in microseconds, rate at its begin, at its end)."""
    length, begin, end = zip(*segments, strict=True)
    return Rates(np.array(length, np.int64), np.array(begin, float), np.array(end, float))


def amounts(*requests: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([round(one * NANO) for one in requests], dtype=np.int64)


def test_a_step() -> None:
    """At a constant rate the amount a comes after a / rate; the next segment goes on from there."""
    steps = rates((1_000_000, 100, 100), (1_000_000, 10, 10))
    assert steps.when_us(amounts(0, 1, 99.5, 100, 101, 109)).tolist() == [
        *(0, 10_000, 995_000, 1_000_000, 1_100_000, 1_900_000)
    ]
    assert steps.requests_until(1_500_000) == pytest.approx(105)


def test_a_ramp() -> None:
    """From 0 to 200/s in a second: the amount a comes after the root of a / 100, on the way down it
    is the mirror image."""
    up, down = rates((1_000_000, 0, 200)), rates((1_000_000, 200, 0))
    assert up.when_us(amounts(0, 1, 25, 49)).tolist() == [0, 100_000, 500_000, 700_000]
    assert down.when_us(amounts(51, 75, 99)).tolist() == [300_000, 500_000, 900_000]
    assert up.requests_until(500_000) == pytest.approx(25)
    assert down.requests_until(500_000) == pytest.approx(75)


def test_without_rate_nothing_comes() -> None:
    """A segment of rate 0 is passed over; what comes after the last never comes."""
    gap = rates((1_000, 0, 0), (1_000_000, 10, 10), (500_000, 0, 0), (1_000_000, 10, 10))
    assert gap.when_us(amounts(0, 9, 10, 11)).tolist() == [1_000, 901_000, 1_501_000, 1_601_000]
    assert gap.when_us(amounts(20, 21)).tolist() == [LONGEST_US, LONGEST_US]
    assert gap.requests_until(10**9) == pytest.approx(20)
    assert rates((1_000, 5, 5), (9, 0, 0)).when_us(amounts(0.005)).tolist() == [LONGEST_US]


def test_turning_round_is_the_inverse() -> None:
    """Over random segments, steps and ramps: the amount before the moment found is the amount asked
    for, to the microsecond that rounding may take; and moments do not decrease."""
    u = Stream(1, "rates").uniforms(900).reshape(3, 300)
    length = (1 + np.floor(u[0] * 50_000)).astype(np.int64)
    begin = np.where(u[1] < 0.2, 0, np.floor(u[1] * 5_000))
    end = np.where(u[2] < 0.3, begin, np.floor(u[2] * 5_000))
    changing = Rates(length, begin, end)
    total = changing.requests_until(int(length.sum()))
    asked = np.sort(np.floor(Stream(2, "a").uniforms(500) * total * NANO)).astype(np.int64)
    found = changing.when_us(asked)
    assert np.all(np.diff(found) >= 0)
    for nano, when in zip(asked.tolist(), found.tolist(), strict=True):
        slack = 5_000 * 1e-6 + 300 / NANO  # a microsecond at the highest rate, areas in nano
        assert changing.requests_until(when) == pytest.approx(nano / NANO, abs=slack)


def test_against_fractions() -> None:
    """Steps of rational rates, in exact arithmetic: every moment is the nearest microsecond, though
    areas are rounded to billionths of a request."""
    segments = [(333_333, 7.0), (1, 1e6), (999_999, 0.3), (250_000, 1_000.0)]
    changing = rates(*((length, rate, rate) for length, rate in segments))
    for amount in (0.1, 1.7, 2.9, 3.4, 3.6, 3.7, 100.0, 253.6):
        rest, start = Fraction(round(amount * NANO), NANO), 0
        for length, rate in segments:
            area = Fraction(rate) * length / 10**6
            if rest < area:
                expected = start + rest / Fraction(rate) * 10**6
                break
            rest, start = rest - area, start + length
        (found,) = changing.when_us(amounts(amount)).tolist()
        assert abs(found - expected) <= Fraction(1, 2) + Fraction(1, 100)


def test_before() -> None:
    """Only segments that begin before the moment are kept; what they add up to does not change."""
    long = rates((1_000, 5, 5), (1_000, 5, 8), *[(10**12, 1e6, 1e6)] * 300)
    cut = long.before(1_500)
    assert cut.length_us.tolist() == [1_000, 1_000]
    assert cut.requests_until(1_500) == long.requests_until(1_500)
