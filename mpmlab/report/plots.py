"""The pictures of one experiment: response times, workers over time, throughput over time.

Drawing only: numbers come from bench (runs, Measured); looks come from style.py. Each function
returns a Figure, so that tests can read the series back; `draw` writes them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from mpmlab.bench.experiment import Experiment
from mpmlab.bench.measured import Measured, measured
from mpmlab.bench.run import Run
from mpmlab.bench.samples import Samples
from mpmlab.bench.standing import trust
from mpmlab.core.scoreboard import (
    BUSY_DNS,
    BUSY_KEEPALIVE,
    BUSY_LOG,
    BUSY_READ,
    BUSY_WRITE,
    CLOSING,
    GRACEFUL,
    READY,
    STARTING,
)
from mpmlab.report import style
from mpmlab.report.pool_plot import pool
from mpmlab.workload.plan import Plan

NAMES: Final = ("latency.png", "workers.png", "throughput.png", "lateness.png", "pool.png")

#: The bands of the workers picture, from the bottom: label, statuses, colour.
BANDS: Final = (
    ("handling (W)", (BUSY_WRITE, BUSY_LOG, BUSY_DNS), style.BLUE),
    ("reading (R)", (BUSY_READ,), style.SKY),
    ("keep-alive (K)", (BUSY_KEEPALIVE,), style.ORANGE),
    ("closing, graceful (C, G)", (CLOSING, GRACEFUL), style.PURPLE),
    ("idle (_)", (READY,), "#D9E8DF"),
    ("starting (S)", (STARTING,), style.PALE),
)
#: Percentiles that get a tick.
_TICKS: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
#: An order statistic with fewer values beyond it than this is drawn pale: it is luck.
_FEW: Final = 10
_TITLES: Final = {"real": "real", "sim": "simulated", "httpd": "Apache httpd"}


def draw(
    folder: Path, experiment: Experiment, runs: Mapping[str, Run], plan: Plan | None = None
) -> list[Path]:
    """Write all pictures that the runs have data for into `folder`; returns their paths. Without a
    plan all clients are taken for measured ones."""
    figures = (
        latency(experiment, runs, plan),
        workers(experiment, runs),
        throughput(experiment, runs, plan),
        lateness(experiment, runs, plan),
        pool_growth(experiment, runs),
    )
    return [
        style.write_png(figure, folder / name)
        for name, figure in zip(NAMES, figures, strict=True)
        if figure is not None
    ]


def pool_growth(experiment: Experiment, runs: Mapping[str, Run]) -> Figure | None:
    """Processes and busy workers over time, all engines in one frame."""
    figure = pool(experiment, runs, _TITLES)
    if figure is not None:
        title = f"{experiment.mpm}: how the pool grew, {_both(runs)}"
        style.entitle(figure, title, _subtitle(experiment, runs))
    return figure


def _subtitle(experiment: Experiment, runs: Mapping[str, Run]) -> str:
    partial = ", ".join(name for name, run in runs.items() if run.faults)
    invalid = ", ".join(name for name, run in runs.items() if run.complete and not run.valid)
    sim = runs.get("sim")
    trusted = (
        "" if sim is None else f"; {trust(experiment.platform, experiment.mpm, sim.utilisation)}"
    )
    return (
        f"scenario {experiment.scenario}, seed {experiment.seed}, "
        f"plan {experiment.plan_hash[:12]}"
        + trusted
        + (f"; INCOMPLETE: {partial}" if partial else "")
        + (f"; INVALID: {invalid}" if invalid else "")
    )


def _seen(experiment: Experiment, run: Run, plan: Plan | None) -> Measured:
    asked = experiment
    return measured(run.records, asked.warmup_s, asked.duration_s, asked.timeout_s, plan)


def _both(runs: Mapping[str, Run]) -> str:
    names = [_TITLES.get(name, name) for name in runs]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 2 else names)


# ---- response times ---------------------------------------------------------------------------


def latency(
    experiment: Experiment, runs: Mapping[str, Run], plan: Plan | None = None
) -> Figure | None:
    """Response time by percentile on a 1/(1-p) axis, every measured value drawn."""
    figure = style.new_figure(8.6, 5.0)
    axes = figure.subplots()
    longest, most = 0.0, 0
    for engine, run in runs.items():
        seen = _seen(experiment, run, plan)
        if not len(seen.response_s):
            continue
        times_ms = 1000 * np.sort(seen.response_s)
        _percentile_line(axes, engine, times_ms)
        if np.isfinite(seen.censored_from_s):
            axes.axhline(1000 * seen.censored_from_s, color=style.GREY, linewidth=0.8)
            axes.annotate(
                "time-outs: at least this long",
                (1, 1000 * seen.censored_from_s),
                textcoords="offset points",
                xytext=(4, 3),
                fontsize=9,
                color=style.GREY,
            )
        longest, most = max(longest, times_ms[-1]), max(most, len(times_ms))
    if not most:
        return None
    _percentile_axis(axes, most)
    _time_axis(axes)
    axes.legend(loc="upper left", frameon=False, fontsize=10.5)
    style.dress(
        axes,
        f"share of requests that are answered faster (pale: fewer than {_FEW} values beyond)",
        "response time, planned send to last byte (ms)",
    )
    title = f"{experiment.mpm}: response time by percentile, {_both(runs)}"
    style.entitle(figure, title, _subtitle(experiment, runs))
    return figure


def _percentile_line(axes: Axes, engine: str, times_ms: NDArray[np.float64]) -> None:
    n = len(times_ms)
    # The i-th smallest of n (from 0) has the share i/n below it, so 1/(1-p) = n/(n-i).
    x = n / (n - np.arange(n))
    sure = max(n - _FEW, 1)
    look = style.engine_style(engine)
    p50 = times_ms[min(int(np.ceil(0.5 * n)), n) - 1]
    p99 = times_ms[min(int(np.ceil(0.99 * n)), n) - 1]
    label = f"{_TITLES.get(engine, engine)}: p50 {_ms(p50)}, p99 {_ms(p99)} ms (n = {n:,})"
    axes.plot(x[:sure], times_ms[:sure], label=label, linewidth=2.2, **look)
    axes.plot(x[sure - 1 :], times_ms[sure - 1 :], linewidth=1.6, alpha=0.35, **look)


def _ms(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _percentile_axis(axes: Axes, most: int) -> None:
    axes.set_xscale("log")
    axes.set_xlim(1, max(2.0, most * 1.05))
    axes.set_xticks([1 / (1 - p) for p in _TICKS if 1 / (1 - p) <= max(2, most) * 1.05])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - 1 / x):.6g} %"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(LogLocator(subs=()))


def _time_axis(axes: Axes) -> None:
    """Logarithmic when the values span more than a factor of 20, linear from zero otherwise."""
    low = min(float(np.min(line.get_ydata())) for line in axes.lines)
    high = max(float(np.max(line.get_ydata())) for line in axes.lines)
    if low > 0 and high / low > 20:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.tick_params(axis="y", which="minor", labelsize=9)
    else:
        axes.set_ylim(0, high * 1.08 or 1)


# ---- lateness ---------------------------------------------------------------------------------


def lateness(
    experiment: Experiment, runs: Mapping[str, Run], plan: Plan | None = None
) -> Figure | None:
    """How late the real clients took requests in hand, by percentile; None without any. Simulated
    ones never are."""
    late_us = {
        engine: 1e6 * np.sort(_seen(experiment, run, plan).lateness_s)
        for engine, run in runs.items()
        if engine != "sim"
    }
    late_us = {engine: values for engine, values in late_us.items() if len(values)}
    if not late_us:
        return None
    figure = style.new_figure(8.6, 4.4)
    axes = figure.subplots()
    for engine, values in late_us.items():
        n = len(values)
        p50, p99 = (np.quantile(values, p, method="inverted_cdf") for p in (0.5, 0.99))
        axes.plot(
            n / (n - np.arange(n)),
            np.maximum(values, 0.1),
            label=f"{_TITLES.get(engine, engine)}: p50 {_ms(p50)}, p99 {_ms(p99)} us (n = {n:,})",
            linewidth=2.2,
            **style.engine_style(engine),
        )
        _lateness_limit(axes, runs[engine])
    _percentile_axis(axes, max(map(len, late_us.values())))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.legend(loc="lower right", frameon=False, fontsize=10.5)
    style.dress(axes, "share of requests that were taken in hand sooner", "lateness (us)")
    title = f"{experiment.mpm}: how late the load generator was"
    style.entitle(figure, title, _subtitle(experiment, runs))
    return figure


def _lateness_limit(axes: Axes, run: Run) -> None:
    for gate in run.gates:
        if gate.name == "lateness" and gate.limit is not None:
            axes.axhline(1000 * gate.limit, color=style.GREY, linewidth=1, linestyle=":")
            axes.annotate(
                "limit for p99", (1, 1000 * gate.limit), textcoords="offset points", xytext=(4, 3),
                fontsize=9, color=style.GREY,
            )  # fmt: skip


# ---- workers ----------------------------------------------------------------------------------


def workers(experiment: Experiment, runs: Mapping[str, Run]) -> Figure | None:
    """Workers by status over time, one panel for each engine, same scale."""
    shown = {name: run for name, run in runs.items() if len(run.samples)}
    if not shown:
        return None
    figure = style.new_figure(8.6, 1.5 + 2.5 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (engine, run) in zip(panels, shown.items(), strict=True):
        _bands(axes, run.samples)
        _shade_warmup(axes, experiment)
        style.dress(axes, "", "workers")
        _name_panel(axes, engine, run, experiment)
    _worker_axis(list(panels), [run.samples for run in shown.values()])
    panels[-1].set_xlabel("time since the load began (s)", fontsize=11)
    handles, labels = _shown_bands(panels[0], [run.samples for run in shown.values()])
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    title = f"{experiment.mpm}: what the workers did, {_both(shown)}"
    style.entitle(figure, title, _subtitle(experiment, runs))
    return figure


def _bands(axes: Axes, samples: Samples) -> None:
    rows = [samples.counts[:, list(statuses)].sum(axis=1) for _, statuses, _ in BANDS]
    axes.stackplot(
        samples.time_s,
        rows,
        labels=[label for label, _, _ in BANDS],
        colors=[color for _, _, color in BANDS],
        linewidth=0,
        step="post",
    )


def _shown_bands(axes: Axes, shown: list[Samples]) -> tuple[list[Artist], list[str]]:
    """Legend entries of the bands that are not empty everywhere."""
    colours = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    seen = [
        label
        for label, statuses, _ in BANDS
        if any(samples.counts[:, list(statuses)].any() for samples in shown)
    ]
    return [colours[label] for label in seen], seen


def _name_panel(axes: Axes, engine: str, run: Run, experiment: Experiment) -> None:
    """Which engine, and the mean that the table shows."""
    inside = run.samples.between(experiment.warmup_s, experiment.duration_s)
    text = _TITLES.get(engine, engine)
    if len(inside):
        total = np.mean(inside.busy + inside.idle)
        text += f": {np.mean(inside.busy):.1f} of {total:.4g} workers busy on average"
    axes.text(
        0.995,
        0.97,
        text,
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=10.5,
        fontweight="bold",
        bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 2},
    )


def _worker_axis(panels: list[Axes], shown: list[Samples]) -> None:
    """From zero to all workers; but of a pool that is mostly idle only the part where something
    happens, or the busy ones could not be seen."""
    total = max(float(np.max(samples.counts[:, 1:].sum(axis=1))) for samples in shown)
    busy = max(float(np.max(samples.busy)) for samples in shown)
    top = max(4 * busy, 10.0)
    panels[0].set_xlim(0, max(float(samples.time_s[-1]) for samples in shown))
    panels[0].set_ylim(0, max(1.0, min(1.2 * total, top)))
    if top < total:
        for axes in panels:
            axes.set_ylabel(f"workers (axis cut, {total:.0f} in all)", fontsize=11)


def _shade_warmup(axes: Axes, experiment: Experiment) -> None:
    if experiment.warmup_s > 0:
        axes.axvspan(0, experiment.warmup_s, facecolor="white", alpha=0.45, linewidth=0)
        axes.axvline(experiment.warmup_s, color=style.GREY, linewidth=1, linestyle=":")
    axes.axvline(experiment.duration_s, color=style.GREY, linewidth=1, linestyle=":")


# ---- throughput -------------------------------------------------------------------------------


def throughput(
    experiment: Experiment, runs: Mapping[str, Run], plan: Plan | None = None
) -> Figure | None:
    """Answers per second over time, of each engine, beside what was planned."""
    figure = style.new_figure(8.6, 4.4)
    axes = figure.subplots()
    width_s = _bin_width_s(experiment.duration_s)
    edges = np.arange(0, int(experiment.duration_s / width_s + 1e-9) + 1) * width_s
    some = False
    for engine, run in runs.items():
        seen = _seen(experiment, run, plan)
        if not some and len(seen.all_planned_s):
            planned = np.histogram(seen.all_planned_s, edges)[0] / width_s
            axes.stairs(planned, edges, fill=True, color="#DDDDDD", label="planned sends")
        if len(seen.all_ended_s):
            rate = np.histogram(seen.all_ended_s, edges)[0] / width_s
            label = f"{_TITLES.get(engine, engine)}: answers"
            axes.stairs(
                rate, edges, baseline=None, linewidth=2.0, label=label, **style.engine_style(engine)
            )
            some = True
    if not some:
        return None
    _shade_warmup(axes, experiment)
    style.dress(axes, "time since the load began (s)", f"requests per second ({width_s:g} s bins)")
    axes.set_xlim(0, experiment.duration_s)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.2)
    axes.legend(loc="upper right", frameon=False, fontsize=10.5, ncols=3)
    title = f"{experiment.mpm}: throughput over time, {_both(runs)}"
    style.entitle(figure, title, _subtitle(experiment, runs))
    return figure


def _bin_width_s(duration_s: float) -> float:
    """A round width that gives 20 to 50 bins."""
    for width_s in (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0):
        if duration_s / width_s <= 50:
            return width_s
    return duration_s / 50
