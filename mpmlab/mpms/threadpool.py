"""threadpool: worker, but the listener hands each connection to the thread that went idle last.

Every thread has a cell of its own where a connection is put, so that threads which are still warm
work and others rest. An experiment of httpd 2.0, whose manual says that it performs worse than
worker: server/mpm/experimental/threadpool/threadpool.c (listener_thread, worker_thread). Everything
else is worker's (worker.py, threaded.py), directives included.
"""

from __future__ import annotations

from mpmlab.core.scoreboard import DEAD, GRACEFUL, READY
from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.mpms.connection import serve
from mpmlab.mpms.site import Site
from mpmlab.mpms.supervisor import supervise
from mpmlab.mpms.threaded import (
    GRACEFULLY,
    TERM,
    OwnHands,
    end_workers,
    run_child,
    signal_threads,
    stop_listening,
)
from mpmlab.mpms.worker import Worker, accept_or_wait


def child_main(k: Kernel, site: Site, slot: int) -> Steps[int]:
    """child_main()"""
    child = OwnHands(k, site, slot)
    return (yield from run_child(k, child, listener_thread, worker_thread, interrupts=True))


def listener_thread(k: Kernel, child: OwnHands) -> Steps[None]:
    """listener_thread(). Reserve the worker that went idle last, only then accept."""
    limit = child.site.settings.max_connections_per_child
    while not child.listener_may_exit:
        if limit and sum(child.made) >= limit:
            yield from signal_threads(k, child, GRACEFULLY)
            break
        worker = yield k.get(child.idle, None)
        conn = None
        while conn is None and not child.listener_may_exit:
            conn = yield from accept_or_wait(k, child)
        if conn is not None:
            yield k.put(child.hands[worker - 1], conn)
    yield from stop_listening(k, child)
    yield from end_workers(k, child)


def worker_thread(k: Kernel, child: OwnHands, thread: int) -> Steps[None]:
    """worker_thread(). Lie down on the stack, take a connection, serve it to its end."""
    cell = child.site.cell(child.slot, thread)
    while not child.workers_may_exit:
        child.board.set(cell, READY)
        yield k.put(child.idle, thread + 1)
        conn = yield k.get(child.hands[thread], None)
        if conn == TERM:
            break
        yield from serve(k, conn, cell, child.site, child.stopping)
        child.made[thread] += 1
    child.board.set(cell, DEAD if child.dying else GRACEFUL)
    yield k.put(child.done, "worker")


class ThreadPool(Worker):
    """threadpool's side of the supervisor's bargain."""

    name = "threadpool"
    child = staticmethod(child_main)


def parent(k: Kernel, site: Site) -> Steps[int]:
    """ap_mpm_run()"""
    return (yield from supervise(k, site, ThreadPool()))
