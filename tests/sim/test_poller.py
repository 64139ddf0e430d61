"""Pollers: one-shot readiness, the herd, write readiness, waking."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mpmlab.kernel.interface import Kernel, Listener, Poller, Steps
from mpmlab.sim.world import World

from .worlds import FREE, server_and_client


def _herd(k: Kernel, listener: Listener, tally: Any) -> Steps[int]:
    """Polls the listener and tries to accept: counts how often it was woken for nothing."""
    poller = k.poller()
    while True:
        k.arm(poller, listener)
        ready = yield k.poll(poller, None)
        assert ready in ([listener], [])
        conn = yield k.accept(listener, 0)
        yield k.put(tally, "c" if conn is not None else "n")


def test_the_herd_is_woken_and_one_gets_it() -> None:
    """A connection wakes every poller in which the listener is armed; the others find nothing."""
    got: list[str] = []

    def parent(k: Kernel, listener: Listener) -> Steps[int]:
        tally = k.queue(shared=True)
        for _ in range(4):
            yield k.fork(_herd, listener, tally)
        while True:
            got.append((yield k.get(tally, None)))

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        for _ in range(3):
            yield k.sleep(1)
            yield k.connect(listener, None)
        yield k.sleep(1)
        return 0

    server_and_client(parent, client)
    # Who finds the connection taken before it has looked stays asleep; nobody is woken in vain more
    # often than once a connection, and each connection is taken once.
    assert got.count("c") == 3
    assert got.count("n") <= 9


def test_herd_of_the_same_instant_all_come() -> None:
    """Pollers that have seen readiness before anybody accepts all return the listener."""
    woken: list[int] = []

    def polls(k: Kernel, listener: Listener, poller: Poller) -> Steps[None]:
        yield k.poll(poller, None)
        woken.append(1)
        yield k.sleep(1)
        yield k.accept(listener, 0)

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        for _ in range(3):
            poller = k.poller()
            k.arm(poller, listener)
            yield k.thread(polls, listener, poller)
        yield k.sleep(100)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        yield k.sleep(1)
        yield k.connect(listener, None)
        yield k.sleep(1)
        return 0

    server_and_client(server, client)
    assert woken == [1, 1, 1]


def test_one_shot() -> None:
    """A source that was returned is disarmed; armed anew while still ready, it comes at once; what
    was read meanwhile does not."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        poller = k.poller()
        k.arm(poller, conn)
        seen.append(((yield k.poll(poller, None)) == [conn], round(k.now())))
        seen.append((yield k.poll(poller, 1)))
        k.arm(poller, conn)
        seen.append((yield k.poll(poller, 0)) == [conn])
        k.arm(poller, conn)
        yield k.recv(conn, 10, None)
        seen.append((yield k.poll(poller, 1)))
        k.arm(poller, conn, on=False)
        seen.append((yield k.poll(poller, 10)))
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.sleep(1)
        yield k.send(conn, b"x", None)
        yield k.sleep(4)
        yield k.send(conn, b"y", None)
        yield k.sleep(100)
        return 0

    server_and_client(server, client)
    assert seen == [(True, 1), [], True, [], []]


def test_end_of_stream_is_readiness() -> None:
    """The peer's close makes a connection ready to read."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        poller = k.poller()
        k.arm(poller, conn)
        seen.append((yield k.poll(poller, None)) == [conn])
        seen.append((yield k.recv(conn, 10, 0)))
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.sleep(1)
        k.close(conn)
        yield k.sleep(1)
        return 0

    server_and_client(server, client)
    assert seen == [True, b""]


def test_write_readiness() -> None:
    """Armed for writing, a connection is ready when the peer has read and there is space."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        poller = k.poller()
        k.arm(poller, conn, write=True)
        seen.append((yield k.poll(poller, 0)) == [conn])
        seen.append((yield k.send(conn, bytes(150), 0)))
        k.arm(poller, conn, write=True)
        seen.append((yield k.poll(poller, None)) == [conn])
        seen.append(round(k.now()))
        seen.append((yield k.send(conn, bytes(50), 0)))
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.sleep(3)
        yield k.recv(conn, 30, None)
        yield k.sleep(1)
        return 0

    server_and_client(server, client, replace(FREE, send_buffer_bytes=100))
    assert seen == [True, 100, True, 3, 30]


def test_wake_ends_this_poll_or_the_next() -> None:
    """A wake is neither lost nor counted twice."""
    seen: list[Any] = []

    def waker(k: Kernel, poller: Poller) -> Steps[None]:
        yield k.sleep(1)
        k.wake(poller)
        k.wake(poller)

    def main(k: Kernel) -> Steps[int]:
        poller = k.poller()
        yield k.thread(waker, poller)
        seen.append(((yield k.poll(poller, None)), round(k.now(), 6)))
        k.wake(poller)
        k.wake(poller)
        seen.append(((yield k.poll(poller, None)), round(k.now(), 6)))
        seen.append(((yield k.poll(poller, 1)), round(k.now(), 6)))
        return 0

    world = World(FREE)
    world.run(until_exit=world.spawn(main))
    assert seen == [([], 1.0), ([], 1.0), ([], 2.0)]


def test_closed_while_armed() -> None:
    """A connection closed while armed is no longer in the set, even if it was ready."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        poller = k.poller()
        k.arm(poller, conn)
        yield k.sleep(1)
        k.close(conn)
        k.arm(poller, conn)
        seen.append((yield k.poll(poller, 0)))
        seen.append(len(poller.armed))  # type: ignore[attr-defined]
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.send(conn, b"x", None)
        yield k.sleep(2)
        return 0

    server_and_client(server, client)
    assert seen == [[], 0]


def test_two_threads_on_one_poller_share_the_sources() -> None:
    """Each ready source goes to one of them, and none is left behind."""
    got: list[Any] = []

    def polls(k: Kernel, poller: Poller) -> Steps[None]:
        while True:
            for conn in (yield k.poll(poller, None)):
                got.append((yield k.recv(conn, 10, 0)))

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        poller = k.poller()
        for _ in range(2):
            yield k.thread(polls, poller)
        while True:
            k.arm(poller, (yield k.accept(listener, None)))

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conns = []
        for _ in range(5):
            conns.append((yield k.connect(listener, None)))
        yield k.sleep(1)
        for i, conn in enumerate(conns):
            yield k.send(conn, b"%d" % i, None)
        yield k.sleep(1)
        return 0

    server_and_client(server, client)
    assert sorted(got) == [b"0", b"1", b"2", b"3", b"4"]
