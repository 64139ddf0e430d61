"""The command line: what it prints, how it refuses, and that nothing starts when it does."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mpmlab import __version__, cli
from mpmlab.bench.results import load_results
from mpmlab.mpms.catalog import CATALOG
from tests.bench.made_up_profile import use_made_up_profile

SCENARIO = """\
name = "tiny"
description = "A few requests."
duration_s = 1
warmup_s = 0.2

[arrivals]
kind = "poisson"
rate_per_s = 50

[[class]]
name = "page"
wait_us = 2000
response_bytes = 100

[directives]
StartServers = 1
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """The path of a scenario that takes no time in simulation."""
    path = tmp_path / "tiny.toml"
    path.write_text(SCENARIO)
    return str(path)


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cost profile in a cache of our own, so that nothing is probed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mpm", "wroker"], ["unknown MPM 'wroker'", "prefork, worker, event, leader"]),
        (["--mpm", "worker,"], ["unknown MPM ''"]),
        (["--engine", "imaginary"], ["unknown engine 'imaginary'", "real, sim"]),
        (["--scenario", "nowhere"], ["nowhere", "default"]),
        (["--scenario", "/no/such/file.toml"], ["/no/such/file.toml"]),
        (["--set", "ThreadsPerChild"], ["'ThreadsPerChild'", "Name=Value"]),
        (["--set", "=8"], ["'=8'", "Name=Value"]),
        (["--set", "ThreadPerChild=8"], ["ThreadPerChild", "did you mean ThreadsPerChild"]),
        (["--set", "ThreadsPerChild=many"], ["ThreadsPerChild", "'many'", "whole number"]),
        (["--mpm", "prefork", "--set", "ThreadsPerChild=8"], ["ThreadsPerChild", "prefork"]),
        (["--duration", "0"], ["duration", "0.001"]),
        (["--duration", "soon"], ["--duration", "soon"]),
        (["--duration", "nan"], ["duration", "nan"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--timeout", "0"], ["--timeout", "0"]),
        (["--out", "/dev/null"], ["--out", "/dev/null"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["surplus"], ["surplus"]),
    ],
)
def test_wrong_input_is_one_clear_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 2, one line `mpmlab: error: ...` on stderr, nothing on stdout, no folder."""
    command = ["bench", "--mpm", "worker", "--out", str(tmp_path / "out"), *arguments]
    assert cli.run(command) == 2
    said = capsys.readouterr()
    assert said.err.startswith("mpmlab: error: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """As any other wrong input."""
    assert cli.run(["brunch"]) == 2
    assert "brunch" in capsys.readouterr().err


def test_an_error_in_a_file_names_the_file(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong directive of the scenario is not blamed on --set."""
    Path(scenario).write_text(SCENARIO.replace("StartServers", "StartServer"))
    assert cli.run(["bench", "--mpm", "worker", "--scenario", scenario]) == 2
    said = capsys.readouterr().err
    assert "tiny.toml" in said
    assert "StartServer" in said
    assert "--set" not in said


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """No arguments and --help show the commands; --version the version."""
    for arguments in ([], ["--help"], ["-h"]):
        assert cli.run(arguments) == 0
        assert "bench" in capsys.readouterr().out
    assert cli.run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_mpms_lists_each_with_the_platforms_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, and the table of operating systems."""
    assert cli.run(["mpms"]) == 0
    said = capsys.readouterr().out
    for word in (*CATALOG, "threaded", "BeOS", "mpm_winnt", "2.2"):
        assert word in said


def test_scenarios_lists_what_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Every shipped scenario by the name that --scenario takes."""
    assert cli.run(["scenarios"]) == 0
    said = capsys.readouterr().out
    for name in ("default", "nasa", "saturation"):
        assert name in said


@pytest.mark.usefixtures("profile")
def test_a_simulation_from_end_to_end(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All MPMs, in simulation alone: plan, table and folders are told, and the folders are whole.
    --set overrides the scenario, and the effective value is what is stored."""
    out = tmp_path / "out"
    command = ["bench", "--mpm", "all", "--scenario", scenario, "--engine", "sim", "--out",
               str(out), "--set", "StartServers=2", "--seed", "5", "--quiet"]  # fmt: skip
    assert cli.run(command) == 0
    said = capsys.readouterr()
    assert "not validated" in said.out
    assert said.err == ""
    folders = sorted(out.iterdir())
    assert len(folders) == len(CATALOG)
    for folder in folders:
        assert str(folder) in said.out
        results = load_results(folder)
        assert results.experiment.plan_hash in said.out
        assert results.experiment.seed == 5
        has = results.experiment.mpm not in ("winnt", "netware", "beos")
        assert (("StartServers", "2") in results.experiment.directives_effective) == has
        assert results.summaries()["sim"].completed > 20
        assert (folder / "plan.npz").exists()
        assert len(list(folder.glob("*.png"))) == 4
    found = {json.loads((f / "run.json").read_text())["experiment"]["mpm"] for f in folders}
    assert found == set(CATALOG)


@pytest.mark.usefixtures("profile")
def test_the_same_seed_tells_the_same_story(scenario: str, tmp_path: Path) -> None:
    """Twice seed 1: one digest, one plan. Seed 2: others."""
    seen = []
    for number, seed in enumerate(("1", "1", "2")):
        out = tmp_path / str(number)
        command = ["bench", "--mpm", "event", "--scenario", scenario, "--engine", "sim",
                   "--out", str(out), "--seed", seed, "--quiet"]  # fmt: skip
        assert cli.run(command) == 0
        (folder,) = out.iterdir()
        results = load_results(folder)
        seen.append((results.runs["sim"].digest, results.experiment.plan_hash))
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[2][0]
    assert seen[0][1] != seen[2][1]


@pytest.mark.usefixtures("profile")
def test_notes_of_directives_are_told(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name of httpd 2.2 works, with the note that it is deprecated."""
    command = ["bench", "--mpm", "worker", "--scenario", scenario, "--engine", "sim",
               "--out", str(tmp_path / "out"), "--set", "MaxClients=100"]  # fmt: skip
    assert cli.run(command) == 0
    assert "MaxClients is deprecated" in capsys.readouterr().out


def test_a_results_folder_that_cannot_be_made_is_found_first(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The path is below a file: wrong input, told before anything is measured."""
    (tmp_path / "file").write_text("")
    command = ["bench", "--scenario", scenario, "--engine", "sim", "--mpm", "event",
               "--out", str(tmp_path / "file" / "out"), "--quiet"]  # fmt: skip
    assert cli.run(command) == 2
    said = capsys.readouterr()
    assert str(tmp_path / "file") in said.err
    assert said.out == ""


def test_handlers_are_put_back(scenario: str, tmp_path: Path) -> None:
    """After a command, signals and logging are as they were before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    handlers = list(logging.getLogger("mpmlab").handlers)
    command = ["bench", "--mpm", "x", "--scenario", scenario, "--out", str(tmp_path)]
    assert cli.run(command) == 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert logging.getLogger("mpmlab").handlers == handlers


def test_python_m_mpmlab_is_the_same_program() -> None:
    """`python -m mpmlab` runs it, with its exit codes."""
    done = subprocess.run(
        [sys.executable, "-m", "mpmlab", "bench", "--mpm", "x"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mpmlab: error: unknown MPM 'x'")
