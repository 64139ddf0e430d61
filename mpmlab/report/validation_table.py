"""The tables of `mpmlab validate`: errors by utilisation, by MPM, against the baselines; the worst
cases; and what was not counted.

Formatting only: numbers come from bench/validation.py. A cell reads "median / 90th percentile
(cases)" of absolute errors in percent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.table import Table

from mpmlab.bench.suite import HELD_OUT
from mpmlab.bench.validation import (
    BANDS,
    FIGURES,
    SIM,
    Cell,
    Error,
    Observation,
    band_of,
    cell,
    errors,
)

_MISSING: Final = "-"
#: Figures of the tables that have no room for all.
MAIN: Final = ("throughput_rps", "mean_ms", "p99_ms")
#: So many of the worst are named.
_WORST: Final = 8


def band_table(found: Sequence[Error], title: str) -> Table:
    """A row for each figure, a column for each band of utilisation, and one for all."""
    table = new_table(f"{title}: error of the simulation, % (median / 90th percentile, cases)")
    for heading in (*BANDS, "all", "bias", "repeatability"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure, label in FIGURES.items():
        overall = cell(found, figure)
        table.add_row(
            label,
            *(_text(cell(found, figure, band=band)) for band in BANDS),
            _text(overall),
            _MISSING if overall is None else f"{overall.bias_percent:+.1f}",
            _repeatability(overall),
        )
    return table


def mpm_table(found: Sequence[Error], title: str) -> Table:
    """A row for each figure, a column for each MPM."""
    mpms = list(dict.fromkeys(error.mpm for error in found))
    table = new_table(f"{title}: by MPM")
    for mpm in mpms:
        table.add_column(mpm, justify="right", no_wrap=True)
    for figure, label in FIGURES.items():
        table.add_row(label, *(_text(cell(found, figure, mpm=mpm)) for mpm in mpms))
    return table


def baseline_table(found: Sequence[Error], title: str) -> Table:
    """A row for each predictor, a column for each main figure: of the cases that all of them have
    an answer for, so that they are held against one another on the same ground."""
    predictors = list(dict.fromkeys(error.predictor for error in found))
    table = new_table(f"{title}: the simulation and the baselines, where those have an answer")
    for figure in MAIN:
        table.add_column(FIGURES[figure], justify="right", no_wrap=True)
    for predictor in predictors:
        table.add_row(
            "simulation" if predictor == SIM else predictor,
            *(_text(cell(_common(found, figure), figure, predictor)) for figure in MAIN),
        )
    return table


def _common(found: Sequence[Error], figure: str) -> list[Error]:
    """Errors of cases that some baseline has an answer for."""
    answered = {
        (error.case, error.mpm)
        for error in found
        if error.figure == figure and error.predictor != SIM
    }
    return [error for error in found if (error.case, error.mpm) in answered]


def lines(observations: Sequence[Observation]) -> Iterator[str]:
    """How many runs count, why others do not, and which cases are the worst."""
    valid = [seen for seen in observations if seen.valid]
    yield f"{len(valid)} of {len(observations)} runs are valid; only these have an error"
    for seen in observations:
        if not seen.valid:
            yield f"not counted: {seen.case}, {seen.mpm}: {'; '.join(seen.reasons)}"
    for figure in ("mean_ms", "p99_ms"):
        ranked = sorted(
            (e for e in errors(valid) if e.figure == figure and e.predictor == SIM),
            key=lambda error: -abs(error.percent),
        )
        named = ", ".join(
            f"{e.case} {e.mpm} {e.percent:+.1f} % ({band_of(e.utilisation)})"
            for e in ranked[:_WORST]
        )
        if named:
            yield f"largest errors of {FIGURES[figure]}: {named}"


def title_of(engine: str, role: str | None) -> str:
    """What a table is about."""
    return f"{engine}, {role} cases" if role else f"{engine}, all cases"


def held_out(found: Sequence[Error]) -> list[Error]:
    """Those of cases that no fit has seen."""
    return [error for error in found if error.role == HELD_OUT]


def new_table(title: str) -> Table:
    """As all tables of a validation look, with the column of row names."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    return table


def _text(found: Cell | None) -> str:
    if found is None:
        return _MISSING
    return f"{found.median_percent:.1f} / {found.p90_percent:.1f} ({found.cases})"


def _repeatability(found: Cell | None) -> str:
    if found is None or found.repeatability_percent is None:
        return _MISSING
    return f"±{found.repeatability_percent:.1f}"
