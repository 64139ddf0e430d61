"""The table of validity gates, and that of a search. Formatting only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from rich.table import Table

from mpmlab.bench.gates import Gate, Verdict
from mpmlab.bench.knee import Knee

#: To be printed below the rates of a simulation.
NOT_VALIDATED_RATES: Final = (
    "not validated: nobody has measured how far rates that a simulation found are off."
)
_MARKS: Final = {
    Verdict.PASS: "ok",
    Verdict.NOTE: "note",
    Verdict.FAIL: "FAIL",
    Verdict.SKIP: "-",
}


def gate_table(runs: Mapping[str, Sequence[Gate]]) -> Table:
    """One column for each run, one row for each gate: figure, how it stands to its limit, verdict.
    Empty: not a gate of that run; "-": not judged."""
    table = Table(title="validity", title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("gate", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for title in runs:
        table.add_column(title, justify="right", no_wrap=True)
    names = dict.fromkeys(gate.name for gates in runs.values() for gate in gates)
    for name in names:
        found = {title: _named(gates, name) for title, gates in runs.items()}
        unit = next(gate.unit for gate in found.values() if gate is not None)
        table.add_row(name, unit, *(_cell(gate) for gate in found.values()))
    return table


def _named(gates: Sequence[Gate], name: str) -> Gate | None:
    return next((gate for gate in gates if gate.name == name), None)


def _cell(gate: Gate | None) -> str:
    if gate is None:
        return ""
    if gate.verdict is Verdict.SKIP or gate.figure is None:
        return _MARKS[gate.verdict]
    if gate.limit is None:
        return f"{_short(gate.figure)}  {_MARKS[gate.verdict]}"
    sign = "≤" if gate.figure <= gate.limit else ">"
    return f"{_short(gate.figure)} {sign} {_short(gate.limit)}  {_MARKS[gate.verdict]}"


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "inf"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def knee_table(knees: Mapping[str, Knee], slo: str) -> Table:
    """The highest rates that meet the objectives."""
    table = Table(title=f"highest rate with {slo}", title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    for title in ("meets it (requests/s)", "does not (requests/s)", "runs"):
        table.add_column(title, justify="right")
    for name, knee in knees.items():
        table.add_row(name, _rate(knee.good_per_s), _rate(knee.bad_per_s), str(len(knee.trials)))
    return table


def _rate(rate_per_s: float | None) -> str:
    return "none" if rate_per_s is None else f"{rate_per_s:,.1f}"
