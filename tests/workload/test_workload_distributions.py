"""Distributions: quantiles against closed forms and scipy, means, and one uniform per value."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from mpmlab.workload.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Geometric,
    Hyperexponential,
    Lognormal,
    Pareto,
    Uniform,
    choose,
    normal_quantiles,
)
from mpmlab.workload.streams import Stream

GRID = np.linspace(0, 1, 1001)[:-1]
#: name -> (distribution, coefficient of variation by the textbook)
KNOWN: dict[str, tuple[Distribution, float]] = {
    "constant": (Constant(5), 0),
    "uniform": (Uniform(2, 4), 2 / math.sqrt(12) / 3),
    "exponential": (Exponential(7), 1),
    "lognormal": (Lognormal(20, 0.5), 0.5),
    "hyperexponential": (Hyperexponential(3, 1.5), 1.5),
    "hyperexponential of cv 1": (Hyperexponential(3, 1), 1),
    "geometric": (Geometric(5), math.sqrt(1 - 1 / 5)),
    "geometric of mean 1": (Geometric(1), 0),
    "empirical": (Empirical((1, 2, 9), (1, 0, 3)), math.sqrt(12) / 7),
}


@pytest.mark.parametrize("name", KNOWN)
def test_mean_and_variation(name: str) -> None:
    """200,000 values have the stated mean (6 standard errors) and the textbook's variation."""
    distribution, cv = KNOWN[name]
    n = 200_000
    values = distribution.values(Stream(1, name).uniforms(n))
    assert values.min() >= 0
    error = 6 * cv * distribution.mean / math.sqrt(n)
    assert float(values.mean()) == pytest.approx(distribution.mean, abs=error + 1e-9)
    assert float(values.std() / values.mean()) == pytest.approx(cv, rel=0.05, abs=1e-9)


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        (Exponential(7), stats.expon(scale=7)),
        (Uniform(2, 4), stats.uniform(2, 2)),
        (Lognormal(20, 1), stats.lognorm(math.sqrt(math.log(2)), scale=20 / math.sqrt(2))),
        (Pareto(1, 1000, 1.2), stats.truncpareto(1.2, 1000)),
        (Geometric(5), stats.geom(0.2)),
    ],
    ids=["exponential", "uniform", "lognormal", "pareto", "geometric"],
)
def test_quantiles_are_those_of_scipy(distribution: Distribution, reference: object) -> None:
    """The inverse transform agrees with an independent implementation, to rounding."""
    grid = GRID[1:] + 1e-4  # off the geometric's jumps
    assert np.allclose(distribution.values(grid), reference.ppf(grid), rtol=1e-9)  # type: ignore[attr-defined]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.2, 3.0])
def test_pareto_mean_and_bounds(alpha: float) -> None:
    """The mean is the integral of the quantiles, and no value leaves the bounds."""
    pareto = Pareto(2, 200, alpha)
    middle = (np.arange(1_000_000) + 0.5) / 1_000_000
    assert pareto.mean == pytest.approx(float(pareto.values(middle).mean()), rel=1e-4)
    ends = pareto.values(np.array([0, 1 - 2.0**-53]))
    assert ends == pytest.approx([2, 200])


def test_hyperexponential_tail() -> None:
    """The tail is that of the mixture: p exp(-x/m1) + (1 - p) exp(-x/m2) with balanced means."""
    mean, cv = 3.0, 2.0
    p = (1 + math.sqrt((cv**2 - 1) / (cv**2 + 1))) / 2
    n = 200_000
    values = Hyperexponential(mean, cv).values(Stream(2, "h").uniforms(n))
    for x in (1.0, 5.0, 20.0):
        tail = p * math.exp(-2 * p * x / mean) + (1 - p) * math.exp(-2 * (1 - p) * x / mean)
        error = 6 * math.sqrt(tail * (1 - tail) / n)
        assert float(np.mean(values > x)) == pytest.approx(tail, abs=error)


@pytest.mark.parametrize("name", KNOWN)
def test_the_ends_of_the_uniform_are_finite(name: str) -> None:
    """u = 0 and the largest u there is give finite values: no infinity can enter a plan."""
    ends = KNOWN[name][0].values(np.array([0.0, 2.0**-53, 1 - 2.0**-53]))
    assert np.all(np.isfinite(ends))
    assert np.all(ends >= 0)


def test_normal_quantiles_against_the_standard_library() -> None:
    """AS 241 in numpy and in `statistics` agree to the last digits, in all three of its ranges."""
    u = np.concatenate([GRID[1:], [2.0**-53, 1e-15, 1e-12, 0.075, 0.925, 1 - 2.0**-53]])
    expected = [statistics.NormalDist().inv_cdf(x) for x in u]
    assert np.allclose(normal_quantiles(u), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ["uniform", "exponential", "lognormal", "geometric"])
def test_larger_u_larger_value(name: str) -> None:
    """Monotone, which is what makes common random numbers positively correlated."""
    assert np.all(np.diff(KNOWN[name][0].values(GRID)) >= 0)


def test_choose_never_takes_what_weighs_nothing() -> None:
    """Zero weights are never chosen, at the ends and the largest u neither."""
    u = np.concatenate([GRID, [1 - 2.0**-53]])
    assert set(choose((0, 1, 0, 2, 0), u).tolist()) == {1, 3}
    assert float(np.mean(choose((0, 1, 0, 2, 0), GRID) == 1)) == pytest.approx(1 / 3, abs=0.002)
