"""Connections and how long they last: shared ones, and limits by number and by age. Both worlds."""

from __future__ import annotations

import numpy as np
import pytest

from mpmlab.load.parts import pool_share, sessions_of
from mpmlab.load.recorder import Outcome, Records
from mpmlab.load.way import ROUNDING_S
from mpmlab.workload.clients import ClientKind
from tests.load.load_worlds import Ask, joined, plan_of
from tests.load.watched_worlds import Manner, play, slack_s

both = pytest.mark.parametrize("world", ["sim", "real"])


def in_plan_order(records: Records) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.argsort(records.index)


def most_at_once(records: Records) -> int:
    """The largest number of requests under way at one time."""
    sent = records.sent_s[np.isfinite(records.sent_s)]
    return max(
        int(np.count_nonzero((records.sent_s <= at) & (records.ended_s > at + ROUNDING_S)))
        for at in sent
    )


@both
def test_a_pool_limits_connections_and_the_wait_is_latency_not_lateness(world: str) -> None:
    """30 sessions in 60 ms, each with 20 ms at the server, over three connections: never more than
    three at once, first come, first served, and on no more than three connections in all; response
    time counts from the planned time, and the client is not late."""
    asks: list[list[Ask]] = [[(0.002 * i, 0.0, 10)] for i in range(30)]
    plan = plan_of(asks, 2.0, wait_us=20_000, client=ClientKind(pool=3))
    played = play(world, plan)
    records, order = played.records, in_plan_order(played.records)
    assert np.all(records.error == Outcome.OK)
    assert len(played.seen("open")) == 3
    assert set(records.connection.tolist()) == {1, 2, 3}
    assert most_at_once(records) == 3
    assert np.array_equal(records.planned_s[order], plan.planned_us / 1e6)
    assert np.all(np.diff(records.sent_s[order]) > -ROUNDING_S)
    # Three at a time: the i-th cannot leave before i // 3 others on its connection are answered.
    soonest = 0.02 * (np.arange(30) // 3)
    assert np.all(records.sent_s[order] >= soonest)
    assert np.all(records.sent_s[order] - soonest < 0.004 + 10 * slack_s(world))
    assert np.median(records.lateness_s) < slack_s(world)
    assert records.ended_s[order][-1] - records.planned_s[order][-1] > 0.2 - 0.06


@both
def test_a_pool_keeps_its_connections_over_sessions(world: str) -> None:
    """Sessions that come one after the other find a free connection at once, and a pool of one
    serves all of them on it."""
    plan = plan_of([[(0.01 * i, 0.0, 10)] for i in range(20)], 1.0, client=ClientKind(pool=1))
    played = play(world, plan)
    assert np.all(played.records.error == Outcome.OK)
    assert played.records.connection.tolist() == [1] * 20
    assert len(played.seen("open")) == 1
    waited = played.records.sent_s - played.records.planned_s
    assert np.median(waited) < slack_s(world)


@both
def test_a_session_has_its_connection_to_itself_while_it_thinks(world: str) -> None:
    """From its first request to its last answer: another session waits for the whole of it."""
    first: list[Ask] = [(0.0, 0.0, 1), (None, 0.1, 1), (None, 0.1, 1)]
    plan = plan_of([first, [(0.01, 0.0, 1)]], 1.0, client=ClientKind(pool=1))
    records = play(world, plan).records
    assert records.session.tolist() == [0, 0, 0, 1]
    assert records.sent_s[3] >= records.ended_s[2] - ROUNDING_S
    assert records.sent_s[3] >= 0.2
    assert records.lateness_s[3] < slack_s(world)
    assert set(records.connection.tolist()) == {1}


@both
def test_a_pool_renews_what_the_server_closed(world: str) -> None:
    """A pooled connection that the server closed while it was idle: the next session's request is
    sent again on a new one, and no error."""
    asks: list[list[Ask]] = [[(0.0, 0.0, 1)], [(0.4, 0.0, 1)], [(0.45, 0.0, 1)]]
    plan = plan_of(asks, 1.0, client=ClientKind(pool=1))
    records = play(world, plan, Manner(patience_s=0.1)).records
    assert np.all(records.error == Outcome.OK)
    assert records.retried.tolist() == [0, 1, 0]
    assert records.connection.tolist() == [1, 2, 2]


@both
def test_a_pooled_connection_is_closed_when_its_age_is_over_though_nobody_comes(
    world: str,
) -> None:
    """connection_s holds for idle connections of a pool as well: closed at that age, not when the
    next session comes; and that session takes a new one, without a second attempt."""
    asks: list[list[Ask]] = [[(0.0, 0.0, 1)], [(0.5, 0.0, 1)]]
    plan = plan_of(asks, 1.0, client=ClientKind(pool=1, connection_s=0.1))
    played = play(world, plan)
    assert played.records.connection.tolist() == [1, 2]
    assert not played.records.retried.any()
    opened, ended = played.seen("open", 1)[0].at_s, played.seen("end", 1)[0].at_s
    assert 0.1 - slack_s(world) <= ended - opened
    assert 0.1 - ROUNDING_S <= ended < 0.1 + slack_s(world)


@both
def test_an_overloaded_pool_accounts_for_all_when_the_run_ends(world: str) -> None:
    """More work than the pool can do within the duration: what never got a connection is NOT_SENT
    with its planned time; nothing is lost."""
    asks: list[list[Ask]] = [[(0.005 * i, 0.0, 1), (None, 0.0, 1)] for i in range(40)]
    plan = plan_of(asks, 0.3, wait_us=30_000, client=ClientKind(pool=2))
    played = play(world, plan)
    records = played.records
    dropped = records.error == Outcome.NOT_SENT
    served = records.error == Outcome.OK
    assert np.all(served | dropped)
    assert np.count_nonzero(dropped) >= 30
    assert len(set(records.session.tolist())) == 40
    assert np.all(records.planned_s[dropped] >= 0.0)
    assert np.all(records.ended_s[dropped] >= 0.3)
    assert np.isnan(records.sent_s[dropped]).all()
    assert len(played.seen("open")) == 2


@both
def test_a_stop_accounts_for_those_who_wait_for_a_connection(world: str) -> None:
    """Stopped by a signal while sessions wait for the pool's only connection: the request under way
    is UNFINISHED, those that waited are NOT_SENT, those not yet due have no row."""
    asks: list[list[Ask]] = [[(at, 0.0, 1)] for at in (*(0.01 * i for i in range(10)), 0.9)]
    plan = plan_of(asks, 1.0, wait_us=200_000, client=ClientKind(pool=1))
    played = play(world, plan, stop_s=0.3)
    assert played.ended_s < 0.3 + slack_s(world)
    order = in_plan_order(played.records)
    kinds = [Outcome(code) for code in played.records.error[order]]
    assert kinds == [Outcome.OK, Outcome.UNFINISHED] + [Outcome.NOT_SENT] * 8


@both
def test_a_connection_is_closed_after_so_many_requests(world: str) -> None:
    """requests_per_connection: the client itself closes after the third answer, and no request is
    sent twice."""
    asks: list[Ask] = [(0.0, 0.0, 1)] + [(None, 0.01, 1)] * 6
    plan = plan_of([asks], 1.0, client=ClientKind(requests_per_connection=3))
    played = play(world, plan)
    assert played.records.connection.tolist() == [1, 1, 1, 2, 2, 2, 3]
    assert not played.records.retried.any()
    assert [len(played.seen("data", n)) for n in (1, 2, 3)] == [3, 3, 1]
    assert played.seen("end", 1)[0].at_s < played.seen("data", 2)[0].at_s


@both
def test_a_connection_too_old_is_closed_while_the_client_thinks(world: str) -> None:
    """connection_s: closed as soon as its age is over, in the middle of a think time; the next
    request takes a new connection, without a second attempt."""
    plan = plan_of([[(0.0, 0.0, 1), (None, 0.4, 1)]], 1.0, client=ClientKind(connection_s=0.15))
    played = play(world, plan)
    assert played.records.connection.tolist() == [1, 2]
    assert not played.records.retried.any()
    assert 0.15 - ROUNDING_S <= played.seen("end", 1)[0].at_s < 0.15 + slack_s(world)


@both
def test_a_connection_is_not_closed_under_a_request(world: str) -> None:
    """connection_s is over while an answer is awaited: the answer is read, then it is closed."""
    plan = plan_of(
        [[(0.0, 0.0, 1), (None, 0.0, 1)]], 1.0, wait_us=200_000,
        client=ClientKind(connection_s=0.05),
    )  # fmt: skip
    played = play(world, plan)
    assert np.all(played.records.error == Outcome.OK)
    assert played.records.connection.tolist() == [1, 2]
    assert played.seen("end", 1)[0].at_s >= 0.2


# ---- one run by several processes ----------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_parts_cover_each_session_once(processes: int) -> None:
    """The sessions of all processes are the plan's, each once; a group whose pool is smaller than
    the number of processes is shared by as many processes as it has connections."""
    plan = joined(
        main=plan_of([[(0.01 * i, 0.0, 1)] for i in range(50)], 1.0),
        small=plan_of([[(0.013 * i, 0.0, 1)] for i in range(40)], 1.0, client=ClientKind(pool=2)),
        large=plan_of([[(0.017 * i, 0.0, 1)] for i in range(30)], 1.0, client=ClientKind(pool=10)),
    )
    parts = [sessions_of(plan, (i, processes)) for i in range(processes)]
    assert sorted(number for part in parts for number in part) == list(range(plan.sessions))
    assert all(part == sorted(part) for part in parts)
    for size in (1, 2, 3, 10):
        shares = [pool_share(size, (i, processes)) for i in range(processes)]
        assert sum(shares) == size
        assert max(shares) - min(shares) <= 1
    for i, part in enumerate(parts):
        pooled = [n for n in part if plan.groups[plan.session_group[n]].name == "small"]
        assert not pooled or pool_share(2, (i, processes)) > 0
