"""One connection: read a request, answer it, keep alive, close lingeringly.

Shared by all MPMs: `read_request` and `answer` by every one, `serve` by those that hold a worker
for the life of a connection. httpd: modules/http/http_core.c (ap_process_http_sync_connection),
modules/http/http_protocol.c (ap_set_keepalive), server/connection.c (ap_lingering_close).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from mpmlab.core.demand import Demand, demand_of
from mpmlab.core.scoreboard import BUSY_KEEPALIVE, BUSY_READ, BUSY_WRITE, CLOSING
from mpmlab.core.wire import CLOSED, NEED, Reply, Request, ServerWire
from mpmlab.kernel.interface import Conn, Kernel, Steps
from mpmlab.mpms.site import NO_WORK, RECV_BYTES, Site

#: Total time of a lingering close (httpd include/httpd.h MAX_SECS_TO_LINGER).
LINGER_S: Final = 30.0
#: Longest wait for one read while lingering; total of a short one (SECONDS_TO_LINGER).
LINGER_READ_S: Final = 2.0
#: Bytes thrown away per read while lingering (server/connection.c: dummybuf).
LINGER_BYTES: Final = 512

_METHODS: Final = ("GET", "HEAD", "POST")


class CaughtCrash(Exception):  # noqa: N818 - it ends a thread, and is told to nobody
    """The application crashed, and the MPM catches that (Site.catches_crashes)."""


class Session:
    """The server's view of one connection: its wire, how many requests it had, how it ended."""

    __slots__ = ("eof", "keep", "served", "wire")

    def __init__(self, wire: ServerWire) -> None:
        self.wire = wire
        self.served = 0
        self.keep = False
        self.eof = False  # the peer has closed its side: nothing to linger for


def read_request(
    k: Kernel, conn: Conn, session: Session, cell: int, site: Site, idle_timeout_s: float
) -> Steps[Request | None]:
    """The next request, or None when this connection is over (end of stream, timeout, or a bad
    request, which has been answered).

    Up to the first byte of the request a read may take `idle_timeout_s`, from then on Timeout."""
    wire = session.wire
    while True:
        found = wire.next()
        if isinstance(found, Request):
            return found
        if found is NEED:
            timeout_s = site.settings.timeout_s if wire.reading else idle_timeout_s
            data = yield k.recv(conn, RECV_BYTES, timeout_s)
            if data is None:
                if wire.reading:  # half a request: 408, as httpd answers
                    yield from send_all(k, conn, wire.timed_out(), site.settings.timeout_s)
                return None
            if not data:
                session.eof = True
            site.board.set(cell, BUSY_READ)
            wire.feed(data)
        elif found is CLOSED:
            return None
        elif isinstance(found, Reply):
            sent = yield from send_all(k, conn, found.data, site.settings.timeout_s)
            if not sent or found.close:
                return None


def answer(k: Kernel, request: Request, session: Session, site: Site, stopping: bool) -> Steps[Any]:
    """Run the application for this request; the whole answer as one Data. Decides keep-alive as
    ap_set_keepalive does: allowed, MaxKeepAliveRequests not used up, server not stopping."""
    s = site.settings
    status, demand = _demand(request)
    if demand.crash and site.catches_crashes:
        yield k.work(replace(demand, crash=False))
        raise CaughtCrash
    body = yield k.work(demand)
    session.served += 1
    keep = s.keep_alive and not stopping
    if s.max_keep_alive_requests and session.served >= s.max_keep_alive_requests:
        keep = False
    data = session.wire.respond(status, body, keep)
    session.keep = session.wire.persistent
    return data


def send_all(k: Kernel, conn: Conn, data: Any, stall_s: float) -> Steps[bool]:
    """Write all of it; False if the peer is gone, or takes nothing for `stall_s`: Timeout limits a
    stall, not the whole answer (server/core_filters.c polls for it at each full buffer)."""
    while True:
        sent = yield k.send(conn, data, stall_s)
        if not sent:
            return False
        if sent >= len(data):
            return True
        data = data[sent:]


def _demand(request: Request) -> tuple[int, Demand]:
    if request.demand is not None:
        return 200, request.demand
    if request.method == "OPTIONS":
        return 200, NO_WORK
    if request.method not in _METHODS:
        return 501, NO_WORK
    status, demand = demand_of(request.target)
    return (status, demand) if isinstance(demand, Demand) else (status, NO_WORK)


def serve(
    k: Kernel, conn: Conn, cell: int, site: Site, stopping: Callable[[], object]
) -> Steps[None]:
    """A whole connection by one worker: requests, keep-alive waits and lingering close included."""
    s = site.settings
    board = site.board
    session = Session(site.wire(site.limits))
    idle_timeout_s: float = s.timeout_s
    board.accepted[cell] += 1
    board.set(cell, BUSY_READ)
    while True:
        request = yield from read_request(k, conn, session, cell, site, idle_timeout_s)
        if request is None:
            break
        board.set(cell, BUSY_WRITE)
        data = yield from answer(k, request, session, site, bool(stopping()))
        sent = yield from send_all(k, conn, data, s.timeout_s)
        board.served[cell] += 1
        if not sent:
            session.eof = True  # aborted: there is nobody to linger for
            break
        # Also if the answer was begun before and says otherwise (ap_process_http_sync_connection).
        if not session.keep or stopping():
            break
        board.set(cell, BUSY_KEEPALIVE)
        idle_timeout_s = s.keep_alive_timeout_s
    if session.eof:
        k.close(conn)
    else:
        board.set(cell, CLOSING)
        yield from lingering_close(k, conn)


def lingering_close(k: Kernel, conn: Conn) -> Steps[None]:
    """Close our side, then throw away what still comes, so that the peer can read our last answer
    instead of a reset: until its end of stream, 2 s of silence, or 30 s (ap_lingering_close)."""
    k.close(conn, half=True)
    deadline = k.now() + LINGER_S
    while k.now() < deadline:
        data = yield k.recv(conn, LINGER_BYTES, LINGER_READ_S)
        if not data:
            break
    k.close(conn)
