"""How well a quantile is known: distribution-free intervals, and how many requests they need.

Arithmetic over arrays of one run; nothing is assumed of how response times are distributed. Two
runs are compared in stats_compare.py, behaviour over time is in stats_batches.py. No clock, no I/O.

The ends of an interval are order statistics (Conover, Practical Nonparametric Statistics, 3.2):
how many of n independent values lie below the p-quantile is binomial whatever they are. Requests
of one run are not independent, least of all near saturation, where one long queue is in many of
them. So n is replaced by the number of independent requests that would scatter as much, which the
scatter between batches tells; beside it there is the interval from the quantiles of batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Of intervals, unless told otherwise.
CONFIDENCE: Final = 0.95
#: Batches of a run: 10 to 30 lose next to no precision and leave batches long enough to be nearly
#: independent (Schmeiser 1982, Batch size effects in the analysis of simulation output).
BATCHES: Final = 20
#: Values that must lie beyond a quantile in each batch for its batch interval: with 10 it covers 93
#: to 95 % of exponential samples, with 1 no more than 80 %.
LEAST_BEYOND: Final = 10


@dataclass(frozen=True)
class Interval:
    """Where a value lies with the confidence asked for; None: no bound can be given at that end."""

    low: float | None
    high: float | None

    @property
    def exists(self) -> bool:
        """True if it has two ends."""
        return self.low is not None and self.high is not None

    def contains(self, value: float) -> bool:
        """True if `value` is inside; an end that is None excludes nothing."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def half_width(self, estimate: float) -> float | None:
        """Half of its length, relative to the estimate it belongs to; None without both ends."""
        if self.low is None or self.high is None or estimate <= 0:
            return None
        return (self.high - self.low) / 2 / estimate


@dataclass(frozen=True)
class Quantile:
    """An estimated quantile, and what is known of its error."""

    p: float
    value: float
    interval: Interval
    #: Values it rests on, and how many independent ones would scatter as much.
    n: int
    effective: float
    #: t interval of the quantiles of BATCHES batches, None if they are too short to have one.
    batch_interval: Interval | None

    @property
    def half_width(self) -> float | None:
        """Of the interval, relative to the value; None if it has but one end."""
        return self.interval.half_width(self.value)


# ---- independent values ------------------------------------------------------------------------


def ranks(n: int, p: float, confidence: float = CONFIDENCE) -> tuple[int | None, int | None]:
    """Ranks (from 1) of the two order statistics of n independent values between which the
    p-quantile lies with at least that confidence, half of the error on each side. None where even
    the smallest or largest value is not far enough out."""
    from scipy.stats import binom

    tail = (1 - confidence) / 2
    low = int(binom.ppf(tail, n, p))
    high = int(binom.ppf(1 - tail, n, p)) + 1
    return low if low >= 1 else None, high if high <= n else None


def quantile_interval(
    values: Floats,
    p: float,
    confidence: float = CONFIDENCE,
    *,
    effective: float | None = None,
    censored_from: float = math.inf,
) -> Interval:
    """Interval of the p-quantile of what `values` are a sample of, in any order.

    `effective` says how many independent values they are worth, all by default. Values from
    `censored_from` on are lower bounds (time-outs): an upper end among them is none, a lower end
    remains one."""
    n = len(values)
    if not n:
        return Interval(None, None)
    worth = n if effective is None else min(n, max(1, math.floor(effective)))
    low, high = ranks(worth, p, confidence)
    ordered = np.sort(values)
    # With fewer independent values the same *levels* are read off all of them.
    scale = (n + 1) / (worth + 1)
    bottom = None if low is None else float(ordered[max(1, math.floor(low * scale)) - 1])
    top = None if high is None else float(ordered[min(n, math.ceil(high * scale)) - 1])
    return Interval(bottom, None if top is None or top >= censored_from else top)


def least_n(p: float, confidence: float = CONFIDENCE) -> int:
    """The fewest independent values with which the interval of the p-quantile has two ends."""
    tail = math.log((1 - confidence) / 2)
    return max(math.ceil(tail / math.log(p)), math.ceil(tail / math.log1p(-p)))


def samples_for(p: float, relative: float, confidence: float = CONFIDENCE) -> int:
    """About how many independent values it takes to know the p-quantile to +-`relative` of itself,
    if its tail is exponential: 7,200 for p99 to 5 % (asymptotic; whole ranks make an interval up to
    a fifth wider). A heavier tail takes more."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return math.ceil((z / relative / -math.log1p(-p)) ** 2 * p / (1 - p))


# ---- requests of one run -----------------------------------------------------------------------


def effective_size(values: Floats, p: float, confidence: float = CONFIDENCE) -> float:
    """How many independent values those of a run, in order of time, are worth for its p-quantile.

    The share of values beyond the quantile is counted in BATCHES batches in a row; it scatters
    between them as p (1-p) / n does if they are independent, and more if they are not. The scatter
    of so few batches is itself uncertain, which the t quantile in place of the normal one takes
    care of (the interval is then that of batch means). Never more than there are."""
    n = len(values)
    if n < 2 * BATCHES:
        return float(n)
    cut = np.quantile(values, p, method="inverted_cdf")
    beyond = batched(np.asarray(values > cut, dtype=np.float64), BATCHES)
    share = float(beyond.mean())
    if not 0 < share < 1:
        return float(n)
    scatter = float(beyond.mean(axis=1).var(ddof=1)) * beyond.shape[1]
    ratio = scatter / (share * (1 - share))
    penalty = (_t(confidence, BATCHES - 1) / NormalDist().inv_cdf(0.5 + confidence / 2)) ** 2
    return n / max(1.0, float(ratio * penalty))


def batched(values: Floats, batches: int) -> Floats:
    """One row for each of `batches` equally long pieces; what is left over at the start is not
    in any (it is nearest to the warm-up)."""
    length = len(values) // batches
    return values[len(values) - batches * length :].reshape(batches, length)


def batch_quantile_interval(
    values: Floats, p: float, confidence: float = CONFIDENCE, *, effective: float | None = None
) -> Interval | None:
    """t interval from the p-quantiles of BATCHES batches in a row: assumes little, but each batch
    must show the quantile itself. None if fewer than LEAST_BEYOND of the independent values that
    it is worth lie beyond it: quantiles of short batches are biased, and alike in their bias."""
    rows = batched(values, BATCHES)
    worth = len(values) if effective is None else effective
    if round(min(p, 1 - p) * worth / BATCHES, 9) < LEAST_BEYOND:
        return None
    return t_interval(np.quantile(rows, p, axis=1, method="median_unbiased"), confidence)


def batch_means_interval(
    values: Floats, confidence: float = CONFIDENCE, batches: int = BATCHES
) -> Interval:
    """t interval of the mean of values in order of time, from the means of batches (Law, Simulation
    Modeling and Analysis, 9.5.3)."""
    if len(values) < batches:
        return Interval(None, None)
    return t_interval(batched(values, batches).mean(axis=1), confidence)


def t_interval(values: Floats, confidence: float = CONFIDENCE) -> Interval:
    """Student's interval of the mean of independent values; no ends if there are less than two."""
    if len(values) < 2:
        return Interval(None, None)
    middle = float(values.mean())
    half = _t(confidence, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(middle - half, middle + half)


def quantile(
    values: Floats, p: float, confidence: float = CONFIDENCE, censored_from: float = math.inf
) -> Quantile | None:
    """The p-quantile of a run's values, given in order of time, with its error; None of nothing."""
    if not len(values):
        return None
    effective = effective_size(values, p, confidence)
    return Quantile(
        p=p,
        value=float(np.quantile(values, p, method="inverted_cdf")),
        interval=quantile_interval(
            values, p, confidence, effective=effective, censored_from=censored_from
        ),
        n=len(values),
        effective=effective,
        batch_interval=batch_quantile_interval(values, p, confidence, effective=effective),
    )


def _t(confidence: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + confidence / 2, freedom))


# ---- how long a run must be --------------------------------------------------------------------


def relaxation_s(utilisation: float, completed_per_s: float) -> float:
    """How long a queue takes to forget its state: (s/c) / (1 - sqrt(rho))^2, with mean service time
    s and c servers (Morse 1955; Abate and Whitt 1987 for the M/M/1 queue). By the utilisation law
    s/c = rho / rate, so neither needs to be known. Infinite from utilisation 1 on, and for a rate
    of 0."""
    if utilisation >= 1 or completed_per_s <= 0:
        return math.inf
    return max(0.0, utilisation) / completed_per_s / (1 - math.sqrt(max(0.0, utilisation))) ** 2
