"""Mutexes and queues: within a process, and shared between processes.

State and attempts; what an attempt costs is charged by kernel.py. A mutex goes from hand to hand,
first come, first served. A "lifo" queue gives the newest item to the latest waiter.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mpmlab.kernel.interface import KernelError

if TYPE_CHECKING:
    from mpmlab.sim.kernel import SimKernel
    from mpmlab.sim.process import SimProcess

#: Tokens that a shared queue holds: a pipe's default capacity on Linux (pipe(7)).
SHARED_QUEUE_LIMIT: Final = 65_536


class SimMutex:
    """Owned by a thread or, if shared, by a process; freed when that dies."""

    __slots__ = ("__weakref__", "name", "owner", "shared", "waiters")

    def __init__(self, name: str, shared: bool) -> None:
        self.name = name
        self.shared = shared
        self.owner: SimKernel | SimProcess | None = None
        self.waiters: deque[SimKernel] = deque()

    def __repr__(self) -> str:
        return self.name

    def take(self, thread: SimKernel) -> None:
        """It is free: that thread, or its process, owns it now."""
        if self.shared:
            process = thread.process
            self.owner = process
            process.mutexes[self] = None
        else:
            self.owner = thread

    def release(self, owner: SimKernel | SimProcess) -> None:
        """The owner gives it up, or has died; the first waiter has it."""
        if self.owner is not owner:
            raise KernelError(f"unlock of {self.name}, which the caller does not hold")
        self.owner = None
        if self.shared:
            del owner.mutexes[self]  # type: ignore[union-attr]
        if self.waiters:
            thread = self.waiters.popleft()
            self.take(thread)
            thread.rouse(True)

    def forget(self, thread: SimKernel) -> None:
        """See thread.Place. A thread that was handed the mutex waits here no longer."""
        self.waiters.remove(thread)


def try_lock(thread: SimKernel) -> bool:
    """Attempt of k.lock()."""
    mutex: SimMutex = thread.x
    if mutex.owner is None:
        mutex.take(thread)
        thread.done._value = True
        return True
    mutex.waiters.append(thread)
    thread.interruptible = False
    thread.timeout_s = None
    return thread.block(mutex)


class SimQueue:
    """Items and waiters. A shared one carries single characters and has a limit, as a pipe."""

    __slots__ = ("items", "lifo", "name", "shared", "waiters")

    def __init__(self, name: str, order: str, shared: bool) -> None:
        if order not in ("fifo", "lifo"):
            raise KernelError(f"queue order {order!r}; accepted: 'fifo', 'lifo'")
        if shared and order != "fifo":
            raise KernelError(f"a shared queue is a pipe: order 'fifo', not {order!r}")
        self.name = name
        self.lifo = order == "lifo"
        self.shared = shared
        self.items: deque[Any] = deque()
        self.waiters: deque[SimKernel] = deque()

    def __repr__(self) -> str:
        return self.name

    def forget(self, thread: SimKernel) -> None:
        """See thread.Place."""
        self.waiters.remove(thread)


def try_put(thread: SimKernel) -> bool:
    """Attempt of k.put(): never waits."""
    queue: SimQueue = thread.x
    item = thread.y
    thread.y = None
    done = thread.done
    done._value = True
    if queue.shared:
        if not (isinstance(item, str) and len(item) == 1 and item.isascii()):
            raise KernelError(f"a shared queue carries single ASCII characters, not {item!r}")
        if len(queue.items) >= SHARED_QUEUE_LIMIT:
            done._value = False
            return True
    elif not item:
        raise KernelError(f"{queue.name}: {item!r} is falsy, get() could not tell it from nothing")
    waiters = queue.waiters
    if waiters:
        (waiters.pop() if queue.lifo else waiters.popleft()).rouse(item)
    else:
        queue.items.append(item)
    return True


def try_get(thread: SimKernel) -> bool:
    """Attempt of k.get(). The main thread hears signals before it takes anything."""
    queue: SimQueue = thread.x
    done = thread.done
    if thread.is_main and thread.process.pending:
        done._value = None
        return True
    items = queue.items
    if items:
        done._value = items.pop() if queue.lifo else items.popleft()
        return True
    if thread.timeout_s == 0:
        done._value = None
        return True
    queue.waiters.append(thread)
    thread.interruptible = thread.is_main
    thread.fallback = None
    return thread.block(queue)
