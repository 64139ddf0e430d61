"""The handles of the real world: Conn, Listener, Poller. (Queues and mutexes: sync.py.)

A handle knows how to *try*: every descriptor is non-blocking from birth, and nobody toggles that,
because O_NONBLOCK lives on the description that processes share. Waiting is the kernel's business
(kernel.py). Pollers use epoll; a system without it has no `poll` and no `poller` (RealKernel says
so when one is asked for), so the threaded MPMs of this world need Linux, prefork does not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mpmlab.kernel.interface import KernelError, ResourceShortage

#: Errors of accept() and socket() that mean a machine without resources; all others are a lost
#: race (httpd: os/unix/unixd.c, ap_unixd_accept).
SHORTAGES: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENETDOWN}
)
#: ListenBacklog's default (httpd: include/mpm_common.h DEFAULT_LISTENBACKLOG).
DEFAULT_BACKLOG: Final = 511
#: Ready sources taken at one poll. The rest come with the next.
MAX_EVENTS: Final = 512

# Accepted sockets inherit TCP_NODELAY from the listening one on Linux.
_INHERITS_NODELAY: Final = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener of another process is."""

    port: int
    host: str = "127.0.0.1"


class Conn:
    """One end of a TCP connection. `recv_now` and `send_now` are the socket's own methods."""

    __slots__ = ("__weakref__", "fd", "notes", "pollers", "recv_now", "reset", "send_now", "sock")

    def __init__(self, sock: socket.socket):
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()  # -1 once closed
        self.recv_now: Callable[[int], bytes] = sock.recv
        self.send_now: Callable[[Any], int] = sock.send
        self.reset = False
        self.notes: Any = None
        self.pollers: tuple[Poller, ...] = ()

    def shut(self) -> None:
        """Close the sending side. Nothing happens if the connection is gone already."""
        with contextlib.suppress(OSError):  # ENOTCONN after a reset, EBADF after close
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close, out of all pollers first. Idempotent."""
        _close(self)


class Listener:
    """A bound, listening socket. `port` is kept after close."""

    __slots__ = ("__weakref__", "family", "fd", "host", "pollers", "port", "sock")

    def __init__(self, sock: socket.socket):
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.family = int(sock.family)
        self.host, self.port = sock.getsockname()[:2]
        self.pollers: tuple[Poller, ...] = ()

    @classmethod
    def bind(
        cls,
        host: str = "127.0.0.1",
        port: int = 0,
        backlog: int = DEFAULT_BACKLOG,
        send_buffer_bytes: int = 0,
    ) -> Listener:
        """A new one; port 0 takes a free port. Options as httpd's (server/listen.c, make_sock): a
        send buffer of another size than the system's (not 0) goes on to accepted connections."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if send_buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
            sock.bind((host, port))
            sock.listen(backlog)
        except OSError as error:
            sock.close()
            raise KernelError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        return cls(sock)

    def take(self) -> Conn | None:
        """One waiting connection, or None: nobody there, a lost race, or closed here.

        Raises ResourceShortage."""
        try:
            sock = self.sock.accept()[0]
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in SHORTAGES:
                raise ResourceShortage(f"accept: {error.strerror}") from error
            return None
        if not _INHERITS_NODELAY:
            with contextlib.suppress(OSError):  # the peer may have gone already
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Conn(sock)

    def close(self) -> None:
        """Close this process's copy, out of all its pollers first. Idempotent."""
        _close(self)


Source = Conn | Listener


def _close(source: Source) -> None:
    fd, source.fd = source.fd, -1
    if fd < 0:
        return
    pollers, source.pollers = source.pollers, ()
    watching = [p for p in pollers if p.forget(fd)]
    if watching:
        # Another thread is inside epoll_wait and may be coming out with this number: were it given
        # to a new connection now, that one would be taken for ready. So the poll closes it.
        source.sock.detach()
        watching[0].bury(fd)
    else:
        source.sock.close()


class Poller:
    """Armed sources over epoll, one-shot. Made after the fork; any thread may arm, close and wake
    while another one polls.

    `armed` maps the numbers that epoll speaks of to objects. A number leaves it when it is
    returned, disarmed or closed, and comes into it before epoll learns of it."""

    __slots__ = ("armed", "bell", "closed", "doomed", "epoll", "pid", "polling", "ringer")

    def __init__(self) -> None:
        if not hasattr(select, "epoll"):
            raise KernelError("this system has no epoll: only MPMs without a poller run here")
        self.pid = os.getpid()
        self.epoll = select.epoll()
        self.armed: dict[int, Source] = {}
        self.bell, self.ringer = os.pipe()
        os.set_blocking(self.bell, False)
        os.set_blocking(self.ringer, False)
        self.epoll.register(self.bell, select.EPOLLIN)
        self.polling: list[None] = []  # one entry per thread inside poll(); append is atomic
        self.doomed: list[int] = []  # descriptors that wait for the end of that poll
        self.closed = False

    def poll(self, timeout_s: float | None) -> list[Source]:
        """Wait; the ready sources, now disarmed, possibly none."""
        self.polling.append(None)
        sources = []
        for fd, _mask in self.epoll.poll(timeout_s, MAX_EVENTS):
            source = self.armed.pop(fd, None)
            if source is not None:
                sources.append(source)
            elif fd == self.bell:
                with contextlib.suppress(BlockingIOError):  # another polling thread heard it too
                    os.read(fd, 4096)
        self.polling.pop()
        while self.doomed:
            os.close(self.doomed.pop())
        return sources

    def arm(self, source: Source, write: bool) -> None:
        """Put it in for one event. A closed source is ignored."""
        fd = source.fd
        if fd < 0 or self.closed:
            return
        mask = _WRITE if write else _READ
        self.armed[fd] = source
        try:
            if self in source.pollers:
                self.epoll.modify(fd, mask)
            else:
                self.epoll.register(fd, mask)
                # Those that were closed meanwhile are forgotten here.
                source.pollers = (*(p for p in source.pollers if not p.closed), self)
        except (FileNotFoundError, ValueError):  # source or poller closed by another thread
            if self.armed.get(fd) is source:
                del self.armed[fd]
        except OSError as error:
            if error.errno != errno.EBADF:  # as above
                raise

    def disarm(self, source: Source) -> None:
        """Take it out. Nothing happens if it is not in."""
        if self.armed.get(source.fd) is source:
            del self.armed[source.fd]
            with contextlib.suppress(OSError, ValueError):  # closed by another thread
                self.epoll.modify(source.fd, 0)

    def forget(self, fd: int) -> bool:
        """A source with that number is about to be closed: out of the set. True if a poll is
        under way that may still come out with it."""
        # After a fork the epoll is the parent's too, and its set is not ours to change.
        if self.pid != os.getpid() or self.closed:
            return False
        was_armed = self.armed.pop(fd, None) is not None
        # Explicitly: while another process has the description open, close() does not remove it.
        with contextlib.suppress(OSError, ValueError):
            self.epoll.unregister(fd)
        return was_armed and bool(self.polling)

    def bury(self, fd: int) -> None:
        """Close that descriptor once nobody is inside poll()."""
        self.doomed.append(fd)
        self.wake()

    def wake(self) -> None:
        """End the current, or else the next, poll."""
        if not self.closed:
            with contextlib.suppress(BlockingIOError):  # full: it is readable, which is enough
                os.write(self.ringer, b"\0")

    def close(self) -> None:
        """Idempotent. Not while another thread polls."""
        if self.closed:
            return
        self.closed = True
        self.epoll.close()
        for fd in (self.bell, self.ringer, *self.doomed):
            os.close(fd)
        self.doomed.clear()
        self.armed.clear()


_READ: Final = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLONESHOT", 0)
_WRITE: Final = getattr(select, "EPOLLOUT", 0) | getattr(select, "EPOLLONESHOT", 0)
