"""SimThread: one thread's life between operations. It owes CPU, computes, waits, and is resumed.

What an operation does is not here (kernel.py, sync.py, network.py, poller.py); only how a thread
pays for it and how it waits. The rules:

* An operation yields `done`, an event that is processed already, if it completed at once (SimPy
  goes on without scheduling anything); else PARKED, and the thread is resumed later, once.
* An operation is *attempted* when its debt is paid. `attempt(thread)` returns True with the result
  in `done`, or False after `block` has made the thread a waiter somewhere.
* Timers and bursts resume their thread directly. Whatever a running thread sets free is roused:
  it goes through the clock, first in, first out, in the same instant.
* The dead are never resumed. Their generators are kept, so that no `finally` of theirs runs.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final, Protocol

from simpy.events import NORMAL, URGENT, Event, Process

from mpmlab.sim.clock import INF, Clock, Timer
from mpmlab.sim.cpu import Home
from mpmlab.sim.trace import tag_of

if TYPE_CHECKING:
    from mpmlab.sim.costs import CostTable
    from mpmlab.sim.deadlines import Deadlines
    from mpmlab.sim.process import SimProcess


class Parked(Event):
    """What an operation yields that does not complete at once. It never happens itself: who waits
    is resumed with its `done`."""

    def __init__(self) -> None:
        self.callbacks = []


PARKED: Final = Parked()


class Done(Event):
    """An event that has happened: the result of an operation that completed."""

    def __init__(self) -> None:
        self.callbacks = None  # type: ignore[assignment]
        self._ok = True
        self._value = None


class Place(Protocol):
    """Where a thread waits. Its repr() is what a Deadlock reports."""

    def forget(self, thread: Any) -> None:
        """That thread waits here no longer."""


class Strand(Process):
    """The simpy.Process of a thread. Its _resume does what SimPy's does for the two kinds of event
    that our operations yield, and ends the thread in the instant in which its generator returns,
    where SimPy would schedule an event for it."""

    def __init__(self, thread: SimThread, generator: Any) -> None:
        if not hasattr(generator, "send"):
            raise TypeError(f"{thread.describe()}: {generator!r} is not a generator")
        # As simpy.Process does, with an event of ours for the first step.
        self.env = thread.clock
        self.callbacks = []
        self._generator = generator
        self.thread = thread
        self._target = first = Timer([self._resume], None)
        thread.clock.schedule(first, URGENT)

    def _resume(self, _event: Any) -> None:
        thread = self.thread
        if thread.dead:
            return
        send = self._generator.send
        done = thread.done
        try:
            event: Any = done
            while event is done:
                event = send(event._value)
        except StopIteration as stop:
            self._ok = True
            self._value = stop.value
            thread.finished(stop.value)
            return
        except Exception as error:
            error.add_note(f"in simulated {thread.describe()} at {thread.clock._now} s")
            raise
        if event is not PARKED:
            raise TypeError(
                f"{thread.describe()} yielded {event!r}, which is no operation of its kernel"
            )


def _unborn(_event: Any) -> None:
    """The step of a thread that has no generator."""


class SimThread:
    """One simulated thread; SimKernel adds the operations."""

    __slots__ = (
        "_alarm",
        "_alarm_callbacks",
        "_retry",
        "_retry_at",
        "asked_s",
        "attempt",
        "burst",
        "carry",
        "cell",
        "clock",
        "compute",
        "cores",
        "cost",
        "dead",
        "deadline",
        "deadlines",
        "done",
        "entry_s",
        "fallback",
        "finish",
        "fresh_s",
        "gil",
        "home",
        "interruptible",
        "is_main",
        "later_s",
        "left_s",
        "level",
        "owed",
        "prepaid",
        "process",
        "ready",
        "step",
        "strand",
        "tag",
        "tid",
        "timeout_s",
        "where",
        "x",
        "y",
    )  # fmt: skip

    def __init__(self, process: SimProcess, tid: int) -> None:
        world = process.machine.world
        self.process = process
        self.clock: Clock = world.clock
        self.cost: CostTable = process.machine.cost
        self.carry: float = world.debt_carry_s
        self.tid = tid
        self.tag = tag_of(process.pid, tid)
        self.is_main = tid == 0
        self.dead = False
        self.strand: Strand | None = None
        self.step: Callable[[Any], None] = _unborn  # resumes the generator with what is in `done`
        self.ready: Any = None  # callbacks of `done` when it is scheduled: [step]
        # CPU: what it owes, and the current burst, which belongs to Cpu or Gil.
        self.owed = 0.0
        self.prepaid = False  # the next send's cost is paid already
        self.compute = process.compute
        self.gil = process.gil
        self.home: Home = process
        self.cores = process.machine.cpu
        self.burst = 0
        self.finish = 0.0
        self.left_s = 0.0
        self.asked_s = self.later_s = 0.0
        self.level = 0
        self.fresh_s = process.machine.cpu.fresh_s
        # The operation under way and its operands.
        self.attempt: Callable[[Any], bool] | None = None
        self.x: Any = None
        self.y: Any = None
        self.timeout_s: float | None = None
        self.done = Done()
        # The wait under way.
        self.where: Place | None = None
        self.interruptible = False
        self.fallback: Any = None  # the result if nothing happens
        self.deadline = INF
        self.deadlines: Deadlines = world.deadlines
        self.entry_s = INF  # see deadlines.py
        self.cell: list[Any] = [self]
        self._alarm: Timer | None = None
        self._alarm_callbacks: list[Any] | None = None
        self._retry: Timer | None = None
        self._retry_at: Place | None = None

    def describe(self) -> str:
        """Who this is, for people."""
        name = f" ({self.process.name})" if self.process.name else ""
        return f"thread {self.tid} of process {self.process.pid}{name}"

    def start(self, generator: Any) -> None:
        """Give it its generator; the first step comes in this instant, ahead of others."""
        self.strand = strand = Strand(self, generator)
        self.step = strand._resume
        self.ready = [strand._resume]

    def finished(self, value: Any) -> None:
        """The generator has returned."""
        if self.dead:
            return  # it has killed its own process, and had no operation to do afterwards
        self.dead = True
        self.owed = INF
        self.strand = self.ready = None  # cycles less for the garbage collector
        self.step = _unborn
        self.cell[0] = None  # the thread's memory is not to wait for its entry to come up
        self.process.thread_finished(self, value)  # type: ignore[arg-type]

    # ---- computing -----------------------------------------------------------------------------

    def pay(self, attempt: Callable[[Any], bool], owed: float) -> Event:
        """Burn that much CPU, then attempt the operation. A dead thread owes infinitely much, so
        that it comes here with whatever it calls, and never leaves."""
        if self.dead:
            return PARKED
        self.attempt = attempt
        self.owed = 0.0
        self.compute(self, owed)
        return PARKED

    def burst_done(self) -> None:
        """The debt is paid."""
        attempt = self.attempt
        assert attempt is not None
        if attempt(self):
            self.step(self.done)

    # ---- waiting -------------------------------------------------------------------------------

    def block(self, where: Place) -> bool:
        """Wait at a place until roused, resumed, or `timeout_s` have passed. -> False, for the
        attempt to return."""
        self.where = where
        timeout_s = self.timeout_s
        if timeout_s is not None:
            deadline = self.clock._now + timeout_s
            self.deadline = deadline
            if deadline < self.entry_s:
                self.deadlines.set(self, deadline)
        return False

    def wake_cost(self) -> float:
        """What it takes to get going again."""
        return self.cost.switch if self.is_main else self.cost.thread_switch

    def rouse(self, value: Any) -> None:
        """End the wait with that result, after all that is due now. For use by running threads."""
        self.where = None
        self.deadline = INF
        self.owed += self.wake_cost()
        self.fresh_s = self.cores.fresh_s
        done = self.done
        done._value = value
        done.callbacks = self.ready
        clock = self.clock  # clock.soon(done), in line
        heappush(clock._queue, (clock._now, NORMAL, next(clock._eid), done))

    def resume(self, value: Any) -> None:
        """End the wait with that result, directly. For use by timers, never by a running thread."""
        self.where = None
        self.deadline = INF
        self.done._value = value
        self.owed += self.wake_cost()
        self.fresh_s = self.cores.fresh_s
        self.step(self.done)

    def retry(self) -> None:
        """Have the operation attempted once more, after all that is due now. The thread still
        waits where it did: time out or signal may yet come first."""
        self._retry_at = self.where
        timer = self._retry
        if timer is None or timer.callbacks is not None:
            self._retry = timer = Timer([self._on_retry], self)
        else:
            timer.callbacks = [self._on_retry]
        self.clock.soon(timer)

    def expire(self) -> None:
        """End the wait with nothing, as a time-out or a signal does; after all that is due now."""
        where = self.where
        assert where is not None
        where.forget(self)
        self.rouse(self.fallback)

    def alarm(self, where: Place, delay_s: float) -> None:
        """Wait for the passing of time itself: at the end comes `fallback`."""
        self.where = where
        alarm = self._alarm
        if alarm is None or alarm.callbacks is not None:
            if self._alarm_callbacks is None:
                self._alarm_callbacks = [self._on_alarm]
            self._alarm = alarm = Timer(self._alarm_callbacks, self)
        else:
            alarm.callbacks = self._alarm_callbacks
        self.clock.at(alarm, self.clock._now + delay_s)

    def vanish(self) -> None:
        """The thread is no more: it leaves where it waited, and is never resumed. Its process
        takes it off the processor."""
        self.dead = True
        self.owed = INF
        self.deadline = INF
        self.cell[0] = None
        where = self.where
        if where is not None:
            self.where = None
            where.forget(self)

    def _on_retry(self, _event: Timer) -> None:
        where = self.where
        if where is None or where is not self._retry_at:
            return  # something else has ended the wait
        where.forget(self)
        self.again()

    def again(self) -> None:
        """Attempt the operation once more, directly; the thread has left where it waited."""
        deadline = self.deadline
        self.where = None
        self.deadline = INF
        if deadline < INF:
            self.timeout_s = max(0.0, deadline - self.clock._now)
        self.owed += self.wake_cost()
        self.fresh_s = self.cores.fresh_s
        self.burst_done()

    def _on_alarm(self, event: Timer) -> None:
        if event is self._alarm and self.where is not None:
            self.resume(self.fallback)

    def drop_alarm(self) -> None:
        """The alarm that is set is not to ring: somebody else ended the wait."""
        self._alarm = None

    def time_out(self) -> None:
        """The wait has lasted `timeout_s`: it ends with nothing."""
        where = self.where
        assert where is not None
        where.forget(self)
        self.resume(self.fallback)
