"""beos: one team; its threads take turns at one lock, behind which one of them waits.

Whoever has the lock polls the listener and a control socket, accepts, lets go of the lock and
serves. A datagram to the control socket ends whichever thread reads it: here a letter in a queue
and a call that ends the poll. The pool grows to MaxClients whatever it has to do. httpd 2.2:
server/mpm/beos/beos.c. The rule of spares is core/spare_native.py's.

Departures. The threads of a team cannot be killed one by one here, so that HUP ends those that wait
and lets those that serve finish their connection, as USR1 does (BeOS signals each thread). WINCH,
which BeOS's httpd does not know, is a stop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mpmlab.core.scoreboard import DEAD, READY, STARTING
from mpmlab.core.spare_native import ThreadState, beos_spares
from mpmlab.kernel.interface import (
    Conn,
    Kernel,
    Mutex,
    Poller,
    Queue,
    ResourceShortage,
    Signal,
    Steps,
)
from mpmlab.mpms.connection import serve
from mpmlab.mpms.site import EXIT_OK, Site
from mpmlab.mpms.supervisor import say_all

#: ap_wait_or_timeout().
HEARTBEAT_S: Final = 1.0
#: How long threads that were told to end are given for it, once.
CHANCE_S: Final = 1.0
#: How long the team rests when a thread cannot be had (make_worker()).
THREAD_FAILURE_REST_S: Final = 10.0
#: Passes without doubling after a graceful restart.
HOLD_OFF_PASSES: Final = 10
#: A datagram to the control socket.
DIE: Final = "die!"


@dataclass
class Team:
    """What the threads share. `alive` has one writer for each thread."""

    site: Site
    mutex: Mutex
    poller: Poller
    control: Queue
    alive: bytearray
    #: shutdown_pending or restart_pending: who ends now is not replaced.
    pending: bool = False
    stopping: bool = False  # mpm_state is STOPPING
    spare: ThreadState = field(default_factory=ThreadState)

    def ends(self) -> bool:
        """Whether no connection is kept alive any more."""
        return self.stopping


def worker_thread(k: Kernel, team: Team, thread: int) -> Steps[None]:
    """worker_thread(). Its generation is tested after each connection."""
    site, cell = team.site, team.site.cell(0, thread)
    board = site.board
    generation = board.generation
    limit = site.settings.max_requests_per_thread
    made = 0
    while not (limit and made >= limit):
        board.set(cell, READY)
        yield k.lock(team.mutex)
        conn = yield from _accept(k, team)
        k.unlock(team.mutex)
        if conn is None:
            break
        yield from serve(k, conn, cell, site, team.ends)
        made += 1
        if board.generation != generation:
            break
    if not team.pending:  # check_restart(), which BeOS calls at a thread's exit
        yield from make_worker(k, team, thread)
        return
    board.set(cell, DEAD)
    team.alive[thread] = 0


def _accept(k: Kernel, team: Team) -> Steps[Conn | None]:
    """Behind the lock: a connection, or None after a datagram."""
    listener = team.site.listener
    while True:
        if k.size(team.control) and (yield k.get(team.control, 0)):
            return None
        k.arm(team.poller, listener)
        if not (yield k.poll(team.poller, None)):
            continue
        try:
            conn: Conn | None = yield k.accept(listener, 0)
        except ResourceShortage:
            k.log("error", "-", "apr_accept")
            yield k.sleep(0)
            continue
        if conn is not None:
            return conn


def make_worker(k: Kernel, team: Team, thread: int) -> Steps[bool]:
    """make_worker(): a thread into this cell. If the system refuses, a long rest, and False."""
    board, cell = team.site.board, team.site.cell(0, thread)
    team.spare.watermark = max(team.spare.watermark, thread + 1)
    board.set(cell, STARTING)
    team.alive[thread] = 1
    if (yield k.thread(worker_thread, team, thread)) is not None:
        return True
    k.log("error", "-", "spawn_thread: Unable to start a new thread")
    team.alive[thread] = 0
    board.set(cell, DEAD)
    yield k.sleep(THREAD_FAILURE_REST_S)
    return False


def _startup_threads(k: Kernel, team: Team, number: int) -> Steps[None]:
    free = [n for n in range(team.site.settings.threads_per_child) if not team.alive[n]]
    for thread in free[:number]:
        if not (yield from make_worker(k, team, thread)):
            break


def _tell_workers_to_exit(k: Kernel, team: Team) -> Steps[None]:
    """A datagram for each thread there may be, and a moment."""
    for _ in range(team.spare.watermark):
        yield k.put(team.control, DIE)
        k.wake(team.poller)
    yield k.sleep(CHANCE_S)


def _main_loop(k: Kernel, team: Team, to_start: int) -> Steps[None]:
    """server_main_loop(): until a signal comes."""
    while True:
        yield k.sleep(HEARTBEAT_S)
        if k.signals():
            return
        if to_start:
            yield from _startup_threads(k, team, to_start)
            to_start = 0
            continue
        for thread in beos_spares(team.site.board, team.site.settings, team.spare).start:
            yield from make_worker(k, team, thread)


def parent(k: Kernel, site: Site) -> Steps[int]:
    """ap_mpm_run()"""
    team = Team(site, k.mutex(), k.poller(), k.queue(), bytearray(site.settings.threads_per_child))
    say_all(k, site.settings.messages)
    site.board.pid[0] = k.pid()
    to_start = site.settings.start_threads
    yield from _startup_threads(k, team, to_start)
    to_start = 0
    while True:
        site.board.generation_of[0] = site.board.generation
        k.log("notice", "-", "mpmlab/beos: resuming normal operations")
        yield from _main_loop(k, team, to_start)
        signals = k.take_signals()
        shutdown = Signal.TERM in signals or Signal.WINCH in signals
        team.pending = True
        team.stopping = shutdown
        if not shutdown:
            site.board.generation += 1
        yield from _tell_workers_to_exit(k, team)
        late = k.take_signals()
        shutdown = shutdown or Signal.TERM in late or Signal.WINCH in late
        if shutdown:
            k.log("notice", "-", "caught SIGTERM, shutting down")
            return EXIT_OK
        name = "SIGHUP" if Signal.HUP in signals else "SIGUSR1"
        k.log("notice", "-", f"{name} received.  Doing graceful restart")
        # Letters that nobody has read are not for the threads of the new generation.
        while k.size(team.control) and (yield k.get(team.control, 0)):
            pass
        team.pending = False
        team.spare.hold_off = HOLD_OFF_PASSES
        to_start = site.settings.start_threads
