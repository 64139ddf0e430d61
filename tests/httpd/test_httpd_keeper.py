"""The keeper starts a program when it is told to, passes signals on, and leaves nothing, whoever
ends first. The program here is a shell: no httpd is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from mpmlab.httpd import keeper as module
from mpmlab.httpd.keeper import Spec
from mpmlab.httpd.kept import HttpdError, Keeper
from tests.httpd.httpd_lab import DEADLINE_S, Residue, own_residue, residue, wait_for

pytestmark = pytest.mark.real

__all__ = ["own_residue", "residue"]  # fixtures

#: Ends by TERM and nothing else.
WAITS = "exec sleep 600"


@contextmanager
def keeping(found: Residue, text: str, begin: bool = True) -> Iterator[Keeper]:
    """A keeper of a shell, and a run folder with a file; all gone at the end."""
    folder = found.folder / "run"
    keeper = Keeper(["/bin/sh", "-c", text], folder, None, None)
    try:
        folder.mkdir()
        (folder / "file").touch()
        if begin:
            keeper.begin()
        yield keeper
    finally:
        keeper.close()
    found.check()


def test_a_spec_is_the_same_after_its_journey() -> None:
    """It travels as JSON; without cores it may run everywhere."""
    spec = Spec(["a", "b c"], "/run/x", 3, 4, 5, [0, 1])
    assert Spec(**json.loads(json.dumps(asdict(spec)))) == spec
    assert Spec(["a"], "/x", 3, 4, 5).cores is None


def test_nothing_starts_before_it_is_told_to(own_residue: Residue) -> None:
    """Closed before, the program never runs: the file that it would make is not there."""
    text = f"touch {own_residue.folder}/started; {WAITS}"
    with keeping(own_residue, text, begin=False) as keeper:
        assert keeper.wait(0) is None
        assert keeper.pid == 0


@pytest.mark.parametrize(
    ("text", "code"), [("exit 3", 3), ("kill -9 $$", -9), ("trap 'exit 5' TERM; kill $$", 5)]
)
def test_the_exit_code_is_the_programs(own_residue: Residue, text: str, code: int) -> None:
    """Its own, or the signal that killed it; afterwards no signal can be sent."""
    with keeping(own_residue, text) as keeper:
        assert keeper.wait(DEADLINE_S) == code
        assert keeper.wait(0) == code
        assert keeper.signal(signal.SIGTERM) is False


def test_signals_are_passed_on_and_the_output_is_kept(own_residue: Residue) -> None:
    """In their order; what the program writes can be read while it runs."""
    traps = "trap 'echo one' USR1; trap 'echo two; exit 0' HUP"
    text = f"{traps}; echo ready; while :; do sleep 0.01; done"
    with keeping(own_residue, text) as keeper:
        wait_for(lambda: "ready" in keeper.output(), "the traps are set")
        assert keeper.signal(signal.SIGUSR1)
        wait_for(lambda: "one" in keeper.output(), "the first signal")
        assert keeper.wait(0) is None
        assert keeper.signal(signal.SIGHUP)
        assert keeper.wait(DEADLINE_S) == 0
        assert keeper.output() == "ready\none\ntwo\n"


def test_it_leads_a_session_of_its_own_on_the_cores_given(own_residue: Residue) -> None:
    """Where no terminal's signal reaches it, without core files, without our descriptors."""
    core = min(os.sched_getaffinity(0))
    keeper = Keeper(["/bin/sh", "-c", WAITS], own_residue.folder / "run", {core}, None)
    try:
        keeper.begin()
        wait_for(lambda: psutil.Process(keeper.pid).name() == "sleep", "the program runs")
        assert os.getsid(keeper.pid) == keeper.pid
        assert os.sched_getaffinity(keeper.pid) == {core}
        limits = Path(f"/proc/{keeper.pid}/limits").read_text()
        assert any(line.split()[4] == "0" for line in limits.splitlines() if "core file" in line)
        assert sorted(os.listdir(f"/proc/{keeper.pid}/fd")) == ["0", "1", "2"]
    finally:
        keeper.close()
    own_residue.check()


def test_what_the_program_leaves_of_its_session_is_killed(own_residue: Residue) -> None:
    """Before its end is told."""
    with keeping(own_residue, "sleep 600 & trap '' TERM; sleep 600 & exit 0") as keeper:
        assert keeper.wait(DEADLINE_S) == 0
        names = [process.name() for process in own_residue.processes()]
        assert "sleep" not in names


def test_a_program_that_cannot_run_is_told(own_residue: Residue) -> None:
    """With its name."""
    keeper = Keeper(["/nonexistent/httpd"], own_residue.folder / "run", None, None)
    try:
        with pytest.raises(HttpdError, match=r"could not be started[^~]*/nonexistent/httpd"):
            keeper.begin()
    finally:
        keeper.close()
    own_residue.check()


def test_when_the_keeper_is_killed_the_program_ends(own_residue: Residue) -> None:
    """By the system's TERM; our side waits for that, and removes the folder."""
    with keeping(own_residue, WAITS) as keeper:
        os.kill(psutil.Process(keeper.pid).ppid(), signal.SIGKILL)
        assert keeper.wait(DEADLINE_S) == -signal.SIGKILL
        assert not psutil.pid_exists(keeper.pid) or is_zombie(keeper.pid)


def test_a_program_without_keeper_that_ignores_term_can_be_killed(own_residue: Residue) -> None:
    """Waiting keeps to its time, and signals go on their own."""
    with keeping(own_residue, "trap '' TERM; echo ready; while :; do sleep 0.1; done") as keeper:
        wait_for(lambda: "ready" in keeper.output(), "the trap is set")
        os.kill(psutil.Process(keeper.pid).ppid(), signal.SIGKILL)
        assert keeper.wait(0.3) is None
        assert keeper.signal(signal.SIGKILL)
        assert keeper.wait(DEADLINE_S) == -signal.SIGKILL
        assert keeper.signal(signal.SIGTERM) is False


def is_zombie(pid: int) -> bool:
    """Ended, and not yet reaped by whoever inherited it."""
    return psutil.Process(pid).status() == str(psutil.STATUS_ZOMBIE)


def test_when_we_are_killed_the_keeper_stops_it_and_cleans_up(residue: Residue) -> None:
    """The program, what it started, and the folder."""
    text = """
import sys
from pathlib import Path
from mpmlab.httpd.kept import Keeper
folder = Path(sys.argv[1])
keeper = Keeper(["/bin/sh", "-c", "sleep 600 & exec sleep 600"], folder, None, None)
folder.mkdir()
keeper.begin()
print("begun", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", text, str(residue.folder / "run")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=residue.environment()
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"begun\n"
        starter.kill()
    residue.check()


def test_who_does_not_end_by_term_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that httpd has for it."""
    monkeypatch.setattr(module, "STOP_S", 0.2)
    text = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(["/bin/sh", "-c", text], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == b"ready\n"
        began_s = time.monotonic()
        module._stop(stubborn.pid)
        assert time.monotonic() - began_s >= 0.2
        assert stubborn.wait(0) == -signal.SIGKILL
