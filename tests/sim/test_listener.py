"""Listeners: backlog and SYN retries, copies, who is woken, the handshake over a link."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpmlab.core.platform import NEARLY_FREE, Platform
from mpmlab.kernel.interface import Kernel, KernelError, Listener, Signal, Steps
from mpmlab.sim.world import World

from .worlds import FREE, NOTHING, server_and_client, sleeps

LINK = Platform(costs=NOTHING, cores=1000, latency_us=1000.0)


def connects(k: Kernel, listener: Listener, timeout_s: float | None, seen: list[Any]) -> Steps[int]:
    """Connects, notes when and whether that worked, and stays."""
    conn = yield k.connect(listener, timeout_s)
    seen.append((round(k.now(), 3), conn is not None))
    yield k.sleep(1000)
    return 0


def test_backlog_holds_one_more_than_it_says() -> None:
    """Linux: backlog + 1 connections are established with nobody accepting; the next one's SYN is
    dropped, and counted."""
    seen: list[Any] = []
    world = World(FREE)
    listener = world.listener(3)
    world.spawn(sleeps, 100)
    for _ in range(6):
        world.spawn(connects, listener, 0.5, seen, machine="client")
    world.run(until_s=0.9)
    assert seen == [(0.0, True)] * 4 + [(0.5, False)] * 2
    assert world.listen_overflows == 2


def test_somaxconn_bounds_the_backlog() -> None:
    """listen() with more than somaxconn is cut down to it."""
    world = World(replace(FREE, somaxconn=5))
    assert world.listener(511).backlog == 5


def test_syn_is_retried_after_1_3_and_7_seconds() -> None:
    """Dropped SYNs come again at 1, 3 and 7 s; the connection is made by the first that finds
    room."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        yield k.sleep(4)
        yield k.accept(listener, None)
        yield k.sleep(100)
        return 0

    world = World(FREE)
    listener = world.listener(0)
    world.spawn(server, listener)
    world.spawn(connects, listener, None, seen, machine="client")
    world.spawn(connects, listener, None, seen, machine="client")
    world.run(until_s=50)
    assert seen == [(0.0, True), (7.0, True)]
    assert world.listen_overflows == 3


def test_refused_where_nobody_listens() -> None:
    """After the last copy is closed a connect fails at once; over a link after a round trip. What
    waited to be accepted is reset."""
    for platform, took_s in ((FREE, 0.0), (LINK, 0.002)):
        seen: list[Any] = []

        def server(k: Kernel, listener: Listener) -> Steps[int]:
            yield k.sleep(1)
            k.close(listener)
            yield k.sleep(10)
            return 0

        def client(k: Kernel, listener: Listener, seen: list[Any] = seen) -> Steps[int]:
            conn = yield k.connect(listener, None)
            seen.append((yield k.recv(conn, 10, None)))
            seen.append(conn.reset)
            start = k.now()
            seen.append((yield k.connect(listener, None)))
            seen.append(k.now() - start)
            return 0

        _, listener, _ = server_and_client(server, client, platform)
        assert seen[:3] == [b"", True, None]
        assert seen[3] == pytest.approx(took_s, abs=1e-9)
        assert listener.discarded == 1


def test_copies_are_closed_one_by_one() -> None:
    """A child's copy outlives the parent's; accept on a closed copy is None at once."""
    seen: list[Any] = []

    def parent(k: Kernel, listener: Listener) -> Steps[int]:
        yield k.fork(_accepts, listener)
        k.close(listener)
        k.close(listener)
        seen.append((yield k.accept(listener, None)))
        yield k.wait(None)
        return 0

    world = World(FREE)
    listener = world.listener(10)
    pid = world.spawn(parent, listener)
    world.spawn(connects, listener, None, seen, machine="client")
    world.run(until_exit=pid)
    assert seen == [None, (0.0, True)]
    assert listener.holders == 0
    assert listener.refusing


def _accepts(k: Kernel, listener: Listener) -> Steps[int]:
    conn = yield k.accept(listener, None)
    return 0 if conn is not None else 1


def _worker(k: Kernel, listener: Listener) -> Steps[int]:
    """Says its pid on each connection that it gets."""
    yield k.sleep(0.001 * k.pid())  # so that they queue up in order
    while True:
        conn = yield k.accept(listener, None)
        yield k.send(conn, str(k.pid()).encode(), None)
        k.close(conn)


@pytest.mark.parametrize(
    ("policy", "served"), [("fifo", [3, 4, 5, 3, 4, 5]), ("lifo", [5, 5, 5, 5, 5, 5])]
)
def test_wake_policy(policy: str, served: list[int]) -> None:
    """Who of several in accept is woken: the longest waiting in turn, or always the last one."""
    seen: list[int] = []

    def parent(k: Kernel, listener: Listener) -> Steps[int]:
        for _ in range(3):
            yield k.fork(_worker, listener)
        yield k.sleep(1000)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        for _ in range(6):
            yield k.sleep(1)
            conn = yield k.connect(listener, None)
            seen.append(int((yield k.recv(conn, 10, None))))
            k.close(conn)
        return 0

    server_and_client(parent, client, replace(FREE, wake_policy=policy))
    assert seen == served


def test_a_herd_is_woken_for_each_connection() -> None:
    """The one who waits longest has it, as with fifo; each of the others is woken and tries in
    vain: a switch and an accept each, which nobody pays where one is woken."""

    def parent(k: Kernel, listener: Listener) -> Steps[int]:
        for _ in range(4):
            yield k.fork(_worker, listener)
        yield k.sleep(1000)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        for _ in range(5):
            yield k.sleep(1)
            conn = yield k.connect(listener, None)
            seen.append(int((yield k.recv(conn, 10, None))))
            k.close(conn)
        yield k.sleep(1)
        return 0

    used_s, served = [], []
    for policy in ("fifo", "herd"):
        seen: list[int] = []
        costs = replace(NEARLY_FREE, switch_us=100.0, accept_us=50.0)
        platform = replace(FREE, costs=costs, wake_policy=policy)
        world, _, _ = server_and_client(parent, client, platform)
        used_s.append(world.machines["server"].cpu.used_s())
        served.append(seen)
    assert served[0] == served[1]
    assert used_s[1] - used_s[0] == pytest.approx(5 * 3 * 150e-6, rel=1e-3)


def test_unknown_wake_policy_is_refused() -> None:
    """One clear error that names what is accepted."""
    with pytest.raises(ValueError, match="'fifo', 'lifo'"):
        World(replace(FREE, wake_policy="random")).listener(1)


def test_handshake_over_a_link() -> None:
    """Client established after 2 L, server after 3 L, together with the first data."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        seen.append(("accepted", round(k.now(), 6)))
        seen.append(((yield k.recv(conn, 10, None)), round(k.now(), 6)))
        yield k.sleep(1)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        seen.append(("connected", round(k.now(), 6)))
        yield k.send(conn, b"hi", None)
        yield k.sleep(1)
        return 0

    server_and_client(server, client, LINK)
    assert seen == [("connected", 0.002), ("accepted", 0.003), (b"hi", 0.003)]


def test_connect_that_times_out_during_the_handshake() -> None:
    """None at the deadline; what the server then accepts has ended already."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        seen.append((yield k.recv(conn, 10, None)))
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        seen.append((yield k.connect(listener, 0.0015)))
        seen.append(round(k.now(), 6))
        yield k.sleep(1)
        return 0

    server_and_client(server, client, LINK)
    assert seen == [None, 0.0015, b""]


def test_only_the_main_thread_waits_in_accept() -> None:
    """Another thread that would wait there is a bug of the caller."""

    def accepts(k: Kernel, listener: Listener) -> Steps[None]:
        assert (yield k.accept(listener, 0)) is None
        yield k.accept(listener, 1)

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        yield k.thread(accepts, listener)
        yield k.sleep(1)
        return 0

    world = World(FREE)
    world.spawn(server, world.listener(1))
    with pytest.raises(KernelError, match="only the main thread"):
        world.run()


def test_death_of_a_waiting_acceptor_loses_nothing() -> None:
    """A process killed in accept is not given the next connection."""
    seen: list[int] = []

    def parent(k: Kernel, listener: Listener) -> Steps[int]:
        first = yield k.fork(_worker, listener)
        yield k.fork(_worker, listener)
        yield k.sleep(1)
        k.kill(first, Signal.KILL)
        yield k.sleep(1000)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        yield k.sleep(2)
        conn = yield k.connect(listener, None)
        seen.append(int((yield k.recv(conn, 10, 5))))
        return 0

    server_and_client(parent, client)
    assert seen == [4]  # server 1, client 2, children 3 and 4
