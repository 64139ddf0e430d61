"""Processors: who computes at what speed. Cpu shares cores among jobs; Gil lets one thread of a
process compute at a time. Nothing of sockets or of what operations cost lives here.

Cpu is egalitarian processor sharing by virtual time: V grows at dV/dt = min(1, cores / jobs), the
same for every job, so a job that needs d seconds is done when V has grown by d. One heap of finish
times, one lazy timer: re-armed only when something ends sooner than it would fire.

There are two levels. What a thread computes first after it woke, up to `fresh_s`, goes before all
that is not so fresh: Linux's EEVDF lets a thread that wakes run for a slice (1.4 ms on two cores)
and only then shares evenly, so that short requests pass long ones. Each level has a V of its own.

A job belongs to a process, its `home`, whose memory leaves the caches while it does not compute:
Warmth says what it takes to be warm again.

Gil is CPython's (ceval_gil.h, take_gil and drop_gil): its holder computes until it makes a system
call or, if others wait, until one of them has waited for the switch interval without anybody's
getting it. The interval is time, not CPU: a holder that shares its core gets less done in it. So an
echo beside a CPU-bound thread waits for it (10.4 ms measured against 0.013 ms), which a shared core
would not show.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import ceil
from typing import Final, Protocol

from mpmlab.sim.clock import INF, Clock, Timer

#: A job's burst is over and its burst_done() comes next in the same instant.
ENDED: Final = -1


#: What a job computes just after it woke, and what it does later.
FRESH: Final = 0
REST: Final = 1


class Home(Protocol):
    """Whose memory a job needs: its process. `computing`: how many of its jobs have a burst;
    `ran_s`: when the last one ended."""

    computing: int
    ran_s: float


class Warmth:
    """What a process loses while it does not compute: its memory leaves the caches. Of `most_s` of
    CPU half is lost after `half_s`: most * t / (t + half), without exp(), whose last digit differs
    between platforms."""

    __slots__ = ("half_s", "idle_s", "most_s")

    def __init__(self, most_s: float, half_s: float, idle_s: float = 0.0) -> None:
        self.idle_s = idle_s  # what waking a core that rested takes besides
        self.most_s = most_s
        self.half_s = half_s

    def lost_s(self, away_s: float, ahead_s: float) -> float:
        """Core seconds that it takes a process to be warm again that was away for so long, and has
        to wait for those who are ahead of it; none if it was not away."""
        if away_s <= 0.0:
            return 0.0
        away_s += ahead_s
        return self.most_s * away_s / (away_s + self.half_s)


#: How long who is ahead keeps a core at most: Linux's tick at HZ = 250, which ends a slice.
SLICE_S: Final = 0.004


class Job(Protocol):
    """What computes: a thread, or the GIL of a process. `burst` is its current burst's number, 0
    when it has none, ENDED when it is about to be told; `finish` the V at which the burst's part of
    this level ends, `later_s` what comes after that. `fresh_s`: how long it is fresh yet."""

    burst: int
    finish: float
    fresh_s: float
    home: Home
    later_s: float
    level: int

    def burst_done(self) -> None:
        """Called at the instant the burst ends."""


class Cpu:
    """`cores` processors of one machine. With `fresh_s` above 0, that much of what a job computes
    after it woke comes before all that is not so fresh."""

    __slots__ = (
        "_armed_at", "_callbacks", "_free", "_heaps", "_number", "_running", "_timer", "_updated",
        "_used", "_virtual", "clock", "cores", "fresh_s", "warmth",
    )  # fmt: skip

    def __init__(
        self, clock: Clock, cores: int, warmth: Warmth | None = None, fresh_s: float = 0.0
    ) -> None:
        self.clock = clock
        self.cores = cores
        self.warmth = warmth
        self.fresh_s = fresh_s
        # By level, FRESH and REST: how many jobs, V, and finish times (removed jobs stay there
        # until they come up).
        self._running = [0, 0]
        self._virtual = [0.0, 0.0]
        self._heaps: tuple[list[tuple[float, int, Job]], ...] = ([], [])
        self._updated = 0.0  # the time at which V was that
        self._used = 0.0  # core seconds
        self._number = 0
        self._armed_at = INF
        self._callbacks = [self._fire]
        self._timer: Timer | None = None
        self._free: list[Timer] = []

    @property
    def running(self) -> int:
        """Jobs that have a burst."""
        return self._running[FRESH] + self._running[REST]

    def add(self, job: Job, demand_s: float) -> None:
        """Start a burst of that many core seconds; job.burst_done() is called at its end."""
        now = self.clock._now
        warmth = self.warmth
        if warmth is not None:
            demand_s += self._lost_s(job, demand_s)
            if now > self._updated and not self.running:
                demand_s += warmth.idle_s
        if self.running:
            self._advance(now)
        else:
            self._updated = now
        job.later_s = 0.0
        level = REST
        if job.fresh_s > 0.0:
            level = FRESH
            job.later_s = max(0.0, demand_s - job.fresh_s)
            demand_s -= job.later_s
            job.fresh_s -= demand_s
        self._enter(job, level, demand_s)
        self._rearm()

    def remove(self, job: Job) -> float:
        """Stop a job's burst -> the core seconds that it still needed."""
        if job.burst == ENDED:
            job.burst = 0
            return 0.0
        self._advance(self.clock._now)
        self._running[job.level] -= 1
        job.burst = 0
        self._left(job)
        left = max(0.0, job.finish - self._virtual[job.level])
        if job.level == FRESH:
            job.fresh_s += left
        if self.running:
            self._rearm()
        else:
            self._rest()
        return left + job.later_s

    def used_s(self) -> float:
        """Core seconds consumed so far."""
        if self.running:
            self._advance(self.clock._now)
        return self._used

    def _lost_s(self, job: Job, demand_s: float) -> float:
        """What it takes the job's process to be warm again."""
        home = job.home
        home.computing += 1
        if home.computing > 1 or self.warmth is None:
            return 0.0
        # Cores are shared here; in reality those who are ready go first, a slice each.
        ahead_s = self.running / self.cores * min(demand_s, SLICE_S)
        return self.warmth.lost_s(self.clock._now - home.ran_s, ahead_s)

    def _left(self, job: Job) -> None:
        """A burst is over."""
        home = job.home
        home.computing -= 1
        home.ran_s = self.clock._now

    def _enter(self, job: Job, level: int, demand_s: float) -> None:
        self._number = number = self._number + 1
        self._running[level] += 1
        job.burst = number
        job.level = level
        job.finish = finish = self._virtual[level] + demand_s
        heappush(self._heaps[level], (finish, number, job))

    def _rates(self) -> tuple[float, float]:
        """At what part of a core's speed a job of each level computes."""
        cores = self.cores
        fresh, rest = self._running
        if not fresh:
            return 0.0, 1.0 if rest <= cores else cores / rest
        if fresh >= cores:
            return cores / fresh, 0.0
        return 1.0, 1.0 if rest <= cores - fresh else (cores - fresh) / rest

    def _advance(self, now: float) -> None:
        passed = now - self._updated
        if passed > 0.0:
            fresh, rest = self._rates()
            virtual = self._virtual
            virtual[FRESH] += passed * fresh
            virtual[REST] += passed * rest
            self._used += passed * min(self.running, self.cores)
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
        when = INF
        for level, rate in enumerate(self._rates()):
            heap = self._heaps[level]
            while heap and heap[0][2].burst != heap[0][1]:
                heappop(heap)
            if heap and rate:
                left = heap[0][0] - self._virtual[level]
                when = min(when, self._updated + max(0.0, left) / rate)
        if when < self._armed_at:
            self._arm(when)

    def _rest(self) -> None:
        """Nobody computes: start V afresh, which keeps it small and exact."""
        for level in (FRESH, REST):
            self._heaps[level].clear()
            self._virtual[level] = 0.0

    def _fire(self, event: Timer) -> None:
        self._free.append(event)
        if event is not self._timer:
            return  # a sooner one has taken its place
        self._timer = None
        if self.running:
            self._advance(self.clock._now)
        done = self._ended(FRESH)
        done += self._ended(REST)
        if not self.running:
            self._rest()
        self._armed_at = -INF  # what the finished ones start anew must not arm the timer each time
        for job in done:
            if job.burst == ENDED:  # else one that ended before it has just killed it
                job.burst = 0
                job.burst_done()
        self._armed_at = INF
        if self.running:
            self._rearm()

    def _ended(self, level: int) -> list[Job]:
        """The jobs of a level whose bursts are over, no longer running. Fresh ones that are to go
        on have become part of the rest."""
        # The tolerance scales with the clock: a fixed one loops for ever past 10,000 s.
        virtual = self._virtual[level]
        limit = virtual + (1e-12 + 4e-16 * (virtual + self.clock._now))
        heap = self._heaps[level]
        done: list[Job] = []
        while heap and heap[0][0] <= limit:
            _, number, job = heappop(heap)
            if job.burst != number:
                continue
            self._running[level] -= 1
            if job.later_s > 0.0:
                later_s, job.later_s = job.later_s, 0.0
                self._enter(job, REST, later_s)
                continue
            job.burst = ENDED
            self._left(job)
            done.append(job)
        return done


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
