"""What a simulation says on a platform of which values are assumed: an interval, not a number.

Which values are assumed, platforms within their ranges, and the least and most that simulations on
them come to. No printing; one file is written beside the run's others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mpmlab.bench.calibration import with_values
from mpmlab.bench.results import write_json
from mpmlab.bench.sim import run_sim
from mpmlab.bench.summary import Summary, summarise
from mpmlab.bench.task import Task, Watch
from mpmlab.core.platform import Costs, Platform

#: How the source of a value begins that nobody has measured (platforms/*.toml).
ASSUMED: Final = "assumed: "
#: Platforms besides those at the ends of all ranges.
BETWEEN: Final = 6
SCHEMA: Final = "mpmlab-range-1"
FILE: Final = "range.json"


@dataclass(frozen=True)
class Range:
    """Of the simulations of one task: figure (field of Summary) -> least and most, the one of the
    nominal values included. `assumed`: the values that were varied."""

    assumed: tuple[str, ...]
    simulations: int
    figures: Mapping[str, tuple[float, float]]


def assumed_values(platform: Platform) -> dict[str, tuple[float, float]]:
    """Field -> the ends of its range, of all values that are assumed."""
    return {
        name: ends
        for name, ends in platform.intervals.items()
        if _text(platform, name).startswith(ASSUMED)
    }


def _text(platform: Platform, name: str) -> str:
    """What a value's source says, without its date."""
    return platform.sources.get(name, "").partition(": ")[2]


def variants(platform: Platform, seed: int = 0) -> list[Platform]:
    """Platforms within the ranges: everything at its lower end, everything at its upper, and
    BETWEEN of a Latin hypercube (McKay, Beckman and Conover 1979), in the logarithm where the lower
    end is above 0. None if nothing is assumed."""
    ranges = assumed_values(platform)
    if not ranges:
        return []
    rng = random.Random(f"{platform.name} {seed}")
    strata = {name: rng.sample(range(BETWEEN), BETWEEN) for name in sorted(ranges)}
    shares: list[dict[str, float]] = [dict.fromkeys(ranges, 0.0), dict.fromkeys(ranges, 1.0)]
    for i in range(BETWEEN):
        shares.append({
            name: (strata[name][i] + rng.random()) / BETWEEN for name in sorted(ranges)
        })  # fmt: skip
    return [
        with_values(platform, {name: _at(platform, name, share[name]) for name in ranges})
        for share in shares
    ]


def _at(platform: Platform, name: str, share: float) -> float:
    """The value at that share of its range, whole if it is a number of things."""
    low, high = platform.intervals[name]
    value = low + share * (high - low)
    if low > 0:
        value = low * math.exp(share * math.log(high / low))
    holder = platform.costs if name in Costs.__dataclass_fields__ else platform
    return round(value) if isinstance(getattr(holder, name), int) else value


def over_range(
    task: Task, platform: Platform, nominal: Summary, watch: Watch, phase: Callable[[str], None]
) -> Range | None:
    """Simulate the task over the ranges; None if nothing is assumed. `nominal`: of the run with the
    nominal values. Interrupted, it is of the simulations that there are."""
    found = [nominal]
    several = variants(platform)
    if not several:
        return None
    for number, variant in enumerate(several, 1):
        if watch.interruption:
            break
        phase(f"{task.mpm}: over the ranges of what is assumed, {number} of {len(several)}")
        run = run_sim(task, replace(variant), variant.cores, watch)
        found.append(summarise(run, task.warmup_s, task.duration_s, task.timeout_s, task.plan))
    return Range(tuple(sorted(assumed_values(platform))), len(found), _ends(found))


def _ends(found: Sequence[Summary]) -> dict[str, tuple[float, float]]:
    """Of each figure that all of them have."""
    ends: dict[str, tuple[float, float]] = {}
    for name in Summary.__dataclass_fields__:
        values: list[Any] = [getattr(one, name) for one in found]
        if all(isinstance(value, (int, float)) for value in values):
            ends[name] = (float(min(values)), float(max(values)))
    return ends


def save_range(folder: Path, found: Range) -> None:
    """range.json, beside the run's other files."""
    figures = {name: list(ends) for name, ends in found.figures.items()}
    write_json(
        folder / FILE,
        {
            "schema": SCHEMA,
            "assumed": list(found.assumed),
            "simulations": found.simulations,
            "figures": figures,
        },
    )
