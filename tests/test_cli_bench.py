"""`mpmlab bench` with objectives, searches, repetitions and several clients, and what reads it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mpmlab import cli
from mpmlab.bench.baselines import erlang_c
from mpmlab.bench.gates import Verdict
from mpmlab.bench.results import load_results
from mpmlab.core.platform import NEARLY_FREE, Costs, Platform
from mpmlab.core.platform_file import provenance, write_platform
from mpmlab.load.recorder import Outcome
from mpmlab.real.probe import profile_path
from tests.bench.made_up_profile import use_made_up_profile

SCENARIO = """\
name = "tiny"
description = "A few requests."
duration_s = 1
warmup_s = 0.2

[arrivals]
kind = "poisson"
rate_per_s = 100

[[class]]
name = "page"
wait_us = 2000
response_bytes = 100

[directives]
StartServers = 1
"""
#: A pool that starts at once.
SMALL_POOL = ["--set", "ThreadsPerChild=4", "--set", "MinSpareThreads=4",
              "--set", "MaxSpareThreads=8"]  # fmt: skip


@pytest.fixture(autouse=True)
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cost profile in a cache of our own, so that nothing is probed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """The path of a scenario of a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(SCENARIO)
    return path


def bench(scenario: Path | str, out: Path, *more: str) -> int:
    """The exit code of a quiet simulation of worker, unless told otherwise."""
    return cli.run(["bench", "--mpm", "worker", "--engine", "sim", "--scenario", str(scenario),
                    "--out", str(out), "--quiet", *more])  # fmt: skip


def the_only(folder: Path) -> Path:
    """What is in it."""
    (found,) = folder.iterdir()
    return found


# ---- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--slo", "fast"], ["'fast'", "accepted", "p99<50ms"]),
        (["--slo", "p99<50"], ["'p99<50'", "us, ms or s"]),
        (["--slo", "p99<50ms,speed>3"], ["'speed>3'", "throughput"]),
        (["--find-knee"], ["--find-knee", "--slo 'p99<50ms'"]),
        (["--find-knee", "--slo", "p99<1s", "--scenario", "closed"], ["--find-knee", "closed"]),
        (["--find-knee", "--slo", "p99<1s", "--engine", "real", "--repeat", "2"], ["--repeat"]),
        (["--publish", "--repeat", "3", "--engine", "real"], ["--repeat 3", "at least 10"]),
        (["--repeat", "2"], ["--repeat 2", "--seed"]),
        (["--repeat", "0"], ["--repeat", "0"]),
        (["--clients", "0"], ["--clients", "0"]),
        (["--clients", "65"], ["--clients", "64"]),
        (["--rate", "0"], ["--rate", "0"]),
        (["--rate", "100", "--scenario", "closed"], ["closed", "accepted"]),
        (["--network", "avian"], ["--network", "pacing", "namespace"]),
    ],
)
def test_wrong_input_is_one_clear_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 2, one line on stderr that says what is accepted, and nothing is run."""
    assert bench("default", tmp_path / "out", *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("mpmlab: error: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err
    assert said.out == ""
    assert not (tmp_path / "out").exists()


# ---- objectives and validity ---------------------------------------------------------------------


def test_objectives_decide_the_exit_code(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Met: 0; one of two missed: 1. Each is told with what was measured, and stored."""
    assert bench(scenario, tmp_path / "met", "--slo", "p50<1s,errors<1%") == 0
    assert bench(scenario, tmp_path / "missed", "--slo", "p50<1s, p99<1ms") == 1
    said = capsys.readouterr().out
    assert "objective: worker, sim: errors<1%: 0 %, met" in said
    assert "objective: worker, sim: p50<1s: " in said
    (line,) = [line for line in said.splitlines() if "p99<1ms: " in line]
    assert line.endswith(" ms, MISSED")
    stored = json.loads((the_only(tmp_path / "missed") / "run.json").read_text())
    found = stored["engines"]["sim"]["slo"]
    assert [(one["text"], one["finding"]) for one in found] == [
        ("p50<1s", "met"),
        ("p99<1ms", "missed"),
    ]
    assert stored["experiment"]["slo"] == "p50<1s,p99<1ms"


def test_an_invalid_run_is_no_result(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four times what the server can carry: exit code 3 even where the objective was missed, the
    gate says why and what to change, the run is stored as invalid and not compared."""
    slow = ["--set", "MaxRequestWorkers=4", "--rate", "8000", *SMALL_POOL]
    assert bench(scenario, tmp_path / "out", "--slo", "p50<1ms", *slow) == 3
    said = capsys.readouterr().out
    assert "backlog" in said
    (line,) = [line for line in said.splitlines() if line.startswith("INVALID: ")]
    assert "worker, sim: backlog: the server fell behind by " in line
    assert "lower the rate" in line
    assert "p50<1ms" in said
    folder = the_only(tmp_path / "out")
    assert not load_results(folder).runs["sim"].valid
    assert bench(scenario, tmp_path / "good") == 0
    capsys.readouterr()
    assert cli.run(["compare", str(folder), str(the_only(tmp_path / "good"))]) == 2
    assert "INVALID: the server fell behind" in capsys.readouterr().err


@pytest.mark.real
def test_too_few_descriptors_are_found(scenario: Path, tmp_path: Path) -> None:
    """A hundred users, and a limit of 64 open files: the requests that had to wait for a connection
    on the client's side make the run invalid, and the advice names the limit."""
    scenario.write_text(
        SCENARIO.replace('kind = "poisson"\nrate_per_s = 100', 'kind = "closed"\nusers = 100')
    )
    command = ["bench", "--mpm", "prefork", "--engine", "real", "--scenario", str(scenario),
               "--out", str(tmp_path / "out"), "--quiet"]  # fmt: skip
    text = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        "from mpmlab import cli; sys.exit(cli.run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, *command],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    (line,) = [one for one in done.stdout.splitlines() if "waited on the client's side" in one]
    assert line.startswith("INVALID: prefork, real: ")
    assert "ulimit -n" in line


# ---- rates and searches --------------------------------------------------------------------------


def test_a_rate_is_asked_for_and_stored(scenario: Path, tmp_path: Path) -> None:
    """--rate 300: as many requests per second are offered, within the scatter of a second."""
    assert bench(scenario, tmp_path / "out", "--rate", "300") == 0
    results = load_results(the_only(tmp_path / "out"))
    assert results.experiment.rate_per_s == 300
    offered = results.summaries()["sim"].offered_rps
    assert offered == pytest.approx(300, rel=0.2)


def nearly_free_profile() -> None:
    """A machine on which nothing but the waits of requests takes time."""
    told = provenance("made up for a test", "2026-07-23")
    names = [field.name for kind in (Costs, Platform) for field in fields(kind)]
    sources = {name: told for name in names if name not in ("name", "costs", "sources")}
    write_platform(Platform("nearly free", NEARLY_FREE, cores=64, sources=sources), profile_path())


def test_the_knee_is_where_theory_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four workers of prefork, each held for an exponential 20 ms, are M/M/4: by Erlang C the mean
    response is 20 ms + C / (200/s - rate). The search finds the rate at which that is 30.2 ms,
    150/s, within 10 %; every run on the way is kept."""
    nearly_free_profile()
    rate = 150.0
    mean_ms = 20 + 1000 * erlang_c(4, rate / 50) / (200 - rate)
    pool = [word for name in ("StartServers", "MaxRequestWorkers", "ServerLimit", "MinSpareServers")
            for word in ("--set", f"{name}=4")]  # fmt: skip
    code = bench("poisson-wait", tmp_path / "out", "--mpm", "prefork", "--find-knee", "--duration",
                 "40", "--slo", f"mean<{mean_ms:.2f}ms", *pool)  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said
    assert said.err == ""
    folder = the_only(tmp_path / "out")
    assert str(folder) in said.out
    found = json.loads((folder / "knee.json").read_text())["searches"]["prefork, sim"]
    assert found["found"]
    assert found["good_per_s"] == pytest.approx(rate, rel=0.1)
    assert found["good_per_s"] < found["bad_per_s"] <= 1.1 * found["good_per_s"]
    assert f"{found['good_per_s']:.1f}" in said.out
    runs = [path for path in folder.iterdir() if path.is_dir()]
    assert len(runs) == len(found["trials"]) <= 8
    rates = {load_results(run).summaries()["sim"].offered_rps for run in runs}
    assert rates == {trial["rate_per_s"] for trial in found["trials"]}


def test_a_knee_that_is_not_there(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No rate makes answers come within a microsecond: exit code 1, and why."""
    assert bench(scenario, tmp_path / "out", "--find-knee", "--slo", "p50<1us") == 1
    said = capsys.readouterr().out
    assert "NOT FOUND: worker, sim: " in said
    assert "none" in said


# ---- real runs -----------------------------------------------------------------------------------


@pytest.mark.real
def test_two_clients_share_the_plan_of_each_repetition(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--clients 2 --repeat 2: in each run two processes' facts beside those of the run, and every
    request exactly once. There is nothing to compare one variant with: means and intervals alone.
    """
    code = bench(scenario, tmp_path / "out", "--engine", "real", "--clients", "2", "--repeat", "2",
                 *SMALL_POOL)  # fmt: skip
    said = capsys.readouterr()
    assert code in (0, 3), said.err  # 3: on a busy machine the clients may have been late
    assert "means of repetitions" in said.out
    assert "ratios to" not in said.out
    for folder in the_only(tmp_path / "out").iterdir():
        results = load_results(folder)
        run = results.runs["real"]
        assert results.experiment.clients == 2
        assert run.records.breaches(results.plan) == []
        assert run.records.count(Outcome.OK) == results.plan.requests
        parts = run.records.metadata["processes"]
        assert len(parts) == 2
        assert sum(part["ok"] for part in parts) == results.plan.requests
        assert min(part["ok"] for part in parts) > 0
        gates = {gate.name: gate for gate in run.gates}
        assert gates["account"].verdict is Verdict.PASS
        assert gates["client-core"].figure is not None
        assert gates["server-core"].figure is not None


@pytest.mark.real
def test_repetitions_from_end_to_end(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--repeat 2 of one MPM, real and simulated: a folder of repetitions, the first of which has
    the simulation, too; means with intervals and ratios are printed; compare and export read it."""
    out = tmp_path / "out"
    code = bench(scenario, out, "--engine", "real,sim", "--repeat", "2", *SMALL_POOL)
    said = capsys.readouterr()
    assert code in (0, 3), said.err
    series = the_only(out)
    assert [folder.name for folder in sorted(series.iterdir())] == ["rep01-worker", "rep02-worker"]
    first, second = (load_results(folder) for folder in sorted(series.iterdir()))
    assert (list(first.runs), list(second.runs)) == (["real", "sim"], ["real"])
    assert first.experiment.plan_hash == second.experiment.plan_hash
    assert (second.experiment.repetition, second.experiment.repetitions) == (2, 2)
    assert "means of repetitions" in said.out
    assert "2 runs" in said.out
    assert "ratios to worker/real" in said.out
    assert "2 pairs" in said.out
    assert str(series) in said.out

    assert cli.run(["compare", "--allow-invalid", "--json", str(series)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [len(variant["runs"]) for variant in document["variants"]] == [2, 1]

    folder = series / "rep01-worker"
    for name, view in (("hgrm", "response"), ("hgrm", "lateness"), ("csv", "response")):
        assert cli.run(["export", "--format", name, "--view", view, str(folder)]) == 0
    for view in ("response", "lateness"):
        (total,) = [
            line
            for line in (folder / f"real-{view}.hgrm").read_text().splitlines()
            if "Total count" in line
        ]
        assert int(total.split("=")[2].strip(" ]")) == first.summaries()["real"].requests
    rows = (folder / "real-requests.csv").read_text().splitlines()
    assert len(rows) == 1 + first.plan.requests
