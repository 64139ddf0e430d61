"""Probability distributions by explicit inverse transform: one uniform number in, one value out.

Only the formulas live here; reading them from a scenario is dist_table.py. One uniform per value,
always, so that the values of a stream stay where they are when a parameter changes, and a larger
parameter gives larger values for the same request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from mpmlab.workload.streams import Floats


class Distribution(Protocol):
    """A distribution of non-negative values, in the unit of whoever uses it."""

    def values(self, u: Floats) -> Floats:
        """The quantiles at u, each from 0 (possible) to 1 (impossible)."""

    @property
    def mean(self) -> float:
        """The expected value."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Always `value`."""

    value: float

    def values(self, u: Floats) -> Floats:
        return np.full(len(u), self.value)

    @property
    def mean(self) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly from `low` to `high`."""

    low: float
    high: float

    def values(self, u: Floats) -> Floats:
        return self.low + u * (self.high - self.low)

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True, slots=True)
class Exponential:
    """Memoryless, coefficient of variation 1."""

    mean: float

    def values(self, u: Floats) -> Floats:
        return np.asarray(-np.log1p(-u) * self.mean)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """The exponential of a normal variable, given by its mean and coefficient of variation."""

    mean: float
    cv: float

    def values(self, u: Floats) -> Floats:
        variance = math.log1p(self.cv * self.cv)
        scale = self.mean * math.exp(-variance / 2)
        return np.asarray(scale * np.exp(math.sqrt(variance) * normal_quantiles(u)))


@dataclass(frozen=True, slots=True)
class Pareto:
    """Bounded Pareto: density proportional to x**-(alpha + 1) from `low` to `high`."""

    low: float
    high: float
    alpha: float

    def values(self, u: Floats) -> Floats:
        kept = 1 - (self.low / self.high) ** self.alpha
        return np.asarray(self.low * (1 - u * kept) ** (-1 / self.alpha))

    @property
    def mean(self) -> float:
        ratio = self.low / self.high
        if self.alpha == 1:
            return self.low * -math.log(ratio) / (1 - ratio)
        spread = (1 - ratio ** (self.alpha - 1)) / (1 - ratio**self.alpha)
        return float(self.low * self.alpha / (self.alpha - 1) * spread)


@dataclass(frozen=True, slots=True)
class Hyperexponential:
    """Two exponential phases with balanced means (each carries half of the total), given by the
    mean and a coefficient of variation of at least 1."""

    mean: float
    cv: float

    def values(self, u: Floats) -> Floats:
        square = self.cv * self.cv
        p = (1 + math.sqrt((square - 1) / (square + 1))) / 2
        first = u < p
        # The same uniform chooses the phase and, stretched to 0..1 again, the value within it.
        v = np.where(first, u / p, (u - p) / (1 - p))
        means = np.where(first, self.mean / (2 * p), self.mean / (2 * (1 - p)))
        # A v that rounding has lifted to 1 would be infinite.
        return np.asarray(-np.log1p(-np.minimum(v, 1 - 2.0**-53)) * means)


@dataclass(frozen=True, slots=True)
class Geometric:
    """Whole numbers from 1: tosses up to the first success, with this mean (at least 1)."""

    mean: float

    def values(self, u: Floats) -> Floats:
        if self.mean == 1:
            return np.ones(len(u))
        return np.asarray(1 + np.floor(np.log1p(-u) / math.log1p(-1 / self.mean)))


@dataclass(frozen=True, slots=True)
class Empirical:
    """One of `listed`, with probabilities proportional to `weights`."""

    listed: tuple[float, ...]
    weights: tuple[float, ...]

    def values(self, u: Floats) -> Floats:
        return np.array(self.listed, dtype=np.float64)[choose(self.weights, u)]

    @property
    def mean(self) -> float:
        total = sum(v * w for v, w in zip(self.listed, self.weights, strict=True))
        return total / sum(self.weights)


def whole(values: Floats, most: int) -> npt.NDArray[np.int64]:
    """Rounded to whole numbers from 0 to `most`."""
    return np.rint(np.clip(values, 0, most)).astype(np.int64)


def choose(weights: tuple[float, ...], u: Floats) -> npt.NDArray[np.intp]:
    """For each u the index of one of `weights`, with probability proportional to it."""
    bounds = np.cumsum(np.array(weights, dtype=np.float64))
    index = np.searchsorted(bounds, u * bounds[-1], side="right")
    # u * total may round up to the total itself: then the last index that has any weight.
    last = int(np.flatnonzero(np.array(weights))[-1])
    return np.asarray(np.minimum(index, last), dtype=np.intp)


# M. J. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied
# Statistics 37 (1988), routine PPND16: relative error about 1e-16. Highest power first.
_CENTRE: Final = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_SHOULDER: Final = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
     1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
     4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
     2.05319162663775882187, 1.0),
)  # fmt: skip
_TAIL: Final = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
     0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
     5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
     0.59983220655588793769, 1.0),
)  # fmt: skip


def normal_quantiles(u: Floats) -> Floats:
    """The standard normal quantiles at u (AS 241); u = 0 counts as 2**-54, the middle between it
    and the least u above."""
    u = np.maximum(u, 2.0**-54)
    q = u - 0.5
    z = np.empty(len(u))
    centre = np.abs(q) <= 0.425
    z[centre] = q[centre] * _ratio(_CENTRE, 0.180625 - q[centre] ** 2)
    r = np.sqrt(-np.log(np.minimum(u, 1 - u)))
    shoulder, tail = ~centre & (r <= 5), ~centre & (r > 5)
    z[shoulder] = np.sign(q[shoulder]) * _ratio(_SHOULDER, r[shoulder] - 1.6)
    z[tail] = np.sign(q[tail]) * _ratio(_TAIL, r[tail] - 5)
    return z


def _ratio(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: Floats) -> Floats:
    above, below = (np.full(len(x), row[0]) for row in polynomials)
    for a, b in zip(polynomials[0][1:], polynomials[1][1:], strict=True):
        above, below = above * x + a, below * x + b
    return np.asarray(above / below)
