"""mpm_netware: one process; every thread of it waits for connections itself.

There is no parent, no lock and no hand-off: each idle thread selects on the listener, so that a
connection wakes all of them, and the first to accept has it. The main thread keeps the number of
threads; a thread that crashes takes the server with it, as it may take NetWare. httpd:
server/mpm/netware/mpm_netware.c. The rule of spares is core/spare_native.py's.

Departures. The console's RESTART is HUP or USR1 here, both of which are the one graceful restart
that there is, and SHUTDOWN is TERM; so is WINCH. A thread that found nothing to accept sleeps
for no time where NetWare's yields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mpmlab.core.scoreboard import DEAD, IDLE_KILL, READY, STARTING
from mpmlab.core.spare_native import ThreadState, netware_spares
from mpmlab.kernel.interface import Conn, Kernel, Poller, ResourceShortage, Signal, Steps
from mpmlab.mpms.connection import serve
from mpmlab.mpms.site import EXIT_OK, Site
from mpmlab.mpms.supervisor import say_all

#: How long a thread selects before it looks whether it is to end (worker_main()).
SELECT_S: Final = 1.0
#: SCOREBOARD_MAINTENANCE_INTERVAL.
HEARTBEAT_S: Final = 1.0
#: After a connection a thread tries to accept the next one without selecting, so often in vain.
MISSES: Final = 3
#: The main thread looks so often whether all threads have ended.
LOOK_S: Final = 0.1
#: Passes without doubling after a restart.
HOLD_OFF_PASSES: Final = 10


@dataclass
class Nlm:
    """The loaded module: what its threads share. `alive` has one writer for each thread."""

    site: Site
    alive: bytearray
    stopping: bool = False  # shutdown or restart: mpm_state is STOPPING
    spare: ThreadState = field(default_factory=ThreadState)

    def ends(self) -> bool:
        """Whether no connection is kept alive any more."""
        return self.stopping


def worker_main(k: Kernel, nlm: Nlm, thread: int) -> Steps[None]:
    """worker_main(): accept and serve, one connection after the other."""
    site, cell = nlm.site, nlm.site.cell(0, thread)
    limit = site.settings.max_connections_per_child
    poller = k.poller()
    made = 0
    eager = False  # there was a connection: try for another before selecting
    while not (limit and made >= limit):
        made += 1
        site.board.set(cell, READY)  # also over an order to end that came while it was busy
        try:
            conn = yield from _accept(k, nlm, poller, cell, eager)
        except ResourceShortage:
            k.log("error", "-", "apr_socket_accept: (client socket)")
            break
        if conn is None:
            break
        eager = True
        yield from serve(k, conn, cell, site, nlm.ends)
    k.close(poller)
    site.board.set(cell, DEAD)
    nlm.alive[thread] = 0


def _accept(k: Kernel, nlm: Nlm, poller: Poller, cell: int, eager: bool) -> Steps[Conn | None]:
    """A connection; None if the thread is to end, which it notices within a second."""
    listener, board = nlm.site.listener, nlm.site.board
    misses = 0 if eager else MISSES
    while not nlm.stopping and board.status[cell] != IDLE_KILL:
        if misses >= MISSES:
            k.arm(poller, listener)
            if not (yield k.poll(poller, SELECT_S)):
                continue
            misses = 0
        conn: Conn | None = yield k.accept(listener, 0)
        if conn is not None:
            return conn
        misses += 1
        yield k.sleep(0)
    return None


def make_worker(k: Kernel, nlm: Nlm, thread: int) -> Steps[bool]:
    """make_child(): a thread into this cell. False if the system refuses."""
    board, cell = nlm.site.board, nlm.site.cell(0, thread)
    board.set(cell, STARTING)
    nlm.alive[thread] = 1
    if (yield k.thread(worker_main, nlm, thread)) is not None:
        return True
    nlm.alive[thread] = 0
    board.set(cell, DEAD)
    yield k.sleep(0)
    return False


def _startup_workers(k: Kernel, nlm: Nlm) -> Steps[None]:
    settings, board = nlm.site.settings, nlm.site.board
    dead = [n for n in range(settings.max_threads) if board.status[n] == DEAD]
    for thread in dead[: settings.start_threads]:
        if not (yield from make_worker(k, nlm, thread)):
            break


def _maintain(k: Kernel, nlm: Nlm) -> Steps[None]:
    """perform_idle_server_maintenance()"""
    board = nlm.site.board
    decision = netware_spares(board, nlm.site.settings, nlm.spare)
    say_all(k, decision.messages)
    if decision.end is not None:
        board.set(decision.end, IDLE_KILL)
    for thread in decision.start:
        yield from make_worker(k, nlm, thread)


def _shuts_down(signals: Sequence[Signal]) -> bool:
    return Signal.TERM in signals or Signal.WINCH in signals


def parent(k: Kernel, site: Site) -> Steps[int]:
    """netware_run(): threads, maintenance each second, and at the end wait for every thread."""
    nlm = Nlm(site, bytearray(site.settings.max_threads))
    say_all(k, site.settings.messages)
    site.board.pid[0] = k.pid()
    while True:
        site.board.generation_of[0] = site.board.generation
        yield from _startup_workers(k, nlm)
        k.log("notice", "AH00224", "mpmlab/netware: resuming normal operations")
        while not k.signals():
            yield from _maintain(k, nlm)
            yield k.sleep(HEARTBEAT_S)
        shutdown = _shuts_down(k.take_signals())
        if shutdown:
            k.log("notice", "AH00226", "caught SIGTERM, shutting down")
        else:
            site.board.generation += 1
            k.log("notice", "AH00227", "Graceful restart requested, doing restart")
        nlm.stopping = True
        while any(nlm.alive):
            yield k.sleep(LOOK_S)
            shutdown = _shuts_down(k.take_signals()) or shutdown  # while a restart waits
        if shutdown:
            return EXIT_OK
        nlm.stopping = False
        nlm.spare.hold_off = HOLD_OFF_PASSES
