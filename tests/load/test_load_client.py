"""The clients' text, in both worlds against the same server: what is sent, when, and what is
recorded of it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from mpmlab.load.recorder import RECONNECT_PAUSE_US, Outcome, Records
from mpmlab.load.way import ROUNDING_S
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import Ask, plan_of, run

pytestmark = pytest.mark.parametrize("world", ["sim", "real"])

#: How late a real client may be on a busy machine; what is told apart is ten times as long.
SLACK_S = 0.05


def outcomes(records: Records) -> dict[Outcome, int]:
    return {Outcome(code): n for code, n in sorted(Counter(records.error.tolist()).items())}


def single(size: int = 100, think_s: float = 0.0) -> list[list[Ask]]:
    """One session of one request at 0."""
    return [[(0.0, think_s, size)]]


def assert_ordered(records: Records) -> None:
    """Stamps of good answers come in the order in which things happen."""
    good = records.error == Outcome.OK
    stamps = [records.planned_s, records.sent_s, records.first_byte_s, records.last_byte_s]
    for earlier, later in pairwise(stamps):
        assert np.all(later[good] - earlier[good] > -ROUNDING_S)
    assert np.array_equal(records.last_byte_s[good], records.ended_s[good])


def test_an_open_plan_sends_each_request_once_and_in_time(world: str) -> None:
    """Absolute times: each request is sent once, never before its time, on a connection of its
    own, and answered with the bytes that it asked for."""
    plan = plan_of([[(0.002 * i, 0.0, 10 * i)] for i in range(100)], 0.3, reuse=False)
    records = run(world, plan)
    assert outcomes(records) == {Outcome.OK: 100}
    assert records.complete
    assert records.end_s == 0.3
    by_index = np.argsort(records.index)
    assert np.array_equal(records.index[by_index], np.arange(100))
    assert np.array_equal(records.body_bytes[by_index], plan.response_bytes)
    assert np.allclose(records.planned_s[by_index], plan.planned_us / 1e6)
    assert len(set(records.connection.tolist())) == 100
    assert np.all(records.status == 200)
    assert np.all((records.lateness_s >= 0) & (records.lateness_s < 10 * SLACK_S))
    assert np.median(records.lateness_s) < SLACK_S
    assert_ordered(records)


def test_a_session_thinks_after_each_response_on_one_connection(world: str) -> None:
    """Times relative to a response: think_us after the previous one ended, on one kept-alive
    connection."""
    plan = plan_of([[(0.0, 0.0, 10), (None, 0.05, 20), (None, 0.03, 30)]], 1.0)
    records = run(world, plan)
    assert outcomes(records) == {Outcome.OK: 3}
    assert records.connection.tolist() == [1, 1, 1]
    gaps = records.planned_s[1:] - records.ended_s[:-1]
    assert gaps == pytest.approx([0.05, 0.03])
    assert np.all(records.sent_s[1:] - records.ended_s[:-1] >= [0.05, 0.03])
    assert_ordered(records)


def test_a_session_without_reuse_takes_a_new_connection_each_time(world: str) -> None:
    """reuse=False: every request has its own connection."""
    records = run(world, plan_of([[(0.0, 0.0, 1)] + [(None, 0.0, 1)] * 4], 1.0, reuse=False))
    assert outcomes(records) == {Outcome.OK: 5}
    assert records.connection.tolist() == [1, 2, 3, 4, 5]


def test_an_announced_close_is_heeded(world: str) -> None:
    """A server that says close gets the next request on a new connection, and no retry."""
    records = run(world, plan_of([[(0.0, 0.0, 1), (None, 0.0, 1)]], 1.0), "says close")
    assert outcomes(records) == {Outcome.OK: 2}
    assert records.connection.tolist() == [1, 2]
    assert not records.retried.any()


def test_latency_counts_from_the_planned_time_though_the_session_was_busy(world: str) -> None:
    """A planned time that passes while the previous response is awaited: sent at once when that
    ends, planned as planned, and the wait is not held against the client."""
    plan = plan_of([[(0.0, 0.0, 1), (0.01, 0.0, 1)]], 1.0, wait_us=200_000)
    records = run(world, plan)
    assert outcomes(records) == {Outcome.OK: 2}
    assert records.planned_s[1] == pytest.approx(0.01)
    assert records.sent_s[1] >= records.ended_s[0] >= 0.2
    assert records.sent_s[1] - records.ended_s[0] < SLACK_S
    assert records.lateness_s[1] < SLACK_S


def test_a_cycle_goes_round_until_the_duration(world: str) -> None:
    """Closed plans repeat each session's list, think times included, and start nothing once the
    duration is over."""
    sessions: list[list[Ask]] = [[(0.0, 0.02, 1), (None, 0.01, 2)], [(0.05, 0.03, 3)]]
    records = run(world, plan_of(sessions, 0.4, cycle=True))
    assert set(outcomes(records)) == {Outcome.OK}
    assert records.cycle.max() >= 4
    first = records.session == 0
    assert records.index[first].tolist()[:4] == [0, 1, 0, 1]
    assert records.cycle[first].tolist()[:4] == [0, 0, 1, 1]
    gaps = records.planned_s[first][1:] - records.ended_s[first][:-1]
    assert gaps == pytest.approx(np.where(records.index[first][1:] == 0, 0.02, 0.01))
    assert records.planned_s.max() < 0.4
    assert records.end_s == 0.4


def test_what_was_due_but_could_not_be_sent_is_recorded(world: str) -> None:
    """Requests whose turn does not come before the duration is over are NOT_SENT, those that were
    not due are not recorded: scheduled = sent + not sent."""
    asks: list[Ask] = [
        (0.0, 0.0, 1),
        (0.01, 0.0, 1),
        (None, 0.0, 1),
        (0.02, 0.0, 1),
        (None, 0.0, 1),
    ]
    records = run(world, plan_of([asks], 0.1, wait_us=150_000))
    assert records.error.tolist() == [Outcome.OK] + [Outcome.NOT_SENT] * 3
    assert records.index.tolist() == [0, 1, 2, 3]
    assert np.isnan(records.sent_s[1:]).all()
    assert records.planned_s[[1, 3]] == pytest.approx([0.01, 0.02])
    assert np.isnan(records.planned_s[2])
    assert np.all(records.ended_s[1:] >= 0.1)
    assert records.complete


def test_a_connection_closed_while_idle_costs_one_retry(world: str) -> None:
    """A reused connection that the server had closed: sent once more on a new one, recorded as
    retried, and no error."""
    records = run(world, plan_of([[(0.0, 0.0, 1), (None, 0.3, 1)]], 2.0), "closes idle")
    assert outcomes(records) == {Outcome.OK: 2}
    assert records.retried.tolist() == [0, 1]
    assert records.connection.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("hangs up", Outcome.CLOSED_EARLY),
        ("half", Outcome.CLOSED_EARLY),
        ("resets", Outcome.RESET),
        ("garbage", Outcome.BAD_RESPONSE),
        ("refuses", Outcome.CONNECT_REFUSED),
        ("unavailable", Outcome.HTTP_ERROR),
        ("mute", Outcome.TIMEOUT),
    ],
)
def test_each_failure_has_its_kind_and_the_session_goes_on(
    world: str, behaviour: str, outcome: Outcome
) -> None:
    """Every way to fail is told from the others; on a fresh connection nothing is retried; the
    session's next request is made all the same."""
    plan = plan_of([[(0.0, 0.0, 400), (None, 0.02, 400)]], 2.0)
    records = run(world, plan, behaviour, timeout_s=0.2)
    assert outcomes(records) == {outcome: 2}
    assert not records.retried.any()
    assert np.isfinite(records.ended_s).all()
    answered = outcome is Outcome.HTTP_ERROR
    assert records.status.tolist() == ([503, 503] if answered else [0, 0])
    assert np.isfinite(records.last_byte_s).all() == answered
    expected = {"refuses": [0, 0], "unavailable": [1, 1]}.get(behaviour, [1, 2])
    assert records.connection.tolist() == expected
    has_first_byte = behaviour in ("half", "garbage", "unavailable")
    assert np.isfinite(records.first_byte_s).all() == has_first_byte


def test_a_timeout_ends_when_it_should(world: str) -> None:
    """A request is given up after the timeout, counted from its turn."""
    records = run(world, plan_of(single(), 1.0), "mute", timeout_s=0.2)
    assert outcomes(records) == {Outcome.TIMEOUT: 1}
    assert 0.2 - 1e-6 <= records.ended_s[0] < 0.2 + 4 * SLACK_S


def test_a_timeout_may_come_after_the_duration(world: str) -> None:
    """The run waits for its last requests, as long as they may take."""
    records = run(world, plan_of(single(), 0.05), "mute", timeout_s=0.2)
    assert outcomes(records) == {Outcome.TIMEOUT: 1}
    assert records.complete


def test_a_refused_closed_client_pauses(world: str) -> None:
    """A thinkless closed client on a dead port retries at a bounded rate, not at the speed of its
    own processor."""
    records = run(world, plan_of(single(), 0.2, cycle=True), "refuses")
    assert set(outcomes(records)) == {Outcome.CONNECT_REFUSED}
    assert 2 <= len(records) <= 1 + 0.2 / (RECONNECT_PAUSE_US / 1e6)


def test_large_bodies_travel_both_ways(world: str) -> None:
    """Bodies beyond every buffer: all is sent, all is counted."""
    plan = plan_of([[(0.0, 0.0, 9_000_000)]], 2.0, request_bytes=9_000_000)
    records = run(world, plan, timeout_s=20.0)
    assert outcomes(records) == {Outcome.OK: 1}
    assert records.body_bytes.tolist() == [9_000_000]
    assert records.first_byte_s[0] < records.last_byte_s[0]


def many_kinds() -> Plan:
    """Sessions of all sorts, sizes from nothing to beyond a buffer."""
    rng = np.random.default_rng(7)
    sessions: list[list[Ask]] = []
    for i in range(40):
        start = 0.004 * i
        asks: list[Ask] = [(start, 0.0, int(rng.integers(0, 200_000)))]
        for j in range(int(rng.integers(0, 4))):
            at = None if j % 2 else start + 0.01 * (j + 1)
            asks.append((at, 0.002, int(rng.integers(0, 3000))))
        sessions.append(asks)
    return plan_of(sessions, 0.5, request_bytes=50)


def test_both_worlds_record_the_same_requests(world: str) -> None:
    """One plan gives the same multiset of (request, status, bytes) in both worlds: that of the
    plan."""
    plan = many_kinds()
    seen = run(world, plan, timeout_s=20.0)
    rows = Counter(zip(seen.index.tolist(), seen.status.tolist(), seen.body_bytes.tolist(),
                       strict=True))  # fmt: skip
    assert rows == Counter((i, 200, size) for i, size in enumerate(plan.response_bytes.tolist()))
