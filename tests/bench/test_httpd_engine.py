"""The httpd engine: whole runs on Apache httpd, to the end and cut short.

Skipped where there is no httpd, with the sentence that says what to install.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mpmlab import cli
from mpmlab.bench.results import load_results
from mpmlab.bench.samples import STATUSES
from mpmlab.core.scoreboard import READY
from mpmlab.load.recorder import Outcome
from tests.bench.made_up_profile import use_made_up_profile
from tests.httpd.httpd_lab import MPMS, SMALL, Residue, needs_httpd, residue, wait_for

__all__ = ["residue"]  # a fixture

pytestmark = [pytest.mark.real, needs_httpd]

SCENARIO = """\
name = "steady"
duration_s = 2
warmup_s = 0.4

[arrivals]
kind = "closed"
users = 3
think_s = { dist = "exponential", mean = 0.02 }
keep_alive = true

[[class]]
name = "page"
weight = 2
cpu_us = 200
wait_us = 3000
response_bytes = 2000

[[class]]
name = "file"
static = true
response_bytes = 1024
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seconds of three users, and a cost profile, so that nothing is probed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()
    path = tmp_path / "steady.toml"
    path.write_text(SCENARIO)
    return path


def arguments(mpm: str, engines: str, scenario: Path, *more: str) -> list[str]:
    """Of a run with a small pool."""
    pool = [word for name, value in SMALL[mpm].items() for word in ("--set", f"{name}={value}")]
    return ["bench", "--mpm", mpm, "--engine", engines, "--scenario", str(scenario),
            "--out", str(scenario.parent / "out"), *pool, *more]  # fmt: skip


def the_only(scenario: Path) -> Path:
    """The results folder."""
    (folder,) = (scenario.parent / "out").iterdir()
    return folder


@pytest.mark.parametrize("mpm", MPMS)
def test_three_engines_side_by_side(
    scenario: Path, mpm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every request is answered by all three; their samples have one shape; httpd says which it is
    and what it counted, its CPU and memory are metered, and its configuration is kept."""
    code = cli.run(arguments(mpm, "httpd,real,sim", scenario, "--quiet"))
    said = capsys.readouterr()
    assert code in (0, 3), said.err  # 3: on a busy machine the clients may be late
    folder = the_only(scenario)
    results = load_results(folder)
    assert list(results.runs) == ["httpd", "real", "sim"]
    shown = {}
    for engine, run in results.runs.items():
        assert run.complete, run.faults
        assert run.breaches == ()
        assert run.records.count(Outcome.OK) == len(run.records) > 50, engine
        assert run.samples.counts.shape[1] == STATUSES
        assert np.all(np.diff(run.samples.time_s) > 0)
        assert run.samples.processes.max() >= 1
        # Workers that are up, all along: the stream's own is in none of the pictures.
        up = run.samples.counts[:, READY:].sum(axis=1)
        shown[engine] = int(np.median(up))
        assert run.cpu_s is not None
        assert run.cpu_s > 0
    assert abs(shown["httpd"] - shown["real"]) <= 1  # the thread that holds the stream
    httpd = results.runs["httpd"]
    assert len(httpd.samples) >= 20
    assert any("AH00163" in line or "AH00489" in line or "AH00292" in line for line in httpd.log)
    assert httpd.memory_kib is not None
    assert httpd.memory_kib > 1000
    assert_facts(httpd.server, int(np.count_nonzero(httpd.records.error == Outcome.OK)))
    assert re.search(rf"^LoadModule mpm_{mpm}_module", (folder / "httpd.conf").read_text(), re.M)
    assert not (folder / "httpd-access.log").exists()
    assert "INVALID" in said.out or code == 0


def assert_facts(server: Mapping[str, Any] | None, answered: int) -> None:
    """What httpd said of itself goes with what the clients saw."""
    assert server is not None
    assert server["version"].startswith("Apache/2.4")
    assert Path(server["program"]).is_file()
    before, after = server["counters_before"], server["counters_after"]
    assert after["accesses"] >= answered
    # A report is two accesses, a wait and itself; up to a second's worth was asked for ahead.
    assert after["accesses"] - before["accesses"] <= answered + 2 * (server["samples"] + 25)


def port_of_load(residue: Residue) -> int:
    """The port to which the load process talks; 0 while there is none."""
    for process in residue.processes():
        with suppress(psutil.Error):
            command = process.cmdline()
            if "mpmlab.real.load_process" in command and any(
                one.raddr for one in process.net_connections("tcp4")
            ):
                return int(command[command.index("--port") + 1])
    return 0


@contextmanager
def under_load(
    residue: Residue, command: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command in a process of its own, once its clients talk to the server; and the port."""
    popen = subprocess.Popen(
        [sys.executable, "-m", "mpmlab", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=residue.environment(),
    )  # fmt: skip
    ports: list[int] = []

    def talks() -> bool:
        ports.append(port_of_load(residue))
        return ports[-1] > 0

    try:
        wait_for(talks, "the load")
        yield popen, ports[-1]
    finally:
        popen.kill()
        popen.communicate()


def test_ctrl_c_keeps_what_there_is(scenario: Path, residue: Residue) -> None:
    """SIGINT to the command's group, as a terminal's Ctrl-C: exit code 130; records, samples and
    httpd's own words so far are saved and marked incomplete, the other engines are not begun, and
    no process, port, file or semaphore is left."""
    command = arguments("event", "httpd,real", scenario, "--duration", "60")
    with under_load(residue, command) as (popen, port):
        os.killpg(popen.pid, signal.SIGINT)
        out, err = popen.communicate(timeout=60)
    assert popen.returncode == 130, err
    assert "INCOMPLETE: event, httpd: interrupted by SIGINT" in out
    assert "Traceback" not in err
    folder = the_only(scenario)
    results = load_results(folder)
    assert list(results.runs) == ["httpd"]
    run = results.runs["httpd"]
    assert run.faults == ("interrupted by SIGINT",)
    assert not run.records.complete
    assert len(run.records) > 0
    assert run.records.end_s < 55
    assert run.log
    assert (folder / "httpd.conf").is_file()
    residue.check(port)


def test_a_killed_httpd_ends_the_run(scenario: Path, residue: Residue) -> None:
    """kill -9 of httpd's parent: exit code 4, the reason is told and stored, the clients' records
    so far are kept, and nothing is left."""
    command = arguments("worker", "httpd", scenario, "--duration", "60")
    with under_load(residue, command) as (popen, port):
        parent_of_httpd(residue).kill()
        out, err = popen.communicate(timeout=60)
    assert popen.returncode == 4, err
    assert "INCOMPLETE: worker, httpd: the server's parent process was killed by signal 9" in out
    run = load_results(the_only(scenario)).runs["httpd"]
    assert not run.records.complete
    assert len(run.records) > 0
    residue.check(port)


def parent_of_httpd(residue: Residue) -> psutil.Process:
    """Of the processes of the run, the oldest that runs httpd."""
    found = []
    for process in residue.processes():
        with suppress(psutil.Error):
            if "-f" in process.cmdline() and any("httpd.conf" in one for one in process.cmdline()):
                found.append(process)
    return min(found, key=lambda process: process.create_time())
