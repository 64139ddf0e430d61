"""Which of several MPMs is best at what, and which differences are not shown.

Pure arithmetic on runs that were read (compare.py): how they are printed is report/'s affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mpmlab.bench.compare import Member, Variant, variants_of
from mpmlab.bench.compare_figures import FIGURES, Compared, Condensed, Figure, compared, own

#: What is ranked, by name of FIGURES, and whether more of it is better.
RANKED: Final = {"throughput_rps": True, "mean_ms": False, "p99_ms": False, "memory_mib": False}


@dataclass(frozen=True)
class Place:
    """One variant's place. `rank` is that of the first of those that it is not shown to differ
    from; `compared`: its value, and its ratio to the best one's (the best has none)."""

    rank: int
    variant: Variant
    compared: Compared


@dataclass(frozen=True)
class Ranking:
    """One figure on one engine, the best first. Variants that lack it are not there."""

    engine: str
    figure: Figure
    places: tuple[Place, ...]


def rankings(members: Sequence[Member], seed: int = 1) -> list[Ranking]:
    """Of each engine that has several variants, of each figure of RANKED. `seed`: of the
    bootstrap."""
    engines = dict.fromkeys(member.engine for member in members)
    found = []
    for engine in engines:
        variants = variants_of(member for member in members if member.engine == engine)
        for figure in FIGURES:
            if figure.name in RANKED and len(variants) > 1:
                places = _places(figure, variants, seed)
                found.append(Ranking(engine, figure, places))
    return found


def _places(figure: Figure, variants: Sequence[Variant], seed: int) -> tuple[Place, ...]:
    values = [(own(figure, _condensed(variant)).value, variant) for variant in variants]
    known = [(value, variant) for value, variant in values if value is not None]
    known.sort(key=lambda pair: pair[0], reverse=RANKED[figure.name])
    places: list[Place] = []
    leader: Variant | None = None  # the first of those that are alike
    rank = 1
    for number, (_, variant) in enumerate(known, 1):
        if leader is None or _differ(figure, leader, variant, seed):
            leader, rank = variant, number
        best = known[0][1]
        against = (
            own(figure, _condensed(variant))
            if variant is best
            else compared(figure, _condensed(best), _condensed(variant), seed)
        )
        places.append(Place(rank, variant, against))
    return tuple(places)


def _differ(figure: Figure, first: Variant, second: Variant, seed: int) -> bool:
    """Whether a difference is shown: the ratio's interval does not contain 1. Where there is none
    (memory of single runs) the values are all that is known."""
    found = compared(figure, _condensed(first), _condensed(second), seed)
    return not found.interval.contains(1.0) if found.interval.exists else found.ratio != 1.0


def _condensed(variant: Variant) -> list[Condensed]:
    return [member.condensed for member in variant.members]
