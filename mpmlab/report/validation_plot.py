"""The pictures of a validation: error against utilisation, and simulated against measured response
times, level by level.

Drawing only: numbers come from bench/validation.py; looks come from style.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mpmlab.bench.suite import HELD_OUT
from mpmlab.bench.validation import BAND_ENDS, FIGURES, SIM, Error, Observation, errors
from mpmlab.report import style

#: Colour and marker of each MPM.
_LOOKS: Final = {
    "prefork": (style.BLUE, "o"),
    "worker": (style.VERMILLION, "s"),
    "event": (style.GREEN, "^"),
}
_OTHER: Final = (style.PURPLE, "D")
_DRAWN: Final = ("mean_ms", "p99_ms")
#: Errors beyond are drawn at the edge.
_EDGE_PERCENT: Final = 60.0


def draw_validation(folder: Path, observations: Sequence[Observation], engine: str) -> list[Path]:
    """Write the pictures that there is data for; their paths."""
    figures = {
        "errors.png": error_plot(errors(observations), engine),
        "quantiles.png": quantile_plot(observations, engine),
    }
    return [style.write_png(figure, folder / name) for name, figure in figures.items() if figure]


def error_plot(found: Sequence[Error], engine: str) -> Figure | None:
    """Signed errors of mean and p99 against the measured utilisation; hollow: cases that may have
    been fitted."""
    shown = [e for e in found if e.predictor == SIM and e.utilisation is not None]
    if not any(error.figure in _DRAWN for error in shown):
        return None
    figure = style.new_figure(8.6, 6.4)
    panels = figure.subplots(len(_DRAWN), 1, sharex=True)
    for axes, name in zip(panels, _DRAWN, strict=True):
        _scatter(axes, [error for error in shown if error.figure == name])
        style.dress(axes, "", f"error of {FIGURES[name]} (%)")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(-_EDGE_PERCENT * 1.08, _EDGE_PERCENT * 1.08)
        axes.axhline(0, color=style.GREY, linewidth=1)
        for end in BAND_ENDS:
            axes.axvline(end, color=style.GREY, linewidth=0.8, linestyle=":")
    panels[-1].set_xlabel("measured utilisation, of cores or workers", fontsize=11)
    panels[0].legend(loc="upper left", frameon=False, fontsize=10, ncols=3)
    style.entitle(figure, f"simulation against {engine}: error by utilisation",
                  "filled: held-out cases; hollow: cases for fitting; at the edge: beyond "
                  f"{_EDGE_PERCENT:.0f} %")  # fmt: skip
    return figure


def _scatter(axes: Axes, found: Sequence[Error]) -> None:
    for mpm in dict.fromkeys(error.mpm for error in found):
        colour, marker = _LOOKS.get(mpm, _OTHER)
        label: str | None = mpm
        for held_out in (True, False):
            mine = [e for e in found if e.mpm == mpm and (e.role == HELD_OUT) == held_out]
            if not mine:
                continue
            axes.scatter(
                [e.utilisation or 0.0 for e in mine],
                [max(-_EDGE_PERCENT, min(_EDGE_PERCENT, e.percent)) for e in mine],
                marker=marker, s=42, label=label, clip_on=False,
                facecolors=colour if held_out else "none", edgecolors=colour,
            )  # fmt: skip
            label = None


def quantile_plot(observations: Sequence[Observation], engine: str) -> Figure | None:
    """Each run's simulated response times against its measured ones, at the same levels. On the
    diagonal they agree; the band is 10 %."""
    shown = [seen for seen in observations if seen.valid and seen.quantiles_ms]
    if not shown:
        return None
    figure = style.new_figure(7.2, 7.0)
    axes = figure.subplots()
    labelled: set[str] = set()
    for seen in shown:
        colour, marker = _LOOKS.get(seen.mpm, _OTHER)
        axes.plot(
            seen.quantiles_ms["measured"], seen.quantiles_ms["sim"], color=colour, marker=marker,
            markersize=3, linewidth=0.8, alpha=0.7,
            label=None if seen.mpm in labelled else seen.mpm,
        )  # fmt: skip
        labelled.add(seen.mpm)
    every = [ms for seen in shown for row in seen.quantiles_ms.values() for ms in row if ms > 0]
    ends = [min(every), max(every)]
    axes.plot(ends, ends, color=style.GREY, linewidth=1)
    axes.fill_between(ends, [0.9 * e for e in ends], [1.1 * e for e in ends],
                      color=style.PALE, zorder=0)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    style.dress(axes, f"{engine}: response time (ms)", "simulated response time (ms)")
    axes.legend(loc="upper left", frameon=False, fontsize=10)
    style.entitle(figure, f"simulated against {engine} response times",
                  "one line for each valid run, levels 1 % to 99.9 %; band: 10 %")  # fmt: skip
    return figure
