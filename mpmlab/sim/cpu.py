"""Processors: who computes at what speed. Cpu shares cores among jobs; Gil lets one thread of a
process compute at a time. Nothing of processes, sockets or costs lives here.

Cpu is egalitarian processor sharing by virtual time: V grows at dV/dt = min(1, cores / jobs), the
same for every job, so a job that needs d seconds is done when V has grown by d. One heap of finish
times, one lazy timer: re-armed only when something ends sooner than it would fire.

Gil is CPython's: its holder computes until it blocks or, if others wait, for the switch interval;
then the longest waiting thread's turn comes. So behind a GIL bursts shorter than the interval are
served first come, first served, and not shared: an echo beside a CPU-bound thread waits for it
(10.4 ms measured against 0.013 ms), which a shared core would not show.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Final, Protocol

from mpmlab.sim.clock import INF, Clock, Timer

#: A job's burst is over and its burst_done() comes next in the same instant.
ENDED: Final = -1


class Job(Protocol):
    """What computes: a thread, or the GIL of a process. `burst` is its current burst's number, 0
    when it has none, ENDED when it is about to be told; `finish` the V at which the burst ends."""

    burst: int
    finish: float

    def burst_done(self) -> None:
        """Called at the instant the burst ends."""


class Cpu:
    """`cores` processors of one machine."""

    __slots__ = (
        "_armed_at", "_callbacks", "_free", "_heap", "_number", "_timer", "_updated", "_used",
        "_virtual", "clock", "cores", "running",
    )  # fmt: skip

    def __init__(self, clock: Clock, cores: int) -> None:
        self.clock = clock
        self.cores = cores
        self.running = 0  # jobs
        self._virtual = 0.0  # V
        self._updated = 0.0  # the time at which V was that
        self._used = 0.0  # core seconds
        self._number = 0
        self._heap: list[tuple[float, int, Job]] = []  # removed jobs stay until they come up
        self._armed_at = INF
        self._callbacks = [self._fire]
        self._timer: Timer | None = None
        self._free: list[Timer] = []

    def add(self, job: Job, demand_s: float) -> None:
        """Start a burst of that many core seconds; job.burst_done() is called at its end."""
        clock = self.clock
        now = clock._now
        running = self.running
        if running:
            self._advance(now)
        else:
            self._updated = now
        self.running = running = running + 1
        self._number = number = self._number + 1
        job.burst = number
        virtual = self._virtual
        job.finish = finish = virtual + demand_s
        heap = self._heap
        heappush(heap, (finish, number, job))
        left = heap[0][0] - virtual
        when = now + (left if running <= self.cores else left * (running / self.cores))
        if when < self._armed_at:
            self._arm(when)

    def remove(self, job: Job) -> float:
        """Stop a job's burst -> the core seconds that it still needed."""
        if job.burst == ENDED:
            job.burst = 0
            return 0.0
        self._advance(self.clock._now)
        self.running -= 1
        job.burst = 0
        left = job.finish - self._virtual
        if self.running:
            self._rearm()
        else:
            self._rest()
        return left if left > 0.0 else 0.0

    def rested_s(self) -> float:
        """For how long nobody has computed; 0 while anybody does. (Of several cores one may rest
        while others compute: that is not kept.)"""
        return 0.0 if self.running else self.clock._now - self._updated

    def used_s(self) -> float:
        """Core seconds consumed so far."""
        if self.running:
            self._advance(self.clock._now)
        return self._used

    def _advance(self, now: float) -> None:
        passed = now - self._updated
        if passed > 0.0:
            running, cores = self.running, self.cores
            if running <= cores:
                self._virtual += passed
                self._used += passed * running
            else:
                self._virtual += passed * (cores / running)
                self._used += passed * cores
            self._updated = now

    def _arm(self, when: float) -> None:
        self._armed_at = when
        if self._free:
            timer = self._free.pop()
            timer.callbacks = self._callbacks  # type: ignore[assignment]
        else:
            timer = Timer(self._callbacks, None)
        self._timer = timer
        self.clock.at(timer, when)

    def _rearm(self) -> None:
        """Something may end sooner than the timer fires."""
        heap = self._heap
        while heap and heap[0][2].burst != heap[0][1]:
            heappop(heap)
        if heap:
            left = heap[0][0] - self._virtual
            if left < 0.0:
                left = 0.0
            running = self.running
            when = self._updated + (
                left if running <= self.cores else left * (running / self.cores)
            )
            if when < self._armed_at:
                self._arm(when)

    def _rest(self) -> None:
        """Nobody computes: start V afresh, which keeps it small and exact."""
        self._heap.clear()
        self._virtual = 0.0

    def _fire(self, event: Timer) -> None:
        self._free.append(event)
        if event is not self._timer:
            return  # a sooner one has taken its place
        self._timer = None
        now = self.clock._now
        if self.running:
            self._advance(now)
        # The tolerance scales with the clock: a fixed one loops for ever past 10,000 s.
        virtual = self._virtual
        limit = virtual + (1e-12 + 4e-16 * (virtual + now))
        heap = self._heap
        done: list[Job] | None = None
        first: Job | None = None
        while heap and heap[0][0] <= limit:
            _, number, job = heappop(heap)
            if job.burst == number:
                job.burst = ENDED
                self.running -= 1
                if first is None:
                    first = job
                elif done is None:
                    done = [job]  # rare: two end in the same instant
                else:
                    done.append(job)
        if not self.running:
            self._rest()
        self._armed_at = -INF  # what the finished ones start anew must not arm the timer each time
        if first is not None:
            first.burst = 0
            first.burst_done()
        if done is not None:
            for job in done:
                if job.burst == ENDED:  # else one that ended before it has just killed it
                    job.burst = 0
                    job.burst_done()
        self._armed_at = INF
        if self.running:
            self._rearm()


class Thread(Job, Protocol):
    """A job behind a GIL: `left_s` core seconds of its burst are still to do."""

    left_s: float


class Gil:
    """The interpreter lock of one process: to the Cpu it is one job, that of its holder."""

    __slots__ = (
        "_cpu",
        "_holder",
        "_interval_s",
        "_slice_s",
        "_stretch",
        "_waiting",
        "_wake_share",
        "burst",
        "finish",
    )  # fmt: skip

    def __init__(self, cpu: Cpu, interval_s: float, wake_s: float = 0.0) -> None:
        self._cpu = cpu
        # Each waiting thread wakes at every interval, to ask for the lock (CPython's take_gil()):
        # that share of the holder's core goes to each of them.
        self._wake_share = wake_s / interval_s
        self._stretch = 1.0  # core seconds per second of the holder's slice
        self._interval_s = interval_s
        self._waiting: deque[Thread] = deque()
        self._holder: Thread | None = None
        self._slice_s = 0.0
        self.burst = 0
        self.finish = 0.0

    def add(self, thread: Thread, demand_s: float) -> None:
        """Start a burst of a thread; thread.burst_done() is called at its end."""
        thread.left_s = demand_s
        if self._holder is None:
            self._run(thread)
            return
        self._waiting.append(thread)
        if len(self._waiting) == 1 and self.burst != ENDED:
            # The first to wait: from now on the holder has one interval left.
            left = self._cpu.remove(self) / self._stretch
            done = self._slice_s - left
            self._holder.left_s -= done
            self._compute(min(left, self._interval_s))

    def stop(self) -> None:
        """The process is gone: nobody computes any more."""
        if self.burst:
            self._cpu.remove(self)
        self._holder = None
        self._waiting.clear()

    def _run(self, thread: Thread) -> None:
        self._holder = thread
        left = thread.left_s
        self._compute(min(left, self._interval_s) if self._waiting else left)

    def _compute(self, slice_s: float) -> None:
        self._slice_s = slice_s
        self._stretch = 1.0 + len(self._waiting) * self._wake_share
        self._cpu.add(self, slice_s * self._stretch)

    def burst_done(self) -> None:
        """The holder's slice is over: the next one's turn; the holder goes on if it is done."""
        thread = self._holder
        assert thread is not None
        left = thread.left_s - self._slice_s
        # Rounding: what is left of a burst below the Cpu's own tolerance is nothing.
        finished = left <= 1e-12
        if not finished:
            thread.left_s = left
            self._waiting.append(thread)
        if self._waiting:
            self._run(self._waiting.popleft())
        else:
            self._holder = None
        if finished:
            thread.burst_done()
