"""What the children of worker and event share: main thread, start thread, hand-off, ending.

A child is one main thread that reads the pipe of death, one listener thread, and ThreadsPerChild
worker threads; listener and workers meet at two queues: `idle` (a worker offers itself: httpd's
queue_info) and `work` (a connection is handed over: httpd's fd_queue). Because the listener takes
an offer before it accepts, no accepted connection ever waits in user space. httpd:
server/mpm/worker/worker.c and server/mpm/event/event.c (child_main, start_threads, join_workers,
signal_threads),
server/mpm_fdqueue.c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mpmlab.core.scoreboard import DEAD, GRACEFUL, STARTING
from mpmlab.kernel.interface import Kernel, Signal, Steps
from mpmlab.mpms.site import EXIT_CHILDSICK, EXIT_OK, Site

#: How a child ends: as httpd's terminate_mode.
RUNNING: Final = 0
GRACEFULLY: Final = 1
AT_ONCE: Final = 2

#: Letters in the pipe of death (server/mpm_unix.c podx).
POD_GRACEFUL: Final = "!"
POD_RESTART: Final = "$"

#: Tokens in the queues.
IDLE: Final = "idle"
TERM: Final = "term"
LOOK: Final = "look"  # interrupts a waiting worker; costs no offer
DRAIN: Final = "drain"  # event: deferred closes wait; costs an offer

#: join_workers(): how often, and how long apart, the listener is woken again.
JOIN_TRIES: Final = 10
JOIN_WAIT_S: Final = 0.5
#: start_threads(): rest before looking for vacated thread slots again.
START_REST_S: Final = 1.0


class Child:
    """One child process's shared state. Written by one thread each, or in single steps."""

    def __init__(self, k: Kernel, site: Site, slot: int) -> None:
        self.site = site
        self.slot = slot
        self.board = site.board
        self.threads = site.settings.threads_per_child
        self.idle = k.queue()
        self.work = k.queue()
        self.hands = [self.work] * self.threads  # from which each worker takes
        self.done = k.queue()
        self.poller = k.poller()
        self.mode = RUNNING
        self.listener_may_exit = False
        self.workers_may_exit = False
        self.dying = False
        self.sick = False
        self.started = 0  # worker threads
        self.made = [0] * self.threads  # connections finished, by thread
        self.ended: dict[str, int] = {"start": 0, "closed": 0, "listener": 0, "worker": 0}

    def stopping(self) -> bool:
        """No new keep-alive from now on."""
        return self.mode != RUNNING


class OwnHands(Child):
    """A child each of whose workers takes from a queue of its own, so that it is said who is next:
    threadpool and leader."""

    def __init__(self, k: Kernel, site: Site, slot: int) -> None:
        super().__init__(k, site, slot)
        self.hands = [k.queue() for _ in range(self.threads)]
        self.idle = k.queue(order="lifo")


ThreadFunction = Callable[..., Steps[None]]


def run_child(
    k: Kernel, child: Child, listener: ThreadFunction, worker: ThreadFunction, interrupts: bool
) -> Steps[int]:
    """child_main(): start the threads, wait for the order to end, join them. The exit code.

    `interrupts`: an ungraceful end breaks the workers' blocked reads (worker does; event does not,
    and may have to be killed)."""
    tid = yield k.thread(start_threads, child, listener, worker)
    if tid is None:
        return EXIT_CHILDSICK
    mode = yield from _await_order(k, child)
    child.listener_may_exit = True  # also stops the start thread
    while not child.ended["start"]:
        yield from _collect(k, child, None)
    yield from signal_threads(k, child, mode)
    if mode == AT_ONCE and interrupts:
        k.interrupt()
    yield from _join(k, child)
    return EXIT_CHILDSICK if child.sick else EXIT_OK


def _await_order(k: Kernel, child: Child) -> Steps[int]:
    """A letter of the pipe of death, or a thread's own wish, told by TERM. A TERM from outside
    means nothing by itself (httpd's dummy_signal_handler)."""
    assert child.site.pod is not None
    while True:
        letter = yield k.get(child.site.pod, None)
        if letter:
            return GRACEFULLY if letter == POD_GRACEFUL else AT_ONCE
        k.take_signals()
        if child.mode != RUNNING:
            return child.mode


def start_threads(
    k: Kernel, child: Child, listener: ThreadFunction, worker: ThreadFunction
) -> Steps[None]:
    """start_threads(): a worker for each thread slot that is free; slots still held by threads of
    a quiescing predecessor are tried again each second. The listener starts with the first."""
    board = child.board
    waiting = list(range(child.threads))
    while waiting and not child.listener_may_exit:
        for thread in list(waiting):
            cell = child.site.cell(child.slot, thread)
            if board.status[cell] not in (DEAD, GRACEFUL):
                continue
            board.set(cell, STARTING)
            child.started += 1
            waiting.remove(thread)
            tid = yield k.thread(worker, child, thread)
            if tid is None:
                child.started -= 1
                board.set(cell, DEAD)
                yield from _give_up(k, child, listening=child.started > 0)
                return
            if child.started == 1 and (yield k.thread(listener, child)) is None:
                yield from _give_up(k, child, listening=False)
                return
        if waiting:
            yield k.sleep(START_REST_S)
    if not child.started:  # told to end before there was room for a single thread
        yield k.put(child.done, "closed")
        yield k.put(child.done, "listener")
    yield k.put(child.done, "start")


def _give_up(k: Kernel, child: Child, listening: bool) -> Steps[None]:
    """No more threads to be had: end, and let the parent judge (CHILDSICK). Without a listener
    thread its part in the end is ours."""
    child.sick = True
    if not listening:
        yield k.put(child.done, "closed")
        yield from end_workers(k, child)
    yield k.put(child.done, "start")
    child.mode = GRACEFULLY
    child.listener_may_exit = True
    k.kill(k.pid(), Signal.TERM)


def signal_threads(k: Kernel, child: Child, mode: int) -> Steps[None]:
    """signal_threads(): tell listener and workers to end, gracefully or at once."""
    if mode >= child.mode:
        child.mode = mode
    child.listener_may_exit = True
    k.wake(child.poller)
    yield k.put(child.idle, TERM)  # should the listener wait for a worker
    if mode == AT_ONCE:
        child.workers_may_exit = True
        for hand in child.hands:
            yield k.put(hand, TERM)


def stop_listening(k: Kernel, child: Child) -> Steps[None]:
    """The listener's side of the end: close the listener, be quiescing, wake the main thread."""
    k.arm(child.poller, child.site.listener, on=False)
    k.close(child.site.listener)
    child.dying = True
    child.board.quiescing[child.slot] = 1
    yield k.put(child.done, "closed")
    k.kill(k.pid(), Signal.TERM)


def end_workers(k: Kernel, child: Child) -> Steps[None]:
    """ap_queue_term(): each worker ends when all that was handed over is served."""
    for hand in child.hands:
        yield k.put(hand, TERM)
    yield k.put(child.done, "listener")


def _join(k: Kernel, child: Child) -> Steps[None]:
    """join_workers(): the listener must stop listening within 10 tries, each waking it again; then
    as long as it takes for every thread."""
    for _ in range(JOIN_TRIES):
        if child.ended["closed"]:
            break
        yield from _collect(k, child, JOIN_WAIT_S)
        k.wake(child.poller)
    if not child.ended["closed"]:
        k.log("notice", "AH00276", "the listener thread didn't stop accepting")
    while child.ended["worker"] < child.started or not child.ended["listener"]:
        yield from _collect(k, child, None)


def _collect(k: Kernel, child: Child, timeout_s: float | None) -> Steps[None]:
    k.take_signals()  # a pending signal would end the wait at once
    token: Any = yield k.get(child.done, timeout_s)
    if token:
        child.ended[token] += 1


class ThreadedModule:
    """The half of the supervisor's bargain that worker and event share (supervisor.Module)."""

    quick_respawn = True
    takes_turns = False

    def kill_one(self, k: Kernel, site: Site) -> Steps[None]:
        """ap_mpm_podx_signal(): any child may take the letter."""
        assert site.pod is not None
        yield k.put(site.pod, POD_GRACEFUL)

    def tell_all(
        self, k: Kernel, site: Site, children: Mapping[int, int], graceful: bool
    ) -> Steps[None]:
        """ap_mpm_podx_killpg(): a letter for each child there may be."""
        assert site.pod is not None
        del children  # who takes a letter is not up to us
        for _ in range(site.settings.daemons_limit):
            yield k.put(site.pod, POD_GRACEFUL if graceful else POD_RESTART)
