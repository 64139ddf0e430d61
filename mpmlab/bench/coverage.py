"""Does the measured value lie inside the simulation's prediction band?

Counting over observations (validation.py): of each case and MPM once, by the medians of its
repetitions. Only held-out cases count. No clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpmlab.bench.suite import HELD_OUT
from mpmlab.bench.validation import Observation, Share, band_of, groups, middle, utilisation_of


def coverage(observations: Iterable[Observation], figure: str, **where: str) -> Share:
    """In how many of the valid held-out cases the measured `figure` is inside the band, of how many
    that have both; `where`: mpm or (utilisation) band that they must have. The ends of the band
    belong to it."""
    known = [
        inside
        for group in groups(observations)
        if group[0].role == HELD_OUT
        and where.get("mpm", group[0].mpm) == group[0].mpm
        and ("band" not in where or where["band"] == band_of(utilisation_of(group)))
        and (inside := _inside(group, figure)) is not None
    ]
    return Share(sum(known), len(known))


def _inside(group: Sequence[Observation], figure: str) -> bool | None:
    measured = middle(seen.measured.get(figure) for seen in group)
    bands = [seen.band[figure] for seen in group if figure in seen.band]
    low, high = middle(low for low, _ in bands), middle(high for _, high in bands)
    if measured is None or low is None or high is None:
        return None
    return low <= measured <= high
