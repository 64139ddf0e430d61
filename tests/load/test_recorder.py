"""The record: its file, an account that finds what is missing, several records as one. And a run
that is stopped."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest

from mpmlab.bench.account import account
from mpmlab.load.recorder import Outcome, Recorder, Records, RecordsError, merged
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


# ---- rows, and the records of several processes --------------------------------------------------


def numbered(count: int, connection: int = 1, end_s: float = 1.0, session: int = 0) -> Recorder:
    """So many rows, planned a tenth of a second apart and answered at once."""
    recorder = Recorder()
    for i in range(count):
        at_s = 0.1 * i
        recorder.add(
            i, 0, session, at_s, 0.0, at_s, at_s, at_s, at_s, 200, 5, connection, Outcome.OK, 0
        )
    recorder.finish(complete=True, end_s=end_s)
    return recorder


def test_rows_are_a_copy_of_those_asked_for() -> None:
    """From number `first` on, or the last -first, or none; with the columns' names; and what is
    added later is not in them."""
    recorder = numbered(5)
    rows = recorder.rows(2)
    assert rows["index"].tolist() == [2, 3, 4]
    assert recorder.rows(-2)["index"].tolist() == [3, 4]
    assert recorder.rows(-99)["index"].tolist() == [0, 1, 2, 3, 4]
    assert len(recorder.rows(5)) == len(recorder.rows(99)) == 0
    assert recorder.rows(0)["planned_s"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert rows.dtype.names == tuple(recorder.records().columns())
    recorder.add(9, *(0,) * 13)
    assert rows["index"].tolist() == [2, 3, 4]
    assert len(recorder) == 6
    assert recorder.rows(-1)["index"].tolist() == [9]


def test_records_are_the_rows() -> None:
    """Column by column, of the documented types, and not touched by rows that are added later."""
    recorder = numbered(3)
    records = recorder.records({"a": 1})
    recorder.add(*(0,) * 14)
    assert len(records) == 3
    assert (records.complete, records.end_s, records.metadata) == (True, 1.0, {"a": 1})
    rows = recorder.rows()[:3]
    for name, column in records.columns().items():
        assert column.dtype == rows.dtype[name]
        assert np.array_equal(column, rows[name])


def test_merging_keeps_every_row_in_order_of_its_end(plan: Plan, records: Records) -> None:
    """A run divided between processes by sessions and merged again is the run: the same rows, the
    balance holds, and a connection of one process is not one of another."""
    parts = [
        without(records, np.flatnonzero(records.session != number).tolist()) for number in (0, 1)
    ]
    parts = [
        dataclasses.replace(part, connection=np.ones(len(part), dtype=np.int32)) for part in parts
    ]
    whole = merged(parts, {"x": 2})
    assert len(whole) == len(records)
    assert whole.breaches(plan) == []
    assert np.all(np.diff(whole.ended_s) >= 0)
    assert (whole.complete, whole.end_s, whole.metadata) == (True, 1.0, {"x": 2})
    order, other = np.argsort(whole.index), np.argsort(records.index)
    for name in ("index", "session", "planned_s", "sent_s", "ended_s", "status", "error"):
        assert np.array_equal(getattr(whole, name)[order], getattr(records, name)[other]), name
    assert [set(whole.connection[whole.session == n].tolist()) for n in (0, 1)] == [{1}, {2}]
    for name, column in whole.columns().items():
        assert column.dtype == records.columns()[name].dtype


def test_merging_leaves_a_request_without_a_connection_without_one() -> None:
    """0 is no connection, in every part."""
    one, other = numbered(2, connection=3).records(), numbered(2, connection=0).records()
    assert merged([one, other], {}).connection.tolist() == [3, 0, 3, 0]
    assert merged([other, one], {}).connection.tolist() == [0, 3, 0, 3]
    assert sorted(merged([one, one], {}).connection.tolist()) == [3, 3, 6, 6]


def test_a_merged_run_is_as_complete_as_its_parts() -> None:
    """One part that was stopped makes it incomplete."""
    one, other = numbered(3).records(), numbered(3).records()
    assert merged([one, other], {}).complete
    assert not merged([one, dataclasses.replace(other, complete=False)], {}).complete
    with pytest.raises(ValueError, match="nothing"):
        merged([], {})


def test_a_merged_run_that_was_stopped_ends_with_the_first_part() -> None:
    """A signal reaches two processes at two times: what the later one still began is left out, with
    requests before it that had no time of their own, and the account balances."""
    plan = plan_of([SESSION, [(0.0, 0.0, 1), (0.05, 0.0, 1), (None, 0.0, 1), (0.15, 0.0, 1)]], 1.0)
    parts = []
    for number, stop_s in ((0, 0.12), (1, 0.16)):
        stopped = run_sim(plan, "mute", 5.0, stop_s)
        keep = np.flatnonzero(stopped.session != number).tolist()
        parts.append(without(stopped, keep))
    assert np.isnan(parts[1].planned_s).any()
    whole = merged(parts, {})
    assert whole.end_s == parts[0].end_s < parts[1].end_s
    assert not whole.complete
    assert whole.breaches(plan) == []
    assert account(whole, plan).breaches() == ()
    assert len(whole) == len(parts[0]) + 2
    assert np.nanmax(whole.planned_s) < whole.end_s


def test_a_tally_counts_rows_where_they_are() -> None:
    """From any row on, as many rows and good ones as the records have; adding can go on."""
    recorder = Recorder()
    assert recorder.tally(0, Outcome.OK) == (0, 0)
    for i in range(10):
        error = Outcome.OK if i % 3 else Outcome.RESET
        recorder.add(i, 0, 0, *[0.0] * 6, 200, 0, 1, error, 0)
        errors = recorder.records().error
        for first in range(i + 2):
            good = int(np.count_nonzero(errors[first:] == Outcome.OK))
            assert recorder.tally(first, Outcome.OK) == (i + 1 - first, good)
