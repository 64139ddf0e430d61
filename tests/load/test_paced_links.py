"""A client's round trip and rates: on the simulated link, paced by the client in simulation, and
paced on this machine. The three agree within what load/exchange.py states."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mpmlab.load.recorder import Outcome
from mpmlab.load.way import ROUNDING_S
from mpmlab.workload.clients import ClientKind
from tests.load.load_worlds import Ask, plan_of
from tests.load.watched_worlds import STEPS_S, Manner, Played, play, slack_s

RTT_S = 0.08
PLAYERS: dict[str, Callable[..., Played]] = {
    "link": lambda *args, **options: play("sim", *args, **options),
    "paced": lambda *args, **options: play("sim", *args, paced=True, **options),
    "real": lambda *args, **options: play("real", *args, paced=True, **options),
}
ways = pytest.mark.parametrize("way", list(PLAYERS))

#: One request on a new connection, two more on the same.
THREE: list[Ask] = [(0.0, 0.0, 10), (None, 0.05, 10), (None, 0.05, 10)]


def late_s(way: str) -> float:
    """How late it may be."""
    return slack_s("real" if way == "real" else "sim")


def took_s(played: Played) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """From the turn of each request to its last byte."""
    assert np.all(played.records.error == Outcome.OK)
    return played.records.ended_s - played.records.planned_s


@ways
def test_a_new_connection_costs_two_round_trips_and_a_kept_one_one(way: str) -> None:
    """The handshake and the request take a round trip each; the next requests one, of which half
    is over when the server hears of them."""
    played = PLAYERS[way](plan_of([THREE], 1.0, client=ClientKind(rtt_s=RTT_S)))
    trips = took_s(played) / RTT_S
    assert np.all(trips >= [2 - 1e-6, 1 - 1e-6, 1 - 1e-6])
    assert np.all(trips < np.array([2, 1, 1]) + late_s(way) / RTT_S)
    heard_s = np.array([note.at_s for note in played.seen("data")])
    trips = (heard_s - played.records.planned_s) / RTT_S
    assert np.all(trips >= [1.5 - 1e-6, 0.5 - 1e-6, 0.5 - 1e-6])
    assert np.all(trips < np.array([1.5, 0.5, 0.5]) + late_s(way) / RTT_S)
    assert played.records.connection.tolist() == [1, 1, 1]


@ways
def test_the_connection_is_there_half_a_round_trip_early_if_paced(way: str) -> None:
    """The one thing in which pacing differs to the server: after one round trip, not one and a
    half."""
    played = PLAYERS[way](plan_of([THREE[:1]], 1.0, client=ClientKind(rtt_s=RTT_S)))
    trips = 1.5 if way == "link" else 1.0
    opened_s = played.seen("open")[0].at_s
    assert trips * RTT_S - STEPS_S <= opened_s < trips * RTT_S + late_s(way)


@ways
def test_the_rate_down_is_the_answers_time(way: str) -> None:
    """100 kB at 1 MB/s take 0.1 s longer than without a rate; small answers next to nothing."""
    asks: list[Ask] = [(0.0, 0.0, 100_000), (None, 0.0, 100)]
    played = PLAYERS[way](plan_of([asks], 1.0, client=ClientKind(down_bytes_per_s=1e6)))
    large, small = took_s(played)
    assert played.records.body_bytes.tolist() == [100_000, 100]
    size = played.seen("sent")[0].size
    assert size / 1e6 - ROUNDING_S <= large < size / 1e6 + late_s(way)
    assert small < 0.001 + late_s(way)


@ways
def test_the_rate_up_is_the_requests_time(way: str) -> None:
    """A request of 50 kB at 0.5 MB/s has arrived 0.1 s after it began to leave, not earlier."""
    kind = ClientKind(up_bytes_per_s=5e5)
    played = PLAYERS[way](plan_of([[(0.0, 0.0, 1)]], 1.0, request_bytes=50_000, client=kind))
    size = sum(note.size for note in played.seen("data"))
    assert size > 50_000
    arrived_s = played.seen("data")[-1].at_s
    assert size / 5e5 - ROUNDING_S <= arrived_s < size / 5e5 + late_s(way)
    assert took_s(played)[0] >= size / 5e5 - ROUNDING_S


@ways
def test_all_together(way: str) -> None:
    """Round trip and both rates add up: two round trips, the request up, the answer down; and on
    the kept connection one."""
    kind = ClientKind(rtt_s=RTT_S, down_bytes_per_s=1e6, up_bytes_per_s=1e6)
    asks: list[Ask] = [(0.0, 0.0, 50_000), (None, 0.0, 50_000)]
    played = PLAYERS[way](plan_of([asks], 2.0, request_bytes=30_000, client=kind))
    first, second = took_s(played)
    assert 2 * RTT_S + 0.08 - ROUNDING_S <= first < 2 * RTT_S + 0.081 + late_s(way)
    assert RTT_S + 0.08 - ROUNDING_S <= second < RTT_S + 0.081 + late_s(way)


@ways
def test_silence_and_patience_count_at_the_clients_end(way: str) -> None:
    """A client that leaves after 0.2 s has waited 0.2 s since the request left it, round trip or
    not; the answer to a patient one is late by the round trip only."""
    kind = ClientKind(rtt_s=RTT_S, abandon_s=0.2)
    plan = plan_of([[(0.0, 0.0, 1), (None, 0.0, 1)]], 2.0, client=kind)
    records = PLAYERS[way](plan, Manner(mute=True)).records
    assert records.error.tolist() == [Outcome.ABANDONED] * 2
    waited_s = records.ended_s - records.sent_s
    assert np.all((waited_s >= 0.2 - ROUNDING_S) & (waited_s < 0.2 + late_s(way)))


@ways
def test_an_answer_that_is_still_on_its_way_is_too_late(way: str) -> None:
    """The server answers within abandon_s, but half a round trip is missing: ABANDONED."""
    kind = ClientKind(rtt_s=0.3, abandon_s=0.25)
    records = PLAYERS[way](plan_of([[(0.0, 0.0, 1)]], 2.0, client=kind)).records
    assert records.error.tolist() == [Outcome.ABANDONED]
    assert np.isnan(records.first_byte_s).all()
    assert 0.25 - ROUNDING_S <= records.ended_s[0] - records.sent_s[0] < 0.25 + late_s(way)


@ways
def test_a_timeout_is_one_on_a_slow_link_too(way: str) -> None:
    """No connection, or no answer, within the timeout: given up then, however long the round trip
    is."""
    plan = plan_of([[(0.0, 0.0, 1)]], 2.0, client=ClientKind(rtt_s=0.4))
    for timeout_s, outcome in ((0.2, Outcome.CONNECT_TIMEOUT), (0.6, Outcome.TIMEOUT)):
        records = PLAYERS[way](plan, timeout_s=timeout_s).records
        assert records.error.tolist() == [outcome]
        assert timeout_s - ROUNDING_S <= records.ended_s[0] < timeout_s + late_s(way)


@ways
def test_a_server_that_closed_while_the_request_was_on_its_way(way: str) -> None:
    """The keep-alive ends at the server as the next request sets out: noticed, and sent again on a
    new connection, which takes its round trips."""
    asks: list[Ask] = [(0.0, 0.0, 1), (None, 0.3, 1)]
    played = PLAYERS[way](
        plan_of([asks], 2.0, client=ClientKind(rtt_s=RTT_S)), Manner(patience_s=0.2)
    )
    assert np.all(played.records.error == Outcome.OK)
    assert played.records.retried.tolist() == [0, 1]
    again_s = took_s(played)[1]
    assert 2 * RTT_S - ROUNDING_S <= again_s < 3 * RTT_S + late_s(way)


def test_pacing_agrees_with_the_link_it_stands_for() -> None:
    """Both in simulation, for all sizes and habits: the same outcomes, and times that differ by no
    more than what the platform itself takes for a byte."""
    kinds = [
        ClientKind(rtt_s=RTT_S),
        ClientKind(rtt_s=RTT_S, down_bytes_per_s=3e5, up_bytes_per_s=2e5),
        ClientKind(rtt_s=RTT_S, send_bytes=100, send_interval_s=0.02),
        ClientKind(send_bytes=100, send_interval_s=0.02, up_bytes_per_s=5e4),
        ClientKind(rtt_s=RTT_S, read_bytes_per_s=1e5),
        ClientKind(rtt_s=RTT_S, keep_alive=False),
        ClientKind(rtt_s=RTT_S, stall_after_bytes=20, stall_s=0.3),
        ClientKind(rtt_s=RTT_S, pool=2, down_bytes_per_s=1e6),
    ]
    asks: list[list[Ask]] = [[(0.1 * i, 0.0, 1000 * i), (None, 0.03, 20_000)] for i in range(1, 6)]
    for kind in kinds:
        plan = plan_of(asks, 3.0, request_bytes=200, wait_us=5000, client=kind)
        link, paced = (PLAYERS[way](plan).records for way in ("link", "paced"))
        by_link, by_pace = np.argsort(link.index), np.argsort(paced.index)
        assert np.array_equal(link.error[by_link], paced.error[by_pace])
        assert np.array_equal(link.body_bytes[by_link], paced.body_bytes[by_pace])
        differ_s = np.abs(link.ended_s[by_link] - paced.ended_s[by_pace])
        assert differ_s.max() < 1e-4, kind
