"""Deadlines: the time-outs of all threads, in a heap of their own behind one timer of the clock.

A thread has at most one entry here, and hardly ever reaches it: a wait that ends well leaves it
where it is, and a later wait uses it again. Only when it comes up is it looked whether the thread
is due, and if not it is set anew. So requests that wait with a time-out of 5 s do not fill the
clock with timers, among which every other event would have to be sorted.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Protocol

from mpmlab.sim.clock import INF, Clock, Timer


class Thread(Protocol):
    """`entry_s` is when its entry comes up, INF without one; `cell` holds the thread itself, until
    it ends; `deadline` is when its present wait does, INF if it waits for ever or not at all."""

    entry_s: float
    cell: list[Any]
    deadline: float

    def time_out(self) -> None:
        """The deadline is reached."""


class Deadlines:
    """All entries of a world."""

    __slots__ = ("_armed_at", "_callbacks", "_clock", "_heap", "_number", "_timer")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, list[Any]]] = []
        self._number = 0
        self._armed_at = INF
        self._callbacks = [self._fire]
        self._timer: Timer | None = None

    def set(self, thread: Thread, when: float) -> None:
        """The thread's entry comes up then, which is sooner than an entry that it has."""
        thread.entry_s = when
        self._number = number = self._number + 1
        heappush(self._heap, (when, number, thread.cell))
        if when < self._armed_at:
            self._arm(when)

    def _arm(self, when: float) -> None:
        self._armed_at = when
        self._timer = timer = Timer(self._callbacks, None)
        self._clock.at(timer, when)

    def _fire(self, event: Timer) -> None:
        if event is not self._timer:
            return  # a sooner one has taken its place
        now = self._clock._now
        heap = self._heap
        self._armed_at = -INF  # who is set meanwhile need not arm the timer
        while heap:
            when, _, cell = heap[0]
            thread: Thread | None = cell[0]
            if thread is None or thread.entry_s != when:
                heappop(heap)
                continue
            if when > now:
                break
            heappop(heap)
            thread.entry_s = INF
            deadline = thread.deadline
            if deadline <= now:
                thread.time_out()
            elif deadline < INF:
                self.set(thread, deadline)
        self._armed_at = INF
        if heap:
            self._arm(heap[0][0])
