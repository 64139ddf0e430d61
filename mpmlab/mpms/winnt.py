"""mpm_winnt: one child of a fixed number of threads; an accept thread hands connections to them.

The hand-off is a completion port: whoever went to wait last is woken first. A worker serves a
connection from its first byte to its lingering close. If none is idle one connection waits for
them, and the rest in the backlog. At a restart the parent starts the next child at once; the start
mutex lets it listen only when the old one has stopped. httpd: server/mpm/winnt/mpm_winnt.c
(master_main) and child.c.

Departures. Windows' events are signals here: the exit event is USR1 to the child, a restart HUP or
USR1 and a shutdown TERM or WINCH to the parent. A completion port lets no more threads run at a
time than there are processors; here the scheduler shares them. Windows' parent ends without waiting
for a child that it restarted; ours waits for all, or kills them, so that none is left behind. What
a child wants of its parent (SIGNAL_PARENT_RESTART) is a letter in a pipe, which the parent reads
within a second; a death it hears at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mpmlab.core.scoreboard import DEAD, GRACEFUL, READY, STARTING
from mpmlab.kernel.interface import Conn, Dead, Kernel, ResourceShortage, Signal, Steps
from mpmlab.mpms.connection import serve
from mpmlab.mpms.site import EXIT_CHILDFATAL, EXIT_CHILDINIT, EXIT_INIT, EXIT_OK, Site
from mpmlab.mpms.supervisor import say_all

#: How long a child that shuts down still hands over what it has accepted (child_main()).
HAND_OVER_S: Final = 1.0
#: start_threads: rest before looking for cells that the predecessor's threads have left.
START_REST_S: Final = 1.0
#: A context that is waited for is looked for anew so often (mpm_get_completion_context()).
CONTEXT_WAIT_S: Final = 1.0
#: The parent's patience with its children at a shutdown; then it terminates them.
SHUTDOWN_S: Final = 30.0
#: How often the child looks after programs that it started, of which there are none here.
OTHER_CHILDREN_S: Final = 1.0
#: More accept errors in a row than these end the child.
MOST_ERRORS: Final = 10
#: Completion key and events.
SHUTDOWN: Final = "shutdown"
MAX_REQUESTS: Final = "max requests"
#: Letters from a child to its parent (ap_signal_parent()).
PARENT_RESTART: Final = "R"
PARENT_SHUTDOWN: Final = "S"
#: How often the parent reads them.
LETTERS_S: Final = 1.0
#: The exit event, set by the parent.
EXIT_EVENT: Final = Signal.USR1


class Child:
    """What the threads of the child share. Its cells are those of row 0, of which a predecessor's
    threads may still have some."""

    def __init__(self, k: Kernel, site: Site) -> None:
        self.site = site
        self.threads = site.settings.threads_per_child
        # The completion port: the last to wait is the first to be woken, by its own packet.
        self.waiting = k.queue(order="lifo")
        self.packets = [k.queue() for _ in range(self.threads)]
        self.events = k.queue()  # for the main thread
        self.done = k.queue()  # a thread has ended
        self.poller = k.poller()
        self.stopping = False  # shutdown_in_progress; mpm_state is STOPPING
        self.workers_may_exit = False
        self.started = 0
        self.accepting = False
        self.made = [0] * self.threads
        self.alive = bytearray(self.threads)

    def ends(self) -> bool:
        """Whether no connection is kept alive any more."""
        return self.stopping


def child_main(k: Kernel, site: Site) -> Steps[int]:
    """child_main(): wait for the start mutex, start the threads, wait for an event, end them."""
    assert site.accept_mutex is not None
    yield k.lock(site.accept_mutex)
    k.log("debug", "AH00352", "Child: Acquired the start mutex.")
    child = Child(k, site)
    k.log("notice", "AH00354", f"Child: Starting {child.threads} worker threads.")
    assert site.pod is not None
    if (yield from _start_threads(k, child)):
        yield from _await_event(k, child)
    else:
        yield k.put(site.pod, PARENT_SHUTDOWN)
    child.stopping = True
    k.wake(child.poller)
    k.close(site.listener)
    yield from _rest(k, HAND_OVER_S)
    child.workers_may_exit = True
    k.unlock(site.accept_mutex)
    k.log("debug", "AH00363", "Child: Released the start mutex")
    yield from _end_threads(k, child)
    return EXIT_OK


def _start_threads(k: Kernel, child: Child) -> Steps[bool]:
    """A worker for each cell that is free; those of a predecessor's threads are tried again each
    second. The accept thread starts with the first. False if the system refuses a thread."""
    board = child.site.board
    cells = list(range(child.threads))
    while cells:
        for thread in [n for n in cells if board.status[n] in (DEAD, GRACEFUL)]:
            board.set(thread, STARTING)
            cells.remove(thread)
            child.started += 1
            child.alive[thread] = 1
            if (yield k.thread(worker_main, child, thread)) is None:
                child.started -= 1
                child.alive[thread] = 0
                board.set(thread, DEAD)
                k.log("crit", "AH00355", "Child: unable to create all worker threads")
                return False
        if child.started and not child.accepting:
            child.accepting = (yield k.thread(accept_thread, child)) is not None
            if not child.accepting:
                return False
        if cells:
            yield k.sleep(START_REST_S)
            if k.signals():
                break
    return True


def _await_event(k: Kernel, child: Child) -> Steps[None]:
    """The exit event, or the workers' that MaxConnectionsPerChild is exceeded; in between a look at
    the other children, each second."""
    while not k.take_signals():
        event = yield k.get(child.events, OTHER_CHILDREN_S)
        if event == MAX_REQUESTS:
            text = "Child: Process exiting because it reached MaxConnectionsPerChild"
            k.log("notice", "AH00360", text)
            assert child.site.pod is not None
            yield k.put(child.site.pod, PARENT_RESTART)
            return
        if event == SHUTDOWN:
            return
    k.log("notice", "AH00359", "Child: Exit event signaled, child process is ending.")


def accept_thread(k: Kernel, child: Child) -> Steps[None]:
    """winnt_accept(): accept, then hand over to the worker that went to wait last."""
    reported = False
    errors = 0
    while not child.stopping:
        try:
            conn = yield from _accept(k, child)
        except ResourceShortage:
            errors += 1
            k.log("warn", "AH00341", "winnt_accept: accept failed, ignoring the connection")
            if errors > MOST_ERRORS:
                k.log("error", "AH00345", "winnt_accept: too many errors, giving up")
                yield k.put(child.events, SHUTDOWN)
                break
            continue
        errors = 0
        if conn is None:
            continue
        worker = yield k.get(child.waiting, 0)
        if worker is None and not reported:
            reported = True
            text = "Server ran out of threads to serve requests. Consider raising ThreadsPerChild"
            k.log("error", "AH00326", text)
        while worker is None and not child.workers_may_exit:
            worker = yield k.get(child.waiting, CONTEXT_WAIT_S)
            if worker is None:
                k.log("debug", "AH00327", "mpm_get_completion_context: no context within a second")
        if worker is None:
            k.close(conn)
            break
        yield k.put(child.packets[worker - 1], conn)
    k.arm(child.poller, child.site.listener, on=False)
    yield k.put(child.done, "accept")


def _accept(k: Kernel, child: Child) -> Steps[Conn | None]:
    listener = child.site.listener
    conn: Conn | None = yield k.accept(listener, 0)
    if conn is None and not child.stopping:
        k.arm(child.poller, listener)
        yield k.poll(child.poller, None)
        if not child.stopping:
            conn = yield k.accept(listener, 0)
    return conn


def worker_main(k: Kernel, child: Child, thread: int) -> Steps[None]:
    """worker_main() and winnt_get_connection()."""
    board, limit = child.site.board, child.site.settings.max_connections_per_child
    while not child.workers_may_exit:
        board.set(thread, READY)
        yield k.put(child.waiting, thread + 1)
        conn = yield k.get(child.packets[thread], None)
        if conn == SHUTDOWN:
            break
        child.made[thread] += 1
        if limit and sum(child.made) > limit:  # so that it takes one more than the limit
            yield k.put(child.events, MAX_REQUESTS)
        yield from serve(k, conn, thread, child.site, child.ends)
    board.set(thread, DEAD)
    child.alive[thread] = 0
    yield k.put(child.done, "worker")


def _end_threads(k: Kernel, child: Child) -> Steps[None]:
    """Wake those that wait on the port, then wait for the busy ones, Timeout at most. What is left
    ends with the process (TerminateThread)."""
    left = child.started + child.accepting
    deadline = k.now() + child.site.settings.timeout_s
    while left and k.now() < deadline:
        while (worker := (yield k.get(child.waiting, 0))) is not None:
            yield k.put(child.packets[worker - 1], SHUTDOWN)
        k.take_signals()  # a pending one would end the wait at once
        if (yield k.get(child.done, 0.1)):
            left -= 1
    if left:
        k.log("notice", "AH00362", f"Child: Terminating {left} threads that failed to exit.")
    for thread in range(child.threads):
        if child.alive[thread]:
            child.site.board.set(thread, DEAD)


def _rest(k: Kernel, seconds: float) -> Steps[None]:
    """Sleep, whatever signals come."""
    until = k.now() + seconds
    while (left := until - k.now()) > 0:
        k.take_signals()
        yield k.sleep(left)


# ---- the parent --------------------------------------------------------------------------------


def parent(k: Kernel, site: Site) -> Steps[int]:
    """winnt_run() and master_main(): one child at a time that listens."""
    say_all(k, site.settings.messages)
    k.log("notice", "AH00455", "mpmlab/winnt: resuming normal operations")
    board = site.board
    site = replace(site, accept_mutex=k.mutex(shared=True), pod=k.queue(shared=True))
    living: set[int] = set()
    while True:
        site = replace(site, generation=board.generation)
        board.generation_of[0] = board.generation
        board.quiescing[0] = 0
        pid = yield k.fork(child_main, site)
        if pid is None:
            k.log("crit", "AH00419", "master_main: create child process failed. Exiting.")
            yield from _shut_down(k, living)
            return EXIT_CHILDFATAL
        living.add(pid)
        board.pid[0] = pid
        k.log("notice", "AH00418", f"Parent: Created child process {pid}")
        code = yield from _tend(k, site, pid, living)
        board.pid[0] = 0
        if code is not None:
            yield from _shut_down(k, living)
            return code
        board.generation += 1


def _tend(k: Kernel, site: Site, current: int, living: set[int]) -> Steps[int | None]:
    """Wait for a shutdown (the exit code), or for what asks for another child (None)."""
    assert site.pod is not None
    while True:
        dead: Dead | None = yield k.wait(LETTERS_S)
        if dead is not None:
            living.discard(dead.pid)
            if dead.pid == current:
                return _child_died(k, site, dead)
            continue
        signals = k.take_signals()
        letter = yield k.get(site.pod, 0)
        if Signal.TERM in signals or Signal.WINCH in signals or letter == PARENT_SHUTDOWN:
            text = "Parent: Received shutdown signal -- Shutting down the server."
            k.log("notice", "AH00422", text)
            return EXIT_OK
        if signals or letter:
            k.log("notice", "AH00424", "Parent: Received restart signal -- Restarting the server.")
            k.kill(current, EXIT_EVENT)
            return None


def _child_died(k: Kernel, site: Site, dead: Dead) -> int | None:
    """It says that nothing can work: abort. Anything else, a crash included: another one."""
    if dead.signal is None and dead.code in (EXIT_CHILDFATAL, EXIT_CHILDINIT, EXIT_INIT):
        text = f"Parent: child process {dead.pid} exited with status {dead.code} -- Aborting."
        k.log("crit", "AH00427", text)
        return EXIT_CHILDFATAL
    how = f"status {dead.code}" if dead.signal is None else f"signal SIG{dead.signal.value}"
    k.log("notice", "AH00428", f"Parent: child process {dead.pid} exited with {how} -- Restarting.")
    for cell in range(site.settings.threads_per_child):
        site.board.set(cell, DEAD)
    return None


def _shut_down(k: Kernel, living: set[int]) -> Steps[None]:
    """The exit event for every child; who is not gone in time is terminated."""
    for pid in sorted(living):
        k.kill(pid, EXIT_EVENT)
    deadline = k.now() + SHUTDOWN_S
    while living:
        left = deadline - k.now()
        if left <= 0:
            break
        k.take_signals()  # a pending one would end the wait at once
        dead = yield k.wait(left)
        if dead is not None:
            k.log("notice", "AH00430", f"Parent: Child process {dead.pid} exited successfully.")
            living.discard(dead.pid)
    for pid in sorted(living):
        k.log("notice", "AH00431", f"Parent: Forcing termination of child process {pid}")
        k.kill(pid, Signal.KILL)
    while living:
        dead = yield k.wait(SHUTDOWN_S)
        if dead is None:
            break
        living.discard(dead.pid)
