"""The parent of prefork, worker and event: start children, reap them, keep the pool, obey signals.

One loop for all three; what differs is behind `Module`. No decision is made here that can be made
purely: the spare rules, the kill ladder and the respawn rule are core/spare.py. httpd:
server/mpm_common.c (ap_wait_or_timeout, ap_process_child_status), server/mpm_unix.c
(ap_reclaim_child_processes, dummy_connection), and the *_run() of each MPM.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from mpmlab.core.scoreboard import Scoreboard
from mpmlab.core.settings import Message, Settings
from mpmlab.core.spare import Decision, Reclaim, RespawnRule, SpareState
from mpmlab.kernel.interface import Dead, Kernel, KernelError, Signal, Steps
from mpmlab.mpms.site import EXIT_CHILDFATAL, EXIT_CHILDSICK, EXIT_OK, Site

#: The parent's heartbeat (server/mpm_common.c ap_wait_or_timeout).
HEARTBEAT_S: Final = 1.0
#: How long the parent rests when fork fails (each MPM's make_child()).
FORK_FAILURE_REST_S: Final = 10.0
#: Connect timeout of a dummy connection (server/mpm_unix.c).
DUMMY_TIMEOUT_S: Final = 3.0
#: Spawning passes without doubling after a graceful restart (each MPM's *_run()).
HOLD_OFF_PASSES: Final = 10

#: Deaths by these are the parent's own doing, and silent (ap_process_child_status).
_QUIET: Final = (Signal.TERM, Signal.HUP, Signal.USR1, Signal.KILL)


class Order(enum.Enum):
    """What a signal to the parent asks for."""

    STOP = Signal.TERM
    GRACEFUL_STOP = Signal.WINCH
    RESTART = Signal.HUP
    GRACEFUL = Signal.USR1
    ABORT = "a child said that nothing can work"


@dataclass(frozen=True)
class Ids:
    """One MPM's message numbers for the parent's life."""

    resuming: str
    stale_fatal: str
    long_lost: str
    term: str
    graceful_stop: str
    graceful: str
    restart: str
    fork_failed: str
    many_kills: str


@dataclass
class Parent:
    """What the parent knows; `spare` and the reported flags live as long as it does."""

    site: Site
    spare: SpareState = field(default_factory=SpareState)
    children: dict[int, int] = field(default_factory=dict)  # pid -> slot
    extra: set[int] = field(default_factory=set)  # old pids whose slot was taken over
    to_start: int = 0
    respawn: RespawnRule = field(default_factory=RespawnRule)
    restarted: bool = False
    late: list[Signal] = field(default_factory=list)  # came while we were busy stopping children


class Module(Protocol):
    """What the supervisor asks of an MPM."""

    name: str
    quick_respawn: bool
    takes_turns: bool  # at accepting, by the accept mutex
    ids: Ids

    @property
    def child(self) -> Callable[[Kernel, Site, int], Steps[int]]: ...
    def spares(self, board: Scoreboard, settings: Settings, state: SpareState) -> Decision: ...
    def slots(self, settings: Settings) -> int: ...
    def starting(self, board: Scoreboard, slot: int) -> None: ...
    def kill_one(self, k: Kernel, site: Site) -> Steps[None]: ...
    def tell_all(
        self, k: Kernel, site: Site, children: Mapping[int, int], graceful: bool
    ) -> Steps[None]: ...


def supervise(k: Kernel, site: Site, mpm: Module) -> Steps[int]:
    """Run a server until it is told to stop; its exit code. Signals: TERM stop, WINCH graceful
    stop, HUP restart, USR1 graceful restart."""
    p = Parent(site)
    say_all(k, site.settings.messages)
    p.to_start = site.settings.start_servers
    order: Order | None = None
    while True:
        p.site = _new_generation(k, p.site, mpm)
        if order is not Order.GRACEFUL:
            yield from start_children(k, p, mpm)
        k.log("notice", mpm.ids.resuming, f"mpmlab/{mpm.name}: resuming normal operations")
        order = yield from _tend(k, p, mpm)
        if order is Order.GRACEFUL:
            yield from _graceful_restart(k, p, mpm)
        elif order is Order.RESTART:
            yield from _restart(k, p, mpm)
        elif order is Order.GRACEFUL_STOP:
            return (yield from _graceful_stop(k, p, mpm))
        else:
            return (yield from _stop(k, p, mpm, order))


def _new_generation(k: Kernel, site: Site, mpm: Module) -> Site:
    """The pipe of death and the accept mutex are made anew for each generation, so that letters
    meant for the old one never kill the new."""
    return replace(
        site,
        generation=site.board.generation,
        pod=k.queue(shared=True),
        accept_mutex=k.mutex(shared=True) if site.serialized_accept and mpm.takes_turns else None,
    )


def _tend(k: Kernel, p: Parent, mpm: Module) -> Steps[Order]:
    """The main loop of one generation (prefork_run, server_main_loop): one pass a heartbeat in
    which nobody died; a stream of deaths postpones maintenance."""
    while True:
        signals = [*p.late, *k.take_signals()]
        if signals:
            p.late.clear()
            return _order(signals)
        dead = yield k.wait(0)
        if dead is None:
            yield k.sleep(HEARTBEAT_S)
            if k.signals():
                continue
            p.respawn.quiet()
        else:
            ours = dead.pid in p.children  # and not one whose slot was taken over
            if (yield from _bury(k, p, mpm, dead)):
                return Order.ABORT
            if not (ours and mpm.quick_respawn and _killed_once_more(k, p, mpm, dead)):
                continue
        if p.to_start:
            yield from start_children(k, p, mpm)
        elif dead is None and (yield from _maintain(k, p, mpm)):
            return Order.ABORT


def _order(signals: Sequence[Signal]) -> Order:
    """An ungraceful signal overrides a graceful one, a stop a restart (mpm_unix.c); so that a
    restart together with a graceful stop is an ungraceful stop."""
    if Signal.HUP in signals and Signal.WINCH in signals:
        return Order.STOP
    for order in (Order.STOP, Order.RESTART, Order.GRACEFUL_STOP, Order.GRACEFUL):
        if order.value in signals:
            return order
    raise AssertionError(f"not a control signal: {signals}")


def _maintain(k: Kernel, p: Parent, mpm: Module) -> Steps[bool]:
    """perform_idle_server_maintenance(): decide purely, then act. True: give up."""
    decision = mpm.spares(p.site.board, p.site.settings, p.spare)
    say_all(k, decision.messages)
    if decision.kill_one:
        yield from mpm.kill_one(k, p.site)
    for slot in decision.fork_slots:
        yield from make_child(k, p, mpm, slot)
    return decision.fatal


def start_children(k: Kernel, p: Parent, mpm: Module) -> Steps[None]:
    """startup_children(): `to_start` of them, into the lowest free slots."""
    number, p.to_start = p.to_start, 0
    board = p.site.board
    free = [slot for slot in range(mpm.slots(p.site.settings)) if not board.pid[slot]]
    for slot in free[:number]:
        if not (yield from make_child(k, p, mpm, slot)):
            break


def make_child(k: Kernel, p: Parent, mpm: Module, slot: int) -> Steps[bool]:
    """make_child(): fork into the slot. A failed fork costs the parent 10 s of rest. In worker the
    slot may be that of a quiescing process, which is taken over once the fork has succeeded."""
    board = p.site.board
    old, generation = board.pid[slot], board.generation_of[slot]
    board.quiescing[slot] = 0
    board.not_accepting[slot] = 0
    board.generation_of[slot] = p.site.generation
    mpm.starting(board, slot)
    pid = yield k.fork(mpm.child, p.site, slot)
    if pid is None:
        k.log("error", mpm.ids.fork_failed, "fork: unable to fork a new process")
        if old:
            board.quiescing[slot], board.generation_of[slot] = 1, generation
        else:
            board.clear_slot(slot)
        yield k.sleep(FORK_FAILURE_REST_S)
        return False
    if old:
        k.log("debug", "AH00263", f"taking over scoreboard slot from {old} (quiescing)")
        p.extra.add(old)
        del p.children[old]
    board.pid[slot] = pid
    p.children[pid] = slot
    p.spare.active_daemons += 1
    p.spare.total_daemons += 1
    p.spare.watermark = max(p.spare.watermark, slot + 1)
    return True


def _bury(k: Kernel, p: Parent, mpm: Module, dead: Dead) -> Steps[bool]:
    """A child was reaped. True if it said that the whole server must go down (CHILDFATAL of the
    running generation)."""
    _obituary(k, dead)
    slot = p.children.get(dead.pid)
    if dead.code == EXIT_CHILDFATAL and dead.signal is None:
        if slot is None or p.site.board.generation_of[slot] == p.site.board.generation:
            forget(p, dead.pid)
            return True
        k.log("warn", mpm.ids.stale_fatal, "Ignoring fatal error in child of previous generation")
    forget(p, dead.pid)
    if slot is None:
        if dead.pid in p.extra:
            p.extra.discard(dead.pid)
        elif p.restarted:
            k.log("warn", mpm.ids.long_lost, f"long lost child came home! (pid {dead.pid})")
    elif dead.code == EXIT_CHILDSICK and dead.signal is None:
        p.spare.rate = 1
        p.spare.sick_child_detected = True
    elif p.to_start and slot < p.site.settings.daemons_limit:
        p.to_start -= 1  # one for one, after a graceful restart
        yield from make_child(k, p, mpm, slot)
    return False


def _killed_once_more(k: Kernel, p: Parent, mpm: Module, dead: Dead) -> bool:
    """worker, event: a child killed by a signal is replaced in this very pass, unless too many in
    a row were (server_main_loop, since 2022)."""
    if dead.signal is None:
        return False
    again = p.respawn.killed()
    if again.message:
        k.log("warn", mpm.ids.many_kills, "children are killed successively!")
    if again.start_now:
        p.to_start += 1
    return again.start_now


def _obituary(k: Kernel, dead: Dead) -> None:
    """ap_process_child_status(): what is said of a death."""
    if dead.signal is not None:
        if dead.signal not in _QUIET:
            k.log("notice", "AH00052", f"child pid {dead.pid} exit signal SIG{dead.signal.value}")
    elif dead.code == EXIT_CHILDFATAL:
        k.log("alert", "AH00050", f"Child {dead.pid} returned a Fatal error... Apache is exiting!")


def forget(p: Parent, pid: int) -> None:
    """The child is gone: its slot is free."""
    slot = p.children.pop(pid, None)
    if slot is not None:
        # Unless event's maintenance has counted it out already, as quiescing.
        p.spare.active_daemons -= p.site.board.quiescing[slot] != 2
        p.spare.total_daemons -= 1
        p.site.board.clear_slot(slot)


def dummy_connection(k: Kernel, site: Site) -> Steps[None]:
    """A connection to ourselves, so that a child that waits in accept goes round its loop. It asks
    OPTIONS * and does not wait for the answer (server/mpm_unix.c dummy_connection)."""
    try:
        conn = yield k.connect(site.listener, DUMMY_TIMEOUT_S)
    except KernelError as error:  # no descriptor, no port: say so, and let the children be
        k.log("warn", "AH00056", f"connect to listener: {error}")
        return
    if conn is None:
        return
    yield k.send(conn, site.dummy_request(), DUMMY_TIMEOUT_S)
    k.close(conn)


def say_all(k: Kernel, messages: tuple[Message, ...]) -> None:
    """Into the error log."""
    for message in messages:
        k.log(message.level, message.ident, message.text)


# ---- the four orders ---------------------------------------------------------------------------


def _graceful_restart(k: Kernel, p: Parent, mpm: Module) -> Steps[None]:
    """USR1: a new generation; the old children finish what they hold, and are replaced one for one
    as they end, or at the first quiet second."""
    k.log("notice", mpm.ids.graceful, "Graceful restart requested, doing restart")
    p.site.board.generation += 1
    yield from mpm.tell_all(k, p.site, p.children, True)
    p.spare.hold_off = HOLD_OFF_PASSES
    p.spare.had_healthy_child = False
    p.to_start = p.site.settings.start_servers
    p.restarted = True


def _restart(k: Kernel, p: Parent, mpm: Module) -> Steps[None]:
    """HUP: all children are stopped, then a fresh scoreboard and a new generation."""
    yield from mpm.tell_all(k, p.site, p.children, False)
    yield from reclaim(k, p, terminate=False)
    k.log("notice", mpm.ids.restart, "SIGHUP received.  Attempting to restart")
    p.site.board.clear()
    p.site.board.generation += 1
    p.spare.had_healthy_child = False
    p.to_start = p.site.settings.start_servers


def _stop(k: Kernel, p: Parent, mpm: Module, order: Order) -> Steps[int]:
    """TERM, or a fatal child: stop all children, then ourselves."""
    yield from mpm.tell_all(k, p.site, p.children, False)
    yield from reclaim(k, p, terminate=True)
    if order is Order.ABORT:
        return EXIT_CHILDFATAL
    k.log("notice", mpm.ids.term, "caught SIGTERM, shutting down")
    return EXIT_OK


def _graceful_stop(k: Kernel, p: Parent, mpm: Module) -> Steps[int]:
    """WINCH: stop listening, let what is open finish (GracefulShutdownTimeout at most, 0 is for
    ever), then stop the rest."""
    k.close(p.site.listener)
    yield from mpm.tell_all(k, p.site, p.children, True)
    k.log("notice", mpm.ids.graceful_stop, "caught SIGWINCH, shutting down gracefully")
    limit_s = p.site.settings.graceful_shutdown_timeout_s
    deadline = k.now() + limit_s if limit_s else float("inf")
    while True:
        yield k.sleep(HEARTBEAT_S)
        yield from reap(k, p)
        if not (p.children or p.extra) or k.now() >= deadline or Signal.TERM in k.take_signals():
            break
    yield from mpm.tell_all(k, p.site, p.children, False)
    yield from reclaim(k, p, terminate=True)
    return EXIT_OK


def reap(k: Kernel, p: Parent) -> Steps[None]:
    """Bury whoever has already ended (ap_relieve_child_processes)."""
    while True:
        dead = yield k.wait(0)
        if dead is None:
            return
        forget(p, dead.pid)
        p.extra.discard(dead.pid)


def reclaim(k: Kernel, p: Parent, terminate: bool) -> Steps[None]:
    """The kill ladder (ap_reclaim_child_processes): TERM at once if `terminate`, TERM with a
    warning at 3, 5 and 7 s, KILL at 9 s, give up at 10 s; the waits grow from 16 ms to 1 s."""
    ladder = Reclaim(terminate)
    started = k.now()
    while True:
        yield from reap(k, p)
        pids = sorted([*p.children, *p.extra])
        if not pids:
            return
        action = ladder.next(k.now() - started)
        for pid in pids:
            if action.message is not None:
                message = action.message
                k.log(message.level, message.ident, f"child process {pid} {message.text}")
            if action.kind in ("term", "kill"):
                k.kill(pid, Signal.TERM if action.kind == "term" else Signal.KILL)
        if action.kind == "give_up":
            return
        p.late += k.take_signals()  # pending ones would end the sleep at once; a restart obeys them
        yield k.sleep(action.wait_s)
