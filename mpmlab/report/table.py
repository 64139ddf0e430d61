"""The table of `mpmlab bench`: the engines' numbers side by side, with the error in percent.

Formatting only: numbers come from bench/summary.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from rich.table import Table

from mpmlab.bench.summary import Summary, error_percent
from mpmlab.bench.validation import Cell


class Row(NamedTuple):
    """One line of the table: its title with the unit, the number behind it, how it is written."""

    title: str
    field: str
    value: Callable[[Summary], float | None]
    text: Callable[[float], str]
    #: Whether it says something of a simulation, too.
    simulated: bool = True
    #: Left out if it is zero or unknown everywhere.
    if_any: bool = False


def _number(value: float) -> str:
    """Three significant digits; whole numbers in full."""
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    if abs(rounded) >= 100:
        return f"{value:,.0f}"
    return f"{rounded:.{2 - math.floor(math.log10(abs(rounded)))}f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


#: Response times count from the planned send, service times from the actual one.
ROWS: Final = (
    Row("throughput (answers/s)", "throughput_rps", lambda s: s.throughput_rps, _number),
    Row("response p50 (ms)", "p50_ms", lambda s: s.p50_ms, _number),
    Row("response p90 (ms)", "p90_ms", lambda s: s.p90_ms, _number),
    Row("response p99 (ms)", "p99_ms", lambda s: s.p99_ms, _number),
    Row("response p99.9 (ms)", "p999_ms", lambda s: s.p999_ms, _number),
    Row("service p50 (ms)", "service_p50_ms", lambda s: s.service_p50_ms, _number),
    Row("service p99 (ms)", "service_p99_ms", lambda s: s.service_p99_ms, _number),
    Row(
        "send lateness p99 (ms)",
        "lateness_p99_ms",
        lambda s: s.lateness_p99_ms,
        _number,
        simulated=False,  # a simulated client is never late
    ),
    Row("errors", "errors", lambda s: float(s.errors), _count),
    Row("abandoned", "abandoned", lambda s: float(s.abandoned), _count, if_any=True),
    Row("mean busy workers", "busy_mean", lambda s: s.busy_mean, _number),
    Row(
        "server CPU utilisation (%)",
        "cpu_utilisation",
        lambda s: None if s.cpu_utilisation is None else 100 * s.cpu_utilisation,
        _number,
    ),
    Row("memory, all processes (MiB)", "memory_mib", lambda s: s.memory_mib, _number),
)

#: What engines are called; the asterisk is NOT_VALIDATED's.
HEADINGS: Final = {
    "httpd": "httpd", "real": "real", "sim": "simulated*", "external": "as it is",
}  # fmt: skip
#: Which engine is held against which, the referent last: heading of the column with the error.
ERRORS: Final = {
    ("sim", "real"): "sim/real %",
    ("real", "httpd"): "real/httpd %",
    ("sim", "httpd"): "sim/httpd %",
}
#: What the asterisk says, to be printed below a table with a simulated column.
NOT_VALIDATED: Final = (
    "* not validated: nobody has measured how far simulated numbers are off here (mpmlab "
    "calibrate, mpmlab validate); an error column is the measured error of this one run."
)
#: Below a table of intervals.
RANGED: Final = (
    "* not validated: intervals are the least and the most of {simulations} simulations over the "
    "ranges of the {values} values of this platform that are assumed (mpmlab profile show)"
)
#: The same where there is a validation: what its column means.
VALIDATED: Final = (
    "* {what}; the validated column: median (90th percentile) of its errors for this MPM and "
    "utilisation, - where it has none"
)
_MISSING: Final = "-"


#: Of an MPM: figure (field of Summary) -> least and most of simulations over what is assumed.
Ranges = Mapping[str, Mapping[str, tuple[float, float]]]

#: Of an MPM: figure (field of Summary) -> its validated error, or None where there is none.
Validated = Mapping[str, Callable[[str], Cell | None]]


def comparison(
    results: Mapping[str, Mapping[str, Summary]],
    title: str,
    validated: Validated | None = None,
    ranges: Ranges | None = None,
) -> Table:
    """The table for `results[mpm][engine]`: one group of columns for each MPM. `validated`: by MPM,
    what the simulation's error was shown to be; `ranges`: between what its numbers are on a
    platform of which values are assumed, in the place of the numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for mpm, engines in results.items():
        for engine in engines:
            table.add_column(f"{mpm}\n{HEADINGS.get(engine, engine)}", justify="right")
        for pair in _pairs(engines):
            heading = ERRORS[pair] if len(engines) > 2 else "error %"
            table.add_column(f"\n{heading}", justify="right")
        if "sim" in engines and validated:
            table.add_column("\nvalidated ± %", justify="right")
    summaries = [summary for engines in results.values() for summary in engines.values()]
    for row in ROWS:
        if row.if_any and not any(row.value(summary) for summary in summaries):
            continue
        cells = []
        for mpm, engines in results.items():
            if ranges and mpm in ranges:
                cells.append(_range(row, ranges[mpm]))
                continue
            cells += _cells(row, engines)
            if "sim" in engines and validated:
                cells.append(_validated(row, validated[mpm]))
        table.add_row(row.title, *cells)
    return table


def _range(row: Row, ranges: Mapping[str, tuple[float, float]]) -> str:
    """An interval, and never a bare number."""
    ends = ranges.get(row.field)
    if ends is None or not row.simulated:
        return _MISSING
    scale = 100.0 if row.field == "cpu_utilisation" else 1.0
    low, high = (row.text(scale * end) for end in ends)
    return low if low == high else f"{low} to {high}"


def _pairs(engines: Iterable[str]) -> list[tuple[str, str]]:
    """The engines that are held against one another."""
    return [pair for pair in ERRORS if set(pair) <= set(engines)]


def _cells(row: Row, engines: Mapping[str, Summary]) -> list[str]:
    cells = [_cell(row, engine, summary) for engine, summary in engines.items()]
    for off, referent in _pairs(engines):
        if off == "sim" and not row.simulated:
            cells.append(_MISSING)
            continue
        error = error_percent(row.value(engines[off]), row.value(engines[referent]))
        cells.append(_MISSING if error is None else f"{error:+.1f}")
    return cells


def _validated(row: Row, errors: Callable[[str], Cell | None]) -> str:
    """The median of the validated errors, and in brackets nine tenths of them."""
    found = errors(row.field) if row.simulated else None
    if found is None:
        return _MISSING
    return f"{found.median_percent:.1f} ({found.p90_percent:.1f})"


def _cell(row: Row, engine: str, summary: Summary) -> str:
    value = row.value(summary)
    if value is None or (engine == "sim" and not row.simulated):
        return _MISSING
    bound = "≥ " if row.field in summary.lower_bounds else ""
    return bound + row.text(value)
