"""event: worker's children, but a connection that waits needs no thread.

The listener thread owns a poller with the listening socket and every parked connection, and the
timeout queues; worker threads get a connection only when there is something to do. What they do
with it is event_connection.py; common machinery threaded.py. httpd: server/mpm/event/event.c.
"""

from __future__ import annotations

from mpmlab.core.scoreboard import DEAD, GRACEFUL, READY, Scoreboard
from mpmlab.core.settings import Settings
from mpmlab.core.spare import Decision, SpareState, event_spares
from mpmlab.kernel.interface import Conn, Kernel, ResourceShortage, Steps
from mpmlab.mpms.connection import LINGER_READ_S
from mpmlab.mpms.event_connection import (
    EventChild,
    EventSession,
    State,
    close,
    linger,
    process_socket,
    shut_down,
)
from mpmlab.mpms.site import Site
from mpmlab.mpms.supervisor import Ids, supervise
from mpmlab.mpms.threaded import (
    AT_ONCE,
    DRAIN,
    GRACEFULLY,
    IDLE,
    LOOK,
    TERM,
    ThreadedModule,
    end_workers,
    run_child,
    signal_threads,
    stop_listening,
)


def child_main(k: Kernel, site: Site, slot: int) -> Steps[int]:
    """event.c: child_main()"""
    child = EventChild(k, site, slot)
    return (yield from run_child(k, child, listener_thread, worker_thread, interrupts=False))


class _Round:
    """One pass of the listener: were all workers busy in it (httpd's workers_were_busy)."""

    __slots__ = ("busy",)

    def __init__(self) -> None:
        self.busy = False


def listener_thread(k: Kernel, child: EventChild) -> Steps[None]:
    """event.c: listener_thread()"""
    limit = child.site.settings.max_connections_per_child
    this = _Round()
    k.arm(child.poller, child.site.listener)
    while True:
        if limit and child.accepted >= limit and not child.listener_may_exit:
            yield from signal_threads(k, child, GRACEFULLY)
        first = child.listener_may_exit and not child.dying
        if first:
            yield from _stop_listening(k, child)
        if child.listener_may_exit and (child.mode == AT_ONCE or not child.connections):
            break
        timeout_s = 0.0 if first else child.expiry.timeout_s(k.now())
        this.busy = False
        for source in (yield k.poll(child.poller, timeout_s)):
            if source is child.site.listener:
                yield from _take_new(k, child, this)
            else:
                yield from _take_parked(k, child, this, source)
        yield from _maintain(k, child, this)
    yield from end_workers(k, child)


def _stop_listening(k: Kernel, child: EventChild) -> Steps[None]:
    """close_listeners(): every thread shows G, and looks whether it may end early. From now on a
    lingering close takes 2 s at most (observed in httpd 2.4.71)."""
    yield from stop_listening(k, child)
    yield k.lock(child.lock)
    child.linger_q.timeout_s = LINGER_READ_S
    child.expiry.recompute(child.queues)
    k.unlock(child.lock)
    for thread in range(child.threads):
        child.board.set(child.site.cell(child.slot, thread), GRACEFUL)
        yield k.put(child.work, LOOK)


def _reserve(k: Kernel, child: EventChild, this: _Round, block: bool) -> Steps[bool]:
    """get_worker(): an idle worker for us, waiting for one if `block`; the round was busy if that
    was needed. At the end there is no waiting: what must not be lost goes to the queue all the
    same, for a worker that is still busy (ap_queue_info_wait_for_idler: APR_EOF)."""
    if not child.reserved:
        child.reserved = (yield k.get(child.idle, 0)) == IDLE
    if not child.reserved:
        this.busy = True
        if block and not child.listener_may_exit:
            child.reserved = (yield k.get(child.idle, None)) == IDLE
    return child.reserved or (block and child.listener_may_exit)


def _take_new(k: Kernel, child: EventChild, this: _Round) -> Steps[None]:
    """The listening socket is ready: one connection a round, if there are not too many."""
    if child.listener_may_exit:
        return
    above, none_idle = child.above_limit(k)
    this.busy = this.busy or none_idle
    if this.busy or above:
        child.listening = False
        child.board.not_accepting[child.slot] = 1
        if child.should_listen_again(k):  # a worker has offered itself in between
            k.wake(child.poller)
        return  # one-shot: not armed again until _maintain() allows it
    got = yield from _reserve(k, child, this, block=True)
    if child.listener_may_exit:
        return
    if got:
        try:
            conn = yield k.accept(child.site.listener, 0)
        except ResourceShortage:
            child.sick = True
            yield from signal_threads(k, child, GRACEFULLY)
            return
        if conn is not None:
            conn.notes = EventSession(child.site.wire(child.site.limits))
            child.connections.add(conn)
            child.accepted += 1
            child.reserved = False
            yield k.put(child.work, conn)
    k.arm(child.poller, child.site.listener)


def _take_parked(k: Kernel, child: EventChild, this: _Round, conn: Conn) -> Steps[None]:
    """A parked connection is ready: to a worker. Unfinished writes wait for one, the others are
    shut down if there is none."""
    session: EventSession = conn.notes
    yield k.lock(child.lock)
    ours = child.queue_of(session).remove(conn)
    k.unlock(child.lock)
    if not ours:
        return
    block = session.state is State.WRITE_COMPLETION
    if (yield from _reserve(k, child, this, block)):
        child.reserved = False
        yield k.put(child.work, conn)
    elif shut_down(child, conn):
        yield from close(k, child, conn)


def _maintain(k: Kernel, child: EventChild, this: _Round) -> Steps[None]:
    """Expire what has waited too long (idle connections at once when workers are short or we are
    dying), hand on deferred closes, listen again."""
    hurry = this.busy or child.dying
    if child.expiry.has_passed(k.now()) or (hurry and len(child.keepalive_q)):
        yield from _expire(k, child, hurry)
    if child.deferred and (yield from _reserve(k, child, this, block=False)):
        child.reserved = False
        yield k.put(child.work, DRAIN)
    if not this.busy and child.should_listen_again(k):
        child.listening = True
        child.board.not_accepting[child.slot] = 0
        k.log("debug", "AH00457", "Accepting new connections again")
        k.arm(child.poller, child.site.listener)


def _expire(k: Kernel, child: EventChild, hurry: bool) -> Steps[None]:
    """process_timeout_queue() and its callers."""
    yield k.lock(child.lock)
    now = k.now()
    over = child.keepalive_q.pop_all() if hurry else child.keepalive_q.expired(now)
    for queue in (child.write_q, child.linger_q, child.short_q):
        over += queue.expired(now)
    child.expiry.recompute(child.queues)
    k.unlock(child.lock)
    for conn in over:
        k.arm(child.poller, conn, on=False)
        if shut_down(child, conn):
            yield from close(k, child, conn)
    _publish(child)


def _publish(child: EventChild) -> None:
    """The counters mod_status shows: only here, so they are stale between expiries, as httpd's.
    A close that is deferred counts as begun (observed in httpd 2.4.71)."""
    board, slot = child.board, child.slot
    board.connections[slot] = len(child.connections)
    board.keep_alive[slot] = len(child.keepalive_q)
    board.write_completion[slot] = len(child.write_q)
    board.lingering_close[slot] = len(child.lingering) + len(child.deferred)


def worker_thread(k: Kernel, child: EventChild, thread: int) -> Steps[None]:
    """event.c: worker_thread()"""
    cell = child.site.cell(child.slot, thread)
    offered = False
    while not child.workers_may_exit:
        child.board.set(cell, GRACEFUL if child.dying else READY)
        if not offered:
            yield k.put(child.idle, IDLE)
            offered = True
            if child.deferred or child.should_listen_again(k):
                k.wake(child.poller)
        if child.dying and (yield from _ends_early(k, child)):
            break
        item = yield k.get(child.work, None)
        if item == TERM:
            break
        offered = item == LOOK
        if item not in (LOOK, DRAIN):
            fresh = item.notes.state is State.PROCESSING and not item.notes.served
            child.board.accepted[cell] += fresh
            yield from process_socket(k, child, item, cell)
        while child.deferred and not child.workers_may_exit:
            offered = yield from _drain_one(k, child, cell, offered)
    child.board.set(cell, DEAD)
    yield k.put(child.done, "worker")


def _drain_one(k: Kernel, child: EventChild, cell: int, offered: bool) -> Steps[bool]:
    """One deferred close, unless another worker was quicker. Still offered?"""
    try:
        conn = child.deferred.popleft()
    except IndexError:
        return offered
    yield from linger(k, child, conn, cell)
    return False


def _ends_early(k: Kernel, child: EventChild) -> Steps[bool]:
    """worker_thread_should_exit_early(): threads melt away as connections close."""
    yield k.lock(child.lock)
    early = len(child.connections) < child.started - child.threads_shut_down
    child.threads_shut_down += early
    k.unlock(child.lock)
    return early


class Event(ThreadedModule):
    """event's side of the supervisor's bargain (see supervisor.Module)."""

    name = "event"
    child = staticmethod(child_main)
    ids = Ids(
        resuming="AH00489",
        stale_fatal="AH00487",
        long_lost="AH00488",
        term="AH00491",
        graceful_stop="AH00492",
        graceful="AH00493",
        restart="AH00494",
        fork_failed="AH00481",
        many_kills="AH10392",
    )

    def spares(self, board: Scoreboard, settings: Settings, state: SpareState) -> Decision:
        """perform_idle_server_maintenance()"""
        return event_spares(board, settings, state)

    def slots(self, settings: Settings) -> int:
        """How many slots startup_children() looks at."""
        return settings.server_limit

    def starting(self, board: Scoreboard, slot: int) -> None:
        """make_child(): only empty slots are used, no squatting since 2.4.24."""
        assert not board.pid[slot], f"AH03455 BUG: Scoreboard slot {slot} in use"


def parent(k: Kernel, site: Site) -> Steps[int]:
    """event_run()"""
    return (yield from supervise(k, site, Event()))
