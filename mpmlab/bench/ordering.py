"""Does a predictor put MPMs and configurations in the order that was measured?

Counting over pairs of observations (validation.py): of one case with two MPMs, and of one MPM and
scenario in two configurations (cases that differ in pool or rate). Only pairs whose measured
intervals are disjoint count: of the others nobody knows the order. Only held-out cases count. No
clock, no I/O.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mpmlab.bench.suite import HELD_OUT
from mpmlab.bench.validation import ORDERED, SIM, Observation, Share, groups, middle

MPM: Final = "MPMs"
CONFIGURATION: Final = "configurations"
KINDS: Final = (MPM, CONFIGURATION)


@dataclass(frozen=True)
class Side:
    """One of a pair: what was run, where its figure lies as measured, and what was predicted."""

    case: str
    mpm: str
    low: float
    high: float
    predicted: float


@dataclass(frozen=True)
class Pair:
    """Two whose measured order is known: the figure of `less` is less than that of `more`."""

    kind: str
    figure: str
    less: Side
    more: Side

    @property
    def key(self) -> tuple[str, ...]:
        """What it is a pair of, whoever predicts it."""
        return (self.figure, self.less.case, self.less.mpm, self.more.case, self.more.mpm)

    @property
    def right(self) -> bool:
        """Whether the prediction says so, too. One that cannot tell the two apart does not."""
        return self.less.predicted < self.more.predicted


def pairs(observations: Iterable[Observation], predictor: str = SIM) -> list[Pair]:
    """All that count, of every figure that the predictor has."""
    known = [group for group in groups(observations) if group[0].role == HELD_OUT]
    found = []
    for figure in ORDERED:
        for one, other in itertools.combinations(known, 2):
            kind = _kind(one[0], other[0])
            sides = _side(one, figure, predictor), _side(other, figure, predictor)
            if kind is None or sides[0] is None or sides[1] is None:
                continue
            less, more = sorted((sides[0], sides[1]), key=lambda side: side.low)
            if less.high < more.low:
                found.append(Pair(kind, figure, less, more))
    return found


def right(found: Iterable[Pair], **where: str) -> Share:
    """How many of them are right; `where`: figure or kind that they must have."""
    chosen = [
        pair.right
        for pair in found
        if where.get("figure", pair.figure) == pair.figure
        and where.get("kind", pair.kind) == pair.kind
    ]
    return Share(sum(chosen), len(chosen))


def among(found: Iterable[Pair], others: Iterable[Pair]) -> list[Pair]:
    """Those that the others have as well, whatever those say of them: two predictors are held
    against one another on the same ground."""
    there = {pair.key for pair in others}
    return [pair for pair in found if pair.key in there]


def _kind(one: Observation, other: Observation) -> str | None:
    if one.case == other.case:
        return MPM
    if (one.scenario, one.mpm) == (other.scenario, other.mpm):
        return CONFIGURATION
    return None


def _side(group: Sequence[Observation], figure: str, predictor: str) -> Side | None:
    """From the smallest lower to the largest upper end of the repetitions, each of which must have
    an interval; and the median of what was predicted."""
    predicted = middle(seen.predicted.get(predictor, {}).get(figure) for seen in group)
    if predicted is None or any(figure not in seen.intervals for seen in group):
        return None
    return Side(
        case=group[0].case,
        mpm=group[0].mpm,
        low=min(seen.intervals[figure][0] for seen in group),
        high=max(seen.intervals[figure][1] for seen in group),
        predicted=predicted,
    )
