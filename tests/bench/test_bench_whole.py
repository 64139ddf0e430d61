"""Whole runs of `mpmlab bench` in processes of their own: the end, the middle, and what is left.

Each command carries a mark in its environment, which its children inherit: afterwards no living
process may have it, and the port must be free. Nothing here sleeps to be on time; it waits for
facts, with deadlines.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from mpmlab.bench.results import Results, load_results
from mpmlab.load.recorder import Outcome
from tests.bench.made_up_profile import use_made_up_profile

pytestmark = pytest.mark.real

T = TypeVar("T")
MARK = "MPMLAB_TEST_MARK"
#: A start on a busy machine, or an end with all its clean-up.
DEADLINE_S = 60.0
#: A pool that starts at once.
SMALL_POOL = ["--set", "StartServers=1", "--set", "ThreadsPerChild=4",
              "--set", "MinSpareThreads=4", "--set", "MaxSpareThreads=8"]  # fmt: skip
SCENARIO = """\
name = "steady"
duration_s = 3
warmup_s = 0.5

# Connections that live long: the tests look for one in /proc/net/tcp, which takes its time.
[arrivals]
kind = "closed"
users = 4
think_s = { dist = "exponential", mean = 0.02 }
keep_alive = true

[[class]]
name = "page"
cpu_us = 500
wait_us = 5000
response_bytes = 2000
"""


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """The first truthy answer of look(), within the deadline."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {DEADLINE_S:g} s")


@dataclass
class Command:
    """One `mpmlab bench` that runs, and how to look at its processes."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    popen: subprocess.Popen[str] | None = None

    @property
    def out(self) -> Path:
        """Its --out."""
        return self.folder / "out"

    @property
    def scratch(self) -> Path:
        """Its TMPDIR."""
        return self.folder / "tmp"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run it, in a session of its own as a terminal would."""
        self.scratch.mkdir()
        scenario = self.folder / "steady.toml"
        scenario.write_text(SCENARIO)
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "mpmlab", "bench", "--scenario", str(scenario),
             "--out", str(self.out), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, MARK: self.mark, "TMPDIR": str(self.scratch)},
        )  # fmt: skip
        return self.popen

    def finish(self) -> tuple[int, str, str]:
        """Its exit code and what it said."""
        assert self.popen is not None
        out, err = self.popen.communicate(timeout=DEADLINE_S)
        return self.popen.returncode, out, err

    def processes(self) -> list[psutil.Process]:
        """All living processes that carry the mark."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (
                    process.environ().get(MARK) == self.mark
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
        return found

    def running(self, module: str) -> psutil.Process | None:
        """The oldest of its processes that was started as `python -m module`."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if module in process.cmdline():
                    found.append(process)
        return min(found, key=lambda p: p.create_time()) if found else None

    def in_the_middle(self) -> tuple[psutil.Process, psutil.Process, int]:
        """Wait until the clients talk to the server: (load process, server's parent, port)."""
        load = wait_for("the load process", lambda: self.running("mpmlab.real.load_process"))
        port = wait_for("a connection", lambda: _port_that_is_talked_to(load))
        server = self.running("mpmlab.real.launched")
        assert server is not None
        return load, server, port

    def results(self) -> Results:
        """Of the one folder that there must be."""
        (folder,) = self.out.iterdir()
        return load_results(folder)

    def assert_gone(self, port: int | None = None) -> None:
        """No process, no file outside the results, nobody on the port."""
        wait_for("the end of all its processes", lambda: not self.processes())
        assert list(self.scratch.iterdir()) == []
        if port is not None:
            with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
                probe.connect(("127.0.0.1", port))


def _port_that_is_talked_to(load: psutil.Process) -> int | None:
    with contextlib.suppress(psutil.Error):
        for connection in load.net_connections("tcp4"):
            if connection.raddr:
                return int(connection.raddr.port)
    return None


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """A command with a cost profile of its own; whatever a failed test leaves is killed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()
    made = Command(tmp_path)
    yield made
    for process in made.processes():
        with contextlib.suppress(psutil.Error):
            process.kill()
    if made.popen is not None:
        made.popen.communicate()


def run_json(command: Command) -> dict[str, Any]:
    """The one run.json as it stands in the file."""
    (path,) = command.out.glob("*/run.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_real_and_simulated_to_the_end(command: Command, mpm: str) -> None:
    """Both engines answer every request of the plan; table, results and pictures are there; the
    server's CPU was metered, its processes were sampled, and nothing is left behind."""
    pool = SMALL_POOL if mpm != "prefork" else ["--set", "StartServers=4"]
    command.start("--mpm", mpm, *pool)
    code, out, err = command.finish()
    # 3: on a busy machine the client may have been late, or somebody else on its core
    assert code in (0, 3), err
    assert ("INVALID" in out) == (code == 3)
    results = command.results()
    assert list(results.runs) == ["real", "sim"]
    for engine, run in results.runs.items():
        assert run.complete
        assert run.breaches == ()
        assert len(run.records) == run.records.count(Outcome.OK) > 100, engine
        assert len(run.samples) >= 40
        assert run.samples.time_s[-1] <= 3.2
        assert run.cpu_s is not None
        assert 0.05 < run.cpu_s < 2.5
    real = results.runs["real"]
    assert any("resuming normal operations" in line for line in real.log)
    assert real.memory_kib is not None
    assert real.memory_kib > 5000
    assert real.samples.processes.max() >= 1
    assert real.speed is not None
    assert "throughput" in out
    assert "not validated" in out
    (folder,) = command.out.iterdir()
    assert str(folder) in out
    assert len(list(folder.glob("*.png"))) == 5
    command.assert_gone()


def test_ctrl_c_keeps_what_there_is(command: Command) -> None:
    """The terminal's Ctrl-C reaches the command's process group: exit code 130, the records so far
    are saved and marked incomplete, the simulation is not begun, everything is cleaned up."""
    popen = command.start("--mpm", "worker", "--duration", "60", *SMALL_POOL)
    _, _, port = command.in_the_middle()
    os.killpg(popen.pid, signal.SIGINT)
    code, out, err = command.finish()
    assert code == 130, err
    assert "INCOMPLETE: worker, real: interrupted by SIGINT" in out
    results = command.results()
    assert list(results.runs) == ["real"]
    run = results.runs["real"]
    assert run.faults == ("interrupted by SIGINT",)
    assert not run.records.complete
    assert len(run.records) > 0
    assert run.records.end_s < 55
    document = run_json(command)
    assert document["engines"]["real"]["complete"] is False
    assert document["engines"]["real"]["valid"] is False
    command.assert_gone(port)


def test_sigterm_is_as_ctrl_c(command: Command) -> None:
    """What a service manager sends ends a run in order, too."""
    popen = command.start("--mpm", "event", "--duration", "60", *SMALL_POOL)
    _, _, port = command.in_the_middle()
    popen.terminate()
    code, _, err = command.finish()
    assert code == 130, err
    assert command.results().runs["real"].faults == ("interrupted by SIGTERM",)
    command.assert_gone(port)


def test_ctrl_c_during_a_simulation(command: Command) -> None:
    """The simulation's clients stop where they are: partial records, marked, with their account."""
    popen = command.start("--mpm", "worker", "--engine", "sim", "--duration", "3000")
    assert popen.stderr is not None
    seen = ""
    while "simulation" not in seen:  # bounded by the test's own time limit
        line = popen.stderr.readline()
        assert line, "the command ended before its simulation"
        seen += line
    popen.send_signal(signal.SIGINT)
    code, _, err = command.finish()
    assert code == 130, err
    run = command.results().runs["sim"]
    assert run.faults == ("interrupted by SIGINT",)
    assert not run.records.complete
    assert run.records.end_s < 3000
    command.assert_gone()


def test_a_killed_load_process_ends_the_run(command: Command) -> None:
    """kill -9 of the clients: exit code 4, the reason is told and stored, samples are kept."""
    command.start("--mpm", "prefork", "--duration", "60")
    load, _, port = command.in_the_middle()
    load.kill()
    code, out, err = command.finish()
    assert code == 4, err
    assert "INCOMPLETE" in out
    run = command.results().runs["real"]
    assert "load process failed" in run.faults[0]
    assert "signal 9" in run.faults[0]
    assert not run.records.complete
    assert len(run.samples) > 0
    command.assert_gone(port)


def test_a_killed_server_ends_the_run(command: Command) -> None:
    """kill -9 of the server's parent: its children go with it, exit code 4, the clients' records
    so far are kept."""
    command.start("--mpm", "worker", "--duration", "60", *SMALL_POOL)
    _, server, port = command.in_the_middle()
    server.kill()
    code, out, err = command.finish()
    assert code == 4, err
    assert "INCOMPLETE" in out
    run = command.results().runs["real"]
    assert run.faults == ("the server's parent process was killed by signal 9",)
    assert not run.records.complete
    assert len(run.records) > 0
    command.assert_gone(port)


def test_a_killed_command_leaves_nobody(command: Command) -> None:
    """kill -9 of the command itself: server, its children and clients die with it; its folder has
    no run.json, so nobody takes it for a result."""
    popen = command.start("--mpm", "worker", "--duration", "60", *SMALL_POOL)
    _, _, port = command.in_the_middle()
    popen.kill()
    assert command.finish()[0] == -signal.SIGKILL
    command.assert_gone(port)
    assert not list(command.out.glob("*/run.json"))
