"""Is a simulation good enough? What came of each target of a suite.

Judging only: targets are read by suite.py; errors, coverage and ordering are counted by
validation.py, coverage.py and ordering.py. Held-out cases alone are judged. No clock, no I/O.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mpmlab.bench.coverage import coverage
from mpmlab.bench.ordering import pairs, right
from mpmlab.bench.suite import HELD_OUT, Target
from mpmlab.bench.validation import ALL, FEWEST, Error, Observation, Share, band_of, cell

MET: Final = "met"
MISSED: Final = "missed"
#: There are fewer cases (of an order: pairs) than FEWEST.
UNDECIDED: Final = "undecided"


@dataclass(frozen=True)
class Verdict:
    """What came of a target: the figure that it asks for, as it came to, and of how many cases (of
    an order: pairs). None: there are none."""

    target: Target
    state: str
    cases: int
    percent: float | None
    #: The 90th percentile of errors, where the target asks for it.
    p90_percent: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def verdicts(
    targets: Iterable[Target], errors: Sequence[Error], observations: Sequence[Observation]
) -> list[Verdict]:
    """One of each target, in their order. `errors` are those of the observations."""
    return [_verdict(target, errors, observations) for target in targets]


def any_missed(found: Iterable[Verdict]) -> bool:
    """Whether the simulation is rejected."""
    return any(verdict.state == MISSED for verdict in found)


def _verdict(
    target: Target, errors: Sequence[Error], observations: Sequence[Observation]
) -> Verdict:
    if target.inside_percent is not None:
        return _at_least(target, target.inside_percent, _inside(target, observations))
    if target.right_percent is not None:
        return _at_least(target, target.right_percent, _right(target, observations))
    chosen = [
        error
        for error in errors
        if error.role == HELD_OUT
        and (not target.bands or band_of(error.utilisation) in target.bands)
    ]
    found = cell(chosen, target.figure)
    if found is None:
        return Verdict(target, UNDECIDED, 0, None)
    asked = (target.median_percent, found.median_percent), (target.p90_percent, found.p90_percent)
    met = all(most is None or value <= most for most, value in asked)
    p90 = None if target.p90_percent is None else found.p90_percent
    return Verdict(target, _state(met, found.cases), found.cases, found.median_percent, p90)


def _inside(target: Target, observations: Sequence[Observation]) -> Share:
    if not target.bands:
        return coverage(observations, target.figure)
    shares = (coverage(observations, target.figure, band=band) for band in target.bands)
    return sum(shares, start=Share(0, 0))


def _right(target: Target, observations: Sequence[Observation]) -> Share:
    found = pairs(observations)
    return right(found) if target.figure == ALL else right(found, figure=target.figure)


def _at_least(target: Target, asked: float, found: Share) -> Verdict:
    percent = found.percent
    met = percent is not None and percent >= asked
    return Verdict(target, _state(met, found.of), found.of, percent)


def _state(met: bool, cases: int) -> str:
    if cases < FEWEST:
        return UNDECIDED
    return MET if met else MISSED
