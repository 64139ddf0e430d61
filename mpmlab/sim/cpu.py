"""Processors: who computes at what speed. Nothing of sockets or of what operations cost lives here,
and nothing of interpreters, whose locks are gil.py's.

Cpu is egalitarian processor sharing by virtual time: V grows at dV/dt = min(1, cores / jobs), the
same for every job, so a job that needs d seconds is done when V has grown by d. One heap of finish
times, one lazy timer: re-armed only when something ends sooner than it would fire.

There are two levels. What a thread computes first after it woke, up to `fresh_s`, goes before all
that is not so fresh: Linux's EEVDF lets a thread that wakes run for a slice (1.4 ms on two cores)
and only then shares evenly, so that short requests pass long ones. Each level has a V of its own.
Nobody starves: a job that was passed over until it lags a slice behind its fair share (EEVDF's
eligibility, Stoica and Abdel-Wahab 1995) is fresh again. How far fair and actual shares of the old
ones have grown apart is one number, the same for all of them.

A job belongs to a process, its `home`, whose memory leaves the caches while it does not compute:
Warmth says what it takes to be warm again.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
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

    __slots__ = ("half_s", "idle_half_s", "idle_s", "most_s")

    def __init__(
        self, most_s: float, half_s: float, idle_s: float = 0.0, idle_half_s: float = 0.0
    ) -> None:
        self.idle_s = idle_s  # most that waking a core that rested takes besides
        self.idle_half_s = idle_half_s  # after a rest for so long it takes half of that
        self.most_s = most_s
        self.half_s = half_s

    def lost_s(self, away_s: float, ahead_s: float) -> float:
        """Core seconds that it takes a process to be warm again that was away for so long, and has
        to wait for those who are ahead of it; none if it was not away."""
        if away_s <= 0.0:
            return 0.0
        away_s += ahead_s
        return self.most_s * away_s / (away_s + self.half_s)

    def waking_s(self, rested_s: float) -> float:
        """Core seconds that it takes besides to wake a core that rested for so long."""
        return self.idle_s * rested_s / (rested_s + self.idle_half_s)


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
        "_armed_at", "_callbacks", "_free", "_heaps", "_lag", "_lagging", "_number", "_running",
        "_timer", "_updated", "_used", "_virtual", "clock", "cores", "fresh_s", "warmth",
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
        # How far the old ones' fair share has grown ahead of what they got, and at what lag which
        # of them are fresh again, in that order.
        self._lag = 0.0
        self._lagging: deque[tuple[float, int, Job]] = deque()
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
                demand_s += warmth.waking_s(now - self._updated)
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
        if level == REST and self.fresh_s > 0.0:
            self._lagging.append((self._lag + self.fresh_s + SLICE_S, number, job))

    def _rates(self) -> tuple[float, float]:
        """At what part of a core's speed a job of each level computes."""
        cores = self.cores
        fresh, rest = self._running
        if not fresh:
            return 0.0, 1.0 if rest <= cores else cores / rest
        if fresh >= cores:
            return cores / fresh, 0.0
        return 1.0, 1.0 if rest <= cores - fresh else (cores - fresh) / rest

    def _fair(self) -> float:
        """At what part of a core's speed a job would compute if all shared evenly."""
        running = self.running
        return 1.0 if running <= self.cores else self.cores / running

    def _advance(self, now: float) -> None:
        passed = now - self._updated
        if passed > 0.0:
            fresh, rest = self._rates()
            virtual = self._virtual
            virtual[FRESH] += passed * fresh
            virtual[REST] += passed * rest
            self._lag += passed * (self._fair() - rest)
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
        when = self._next_renewal()
        for level, rate in enumerate(self._rates()):
            heap = self._heaps[level]
            while heap and heap[0][2].burst != heap[0][1]:
                heappop(heap)
            if heap and rate:
                left = heap[0][0] - self._virtual[level]
                when = min(when, self._updated + max(0.0, left) / rate)
        if when < self._armed_at:
            self._arm(when)

    def _next_renewal(self) -> float:
        """When the first of those that are passed over is fresh again, at these rates."""
        lagging = self._lagging
        while lagging and lagging[0][2].burst != lagging[0][1]:
            lagging.popleft()
        if not lagging:
            return INF
        grows = self._fair() - self._rates()[REST]
        return self._updated + max(0.0, lagging[0][0] - self._lag) / grows if grows > 0.0 else INF

    def _renew(self) -> None:
        """Those that lag a slice behind are fresh again."""
        lagging = self._lagging
        limit = self._lag + (1e-12 + 4e-16 * (self._lag + self.clock._now))
        while lagging and lagging[0][0] <= limit:
            _, number, job = lagging.popleft()
            if job.burst != number:
                continue
            self._running[REST] -= 1
            left_s = max(0.0, job.finish - self._virtual[REST])
            job.later_s = max(0.0, left_s - self.fresh_s)
            job.fresh_s = self.fresh_s - (left_s - job.later_s)
            self._enter(job, FRESH, left_s - job.later_s)

    def _rest(self) -> None:
        """Nobody computes: start V afresh, which keeps it small and exact."""
        self._lagging.clear()
        self._lag = 0.0
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
        self._renew()
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
