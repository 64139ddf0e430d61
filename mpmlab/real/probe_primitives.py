"""What one primitive of the real kernel costs: small bodies, each run some hundred times in a row.

Each function gives the CPU microseconds of one operation, without the loop around it. Repeating,
interleaving and taking medians is probe_worker.py's business; whole requests are probe_whole.py's.
Everything here runs in the probe's own process, pinned to one core, in its main thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final

from mpmlab.core.demand import Demand
from mpmlab.core.scoreboard import BUSY_READ, READY, Scoreboard
from mpmlab.kernel.interface import Kernel, Signal, Steps
from mpmlab.real.drive import drive
from mpmlab.real.handles import Conn, Listener

#: Operations per batch: about 1 ms, so that a batch rarely meets a change of the machine's speed.
BATCH: Final = 100
#: Bytes of a small message: about what a request without cookies takes.
SMALL_BYTES: Final = 128
#: Bytes of a large message, for the price of a kilobyte. Fits into any socket buffer.
LARGE_BYTES: Final = 65_536
#: Turns of the loop by which the machine's speed is told, about 1 ms.
SPEED_TURNS: Final = 20_000
#: The wait of which the timer slack is measured.
SLACK_WAIT_US: Final = 2000


def speed_us() -> float:
    """CPU microseconds of a fixed loop: how fast this core is at the moment. The shortest of three:
    the first one warms the caches."""
    return min(_speed_loop_us() for _ in range(3))


def _speed_loop_us() -> float:
    began = time.thread_time_ns()
    total = 0
    for i in range(SPEED_TURNS):
        total += i & 7
    return (time.thread_time_ns() - began) / 1000


class Bench:
    """Connections, handles and the bodies over them. One per probe process."""

    def __init__(self, k: Kernel) -> None:
        self.k = k
        self.listener = Listener.bind(backlog=2 * BATCH)
        self.near, self.far = self.pair()
        self.loop_us = 0.0  # of an empty driven loop, per turn; measured anew in each round

    def pair(self) -> tuple[Conn, Conn]:
        """Two ends of one connection over loopback: the client's and the server's."""
        near = drive(_once(self.k.connect, self.listener, 1.0))
        far = drive(_once(self.k.accept, self.listener, 1.0))
        if near is None or far is None:
            raise RuntimeError("the probe cannot connect to its own listener")
        return near, far

    def close(self) -> None:
        """Close what was opened."""
        for handle in (self.near, self.far, self.listener):
            self.k.close(handle)

    def _timed(self, body: Callable[[Kernel, int], Steps[Any]], net: bool = True) -> float:
        """Microseconds of one operation of a body that does BATCH of them."""
        steps = body(self.k, BATCH)
        began = time.thread_time_ns()
        drive(steps)
        each = (time.thread_time_ns() - began) / BATCH / 1000
        return max(each - self.loop_us, 0.01) if net else each

    def measure_loop(self) -> None:
        """The empty loop's price, to be taken off the others'."""
        self.loop_us = self._timed(_empty, net=False)

    def step(self) -> float:
        """The text between two operations: two delegations deep, a look at a flag, a note on the
        scoreboard. With the loop: driving is part of the price."""
        board = Scoreboard(1, 1)

        def body(k: Kernel, n: int) -> Steps[None]:
            for _ in range(n):
                yield from _outer(k, board)

        return self._timed(body, net=False)

    def recv(self, size: int) -> float:
        """recv of a message that is there already."""
        k, near, far = self.k, self.near, self.far
        room = max(1, min(BATCH, 8 * LARGE_BYTES // size))
        spent = count = 0
        while count < BATCH:
            for _ in range(room):  # one at a time, as messages come
                near.send_now(b"x" * size)
            began = time.thread_time_ns()
            drive(_repeat(k.recv, room, far, size, 1.0))
            spent += time.thread_time_ns() - began
            count += room
            _drain(far)
        return max(spent / count / 1000 - self.loop_us, 0.01)

    def send(self, size: int) -> float:
        """send of a message for which there is room, delivery over loopback included."""
        k, near, far = self.k, self.near, self.far
        data = b"x" * size
        room = max(1, min(BATCH, 8 * LARGE_BYTES // size))
        spent = count = 0
        while count < BATCH:
            began = time.thread_time_ns()
            drive(_repeat(k.send, room, far, data, 1.0))
            spent += time.thread_time_ns() - began
            count += room
            _drain(near)
        return max(spent / count / 1000 - self.loop_us, 0.01)

    def connections(self) -> dict[str, float]:
        """connect, accept, and close (of the end that closes first and of the other: the mean)."""
        k, listener = self.k, self.listener
        near: list[Conn] = []
        far: list[Conn] = []

        def connect(k: Kernel, n: int) -> Steps[None]:
            for _ in range(n):
                conn = yield k.connect(listener, 1.0)
                near.append(conn)

        def accept(k: Kernel, n: int) -> Steps[None]:
            for _ in range(n):
                conn = yield k.accept(listener, 1.0)
                far.append(conn)

        costs = {"connect_us": self._timed(connect), "accept_us": self._timed(accept)}
        began = time.thread_time_ns()
        for conn in near:
            k.close(conn)
        for conn in far:
            k.close(conn)
        costs["close_us"] = (time.thread_time_ns() - began) / 2 / BATCH / 1000
        return costs

    def lock(self) -> float:
        """lock and unlock of a shared mutex for which nobody waits."""
        mutex = self.k.mutex(shared=True)

        def body(k: Kernel, n: int) -> Steps[None]:
            for _ in range(n):
                yield k.lock(mutex)
                k.unlock(mutex)

        return self._timed(body)

    def queue(self) -> dict[str, float]:
        """put and get of a queue within the process, nobody waiting."""
        queue = self.k.queue()

        def put(k: Kernel, n: int) -> Steps[None]:
            for _ in range(n):
                yield k.put(queue, self)

        def get(k: Kernel, n: int) -> Steps[None]:
            for _ in range(n):
                yield k.get(queue, 1.0)

        return {"put_us": self._timed(put), "get_us": self._timed(get)}

    def poll(self) -> dict[str, float]:
        """arm a connection; poll that gives one ready source."""
        k, near, far = self.k, self.near, self.far
        poller = k.poller()
        near.send_now(b"x")
        spent = [0, 0]
        clock = time.thread_time_ns
        for _ in range(BATCH):
            first = clock()
            k.arm(poller, far)
            second = clock()
            k.poll(poller, 1.0)
            spent[0] += second - first
            spent[1] += clock() - second
        _drain(far)
        k.close(poller)
        look = _clock_us()
        arm, poll = (max(s / BATCH / 1000 - look, 0.01) for s in spent)
        return {"arm_us": arm, "poll_us": poll}

    def signal(self) -> float:
        """A signal to a process, and its being seen and taken there (here: to ourselves)."""
        k = self.k
        began = time.thread_time_ns()
        for _ in range(BATCH):
            k.kill(k.pid(), Signal.USR1)
            k.take_signals()
        return (time.thread_time_ns() - began) / BATCH / 1000

    def slack(self) -> float:
        """How much later than asked a handler's wait ends."""
        began = time.perf_counter_ns()
        drive(_once(self.k.work, Demand(wait_us=SLACK_WAIT_US)))
        return max((time.perf_counter_ns() - began) / 1000 - SLACK_WAIT_US, 0.0)

    def send_buffer(self) -> int:
        """Bytes that a peer that does not read lets us send."""
        near, far = self.pair()
        total = 0
        while True:
            sent = drive(_once(self.k.send, far, b"x" * LARGE_BYTES, 0.05))
            if not sent:
                break
            total += sent
            if sent < LARGE_BYTES:
                break
        self.k.close(far)
        self.k.close(near)
        return max(total, 1)


def small_costs(bench: Bench) -> dict[str, float]:
    """One batch of every primitive that needs no second process, by the names of Costs."""
    bench.measure_loop()
    small, large = SMALL_BYTES, LARGE_BYTES
    kilobytes = (large - small) / 1024
    costs = {"step_us": bench.step(), "lock_us": bench.lock(), "signal_us": bench.signal()}
    costs |= bench.queue() | bench.poll() | bench.connections()
    for name, measure in (("recv", bench.recv), ("send", bench.send)):
        costs[f"{name}_us"] = measure(small)
        costs[f"{name}_per_kb_us"] = max(measure(large) - costs[f"{name}_us"], 0.0) / kilobytes
    return costs


def gil_switch_interval_us() -> float:
    """How long a thread that wants the interpreter lock lets another one keep it."""
    return sys.getswitchinterval() * 1e6


def _once(operation: Callable[..., Any], *args: Any) -> Steps[Any]:
    return (yield operation(*args))


def _repeat(operation: Callable[..., Any], n: int, *args: Any) -> Steps[None]:
    for _ in range(n):
        yield operation(*args)


def _empty(k: Kernel, n: int) -> Steps[None]:  # noqa: ARG001 - the shape of a body
    for _ in range(n):
        yield None


def _outer(k: Kernel, board: Scoreboard) -> Steps[None]:
    if not k.signals():
        board.set(0, BUSY_READ)
        yield from _inner()
        board.set(0, READY)


def _inner() -> Steps[None]:
    yield None


def _drain(conn: Conn) -> None:
    """Read what is there, unmeasured."""
    while True:
        try:
            if not conn.recv_now(1 << 20):
                return
        except BlockingIOError:
            return


def _clock_us() -> float:
    """The price of one look at the thread's CPU clock."""
    clock = time.thread_time_ns
    began = clock()
    for _ in range(BATCH):
        clock()
    return (clock() - began) / BATCH / 1000
