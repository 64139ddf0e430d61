"""What came of a validation: how far a simulation was off, by figure, MPM and utilisation.

Pure arithmetic over observations; validate.py makes them, report/ shows them. Prediction bands are
coverage.py, orders ordering.py, and whether it is all good enough says targets.py. An error is that
of the simulated value against the measured one, in percent. Of a case that was repeated it is the
median of its repetitions; over cases the median and the 90th percentile of absolute errors are
told. Runs that are not valid have no error; how many there were is told, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mpmlab.bench.summary import error_percent

#: Name and version of the JSON document.
SCHEMA: Final = "mpmlab-validation-2"
FILE: Final = "validation.json"
#: Figures that are held against one another: field of Summary -> what people call it.
FIGURES: Final = {
    "throughput_rps": "throughput",
    "mean_ms": "mean response",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "p999_ms": "p99.9",
    "busy_mean": "busy workers",
    "cpu_per_request_us": "CPU per request",
    "memory_mib": "memory",
}
#: Figures of which a run tells an interval, and by which runs are put in order.
ORDERED: Final = ("throughput_rps", "mean_ms", "p99_ms")
#: Upper ends of the bands of utilisation; above the last one no percentage is promised.
BAND_ENDS: Final = (0.5, 0.7, 0.85)
BANDS: Final = ("to .5", ".5 to .7", ".7 to .85", "above .85")
#: A target's figure, if it is of all of them.
ALL: Final = "all"
#: Fewer cases than this say nothing of a 90th percentile, and little of a median.
FEWEST: Final = 2
#: The predictor that is validated; others are baselines.
SIM: Final = "sim"
#: Levels of the Q-Q plot: every half decade of 1/(1-p), and the bulk.
LEVELS: Final = (
    0.01, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.97, 0.98, 0.99, 0.995, 0.997, 0.999,
)  # fmt: skip


@dataclass(frozen=True)
class Observation:
    """One run of one case and its predictions. Figures are by field of Summary."""

    case: str
    #: Of the case: cases of one scenario differ in their pool or rate.
    scenario: str
    role: str
    mpm: str
    repetition: int
    #: The results folder.
    folder: str
    #: Of the cores or the workers, whichever is busier, as measured; None if unknown.
    utilisation: float | None
    #: Why the run counts for nothing; none: it counts.
    reasons: tuple[str, ...]
    measured: Mapping[str, float | None]
    #: Predictor ("sim", or a baseline) -> figures.
    predicted: Mapping[str, Mapping[str, float | None]]
    #: Response times in ms at LEVELS, measured and simulated; empty without answers.
    quantiles_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    #: The simulation's 90 % prediction band by figure, lower and upper end; none: it was not asked.
    band: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    #: Where each measured figure lies with 95 % confidence, lower and upper end; one of which
    #: either end is unknown is not there.
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether it counts."""
        return not self.reasons


@dataclass(frozen=True)
class Error:
    """What one predictor was off by in one case, over its valid repetitions."""

    case: str
    role: str
    mpm: str
    figure: str
    predictor: str
    utilisation: float | None
    percent: float
    #: Half the range of the measured values over the repetitions, in percent of their mean; None
    #: with one repetition.
    repeatability_percent: float | None


@dataclass(frozen=True)
class Cell:
    """Absolute errors of some cases: how many, their median and 90th percentile, and the median
    with its sign (bias)."""

    cases: int
    median_percent: float
    p90_percent: float
    bias_percent: float
    repeatability_percent: float | None


@dataclass(frozen=True)
class Share:
    """How many of how many."""

    hits: int
    of: int

    @property
    def percent(self) -> float | None:
        """None of none."""
        return 100 * self.hits / self.of if self.of else None

    def __add__(self, other: Share) -> Share:
        return Share(self.hits + other.hits, self.of + other.of)


def band_of(utilisation: float | None) -> str | None:
    """The band that a utilisation is in."""
    if utilisation is None:
        return None
    return BANDS[int(np.searchsorted(BAND_ENDS, utilisation, side="left"))]


def groups(observations: Iterable[Observation]) -> list[list[Observation]]:
    """Valid observations that are repetitions of one another: of one case and MPM."""
    found: dict[tuple[str, str], list[Observation]] = {}
    for seen in observations:
        if seen.valid:
            found.setdefault((seen.case, seen.mpm), []).append(seen)
    return list(found.values())


def utilisation_of(group: Sequence[Observation]) -> float | None:
    """The mean of repetitions, None if none of them knows."""
    used = [seen.utilisation for seen in group if seen.utilisation is not None]
    return float(np.mean(used)) if used else None


def middle(values: Iterable[float | None]) -> float | None:
    """The median of those that there are."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def errors(observations: Iterable[Observation]) -> list[Error]:
    """Of each case, MPM, figure and predictor that has any."""
    return [
        found
        for group in groups(observations)
        for predictor in dict.fromkeys(name for seen in group for name in seen.predicted)
        for figure in FIGURES
        if (found := _error(group, figure, predictor)) is not None
    ]


def _error(group: Sequence[Observation], figure: str, predictor: str) -> Error | None:
    percent = middle(
        error_percent(seen.predicted.get(predictor, {}).get(figure), seen.measured.get(figure))
        for seen in group
    )
    if percent is None:
        return None
    first = group[0]
    return Error(
        case=first.case, role=first.role, mpm=first.mpm, figure=figure, predictor=predictor,
        utilisation=utilisation_of(group),
        percent=percent,
        repeatability_percent=_repeatability(group, figure),
    )  # fmt: skip


def _repeatability(group: Sequence[Observation], figure: str) -> float | None:
    values = [value for seen in group if (value := seen.measured.get(figure)) is not None]
    if len(values) < 2 or not np.mean(values):
        return None
    return float(50 * (max(values) - min(values)) / np.mean(values))


def cell(found: Iterable[Error], figure: str, predictor: str = SIM, **where: str) -> Cell | None:
    """Of the errors of that figure and predictor; `where`: mpm, band or role they must have. None
    if there are none."""
    chosen = [
        error
        for error in found
        if error.figure == figure
        and error.predictor == predictor
        and where.get("mpm", error.mpm) == error.mpm
        and where.get("role", error.role) == error.role
        and ("band" not in where or where["band"] == band_of(error.utilisation))
    ]
    if not chosen:
        return None
    percents = np.array([error.percent for error in chosen])
    spread = [e.repeatability_percent for e in chosen if e.repeatability_percent is not None]
    return Cell(
        cases=len(chosen),
        median_percent=float(np.median(np.abs(percents))),
        p90_percent=float(np.quantile(np.abs(percents), 0.9, method="inverted_cdf")),
        bias_percent=float(np.median(percents)),
        repeatability_percent=float(np.median(spread)) if spread else None,
    )


def document(
    observations: Sequence[Observation],
    about: Mapping[str, Any],
    complete: bool,
    targets: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """As JSON: what was asked (`about`), every observation, every error, and what came of the
    suite's targets (Verdict.to_dict() of each)."""
    return {
        "schema": SCHEMA,
        "complete": complete,
        **about,
        "observations": [
            {**dataclasses.asdict(seen), "valid": seen.valid} for seen in observations
        ],
        "errors": [
            {**dataclasses.asdict(error), "band": band_of(error.utilisation)}
            for error in errors(observations)
        ],
        "targets": list(targets),
    }
