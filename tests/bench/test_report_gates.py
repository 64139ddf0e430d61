"""What is told of validity, objectives, searches and repetitions: the numbers are the runs' own."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from mpmlab.bench.compare import load_members, variants_of
from mpmlab.bench.gates import Gate, Verdict
from mpmlab.bench.knee import Answer, Knee, Trial
from mpmlab.bench.results import Results
from mpmlab.bench.run import Run
from mpmlab.load.recorder import Outcome
from mpmlab.report.compare_table import series_table
from mpmlab.report.findings import run_lines, series_lines
from mpmlab.report.gate_table import gate_table, knee_table
from tests.bench.bench_data import failed, make_experiment, make_records, make_run, ok
from tests.bench.stored_data import arrivals, make_plan, served, store

LATE = Gate("lateness", 1.5, "ms", 1.0, Verdict.FAIL, "late by 1.5 ms", "lower the rate")
STEADY = Gate("speed", 1.1, "ratio", 2.5, Verdict.PASS, "steady", "")
JUMPY = Gate("speed", 1.9, "ratio", 2.5, Verdict.NOTE, "a factor of 1.9", "repeat it")
FEW = Gate("arrivals", None, "A2", None, Verdict.SKIP, "not judged: too few", "")
WIDE = Gate("samples-p99", None, "%", 10.0, Verdict.NOTE, "p99 has no interval", "measure longer")
CHANCE = Gate("stationarity", 47.4, "%", None, Verdict.PASS, "chance", "")
ANSWERS = Gate("answers", 12345.0, "answers", 1, Verdict.PASS, "answered", "")


def printed(table: Table) -> list[str]:
    """The table's lines as they look in a wide terminal."""
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue().splitlines()


def row(lines: list[str], title: str) -> list[str]:
    """The cells of the row that begins so."""
    (line,) = [line for line in lines if line.strip("│ ").startswith(title)]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


# ---- the table of gates --------------------------------------------------------------------------


def test_each_gate_has_a_row_and_each_run_a_column() -> None:
    """Figure, how it stands to its limit, verdict; a gate that a run does not have is empty, one
    that was not judged a dash, one without a figure only its verdict."""
    lines = printed(gate_table({"real": (LATE, STEADY, FEW, WIDE), "sim": (JUMPY, ANSWERS)}))
    assert row(lines, "lateness") == ["ms", "1.5 > 1  FAIL", ""]
    assert row(lines, "speed") == ["ratio", "1.1 ≤ 2.5  ok", "1.9 ≤ 2.5  note"]
    assert row(lines, "arrivals") == ["A2", "-", ""]
    assert row(lines, "samples-p99") == ["%", "note", ""]
    assert row(lines, "answers") == ["answers", "", "12,345 > 1  ok"]


def test_a_figure_without_a_limit_stands_alone() -> None:
    """What chance does as well is not shown against a limit that it does not have."""
    assert row(printed(gate_table({"real": (CHANCE,)})), "stationarity") == ["%", "47.4  ok"]
    endless = dataclasses.replace(CHANCE, figure=math.inf)
    assert row(printed(gate_table({"real": (endless,)})), "stationarity") == ["%", "inf  ok"]


# ---- the table of a search -----------------------------------------------------------------------


def test_a_knee_is_two_rates() -> None:
    """The best that was good, the worst that was not, and how many runs it took; none where there
    is none."""
    trial = Trial(1.0, Answer.GOOD, "")
    found = {
        "worker, sim": Knee(1234.5, 1300.0, (trial,) * 5, True, ""),
        "event, sim": Knee(None, 10.0, (trial,) * 2, False, "why"),
    }
    lines = printed(knee_table(found, "p99<50ms"))
    assert "highest rate with p99<50ms" in lines[0]
    assert row(lines, "worker, sim") == ["1,234.5", "1,300.0", "5"]
    assert row(lines, "event, sim") == ["none", "10.0", "2"]


# ---- lines ---------------------------------------------------------------------------------------


def results_of(slo: str = "", repetition: int = 1, **runs: Run) -> Results:
    """An experiment with these runs."""
    asked = make_experiment(slo=slo, repetition=repetition, repetitions=max(repetition, 1))
    return Results(asked, runs, make_plan([3.0, 4.0]))


def run_with(*gates: Gate, **changes: object) -> Run:
    """Two answers of 10 ms and what the gates found."""
    run = make_run("real", make_records([ok(3, 0.01), ok(4, 0.01)]))
    return dataclasses.replace(run, gates=gates, **changes)  # type: ignore[arg-type]


def test_everything_that_a_reader_must_know_has_its_line() -> None:
    """Failures with what to change, notes of gates and of the engine, objectives; what passed or
    was not judged is left to the table."""
    run = run_with(LATE, STEADY, JUMPY, FEW, notes=("network: a link",))
    lines = list(run_lines(results_of("p99<5ms,errors<1%", real=run)))
    assert lines == [
        "note: worker, real: network: a link",
        "note: worker, real: speed: a factor of 1.9; repeat it",
        "INVALID: worker, real: lateness: late by 1.5 ms; lower the rate",
        "objective: worker, real: p99<5ms: 10 ms, MISSED",
        "objective: worker, real: errors<1%: 0 %, met",
    ]
    assert list(run_lines(results_of(real=run_with(STEADY)))) == []


def test_a_run_that_was_cut_short_says_only_that() -> None:
    """Its gates fail for that very reason; nobody needs to be told twice."""
    run = run_with(LATE, JUMPY, faults=("interrupted by SIGINT",))
    lines = list(run_lines(results_of(real=run)))
    assert lines == ["INCOMPLETE: worker, real: interrupted by SIGINT"]


def test_errors_are_told_by_kind() -> None:
    """One request and several, of each engine."""
    rows = [failed(3, 0.1, Outcome.RESET), failed(4, 0.1, Outcome.RESET)]
    lines = run_lines(results_of(
        real=make_run("real", make_records(rows)), sim=make_run("sim", make_records(rows[:1])),
    ))  # fmt: skip
    assert list(lines) == [
        "worker, real: 2 requests ended as reset",
        "worker, sim: 1 request ended as reset",
    ]


def test_a_series_tells_notes_once_and_failures_each() -> None:
    """With how many of the repetitions they are of."""
    done = [
        results_of("p99<50ms", 1, real=run_with(JUMPY), sim=run_with()),
        results_of("p99<50ms", 2, real=run_with(LATE)),
        results_of("p99<5ms", 3, real=run_with(JUMPY, WIDE)),
    ]
    assert list(series_lines(done)) == [
        "objective: worker, real, repetition 1: p99<50ms: 10 ms, met",
        "objective: worker, sim, repetition 1: p99<50ms: 10 ms, met",
        "INVALID: worker, real, repetition 2: lateness: late by 1.5 ms; lower the rate",
        "objective: worker, real, repetition 2: p99<50ms: 10 ms, met",
        "objective: worker, real, repetition 3: p99<5ms: 10 ms, MISSED",
        "note: worker, real: in 2 of 3 runs, the first: speed: a factor of 1.9; repeat it",
        "note: worker, real: in 1 of 3 runs: samples-p99: p99 has no interval; measure longer",
    ]


# ---- repetitions ---------------------------------------------------------------------------------


def test_repetitions_have_a_mean_and_an_interval(tmp_path: Path) -> None:
    """Throughputs of 100, 121 and 100 * 1.21 ** 0.5 answers/s, say, have the geometric mean 110;
    Student's interval of the logarithms with two degrees of freedom (t = 4.303) goes from 110 /
    1.267 to 110 * 1.267. A single run has a value and no interval."""
    at_s = arrivals(1)
    plan = make_plan(at_s.tolist())
    folders = []
    for number, slower in enumerate((1.0, 1.1, 1.21), 1):
        runs = {"real": served(at_s, slower, 1)}
        if number == 1:
            runs["sim"] = served(at_s, 1.0, 2, "sim")
        folders.append(
            store(
                tmp_path / f"rep{number}", plan, runs, created=f"2026-07-23T10:0{number}:00+00:00"
            )
        )
    variants = variants_of(load_members(folders))
    lines = printed(series_table(variants))
    assert "worker/real" in lines[2]
    assert [word for word in lines[3].split() if word.isdigit()] == ["3", "1"]
    mean_ms, lies = row(lines, "response mean")[0].split("  ")
    first = variants[0].members[0].condensed.summary.mean_ms
    assert first is not None
    assert float(mean_ms) == pytest.approx(1.1 * first, rel=1e-3)
    # log 1.1 is the scatter: the mean of three has an error of log 1.1 / sqrt 3
    factor = math.exp(4.302653 * math.log(1.1) / math.sqrt(3))
    low, high = (float(word) for word in lies.strip("()").split(" to "))
    assert low == pytest.approx(1.1 * first / factor, rel=2e-3)
    assert high == pytest.approx(1.1 * first * factor, rel=2e-3)
    assert "to" not in row(lines, "response mean")[1]


def test_invalid_repetitions_are_counted_at_the_head(tmp_path: Path) -> None:
    """They are not left out, for pairs would break, but nobody takes their means for good ones."""
    at_s = arrivals(1)
    plan = make_plan(at_s.tolist())
    run = served(at_s, 1.0, 1)
    late = dataclasses.replace(run, gates=(LATE,))
    folders = [
        store(tmp_path / f"rep{i}", plan, {"real": made}) for i, made in enumerate((run, late))
    ]
    lines = printed(series_table(variants_of(load_members(folders))))
    assert "2 runs, 1 INVALID" in "\n".join(lines)
    lines = printed(series_table(variants_of(load_members(folders[:1]))))
    assert "INVALID" not in "\n".join(lines)


def test_repetitions_that_rest_on_time_outs_have_bounds(tmp_path: Path) -> None:
    """No interval around a value that is only known from below; zeros have a mean and no
    interval."""
    rows = [ok(3.0, 0.1), failed(4.0, 3.0, Outcome.TIMEOUT)]
    plan = make_plan([3.0, 4.0])
    run = make_run("real", make_records(rows))
    folders = [store(tmp_path / f"rep{i}", plan, {"real": run}) for i in (1, 2)]
    lines = printed(series_table(variants_of(load_members(folders))))
    assert row(lines, "response p99 ") == ["≥ 3,000"]
    assert row(lines, "errors") == ["50.00  (50.00 to 50.00)"]
    good = make_run("real", make_records([ok(3.0, 0.1), ok(4.0, 0.1)]))
    folders = [store(tmp_path / f"good{i}", plan, {"real": good}) for i in (1, 2)]
    lines = printed(series_table(variants_of(load_members(folders))))
    assert row(lines, "errors") == ["0.000"]
