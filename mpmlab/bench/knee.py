"""The highest rate that meets an objective: a search over runs that are told by their rate.

The search only: running one is the caller's. It doubles (or halves) the rate until it has one that
meets the objective and one that does not, then halves the ratio between them, on a logarithmic
scale, until they are within the tolerance. P. Shivam et al., "Cutting Corners: Workbench Automation
for Server Benchmarking", USENIX ATC 2008, find a server's peak rate within 10 % in this way.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: How far apart the best good and the worst bad rate may be at the end, relative to the good one.
TOLERANCE: Final = 0.10
#: Runs that a search may take: from 2**-6 to 2**6 of the first rate, and four bisections.
MAX_TRIALS: Final = 16
#: How often a run that measured nothing is tried again at the same rate.
MAX_REPEATS: Final = 1


class Answer(enum.Enum):
    """What a run says of its rate."""

    GOOD = "meets the objective"
    BAD = "does not"
    #: It was invalid for another reason than the load: no answer.
    NOTHING = "says nothing"


class OutOfReachError(Exception):
    """There can be no run at that rate; the text says why."""


@dataclass(frozen=True)
class Trial:
    """A run at a rate (requests per second, as offered) and what came of it."""

    rate_per_s: float
    answer: Answer
    #: Why, for people.
    text: str


@dataclass(frozen=True)
class Knee:
    """What a search found. `good_per_s`: the highest rate that met the objective; `bad_per_s`: the
    lowest above it that did not; None if there was none."""

    good_per_s: float | None
    bad_per_s: float | None
    trials: tuple[Trial, ...]
    #: Whether the two are within the tolerance.
    found: bool
    #: Why the search ended without having found it; "" if it has.
    reason: str


def find_knee(
    evaluate: Callable[[float], Trial], first_per_s: float, tolerance: float = TOLERANCE
) -> Knee:
    """Search from `first_per_s`. `evaluate` makes a run at about the rate it is given and says what
    rate that was; OutOfReachError from it ends the search. Raises ValueError for a first rate or
    tolerance that is not positive."""
    if not (first_per_s > 0 and tolerance > 0):
        raise ValueError("first_per_s and tolerance must be above 0")
    search = _Search(evaluate, tolerance)
    return search.run(first_per_s)


class _Search:
    def __init__(self, evaluate: Callable[[float], Trial], tolerance: float) -> None:
        self.evaluate = evaluate
        self.tolerance = tolerance
        self.trials: list[Trial] = []

    def run(self, rate_per_s: float) -> Knee:
        """Trials until it is found, or cannot be."""
        while len(self.trials) < MAX_TRIALS:
            try:
                if not self._try(rate_per_s):
                    return self._end("runs were invalid, twice at the same rate")
            except OutOfReachError as error:
                return self._end(f"no run at {rate_per_s:.3g} requests/s: {error}")
            if self._close():
                return self._end("")
            rate_per_s = self._next(rate_per_s)
        return self._end(f"not within {self.tolerance:.0%} after {MAX_TRIALS} runs")

    def _try(self, rate_per_s: float) -> bool:
        """One answer at this rate; False if there is none to be had."""
        for _ in range(1 + MAX_REPEATS):
            trial = self.evaluate(rate_per_s)
            self.trials.append(trial)
            if trial.answer is not Answer.NOTHING:
                return True
        return False

    def _good(self) -> float | None:
        """The highest good rate below every bad one that is above it: a lucky run far beyond a bad
        one proves nothing."""
        bad = self._bad()
        good = [t.rate_per_s for t in self.trials if t.answer is Answer.GOOD]
        return max((rate for rate in good if bad is None or rate < bad), default=None)

    def _bad(self) -> float | None:
        return min((t.rate_per_s for t in self.trials if t.answer is Answer.BAD), default=None)

    def _close(self) -> bool:
        good, bad = self._good(), self._bad()
        return good is not None and bad is not None and bad / good <= 1 + self.tolerance

    def _next(self, rate_per_s: float) -> float:
        good, bad = self._good(), self._bad()
        if good is None:
            return rate_per_s / 2
        if bad is None:
            return rate_per_s * 2
        return math.sqrt(good * bad)

    def _end(self, reason: str) -> Knee:
        return Knee(self._good(), self._bad(), tuple(self.trials), self._close(), reason)
