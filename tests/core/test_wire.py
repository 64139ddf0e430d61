"""The contract of core/wire.py, held against both pairs of wires: bytes and counted bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from mpmlab.core.client_wire import BytesClient
from mpmlab.core.count_wire import CountClient, CountWire, counted
from mpmlab.core.demand import Demand, demand_of
from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.wire import (
    CLOSED,
    NEED,
    BadResponse,
    ClientWire,
    Limits,
    Reply,
    Request,
    Response,
    ServerWire,
)

DEMAND = Demand(100, 20, 3)


@dataclass(frozen=True)
class Pair:
    """How to make both ends, and a body of that many bytes."""

    server: Callable[[Limits], ServerWire]
    client: Callable[[str], ClientWire]
    body: Callable[[int], Any]


REAL = Pair(H11Wire, BytesClient, bytes)
COUNTED = Pair(CountWire, CountClient, counted)


@pytest.fixture(params=[REAL, COUNTED], ids=["real", "counted"])
def pair(request: pytest.FixtureRequest) -> Pair:
    found = request.param
    assert isinstance(found, Pair)
    return found


def ask(server: ServerWire) -> Request:
    """next(), which must be a Request."""
    found = server.next()
    assert isinstance(found, Request), found
    return found


def test_limits_are_httpd_defaults() -> None:
    """include/httpd.h: 8190, 8190, 100; LimitRequestBody 1 GiB (2.4.54). They cannot be changed."""
    limits = Limits()
    assert (limits.line, limits.field_size, limits.fields, limits.body) == (8190, 8190, 100, 2**30)
    with pytest.raises(FrozenInstanceError):
        limits.line = 1  # type: ignore[misc]


@pytest.mark.parametrize("body_bytes", [0, 1, 70_000])
def test_a_request_and_its_answer(pair: Pair, body_bytes: int) -> None:
    """What the client asked is what the server reads; what was answered is what the client sees."""
    server, client = pair.server(Limits()), pair.client("a:1")
    server.feed(client.request(DEMAND, body_bytes, True))
    request = ask(server)
    assert request.method == ("POST" if body_bytes else "GET")
    assert request.demand == DEMAND or demand_of(request.target) == (200, DEMAND)
    assert (request.body_bytes, request.keep_alive) == (body_bytes, True)
    assert client.feed(server.respond(200, pair.body(3), True)) == Response(200, 3, True)
    assert server.next() is NEED
    assert server.persistent


@pytest.mark.parametrize("client_allows", [True, False])
@pytest.mark.parametrize("server_allows", [True, False])
def test_keep_alive_needs_both(pair: Pair, client_allows: bool, server_allows: bool) -> None:
    """The connection lives on only if client and server want it; the client is told."""
    server, client = pair.server(Limits()), pair.client("a:1")
    server.feed(client.request(DEMAND, 0, client_allows))
    assert ask(server).keep_alive is client_allows
    response = client.feed(server.respond(200, pair.body(3), server_allows))
    both = client_allows and server_allows
    assert response is not None
    assert response.keep_alive is both
    assert server.persistent is both
    assert server.next() is (NEED if both else CLOSED)


def test_reading_is_true_within_a_request_only(pair: Pair) -> None:
    """Nothing, half a head, a head and half a body, a request, answered: only halves are reading;
    and what is cut anywhere comes together again."""
    server, client = pair.server(Limits()), pair.client("a:1")
    data = client.request(DEMAND, 10, True)
    seen = []
    for piece in (data[:7], data[7:-3], data[-3:]):
        seen.append((server.reading, server.next() is NEED))
        server.feed(piece)
    assert seen == [(False, True), (True, True), (True, True)]
    assert ask(server).body_bytes == 10
    assert not server.reading
    server.respond(200, pair.body(0), True)
    assert not server.reading


def test_pipelined_requests_come_one_by_one(pair: Pair) -> None:
    """Two and a half requests in one feed: `pipelined` says after each answer whether to ask again;
    the half one is completed later."""
    server = pair.server(Limits())
    one, two, three = (pair.client("a:1").request(Demand(n), n, True) for n in range(3))
    server.feed(one + two + three[:9])
    for n in range(2):
        assert ask(server).body_bytes == n
        server.respond(200, pair.body(1), True)
        assert server.pipelined
    assert server.next() is NEED
    assert server.reading
    server.feed(three[9:])
    assert ask(server).body_bytes == 2
    server.respond(200, pair.body(1), True)
    assert not server.pipelined


def test_a_closing_answer_forgets_what_was_pipelined(pair: Pair) -> None:
    """After an answer that closes, pipelined input is neither announced nor served."""
    server = pair.server(Limits())
    server.feed(
        pair.client("a").request(DEMAND, 0, True) + pair.client("a").request(DEMAND, 0, True)
    )
    ask(server)
    server.respond(200, pair.body(1), False)
    assert not server.pipelined
    server.feed(pair.client("a").request(DEMAND, 0, True))
    assert server.next() is CLOSED


@pytest.mark.parametrize("cut", [0, 7, -3])
def test_end_of_stream_is_closed(pair: Pair, cut: int) -> None:
    """Between requests, in a head or in a body: CLOSED, for ever."""
    server = pair.server(Limits())
    if cut:
        server.feed(pair.client("a:1").request(DEMAND, 10, True)[:cut])
    server.feed(b"")
    assert [server.next(), server.next()] == [CLOSED, CLOSED]
    assert not server.reading


def test_half_closed_client_is_answered(pair: Pair) -> None:
    """A client may shut down its sending side after a request; the answer still goes out, the
    connection does not persist."""
    server = pair.server(Limits())
    server.feed(pair.client("a:1").request(DEMAND, 0, True))
    server.feed(b"")
    ask(server)
    assert server.respond(200, pair.body(3), True)
    assert not server.persistent
    assert server.next() is CLOSED


def test_timed_out_answers_408(pair: Pair) -> None:
    """Half a request, then no more: the 408 reaches the client as one, and the wire is over."""
    server, client = pair.server(Limits()), pair.client("a:1")
    server.feed(client.request(DEMAND, 10, True)[:-3])
    assert server.next() is NEED
    assert client.feed(server.timed_out()) == Response(408, 0, False)
    assert server.next() is CLOSED
    assert not server.reading


def test_body_over_limit_is_413_before_it_comes(pair: Pair) -> None:
    """The length in the head is enough for the verdict; a body of just the limit passes."""
    for body_bytes in (10, 11):
        server, client = pair.server(Limits(body=10)), pair.client("a:1")
        data = client.request(DEMAND, body_bytes, True)
        server.feed(data[:-body_bytes])
        found = server.next()
        if body_bytes == 10:
            assert found is NEED
            continue
        assert isinstance(found, Reply)
        assert (found.status, found.close) == (413, True)
        assert client.feed(found.data) == Response(413, 0, False)
        server.feed(data[-body_bytes:])
        assert server.next() is CLOSED


def test_out_of_turn_is_an_error(pair: Pair) -> None:
    """next() with an unanswered request, respond() without one, a second request: RuntimeError.
    Unknown statuses: ValueError that lists the known ones."""
    server, client = pair.server(Limits()), pair.client("a:1")
    with pytest.raises(RuntimeError, match="without a request"):
        server.respond(200, pair.body(1), True)
    server.feed(client.request(DEMAND, 0, True))
    with pytest.raises(RuntimeError, match="before the last one was answered"):
        client.request(DEMAND, 0, True)
    ask(server)
    with pytest.raises(RuntimeError, match="before the last request was answered"):
        server.next()
    with pytest.raises(ValueError, match=r"status 299; accepted: 200, "):
        server.respond(299, pair.body(1), True)
    server.respond(200, pair.body(1), True)
    with pytest.raises(RuntimeError, match="without a request"):
        server.respond(200, pair.body(1), True)


def test_client_refuses_what_it_did_not_ask(pair: Pair) -> None:
    """An answer to no request, and a second answer to one request, are BadResponse; the end of the
    stream is not fed."""
    server, client = pair.server(Limits()), pair.client("a:1")
    server.feed(client.request(DEMAND, 0, True))
    ask(server)
    answer = server.respond(200, pair.body(3), True)
    with pytest.raises(BadResponse, match="nobody asked"):
        pair.client("a:1").feed(answer)
    with pytest.raises(ValueError, match=r"eof\(\)"):
        client.feed(b"")
    with pytest.raises(BadResponse, match="after the end"):
        client.feed(answer + answer[:1])


def test_client_tells_whether_anything_was_received(pair: Pair) -> None:
    """`received` separates a connection that died unanswered from one that died in an answer; eof
    within a counted answer is no Response."""
    server, client = pair.server(Limits()), pair.client("a:1")
    for cut in (0, 5, -1):
        server.feed(client.request(DEMAND, 0, True))
        ask(server)
        answer = server.respond(200, pair.body(3), True)
        assert not client.received
        if cut:
            assert client.feed(answer[:cut]) is None
        assert client.received is bool(cut)
        assert client.eof() is None
