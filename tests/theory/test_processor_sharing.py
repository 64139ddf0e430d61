"""One core under Poisson load as M/G/1 processor sharing, whose mean is insensitive to G.

Service is CPU; the pool is larger than it ever needs to be.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from statistics import mean

import pytest

from mpmlab.core.demand import Demand

from .queues import interval, simulate

MEAN_US = 10_000
POOL = 300
REPLICATIONS = 12


def _exponential(random: Random) -> Demand:
    return Demand(cpu_us=round(random.expovariate(1 / MEAN_US)))


def _hyperexponential(random: Random) -> Demand:
    """Squared coefficient of variation 4, balanced means: p = (1 + sqrt(3/5)) / 2."""
    p = (1 + 0.6**0.5) / 2
    share = p if random.random() < p else 1 - p
    return Demand(cpu_us=round(random.expovariate(2 * share / MEAN_US)))


def _constant(_random: Random) -> Demand:
    return Demand(cpu_us=MEAN_US)


@pytest.mark.parametrize("draw", [_exponential, _hyperexponential, _constant])
def test_mean_sojourn_is_insensitive(draw: Callable[[Random], Demand]) -> None:
    """E[T] = E[S] / (1 - rho), whatever the distribution; first come, first served would double it
    for the hyperexponential and cut it to two thirds for the constant."""
    utilisation = 0.7
    rate = utilisation / (MEAN_US / 1e6)
    ratios = []
    for seed in range(REPLICATIONS):
        out = simulate(seed, rate, draw, 12_000, POOL, cores=1)
        ratios.append(mean(out.sojourns_s) * 1e6 / MEAN_US)
    low, high = interval(ratios)
    assert low < 1 / (1 - utilisation) < high
    assert high - low < 0.6 / (1 - utilisation)


def test_sojourn_is_linear_in_demand() -> None:
    """E[T | S = x] = x / (1 - rho): short and long requests are slowed alike. Compared in two
    halves of the demand's distribution."""
    utilisation = 0.6
    rate = utilisation / (MEAN_US / 1e6)
    short: list[float] = []
    long: list[float] = []
    for seed in range(REPLICATIONS):
        out = simulate(seed, rate, _exponential, 4000, POOL, cores=1)
        for values, wanted in ((short, False), (long, True)):
            pairs = [
                (sojourn, demand)
                for sojourn, demand in zip(out.sojourns_s, out.demands_s, strict=True)
                if (demand > MEAN_US / 1e6) is wanted
            ]
            values.append(mean(s for s, _ in pairs) / mean(d for _, d in pairs))
    for values in (short, long):
        low, high = interval(values)
        assert low < 1 / (1 - utilisation) < high


def test_several_cores_of_small_load_do_not_wait() -> None:
    """Sixteen cores at a tenth of their capacity: every request takes its demand, no more."""
    rate = 0.1 * 16 / (MEAN_US / 1e6)
    out = simulate(1, rate, _exponential, 4000, POOL, cores=16)
    assert mean(out.sojourns_s) == pytest.approx(mean(out.demands_s), rel=1e-3)
