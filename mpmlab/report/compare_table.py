"""The table of `mpmlab compare`: every figure of every variant, its ratio to the baseline, and
where that ratio lies. And that of a series: every figure by variant, and where its mean lies.

Formatting only: numbers come from bench/compare.py. A difference is "higher" or "lower" where the
interval excludes 1, and "no difference shown" where it does not; nothing is called significant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.table import Table

from mpmlab.bench.compare import Comparison, Line, Variant
from mpmlab.bench.compare_figures import FIGURES, Compared, repeated
from mpmlab.bench.ranking import Ranking
from mpmlab.bench.stats_quantiles import CONFIDENCE

_INVALID: Final = "INVALID"
_MISSING: Final = "-"
#: From here on a value is written as a whole number.
_WHOLE: Final = 1000


def compare_table(found: Comparison) -> Table:
    """One row for each figure and variant, the baseline's first; the last column marks rows that
    rest on an invalid run, if there are any."""
    title = f"ratios to {found.baseline.label}"
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for heading in ("", "variant"):
        table.add_column(heading, no_wrap=True)
    for heading in ("value", "ratio", f"{CONFIDENCE:.0%} interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("says", "rests on"):
        table.add_column(heading, no_wrap=True)
    marked = any(line.invalid for line in found.lines)
    if marked:
        table.add_column("", no_wrap=True)
    for line in found.lines:
        cells = list(_cells(line, found))
        if marked:
            cells.append(_INVALID if line.invalid else "")
        table.add_row(*cells, end_section=line.variant is found.variants[-1])
    return table


def ranking_table(found: Sequence[Ranking]) -> Table:
    """One row for each MPM and figure of one engine, the best first; ranks are equal where no
    difference is shown."""
    engine = found[0].engine
    table = Table(
        title=f"ranks, {engine}; equal where no difference is shown",
        title_justify="left", title_style="bold", pad_edge=False,
    )  # fmt: skip
    for heading in ("", "rank", "variant"):
        table.add_column(heading, no_wrap=True)
    for heading in ("value", "to the best", f"{CONFIDENCE:.0%} interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for ranking in found:
        for place in ranking.places:
            value, ratio = place.compared.value, place.compared.ratio
            low, high = place.compared.interval.low, place.compared.interval.high
            table.add_row(
                ranking.figure.title if place is ranking.places[0] else "",
                str(place.rank),
                place.variant.label,
                _MISSING if value is None else _marked(place.compared.value_bound, _number(value)),
                _MISSING if ratio is None else f"{ratio:.3f}",
                _MISSING if ratio is None or low is None or high is None
                else f"{low:.3f} to {high:.3f}",
                end_section=place is ranking.places[-1],
            )  # fmt: skip
    return table


def series_table(variants: Sequence[Variant]) -> Table:
    """One row for each figure, one column for each variant: the geometric mean of its repetitions,
    and the interval of that. How many of them are invalid stands at the head."""
    title = f"means of repetitions, {CONFIDENCE:.0%} intervals"
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for variant in variants:
        runs = len(variant.members)
        bad = sum(not member.validity.valid for member in variant.members)
        star = "*" if variant.engine == "sim" else ""
        heading = f"{variant.label}{star}\n{runs} run{'s' if runs > 1 else ''}"
        heading += f", {bad} {_INVALID}" if bad else ""
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in FIGURES:
        found = [repeated(figure, [m.condensed for m in v.members]) for v in variants]
        table.add_row(figure.title, *map(_mean_cell, found))
    return table


def _mean_cell(found: Compared) -> str:
    if found.value is None:
        return _MISSING
    low, high = found.interval.low, found.interval.high
    lies = "" if low is None or high is None else f"  ({_number(low)} to {_number(high)})"
    return _marked(found.value_bound, _number(found.value)) + lies


def _cells(line: Line, found: Comparison) -> Iterator[str]:
    own = line.compared
    yield line.figure.title if line.variant is found.baseline else ""
    yield line.variant.label + ("*" if line.variant.engine == "sim" else "")
    yield _MISSING if own.value is None else _marked(own.value_bound, _number(own.value))
    yield _MISSING if own.ratio is None else _marked(own.ratio_bound, f"{own.ratio:.3f}")
    low, high = own.interval.low, own.interval.high
    yield _MISSING if low is None or high is None else f"{low:.3f} to {high:.3f}"
    yield _says(line)
    yield own.basis


def _says(line: Line) -> str:
    low = line.compared.interval.low
    if line.shown is None or low is None:
        return ""
    if not line.shown:
        return "no difference shown"
    return "higher" if low > 1 else "lower"


def _marked(bound: str, text: str) -> str:
    return f"{bound} {text}" if bound else text


def _number(value: float) -> str:
    """Four significant digits; whole numbers in full."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:#.4g}"


def compare_notes(found: Comparison) -> Iterator[str]:
    """What must stand beside the table: what the intervals cover, and what they do not."""
    bases = {line.compared.basis for line in found.lines}
    shown = sum(line.shown is not None for line in found.lines)
    if shown:
        yield (
            f"Each interval alone holds the true ratio with {CONFIDENCE:.0%}: of the {shown} here "
            f"about {shown * (1 - CONFIDENCE):.1f} are expected to miss it."
        )
    if any(basis.startswith("blocks") for basis in bases):
        yield (
            "One run a side: intervals rest on blocks of time within the runs and do not cover "
            "what changes from one run to the next. Repeat the runs, in the order ABBA, to see it."
        )
    if "rests on time-outs" in bases:
        yield (
            "≥, ≤ and ?: a time-out counts with what had passed at least; such values and ratios "
            "are bounds."
        )
    if any(variant.engine == "sim" for variant in found.variants):
        yield (
            "* not validated: simulated numbers rest on a probe of a machine; a ratio of simulated "
            "to real is the error there, and no promise elsewhere."
        )
