"""event's connections: their states, the queues they wait in, and what a worker does with one.

A connection belongs to a worker thread while it is processed, and to nobody (the poller and a
timeout queue) while it waits: between requests, for room to write, while it lingers.
The listener thread, which reads the poller, is event.py. httpd: server/mpm/event/event.c
(process_socket, process_lingering_close, shutdown_connection).
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Any, Final

from mpmlab.core.scoreboard import BUSY_KEEPALIVE, BUSY_READ, BUSY_WRITE, CLOSING
from mpmlab.core.spare import connections_above_limit
from mpmlab.core.timeouts import NextExpiry, TimeoutQueue
from mpmlab.kernel.interface import Conn, Kernel, Steps
from mpmlab.mpms.connection import LINGER_READ_S, LINGER_S, Session, answer, read_request, send_all
from mpmlab.mpms.site import Site
from mpmlab.mpms.threaded import Child

#: Bytes thrown away per read while lingering (event.c process_lingering_close).
LINGER_BYTES: Final = 32 * 1024


class State(enum.Enum):
    """include/httpd.h conn_state_e, as far as the MPM sees it."""

    PROCESSING = "processing"
    WRITE_COMPLETION = "write completion"
    KEEPALIVE = "keepalive"
    LINGER = "linger"  # to be shut down by a worker
    LINGERING = "lingering"  # shut down, waiting for the peer's end


class EventSession(Session):
    """A Session that can be put aside."""

    __slots__ = ("lingers_since_s", "pending", "short", "state")

    def __init__(self, wire: Any) -> None:
        super().__init__(wire)
        self.state = State.PROCESSING
        self.pending: Any = None  # what is still to be written
        self.short = False  # linger 2 s instead of 30
        self.lingers_since_s = 0.0


class EventChild(Child):
    """What event adds to a child: parked connections, counts, the deferred closes."""

    def __init__(self, k: Kernel, site: Site, slot: int) -> None:
        super().__init__(k, site, slot)
        s = site.settings
        self.lock = k.mutex()  # event.c timeout_mutex: over the four queues
        self.keepalive_q = TimeoutQueue(s.keep_alive_timeout_s)
        self.write_q = TimeoutQueue(s.timeout_s)
        self.linger_q = TimeoutQueue(LINGER_S)
        self.short_q = TimeoutQueue(LINGER_READ_S)
        self.connections: set[Conn] = set()
        self.lingering: set[Conn] = set()
        self.deferred: deque[Conn] = deque()
        self.listening = True
        self.accepted = 0
        self.reserved = False  # the listener holds an idle worker's offer
        self.threads_shut_down = 0
        self.queues = (self.keepalive_q, self.write_q, self.linger_q, self.short_q)
        self.expiry = NextExpiry()

    def queue_of(self, session: EventSession) -> TimeoutQueue:
        """Where a connection of this state waits."""
        if session.state is State.KEEPALIVE:
            return self.keepalive_q
        if session.state is State.WRITE_COMPLETION:
            return self.write_q
        return self.short_q if session.short else self.linger_q

    def above_limit(self, k: Kernel) -> tuple[bool, bool]:
        """connections_above_limit(): too many for the idle workers; and whether none is idle."""
        return connections_above_limit(
            k.size(self.idle) + self.reserved,
            len(self.connections),
            len(self.lingering),
            self.threads,
            self.site.settings.async_factor_floor,
            not self.listening,
        )

    def should_listen_again(self, k: Kernel) -> bool:
        """should_enable_listensocks()"""
        return not self.listening and not self.dying and not self.above_limit(k)[0]


def process_socket(k: Kernel, child: EventChild, conn: Conn, cell: int) -> Steps[None]:
    """process_socket(): carry on with a connection until it is parked or closed."""
    session: EventSession = conn.notes
    if session.state in (State.LINGER, State.LINGERING):
        yield from linger(k, child, conn, cell)
        return
    if session.state is State.WRITE_COMPLETION:
        child.board.set(cell, BUSY_WRITE)
        flushed = yield from _write(k, child, conn)
    else:
        flushed = yield from _request(k, child, conn, cell)
    while flushed:
        if session.keep and session.wire.pipelined:
            flushed = yield from _request(k, child, conn, cell)
        elif not session.keep or child.stopping():
            yield from linger(k, child, conn, cell)
            return
        else:
            child.board.set(cell, BUSY_KEEPALIVE)
            yield from _park(k, child, conn, State.KEEPALIVE)
            return


def _request(k: Kernel, child: EventChild, conn: Conn, cell: int) -> Steps[bool]:
    """Read, answer, write. True if the answer is out; False if the connection went elsewhere. A new
    connection goes to a worker at once, readable or not: half a header pins a thread."""
    session: EventSession = conn.notes
    session.state = State.PROCESSING
    site = child.site
    child.board.set(cell, BUSY_READ)
    request = yield from read_request(k, conn, session, cell, site, site.settings.timeout_s)
    if request is None:
        yield from linger(k, child, conn, cell)
        return False
    child.board.set(cell, BUSY_WRITE)
    session.pending = yield from answer(k, request, session, site, child.stopping())
    child.board.served[cell] += 1
    return (yield from _write(k, child, conn))


def _write(k: Kernel, child: EventChild, conn: Conn) -> Steps[bool]:
    """Write completion. All but the last FlushMaxThreshold bytes are written blocking (they are
    not a file's: server/core_filters.c), the rest as far as it goes; what does not go waits in the
    poller, without a thread."""
    session: EventSession = conn.notes
    settings = child.site.settings
    data, session.pending = session.pending, None
    ahead = len(data) - settings.flush_max_threshold
    if ahead > 0:
        if not (yield from send_all(k, conn, data[:ahead], settings.timeout_s)):
            yield from close(k, child, conn)
            return False
        data = data[ahead:]
    sent = yield k.send(conn, data, 0)
    if sent is None:
        yield from close(k, child, conn)
        return False
    if sent < len(data):
        session.pending = data[sent:]
        yield from _park(k, child, conn, State.WRITE_COMPLETION)
        return False
    return True


def linger(k: Kernel, child: EventChild, conn: Conn, cell: int) -> Steps[None]:
    """process_lingering_close(): shut down our side if not yet done, throw away what is there, and
    wait for more in a queue, not in a thread."""
    session: EventSession = conn.notes
    if session.eof:
        yield from close(k, child, conn)
        return
    child.board.set(cell, CLOSING)
    if session.state is not State.LINGERING:
        k.close(conn, half=True)
        session.state = State.LINGERING
        session.lingers_since_s = k.now()
        child.lingering.add(conn)
    data: Any = True
    while data:
        data = yield k.recv(conn, LINGER_BYTES, 0)
    limit_s = child.queue_of(session).timeout_s
    if data is None and k.now() < session.lingers_since_s + limit_s:
        yield from _park(k, child, conn, State.LINGERING)
    else:
        yield from close(k, child, conn)


def close(k: Kernel, child: EventChild, conn: Conn) -> Steps[None]:
    """Close for good; tell the listener if that lets it end or listen again
    (decrement_connection_count)."""
    yield k.lock(child.lock)
    k.close(conn)
    child.connections.discard(conn)
    child.lingering.discard(conn)
    last = not child.connections and child.listener_may_exit
    k.unlock(child.lock)
    if last or child.should_listen_again(k):
        k.wake(child.poller)


def shut_down(child: EventChild, conn: Conn) -> bool:
    """shutdown_connection(), by the listener: a short lingering close, deferred to a worker since
    it may block. True if the connection lingers already, and is to be closed now."""
    session: EventSession = conn.notes
    if session.state is State.LINGERING:
        return True
    session.state = State.LINGER
    session.short = True
    child.deferred.append(conn)
    return False


def _park(k: Kernel, child: EventChild, conn: Conn, state: State) -> Steps[None]:
    """Into the queue of its state, then into the poller: from here on it is the listener's."""
    session: EventSession = conn.notes
    session.state = state
    queue = child.queue_of(session)
    yield k.lock(child.lock)
    # A lingering close that is parked again keeps its time.
    queue.append(conn, session.lingers_since_s if state is State.LINGERING else k.now())
    sooner = child.expiry.note(queue)
    k.arm(child.poller, conn, write=state is State.WRITE_COMPLETION)
    k.unlock(child.lock)
    if sooner:
        k.wake(child.poller)
