"""Did requests leave as the plan says? Anderson-Darling tests of the gaps between them.

The statistics and the comparison of sent with planned times; the verdict over a run is gates.py's.
No clock, no I/O.

No client sends at the planned instant, and with enough gaps any test tells a real clock from an
ideal one: at 10,000 requests a second every tenth gap is shorter than the time one request keeps
the client's core. So gaps are judged at the resolution that matters: over so many requests that
they last RESOLUTION_S on average, and at most MOST_GAPS of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Both tests reject at 1 % (gate G14 of the measurement rules).
LEVEL: Final = 0.01
#: Critical value of A^2 at 1 % when the mean is known (Stephens 1974, case 0; n >= 5).
KNOWN_MEAN_LIMIT: Final = 3.857
#: When the mean is that of the gaps themselves, of A^2 (1 + 0.6/n) for exponential gaps (Stephens
#: 1974, case 4). For sums of several gaps it is less (1.573 for a normal distribution of known
#: variance), so that the test rejects in at most 1 %.
OWN_MEAN_LIMIT: Final = 1.957
#: Critical value at 1 % of the standardised two-sample statistic: b0 + b1 + b2 of Scholz and
#: Stephens 1987, table 2, for k - 1 = 1.
TWO_SAMPLE_LIMIT: Final = 2.326 + 1.822 - 0.396
#: Gaps are taken over so many requests that they last so long on average. A request keeps the
#: client for up to 0.1 ms; of single gaps of a Poisson process at 600/s 6 % are shorter, and clean
#: runs had an A^2 of 2.6 to 3.3 where their plan had 0.1. At 2.5 ms those runs are within 0.15 of
#: their plan, and of six with other work on the machine five are rejected as before; at 5 ms one.
RESOLUTION_S: Final = 0.0025
#: More gaps than this are thinned. 2,000 tell a distribution that differs by 5 % in a place.
MOST_GAPS: Final = 2000
#: Fewer than this say nothing of their distribution.
LEAST_GAPS: Final = 50
#: What is told apart of two gaps of one plan, as a share of the mean gap: constant arrivals have
#: one gap only, and a microsecond of jitter would be another.
GRAIN: Final = 0.1


@dataclass(frozen=True)
class ArrivalTest:
    """The comparison of gaps with what was planned; rejected if statistic > limit."""

    #: "exponential": with the distribution of a Poisson process; "two-sample": with planned gaps.
    kind: str
    statistic: float
    limit: float
    #: How many gaps, and of how many requests each.
    gaps: int
    requests_per_gap: int

    @property
    def rejected(self) -> bool:
        """True if the gaps are not what was planned."""
        return self.statistic > self.limit


def arrival_test(planned_s: Floats, begun_s: Floats, poisson: bool) -> ArrivalTest | None:
    """Compare when requests were taken in hand with when they were planned, both in any order;
    None of too few.

    If the plan is a Poisson process the gaps are held against its distribution. One seed in a
    hundred draws a plan that does not look like one, which is no fault of the client: what the
    plan's own gaps are off is added to the limit. Other plans are compared with themselves. Both
    sides hold the same draws, so that an undisturbed client is next to never rejected."""
    if len(planned_s) < 2 or float(np.ptp(planned_s)) <= 0:
        return None
    mean_s = float(np.ptp(planned_s)) / (len(planned_s) - 1)
    together = max(1, math.ceil(RESOLUTION_S / mean_s))
    planned, begun = _gaps(planned_s, together), _gaps(begun_s, together)
    if min(len(planned), len(begun)) < LEAST_GAPS:
        return None
    if poisson:
        own, plans = gamma_statistic(begun, together), gamma_statistic(planned, together)
        limit = OWN_MEAN_LIMIT + max(0.0, plans)
        return ArrivalTest("exponential", own, limit, len(begun), together)
    grain = GRAIN * mean_s * together
    statistic = two_sample_statistic(np.rint(begun / grain), np.rint(planned / grain))
    return ArrivalTest("two-sample", statistic, TWO_SAMPLE_LIMIT, len(begun), together)


def _gaps(times_s: Floats, together: int) -> Floats:
    """Gaps between every `together`-th of the times; at most MOST_GAPS, spread over all."""
    gaps = np.diff(np.sort(times_s)[::together])
    step = max(1, math.ceil(len(gaps) / MOST_GAPS))
    return gaps[::step]


def gamma_statistic(gaps: Floats, together: int = 1, mean: float | None = None) -> float:
    """A^2 of gaps against sums of `together` exponential ones: with the given mean (to be held
    against KNOWN_MEAN_LIMIT), or with their own and then times 1 + 0.6/n (OWN_MEAN_LIMIT)."""
    from scipy.special import gammainc, gammaincc

    n = len(gaps)
    ordered = np.sort(gaps) * (together / (float(gaps.mean()) if mean is None else mean))
    tiny = np.finfo(np.float64).tiny  # a gap of 0, which microseconds make, is no impossibility
    below = np.log(np.maximum(gammainc(together, np.maximum(ordered, _HALF_US)), tiny))
    above = np.log(np.maximum(gammaincc(together, ordered), tiny))
    weights = 2 * np.arange(1, n + 1) - 1
    square = -n - float((weights * (below + above[::-1])).sum()) / n
    return square if mean is not None else square * (1 + 0.6 / n)


#: Planned times are whole microseconds: 0 stands for anything below one half. In units of a mean
#: gap of RESOLUTION_S, which is about the least there is.
_HALF_US: Final = 0.5e-6 / RESOLUTION_S


def two_sample_statistic(first: Floats, second: Floats) -> float:
    """Anderson and Darling's statistic of two samples, with ties (midranks), standardised as by
    Scholz and Stephens 1987, K-sample Anderson-Darling tests, equation 7; to be held against
    TWO_SAMPLE_LIMIT. As scipy.stats.anderson_ksamp gives it, without its table of p values, which
    ends at 0.1 % and warns there. 0 if all values are the same."""
    n, m = len(first), len(second)
    total = n + m
    values, counts = np.unique(np.concatenate([first, second]), return_counts=True)
    if len(values) < 2:
        return 0.0
    ties = counts.astype(np.float64)
    middle = np.cumsum(ties) - ties / 2  # of all: those below, and half of the equal ones
    weight = middle * (total - middle) - total * ties / 4
    square = 0.0
    for sample in (np.sort(first), np.sort(second)):
        up_to = np.searchsorted(sample, values, side="right").astype(np.float64)
        own = up_to - np.searchsorted(sample, values, side="left")
        off = total * (up_to - own / 2) - middle * len(sample)
        square += float((ties / total * off**2 / weight).sum()) / len(sample)
    square *= (total - 1) / total
    return (square - 1) / math.sqrt(_two_sample_variance(n, m))


def _two_sample_variance(n: int, m: int) -> float:
    """Of the statistic, equation 4 for k = 2."""
    total = n + m
    h_sum = 1 / n + 1 / m
    inverse = 1 / np.arange(1, total, dtype=np.float64)
    h = float(inverse.sum())
    # g = sum over i < j < N of 1 / ((N - i) j), the inner sum taken first.
    tails = np.cumsum(inverse[::-1])[::-1]  # of 1/j from j on
    g = float((inverse[::-1][:-1] * tails[1:]).sum())
    a = (4 * g - 6) + (10 - 6 * g) * h_sum
    b = (2 * g - 4) * 4 + 8 * h * 2 + (2 * g - 14 * h - 4) * h_sum - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * h_sum + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    return float(
        (a * total**3 + b * total**2 + c * total + d)
        / ((total - 1.0) * (total - 2.0) * (total - 3.0))
    )
