"""The tables of `mpmlab calibrate`: what was fitted, and how close the simulation came.

Formatting only: numbers come from bench/calibration.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from mpmlab.bench.calibration import PARAMETERS, Fit, getattr_of

_FIGURES = {
    "overhead": "CPU beyond demand, us", "mean_ms": "mean, ms", "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
}  # fmt: skip


def factor_table(fits: Mapping[str, Fit], engine: str) -> Table:
    """A row for each cost that was fitted, by the first of its fields; a column for each MPM: its
    value with the interval of 95 %."""
    table = Table(title=f"{engine}: fitted costs, us (95 % interval)", pad_edge=False)
    table.add_column("cost", no_wrap=True)
    for mpm in fits:
        table.add_column(mpm, justify="right", no_wrap=True)
    for members in PARAMETERS.values():
        cells = []
        for found in fits.values():
            ends = found.platform.intervals.get(members[0])
            value = getattr_of(found.platform, members[0])
            cells.append("-" if ends is None else f"{value:.3g} ({ends[0]:.3g}-{ends[1]:.3g})")
        more = f" and {len(members) - 1} more alike" if len(members) > 1 else ""
        table.add_row(f"{members[0].removesuffix('_us')}{more}", *cells)
    return table


def residual_table(found: Fit, title: str) -> Table:
    """A row for each figure of each training case: measured, how far its runs lie apart, and the
    errors of the simulation before and after."""
    table = Table(title=title, pad_edge=False)
    for heading in ("case", "figure"):
        table.add_column(heading, no_wrap=True)
    for heading in ("measured", "runs, +- %", "probed, %", "fitted, %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.residuals:
        table.add_row(
            one.case,
            _FIGURES[one.figure],
            f"{one.measured:.4g}",
            f"{100 * one.spread:.0f}",
            f"{100 * (one.before / one.measured - 1):+.1f}",
            f"{100 * (one.fitted / one.measured - 1):+.1f}",
        )
    return table
