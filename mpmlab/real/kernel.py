"""RealKernel: the operations of the kernel interface, performed on this machine.

Each operation is performed when it is called and returns its value, which `yield` merely hands
round (drive.py). One kernel per thread: MainKernel, whose `wait`, `sleep`, `accept` and `get` hear
signals, and ThreadKernel, whose socket waits hear `interrupt()`. Every wait tries first and looks
at clock and poll only if it must: this file is the server's hottest.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Dead, Dial, KernelError, ResourceShortage, Signal, Steps
from mpmlab.real.application import answer
from mpmlab.real.drive import drive
from mpmlab.real.error_log import LogLine
from mpmlab.real.handles import SHORTAGES, Address, Conn, Listener, Poller, Source
from mpmlab.real.process import PARENT_CHECK_S, Process
from mpmlab.real.sync import Empty, LocalMutex, LocalQueue, Mutex, Queue, SharedMutex, SharedQueue


class RealKernel:
    """What both kinds of thread have in common. `timeout_s`, results: kernel/interface.py."""

    __slots__ = ("_pending", "_poll", "_process", "pid_number")

    def __init__(self, process: Process):
        self._process = process
        self._pending = process.pending
        self._poll = select.poll()  # for one socket at a time; ThreadKernel adds interrupt's pipe
        self.pid_number = process.pid

    # ---- connections ---------------------------------------------------------------------------

    def recv(self, conn: Conn, n: int, timeout_s: float | None) -> bytes | None:
        try:
            return conn.recv_now(n)
        except BlockingIOError:
            if timeout_s == 0:
                return None
        except OSError as error:
            return _cut(conn, error)
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while self._await(conn.fd, select.POLLIN, deadline):
            try:
                return conn.recv_now(n)
            except BlockingIOError:
                continue
            except OSError as error:
                return _cut(conn, error)
        return None

    def send(self, conn: Conn, data: bytes, timeout_s: float | None) -> int | None:
        try:
            sent = conn.send_now(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            _cut(conn, error)
            return None
        size = len(data)
        if sent == size or timeout_s == 0:
            return sent
        deadline = None if timeout_s is None else monotonic() + timeout_s
        view = memoryview(data)
        while sent < size and self._await(conn.fd, select.POLLOUT, deadline):
            try:
                sent += conn.send_now(view[sent:])
            except BlockingIOError:
                continue
            except OSError as error:
                _cut(conn, error)
                return None
        return sent

    def connect(
        self, address: Listener | Address, timeout_s: float | None, dial: Dial | None = None
    ) -> Conn | None:
        host = address.host
        try:
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            if error.errno in SHORTAGES:
                raise ResourceShortage(f"socket: {error.strerror}") from error
            raise
        conn = Conn(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if dial is not None and dial.receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, dial.receive_buffer_bytes)
        error_number = sock.connect_ex((host, address.port))
        if error_number in _UNDER_WAY:
            deadline = None if timeout_s is None else monotonic() + timeout_s
            if self._await(conn.fd, select.POLLOUT, deadline):
                error_number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error_number == 0:
            return conn
        conn.close()
        if error_number in _NO_PORT_LEFT:
            raise KernelError(f"connect to port {address.port}: {os.strerror(error_number)}")
        return None

    def close(self, handle: Conn | Listener | Poller, half: bool = False) -> None:
        if half:
            assert isinstance(handle, Conn)
            handle.shut()
        else:
            handle.close()

    def _await(self, fd: int, event: int, deadline: float | None) -> bool:
        """Wait until that socket is ready (True), or the time is up (False). Polls at least once,
        so that even a try of `connect` sees a handshake that is done already."""
        poll = self._poll
        while fd >= 0:  # else closed by another thread: the next try will say so
            left_s = None if deadline is None else deadline - monotonic()
            poll.register(fd, event)
            ready = poll.poll(None if left_s is None else max(left_s, 0.0) * 1000)
            poll.unregister(fd)
            if ready:
                return True
            if left_s is not None and left_s <= 0:
                return False
        return True

    # ---- pollers -------------------------------------------------------------------------------

    def poll(self, poller: Poller, timeout_s: float | None) -> list[Source]:
        return poller.poll(timeout_s)

    def arm(self, poller: Poller, source: Source, on: bool = True, write: bool = False) -> None:
        if on:
            poller.arm(source, write)
        else:
            poller.disarm(source)

    def wake(self, poller: Poller) -> None:
        poller.wake()

    # ---- queues and mutexes --------------------------------------------------------------------

    def put(self, queue: Queue, item: Any) -> bool:
        if isinstance(queue, SharedQueue):
            return queue.push(item)
        queue.push(item)
        if queue.main_waits:
            self._process.ring()
        return True

    def size(self, queue: LocalQueue) -> int:
        return int(queue.size())

    def lock(self, mutex: Mutex) -> bool:
        return mutex.acquire()

    def unlock(self, mutex: Mutex) -> None:
        mutex.release()

    # ---- the application -----------------------------------------------------------------------

    def work(self, demand: Demand) -> bytes:
        return answer(demand)

    # ---- processes, signals, clock, log --------------------------------------------------------

    def thread(self, fn: Callable[..., Steps[Any]], *args: Any) -> int | None:
        process = self._process
        process.prepare_threads()
        return process.start_thread(lambda: drive(fn(ThreadKernel(process), *args)))

    def kill(self, pid: int, signal: Signal) -> bool:
        return self._process.kill(pid, signal)

    def dies_of(self, signal: Signal) -> None:
        self._process.dies_of(signal)

    def signals(self) -> Sequence[Signal]:
        return tuple(self._pending)

    def take_signals(self) -> Sequence[Signal]:
        taken = tuple(self._pending)
        del self._pending[: len(taken)]  # a handler may have added to the end meanwhile
        return taken

    def interrupt(self) -> None:
        self._process.interrupt()

    def now(self) -> float:
        return monotonic()

    def pid(self) -> int:
        return self.pid_number

    def log(self, level: str, ident: str, text: str) -> None:
        line = LogLine(monotonic(), self.pid_number, level, ident, text)
        self._process.log(line, time.time())

    # ---- factories -----------------------------------------------------------------------------

    def queue(self, order: str = "fifo", shared: bool = False) -> Queue:
        if not shared:
            return LocalQueue(order)
        if order != "fifo":
            raise KernelError(f"a shared queue is a pipe: order 'fifo', not {order!r}")
        return SharedQueue()

    def mutex(self, shared: bool = False) -> Mutex:
        return SharedMutex(self._process.run_folder) if shared else LocalMutex()

    def poller(self) -> Poller:
        return Poller()


class MainKernel(RealKernel):
    """The kernel of a process's main thread."""

    __slots__ = ("_ears",)

    def __init__(self, process: Process):
        super().__init__(process)
        self._ears = select.poll()  # the wake-up pipe, and one descriptor at a time
        self._ears.register(process.wake_read, select.POLLIN)

    def _hear(self, fd: int, deadline: float | None) -> bool:
        """Wait for the wake-up pipe, and for `fd` to be readable unless it is negative. True:
        something happened, try again. False: the time is up, or a signal is pending."""
        if self._pending:
            return False
        process = self._process
        left_s = None if deadline is None else deadline - monotonic()
        if left_s is not None and left_s <= 0:
            return False
        if process.watches_parent:
            left_s = PARENT_CHECK_S if left_s is None else min(left_s, PARENT_CHECK_S)
        ears = self._ears
        if fd >= 0:
            ears.register(fd, select.POLLIN)
        ready = ears.poll(None if left_s is None else left_s * 1000)
        if fd >= 0:
            ears.unregister(fd)
        for number, _event in ready:
            if number == process.wake_read:
                process.hush()
        if process.watches_parent:
            process.check_parent()
        return not self._pending

    def fork(self, fn: Callable[..., Steps[int]], *args: Any) -> int | None:
        return self._process.fork(lambda process: drive(fn(MainKernel(process), *args)))

    def wait(self, timeout_s: float | None) -> Dead | None:
        if self._pending:
            return None
        dead = self._process.reap()
        if dead is not None or timeout_s == 0:
            return dead
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while self._hear(-1, deadline):
            dead = self._process.reap()
            if dead is not None:
                return dead
        return None

    def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            time.sleep(0)
            return
        deadline = monotonic() + seconds
        while self._hear(-1, deadline):
            pass

    def accept(self, listener: Listener, timeout_s: float | None) -> Conn | None:
        if self._pending:
            return None
        conn = listener.take()
        if conn is not None or timeout_s == 0:
            return conn
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while listener.fd >= 0 and self._hear(listener.fd, deadline):
            conn = listener.take()
            if conn is not None:
                return conn
        return None

    def get(self, queue: Queue, timeout_s: float | None) -> Any:
        if self._pending:
            return None
        item = _try_get(queue)
        if item is not None or timeout_s == 0:
            return item
        deadline = None if timeout_s is None else monotonic() + timeout_s
        if isinstance(queue, SharedQueue):
            while self._hear(queue.read_fd, deadline):
                item = queue.take()
                if item is not None:
                    return item
            return None
        queue.main_waits = True
        item = _try_get(queue)  # put since the last look: its putter may not have seen the flag
        while item is None and self._hear(-1, deadline):
            item = _try_get(queue)
        queue.main_waits = False
        return item


class ThreadKernel(RealKernel):
    """The kernel of any other thread."""

    __slots__ = ("_token_poll",)

    def __init__(self, process: Process):
        super().__init__(process)
        self._poll.register(process.interrupt_fd, select.POLLIN)
        self._token_poll = select.poll()  # for shared queues, which `interrupt` leaves alone

    def _await(self, fd: int, event: int, deadline: float | None) -> bool:
        """As RealKernel's; False also once the process's threads are interrupted."""
        poll, process = self._poll, self._process
        while fd >= 0:
            if process.interrupted:
                return False
            left_s = None if deadline is None else deadline - monotonic()
            poll.register(fd, event)
            ready = poll.poll(None if left_s is None else max(left_s, 0.0) * 1000)
            poll.unregister(fd)
            for number, _event in ready:
                if number == fd:
                    return True
            if left_s is not None and left_s <= 0:
                return False
        return True

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, 0.0))

    def accept(self, listener: Listener, timeout_s: float | None) -> Conn | None:
        if timeout_s != 0:
            raise KernelError("only the main thread waits in accept: others poll, then try")
        return listener.take()

    def get(self, queue: Queue, timeout_s: float | None) -> Any:
        if isinstance(queue, LocalQueue):
            if timeout_s is None:
                return queue.take()
            try:
                return queue.take(timeout_s > 0, timeout_s)
            except Empty:
                return None
        item = queue.take()
        if item is not None or timeout_s == 0:
            return item
        deadline = None if timeout_s is None else monotonic() + timeout_s
        poll = self._token_poll
        poll.register(queue.read_fd, select.POLLIN)
        while item is None:
            left_s = None if deadline is None else deadline - monotonic()
            if left_s is not None and left_s <= 0:
                break
            poll.poll(None if left_s is None else left_s * 1000)
            item = queue.take()
        poll.unregister(queue.read_fd)
        return item

    def fork(self, fn: Callable[..., Steps[int]], *args: Any) -> int | None:  # noqa: ARG002
        raise KernelError("fork needs a process with one thread, and this is a second one")

    def wait(self, timeout_s: float | None) -> Dead | None:  # noqa: ARG002
        raise KernelError("only the main thread waits for children")


#: Non-blocking connect: the handshake goes on.
_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK)
#: Not the peer's refusal but this machine's limits.
_NO_PORT_LEFT: Final = (errno.EADDRNOTAVAIL, errno.EAGAIN)


def _try_get(queue: Queue) -> Any:
    """The next item, or None if there is none now."""
    if isinstance(queue, SharedQueue):
        return queue.take()
    try:
        return queue.take(False)
    except Empty:
        return None


def _cut(conn: Conn, error: OSError) -> bytes:
    """What recv gives once a socket has failed, with a note if the peer has reset it. A socket
    that this process has closed (EBADF) has simply ended."""
    if isinstance(error, ConnectionResetError):
        conn.reset = True
    return b""
