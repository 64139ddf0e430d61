"""Timeout queues: connections that wait, in the order in which their time runs out.

All of a queue's members have the same timeout, so the order of arrival is the order of expiry, and
every operation is O(1) (event.c: struct timeout_queue, TO_QUEUE_APPEND, process_timeout_queue).
No clock: the caller says what time it is. No locks: in the real world the caller holds one, as
event.c's timeout_mutex is held.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

#: An earlier expiry is worth waking the listener for only if it is earlier by more than this
#: (event.c: TIMEOUT_FUDGE_FACTOR, 100 ms). Expiries may be noticed that much late.
TIMEOUT_FUDGE_S: Final = 0.1

_MS_PER_S: Final = 1000


class TimeoutQueue:
    """Items that each expire `timeout_s` seconds after they were appended.

    Items are hashable, by identity in the usual case, and are in the queue once at most. Append in
    the order of a clock that only goes forward. `timeout_s` may be changed and then holds for the
    items that wait already (a dying event process cuts its lingering closes from 30 to 2 s)."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        # An OrderedDict, because the first key of a plain dict is found by walking over those
        # removed before it: queues where the oldest leave first would take quadratic time.
        self._since_s: OrderedDict[Any, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._since_s)

    def __contains__(self, item: object) -> bool:
        return item in self._since_s

    def append(self, item: Any, now_s: float) -> None:
        """The item's time begins. ValueError if it is in the queue already."""
        if item in self._since_s:
            raise ValueError(f"{item!r} is in this timeout queue already")
        self._since_s[item] = now_s

    def remove(self, item: Any) -> bool:
        """Take the item out. False if it was not there (it expired in the meantime)."""
        return self._since_s.pop(item, None) is not None

    def next_expiry_s(self) -> float | None:
        """When the first item expires; None for an empty queue."""
        for since_s in self._since_s.values():
            return since_s + self.timeout_s
        return None

    def expired(self, now_s: float) -> list[Any]:
        """Take out the items whose time is over, oldest first. An expiry of exactly now is."""
        gone: list[Any] = []
        while self._since_s:
            item, since_s = next(iter(self._since_s.items()))
            if since_s + self.timeout_s > now_s:
                break
            del self._since_s[item]
            gone.append(item)
        return gone

    def pop_all(self) -> list[Any]:
        """Take out everything, oldest first (a busy or dying process gives up keep-alives)."""
        gone = list(self._since_s)
        self._since_s.clear()
        return gone


class NextExpiry:
    """When a listener looks at its timeout queues next (event.c: queues_next_expiry).

    It may lag behind the queues on purpose: it is not put off when the item that set it leaves, so
    the look (at which event also publishes its counters) happens all the same; and it is not
    brought forward by less than the fudge."""

    def __init__(self) -> None:
        self.at_s: float | None = None

    def note(self, queue: TimeoutQueue) -> bool:
        """The queue has a new member. True if the next look is now sooner: wake the listener."""
        expiry_s = queue.next_expiry_s()
        if expiry_s is None:
            return False
        if self.at_s is not None and self.at_s <= expiry_s + TIMEOUT_FUDGE_S:
            return False
        self.at_s = expiry_s
        return True

    def has_passed(self, now_s: float) -> bool:
        """Whether it is time to look. Now counts, unlike in event.c, whose clock always moves."""
        return self.at_s is not None and self.at_s <= now_s

    def recompute(self, queues: Iterable[TimeoutQueue]) -> None:
        """After a look at the queues: when is the next one."""
        self.at_s = None
        for queue in queues:
            self.note(queue)

    def timeout_s(self, now_s: float) -> float | None:
        """How long to poll: None for ever, 0 if the time has passed, else rounded up to whole
        milliseconds (as event.c does; it also keeps a rounding error from polling for no time)."""
        if self.at_s is None:
            return None
        return max(0, math.ceil((self.at_s - now_s) * _MS_PER_S)) / _MS_PER_S


def next_timeout(queues: Iterable[TimeoutQueue], now_s: float) -> float | None:
    """How long a listener with just these queues polls: None for ever, see NextExpiry.timeout_s."""
    expiry = NextExpiry()
    expiry.recompute(queues)
    return expiry.timeout_s(now_s)
