"""Tables and pictures: the numbers in them are the runs' numbers, and a picture is a picture."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from mpmlab.bench.run import Run
from mpmlab.bench.summary import Summary, summarise
from mpmlab.load.recorder import Outcome
from mpmlab.report import plots
from mpmlab.report.progress import Reporter
from mpmlab.report.table import NOT_VALIDATED, ROWS, comparison
from tests.bench.bench_data import (
    busy_experiment,
    failed,
    make_experiment,
    make_records,
    make_run,
    make_samples,
    ok,
)


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    """Real, and a simulation that is 15 % slower."""
    return {"real": busy_experiment(1), "sim": busy_experiment(2, 1.15)}


def summaries_of(runs: dict[str, Run]) -> dict[str, Summary]:
    """As the experiment of bench_data asks."""
    return {name: summarise(run, 2.0, 10.0, 3.0) for name, run in runs.items()}


def printed(results: dict[str, dict[str, Summary]]) -> list[str]:
    """The table's lines as they look in a wide terminal."""
    out = io.StringIO()
    Console(file=out, width=200).print(comparison(results, "title"))
    return out.getvalue().splitlines()


def row(lines: list[str], title: str) -> list[str]:
    """The cells of one row."""
    (line,) = [line for line in lines if title in line]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def test_the_table_shows_every_row_with_its_error(runs: dict[str, Run]) -> None:
    """Real beside simulated, and (sim - real) / real in percent, one decimal. A simulated client is
    never late, so that row has neither."""
    summaries = summaries_of(runs)
    lines = printed({"worker": summaries})
    for wanted in ROWS:
        if wanted.if_any:
            continue
        real, sim, error = row(lines, wanted.title)
        assert real != "-", wanted.title
        if not wanted.simulated:
            assert (sim, error) == ("-", "-")
            continue
        assert sim != "-", wanted.title
        assert float(error) != 0 or real == sim
    real_ms, sim_ms = summaries["real"].p50_ms, summaries["sim"].p50_ms
    assert real_ms is not None
    assert sim_ms is not None
    assert row(lines, "response p50")[2] == f"{100 * (sim_ms / real_ms - 1):+.1f}"
    assert row(lines, "memory") == ["64.0", "64.0", "+0.0"]


def test_the_table_has_a_group_for_each_mpm(runs: dict[str, Run]) -> None:
    """Two MPMs, three columns each; a simulated column is marked, and the mark explained."""
    summaries = summaries_of(runs)
    lines = printed({"worker": summaries, "event": summaries})
    assert len(row(lines, "response p99 ")) == 6
    assert "\n".join(lines).count("simulated*") == 2
    assert NOT_VALIDATED.startswith("* not validated")


def test_the_table_of_one_engine_has_no_error_column(runs: dict[str, Run]) -> None:
    """There is nothing to compare with."""
    lines = printed({"worker": {"real": summaries_of(runs)["real"]}})
    assert len(row(lines, "response p50")) == 1
    assert "error %" not in "\n".join(lines)


def test_response_and_service_stand_side_by_side() -> None:
    """A request sent 300 ms late and answered after 400 ms in all: response 400, service 100, and
    the lateness that makes the difference."""
    run = make_run("real", make_records([ok(5.0, 0.4, late_s=0.3)]))
    lines = printed({"worker": {"real": summarise(run, 2.0, 10.0, 3.0)}})
    assert row(lines, "response p99 ") == ["400"]
    assert row(lines, "service p50") == row(lines, "service p99") == ["100"]
    assert row(lines, "send lateness") == ["300"]


def test_abandoned_requests_have_a_row_if_there_are_any() -> None:
    """Where one engine has some, the other's zero is shown beside; otherwise there is no row."""
    none = summarise(make_run("real", make_records([ok(3, 0.01)])), 2.0, 10.0, 3.0)
    rows = [ok(3, 0.01), failed(4, 1.0, Outcome.ABANDONED)]
    some = summarise(make_run("sim", make_records(rows)), 2.0, 10.0, 3.0)
    assert row(printed({"worker": {"real": none, "sim": some}}), "abandoned")[:2] == ["0", "1"]
    assert "abandoned" not in "\n".join(printed({"worker": {"real": none}}))


def test_bounds_and_gaps_are_shown_as_such() -> None:
    """A percentile that rests on a time-out has a ≥; what was not measured is a dash."""
    rows = [ok(3, 0.01), failed(4, 3.0, Outcome.TIMEOUT)]
    run = dataclasses.replace(make_run("real", make_records(rows)), cpu_s=None)
    lines = printed({"worker": {"real": summarise(run, 2.0, 10.0, 3.0)}})
    assert row(lines, "response p99 ") == ["≥ 3,000"]
    assert row(lines, "response p50") == ["10.0"]
    assert row(lines, "service p99") == ["10.0"]
    assert row(lines, "CPU") == ["-"]
    assert row(lines, "errors") == ["1"]


# ---- pictures ---------------------------------------------------------------------------------


def test_all_pictures_are_written(runs: dict[str, Run], tmp_path: Path) -> None:
    """PNG files of a readable size, not blank, and no scratch files."""
    paths = plots.draw(tmp_path, make_experiment(), runs)
    assert [path.name for path in paths] == list(plots.NAMES)
    assert len(list(tmp_path.iterdir())) == len(plots.NAMES)
    for path in paths:
        image = matplotlib.image.imread(path)
        assert image.shape[1] >= 1000
        assert image.shape[0] >= 500
        assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 20


def test_latency_draws_the_measured_values(runs: dict[str, Run]) -> None:
    """Each engine's line passes through the p99 of its summary at x = 1 / (1 - 0.99) = 100."""
    figure = plots.latency(make_experiment(), runs)
    assert figure is not None
    lines = [line for line in figure.axes[0].lines if "n = " in str(line.get_label())]
    assert [str(line.get_label()).split(":")[0] for line in lines] == ["real", "simulated"]
    for line, summary in zip(lines, summaries_of(runs).values(), strict=True):
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert np.interp(100, x, y) == pytest.approx(summary.p99_ms, rel=0.02)
        assert np.all(np.diff(y) >= 0)
    assert "(ms)" in figure.axes[0].get_ylabel()


def test_latency_says_where_time_outs_begin() -> None:
    """With censored values there is a line at the shortest of them."""
    rows = [ok(3 + 0.01 * i, 0.01) for i in range(50)] + [failed(5, 3.0, Outcome.TIMEOUT)]
    figure = plots.latency(make_experiment(), {"real": make_run("real", make_records(rows))})
    assert figure is not None
    assert "time-outs" in " ".join(text.get_text() for text in figure.axes[0].texts)


def test_workers_draws_one_panel_for_each_engine(runs: dict[str, Run]) -> None:
    """Same scale, and the mean of busy workers that the table shows."""
    figure = plots.workers(make_experiment(), runs)
    assert figure is not None
    top, bottom = figure.axes
    assert top.get_ylim() == bottom.get_ylim()
    for axes, summary in zip(figure.axes, summaries_of(runs).values(), strict=True):
        assert f"{summary.busy_mean:.1f} of 50 workers" in axes.texts[0].get_text()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["handling (W)", "idle (_)"]  # what does not occur is not listed


def test_workers_of_an_idle_pool_can_still_be_seen() -> None:
    """400 workers of which 5 are busy: the axis is cut, and says so."""
    run = make_run("real", make_records([ok(3, 0.1)]), make_samples([5] * 10, workers=400))
    figure = plots.workers(make_experiment(), {"real": run})
    assert figure is not None
    assert figure.axes[0].get_ylim()[1] == pytest.approx(20)
    assert "400 in all" in figure.axes[0].get_ylabel()


def test_throughput_counts_answers_in_bins(runs: dict[str, Run]) -> None:
    """The steps of each engine add up to its answers within the plan's duration."""
    figure = plots.throughput(make_experiment(), runs)
    assert figure is not None
    steps = [patch for patch in figure.axes[0].patches if "answers" in str(patch.get_label())]
    assert len(steps) == 2
    for patch, run in zip(steps, runs.values(), strict=True):
        rates, edges, _ = patch.get_data()  # type: ignore[attr-defined]
        ended = np.count_nonzero(run.records.last_byte_s <= 10.0)
        assert np.sum(rates * np.diff(edges)) == pytest.approx(ended)


def test_an_empty_run_has_no_pictures(tmp_path: Path) -> None:
    """Nothing was recorded: nothing is drawn, nothing fails."""
    run = make_run("real", make_records([], complete=False, end_s=0.5), make_samples([]))
    assert plots.draw(tmp_path, make_experiment(), {"real": run}) == []
    assert list(tmp_path.iterdir()) == []


def test_an_incomplete_run_is_marked_in_its_pictures(runs: dict[str, Run]) -> None:
    """Whoever sees the picture alone must know."""
    cut = {**runs, "sim": dataclasses.replace(runs["sim"], faults=("interrupted",))}
    for figure in (plots.latency(make_experiment(), cut), plots.workers(make_experiment(), cut)):
        assert figure is not None
        assert "INCOMPLETE: sim" in figure.axes[0].get_title(loc="left")


# ---- progress ---------------------------------------------------------------------------------


def test_progress_on_a_file_is_plain_lines() -> None:
    """No control characters; a phase is named when it begins."""
    out = io.StringIO()
    with Reporter(stream=out) as reporter:
        reporter.phase("worker: real run")
        reporter.advance(0.01)
        reporter.say("a note [not markup]")
    assert out.getvalue().splitlines() == ["worker: real run ...", "a note [not markup]"]


def test_quiet_progress_prints_warnings_only() -> None:
    """--quiet silences progress and notes, not warnings."""
    out = io.StringIO()
    with Reporter(quiet=True, stream=out) as reporter:
        reporter.phase("worker: real run")
        reporter.advance(0.5)
        reporter.say("a note")
        reporter.say("a warning", always=True)
    assert out.getvalue() == "a warning\n"
