"""What can happen to a request on a connection that has served one: on the client's shortest way
and on that of clients with habits, in both worlds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mpmlab.load.recorder import Outcome
from mpmlab.load.way import DIRECT_BYTES, ROUNDING_S
from mpmlab.workload.clients import ClientKind
from tests.load.load_worlds import Ask, plan_of
from tests.load.watched_worlds import PAUSE_S, SECOND, Manner, Played, play, slack_s

both = pytest.mark.parametrize("world", ["sim", "real"])
#: A client without habits, and one whose only habit changes nothing here.
either = pytest.mark.parametrize("kind", [ClientKind(), ClientKind(abandon_s=60.0)])
#: The second request's turn.
TURN_S = 0.05


def second(world: str, kind: ClientKind, manner: str, body_bytes: int = 0) -> Played:
    """Two requests, of which the server treats the second so. The first must be good."""
    assert manner in SECOND
    asks: list[Ask] = [(0.0, 0.0, 300), (TURN_S, 0.0, 300)]
    plan = plan_of([asks], 1.0, client=kind)
    plan = dataclasses.replace(plan, request_bytes=np.array([0, body_bytes]))
    played = play(world, plan, Manner(second=manner), timeout_s=0.4)
    assert played.records.error[0] == Outcome.OK
    assert played.records.connection[0] == 1
    return played


@both
@either
def test_an_answer_in_pieces(world: str, kind: ClientKind) -> None:
    """First and last byte are told apart."""
    records = second(world, kind, "pieces").records
    assert records.error[1] == Outcome.OK
    assert records.body_bytes[1] == 300
    assert records.connection[1] == 1
    assert records.first_byte_s[1] < TURN_S + slack_s(world)
    assert records.last_byte_s[1] - records.first_byte_s[1] > PAUSE_S / 2
    assert records.last_byte_s[1] >= TURN_S + PAUSE_S


@both
@either
@pytest.mark.parametrize(
    ("manner", "outcome"), [("garbage", Outcome.BAD_RESPONSE), ("half", Outcome.CLOSED_EARLY)]
)
def test_a_bad_answer_is_not_asked_for_again(
    world: str, kind: ClientKind, manner: str, outcome: Outcome
) -> None:
    """Bytes have come: the connection was not stale. The first byte is noted, the last is not."""
    records = second(world, kind, manner).records
    assert records.error[1] == outcome
    assert not records.retried.any()
    assert records.connection[1] == 1
    assert np.isfinite(records.first_byte_s[1])
    assert np.isnan(records.last_byte_s[1])


@both
@either
def test_a_close_without_a_byte_is_a_stale_connection(world: str, kind: ClientKind) -> None:
    """Sent again on a new connection, where it is the first."""
    records = second(world, kind, "closes").records
    assert records.error[1] == Outcome.OK
    assert records.retried.tolist() == [0, 1]
    assert records.connection.tolist() == [1, 2]


@both
@either
def test_a_timeout_on_a_kept_connection(world: str, kind: ClientKind) -> None:
    """Counted from the request's turn."""
    records = second(world, kind, "mute").records
    assert records.error[1] == Outcome.TIMEOUT
    assert 0.4 - ROUNDING_S <= records.ended_s[1] - TURN_S < 0.4 + slack_s(world)


@both
@either
def test_sending_and_waiting_share_one_timeout(world: str, kind: ClientKind) -> None:
    """A body that the server is slow to take, and then no answer: given up after one timeout, not
    after one for the sending and one for the answer."""
    body_bytes = 12_000_000
    assert body_bytes > DIRECT_BYTES
    records = second(world, kind, "late", body_bytes).records
    assert records.error[1] == Outcome.TIMEOUT
    assert 0.4 - ROUNDING_S <= records.ended_s[1] - TURN_S < 0.4 + min(0.18, slack_s(world))
