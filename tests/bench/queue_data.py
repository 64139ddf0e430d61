"""Queues with known answers, for the tests of statistics and gates. Helpers only: no plans here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Floats = NDArray[np.float64]
#: Gives n values in order of time, from a generator.
Process = Callable[[np.random.Generator, int], Floats]


def exponential(random: np.random.Generator, n: int) -> Floats:
    """Independent, mean 1."""
    return random.exponential(1.0, n)


def response_s(arrivals_s: Floats, service_s: Floats) -> Floats:
    """Of one server, first come, first served, empty at the start (Lindley's recursion)."""
    steps = np.concatenate([[0.0], service_s[:-1] - np.diff(arrivals_s)])
    path = np.cumsum(steps)
    return np.asarray(path - np.minimum.accumulate(path) + service_s)


def mm1(utilisation: float) -> Process:
    """Response times of M/M/1 at rate 1, from its steady state on: exponential with the mean of
    mm1_mean, but near saturation anything but independent."""

    def draw(random: np.random.Generator, n: int) -> Floats:
        warm = int(20 / (1 - utilisation) ** 2)
        arrivals_s = np.cumsum(random.exponential(1.0, n + warm))
        return response_s(arrivals_s, random.exponential(utilisation, n + warm))[warm:]

    return draw


def mm1_quantile(utilisation: float, p: float) -> float:
    """The p-quantile of mm1(utilisation)."""
    return -float(np.log1p(-p)) * utilisation / (1 - utilisation)


def share(event: Callable[[int], bool], seeds: int) -> float:
    """In how many of the seeds 0, 1, 2 ... it happens."""
    return sum(map(event, range(seeds))) / seeds


def band(probability: float, seeds: int) -> tuple[float, float]:
    """Where the share of independent events lies in all but one of a thousand cases."""
    low, high = binom.ppf((0.0005, 0.9995), seeds, probability)
    return float(low) / seeds, float(high) / seeds
