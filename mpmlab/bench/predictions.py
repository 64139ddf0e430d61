"""What else is predicted beside a validated run: a band around the simulation, and what it would
have said uncalibrated.

Simulations only; which run, and what becomes of their figures, is validate.py's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mpmlab.bench.conduct import world_of
from mpmlab.bench.profile import Profiles
from mpmlab.bench.results import Results
from mpmlab.bench.run import Run
from mpmlab.bench.sim import run_sim
from mpmlab.bench.summary import summarise
from mpmlab.bench.task import Task, Watch
from mpmlab.bench.validation import BAND_ENDS, FIGURES, SIM
from mpmlab.core.platform import Platform, with_costs_times

#: What CPU costs have an influence on: memory has no band.
_BANDED: Final = tuple(figure for figure in FIGURES if figure != "memory_mib")
#: The same simulation with the probed profile: what calibrating gains.
UNCALIBRATED: Final = "uncalibrated"


@dataclass(frozen=True)
class Predictions:
    """`others`: predictor -> figures. `band`: figure -> lowest and highest value of simulations
    within the profile's spread; empty where a single value is what is promised."""

    others: Mapping[str, Mapping[str, float | None]]
    band: Mapping[str, tuple[float, float]]


def figures_of(summary: object) -> dict[str, float | None]:
    """Those of FIGURES that a summary has."""
    return {name: getattr(summary, name, None) for name in FIGURES}


def predict(
    task: Task, results: Results, engine: str, profiles: Profiles, watch: Watch
) -> Predictions:
    """For a run that is over, with its simulation."""
    run = results.runs[engine]
    if run.faults or SIM not in results.runs or watch.interruption:
        return Predictions({}, {})
    others = {}
    profile = profiles.of(task.mpm)
    if profiles.calibrated(task.mpm):
        others[UNCALIBRATED] = _simulated(task, run, profiles.probed, watch)
    band: dict[str, tuple[float, float]] = {}
    if run.utilisation is not None and run.utilisation > BAND_ENDS[-1]:
        seen = [figures_of(results.summaries()[SIM])]
        seen += [
            _simulated(task, run, with_costs_times(profile, factor), watch)
            for factor in (profile.costs_least, profile.costs_most)
        ]
        band = {figure: ends for figure in _BANDED if (ends := _ends(seen, figure)) is not None}
    return Predictions(others, band)


def _simulated(task: Task, run: Run, platform: Platform, watch: Watch) -> dict[str, float | None]:
    done = run_sim(task, *world_of(run, platform), watch, run.lead_s)
    return figures_of(summarise(done, task.warmup_s, task.duration_s, task.timeout_s, task.plan))


def _ends(seen: list[dict[str, Any]], figure: str) -> tuple[float, float] | None:
    values = [one[figure] for one in seen]
    return None if None in values else (min(values), max(values))
