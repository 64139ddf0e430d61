"""Several load processes as one: they begin together, leave one exact table, and end together."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from mpmlab.bench.account import account
from mpmlab.bench.load_process import LoadError
from mpmlab.bench.load_team import LoadTeam, facts
from mpmlab.load.recorder import Outcome, Records
from mpmlab.real.load_process import COMPLETE, STOPPED
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import HOST, plan_of, real_server

#: A process that takes longer hangs.
LIMIT_S = 30.0


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with real_server("answers") as port:
        yield port


def team(folder: Path, plan: Plan, port: int, count: int, cores: tuple[int, ...] = ()) -> LoadTeam:
    """Load processes for the plan, records in folder/r.npz."""
    plan.save(folder / "p.npz")
    return LoadTeam(
        folder / "p.npz", HOST, port, folder / "r.npz", count=count, timeout_s=5, cores=cores
    )


def until(what: str, look: Callable[[], object]) -> None:
    """Wait for a fact."""
    deadline_s = time.monotonic() + LIMIT_S
    while not look():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.005)


def carried_out(folder: Path, plan: Plan, port: int, count: int) -> Records:
    """What a team of so many makes of the plan."""
    with team(folder, plan, port, count) as load:
        until("ready", load.ready)
        assert load.poll() is None
        load.begin(0)
        until("the end", lambda: load.poll() is not None)
        load.wait(LIMIT_S)
        assert load.poll() == COMPLETE
        records = load.collect()
    assert records is not None
    return records


@pytest.mark.real
def test_two_processes_make_one_exact_table(tmp_path: Path, port: int) -> None:
    """Sessions of three requests, some of which do not wait for an answer's time: every request of
    the plan is there exactly once, the account is that of one process alone, connections are
    numbered through, and the file says what was returned."""
    sessions = [[(0.01 * i, 0.0, 100), (None, 0.005, 200), (None, 0.0, 0)] for i in range(60)]
    plan = plan_of(sessions, 1.0)
    (tmp_path / "one").mkdir()
    one = carried_out(tmp_path / "one", plan, port, 1)
    two = carried_out(tmp_path, plan, port, 2)
    assert two.breaches(plan) == []
    assert np.array_equal(np.sort(two.index), np.arange(plan.requests))
    assert account(two, plan).to_dict() == account(one, plan).to_dict()
    assert account(two, plan).ok == plan.requests
    assert np.array_equal(np.unique(two.connection), np.arange(1, 61))
    for connection in range(1, 61):
        assert len(np.unique(two.session[two.connection == connection])) == 1
    assert np.all(np.diff(two.ended_s) >= 0)
    first, second = two.metadata["processes"]
    assert first["start_s"] == second["start_s"] == two.metadata["start_s"]
    assert first["ok"] == second["ok"] == 90
    assert two.metadata["ok"] == 180
    stored = Records.load(tmp_path / "r.npz")
    assert np.array_equal(stored.ended_s, two.ended_s)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "p.npz", "r.npz"]


@pytest.mark.real
def test_more_processes_than_sessions(tmp_path: Path, port: int) -> None:
    """Those without a session have nothing to do, and nothing to say of their lateness."""
    records = carried_out(tmp_path, plan_of([[(0.1, 0.0, 10)]] * 2, 0.3), port, 3)
    assert records.count(Outcome.OK) == 2
    idle = records.metadata["processes"][2]
    assert (idle["ok"], idle["lateness_p99_us"]) == (0, None)
    assert records.metadata["lateness_p99_us"] > 0


@pytest.mark.real
@pytest.mark.parametrize("number", [0, 1])
def test_a_killed_member_ends_the_team(tmp_path: Path, port: int, number: int) -> None:
    """The others are not waited for to the plan's end: poll tells at once, wait says why, nothing
    is collected, and no process and no file is left."""
    with team(tmp_path, plan_of([[(0.0, 0.01, 10)]] * 4, 60.0, cycle=True), port, 2) as load:
        until("ready", load.ready)
        load.begin(0)
        pids = list(load.pids)
        os.kill(pids[number], signal.SIGKILL)
        until("an end", lambda: load.poll() is not None)
        assert load.poll() == -signal.SIGKILL
        assert psutil.pid_exists(pids[1 - number])
        load.stop()
        with pytest.raises(LoadError, match="signal 9"):
            load.wait(LIMIT_S)
        assert load.collect() is None
    assert not any(map(psutil.pid_exists, pids))
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


@pytest.mark.real
def test_a_stopped_team_writes_what_it_has(tmp_path: Path, port: int) -> None:
    """All end at once; one table, marked incomplete, whose account balances."""
    plan = plan_of([[(0.0, 0.01, 10)]] * 4, 60.0, cycle=True)
    with team(tmp_path, plan, port, 2) as load:
        until("ready", load.ready)
        start_s = load.begin(0)
        until("the start", lambda: time.monotonic() > start_s)
        load.stop()
        load.wait(LIMIT_S)
        assert load.poll() == STOPPED
        records = load.collect()
    assert records is not None
    assert not records.complete
    assert records.metadata["complete"] is False
    assert records.end_s < LIMIT_S
    assert records.breaches(plan) == []
    assert set(records.session.tolist()) == {0, 1, 2, 3}


@pytest.mark.real
def test_each_has_a_core_in_turn(tmp_path: Path, port: int) -> None:
    """Three processes on the cores that we have: the first and the one after the last share one;
    without cores none is bound."""
    cores = tuple(sorted(os.sched_getaffinity(0)))[:2]
    plan = plan_of([[(0.0, 0.0, 10)]], 0.1)
    with team(tmp_path, plan, port, 3, cores) as load:
        until("ready", load.ready)
        assert list(load.pids.values()) == [cores[i % len(cores)] for i in range(3)]
        for pid, core in load.pids.items():
            assert psutil.Process(pid).cpu_affinity() == [core]
    with team(tmp_path, plan, port, 1) as load:
        assert list(load.pids.values()) == [None]


@pytest.mark.real
def test_a_team_that_never_begins_leaves_nothing(tmp_path: Path, port: int) -> None:
    """Left before its begin, as by an interruption: no process, no file."""
    with team(tmp_path, plan_of([[(0.0, 0.0, 10)]], 0.1), port, 2) as load:
        pids = list(load.pids)
    assert not any(map(psutil.pid_exists, pids))
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


@pytest.mark.real
def test_a_plan_that_cannot_be_read_is_told(tmp_path: Path, port: int) -> None:
    """No process of the team gets ready; the reason is the load process's own."""
    plan = plan_of([[(0.0, 0.0, 10)]], 0.1)
    with team(tmp_path, plan, port, 2) as load:
        until("ready", load.ready)
    (tmp_path / "p.npz").write_bytes(b"no plan")
    with LoadTeam(tmp_path / "p.npz", HOST, port, tmp_path / "r.npz", count=2, timeout_s=5) as load:
        until("an end", lambda: load.poll() is not None)
        assert not load.ready()
        with pytest.raises(LoadError, match=r"p\.npz"):
            load.wait(LIMIT_S)


def part(**changes: object) -> dict[str, object]:
    """What one process says of itself."""
    said = {"planned": 10, "ok": 9, "errors": 1, "shortages": 0, "queued_connects": 2,
            "max_connections": 100, "client_cpu": 0.5, "client_busy": 0.2, "lateness_p50_us": 3.0,
            "lateness_p99_us": 20.0, "complete": True, "part": [0, 2], "scenario": "s"}  # fmt: skip
    return {**said, **changes}


def test_counts_are_added_and_of_the_rest_the_worst_is_told() -> None:
    """Never an average: one process that is late or busy must not hide behind the others."""
    second = part(part=[1, 2], client_busy=0.95, lateness_p99_us=None, shortages=3, complete=False)
    found = facts([part(), second])
    assert (found["planned"], found["ok"], found["shortages"]) == (20, 18, 3)
    assert (found["client_busy"], found["client_cpu"]) == (0.95, 0.5)
    assert found["lateness_p99_us"] == 20.0
    assert found["complete"] is False
    assert found["processes"] == [part(), second]
    assert "part" not in found
    assert facts([part(lateness_p99_us=None)])["lateness_p99_us"] is None
