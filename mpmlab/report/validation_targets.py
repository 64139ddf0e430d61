"""The tables of `mpmlab validate` on what is asked of a simulation: its targets, its prediction
band, and the order in which it puts MPMs and configurations.

Formatting only: numbers come from bench/targets.py, coverage.py and ordering.py. All are of valid
held-out cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.table import Table

from mpmlab.bench.baselines import BASELINES
from mpmlab.bench.coverage import coverage
from mpmlab.bench.ordering import KINDS, Pair, Side, among, pairs, right
from mpmlab.bench.suite import Target
from mpmlab.bench.targets import Verdict
from mpmlab.bench.validation import ALL, BANDS, FIGURES, ORDERED, Observation, Share
from mpmlab.report.validation_table import new_table

_MISSING: Final = "-"


def target_table(judged: Sequence[Verdict], title: str) -> Table | None:
    """A row for each target: what it asks, what that came to, and the verdict. None without any."""
    if not judged:
        return None
    table = new_table(f"{title}: targets")
    for heading in ("utilisation", "asked", "came to"):
        table.add_column(heading, no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in judged:
        table.add_row(
            _subject(one.target),
            ", ".join(one.target.bands) or "any",
            _asked(one.target),
            _came_to(one),
            str(one.cases),
            one.state,
        )
    return table


def _subject(target: Target) -> str:
    if target.right_percent is None:
        return FIGURES[target.figure]
    return "order" if target.figure == ALL else f"order by {FIGURES[target.figure]}"


def _asked(target: Target) -> str:
    if target.inside_percent is not None:
        return f"{target.inside_percent:g} % inside the band"
    if target.right_percent is not None:
        return f"{target.right_percent:g} % right"
    text = f"median up to {target.median_percent:g} %"
    return text if target.p90_percent is None else f"{text}, p90 up to {target.p90_percent:g} %"


def _came_to(one: Verdict) -> str:
    if one.percent is None:
        return _MISSING
    text = f"{one.percent:.1f} %"
    return text if one.p90_percent is None else f"{text}, p90 {one.p90_percent:.1f} %"


def coverage_table(observations: Sequence[Observation], title: str) -> Table | None:
    """A row for each figure that has a prediction band, a column for each band of utilisation and
    each MPM. None if no figure has one."""
    rows = {figure: found for figure in FIGURES if (found := coverage(observations, figure)).of}
    if not rows:
        return None
    mpms = _mpms(observations)
    table = new_table(f"{title}: measured values inside the simulation's 90 % band (of cases)")
    for heading in (*BANDS, *mpms, "all"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure, overall in rows.items():
        table.add_row(
            FIGURES[figure],
            *(_share(coverage(observations, figure, band=band)) for band in BANDS),
            *(_share(coverage(observations, figure, mpm=mpm)) for mpm in mpms),
            _share(overall),
        )
    return table


def order_table(observations: Sequence[Observation], title: str) -> Table | None:
    """A row for each predictor, a column for each kind of pair and figure; below a baseline the
    simulation on the same pairs. None if no pair's order is known."""
    simulated = pairs(observations)
    if not simulated:
        return None
    table = new_table(f"{title}: pairs in the right order, of those measured apart")
    for kind in KINDS:
        for figure in ORDERED:
            table.add_column(f"{kind}:\n{FIGURES[figure]}", justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    table.add_row("simulation", *_shares(simulated))
    for name in BASELINES:
        if predicted := pairs(observations, name):
            table.add_row(name, *_shares(predicted))
            table.add_row("  simulation, same pairs", *_shares(among(simulated, predicted)))
    return table


def order_lines(observations: Sequence[Observation]) -> Iterator[str]:
    """The pairs that the simulation has in the wrong order."""
    for pair in pairs(observations):
        if not pair.right:
            yield (
                f"wrong order by {FIGURES[pair.figure]}: {_side(pair.less)} is less than "
                f"{_side(pair.more)}"
            )


def _side(side: Side) -> str:
    return (
        f"{side.case} {side.mpm} (measured {side.low:.4g} to {side.high:.4g}, simulated "
        f"{side.predicted:.4g})"
    )


def _shares(found: Sequence[Pair]) -> list[str]:
    cells = [right(found, kind=kind, figure=figure) for kind in KINDS for figure in ORDERED]
    return [_share(one) for one in (*cells, right(found))]


def _share(found: Share) -> str:
    return f"{found.hits} of {found.of}" if found.of else _MISSING


def _mpms(observations: Sequence[Observation]) -> list[str]:
    return list(dict.fromkeys(seen.mpm for seen in observations))
