"""SimProcess: what the system knows of one process - threads, signals, children, and what it owns.

Death is here: what the operating system would release, by owner, without the process's help. What
operations cost and how threads wait lives elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpmlab.kernel.interface import Dead, Signal
from mpmlab.sim.gil import Gil
from mpmlab.sim.trace import EXIT, KILL, tag_of

if TYPE_CHECKING:
    from mpmlab.sim.kernel import SimKernel
    from mpmlab.sim.listener import SimListener
    from mpmlab.sim.machine import Machine
    from mpmlab.sim.network import SimConn
    from mpmlab.sim.poller import SimPoller
    from mpmlab.sim.sync import SimMutex

#: Unix numbers: a process that died of a signal has minus this for an exit code.
NUMBERS: Final = {
    Signal.TERM: 15, Signal.WINCH: 28, Signal.HUP: 1, Signal.USR1: 10, Signal.KILL: 9,
    Signal.SEGV: 11,
}  # fmt: skip

_ALWAYS_DEADLY: Final = (Signal.KILL, Signal.SEGV)


class SimProcess:
    """One simulated process. All its collections iterate in order of insertion."""

    __slots__ = (
        "alive", "children", "compute", "computing", "conns", "deadly", "gil", "interrupted",
        "listeners", "machine", "main", "mutexes", "name", "next_tid", "parent", "pending", "pid",
        "ran_s", "threads", "waiter", "zombies",
    )  # fmt: skip

    def __init__(self, machine: Machine, pid: int, parent: SimProcess | None, name: str) -> None:
        self.machine = machine
        self.pid = pid
        self.parent = parent
        self.name = name
        self.alive = True
        self.computing = 0  # this and the next: see sim/cpu.py, Home
        self.ran_s: float = machine.world.clock.now
        self.gil: Gil | None = machine.new_gil(self)
        self.compute: Callable[[Any, float], None] = (
            machine.cpu.add if self.gil is None else self.gil.add
        )
        self.main: SimKernel | None = None
        self.threads: dict[int, SimKernel] = {}
        self.next_tid = 1
        self.interrupted = False
        self.pending: list[Signal] = []
        self.deadly: list[Signal] = []  # by dies_of
        self.children: dict[int, SimProcess] = {}
        self.zombies: deque[Dead] = deque()
        self.waiter: SimKernel | None = None  # the main thread, in wait()
        self.conns: dict[SimConn, None] = {}
        self.mutexes: dict[SimMutex, None] = {}  # shared ones that it holds
        self.listeners: dict[SimListener, None] = {}
        for listener in machine.listeners if parent is None else parent.listeners:
            self.open_listener(listener)

    def __repr__(self) -> str:
        return "a child's exit"  # as the place where wait() waits

    # ---- signals -------------------------------------------------------------------------------

    def signal(self, sign: Signal) -> None:
        """A signal arrives. As in Unix, one that is pending already is not pending twice."""
        if sign in _ALWAYS_DEADLY or sign in self.deadly:
            self.die(-NUMBERS[sign], sign)
            return
        if sign not in self.pending:
            self.pending.append(sign)
        main = self.main
        if main is not None and main.where is not None and main.interruptible:
            main.expire()

    def interrupt_threads(self) -> None:
        """End the socket waits of the threads other than the main one."""
        self.interrupted = True
        for thread in list(self.threads.values()):
            if not thread.is_main and thread.where is not None and thread.interruptible:
                thread.expire()

    # ---- the end -------------------------------------------------------------------------------

    def thread_finished(self, thread: SimKernel, value: Any) -> None:
        """A thread has returned; with the main thread ends the process."""
        del self.threads[thread.tid]
        self.machine.world.live_threads -= 1
        if thread.is_main:
            self.die(0 if value is None else int(value), None)

    def die(self, code: int, sign: Signal | None) -> None:
        """The process is gone, at once: nothing of it ever runs again."""
        if not self.alive:
            return
        self.alive = False
        world = self.machine.world
        world.record(tag_of(self.pid, 0) + (EXIT if sign is None else KILL))
        cpu = self.machine.cpu
        if self.gil is not None:
            self.gil.stop()
        for thread in self.threads.values():
            if self.gil is None and thread.burst:
                cpu.remove(thread)
            thread.vanish()
        world.bury(self.threads)
        self.release()
        for child in self.children.values():
            child.parent = None  # orphans live on
        dead = Dead(self.pid, code, sign)
        parent = self.parent
        if parent is not None:
            parent.child_died(dead)
        world.process_ended(self, dead)

    def release(self) -> None:
        """Give back what the system keeps by owner."""
        for mutex in list(self.mutexes):
            mutex.release(self)
        for conn in list(self.conns):
            conn.close()
        for listener in list(self.listeners):
            self.close_listener(listener)

    def child_died(self, dead: Dead) -> None:
        """A child has become a zombie."""
        del self.children[dead.pid]
        self.zombies.append(dead)
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            waiter.owed += waiter.cost.reap
            waiter.rouse(self.zombies.popleft())

    def forget(self, thread: SimKernel) -> None:
        """See thread.Place: it gave up waiting for a child."""
        if self.waiter is thread:
            self.waiter = None

    # ---- listeners -----------------------------------------------------------------------------

    def open_listener(self, listener: SimListener) -> None:
        """This process has a copy of the listening socket."""
        self.listeners[listener] = None
        listener.opened()

    def close_listener(self, listener: SimListener) -> None:
        """Close this process's copy; others keep theirs."""
        if listener in self.listeners:
            del self.listeners[listener]
            listener.closed_by_one()

    def pollers_of(self, listener: SimListener) -> list[SimPoller]:
        """Pollers of this process in which the listener is armed."""
        return [poller for poller in listener.pollers if poller.process is self]


def try_wait(thread: SimKernel) -> bool:
    """Attempt of k.wait(): a zombie, or wait for one. A pending signal goes before both."""
    process = thread.process
    done = thread.done
    if process.pending:
        done._value = None
        return True
    if process.zombies:
        done._value = process.zombies.popleft()
        thread.owed += thread.cost.reap
        return True
    if thread.timeout_s == 0:
        done._value = None
        return True
    process.waiter = thread
    thread.interruptible = True
    thread.fallback = None
    return thread.block(process)
