"""Starved clients and Jain's index, over made-up users of which it is known who got what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mpmlab.bench.stats_fairness import Fairness, fairness, jain
from mpmlab.load.recorder import Outcome, Recorder, Records
from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import plan_of

#: When a user's requests were planned and when they ended; without an answer if negative.
Requests = Sequence[tuple[float, float]]


def closed_plan(users: int, unmeasured: int = 0) -> Plan:
    """Users with one request that they repeat over 10 s; the last ones are not measured."""
    plan = plan_of([[(0.0, 0.0, 10)]] * users, 10.0, cycle=True)
    columns = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    group = np.zeros(users, dtype=np.int16)
    group[users - unmeasured :] = 1
    groups = (Group("main", True, ClientKind()), Group("others", False, ClientKind()))
    return Plan(**{**columns, "groups": groups, "session_group": group})


def records_of(users: Sequence[Requests]) -> Records:
    """One row for each request."""
    nan = float("nan")
    recorder = Recorder()
    for number, requests in enumerate(users):
        for cycle, (planned_s, ended_s) in enumerate(requests):
            good, end_s = ended_s > 0, abs(ended_s)
            recorder.add(
                *(number, cycle, number, planned_s, 0.0, planned_s),
                *((end_s, end_s) if good else (nan, nan)),
                *(end_s, 200 if good else 0, 10, number + 1),
                *(int(Outcome.OK if good else Outcome.TIMEOUT), 0),
            )
    recorder.finish(True, 10.0)
    return recorder.records()


def found(users: Sequence[Requests], unmeasured: int = 0) -> Fairness:
    """Of the window from 2 to 10 s."""
    return fairness(records_of(users), closed_plan(len(users), unmeasured), 2.0, 10.0)


SERVED = [(2.0 + i, 2.5 + i) for i in range(6)]


def test_a_user_that_got_nothing_is_starved() -> None:
    """Waiting since 1 s for an answer that never comes, while two others get six each."""
    seen = found([SERVED, SERVED, [(1.0, -12.0)]])
    assert (seen.clients, seen.starved, seen.answers) == (3, 1, 12)
    assert seen.longest_wait_s == pytest.approx(11)
    assert seen.jain == pytest.approx(12**2 / (3 * 72))


def test_time_out_after_time_out_is_starved_too() -> None:
    """Many short waits in vain are one long one."""
    assert found([SERVED, [(2.0 + i, -2.9 - i) for i in range(7)]]).starved == 1


def test_an_answer_in_the_end_is_late_but_not_starved() -> None:
    """One answer at 9 s is one; the longest wait tells the rest. One at 11 s came too late."""
    seen = found([SERVED, [(1.0, 9.0)]])
    assert seen.starved == 0
    assert seen.longest_wait_s == pytest.approx(8)
    assert found([SERVED, [(1.0, 11.0)]]).starved == 1


def test_who_only_just_began_to_wait_is_not_starved() -> None:
    """0.3 s of a window of 8 are less than a tenth; 2 s are more."""
    assert found([SERVED, [(9.7, -12.0)]]).starved == 0
    assert found([SERVED, [(8.0, -12.0)]]).starved == 1


def test_what_lies_outside_the_window_does_not_count() -> None:
    """A user who was done before it, and answers that came before it."""
    seen = found([SERVED, [(0.1, 1.0)]])
    assert (seen.clients, seen.starved, seen.answers) == (1, 0, 6)
    assert found([SERVED, [(0.1, 1.0), (1.0, -12.0)]]).starved == 1


def test_clients_that_are_not_measured_do_not_count() -> None:
    """A staller that never gets an answer wanted none."""
    seen = found([SERVED, [(1.0, -12.0)]], unmeasured=1)
    assert (seen.clients, seen.starved, seen.jain) == (1, 0, 1.0)


def test_nobody_waits_in_an_empty_run() -> None:
    """No rows: no clients, no index, nothing divided by 0."""
    assert found([[]]) == Fairness(0, 0, 0, 0.0, None)


@pytest.mark.parametrize(
    ("shares", "index"), [([5, 5, 5], 1.0), ([9, 0, 0], 1 / 3), ([1, 2, 3], 36 / 42), ([0], None)]
)
def test_jains_index(shares: list[int], index: float | None) -> None:
    """1 if all got the same, 1/n if one got all, none if nobody got anything."""
    assert jain(np.array(shares)) == (None if index is None else pytest.approx(index))
