"""The account: it balances for every kind of run, and finds each way in which it cannot."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from mpmlab.bench.account import Account, account
from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import Ask, plan_of, run_sim, without

#: Absolute and relative requests in turn; the last one long after an answer that may never come.
MIXED: list[Ask] = [(0.0, 0.0, 10), (None, 0.01, 20), (0.2, 0.0, 30), (None, 0.05, 5), (0.6, 0, 9)]
#: A closed user.
USER: list[Ask] = [(0.01, 0.02, 10), (None, 0.03, 10)]
BEHAVIOURS = ["answers", "says close", "unavailable", "mute", "hangs up", "garbage", "refuses"]


def mixed(sessions: int = 3) -> Plan:
    """Open sessions over a second."""
    return plan_of([MIXED] * sessions, 1.0, wait_us=5000)


def closed() -> Plan:
    """Two users who go round and round for a second."""
    return plan_of([USER, USER], 1.0, cycle=True, wait_us=5000)


def changed(records: Records, column: str, row: int, value: float) -> Records:
    """The records with one cell changed."""
    values = getattr(records, column).copy()
    values[row] = value
    return with_columns(records, **{column: values})


def with_columns(records: Records, **columns: Any) -> Records:
    """The records with other columns."""
    return dataclasses.replace(records, **columns)


# ---- runs that balance --------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [mixed(), closed()], ids=["open", "closed"])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_run_balances(behaviour: str, plan: Plan) -> None:
    """Whatever the server does, to the last request; what it does is where it belongs."""
    records = run_sim(plan, behaviour, 0.15)
    found = account(records, plan)
    assert found.breaches() == ()
    assert found.planned == len(records)
    if behaviour in ("answers", "says close"):
        assert found.ok == found.planned
    elif behaviour == "mute":
        assert found.timeouts > 0
        assert found.ok == 0
    elif behaviour == "refuses":
        assert found.errors == {"connect_refused": found.sent}
    else:
        assert sum(found.errors.values()) == found.sent == found.planned


@pytest.mark.parametrize("plan", [mixed(), closed()], ids=["open", "closed"])
@pytest.mark.parametrize("stop_s", [0.02, 0.3, 0.602])
@pytest.mark.parametrize("behaviour", ["answers", "mute"])
def test_a_run_that_is_stopped_balances(behaviour: str, stop_s: float, plan: Plan) -> None:
    """What was due by then, and no more: unfinished and dropped ones are told apart."""
    records = run_sim(plan, behaviour, 5.0, stop_s)
    found = account(records, plan)
    assert not records.complete
    assert found.breaches() == ()
    assert found.unfinished == records.count(Outcome.UNFINISHED)
    if behaviour == "mute":
        assert found.unfinished > 0


def test_sums_by_hand() -> None:
    """Three sessions of five answered requests: fifteen of everything, and nothing else."""
    found = account(run_sim(mixed(), "answers", 5.0), mixed())
    assert found == Account(15, 15, 0, 15, {}, 0, 0, 0, ())


def test_a_refused_connection_counts_as_sent() -> None:
    """The client did its part: nothing is dropped, though not a byte left."""
    records = run_sim(mixed(1), "refuses", 5.0)
    assert not np.any(np.isfinite(records.sent_s))
    found = account(records, mixed(1))
    assert (found.sent, found.dropped) == (5, 0)


def test_what_nobody_waited_for_is_neither_error_nor_answer() -> None:
    """Abandoned requests stand on their own, whether or not a byte left."""
    plan = mixed(1)
    records = run_sim(plan, "answers", 5.0)
    records = changed(records, "error", 4, Outcome.ABANDONED)
    records = changed(records, "sent_s", 4, float("nan"))
    found = account(records, plan)
    assert (found.ok, found.abandoned, found.errors, found.breaches()) == (4, 1, {}, ())


# ---- runs that do not ---------------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 3, 7, 14])
def test_a_lost_row_is_missed(row: int) -> None:
    """Wherever it stood, also the last of a session: planned says one more than there is."""
    plan = mixed()
    found = account(without(run_sim(plan, "answers", 5.0), [row]), plan)
    assert found.breaches()


@pytest.mark.parametrize("row", [0, 5, -1])
def test_a_lost_row_of_a_closed_run_is_missed(row: int) -> None:
    """There the plan alone does not say how many were due: the answers do."""
    plan = closed()
    records = run_sim(plan, "answers", 5.0)
    found = account(without(records, [row % len(records)]), plan)
    assert found.breaches()


def test_the_count_of_planned_does_not_rest_on_outcomes() -> None:
    """Turning every outcome into another leaves what was planned."""
    plan = mixed()
    records = run_sim(plan, "answers", 5.0)
    wrong = with_columns(records, error=np.full_like(records.error, Outcome.NOT_SENT))
    assert account(wrong, plan).planned == account(records, plan).planned == 15


def test_a_row_that_is_there_twice_is_found() -> None:
    """Sixteen rows of fifteen requests: named, and the sums do not balance either."""
    plan = mixed()
    records = run_sim(plan, "answers", 5.0)
    columns = {name: np.append(column, column[3]) for name, column in records.columns().items()}
    twice = with_columns(records, **columns)
    found = account(twice, plan)
    assert found.faults
    assert "15 requests were planned, but 16 sent" in " ".join(found.breaches())


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("sent_s", float("nan"), "14 requests were sent, but 15 good answers"),
        ("error", Outcome.NOT_SENT, "15 sent and 1 dropped make 16"),
        ("error", 42, "15 requests were sent, but 14 good answers, 0 errors"),
    ],
)
def test_columns_that_contradict_one_another(column: str, value: float, text: str) -> None:
    """An answer to what was never sent, a time of sending of what was dropped, and an outcome that
    does not exist: each breaks an identity."""
    plan = mixed()
    records = changed(run_sim(plan, "answers", 5.0), column, 14, value)
    assert text in " ".join(account(records, plan).breaches())


def test_rows_of_another_plan_are_named() -> None:
    """They are not followed, and say so: five too many were sent."""
    found = account(run_sim(mixed(3), "answers", 5.0), mixed(2))
    assert "beyond the plan" in found.breaches()[0]
    assert "10 requests were planned, but 15 sent" in found.breaches()[1]


def test_the_account_survives_json() -> None:
    """to_dict and back, errors and faults too."""
    plan = mixed()
    for behaviour in ("answers", "unavailable"):
        found = account(without(run_sim(plan, behaviour, 5.0), [2]), plan)
        assert Account.from_dict(json.loads(json.dumps(found.to_dict()))) == found
