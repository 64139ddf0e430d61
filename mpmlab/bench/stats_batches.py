"""Does a run stay what it is? A drift test over its batches, and MSER-5 for its beginning.

Arithmetic over values in order of time; how well a quantile is known is stats_quantiles.py. No
clock, no I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.stats_quantiles import BATCHES, batched

Floats = NDArray[np.float64]

#: A drift is believed when chance would show such a one in 1 % of steady runs.
DRIFT_LEVEL: Final = 0.01
#: ... and it is one that matters: from the window's start to its end the median moves by a tenth.
#: That moves the median of all by half as much, 5 %; a p99 is asked to 10 % (G22). Without this
#: floor a run of a million requests would be invalid because of a drift of 1 %.
DRIFT_FLOOR: Final = 0.10
#: A batch's median rests on at least so many requests.
LEAST_IN_BATCH: Final = 10
#: The correlation of neighbouring batches that is still corrected for: beyond it the run is so
#: short against its queue's memory that no test on it can say more.
_MOST_CORRELATION: Final = 0.95
#: What fitting a rising line to BATCHES values takes of the correlation of the rest: of one of 0,
#: 0.2, 0.4 and 0.6 remain -0.154, -0.023, 0.099 and 0.206 (means of 2,000 AR(1) series each).
_FIT_SHIFT: Final = 0.154
_FIT_SCALE: Final = 0.6
#: White and Spratt's batch.
_MSER_BATCH: Final = 5
#: The variance of fewer batches than this says nothing: MSER would like to cut down to them.
_MSER_LEAST: Final = 5
#: Relative error of sums of up to a million squares, with room to spare.
_ROUNDING: Final = 1e-12


@dataclass(frozen=True)
class Drift:
    """What the drift test found."""

    #: Chance of so much trend in a steady run.
    p_value: float
    #: How far the median moved over the window, relative to the median of the batches; signed.
    change: float
    #: How alike neighbouring batches are beside the trend, 0..1: what the test corrected for.
    correlation: float

    @property
    def found(self) -> bool:
        """True if it is neither chance nor too small to matter."""
        return self.p_value < DRIFT_LEVEL and abs(self.change) > DRIFT_FLOOR


@dataclass(frozen=True)
class Truncation:
    """What MSER-5 would cut off."""

    #: How many values at the start.
    cut: int
    #: False if that is in the second half: White and Spratt's rule is to discard such an answer.
    reliable: bool


def drift(values: Floats) -> Drift | None:
    """Mann-Kendall's test for a trend in the medians of BATCHES batches in a row; None if there are
    fewer than LEAST_IN_BATCH values in each. It looks at order only, so that neither the shape of
    the distribution nor a few batches on a slow machine matter much.

    Batches shorter than the memory of the queue are alike, and chance then makes trends of its own:
    the variance under no trend is multiplied by (1 + r) / (1 - r), r the correlation of neighbours
    beside the trend (Yue and Wang 2004). From 2,000 requests on this keeps false alarms below 5 %
    up to a utilisation of 0.95, where they would be 19 %."""
    if len(values) < BATCHES * LEAST_IN_BATCH:
        return None
    medians = np.median(batched(values, BATCHES), axis=1)
    earlier, later = np.triu_indices(BATCHES, 1)
    rises = medians[later] - medians[earlier]
    slope = float(np.median(rises / (later - earlier)))  # Theil and Sen's
    score = float(np.sign(rises).sum())
    correlation = _correlation(medians if score > 0 else -medians)
    scatter = _kendall_variance(medians) * (1 + correlation) / (1 - correlation)
    z = 0.0 if score == 0 or scatter == 0 else (abs(score) - 1) / math.sqrt(scatter)
    middle = float(np.median(medians))
    return Drift(
        p_value=2 * (1 - NormalDist().cdf(z)),
        change=slope * BATCHES / middle if middle > 0 else 0.0,
        correlation=correlation,
    )


def _correlation(medians: Floats) -> float:
    """Of neighbours beside their trend upwards, between 0 and _MOST_CORRELATION. The trend may have
    any shape: a step or a warm-up, seen against a straight line, would look like correlation."""
    rest = medians - _rising(medians)
    power = float(rest @ rest)
    if power <= _ROUNDING * float(medians @ medians):
        return 0.0
    seen = float(rest[1:] @ rest[:-1]) / power
    return min(max((seen + _FIT_SHIFT) / _FIT_SCALE, 0.0), _MOST_CORRELATION)


def _rising(values: Floats) -> Floats:
    """The nearest line that never falls (pool adjacent violators, Barlow et al. 1972)."""
    means: list[float] = []
    lengths: list[int] = []
    for value in values.tolist():
        means.append(value)
        lengths.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mean, length = means.pop(), lengths.pop()
            both = lengths[-1] + length
            means[-1] = (means[-1] * lengths[-1] + mean * length) / both
            lengths[-1] = both
    return np.repeat(means, lengths)


def _kendall_variance(values: Floats) -> float:
    """Of the score of independent values, with ties."""
    n = len(values)
    ties = np.unique(values, return_counts=True)[1].astype(np.float64)
    tied = float((ties * (ties - 1) * (2 * ties + 5)).sum())
    return (n * (n - 1) * (2 * n + 5) - tied) / 18


def mser5(values: Floats) -> Truncation | None:
    """Where the marginal standard error of what is left would be least (White and Spratt 2000, A
    comparison of five steady-state truncation heuristics): the cut d that minimises
    sum((x - mean)^2) / (n - d)^2 over means x of five values each. None of too few values.

    A diagnostic: on a single short run, cutting there makes the bias worse, so the warm-up is
    fixed beforehand and this is told beside it."""
    means = values[: len(values) // _MSER_BATCH * _MSER_BATCH].reshape(-1, _MSER_BATCH).mean(axis=1)
    n = len(means)
    if n < 2 * _MSER_LEAST:
        return None
    rest = means - means.mean()  # sums of squares of large numbers would cancel
    left = np.arange(n, 0, -1, dtype=np.float64)
    totals = np.cumsum(rest[::-1])[::-1]
    squares = np.cumsum((rest * rest)[::-1])[::-1]
    spread = squares - totals * totals / left
    # What rounding leaves of no spread at all must not choose the cut.
    errors = np.where(spread > _ROUNDING * squares[0], spread, 0.0) / left**2
    cut = int(np.argmin(errors[: n - _MSER_LEAST + 1]))
    return Truncation(cut * _MSER_BATCH, cut <= n / 2)
