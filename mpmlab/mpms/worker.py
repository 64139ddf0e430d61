"""worker: children of a fixed number of threads; each has a listener thread that feeds them.

A worker thread serves a connection from its first byte to its lingering close. The child's common
machinery is threaded.py, the parent's loop supervisor.py. httpd: server/mpm/worker/worker.c.
"""

from __future__ import annotations

from mpmlab.core.scoreboard import DEAD, GRACEFUL, READY, Scoreboard
from mpmlab.core.settings import Settings
from mpmlab.core.spare import Decision, SpareState, worker_spares
from mpmlab.kernel.interface import Conn, Kernel, ResourceShortage, Steps
from mpmlab.mpms.connection import serve
from mpmlab.mpms.site import Site
from mpmlab.mpms.supervisor import Ids, supervise
from mpmlab.mpms.threaded import (
    GRACEFULLY,
    IDLE,
    TERM,
    Child,
    ThreadedModule,
    end_workers,
    run_child,
    signal_threads,
    stop_listening,
)


def child_main(k: Kernel, site: Site, slot: int) -> Steps[int]:
    """worker.c: child_main()"""
    child = Child(k, site, slot)
    return (yield from run_child(k, child, listener_thread, worker_thread, interrupts=True))


def listener_thread(k: Kernel, child: Child) -> Steps[None]:
    """worker.c: listener_thread(). Reserve an idle worker, only then accept; so a busy child does
    not compete, and connections wait in the backlog for another."""
    limit = child.site.settings.max_connections_per_child
    while not child.listener_may_exit:
        # Counted when a connection *ends*, so the limit is overshot by what is in flight.
        if limit and sum(child.made) >= limit:
            yield from signal_threads(k, child, GRACEFULLY)
            break
        yield k.get(child.idle, None)
        conn = None
        while conn is None and not child.listener_may_exit:
            conn = yield from accept_or_wait(k, child)
        if conn is not None:
            yield k.put(child.work, conn)
    yield from stop_listening(k, child)
    yield from end_workers(k, child)


def accept_or_wait(k: Kernel, child: Child) -> Steps[Conn | None]:
    """A connection, or None after a lost race or a wake-up. No accept mutex: a listener thread that
    waits in it is deaf, and could not end with its child; httpd takes none with one Listen either.
    The price is that every idle listener thread wakes for each connection."""
    listener = child.site.listener
    try:
        conn: Conn | None = yield k.accept(listener, 0)
        if conn is None and not child.listener_may_exit:
            k.arm(child.poller, listener)
            yield k.poll(child.poller, None)
            conn = yield k.accept(listener, 0)
    except ResourceShortage:
        child.sick = True
        yield from signal_threads(k, child, GRACEFULLY)
        return None
    return conn


def worker_thread(k: Kernel, child: Child, thread: int) -> Steps[None]:
    """worker.c: worker_thread(). Offer oneself, take a connection, serve it to its end."""
    cell = child.site.cell(child.slot, thread)
    while not child.workers_may_exit:
        child.board.set(cell, READY)
        yield k.put(child.idle, IDLE)
        conn = yield k.get(child.work, None)
        if conn == TERM:
            break
        yield from serve(k, conn, cell, child.site, child.stopping)
        child.made[thread] += 1
    child.board.set(cell, DEAD if child.dying else GRACEFUL)
    yield k.put(child.done, "worker")


class Worker(ThreadedModule):
    """worker's side of the supervisor's bargain (see supervisor.Module)."""

    name = "worker"
    child = staticmethod(child_main)
    ids = Ids(
        resuming="AH00292",
        stale_fatal="AH00290",
        long_lost="AH00291",
        term="AH00295",
        graceful_stop="AH00296",
        graceful="AH00297",
        restart="AH00298",
        fork_failed="AH00283",
        many_kills="AH10393",
    )

    def spares(self, board: Scoreboard, settings: Settings, state: SpareState) -> Decision:
        """perform_idle_server_maintenance()"""
        return worker_spares(board, settings, state)

    def slots(self, settings: Settings) -> int:
        """How many slots startup_children() looks at."""
        return settings.daemons_limit

    def starting(self, board: Scoreboard, slot: int) -> None:
        """make_child(): the threads' cells are left as they are: a predecessor may hold some."""


def parent(k: Kernel, site: Site) -> Steps[int]:
    """worker_run()"""
    return (yield from supervise(k, site, Worker()))
