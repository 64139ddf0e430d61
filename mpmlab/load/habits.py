"""A request on a connection, by a client with habits: one that sends in pieces, reads slowly, falls
silent, leaves, or keeps to its link's round trip and rates by itself.

The usual client, and what "paced" means, is exchange.py. Only `yield k.op(...)` waits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mpmlab.kernel.interface import Steps
from mpmlab.load.recorder import Outcome
from mpmlab.load.way import ROUNDING_S, ClientKernel, heard

if TYPE_CHECKING:
    from mpmlab.load.client import Client

_INF: Final = float("inf")


def talk(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """As exchange.attempt, in the client's way. An answer to half a request ends the connection."""
    line, kind = client.line, client.way.kind
    line.wire.ask()
    client.sent_s = k.now() - client.way.start_s
    request = client.request
    stalls = 0 <= kind.stall_after_bytes < len(request)
    if stalls:
        request = request[: kind.stall_after_bytes]
        line.requests = 0  # whatever ends it now, it was not idle: not to be sent again
    outcome = yield from utter(k, client, request, deadline_s)
    whole = outcome is None and not stalls
    if outcome is None:
        until_s = deadline_s
        if stalls or kind.abandon_s:
            patience_s = kind.stall_s if stalls else kind.abandon_s
            until_s = min(deadline_s, k.now() - client.way.half_trip_s + patience_s)
        outcome = yield from listen(k, client, until_s)
        if outcome is None:
            return Outcome.ABANDONED if until_s < deadline_s else Outcome.TIMEOUT
    if client.response is not None and not whole:
        client.response = replace(client.response, keep_alive=False)
    return outcome


def utter(
    k: ClientKernel, client: Client, request: Any, deadline_s: float
) -> Steps[Outcome | None]:
    """Send it in the client's pieces, with an ear for early answers; None: all is sent."""
    conn, way = client.line.conn, client.way
    at, size = 0, len(request)
    begin_s = free_s = k.now() + way.half_trip_s
    while at < size:
        end, free_s = way.piece(at, size, begin_s, free_s)
        if free_s - k.now() > ROUNDING_S:
            outcome = yield from listen(k, client, min(free_s, deadline_s))
            if outcome is not None:
                return outcome
        left_s = deadline_s - k.now()
        if left_s <= ROUNDING_S:
            return Outcome.TIMEOUT
        taken = yield k.send(conn, request[at:end], left_s)
        if taken is None:
            return Outcome.SEND_FAILED
        at += taken
    return None


def listen(k: ClientKernel, client: Client, until_s: float) -> Steps[Outcome | None]:
    """Hear what comes until then, at the client's rate; None: no complete answer so far.

    What is read counts as arrived once the rate has let it pass and half a paced round trip is
    over; meanwhile it is the line's `flight`, and more is read."""
    line, way = client.line, client.way
    flight, rate, start_s = line.flight, way.read_per_s, way.start_s
    while True:
        now_s = k.now()
        due_s = flight[0][0] if flight else _INF
        if due_s - now_s <= ROUNDING_S:
            _, first_s, data = flight.popleft()
            outcome = heard(client, data, first_s - start_s, now_s - start_s)
            if outcome is not None:
                return outcome
            continue
        if until_s - now_s <= ROUNDING_S:
            return None
        left_s = min(until_s, due_s) - now_s
        if flight and not flight[-1][2]:
            yield k.sleep(left_s)  # after the end comes nothing
        elif line.free_s - now_s > ROUNDING_S:
            yield k.sleep(min(left_s, line.free_s - now_s))
        else:
            data = yield k.recv(line.conn, way.read_bytes, left_s)
            if data is not None:
                came_s = k.now()
                line.free_s = came_s + len(data) / rate if rate else came_s
                half_s = way.half_trip_s
                flight.append((line.free_s + half_s, came_s + half_s, data))
