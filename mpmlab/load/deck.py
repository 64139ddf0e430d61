"""When a session is made ready: at its time, or some before, so that at its time it has but to act.

A real client process is one thread: what it does just then makes others late. So it makes sessions
ready (writes their first request, gives them a connection of the pool) while nothing is due for a
moment, and up to DEPTH of them. They are taken in the order of their times, so that no session ever
has a connection that an earlier one waits for. Pure decisions; the clock and the waiting are the
caller's (client.load).
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: How many sessions at most are ready before their time.
DEPTH: Final = 8
#: A session is made ready when nothing is due for so long: making one takes 5 us, and on a core
#: with cold caches 40. (One at a time, made when the one before it was due, gave a lateness of
#: 45 to 60 us at p99 of Poisson arrivals, since now and then two are due at nearly the same time.)
CLEAR_S: Final = 60e-6
#: ... or when fewer are ready than this, whatever is due.
FEW: Final = 2
#: How long after a session's time the next one is looked at: not before it, by chance.
AFTER_S: Final = 5e-6


class Deck:
    """The sessions that are ready and not yet due. With `ahead` False there are none: each is made
    at its own time."""

    def __init__(self, ahead: bool) -> None:
        self._ahead = ahead
        self._due: deque[float] = deque()

    def wait_s(self, due_s: float, now_s: float) -> float:
        """How long to wait before the next session, due at due_s, is made ready, or before asking
        again; 0 or less: now."""
        if not self._ahead:
            return due_s - now_s
        due = self._due
        while due and due[0] <= now_s:
            due.popleft()
        if len(due) < FEW or (len(due) < DEPTH and due[0] - now_s > CLEAR_S):
            return 0.0
        return due[0] - now_s + AFTER_S

    def put(self, due_s: float) -> None:
        """That session is ready."""
        if self._ahead:
            self._due.append(due_s)
