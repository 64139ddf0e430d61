"""The clock and event loop of the simulated world: SimPy's Environment with absolute times.

Only the passing of time lives here: no processes of a system, no costs. What is due now goes first
in, first out; process starts go before that, as SimPy has it (URGENT before NORMAL).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Final

from simpy.core import Environment
from simpy.events import NORMAL, Event

from mpmlab.kernel.interface import KernelError

INF: Final = float("inf")

#: So many events, or operations, without time passing are a bug and not a busy moment.
LIVELOCK_LIMIT: Final = 100_000


class Livelock(KernelError):  # noqa: N818 - the field's word for it
    """The simulation goes round without time passing: something retries at no cost."""


class Timer(Event):
    """An event that is triggered by the passing of time, for use over and over: SimPy drops the
    callbacks of an event when it is processed, so `callbacks is None` means that it is free.
    `owner` is what the callback is about (a thread, a connection...)."""

    def __init__(self, callbacks: list[Any], owner: Any) -> None:
        self.callbacks = callbacks
        self.owner = owner

    _ok = True
    _value = None


class Clock(Environment):
    """SimPy's Environment, which can schedule at an absolute time and stop at a word."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.events = 0  # processed so far
        self.stopping = False

    def at(self, event: Event, time_s: float) -> None:
        """Process the event at that time, not an ulp earlier or later."""
        heappush(self._queue, (time_s, NORMAL, next(self._eid), event))

    def soon(self, event: Event) -> None:
        """Process the event now, after all that is due now already."""
        heappush(self._queue, (self._now, NORMAL, next(self._eid), event))

    def pending(self) -> int:
        """How many events are scheduled."""
        return len(self._queue)

    def stand_at(self, time_s: float) -> None:
        """Let time pass in which nothing happens."""
        self._now = max(self._now, time_s)

    def run_until(self, limit_s: float) -> bool:
        """Process events until `stopping` is set (True), until the next one lies beyond `limit_s`
        (True; the clock then stands at `limit_s`), or until none are left (False).

        This is SimPy's step(), in line: the call alone would cost a tenth of the simulation."""
        queue = self._queue
        self.stopping = False
        events = same = 0
        last = -1.0
        try:
            while queue:
                item = heappop(queue)
                now = item[0]
                if now > limit_s:
                    heappush(queue, item)
                    self._now = limit_s
                    return True
                if now != last:
                    last = now
                    self._now = now
                    same = events
                elif events - same > LIVELOCK_LIMIT:
                    raise Livelock(f"{LIVELOCK_LIMIT} events at {now} s and no end")
                event = item[3]
                callbacks = event.callbacks
                event.callbacks = None  # type: ignore[assignment]
                for callback in callbacks:
                    callback(event)
                events += 1
                if self.stopping:
                    return True
            return False
        finally:
            self.events += events
