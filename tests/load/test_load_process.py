"""The load process as the bench sees it: progress, records, stopping, and that nothing is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mpmlab.bench.load_process import LoadError, LoadProcess
from mpmlab.load.recorder import Outcome, Records
from mpmlab.real.load_process import BAD_INPUT, COMPLETE, STOPPED, Progress
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import HOST, plan_of, real_server

pytestmark = pytest.mark.real

#: A process that takes longer hangs.
LIMIT_S = 30.0


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with real_server("answers") as port:
        yield port


def start(folder: Path, plan: Plan, port: int, cores: tuple[int, ...] = ()) -> LoadProcess:
    """A load process for the plan, records in folder/r.npz."""
    plan.save(folder / "p.npz")
    return LoadProcess(
        folder / "p.npz", HOST, port, folder / "r.npz", start_delay_s=0.05, timeout_s=5, cores=cores
    )


def await_progress(process: LoadProcess, ok: int) -> list[Progress]:
    """Lines until one tells of `ok` good answers."""
    lines: list[Progress] = []
    deadline_s = time.monotonic() + LIMIT_S
    while not lines or lines[-1].ok < ok:
        assert time.monotonic() < deadline_s, lines
        lines += process.progress(1.0)
    return lines


def await_end(pid: int) -> None:
    """Until that process, nobody's child here, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], LIMIT_S)[0], f"process {pid} lives on"
    finally:
        os.close(fd)


def test_a_run_reports_progress_and_leaves_its_records(tmp_path: Path, port: int) -> None:
    """A plan that is carried out: lines from before the start to the end, records complete, the
    client's own cost and lateness in the last line and in the records."""
    plan = plan_of([[(0.01 * i, 0.0, 10)] for i in range(120)], 1.25)
    core = min(os.sched_getaffinity(0))
    with start(tmp_path, plan, port, (core,)) as process:
        lines = process.wait(LIMIT_S)
        assert process.poll() == COMPLETE
    records = Records.load(tmp_path / "r.npz")
    assert records.complete
    assert records.count(Outcome.OK) == 120
    assert records.breaches(plan) == []
    first, last = lines[0], lines[-1]
    assert first.time_s < 0
    assert (first.planned, first.ok) == (0, 0)
    assert len({line.start_s for line in lines}) == 1
    assert 3 <= len(lines) <= 5
    for line in lines[1:-1]:
        assert line.planned == np.count_nonzero(plan.planned_us <= line.time_s * 1e6)
        assert line.ok <= line.planned
        assert line.errors == 0
        assert line.p50_ms is not None
        assert line.p99_ms is not None
        assert 0 < line.p50_ms <= line.p99_ms
    assert (last.planned, last.ok, last.errors, last.complete) == (120, 120, 0, True)
    assert last.lateness_p50_us is not None
    assert last.lateness_p99_us is not None
    assert 0 <= last.lateness_p50_us <= last.lateness_p99_us
    late_us = 1e6 * np.quantile(records.lateness_s, 0.99, method="inverted_cdf")
    assert last.lateness_p99_us == pytest.approx(late_us)
    assert 0 < last.client_cpu < 1.1
    assert 0 < last.client_busy < 1.0
    for name in ("start_s", "client_cpu", "client_busy", "lateness_p99_us"):
        assert records.metadata[name] == getattr(last, name)
    assert records.metadata["plan"] == plan.hash
    assert records.metadata["shortages"] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.npz", "r.npz"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_writes_what_it_has(tmp_path: Path, port: int, number: int) -> None:
    """SIGTERM or SIGINT in the middle ends it at once, with records that are marked incomplete and
    still balance."""
    plan = plan_of([[(0.0, 0.01, 10)]] * 4, 60.0, cycle=True)
    with start(tmp_path, plan, port) as process:
        lines = await_progress(process, 10)
        os.kill(process.pid, number)
        lines += process.wait(LIMIT_S)
        assert process.poll() == STOPPED
    records = Records.load(tmp_path / "r.npz")
    assert not records.complete
    assert lines[-1].complete is False
    assert records.end_s < LIMIT_S
    assert len(records) == lines[-1].planned >= 10
    assert records.breaches(plan) == []
    assert set(records.error.tolist()) <= {Outcome.OK, Outcome.UNFINISHED, Outcome.NOT_SENT}


def test_a_killed_process_leaves_nothing(tmp_path: Path, port: int) -> None:
    """Leaving the block early ends the process; no records, no scratch files, no descriptors."""
    before = os.listdir("/proc/self/fd")
    with start(tmp_path, plan_of([[(0.0, 0.01, 10)]], 60.0, cycle=True), port) as process:
        await_progress(process, 1)
    assert process.poll() == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["p.npz"]
    assert process.progress() == []
    process.stop()
    process.kill()
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1  # the server's end may linger


def test_waiting_too_long_is_an_error(tmp_path: Path, port: int) -> None:
    """wait() gives up after its time, and the process can still be ended."""
    with (
        start(tmp_path, plan_of([[(0.0, 0.01, 10)]], 60.0, cycle=True), port) as process,
        pytest.raises(TimeoutError, match=r"0\.2 s"),
    ):
        process.wait(0.2)


def test_a_reader_that_sleeps_does_not_stop_the_run(tmp_path: Path, port: int) -> None:
    """Nobody reads progress: the run goes on to its end all the same."""
    plan = plan_of([[(0.0, 0.0, 10)]], 0.2)
    with start(tmp_path, plan, port) as process:
        deadline_s = time.monotonic() + LIMIT_S
        fd = os.pidfd_open(process.pid)
        assert select.select([fd], [], [], deadline_s - time.monotonic())[0]
        os.close(fd)
        assert process.poll() == COMPLETE
        assert process.wait()[-1].complete


@pytest.mark.parametrize("fault", ["plan", "host", "cores", "folder"])
def test_bad_input_is_one_clear_error(tmp_path: Path, fault: str) -> None:
    """A fault of the input is reported in a line that names it."""
    plan_of([[(0.0, 0.0, 10)]], 0.05).save(tmp_path / "p.npz")
    if fault == "plan":
        (tmp_path / "p.npz").write_text("nonsense")
    folder = tmp_path / "missing" if fault == "folder" else tmp_path
    host = "localhost" if fault == "host" else HOST
    cores = (4095,) if fault == "cores" else ()
    plan, records = tmp_path / "p.npz", folder / "r.npz"
    with LoadProcess(plan, host, 9, records, start_delay_s=0.0, cores=cores) as process:
        with pytest.raises(LoadError) as error:
            process.wait(LIMIT_S)
        assert process.poll() == BAD_INPUT
    named = {
        "plan": "p.npz: not a plan",
        "host": "'localhost'",
        "cores": "4095",
        "folder": "missing",
    }
    assert named[fault] in str(error.value)
    assert "Traceback" not in str(error.value)


_BENCH = """
import sys
from pathlib import Path
from mpmlab.bench.load_process import LoadProcess
plan, host, port, records = sys.argv[1:]
process = LoadProcess(Path(plan), host, int(port), Path(records))
while not any(line.ok for line in process.progress(1.0)):
    pass
print(process.pid, flush=True)
sys.stdin.read()
"""


def test_it_dies_with_the_bench(tmp_path: Path, port: int) -> None:
    """The bench is killed without a chance to clean up: the load process goes, too."""
    plan_of([[(0.0, 0.01, 10)]], 600.0, cycle=True).save(tmp_path / "p.npz")
    command = [sys.executable, "-c", _BENCH, str(tmp_path / "p.npz"), HOST, str(port),
               str(tmp_path / "r.npz")]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as bench:
        assert bench.stdout is not None
        pid = int(bench.stdout.readline())
        os.kill(pid, 0)
        bench.kill()
    await_end(pid)
    assert not (tmp_path / "r.npz").exists()
