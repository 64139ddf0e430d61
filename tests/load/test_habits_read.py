"""Clients that read slowly, with small buffers, and what that does to a server that sends. Both
worlds."""

from __future__ import annotations

import numpy as np
import pytest

from mpmlab.load.recorder import Outcome
from mpmlab.load.way import ROUNDING_S
from mpmlab.workload.clients import ClientKind
from tests.load.load_worlds import plan_of
from tests.load.watched_worlds import Manner, play, slack_s

pytestmark = pytest.mark.parametrize("world", ["sim", "real"])

#: Both small: what a server can leave behind in them is some ten thousand bytes.
SMALL_BYTES = 4096
#: More than they take, on either system.
HIDDEN_BYTES = 60_000


@pytest.mark.parametrize("rate", [20_000, 200_000])
def test_an_answer_is_read_no_faster_than_the_rate(world: str, rate: int) -> None:
    """read_bytes_per_s: N bytes take N / rate, head included, from the first to the last; the first
    byte is there at once. Nothing is lost by reading in portions."""
    size = rate * 3 // 10
    plan = plan_of([[(0.0, 0.0, size)]], 1.0, client=ClientKind(read_bytes_per_s=rate))
    played = play(world, plan)
    records, sent = played.records, played.seen("sent")[0].size
    assert records.error.tolist() == [Outcome.OK]
    assert records.body_bytes.tolist() == [size]
    took_s = records.ended_s[0] - records.sent_s[0]
    assert sent / rate - ROUNDING_S <= took_s < sent / rate + slack_s(world)
    assert records.first_byte_s[0] - records.sent_s[0] < slack_s(world)


def test_the_rate_holds_for_each_answer_of_a_connection(world: str) -> None:
    """Small answers, one after the other on one connection, take their time each."""
    asks = [(0.0, 0.0, 500)] + [(None, 0.0, 500)] * 3
    plan = plan_of([asks], 1.0, client=ClientKind(read_bytes_per_s=10_000))
    played = play(world, plan)
    size = played.seen("sent")[0].size
    took_s = played.records.ended_s - played.records.sent_s
    assert len(took_s) == 4
    assert np.all(took_s >= size / 10_000 - ROUNDING_S)
    assert np.median(took_s) < size / 10_000 + slack_s(world)
    assert played.records.connection.tolist() == [1] * 4


def test_a_slow_reader_with_small_buffers_holds_the_server(world: str) -> None:
    """The server's send lasts as long as the client reads, but for what small buffers take; the
    same client with the system's buffers lets the server go at once."""
    size, rate = 300_000, 1_000_000.0
    slow = ClientKind(read_bytes_per_s=rate, receive_buffer_bytes=SMALL_BYTES)
    asks = [[(0.0, 0.0, size)]]
    held = play(world, plan_of(asks, 2.0, client=slow), Manner(send_buffer_bytes=SMALL_BYTES))
    assert held.records.error.tolist() == [Outcome.OK]
    assert held.records.body_bytes.tolist() == [size]
    held_s = held.seen("sent")[0].at_s - held.seen("data")[0].at_s
    assert held_s >= (size - HIDDEN_BYTES) / rate - slack_s("sim")
    assert held.records.ended_s[0] - held.records.sent_s[0] >= size / rate
    free = play(world, plan_of(asks, 2.0, client=ClientKind(read_bytes_per_s=rate)))
    free_s = free.seen("sent")[0].at_s - free.seen("data")[0].at_s
    assert free_s < held_s / 2
    assert free.records.ended_s[0] - free.records.sent_s[0] >= size / rate


def test_a_small_receive_buffer_alone_changes_no_outcome(world: str) -> None:
    """receive_buffer_bytes without a rate: everything arrives, as fast as it comes."""
    kind = ClientKind(receive_buffer_bytes=SMALL_BYTES)
    plan = plan_of([[(0.0, 0.0, 50_000), (None, 0.0, 100)]], 5.0, client=kind)
    records = play(world, plan, Manner(send_buffer_bytes=SMALL_BYTES)).records
    assert records.error.tolist() == [Outcome.OK] * 2
    assert records.body_bytes.tolist() == [50_000, 100]
    assert records.connection.tolist() == [1, 1]


def test_a_slow_reader_gives_up_at_its_timeout(world: str) -> None:
    """An answer that cannot be read in time: TIMEOUT at the timeout, with the first byte noted."""
    plan = plan_of([[(0.0, 0.0, 100_000)]], 1.0, client=ClientKind(read_bytes_per_s=100_000.0))
    records = play(world, plan, timeout_s=0.25).records
    assert records.error.tolist() == [Outcome.TIMEOUT]
    assert np.isfinite(records.first_byte_s).all()
    assert 0.25 - ROUNDING_S <= records.ended_s[0] < 0.25 + slack_s(world)


def test_a_slow_reader_leaves_in_the_middle(world: str) -> None:
    """abandon_s and a rate: it leaves with part of the answer read."""
    kind = ClientKind(read_bytes_per_s=100_000.0, abandon_s=0.2)
    records = play(world, plan_of([[(0.0, 0.0, 100_000)]], 1.0, client=kind)).records
    assert records.error.tolist() == [Outcome.ABANDONED]
    assert records.status.tolist() == [0]
    assert np.isfinite(records.first_byte_s).all()
    assert np.isnan(records.last_byte_s).all()
    assert 0.2 - ROUNDING_S <= records.ended_s[0] - records.sent_s[0] < 0.2 + slack_s(world)
