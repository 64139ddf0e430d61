"""What the load process's loop waits with: the epoll, the alarms of its threads, and its bell.

How long to wait, and how, lives here; what is done about an event, an alarm or a signal is the
loop's (loop.py). No threads are resumed and no connections known here.

Timing. A load generator that is late measures itself. epoll_wait counts in milliseconds (asked for
1,000 requests/s it was 521 us late in the median), so the loop sleeps in select() on the epoll
descriptor until SPIN_S before the next wake-up and then polls without waiting: 1 us in the median,
3 us at p99, for a third of a core.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from time import monotonic
from typing import Final

from mpmlab.kernel.interface import Signal
from mpmlab.real.loop_handles import INF, Thread, Timeouts

#: How long before a sleeper's time the loop stops sleeping and starts spinning.
SPIN_S: Final = 300e-6
#: Waits longer than this are left to epoll_wait and its milliseconds: one system call, not two.
LONG_S: Final = 0.002
#: Events taken, and threads resumed, before the loop looks at the clock and the sockets again.
BATCH: Final = 64


class Bell:
    """Ends the loop's wait when a signal comes: a pair of sockets of which the epoll watches one
    end, and the interpreter's signal handling writes to the other."""

    def __init__(self, epoll: select.epoll) -> None:
        #: The signals that have come and are not taken.
        self.pending: list[Signal] = []
        self._listening = False
        self._hears, self._rings = socket.socketpair()
        self._hears.setblocking(False)
        self._rings.setblocking(False)
        self.fd = self._hears.fileno()
        epoll.register(self.fd, select.EPOLLIN)

    def listen(self) -> None:
        """SIGTERM and SIGINT from now on are a pending Signal.TERM, for good."""
        self._listening = True
        signal.set_wakeup_fd(self._rings.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.pending.append(Signal.TERM))

    def hear(self) -> None:
        """It has rung: be ready for the next time."""
        with contextlib.suppress(BlockingIOError):
            self._hears.recv(4096)

    def close(self) -> None:
        """Signals that come later are noted, but wake nobody."""
        if self._listening:
            signal.set_wakeup_fd(-1)
        self._hears.close()
        self._rings.close()


class Waits:
    """Until when the loop may wait, and the waiting."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        #: Who sleeps, by the time of waking: a heap of time, serial number of the sleep, thread.
        self.sleepers: list[tuple[float, int, Thread]] = []
        self.timeouts = Timeouts()
        #: Seconds that there was nothing to do: waiting, or spinning before a wake-up.
        self.idle_s = 0.0

    def events(self, now: float) -> list[tuple[int, int]]:
        """Socket events, waiting for them no longer than until the next sleeper's time, less
        SPIN_S, or the next timeout. In the last SPIN_S it spins, until a sleeper is due."""
        epoll = self._epoll
        due = until = INF
        if self.sleepers:
            due = self.sleepers[0][0]
            until = due - SPIN_S
        if self.timeouts.heap and (first := self.timeouts.heap[0][0]) < due:
            due = first  # which is not worth spinning for
            if first < until:
                until = first
        left = until - now
        if left == INF:
            events = epoll.poll(None, BATCH)
        elif left >= LONG_S:  # the half: poll() rounds up to whole milliseconds
            events = epoll.poll((int(left * 1000) - 0.5) / 1000, BATCH)
        elif left > 0:
            select.select((epoll,), (), (), left)
            events = epoll.poll(0, BATCH)
        else:
            while not (events := epoll.poll(0, BATCH)) and monotonic() < due:
                pass
        self.idle_s += monotonic() - now
        return events
