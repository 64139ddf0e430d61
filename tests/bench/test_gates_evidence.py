"""What is gathered for the gates: who counts, when requests were taken in hand, what is awaited."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from mpmlab.bench.gates import Facts, gather
from mpmlab.bench.gates_evidence import Evidence, begun
from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.plan import Plan
from tests.bench.gate_data import QUIET, arrivals_s, begun_s, judged_by, made_up, one_each, served
from tests.load.load_worlds import Ask, plan_of, run_sim

MAIN, OTHERS = Group("main", True, ClientKind()), Group("others", False, ClientKind())
TIMES_S = np.arange(0.05, 10, 0.1)


def run_of(plan: Plan, service_s: float = 0.01) -> Records:
    """Each request takes so long, and the client is 1 ms late."""
    planned_s = plan.planned_us / 1e6
    return served(plan, planned_s + 0.001, np.full(len(planned_s), service_s))


def changed(records: Records, **columns: tuple[int, float]) -> Records:
    """The records with one cell of each of these columns changed."""
    new: dict[str, Any] = dict(records.columns())
    for name, (row, value) in columns.items():
        new[name] = new[name].copy()
        new[name][row] = value
    return dataclasses.replace(records, **new)


def test_counts_by_hand() -> None:
    """Ten requests a second, 80 in the window of 8 s, all answered after 11 ms."""
    plan = one_each(TIMES_S)
    seen = judged_by(plan, run_of(plan))
    assert (seen.planned, seen.taken, seen.answered, seen.dropped) == (80, 80, 80, 0)
    assert (seen.backlog_growth, seen.timed_out) == (0, 0)
    assert seen.completed_per_s == pytest.approx(10)
    assert seen.length_s == 8
    assert seen.response_s == pytest.approx(np.full(80, 0.011))
    assert seen.lateness_s == pytest.approx(np.full(80, 0.001))
    assert math.isinf(seen.censored_from_s)
    assert (seen.account.planned, seen.account.ok) == (100, 100)
    assert seen.starts_begun_s - seen.starts_planned_s == pytest.approx(np.full(80, 0.001))


def test_what_was_planned_in_the_warm_up_may_be_taken_in_the_window() -> None:
    """A client that is 0.3 s behind takes three requests of the warm-up in the window and leaves
    three of the window for later: as many in all, though none in time."""
    plan = one_each(TIMES_S)
    planned_s = plan.planned_us / 1e6
    records = served(plan, planned_s + 0.3, np.full(100, 0.001))
    seen = judged_by(plan, records)
    assert (seen.planned, seen.taken) == (80, 80)
    assert seen.backlog_growth == 0


def test_what_is_awaited_grows_when_the_server_falls_behind() -> None:
    """Each request takes 1.25 times as long as the gap between them: of the 80 of the window the
    server ends 64, and none has timed out by then."""
    plan = one_each(TIMES_S)
    seen = judged_by(plan, run_of(plan, 0.125))
    assert (seen.backlog_growth, seen.timed_out) == (16, 0)
    assert math.isinf(seen.censored_from_s)


def test_time_outs_hide_no_backlog() -> None:
    """Four times as long: from 5 s on as many time out as come, so that the number awaited stays,
    and the time-outs are what is counted."""
    plan = one_each(TIMES_S)
    seen = judged_by(plan, run_of(plan, 0.4))
    assert seen.timed_out > 40
    assert seen.backlog_growth < 20
    assert seen.censored_from_s == pytest.approx(3.0, abs=0.01)


def test_a_request_that_waits_for_the_one_before_it_is_not_late() -> None:
    """In a session the turn comes when both the planned time and the previous answer have: taken
    in hand is then, plus the client's own delay."""
    session: list[Ask] = [(0.1, 0.0, 10), (0.2, 0.0, 10), (0.9, 0.0, 10)]
    plan = plan_of([session, session], 1.0, wait_us=300_000)
    records = run_sim(plan, "answers", 5.0)
    at = begun(records, plan)
    order = np.lexsort((records.index, records.session))
    first, second, third = at[order].reshape(2, 3).T
    assert first == pytest.approx([0.1, 0.1], abs=1e-3)
    assert second == pytest.approx(records.ended_s[order].reshape(2, 3)[:, 0], abs=1e-3)
    assert (second > 0.39).all()
    assert third == pytest.approx([0.9, 0.9], abs=1e-3)
    seen = gather(records, plan, 0.15, 0.35, 5.0, QUIET)
    assert (seen.planned, seen.taken) == (2, 0)


def test_clients_that_are_not_measured_count_only_for_the_server() -> None:
    """Every other session is of another group: half of the requests, all of the answers."""
    group = (np.arange(100) % 2).astype(np.int16)
    plan = one_each(TIMES_S, groups=(MAIN, OTHERS), session_group=group)
    seen = judged_by(plan, run_of(plan, 0.125))
    assert seen.background
    assert (seen.planned, len(seen.starts_planned_s)) == (40, 40)
    assert seen.backlog_growth == 8
    assert seen.completed_per_s == pytest.approx(8)
    assert seen.account.planned == 100
    assert not judged_by(one_each(TIMES_S), run_of(one_each(TIMES_S))).background


def test_arrivals_are_those_of_the_first_measured_group() -> None:
    """Two groups' arrivals together are not the process of either."""
    second = Group("second", True, ClientKind())
    group = (np.arange(100) % 4 == 0).astype(np.int16)
    plan = one_each(TIMES_S, groups=(MAIN, second), session_group=group)
    seen = judged_by(plan, run_of(plan))
    assert (seen.planned, len(seen.starts_planned_s)) == (80, 60)


@pytest.mark.parametrize(
    ("outcome", "timed_out", "dropped", "bound"),
    [
        (Outcome.TIMEOUT, 1, 0, True),
        (Outcome.CONNECT_TIMEOUT, 1, 0, True),
        (Outcome.NOT_SENT, 0, 1, True),
        (Outcome.CONNECT_REFUSED, 0, 0, False),
        (Outcome.ABANDONED, 0, 0, True),
    ],
)
def test_outcomes_go_where_they_belong(
    outcome: Outcome, timed_out: int, dropped: int, bound: bool
) -> None:
    """One request of the window ended so: what nobody waited for to the end is a lower bound."""
    plan = one_each(TIMES_S)
    records = changed(run_of(plan), error=(50, outcome))
    seen = judged_by(plan, records)
    assert (seen.answered, seen.timed_out, seen.dropped) == (79, timed_out, dropped)
    assert len(seen.response_s) == (80 if bound else 79)
    assert math.isfinite(seen.censored_from_s) == bound


def test_a_run_cut_short_has_a_shorter_window() -> None:
    """Stopped at 6 s: nothing after that counts."""
    plan = one_each(TIMES_S)
    records = dataclasses.replace(run_of(plan), complete=False, end_s=6.0)
    seen = judged_by(plan, records)
    assert (seen.end_s, seen.planned) == (6.0, 40)


def test_a_run_that_ended_before_its_window_has_nothing() -> None:
    """No rows, no window; nothing is divided by 0."""
    plan = one_each(TIMES_S)
    whole = run_of(plan)
    none: dict[str, Any] = {name: column[:0] for name, column in whole.columns().items()}
    records = dataclasses.replace(whole, complete=False, end_s=0.0, **none)
    seen = judged_by(plan, records)
    assert (seen.length_s, seen.planned, seen.completed_per_s) == (0.0, 0, 0.0)


def ramped() -> Evidence:
    """Arrivals that become twice as frequent, called Poisson."""
    plan = one_each(10 * np.sqrt(np.linspace(0.01, 0.99, 4000)))
    return judged_by(plan, run_of(plan, 1e-4))


def test_steady_is_what_kind_and_times_say() -> None:
    """Poisson is; mmpp and recordings are not, whatever their times look like; nor is what calls
    itself Poisson and becomes faster all the time."""
    assert made_up(1).steady
    assert made_up(1, kind="constant").steady
    for kind in ("mmpp", "piecewise", "accesslog", "har", "unheard of"):
        plan = one_each(arrivals_s("poisson", 500, 1), kind)
        records = served(plan, begun_s(plan.planned_us / 1e6, 1), np.full(plan.requests, 1e-4))
        assert not judged_by(plan, records).steady
    assert not ramped().steady


def test_a_closed_workload_is_told_by_its_measured_sessions() -> None:
    """Users who cycle make it closed, unless they are not measured."""
    user: list[Ask] = [(0.01, 0.02, 10)]
    plan = plan_of([user] * 3, 1.0, cycle=True, wait_us=5000)
    seen = gather(run_sim(plan, "answers", 5.0), plan, 0.2, 1.0, 5.0, Facts("sim"))
    assert seen.closed
    assert seen.fairness.jain == pytest.approx(1, abs=0.01)
    assert seen.planned == seen.taken == len(seen.response_s) > 50
    assert not made_up(1).closed
