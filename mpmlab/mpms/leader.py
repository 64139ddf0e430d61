"""leader: of the threads of a child one is leader; it accepts, names its successor, and serves.

No connection changes hands, and the follower that came last is the next leader, so that few threads
are hot and the rest cold (Leaders/Followers: Schmidt, O'Ryan, Pyarali, Kircher and Buschmann 2000).
An experiment of httpd 2.0: server/mpm/experimental/leader/leader.c (worker_thread,
worker_stack_wait, worker_stack_awaken_next), whose stack is lock-free where ours has a mutex. What
a thread does at the child's end for the others, a thread of its own does here (steward). Everything
else is worker's (worker.py, threaded.py), directives included.
"""

from __future__ import annotations

from typing import Final

from mpmlab.core.scoreboard import DEAD, GRACEFUL, READY
from mpmlab.kernel.interface import Conn, Kernel, Steps
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

LEAD: Final = "lead"


class LeaderChild(OwnHands):
    """A child, its leader and its followers. `followers` and `led` are the mutex's."""

    def __init__(self, k: Kernel, site: Site, slot: int) -> None:
        super().__init__(k, site, slot)
        self.mutex = k.mutex()
        self.led = False  # there is a leader
        self.followers: list[int] = []  # the last is the next leader


def child_main(k: Kernel, site: Site, slot: int) -> Steps[int]:
    """child_main()"""
    child = LeaderChild(k, site, slot)
    return (yield from run_child(k, child, steward, worker_thread, interrupts=True))


def steward(k: Kernel, child: LeaderChild) -> Steps[None]:
    """Wait for the end of the child, then close the listener and end the followers."""
    while not child.listener_may_exit:
        yield k.get(child.idle, None)
    yield from stop_listening(k, child)
    yield from end_workers(k, child)


def worker_thread(k: Kernel, child: LeaderChild, thread: int) -> Steps[None]:
    """worker_thread(). Follow, lead, serve."""
    cell = child.site.cell(child.slot, thread)
    while not child.workers_may_exit:
        child.board.set(cell, READY)
        leads = yield from _lead_at_once(k, child, thread)
        if not leads and (yield k.get(child.hands[thread], None)) == TERM:
            break
        conn = yield from _accept(k, child)
        yield from _promote(k, child)
        if conn is None:
            break
        yield from serve(k, conn, cell, child.site, child.stopping)
        child.made[thread] += 1
    child.board.set(cell, DEAD if child.dying else GRACEFUL)
    yield k.put(child.done, "worker")


def _lead_at_once(k: Kernel, child: LeaderChild, thread: int) -> Steps[bool]:
    """Become leader if there is none, else lie down on the stack (worker_stack_wait)."""
    yield k.lock(child.mutex)
    first = not child.led
    if first:
        child.led = True
    else:
        child.followers.append(thread)
    k.unlock(child.mutex)
    return first


def _accept(k: Kernel, child: LeaderChild) -> Steps[Conn | None]:
    """The leader's part: a connection, or None at the child's end."""
    limit = child.site.settings.max_connections_per_child
    if limit and sum(child.made) >= limit and not child.listener_may_exit:
        yield from signal_threads(k, child, GRACEFULLY)
    conn: Conn | None = None
    while conn is None and not child.listener_may_exit:
        conn = yield from accept_or_wait(k, child)
    return conn


def _promote(k: Kernel, child: LeaderChild) -> Steps[None]:
    """The follower that came last leads from now on, or whoever is idle next
    (worker_stack_awaken_next)."""
    yield k.lock(child.mutex)
    heir = child.followers.pop() if child.followers else None
    child.led = heir is not None
    k.unlock(child.mutex)
    if heir is not None:
        yield k.put(child.hands[heir], LEAD)


class Leader(Worker):
    """leader's side of the supervisor's bargain."""

    name = "leader"
    child = staticmethod(child_main)


def parent(k: Kernel, site: Site) -> Steps[int]:
    """ap_mpm_run()"""
    return (yield from supervise(k, site, Leader()))
