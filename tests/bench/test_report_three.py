"""What is shown of three engines: errors against the referent, the pool in one frame, and what a
user's own configuration had in it besides."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from rich.console import Console

from mpmlab.bench.run import Run
from mpmlab.bench.summary import Summary, error_percent, summarise
from mpmlab.core.httpd_conf import ConfLine
from mpmlab.core.log_line import LogLine, brief_line, first_word_s, numbered
from mpmlab.report import plots
from mpmlab.report.findings import ignored_lines
from mpmlab.report.pool_plot import Said, said
from mpmlab.report.table import ERRORS, comparison
from tests.bench.bench_data import make_experiment, make_records, make_run, make_samples, ok


def run(engine: str, took_s: float, processes: int, log: tuple[str, ...] = ()) -> Run:
    """Every answer takes so long; the pool has so many processes."""
    records = make_records([ok(0.1 * i, took_s) for i in range(100)])
    samples = dataclasses.replace(make_samples([3] * 10), processes=np.full(10, processes))
    return dataclasses.replace(make_run(engine, records, samples), log=log)


@pytest.fixture
def runs() -> dict[str, Run]:
    """httpd takes 10 ms, the real MPM 12, the simulation 9."""
    return {
        "httpd": run("httpd", 0.010, 7, ("[1.5] [mpm:error] [pid 9] AH00161: reached",)),
        "real": run("real", 0.012, 6),
        "sim": run("sim", 0.009, 5),
    }


def summaries_of(runs: dict[str, Run]) -> dict[str, Summary]:
    """As the experiment of bench_data asks."""
    return {name: summarise(run, 2.0, 10.0, 3.0) for name, run in runs.items()}


def cells(results: dict[str, dict[str, Summary]], title: str) -> list[str]:
    """Of the row with that title."""
    out = io.StringIO()
    Console(file=out, width=200).print(comparison(results, "t"))
    (line,) = [line for line in out.getvalue().splitlines() if title in line]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def heights(line: Line2D) -> list[float]:
    """The values of a line."""
    return list(np.asarray(line.get_ydata()))


def legend(axes: Axes) -> list[str]:
    """Its texts."""
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_each_pair_of_engines_has_its_error(runs: dict[str, Run]) -> None:
    """Three engines: simulation against real, real against httpd, simulation against httpd."""
    found = cells({"event": summaries_of(runs)}, "response p50")
    assert found == ["10.0", "12.0", "9.00", "-25.0", "+20.0", "-10.0"]
    assert error_percent(9.0, 12.0) == -25.0
    assert list(ERRORS) == [("sim", "real"), ("real", "httpd"), ("sim", "httpd")]


@pytest.mark.parametrize(
    ("engines", "errors"),
    [(("httpd", "sim"), ["-10.0"]), (("httpd", "real"), ["+20.0"]), (("external",), [])],
)
def test_two_engines_have_one_error(
    runs: dict[str, Run], engines: tuple[str, ...], errors: list[str]
) -> None:
    """... and one has none, whatever it is."""
    runs["external"] = run("external", 0.010, 0)
    chosen = {name: one for name, one in summaries_of(runs).items() if name in engines}
    assert cells({"event": chosen}, "response p50")[len(engines) :] == errors


def test_a_simulated_client_is_never_late(runs: dict[str, Run]) -> None:
    """So there is no error of its lateness against anybody's; of two real ones there is."""
    found = cells({"event": summaries_of(runs)}, "send lateness")
    assert [found[2], found[3], found[5]] == ["-", "-", "-"]


def test_the_pool_is_one_frame_for_all(runs: dict[str, Run]) -> None:
    """A line of processes and one of busy workers for each engine, with the values sampled; what a
    server said of its limit is marked with its number."""
    figure = plots.pool_growth(make_experiment(), runs)
    assert figure is not None
    above, below = figure.axes
    steps = [values for values in map(heights, above.lines) if len(values) == 10]
    assert [values[0] for values in steps] == [7, 6, 5]
    assert legend(above) == ["Apache httpd", "real", "simulated"]
    busy = [values for values in map(heights, below.lines) if len(values) == 10]
    assert busy == 3 * [[3] * 10]
    assert [text.get_text().strip() for text in above.texts] == ["AH00161"]


def test_without_samples_there_is_no_pool() -> None:
    """A server that is not ours has none."""
    blind = dataclasses.replace(run("external", 0.01, 0), samples=make_samples([]))
    assert plots.pool_growth(make_experiment(), {"external": blind}) is None


def test_messages_are_marked_once_and_while_the_load_lasts() -> None:
    """Of each number the first; warnings and worse; none before the load or after its end, and no
    line of another shape."""
    log = (
        "[-0.2] [mpm:error] [pid 1] AH00001: before",
        "[0.5] [mpm:notice] [pid 1] AH00163: is no trouble",
        "Traceback (most recent call last):",
        "[1.0] [mpm:error] [pid 1] AH00161: once",
        "[2.0] [mpm:error] [pid 1] AH00161: twice",
        "[3.0] [mpm:warn] [pid 1] AH00045: a slow child",
        "[11.0] [mpm:error] [pid 1] AH00046: after",
    )
    assert said(run("real", 0.01, 1, log), 10.0) == [Said(1.0, "AH00161"), Said(3.0, "AH00045")]


def test_lateness_is_drawn_for_every_real_client(runs: dict[str, Run]) -> None:
    """httpd's clients are real ones, too; a simulation's are not drawn."""
    figure = plots.lateness(make_experiment(), runs)
    assert figure is not None
    assert [text.partition(":")[0] for text in legend(figure.axes[0])] == ["Apache httpd", "real"]


def test_ignored_lines_are_told_by_file() -> None:
    """One line of text for a file's directives without use here, with their lines; one for each
    that would have mattered in another place."""
    lines = [
        ConfLine("Listen", "80", "a.conf:3"),
        ConfLine("Timeout", "5", "a.conf:9", "in <VirtualHost *> of a.conf:8"),
        ConfLine("User", "www", "a.conf:4"),
        ConfLine("PidFile", "x", "b:1"),
    ]
    assert list(ignored_lines(lines)) == [
        "ignored: a.conf:9: Timeout 5: in <VirtualHost *> of a.conf:8",
        "ignored, since mpmlab has no use for them: a.conf: Listen (3), User (4)",
        "ignored, since mpmlab has no use for them: b: PidFile (1)",
    ]
    assert list(ignored_lines([])) == []


def test_a_message_is_kept_with_the_time_since_the_load_began() -> None:
    """In one shape for all engines; other text stays as it is. The first notice is the server's
    first word."""
    warning = LogLine(4.0, 7, "warn", "AH00316", "not a multiple")
    ready = LogLine(4.5, 7, "notice", "AH00489", "resuming")
    assert brief_line(warning, 5.0) == "[-1.000000] [mpm:warn] [pid 7] AH00316: not a multiple"
    assert brief_line("Traceback", 5.0) == "Traceback"
    assert first_word_s(["Traceback", warning, ready, warning]) == 4.5
    assert first_word_s([warning]) is None


def test_messages_are_counted_by_number() -> None:
    """How often each was said, first and last; lines without a number count for nothing."""
    lines = [brief_line(LogLine(at_s, 1, "info", "AH00162", "busy"), 1.0) for at_s in (0.5, 3.0)]
    lines += [brief_line(LogLine(2.0, 1, "info", "", "no number"), 1.0), "Traceback AH00001: x"]
    assert numbered(lines) == {"AH00162": {"count": 2, "first_s": -0.5, "last_s": 2.0}}
