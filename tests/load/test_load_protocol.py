"""How several load processes make one run: held until all are ready, a common zero of time, a part
of the sessions each; and links that they pace by themselves."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpmlab.bench.account import account
from mpmlab.bench.load_process import LoadProcess
from mpmlab.load.recorder import Outcome, Records, merged
from mpmlab.real.load_process import BAD_INPUT, COMPLETE, STOPPED
from mpmlab.workload.clients import ClientKind
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import HOST, Ask, plan_of, real_server

pytestmark = pytest.mark.real

#: A process that takes longer hangs.
LIMIT_S = 30.0
#: From `begin` to the plan's zero: longer than both processes need to take it in.
AHEAD_S = 0.2


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with real_server("answers") as port:
        yield port


def started(folder: Path, plan: Plan, port: int, number: int = 0, **options: Any) -> LoadProcess:
    """A load process for the plan, records in folder/r<number>.npz."""
    path = folder / "p.npz"
    if not path.exists():
        plan.save(path)
    return LoadProcess(path, HOST, port, folder / f"r{number}.npz", timeout_s=5, **options)


def await_ready(*processes: LoadProcess) -> None:
    """Until they wait for `begin`; before that they say nothing else."""
    deadline_s = time.monotonic() + LIMIT_S
    for process in processes:
        while not process.ready:
            assert time.monotonic() < deadline_s
            assert process.poll() is None
            assert process.progress(1.0) == []


def await_exit(process: LoadProcess) -> int | None:
    """Its exit code."""
    fd = os.pidfd_open(process.pid)
    try:
        assert select.select([fd], [], [], LIMIT_S)[0], "it lives on"
    finally:
        os.close(fd)
    return process.poll()


def beat(sessions: int, client: ClientKind | None = None) -> Plan:
    """A session of two requests every 5 ms."""
    asks: list[list[Ask]] = [[(0.005 * i, 0.0, 10), (None, 0.01, 10)] for i in range(sessions)]
    return plan_of(asks, 0.8, client=client)


def test_processes_that_are_held_begin_together(tmp_path: Path, port: int) -> None:
    """Two halves of a run: both say that they are ready and wait; both take the given time as the
    plan's zero; each carries out and counts its own sessions; merged they are the whole run."""
    plan = beat(100)
    with (
        started(tmp_path, plan, port, 0, part=(0, 2), hold=True) as one,
        started(tmp_path, plan, port, 1, part=(1, 2), hold=True) as other,
    ):
        await_ready(one, other)
        start_s = time.monotonic() + AHEAD_S
        for process in (one, other):
            process.begin(start_s)
        lines = [process.wait(LIMIT_S) for process in (one, other)]
        assert [one.poll(), other.poll()] == [COMPLETE, COMPLETE]
    assert {line.start_s for told in lines for line in told} == {start_s}
    for told in lines:
        assert told[0].time_s < 0
        for line in told[1:-1]:
            assert line.planned <= 50 * 2
        assert (told[-1].planned, told[-1].ok, told[-1].complete) == (100, 100, True)
    parts = [Records.load(tmp_path / f"r{n}.npz") for n in (0, 1)]
    for number, part in enumerate(parts):
        assert set(part.session.tolist()) == set(range(number, 100, 2))
        assert part.metadata["part"] == [number, 2]
        assert part.metadata["start_s"] == start_s
        assert part.metadata["paced"] is False
    whole = merged(parts, {})
    assert len(whole) == 200
    assert whole.breaches(plan) == []
    assert account(whole, plan).breaches() == ()
    assert np.all(whole.sent_s >= whole.planned_s)


def test_progress_counts_the_requests_of_the_part_only(tmp_path: Path, port: int) -> None:
    """`planned` on the way is what has come due of this process's sessions: of a quarter of the
    plan here, each of which is one request."""
    plan = plan_of([[(0.01 * i, 0.0, 10)] for i in range(120)], 1.3)
    with started(tmp_path, plan, port, part=(3, 4)) as process:
        lines = process.wait(LIMIT_S)
    mine = plan.planned_us[3::4]
    assert len(lines) >= 3
    for line in lines[1:-1]:
        assert line.planned == np.count_nonzero(mine <= line.time_s * 1e6)
    assert lines[-1].planned == lines[-1].ok == 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_held_process_can_be_stopped(tmp_path: Path, port: int, number: int) -> None:
    """Told to stop before the run has begun: it ends as stopped, and leaves nothing, since nothing
    was measured."""
    with started(tmp_path, beat(10), port, hold=True) as process:
        await_ready(process)
        os.kill(process.pid, number)
        assert await_exit(process) == STOPPED
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_a_held_process_ends_when_nobody_can_let_it_begin(tmp_path: Path, port: int) -> None:
    """The other end of its standard input is closed without a word: stopped."""
    with started(tmp_path, beat(10), port, hold=True) as process:
        await_ready(process)
        stdin = process._process.stdin
        assert stdin is not None
        stdin.close()
        assert await_exit(process) == STOPPED
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_a_stop_in_a_run_that_was_held_leaves_its_records(tmp_path: Path, port: int) -> None:
    """After `begin` a stop is as in any run: what was recorded is written, and balances."""
    plan = plan_of([[(0.0, 0.01, 10)]] * 4, 60.0, cycle=True)
    with started(tmp_path, plan, port, hold=True) as process:
        await_ready(process)
        process.begin(time.monotonic() + AHEAD_S)
        deadline_s = time.monotonic() + LIMIT_S
        while not any(line.ok for line in process.progress(1.0)):
            assert time.monotonic() < deadline_s
        process.stop()
        assert await_exit(process) == STOPPED
    records = Records.load(tmp_path / "r0.npz")
    assert not records.complete
    assert records.count(Outcome.OK) > 0
    assert records.breaches(plan) == []


@pytest.mark.parametrize("paced", [True, False])
def test_links_are_paced_if_told(tmp_path: Path, port: int, paced: bool) -> None:
    """--paced: the client keeps to its group's round trip, two for the first request of a
    connection and one for the next; without it the network is what it is."""
    rtt_s = 0.15
    with started(tmp_path, beat(4, ClientKind(rtt_s=rtt_s)), port, paced=paced) as process:
        process.wait(LIMIT_S)
        assert process.poll() == COMPLETE
    records = Records.load(tmp_path / "r0.npz")
    assert records.metadata["paced"] is paced
    assert np.all(records.error == Outcome.OK)
    trips = (records.ended_s - records.planned_s) / rtt_s
    first = records.index % 2 == 0
    if paced:
        assert np.all(trips >= np.where(first, 2.0, 1.0))
        assert np.median(trips[first]) < 3
        assert np.median(trips[~first]) < 2
    else:
        assert np.median(trips) < 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--part", "2/2"], "'2/2' is not i/n with i from 0 to n - 1"),
        (["--part", "x"], "--part"),
        (["--hold"], "--hold needs --progress-fd"),
    ],
)
def test_bad_options_are_told(arguments: list[str], says: str) -> None:
    """One line that names the option, and the exit code for bad input."""
    command = [sys.executable, "-m", "mpmlab.real.load_process", "--plan", "p", "--host", HOST,
               "--port", "9", "--records", "r", *arguments]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == BAD_INPUT
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
