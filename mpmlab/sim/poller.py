"""SimPoller: a set of armed sources, one-shot, as epoll with EPOLLONESHOT. And the attempt of poll.

`ready` holds the sources that have become ready while armed; whether they still are is looked up
when a thread polls, so that a herd finds that somebody else was faster.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mpmlab.sim.listener import SimListener
from mpmlab.sim.network import SimConn

if TYPE_CHECKING:
    from mpmlab.sim.kernel import SimKernel
    from mpmlab.sim.process import SimProcess

Source = SimConn | SimListener


class SimPoller:
    """Made by one process, after the fork."""

    __slots__ = ("armed", "hailed", "name", "process", "ready", "waiters", "woken")

    def __init__(self, name: str, process: SimProcess) -> None:
        self.name = name
        self.process = process
        self.armed: dict[Source, None] = {}
        self.ready: dict[Source, None] = {}
        self.waiters: deque[SimKernel] = deque()
        self.woken = False
        self.hailed = False  # the first waiter is about to look

    def __repr__(self) -> str:
        return self.name

    def arm(self, source: Source, write: bool) -> None:
        """Put it into the set, for reading or for writing."""
        if isinstance(source, SimListener):
            if source not in self.process.listeners:
                return
            source.pollers[self] = None
        else:
            if source.closed:
                return
            if source.poller is not None and source.poller is not self:
                source.poller.disarm(source)
            source.poller = self
            source.watch_write = write
        self.armed[source] = None
        if source.is_ready():
            self.mark(source, False)

    def disarm(self, source: Source) -> None:
        """Take it out of the set."""
        if source not in self.armed:
            return
        del self.armed[source]
        self.ready.pop(source, None)
        if isinstance(source, SimListener):
            del source.pollers[self]
        else:
            source.poller = None
            source.watch_write = False

    def mark(self, source: Source, direct: bool) -> None:
        """An armed source may have become ready. `direct`: by a timer."""
        if source in self.ready:
            return
        if not source.is_ready():
            return
        self.ready[source] = None
        self.notify(direct)

    def notify(self, direct: bool) -> None:
        """There is something for one waiting thread."""
        if self.waiters:
            if direct:
                self.waiters.popleft().again()
            elif not self.hailed:
                self.hailed = True
                self.waiters[0].retry()

    def wake(self) -> None:
        """End the current poll, or else the next."""
        if not self.woken:
            self.woken = True
            self.notify(False)

    def close(self) -> None:
        """Take out everything."""
        for source in list(self.armed):
            self.disarm(source)

    def forget(self, thread: SimKernel) -> None:
        """See thread.Place. If it was the one about to look, somebody else does."""
        self.waiters.remove(thread)
        self.hailed = False
        if self.waiters and (self.ready or self.woken):
            self.notify(False)


def try_poll(thread: SimKernel) -> bool:
    """Attempt of k.poll()."""
    poller: SimPoller = thread.x
    poller.hailed = False
    done = thread.done
    found: list[Source] = []
    ready = poller.ready
    if ready:
        found.extend([source for source in ready if source.is_ready()])
        ready.clear()
        for source in found:
            poller.disarm(source)
    if found or poller.woken:
        poller.woken = False
        done._value = found
        return True
    if thread.timeout_s == 0:
        done._value = found
        return True
    poller.waiters.append(thread)
    thread.interruptible = False
    thread.fallback = found
    return thread.block(poller)
