"""The picture of the pool: processes and workers over time, of all engines in one frame, with what
the servers said of their limits.

Drawing only: numbers come from bench (runs); looks come from style.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpmlab.bench.experiment import Experiment
from mpmlab.bench.run import Run
from mpmlab.report import style

#: Levels of messages that are worth a mark.
_LEVELS: Final = ("warn", "error", "crit", "alert", "emerg")
#: A line of Run.log.
_LINE: Final = re.compile(r"\[(-?[\d.]+)\] \[mpm:(\w+)\] \[pid \d+\] (AH\d{5}): ")
#: Lines of engines with the same numbers lie on one another: the wider one below shows.
_WIDTHS: Final = (4.2, 2.6, 1.4)


class Said(NamedTuple):
    """A message of a server: when, and its number."""

    time_s: float
    ident: str


def said(run: Run, duration_s: float) -> list[Said]:
    """The first of each number that tells of trouble, while the load lasted."""
    first: dict[str, float] = {}
    for line in run.log:
        match = _LINE.match(line)
        if match and match[2] in _LEVELS and 0 <= float(match[1]) <= duration_s:
            first.setdefault(match[3], float(match[1]))
    return [Said(time_s, ident) for ident, time_s in first.items()]


def pool(
    experiment: Experiment, runs: Mapping[str, Run], titles: Mapping[str, str]
) -> Figure | None:
    """Processes above, workers at work below; None without samples."""
    shown = {name: run for name, run in runs.items() if len(run.samples)}
    if not shown:
        return None
    figure = style.new_figure(8.6, 6.0)
    above, below = figure.subplots(2, 1, sharex=True)
    for number, (engine, run) in enumerate(shown.items()):
        look = {**style.engine_style(engine), "linewidth": _WIDTHS[min(number, len(_WIDTHS) - 1)]}
        times_s = run.samples.time_s
        label = titles.get(engine, engine)
        above.plot(times_s, run.samples.processes, drawstyle="steps-post", label=label, **look)
        below.plot(times_s, run.samples.busy, drawstyle="steps-post", label=label, **look)
        _mark(above, said(run, experiment.duration_s), number, look["color"])
    style.dress(above, "", "processes")
    style.dress(below, "time since the load began (s)", "busy workers")
    for axes in (above, below):
        axes.set_ylim(0, axes.get_ylim()[1] * 1.3)
        axes.axvline(experiment.duration_s, color=style.GREY, linewidth=1, linestyle=":")
    last_s = max(float(np.max(run.samples.time_s)) for run in shown.values())
    above.set_xlim(0, max(last_s, experiment.duration_s))
    above.legend(loc="lower right", frameon=False, fontsize=10.5, ncols=len(shown))
    return figure


def _mark(axes: Axes, messages: list[Said], row: int, colour: str) -> None:
    """A triangle at the top of the frame, with the message's number beside it."""
    transform = axes.get_xaxis_transform()
    height = 0.96 - 0.08 * row
    for message in messages:
        axes.plot(
            [message.time_s], [height], marker="v", color=colour, markersize=7, transform=transform,
            linestyle="none", clip_on=False,
        )  # fmt: skip
        axes.text(
            message.time_s, height, f"  {message.ident}", color=colour, fontsize=9, va="center",
            transform=transform,
        )  # fmt: skip
