"""One request on a client's connection: dialling, sending, reading, and a second attempt.

The same text in both worlds, over the kernel. When requests are due and what becomes of their
records is client.py; clients that are slow, silent or impatient are habits.py. Only
`yield k.op(...)` waits.

Links. In simulation a connection's round trip and rates are the simulated link's. On a machine they
are the network's, or, when `paced`, kept by the client itself: it dials a round trip late, lets a
request wait half of one before it leaves and an answer half of one before it counts as arrived, and
sends and reads no faster than its link would. So a request on a new connection takes two round
trips more than without a link and one on a kept connection takes one, and N bytes take N / rate
more, on a link and paced alike; but the first byte's time is that of the first portion read, where
the simulated link delivers an answer whole. To the server pacing differs in one thing: a new
connection is there half a round trip before it would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mpmlab.kernel.interface import Steps
from mpmlab.load.habits import talk
from mpmlab.load.recorder import Outcome
from mpmlab.load.way import RECV_BYTES, ROUNDING_S, ClientKernel, Line, Way, ended, heard

if TYPE_CHECKING:
    from mpmlab.load.client import Client

_AGAIN: Final = (Outcome.SEND_FAILED, Outcome.RESET, Outcome.CLOSED_EARLY)


def stale(line: Line, error: Outcome) -> bool:
    """Whether a request that failed without a byte of the answer is to be sent again, as browsers
    do: on a connection that has carried one before, which the server closed, being idle, at the
    moment at which the request was on its way (RFC 9112 section 9.3.1)."""
    return error in _AGAIN and line.requests > 0 and not line.wire.received


def exchange(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """The client's request, on its connection or on a new one."""
    line, way = client.line, client.way
    while True:
        if line.conn is None:
            error = yield from connect(k, way, line, deadline_s)
            if error != Outcome.OK:
                return error
        error = yield from (attempt if way.plain else talk)(k, client, deadline_s)
        if client.response is not None or not stale(line, error):
            return error
        line.drop(k)
        client.retried = 1


def proceed(
    k: ClientKernel, client: Client, taken: int | None, data: Any, deadline_s: float
) -> Steps[Outcome]:
    """`client.serve` has sent the request (so much was taken) and fed the wire what came at first,
    which was not a whole answer (taken = -1: nor part of one): the rest, and a second attempt on a
    new connection if this one had gone stale."""
    line = client.line
    if data:
        client.first_byte_s = k.now() - client.way.start_s
        if taken == -1:
            return Outcome.BAD_RESPONSE
        return (yield from read(k, client, deadline_s))
    if taken != len(client.request):
        error = Outcome.SEND_FAILED if taken is None else Outcome.TIMEOUT
    elif data is None:
        return (yield from read(k, client, deadline_s))
    else:
        error = ended(client, k.now() - client.way.start_s)
    if client.response is not None or not stale(line, error):
        return error
    line.drop(k)
    client.retried = 1
    return (yield from exchange(k, client, deadline_s))


def connect(k: ClientKernel, way: Way, line: Line, deadline_s: float) -> Steps[Outcome]:
    """A new connection."""
    if way.half_trip_s:
        yield k.sleep(min(2 * way.half_trip_s, max(0.0, deadline_s - k.now())))
    conn = yield k.connect(way.address, max(0.0, deadline_s - k.now()), way.dial)
    if conn is None:
        late = deadline_s - k.now() <= ROUNDING_S
        return Outcome.CONNECT_TIMEOUT if late else Outcome.CONNECT_REFUSED
    line.open(conn, way.make_wire(), next(way.serials), k.now())
    return Outcome.OK


def attempt(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """Send the request and read its answer, on the connection that is there."""
    line, request, now_s = client.line, client.request, k.now()
    line.wire.ask()
    client.sent_s = now_s - client.way.start_s
    taken = yield k.send(line.conn, request, max(0.0, deadline_s - now_s))
    if taken != len(request):
        return Outcome.SEND_FAILED if taken is None else Outcome.TIMEOUT
    return (yield from read(k, client, deadline_s))


def read(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """Read the answer, or what is left of it, as fast as it comes."""
    conn, start_s = client.line.conn, client.way.start_s
    while (left_s := deadline_s - k.now()) > ROUNDING_S:
        data = yield k.recv(conn, RECV_BYTES, left_s)
        if data is not None:
            at_s = k.now() - start_s
            outcome = heard(client, data, at_s, at_s)
            if outcome is not None:
                return outcome
    return Outcome.TIMEOUT
