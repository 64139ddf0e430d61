"""Queues and mutexes of the real world: within a process, and shared between processes.

Trying lives here; waiting for a descriptor is the kernel's business (kernel.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import tempfile
import threading
import weakref
from typing import Any, Final

from mpmlab.kernel.interface import KernelError

Empty: Final = queue.Empty

_SELF_FD: Final = "/proc/self/fd"


class LocalQueue:
    """Between the threads of one process; first in first out, or last in first out.

    Threads wait in `take` itself. The main thread also has to hear signals: it waits on its wake-up
    pipe, and sets `main_waits` so that a put rings there. It looks once more after setting it, and
    the putter looks at it after putting: one of the two sees the other."""

    __slots__ = ("main_waits", "push", "size", "take")

    def __init__(self, order: str):
        if order not in ("fifo", "lifo"):
            raise KernelError(f"queue order {order!r}; accepted: 'fifo', 'lifo'")
        items: Any = queue.SimpleQueue() if order == "fifo" else queue.LifoQueue()
        self.push = items.put
        self.take = items.get  # take(block, timeout_s), raises Empty
        self.size = items.qsize
        self.main_waits = False


class SharedQueue:
    """Single characters between processes: a pipe (httpd: server/mpm_unix.c, pod)."""

    __slots__ = ("__weakref__", "read_fd", "write_fd")

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        os.set_blocking(self.write_fd, False)

    def push(self, item: str) -> bool:
        """False if the pipe is full."""
        if len(item) != 1 or not item.isascii():
            raise KernelError(f"a shared queue carries single ASCII characters, not {item!r}")
        try:
            os.write(self.write_fd, item.encode())
        except BlockingIOError:
            return False
        return True

    def take(self) -> str | None:
        """One character, or None if there is none now."""
        try:
            return os.read(self.read_fd, 1).decode()
        except BlockingIOError:
            return None

    def __del__(self) -> None:
        # Made anew at each restart; who holds an old one keeps it open.
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.read_fd)
            os.close(self.write_fd)


class LocalMutex:
    """Between the threads of one process."""

    __slots__ = ("acquire", "release")

    def __init__(self) -> None:
        lock = threading.Lock()
        self.acquire = lock.acquire
        self.release = lock.release


class SharedMutex:
    """Between processes: flock on a file that each process opens for itself, because locks belong
    to the open file description, which a fork shares. The kernel releases it with the process.

    The file has no name where /proc/self/fd can open it once more; elsewhere it is a file of
    `folder`, which who made the folder removes."""

    __slots__ = ("__weakref__", "_fd", "_pid", "_threads", "file_fd", "path")
    _opening = threading.Lock()  # free at every fork, which only a one-thread process does

    def __init__(self, folder: str | None = None, named: bool = not os.path.isdir(_SELF_FD)):
        self.path: str | None = None
        if named:
            self.file_fd, self.path = tempfile.mkstemp(prefix="mutex.", dir=folder)
        elif hasattr(os, "memfd_create"):
            self.file_fd = os.memfd_create("mpmlab mutex")
        else:
            with tempfile.TemporaryFile() as file:
                self.file_fd = os.dup(file.fileno())
        self._fd = -1
        self._pid = -1
        self._threads = threading.Lock()
        _shared_mutexes.add(self)

    def forget(self) -> None:
        """In a fresh child: drop the description inherited from the parent. Were it kept, a lock
        that the parent dies with would live on in the child."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = self._pid = -1
        self._threads = threading.Lock()

    def acquire(self) -> bool:
        """Wait until held. flock excludes processes, the inner lock this process's threads."""
        if self._pid != os.getpid():
            self._open()
        self._threads.acquire()
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Only the process that holds it."""
        if self._pid != os.getpid():
            raise KernelError("unlock of a shared mutex that this process does not hold")
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._threads.release()

    def _open(self) -> None:
        with self._opening:
            if self._pid == os.getpid():
                return
            self.forget()
            path = self.path or f"{_SELF_FD}/{self.file_fd}"
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self._pid = os.getpid()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.file_fd)
            if self._fd >= 0:
                os.close(self._fd)


_shared_mutexes: weakref.WeakSet[SharedMutex] = weakref.WeakSet()


def _forget_all() -> None:
    for mutex in list(_shared_mutexes):
        mutex.forget()


os.register_at_fork(after_in_child=_forget_all)

Queue = LocalQueue | SharedQueue
Mutex = LocalMutex | SharedMutex
