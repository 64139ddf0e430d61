"""The record: its file, and an account that finds what is missing. And a run that is stopped."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest

from mpmlab.load.recorder import Outcome, Recorder, Records, RecordsError
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import Ask, plan_of, run, run_sim, without

SESSION: list[Ask] = [(0.0, 0.0, 10), (None, 0.01, 20), (0.2, 0.0, 30)]


@pytest.fixture(name="plan", scope="module")
def _plan() -> Plan:
    return plan_of([SESSION, SESSION], 1.0)


@pytest.fixture(name="records", scope="module")
def _records(plan: Plan) -> Records:
    return run("sim", plan)


def changed(records: Records, column: str, row: int, value: float) -> Records:
    """The records with one cell changed."""
    values = getattr(records, column).copy()
    values[row] = value
    columns = {**records.columns(), column: values}
    return dataclasses.replace(records, **columns)


def test_records_survive_the_file(records: Records, tmp_path: Path) -> None:
    """What is saved is loaded: columns, types, facts, metadata; nothing else is left."""
    path = tmp_path / "r.npz"
    told = dataclasses.replace(records, metadata={"client_cpu": 0.25, "lateness_p99_us": None})
    told.save(path)
    told.save(path)  # over an old one
    loaded = Records.load(path)
    for name, column in told.columns().items():
        other = loaded.columns()[name]
        assert other.dtype == column.dtype
        assert np.array_equal(other, column, equal_nan=column.dtype.kind == "f")
    assert (loaded.complete, loaded.end_s) == (True, 1.0)
    assert loaded.metadata == told.metadata
    assert [p.name for p in tmp_path.iterdir()] == ["r.npz"]


@pytest.mark.parametrize("spoil", ["cut", "text", "other"])
def test_a_bad_file_is_one_clear_error(records: Records, tmp_path: Path, spoil: str) -> None:
    """A damaged or foreign file is named, not half read."""
    path = tmp_path / "r.npz"
    records.save(path)
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif spoil == "text":
        path.write_text("index,planned_s\n")
    else:
        np.savez(path, header=np.array('{"format": "mpmlab-records-0"}'))
    with pytest.raises(RecordsError, match=r"r\.npz: (not a records file|format 'mpmlab-rec)"):
        Records.load(path)
    with pytest.raises(FileNotFoundError):
        Records.load(tmp_path / "none.npz")


def test_a_complete_account_balances(plan: Plan, records: Records) -> None:
    """A good run has no breach."""
    assert len(records) == 6
    assert records.breaches(plan) == []


@pytest.mark.parametrize("row", range(6))
def test_any_missing_row_is_noticed(plan: Plan, records: Records, row: int) -> None:
    """Every one of the requests was due: without its row the account does not balance."""
    assert without(records, [row]).breaches(plan)


def test_a_missing_session_is_noticed(plan: Plan, records: Records) -> None:
    """A session that never began is missed, too."""
    gone = without(records, np.flatnonzero(records.session == 1).tolist())
    assert gone.breaches(plan) == [
        "session 1: request 3 was due at 0.000000 s and is not accounted for"
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [("index", 0), ("index", 5), ("index", 99), ("session", 1), ("session", 7), ("cycle", 1)],
)
def test_wrong_rows_are_noticed(plan: Plan, records: Records, column: str, value: int) -> None:
    """A double, a row of another session, of a cycle that was not, of a session that is not."""
    row = int(np.flatnonzero(records.index == 1)[0])
    assert changed(records, column, row, value).breaches(plan)


def test_a_request_that_was_not_due_need_not_be_there(plan: Plan, records: Records) -> None:
    """If the run had ended just before the last requests' times, they would not be missed."""
    early = without(records, np.flatnonzero(records.planned_s >= 0.2).tolist())
    assert early.breaches(plan)
    assert dataclasses.replace(early, end_s=0.2).breaches(plan) == []
    assert dataclasses.replace(early, end_s=0.2001).breaches(plan)


def test_a_cycle_is_followed_to_its_end() -> None:
    """In a closed plan the round after the last row must not have been due."""
    plan = plan_of([[(0.0, 0.01, 5)]], 0.1, cycle=True)
    records = run("sim", plan)
    assert len(records) == 10
    assert without(records, [9]).breaches(plan)
    assert without(records, [4]).breaches(plan)


@pytest.mark.parametrize("stop_s", [0.05, 0.103, 0.31, 0.9])
def test_a_stopped_run_accounts_for_what_was_due(stop_s: float) -> None:
    """Stopped at any time, in simulation: incomplete, and every request that had come due until
    then has a row, NOT_SENT or UNFINISHED if it has no end."""
    sessions: list[list[Ask]] = [[(0.1, 0.0, 1), (0.15, 0.0, 1), (None, 0.5, 1)] for _ in range(3)]
    plan = plan_of(sessions, 2.0, wait_us=100_000)
    records = run_sim(plan, "answers", 5.0, stop_s)
    assert not records.complete
    assert records.end_s == pytest.approx(stop_s)
    assert records.breaches(plan) == []
    due = {0.05: 0, 0.103: 1, 0.31: 2, 0.9: 3}[stop_s]
    assert len(records) == 3 * due
    unfinished = {0.05: 0, 0.103: 3, 0.31: 0, 0.9: 3}[stop_s]
    assert records.count(Outcome.UNFINISHED) == unfinished
    assert records.count(Outcome.OK) == len(records) - unfinished


def test_overdue_requests_of_a_stopped_run_are_not_sent() -> None:
    """Stopped while a session was busy: what else had come due in it is NOT_SENT."""
    plan = plan_of([[(0.0, 0.0, 1), (0.01, 0.0, 1), (0.3, 0.0, 1)]], 1.0, wait_us=500_000)
    records = run_sim(plan, "answers", 5.0, stop_s=0.2)
    assert records.error.tolist() == [Outcome.UNFINISHED, Outcome.NOT_SENT]
    assert records.ended_s == pytest.approx([0.2, 0.2])


def test_adding_too_few_values_fails() -> None:
    """A row has a value for each column."""
    with pytest.raises(struct.error):
        Recorder().add(1, 2, 3)
