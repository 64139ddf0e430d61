"""What the load process's kernel (loop.py) handles: its threads, timeouts, connections and queues.

A connection knows how to *try*; who waits, and when it is tried again, is the loop's affair. No
loop, no clock, no epoll object here.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

from mpmlab.kernel.interface import Steps
from mpmlab.real.handles import SHORTAGES
from mpmlab.real.link_spec import CLIENT_ADDRESS, SERVER_ADDRESS

#: What an operation returns that has to wait. Never seen by the generators.
PENDING: Final = object()
#: No deadline.
INF: Final = float("inf")

READABLE: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
WRITABLE: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
#: Nothing will come any more after what is in the buffer.
ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
#: Edge-triggered for life: one epoll_ctl for each connection, two if a send ever has to wait.
READS: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
WRITES: Final = READS | select.EPOLLOUT

#: connect() has begun and is not over.
UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EALREADY})
#: This side lacks descriptors, ports or memory.
NO_MEANS: Final = SHORTAGES | {errno.EADDRNOTAVAIL}
#: The peer, or the way to it, is gone.
_GONE: Final = frozenset(
    {
        errno.ECONNRESET,
        errno.EPIPE,
        errno.ECONNABORTED,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)

#: Server's address -> the client's own: a load does not leave the machine by mistake.
SOURCES: Final = {"127.0.0.1": "127.0.0.1", SERVER_ADDRESS: CLIENT_ADDRESS}
#: <linux/in.h>: bind the address now, and choose the port in connect(), where only the pair of both
#: ends must be unique; otherwise 28,000 connections in TIME_WAIT would be the end.
_IP_BIND_ADDRESS_NO_PORT: Final = 24


class Doing:
    """What a thread is at. Plain ints: an enum's members cost more to compare."""

    RUNNING, READY, SLEEP, GET, RECV, SEND, CONNECT, SLOT, DONE = range(9)


class Thread:
    """One generator and what it waits for."""

    __slots__ = (
        "conn",
        "deadline",
        "detail",
        "doing",
        "main",
        "send",
        "serial",
        "tid",
        "timer_at",
        "want",
    )

    def __init__(self, steps: Steps[Any], tid: int) -> None:
        self.send: Any = steps.send
        self.tid = tid
        self.main = tid == 1
        self.doing = Doing.READY
        self.conn: Any = None
        self.want = 0  # the events that it waits for
        self.detail: Any = None  # recv: how many bytes; send: the data; get: queue; else: address
        self.serial = 0  # of its last sleep
        self.deadline = INF
        self.timer_at = INF  # its entry in the heap of timeouts


class LocalQueue:
    """Items between the threads of the loop."""

    __slots__ = ("items", "lifo", "waiters")

    def __init__(self, lifo: bool) -> None:
        self.lifo = lifo
        self.items: deque[Any] = deque()
        self.waiters: deque[Thread] = deque()


class Timeouts:
    """When the waits of threads end at the latest. A thread has one entry at most that counts, and
    it is put off when it comes up too soon: most waits end long before their timeout, and then
    cost no heap operation at all."""

    __slots__ = ("_serial", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Thread]] = []
        self._serial = count()

    def set(self, thread: Thread, deadline: float) -> None:
        """The wait that begins now ends then."""
        thread.deadline = deadline
        if deadline < thread.timer_at:
            thread.timer_at = deadline
            heappush(self.heap, (deadline, next(self._serial), thread))

    def expired(self, now: float) -> list[Thread]:
        """Those whose time is up, out of the heap."""
        heap, late = self.heap, []
        while heap and heap[0][0] <= now:
            at, _, thread = heappop(heap)
            if thread.timer_at != at:
                continue  # a nearer one has taken its place
            thread.timer_at = INF
            if thread.deadline <= now:
                late.append(thread)
            elif thread.deadline < INF:
                self.set(thread, thread.deadline)
        return late


class Conn:
    """The client's end of a TCP connection."""

    __slots__ = (
        "ended",
        "fd",
        "notes",
        "readable",
        "receive",
        "reset",
        "sent",
        "sock",
        "transmit",
        "waiter",
        "writing",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()  # -1 once closed
        self.receive = sock.recv
        self.transmit = sock.send
        self.notes: Any = None
        self.reset = False
        self.readable = False  # an edge has come that take() has not used up
        self.ended = False  # the last edge, too: there is always something to read, b"" at last
        self.sent = 0  # of the send that is going on
        self.writing = False  # epoll reports when it can take data
        self.waiter: Thread | None = None

    @classmethod
    def to(cls, host: str, receive_buffer_bytes: int = 0) -> Conn:
        """One that is ready to dial, from where SOURCES says. Raises OSError."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer_bytes:  # before connect: it sets the window's scale
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            source = SOURCES.get(host)
            if source is not None:
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
        except OSError:
            sock.close()
            raise
        return cls(sock)

    def half_close(self) -> None:
        """Nothing more will be sent."""
        with contextlib.suppress(OSError):  # ENOTCONN after a reset
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Neither will anything be read."""
        self.fd = -1
        self.sock.close()

    def dial(self, where: tuple[str, int]) -> int:
        """connect(), or how far it is: 0 once it is done, else the error number."""
        code = self.sock.connect_ex(where)
        return 0 if code == errno.EISCONN else code

    def take(self, n: int) -> Any:
        """recv() now: data, b"" at the end of the stream or after a reset, or PENDING."""
        try:
            data = self.receive(n)
        except BlockingIOError:
            # `ended`, too: the edge may have been meant for a closed connection of that number.
            self.readable = self.ended = False
            return PENDING
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.reset = True
            return b""
        if len(data) < n and not self.ended:
            self.readable = False  # drained: whatever comes now makes a new edge (epoll(7))
        return data

    def give(self, data: bytes) -> Any:
        """send() now what is left of it: its length once all is gone, None if the peer is gone,
        or PENDING."""
        total = len(data)
        try:
            while self.sent < total:
                rest = memoryview(data)[self.sent :] if self.sent else data
                self.sent += self.transmit(rest)
        except BlockingIOError:
            return PENDING
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.reset = True
            return None
        return total
