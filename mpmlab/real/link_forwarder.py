"""The forwarder process of a link: carries packets between two TUN devices, late on purpose.

`python -m mpmlab.real.link_forwarder ORDER` (JSON; started by link_tun.py) reads packets from
either device and writes them to the other when link_pipe.py says so. It opens nothing and cleans
nothing up: its descriptors are all that keeps the devices alive, and it dies with the thread that
started it (PR_SET_PDEATHSIG), so killing it is how it ends.

Timing. It sleeps in select(), whose timeout is in microseconds where epoll_wait's is milliseconds;
with two descriptors that is one system call where epoll with a timerfd takes three. A virtual core
that has rested for 10 ms wakes 90 to 160 us late (measured), so the forwarder wakes early and
spins: a round trip of 20 ms came to 20.6 ms without, and to 20.3 with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import mmap
import os
import select
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Any, Final, NoReturn

from mpmlab.real.link_account import ACCOUNT_BYTES, STEP_US, STEPS, Account
from mpmlab.real.link_pipe import Pipe, Way

#: Packets read from one device before those that are due are looked at: some 0.1 ms of work.
BATCH: Final = 16
#: How long before a packet is due the forwarder is awake, if it has slept for long enough.
SPIN_S: Final = 250e-6
#: Spinning's share of the time slept: the most that it takes of a core is a twentieth.
SPIN_SHARE: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_PR_SET_TIMERSLACK: Final = 29
_STEPS_PER_S: Final = 1e6 / STEP_US
_LAST_STEP: Final = STEPS - 1
_INF: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Order:
    """What the forwarder is told. `*_fd` are descriptors that it inherits under that number."""

    parent_pid: int
    server_fd: int
    client_fd: int
    account_fd: int
    ready_fd: int
    down: dict[str, Any]  # the fields of a Way
    up: dict[str, Any]
    mtu: int
    seed: int
    cores: list[int]


class Direction:
    """Packets from one device to the other."""

    __slots__ = ("_account", "_late", "_mtu", "_packets", "_pipe", "sink", "source")

    def __init__(self, source: int, sink: int, mtu: int, pipe: Pipe, account: Account) -> None:
        """source, sink: non-blocking descriptors on which each read and write is one packet."""
        self.source, self.sink = source, sink
        self._mtu = mtu
        self._pipe = pipe
        self._packets = pipe.packets
        self._account = account
        self._late = account.lateness

    def fetch(self) -> None:
        """Take what has come, BATCH packets at most."""
        read, source, size, take = os.read, self.source, self._mtu, self._pipe.take
        with contextlib.suppress(BlockingIOError):  # that was all
            for _ in range(BATCH):
                packet = read(source, size)
                take(monotonic(), packet)
        self._account.missed(self._pipe.dropped, self._pipe.lost)

    def deliver(self) -> float:
        """Give out what is due; when the next will be, or infinity."""
        packets = self._packets
        if not packets:
            return _INF
        due_s, now_s = packets[0][0], monotonic()
        if due_s > now_s:
            return due_s
        write, sink, give, late = os.write, self.sink, self._pipe.give, self._late
        count = size = 0
        while count < BATCH:
            size += write(sink, give())
            count += 1
            step = int((now_s - due_s) * _STEPS_PER_S)
            late[step if step < _LAST_STEP else _LAST_STEP] += 1
            if not packets:
                due_s = _INF
                break
            due_s, now_s = packets[0][0], monotonic()
            if due_s > now_s:
                break
        self._account.delivered(count, size)
        return due_s


def forward(down: Direction, up: Direction) -> NoReturn:
    """For ever."""
    by_source = {down.source: down, up.source: up}
    sources = tuple(by_source)
    deliver_down, deliver_up = down.deliver, up.deliver
    wait = select.select
    allowance_s = 0.0  # of spinning
    while True:
        due_s = min(deliver_down(), deliver_up())
        now_s = monotonic()
        sleep_s = due_s - now_s - allowance_s
        if sleep_s > 0:
            ready = wait(sources, (), (), None if sleep_s == _INF else sleep_s)[0]
            allowance_s += (monotonic() - now_s) * SPIN_SHARE
            if allowance_s > SPIN_S:
                allowance_s = SPIN_S
        else:
            ready = wait(sources, (), (), 0)[0]
            if not ready and due_s > now_s:
                allowance_s -= monotonic() - now_s
        for source in ready:
            by_source[source].fetch()


def main(argv: Sequence[str]) -> NoReturn:
    """Take over the process, say that it begins, and forward."""
    order = Order(**json.loads(argv[1]))
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != order.parent_pid:
        sys.exit("the process that wanted this link is gone")
    _prctl(_PR_SET_TIMERSLACK, 1)  # nanosecond; select() is up to 50 us late by default
    if order.cores:
        os.sched_setaffinity(0, order.cores)
    _come_first()
    memory = memoryview(mmap.mmap(order.account_fd, ACCOUNT_BYTES))
    # select() takes numbers below 1024, and the inherited ones may be any.
    server_fd, client_fd = os.dup(order.server_fd), os.dup(order.client_fd)
    # Each direction has a stream of its own: what goes up does not move the losses on the way down.
    down_pipe = Pipe(Way(**order.down), Random(f"{order.seed}/down").random)
    up_pipe = Pipe(Way(**order.up), Random(f"{order.seed}/up").random)
    down = Direction(server_fd, client_fd, order.mtu, down_pipe, Account(memory, 0))
    up = Direction(client_fd, server_fd, order.mtu, up_pipe, Account(memory, 1))
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here makes cycles
    os.write(order.ready_fd, b"\0")
    os.close(order.ready_fd)
    forward(down, up)


def _come_first() -> None:
    """Ahead of the server and the clients, if they share its core: it never computes for long, and
    a packet that waits for a scheduler's slice of theirs would be 3 to 4 ms late (so it was, now
    and then, even with the highest nice value). A process that takes more than 95 % of a core this
    way is held up by the kernel for 50 ms a second; but then the link is overloaded anyway. Where
    it is not allowed the lateness shows in the account."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main(sys.argv)
