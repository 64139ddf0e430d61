"""mpmt_os2: a fixed number of children; each accepts in its main thread and queues for its workers.

The queue has no bound: a child accepts whether or not a worker is idle. A maintenance thread looks
twice a second and starts as many workers as are missing, at once. A worker that crashes is caught:
its thread ends, and its child is replaced gracefully. httpd: server/mpm/mpmt_os2/mpmt_os2.c and
mpmt_os2_child.c. The rules of spares are core/spare_native.py's.

Departures. OS/2's parent ends without waiting for its children; ours waits, and kills in the end
those that stay. A child here is forked where OS/2 runs the program anew. WINCH, which it does not
know, is a stop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mpmlab.core.scoreboard import DEAD, READY, STARTING
from mpmlab.core.spare_native import os2_missing, os2_spares
from mpmlab.kernel.interface import Conn, Kernel, ResourceShortage, Signal, Steps
from mpmlab.mpms.connection import CaughtCrash, serve
from mpmlab.mpms.site import EXIT_CHILDFATAL, EXIT_OK, Site
from mpmlab.mpms.supervisor import Parent, forget, reclaim, say_all

#: SCOREBOARD_MAINTENANCE_INTERVAL of the parent.
HEARTBEAT_S: Final = 1.0
#: How often a child's maintenance thread looks (server_maintenance()).
MAINTENANCE_S: Final = 0.5
#: A child that quiesces looks so often whether its workers have ended.
LOOK_S: Final = 1.0
#: WORKTYPE_EXIT.
EXIT: Final = "exit"


class Child:
    """What the threads of one child share."""

    def __init__(self, k: Kernel, site: Site, slot: int) -> None:
        self.site = site
        self.slot = slot
        self.work = k.queue()
        self.shutdown = k.queue()  # shutdown_event
        self.ended = k.queue()  # the maintenance thread has

    def cell(self, thread: int) -> int:
        """A worker's cell."""
        return self.site.cell(self.slot, thread)

    def living(self) -> list[int]:
        """Worker threads that there are."""
        row = self.site.board.row(self.slot)
        return [thread for thread, status in enumerate(row) if status != DEAD]


def never() -> bool:
    """mpmt_os2 does not answer AP_MPMQ_MPM_STATE, so that its connections are kept alive in a child
    that ends."""
    return False


def child_main(k: Kernel, site: Site, slot: int) -> Steps[int]:
    """ap_mpm_child_main(): accept until it is time to go, then end the workers."""
    child = Child(k, site, slot)
    board, limit = site.board, site.settings.max_connections_per_child
    made = 0
    maintained = (yield k.thread(server_maintenance, child)) is not None
    while not k.signals() and board.generation == site.generation:
        if limit and made >= limit:
            break
        try:
            conn: Conn | None = yield k.accept(site.listener, None)
        except ResourceShortage:
            k.log("error", "AH00194", "apr_socket_accept")
            return EXIT_CHILDFATAL
        if conn is not None:
            yield k.put(child.work, conn)
            made += 1
    board.quiescing[slot] = 1
    if Signal.TERM in k.take_signals():
        return EXIT_OK  # with all its threads and what they were doing
    yield k.put(child.shutdown, EXIT)
    while maintained and not (yield k.get(child.ended, None)):
        if Signal.TERM in k.take_signals():
            return EXIT_OK
    for _ in child.living():
        yield k.put(child.work, EXIT)
    while child.living():
        yield k.sleep(LOOK_S)
        if Signal.TERM in k.take_signals():
            break
    return EXIT_OK


def worker_main(k: Kernel, child: Child, thread: int) -> Steps[None]:
    """worker_main(), and thread_exception_handler()."""
    cell, board = child.cell(thread), child.site.board
    board.set(cell, READY)
    while True:
        conn = yield k.get(child.work, None)
        if conn == EXIT:
            break
        try:
            yield from serve(k, conn, cell, child.site, never)
        except CaughtCrash:
            text = "caught exception in worker thread, initiating child shutdown"
            k.log("error", "AH00195", text)
            board.quiescing[child.slot] = 1
            k.kill(k.pid(), Signal.HUP)
            break  # the connection stays open until the process ends
        board.set(cell, READY)
    board.set(cell, DEAD)


def server_maintenance(k: Kernel, child: Child) -> Steps[None]:
    """server_maintenance(): until the child shuts down. The first pass makes the first workers: the
    loop that would have is commented out in the source."""
    board, settings = child.site.board, child.site.settings
    while True:
        idle = bytes(board.row(child.slot)).count(READY)
        needed, end_one = os2_spares(idle, k.size(child.work), settings)
        for _ in range(needed):
            yield from _add_worker(k, child)
        if end_one:
            yield k.put(child.work, EXIT)
        if (yield k.get(child.shutdown, MAINTENANCE_S)):
            break
    yield k.put(child.ended, EXIT)


def _add_worker(k: Kernel, child: Child) -> Steps[None]:
    """add_worker(): into the first free cell, if there is one."""
    board = child.site.board
    thread = bytes(board.row(child.slot)).find(DEAD)
    if thread < 0:
        return
    board.set(child.cell(thread), STARTING)
    if (yield k.thread(worker_main, child, thread)) is None:
        board.set(child.cell(thread), DEAD)


# ---- the parent --------------------------------------------------------------------------------


def parent(k: Kernel, site: Site) -> Steps[int]:
    """mpmt_os2_run() and master_main()"""
    p = Parent(replace(site, catches_crashes=True))
    say_all(k, site.settings.messages)
    while True:
        p.site = replace(p.site, generation=site.board.generation)
        k.log("notice", "-", "mpmlab/mpmt_os2: resuming normal operations")
        signals, fatal = yield from _master_main(k, p)
        site.board.generation += 1
        if fatal or Signal.TERM in signals or Signal.WINCH in signals:
            yield from reclaim(k, p, terminate=True)
            k.log("notice", "-", "caught SIGTERM, shutting down")
            return EXIT_CHILDFATAL if fatal else EXIT_OK
        graceful = Signal.HUP not in signals
        for pid in sorted(p.children):
            k.kill(pid, Signal.HUP if graceful else Signal.TERM)


def _master_main(k: Kernel, p: Parent) -> Steps[tuple[list[Signal], bool]]:
    """Keep StartServers children that do not quiesce, until a signal comes (what came), or a child
    says that nothing can work (True)."""
    board = p.site.board
    while True:
        signals = [*p.late, *k.take_signals()]
        p.late.clear()
        if signals:
            return signals, False
        for slot in os2_missing(board, p.site.settings):
            yield from _spawn_child(k, p, slot)
        dead = yield k.wait(0)
        if dead is None:
            yield k.sleep(HEARTBEAT_S)
            continue
        known = dead.pid in p.children
        forget(p, dead.pid)
        if known and dead.signal is None and dead.code == EXIT_CHILDFATAL:
            return [], True


def _spawn_child(k: Kernel, p: Parent, slot: int) -> Steps[None]:
    board = p.site.board
    board.clear_slot(slot)
    board.generation_of[slot] = p.site.generation
    pid = yield k.fork(child_main, p.site, slot)
    if pid is None:
        k.log("error", "-", f"error spawning child, slot {slot}")
        return
    board.pid[slot] = pid
    p.children[pid] = slot
