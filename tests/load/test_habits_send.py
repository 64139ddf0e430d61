"""Clients that send slowly, fall silent, leave or stay: what the server sees, and when, in both
worlds.

Times that the client promises are exact below; above they may be as late as the machine is busy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mpmlab.load.recorder import Outcome
from mpmlab.load.way import ROUNDING_S
from mpmlab.workload.clients import ClientKind
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import Ask, plan_of
from tests.load.watched_worlds import Manner, Played, play, slack_s

pytestmark = pytest.mark.parametrize("world", ["sim", "real"])


def one(client: ClientKind, duration_s: float = 1.0, request_bytes: int = 0) -> Plan:
    """One session of one request at 0."""
    asks: list[Ask] = [(0.0, 0.0, 1)]
    return plan_of([asks], duration_s, request_bytes=request_bytes, client=client)


def two(client: ClientKind, request_bytes: int = 0, wait_us: int = 0) -> Plan:
    """One session, whose second request follows the first at once."""
    asks: list[Ask] = [(0.0, 0.0, 1), (None, 0.0, 1)]
    return plan_of([asks], 1.0, request_bytes=request_bytes, wait_us=wait_us, client=client)


def outcomes(played: Played) -> list[Outcome]:
    return [Outcome(code) for code in played.records.error]


# ---- header dribble ------------------------------------------------------------------------------


def test_a_dribbled_request_comes_in_pieces_at_their_times(world: str) -> None:
    """send_bytes, send_interval_s: the first piece at once, each further one an interval later and
    never before; all of the request comes, and the answer after the last piece."""
    kind = ClientKind(send_bytes=80, send_interval_s=0.05)
    played = play(world, one(kind, request_bytes=300))
    records, data = played.records, played.seen("data")
    assert outcomes(played) == [Outcome.OK]
    size = sum(note.size for note in data)
    pieces = -(-size // 80)
    assert pieces >= 5
    sent_s, total = records.sent_s[0], 0
    assert data[0].at_s - sent_s < slack_s(world)
    for note in data:
        total += note.size
        allowed = 80 * (1 + int((note.at_s - sent_s + ROUNDING_S) / 0.05))
        assert total <= allowed, data
    took_s = records.ended_s[0] - sent_s
    assert 0.05 * (pieces - 1) - ROUNDING_S <= took_s < 0.05 * (pieces - 1) + slack_s(world)
    if world == "sim":
        assert [note.size for note in data[:-1]] == [80] * (pieces - 1)
        times = [note.at_s - sent_s for note in data]
        assert times == pytest.approx([0.05 * i for i in range(pieces)], abs=1e-4)


def test_an_early_answer_ends_a_dribble(world: str) -> None:
    """A server that has waited long enough says 408: heard between two pieces, recorded as the
    answer that it is, and no further piece is sent."""
    kind = ClientKind(send_bytes=10, send_interval_s=0.3)
    played = play(world, one(kind, duration_s=2.0), Manner(patience_s=0.1))
    records = played.records
    assert outcomes(played) == [Outcome.HTTP_ERROR]
    assert records.status.tolist() == [408]
    assert 0.1 <= records.ended_s[0] < 0.3
    assert records.first_byte_s[0] <= records.last_byte_s[0] == records.ended_s[0]
    assert [note.size for note in played.seen("data")] == [10]


def test_a_connection_with_half_a_request_on_it_is_not_used_again(world: str) -> None:
    """An answer to a request that is not complete, which offers to keep the connection: it counts,
    but the next request takes a new connection. The rest of the first is never sent."""
    kind = ClientKind(send_bytes=50, send_interval_s=0.1)
    played = play(world, two(kind, request_bytes=200), Manner(early_bytes=50))
    records = played.records
    assert outcomes(played) == [Outcome.OK] * 2
    assert records.connection.tolist() == [1, 2]
    assert not records.retried.any()
    assert [note.size for note in played.seen("data", 1)] == [50]
    assert len(played.seen("end", 1)) == 1


def test_a_dribble_ends_with_the_requests_timeout(world: str) -> None:
    """Pieces that would take longer than the timeout: given up at the timeout, not later."""
    kind = ClientKind(send_bytes=10, send_interval_s=0.08)
    played = play(world, one(kind), timeout_s=0.2)
    assert outcomes(played) == [Outcome.TIMEOUT]
    assert 0.2 - ROUNDING_S <= played.records.ended_s[0] < 0.2 + slack_s(world)
    assert sum(note.size for note in played.seen("data")) == 30


def test_a_dribble_on_a_connection_that_went_stale_begins_anew(world: str) -> None:
    """A kept connection that the server has closed: the dribble starts again on a new one."""
    asks: list[Ask] = [(0.0, 0.0, 1), (None, 0.4, 1)]
    kind = ClientKind(send_bytes=100, send_interval_s=0.01)
    played = play(world, plan_of([asks], 1.0, client=kind), Manner(patience_s=0.1))
    assert outcomes(played) == [Outcome.OK] * 2
    assert played.records.retried.tolist() == [0, 1]
    first, second = (sum(note.size for note in played.seen("data", n)) for n in (1, 2))
    assert first == second


# ---- stalls --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [0, 30])
def test_a_stalled_client_leaves_when_its_silence_is_over(world: str, sent: int) -> None:
    """stall_after_bytes, stall_s: so many bytes (none at all with 0), then nothing; at the end of
    the stall the client closes, which is no error of the server: ABANDONED."""
    kind = ClientKind(stall_after_bytes=sent, stall_s=0.2)
    played = play(world, one(kind))
    records = played.records
    assert outcomes(played) == [Outcome.ABANDONED]
    assert 0.2 - ROUNDING_S <= records.ended_s[0] - records.sent_s[0] < 0.2 + slack_s(world)
    assert sum(note.size for note in played.seen("data")) == sent
    assert 0.2 - ROUNDING_S <= played.seen("end")[0].at_s < 0.2 + slack_s(world)
    assert records.connection.tolist() == [1]


@pytest.mark.parametrize(
    ("sent", "outcome", "status"),
    [(0, Outcome.CLOSED_EARLY, 0), (30, Outcome.HTTP_ERROR, 408)],
)
def test_a_server_that_loses_patience_ends_a_stall(
    world: str, sent: int, outcome: Outcome, status: int
) -> None:
    """The server closes (with 0 bytes) or answers 408 and closes (with half a request) before the
    stall is over: recorded as what it is, then and not at the end of the stall."""
    kind = ClientKind(stall_after_bytes=sent, stall_s=0.8)
    played = play(world, one(kind), Manner(patience_s=0.1))
    records = played.records
    assert outcomes(played) == [outcome]
    assert records.status.tolist() == [status]
    assert 0.1 - ROUNDING_S <= records.ended_s[0] < 0.8
    assert not records.retried.any()


def test_a_stall_on_a_kept_connection_is_not_sent_again(world: str) -> None:
    """A short request is not stalled, a longer one is; that the server closes the connection
    then is its answer to the stall, not a connection gone stale."""
    kind = ClientKind(stall_after_bytes=200, stall_s=0.8)
    plan = two(kind)
    plan = dataclasses.replace(plan, request_bytes=np.array([0, 500]))
    for curt, outcome in ((False, Outcome.HTTP_ERROR), (True, Outcome.CLOSED_EARLY)):
        played = play(world, plan, Manner(patience_s=0.1, curt=curt))
        assert outcomes(played) == [Outcome.OK, outcome]
        assert played.records.connection.tolist() == [1, 1]
        assert not played.records.retried.any()
        assert len(played.seen("open")) == 1


def test_a_stall_ends_with_the_requests_timeout(world: str) -> None:
    """The client's patience with a request is its timeout, stalling or not."""
    kind = ClientKind(stall_after_bytes=0, stall_s=0.8)
    played = play(world, one(kind), timeout_s=0.2)
    assert outcomes(played) == [Outcome.TIMEOUT]
    assert 0.2 - ROUNDING_S <= played.records.ended_s[0] < 0.2 + slack_s(world)


# ---- leaving and staying -------------------------------------------------------------------------


def test_an_impatient_client_closes_and_takes_a_new_connection(world: str) -> None:
    """abandon_s: no answer in time, so the connection is closed then, the request is ABANDONED,
    and the session's next request is made on a new one."""
    played = play(world, two(ClientKind(abandon_s=0.15)), Manner(mute=True))
    records = played.records
    assert outcomes(played) == [Outcome.ABANDONED] * 2
    took_s = records.ended_s - records.sent_s
    assert np.all((took_s >= 0.15 - ROUNDING_S) & (took_s < 0.15 + slack_s(world)))
    assert records.connection.tolist() == [1, 2]
    assert not records.retried.any()
    assert 0.15 - ROUNDING_S <= played.seen("end", 1)[0].at_s < 0.15 + slack_s(world)


def test_an_impatient_client_takes_what_comes_in_time(world: str) -> None:
    """An answer before abandon_s is over is an answer, on a connection that is kept."""
    played = play(world, two(ClientKind(abandon_s=0.8), wait_us=20_000))
    assert outcomes(played) == [Outcome.OK] * 2
    assert played.records.connection.tolist() == [1, 1]


def test_patience_ends_with_the_timeout_at_the_latest(world: str) -> None:
    """A request's timeout before abandon_s: TIMEOUT, the server's fault."""
    played = play(world, one(ClientKind(abandon_s=0.8)), Manner(mute=True), timeout_s=0.15)
    assert outcomes(played) == [Outcome.TIMEOUT]


def test_an_idle_connection_is_held(world: str) -> None:
    """hold_s: after its last answer the client keeps the connection so long, then closes it. The
    record is not touched by it."""
    played = play(world, one(ClientKind(hold_s=0.2)))
    answered_s = played.records.ended_s[0]
    assert outcomes(played) == [Outcome.OK]
    assert answered_s < slack_s(world)
    assert 0.2 - ROUNDING_S <= played.seen("end")[0].at_s - answered_s < 0.2 + slack_s(world)
    assert played.ended_s >= 0.2


def test_a_hold_ends_when_the_server_closes(world: str) -> None:
    """The server ends its keep-alive: so does the session, and the run."""
    played = play(world, one(ClientKind(hold_s=0.9)), Manner(patience_s=0.1))
    assert outcomes(played) == [Outcome.OK]
    assert len(played.seen("gone")) == 1
    assert 0.1 - ROUNDING_S <= played.ended_s < 0.9


def test_a_hold_does_not_outlast_the_run(world: str) -> None:
    """Nor an age: hold_s is cut at the run's end, and where the connection is too old."""
    played = play(world, one(ClientKind(hold_s=100.0), duration_s=0.25))
    assert 0.25 - ROUNDING_S <= played.ended_s < 0.25 + slack_s(world)
    played = play(world, one(ClientKind(hold_s=100.0, connection_s=0.1)))
    assert 0.1 - slack_s(world) <= played.ended_s < 0.1 + slack_s(world)
