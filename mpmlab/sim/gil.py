"""CPython's interpreter lock: one thread of a process computes at a time. Which core it gets is
cpu.py's affair.

Gil is CPython's (ceval_gil.h, take_gil and drop_gil): its holder computes until it makes a system
call or, if others wait, until one of them has waited for the switch interval without anybody's
getting it. The interval is time, not CPU: a holder that shares its core gets less done in it. So an
echo beside a CPU-bound thread waits for it (10.4 ms measured against 0.013 ms), which a shared core
would not show.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Protocol

from mpmlab.sim.clock import INF, Timer
from mpmlab.sim.cpu import ENDED, Cpu, Home, Job


class Thread(Job, Protocol):
    """A job behind a GIL: `left_s` core seconds of its burst are still to do; `asked_s`: since when
    it waits for the GIL."""

    asked_s: float
    left_s: float


class Gil:
    """The interpreter lock of one process: to the Cpu it is one job, that of its holder."""

    __slots__ = (
        "_callbacks", "_cpu", "_deadline", "_holder", "_interval_s", "_stretch", "_waiting",
        "_wake_share", "burst", "finish", "fresh_s", "home", "later_s", "level",
    )  # fmt: skip

    def __init__(self, cpu: Cpu, home: Home, interval_s: float, wake_s: float = 0.0) -> None:
        self._cpu = cpu
        self.home = home
        # Each waiting thread wakes at every interval, to ask for the lock (CPython's take_gil()):
        # that share of the holder's core goes to each of them.
        self._wake_share = wake_s / interval_s
        self._stretch = 1.0  # core seconds per second of the holder's burst
        self._interval_s = interval_s
        self._waiting: deque[Thread] = deque()
        self._holder: Thread | None = None
        self._deadline = INF  # when the holder is to let go
        self._callbacks = [self._on_deadline]
        self.burst = self.level = 0
        self.finish = self.fresh_s = self.later_s = 0.0

    def add(self, thread: Thread, demand_s: float) -> None:
        """Start a burst of a thread; thread.burst_done() is called at its end."""
        thread.left_s = demand_s
        if self._holder is None:
            self._run(thread)
            return
        self._wait(thread)
        self._set_deadline(thread.asked_s + self._interval_s)

    @property
    def wanted(self) -> bool:
        """Whether somebody has it: who lets go of it, as each system call does, then has to wait
        for its turn, too."""
        return self._holder is not None

    def stop(self) -> None:
        """The process is gone: nobody computes any more."""
        if self.burst:
            self._cpu.remove(self)
        self._holder = None
        self._deadline = INF
        self._waiting.clear()

    def burst_done(self) -> None:
        """The holder's burst is over: the next one's turn."""
        thread = self._holder
        assert thread is not None
        thread.fresh_s = self.fresh_s
        self._hand_over()
        thread.burst_done()

    def _hand_over(self) -> None:
        self._deadline = INF
        self._holder = None
        if self._waiting:
            self._run(self._waiting.popleft())

    def _run(self, thread: Thread) -> None:
        self._holder = thread
        self.fresh_s = thread.fresh_s
        self._stretch = 1.0 + len(self._waiting) * self._wake_share
        self._cpu.add(self, thread.left_s * self._stretch)
        if self._waiting:
            now = self._cpu.clock._now
            self._set_deadline(now + self._interval_s + self._until_asked())

    def _wait(self, thread: Thread) -> None:
        self._waiting.append(thread)
        thread.asked_s = self._cpu.clock._now

    def _set_deadline(self, when: float) -> None:
        if when < self._deadline:
            self._deadline = when
            self._cpu.clock.at(Timer(self._callbacks, None), when)

    def _on_deadline(self, event: Timer) -> None:
        event.callbacks = None  # type: ignore[assignment]
        thread = self._holder
        if self._cpu.clock._now != self._deadline or thread is None or self.burst == ENDED:
            return  # it was for another holder, or this one is about to be done
        left_s = self._cpu.remove(self) / self._stretch
        thread.left_s = left_s
        thread.fresh_s = self.fresh_s
        chosen = self._waiting.popleft()
        self._wait(thread)
        self._deadline = INF
        self._run(chosen)

    def _until_asked(self) -> float:
        """From an interval after now until a waiting thread asks for it: each does at every
        interval since it began to wait, if nobody else has got it meanwhile."""
        now, interval_s = self._cpu.clock._now, self._interval_s
        # Rounded, so that who began to wait just now, or whole intervals ago, asks at once.
        waited = [(now - thread.asked_s) / interval_s for thread in self._waiting]
        return interval_s * min(max(0.0, ceil(n - 1e-6) - n) for n in waited)
