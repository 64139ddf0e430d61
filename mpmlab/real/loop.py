"""A kernel for the load process: many generator threads in one OS thread, on one epoll.

Only the loop lives here (connections, queues, threads: loop_handles.py; its waiting: loop_wait.py),
and what clients need of kernel/interface.py (load.way.ClientKernel); no HTTP, no plan. `k.op()`
tries at once and returns the value; if it would have to wait it notes who waits for what and
returns PENDING, and the driver leaves the generator alone until that has come.
"""

from __future__ import annotations

import resource
import select
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import Any, Final

from mpmlab.kernel.interface import Dial, KernelError, Signal, Steps
from mpmlab.real.handles import Address
from mpmlab.real.loop_handles import (
    ENDED,
    INF,
    NO_MEANS,
    PENDING,
    READABLE,
    READS,
    UNDER_WAY,
    WRITABLE,
    WRITES,
    Conn,
    Doing,
    LocalQueue,
    Thread,
)  # fmt: skip
from mpmlab.real.loop_wait import BATCH, Bell, Waits

#: The two that every request passes, as globals: half the price of a class's attribute.
RECV: Final = Doing.RECV
RUNNING: Final = Doing.RUNNING
#: Descriptors that are kept free for files, pipes and the interpreter.
SPARE_DESCRIPTORS: Final = 64


class LoopKernel:
    """The kernel of a load process. `run` drives the main generator and, with it, all threads that
    it starts; everything is closed when it returns. Use once, from the main OS thread."""

    def __init__(self, max_connections: int | None = None) -> None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        #: Most connections at once; `connect` waits for a free one beyond that.
        self.max_connections = max_connections or max(1, soft - SPARE_DESCRIPTORS)
        #: connect() calls that failed for want of descriptors, ports or memory on this side.
        self.shortages = 0
        #: connect() calls that had to wait for max_connections.
        self.queued_connects = 0
        self._epoll = select.epoll()
        self._bell = Bell(self._epoll)
        self._signals = self._bell.pending
        self._waits = Waits(self._epoll)
        self._sleepers, self._timeouts = self._waits.sleepers, self._waits.timeouts
        self._conns: dict[int, Conn] = {}
        self._ready: deque[tuple[Thread, Any]] = deque()
        self._slots: deque[Thread] = deque()
        self._threads: set[Thread] = set()
        self._serial, self._tids = count(1), count(1)
        self._main: Any = None
        self._current: Any = None

    @property
    def idle_s(self) -> float:
        """Seconds that the loop had nothing to do: waiting, or spinning before a wake-up."""
        return self._waits.idle_s

    # ---- the driver ----------------------------------------------------------------------------

    def run(self, fn: Callable[..., Steps[Any]], *args: Any) -> Any:
        """Drive `fn(k, *args)` as the main thread; what it returns. The other threads end with it.
        An exception of any thread ends the run and comes out here."""
        try:
            self._main = self._start(fn, args)
            while True:
                self._turn()
        except StopIteration as over:  # of the main thread; `_resume`
            return over.value
        finally:
            self._shut()

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGINT from now on become Signal.TERM of the main thread, for good."""
        self._bell.listen()

    def _start(self, fn: Callable[..., Steps[Any]], args: tuple[Any, ...]) -> Thread:
        thread = Thread(fn(self, *args), next(self._tids))
        self._threads.add(thread)
        self._ready.append((thread, None))
        return thread

    def _turn(self) -> None:
        """Whatever is due: sleepers first, then the ready, then sockets; wait if nothing is."""
        if self._signals:
            self._rouse_main()
        self._fire_sleepers()
        if self._timeouts.heap:
            self._fire_timeouts()
        ready = self._ready
        for _ in range(min(len(ready), BATCH)):
            thread, value = ready.popleft()
            self._resume(thread, value)
            self._fire_sleepers()
        if self._slots:
            self._admit()
        conns, sleepers = self._conns, self._sleepers
        if ready or self._signals:
            events = self._epoll.poll(0, BATCH)
        else:
            events = self._waits.events(monotonic())
            if not events:
                self._fire_sleepers()  # one is due: nothing comes before it
        for fd, mask in events:
            conn = conns.get(fd)
            if conn is None:  # or one that has been closed meanwhile
                if fd == self._bell.fd:
                    self._bell.hear()
                continue
            conn.readable = True
            if mask & ENDED:
                conn.ended = True
            waiter = conn.waiter
            if waiter is not None and mask & waiter.want:
                conn.waiter = None
                if waiter.doing != RECV:
                    self._retry(waiter)
                elif (data := conn.take(waiter.detail)) is PENDING:
                    conn.waiter = waiter
                else:
                    self._resume(waiter, data)
            if sleepers and sleepers[0][0] <= monotonic():
                self._fire_sleepers()

    def _resume(self, thread: Thread, value: Any) -> None:
        """Let a thread run until it has to wait."""
        self._current = thread
        thread.doing = RUNNING
        thread.deadline = INF
        send = thread.send
        try:
            while value is not PENDING:
                value = send(value)
        except StopIteration:
            thread.doing = Doing.DONE
            thread.send = thread.conn = thread.detail = None
            self._threads.discard(thread)
            if thread.main:
                raise  # nobody does another step after it

    def _retry(self, thread: Thread) -> None:
        """The thread can perhaps send, or is connected: try again, and resume it if so."""
        conn = thread.conn
        if thread.doing == Doing.SEND:
            value = conn.give(thread.detail)
        else:
            value = self._established(conn, thread.detail)
        if value is PENDING:
            conn.waiter = thread
        else:
            self._resume(thread, value)

    def _later(self, value: Any) -> Any:
        """The operation is over, but others go first: no thread can keep the loop to itself by
        failing at once again and again."""
        self._hand(self._current, value)
        return PENDING

    def _park(
        self,
        doing: int,
        detail: Any,
        timeout_s: float | None,
        conn: Conn | None = None,
        want: int = 0,
    ) -> Any:
        """The current thread waits."""
        thread = self._current
        thread.doing = doing
        thread.detail = detail
        thread.conn = conn
        thread.want = want
        if conn is not None:
            conn.waiter = thread
        if timeout_s is not None:
            thread.deadline = deadline = monotonic() + timeout_s
            if deadline < thread.timer_at:
                self._timeouts.set(thread, deadline)
        return PENDING

    def _rouse_main(self) -> None:
        main = self._main
        if main.doing == Doing.GET:
            main.detail.waiters.remove(main)
        if main.doing in (Doing.SLEEP, Doing.GET):
            self._hand(main, None)

    def _hand(self, thread: Thread, value: Any) -> None:
        """What the thread waits for is over: it goes on when its turn comes."""
        thread.doing = Doing.READY
        thread.deadline = INF
        self._ready.append((thread, value))

    # ---- timers --------------------------------------------------------------------------------

    def _fire_sleepers(self) -> None:
        sleepers = self._sleepers
        if not sleepers:
            return
        now = monotonic()
        while sleepers and sleepers[0][0] <= now:
            _, serial, thread = heappop(sleepers)
            if thread.doing == Doing.SLEEP and thread.serial == serial:
                self._resume(thread, None)

    def _fire_timeouts(self) -> None:
        now = monotonic()
        for thread in self._timeouts.expired(now):
            if thread.deadline <= now:  # another's giving up has not helped it meanwhile
                self._give_up(thread)

    def _give_up(self, thread: Thread) -> None:
        """Its time is up."""
        doing, conn, value = thread.doing, thread.conn, None
        if doing == Doing.GET:
            thread.detail.waiters.remove(thread)
        elif doing == Doing.SLOT:
            self._slots.remove(thread)
        else:
            conn.waiter = None
            if doing == Doing.SEND:
                value = conn.sent
            elif doing == Doing.CONNECT:
                self.close(conn)
        self._resume(thread, value)

    def _shut(self) -> None:
        """Close everything; generators that are still waiting are thrown away."""
        self._slots.clear()
        for conn in list(self._conns.values()):
            self.close(conn)
        for thread in self._threads:
            if thread.send is not None:
                thread.send.__self__.close()
        self._threads.clear()
        self._bell.close()
        self._epoll.close()

    # ---- waits (kernel/interface.py) -----------------------------------------------------------

    def thread(self, fn: Callable[..., Steps[Any]], *args: Any) -> Any:
        """A new thread of the loop."""
        return self._start(fn, args).tid

    def sleep(self, seconds: float) -> Any:
        """Never early, and on an idle core about a microsecond late."""
        thread = self._current
        if seconds <= 0 or (thread.main and self._signals):
            return self._later(None)
        thread.doing = Doing.SLEEP
        thread.serial = serial = next(self._serial)
        heappush(self._sleepers, (monotonic() + seconds, serial, thread))
        return PENDING

    def put(self, queue: LocalQueue, item: Any) -> Any:
        """Never waits."""
        if queue.waiters:
            self._hand(queue.waiters.popleft(), item)
        else:
            queue.items.append(item)
        return True

    def get(self, queue: LocalQueue, timeout_s: float | None) -> Any:
        """An item, or None."""
        if queue.items:
            return queue.items.pop() if queue.lifo else queue.items.popleft()
        thread = self._current
        if (timeout_s is not None and timeout_s <= 0) or (thread.main and self._signals):
            return self._later(None)
        queue.waiters.append(thread)
        return self._park(Doing.GET, queue, timeout_s)

    def recv(self, conn: Conn, n: int, timeout_s: float | None) -> Any:
        """Without a system call if nothing can have come since the last one."""
        tries = timeout_s is not None and timeout_s <= 0
        if conn.readable or tries:
            value = conn.take(n)
            if value is not PENDING:
                return value
        if tries:
            return self._later(None)
        return self._park(RECV, n, timeout_s, conn, READABLE)

    def send(self, conn: Conn, data: bytes, timeout_s: float | None) -> Any:
        """Everything, unless the peer stops reading for too long."""
        try:
            sent: int = conn.transmit(data)
        except OSError:
            sent = 0  # give() finds out what it is
        if sent == len(data):
            return sent
        conn.sent = sent
        value = conn.give(data)
        if value is not PENDING:
            return value
        if timeout_s is not None and timeout_s <= 0:
            return self._later(conn.sent)
        if not conn.writing:
            conn.writing = True
            self._epoll.modify(conn.fd, WRITES)
        return self._park(Doing.SEND, data, timeout_s, conn, WRITABLE)

    def connect(self, address: Address, timeout_s: float | None, dial: Dial | None = None) -> Any:
        """None also when this side lacks the means (counted in `shortages`). Waits first while
        there are `max_connections`."""
        if timeout_s is not None and timeout_s <= 0:
            return self._later(None)
        if len(self._conns) >= self.max_connections:
            self.queued_connects += 1
            self._slots.append(self._current)
            return self._park(Doing.SLOT, (address, dial), timeout_s)
        return self._open(address, timeout_s, dial)

    def _open(self, address: Address, timeout_s: float | None, dial: Dial | None) -> Any:
        where = (address.host, address.port)
        try:
            conn = Conn.to(address.host, dial.receive_buffer_bytes if dial else 0)
        except OSError as error:
            if error.errno not in NO_MEANS:
                raise
            self.shortages += 1
            return self._later(None)
        self._conns[conn.fd] = conn
        value = self._established(conn, where)
        if value is PENDING:  # to be asked again: on the loopback the answer has come by now
            value = self._established(conn, where)
        if value is None:
            return self._later(None)
        conn.writing = value is PENDING
        self._epoll.register(conn.fd, WRITES if conn.writing else READS)
        return self._park(Doing.CONNECT, where, timeout_s, conn, WRITABLE) if conn.writing else conn

    def _established(self, conn: Conn, where: tuple[str, int]) -> Any:
        """The connection, PENDING, or None if it failed; then it is closed."""
        code = conn.dial(where)
        if code == 0:
            return conn
        if code in UNDER_WAY:
            return PENDING
        if code in NO_MEANS:
            self.shortages += 1
        self.close(conn)
        return None

    def _admit(self) -> None:
        """Let those connect who waited for others to close."""
        while self._slots and len(self._conns) < self.max_connections:
            thread = self._current = self._slots.popleft()
            left = None if thread.deadline == INF else max(0.0, thread.deadline - monotonic())
            address, dial = thread.detail
            value = self._open(address, left, dial)
            if value is not PENDING:
                self._hand(thread, value)

    # ---- plain calls ---------------------------------------------------------------------------

    #: Seconds; CLOCK_MONOTONIC, the same for all processes of this machine.
    now = staticmethod(monotonic)

    def signals(self) -> Sequence[Signal]:
        """Pending signals, left pending."""
        return tuple(self._signals)

    def take_signals(self) -> Sequence[Signal]:
        """Pending signals, pending no longer."""
        taken, self._signals[:] = tuple(self._signals), []
        return taken

    def close(self, handle: Conn, half: bool = False) -> None:
        """A full close lets the next one in who waits for max_connections (`_admit`)."""
        if handle.fd < 0:
            return
        if half:
            handle.half_close()
        else:
            del self._conns[handle.fd]
            handle.close()

    def queue(self, order: str = "fifo", shared: bool = False) -> LocalQueue:
        """Local queues only."""
        if shared or order not in ("fifo", "lifo"):
            raise KernelError(f"the load process has no {order!r} queue with shared={shared}")
        return LocalQueue(order == "lifo")
