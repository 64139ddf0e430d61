"""The load process's kernel: what its operations promise, on sockets of this machine.

Its time-keeping on an idle core is measured by benchmarks; here only what holds on a busy one."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mpmlab.kernel.interface import KernelError, Signal, Steps
from mpmlab.real.handles import Address
from mpmlab.real.loop import LoopKernel

pytestmark = pytest.mark.real

K = LoopKernel


@pytest.fixture(name="listener")
def _listener() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen(64)
        made.settimeout(10)
        yield made


def address_of(listener: socket.socket) -> Address:
    return Address(listener.getsockname()[1])


def drive(body: Callable[..., Steps[Any]], *args: Any, **options: Any) -> Any:
    """What the body returns, and nothing is left open."""
    before = os.listdir("/proc/self/fd")
    result = LoopKernel(**options).run(body, *args)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    return result


def test_sleepers_wake_in_order_and_never_early() -> None:
    """Threads that sleep wake by time, whatever the order in which they lay down, and not before
    their time."""
    order: list[float] = []

    def sleeper(k: K, seconds: float, start_s: float) -> Steps[None]:
        yield k.sleep(start_s + seconds - k.now())
        assert k.now() >= start_s + seconds
        order.append(seconds)

    def body(k: K) -> Steps[None]:
        start_s = k.now()
        for seconds in (0.03, 0.01, 0.0205, 0.02, 0.0):
            yield k.thread(sleeper, seconds, start_s)
        yield k.sleep(0.05)

    drive(body)
    assert order == [0.0, 0.01, 0.02, 0.0205, 0.03]


def test_most_sleeps_end_in_time() -> None:
    """The loop sleeps with microseconds, not with epoll's milliseconds: the quickest of many short
    sleeps is well below one millisecond late (the median would be, but for other processes)."""
    late: list[float] = []

    def body(k: K) -> Steps[None]:
        for i in range(100):
            due_s = k.now() + 0.0011 + 0.00001 * i
            yield k.sleep(due_s - k.now())
            late.append(k.now() - due_s)

    drive(body)
    assert min(late) >= 0
    assert sorted(late)[10] < 200e-6


def test_queues_hand_items_over_in_order() -> None:
    """fifo and lifo; a getter that waits is woken; a timeout gives None; a queue between threads
    only."""

    def giver(k: K, queue: Any) -> Steps[None]:
        yield k.sleep(0.01)
        yield k.put(queue, "late")

    def body(k: K) -> Steps[list[Any]]:
        got: list[Any] = []
        for order in ("fifo", "lifo"):
            queue = k.queue(order)
            for item in "abc":
                yield k.put(queue, item)
            for _ in "abc":
                got.append((yield k.get(queue, None)))
            got.append((yield k.get(queue, 0)))
            began_s = k.now()
            got.append((yield k.get(queue, 0.02)))
            assert k.now() - began_s >= 0.02
        yield k.thread(giver, queue)
        got.append((yield k.get(queue, None)))
        return got

    assert drive(body) == [*"abc", None, None, *"cba", None, None, "late"]
    k = LoopKernel()
    with pytest.raises(KernelError, match="shared"):
        k.queue(shared=True)
    k.run(lambda k: iter_nothing(k))


def iter_nothing(k: K) -> Steps[None]:
    yield k.sleep(0)


def test_a_signal_ends_the_main_threads_waits_only() -> None:
    """A pending signal ends the main thread's sleep and get, now and later; other threads sleep
    on."""
    woken: list[str] = []

    def other(k: K) -> Steps[None]:
        yield k.sleep(0.05)
        woken.append("other")

    def body(k: K) -> Steps[None]:
        yield k.thread(other)
        began_s = k.now()
        k._signals.append(Signal.TERM)
        yield k.sleep(30)
        yield k.get(k.queue(), 30)
        assert k.now() - began_s < 10
        assert list(k.signals()) == [Signal.TERM]
        assert list(k.take_signals()) == [Signal.TERM]
        assert not woken
        yield k.sleep(0.1)

    drive(body)
    assert woken == ["other"]


def test_recv_waits_tries_and_sees_the_end(listener: socket.socket) -> None:
    """recv: None if nothing comes in time, what is there otherwise, b"" at the end, and no byte
    lost or repeated with pieces smaller than what has come."""

    def body(k: K) -> Steps[list[Any]]:
        conn = yield k.connect(address_of(listener), 5)
        peer = listener.accept()[0]
        got = [(yield k.recv(conn, 10, 0)), (yield k.recv(conn, 10, 0.01))]
        peer.sendall(b"abcdefgh")
        got += [(yield k.recv(conn, 3, 5)), (yield k.recv(conn, 3, 5)), (yield k.recv(conn, 3, 5))]
        got.append((yield k.recv(conn, 3, 0.01)))
        peer.sendall(b"end")
        peer.close()
        for _ in range(3):
            got.append((yield k.recv(conn, 10, 5)))
        assert not conn.reset
        k.close(conn)
        k.close(conn)
        return got

    assert drive(body) == [None, None, b"abc", b"def", b"gh", None, b"end", b"", b""]


def test_a_full_peer_delays_send_and_loses_nothing(listener: socket.socket) -> None:
    """send: as much as fits in its time when the peer does not read, the rest when it does."""
    size = 20_000_000

    def drain(k: K, peer: socket.socket, heard: Any) -> Steps[None]:
        peer.setblocking(False)
        total = 0
        while total < size:
            try:
                total += len(peer.recv(1 << 20))
            except BlockingIOError:
                yield k.sleep(0.0001)
        peer.close()
        yield k.put(heard, total)

    def body(k: K) -> Steps[int]:
        conn = yield k.connect(address_of(listener), 5)
        peer = listener.accept()[0]
        data = bytes(size)
        first = yield k.send(conn, data, 0)
        more = yield k.send(conn, data[first:], 0.02)
        assert 0 < first + more < size
        heard = k.queue()
        yield k.thread(drain, peer, heard)
        rest = size - first - more
        assert (yield k.send(conn, bytes(rest), 20)) == rest
        return (yield k.get(heard, 20))  # type: ignore[no-any-return]

    assert drive(body) == size


def test_a_reset_is_told_from_a_close(listener: socket.socket) -> None:
    """After a reset recv gives b"" with conn.reset set, and send None."""

    def body(k: K) -> Steps[None]:
        conn = yield k.connect(address_of(listener), 5)
        peer = listener.accept()[0]
        assert (yield k.send(conn, b"unread", 5)) == 6
        peer.close()
        assert (yield k.recv(conn, 10, 5)) == b""
        assert conn.reset
        assert (yield k.send(conn, b"more", 5)) is None

    drive(body)


def test_refused_connections_do_not_keep_the_loop_to_themselves() -> None:
    """A thread that is refused at once, for ever, starves no other."""
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        address = address_of(placeholder)

        def stubborn(k: K) -> Steps[None]:
            while True:
                assert (yield k.connect(address, 5)) is None

        def body(k: K) -> Steps[bool]:
            yield k.thread(stubborn)
            yield k.sleep(0.02)
            return True

        assert drive(body)


def test_a_connection_that_is_not_accepted_in_time_is_none() -> None:
    """connect gives up after its time when the backlog is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)

        def body(k: K) -> Steps[tuple[Any, float]]:
            while (yield k.connect(address_of(full), 0.05)) is not None:
                pass
            began_s = k.now()
            return (yield k.connect(address_of(full), 0.1)), k.now() - began_s

        conn, took_s = drive(body)
    assert conn is None
    assert 0.1 <= took_s < 1.0  # the next SYN would go after 1 s


def test_connections_are_limited_and_queue_here(listener: socket.socket) -> None:
    """Beyond max_connections connect waits until one is closed, in order, or its time is up."""
    order: list[int] = []

    def visitor(k: K, number: int, done: Any) -> Steps[None]:
        conn = yield k.connect(address_of(listener), 10)
        order.append(number)
        assert len(k._conns) <= 2
        yield k.sleep(0.001)
        k.close(conn)
        yield k.put(done, number)

    def body(k: K) -> Steps[None]:
        done = k.queue()
        for number in range(1, 21):
            yield k.thread(visitor, number, done)
        for _ in range(20):
            assert (yield k.get(done, 10))
        first = yield k.connect(address_of(listener), 10)
        second = yield k.connect(address_of(listener), 10)
        assert first
        assert second
        assert (yield k.connect(address_of(listener), 0.01)) is None
        assert k.queued_connects == 19

    drive(body, max_connections=2)
    assert order == list(range(1, 21))


def test_want_of_descriptors_is_counted_not_raised(listener: socket.socket) -> None:
    """Without a descriptor connect gives None, and `shortages` says why."""
    k = LoopKernel()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)

    def body(k: K) -> Steps[Any]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        refused = yield k.connect(address_of(listener), 5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return [refused, (yield k.connect(address_of(listener), 5))]

    try:
        refused, conn = k.run(body)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused is None
    assert conn is not None
    assert k.shortages == 1


def test_an_exception_comes_out_and_everything_is_closed(listener: socket.socket) -> None:
    """What a thread raises ends the run; sockets are closed and waiting threads thrown away."""
    ended: list[str] = []

    def waiting(k: K) -> Steps[None]:
        try:
            yield k.sleep(100)
        finally:
            ended.append("waiting")

    def faulty(k: K) -> Steps[None]:
        assert (yield k.connect(address_of(listener), 5))
        raise ZeroDivisionError

    def body(k: K) -> Steps[None]:
        yield k.thread(waiting)
        yield k.thread(faulty)
        yield k.sleep(100)

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ZeroDivisionError):
        LoopKernel().run(body)
    assert ended == ["waiting"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_nobody_does_a_step_after_the_main_thread_has_returned() -> None:
    """Whoever is due by then is thrown away like all others: a client that was accounted for at the
    end must not go on."""
    ended: list[str] = []

    def late(k: K, seconds: float) -> Steps[None]:
        try:
            yield k.sleep(seconds)
            ended.append("went on")
        finally:
            ended.append("thrown away")

    def giver(k: K, queue: Any) -> Steps[None]:
        yield k.put(queue, "now")
        yield k.sleep(100)

    def body(k: K) -> Steps[str]:
        queue = k.queue()
        yield k.thread(late, 0.001)
        yield k.thread(late, 100)
        yield k.thread(giver, queue)
        yield k.get(queue, None)
        until_s = k.now() + 0.01
        while k.now() < until_s:
            pass
        return "returned"

    assert drive(body) == "returned"
    assert ended == ["thrown away"] * 2
