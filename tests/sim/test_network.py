"""Connections: order, buffers, latency and rate, half-close, resets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpmlab.core.platform import Platform
from mpmlab.kernel.interface import Conn, Kernel, Listener, Signal, Steps
from mpmlab.sim.world import World

from .worlds import FREE, NOTHING, server_and_client, sleeps

LINK = Platform(costs=NOTHING, cores=1000, latency_us=1000.0)


def echo(k: Kernel, listener: Listener) -> Steps[int]:
    """Answers everything on one connection after the other, to the end of each."""
    while True:
        conn = yield k.accept(listener, None)
        while data := (yield k.recv(conn, 100, None)):
            yield k.send(conn, data, None)
        k.close(conn)


def test_bytes_come_in_order_and_in_portions() -> None:
    """recv joins what is there, up to n; what is left comes next; b"" is the end."""
    got: list[bytes] = []

    def reader(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        yield k.sleep(1)
        while data := (yield k.recv(conn, 5, None)):
            got.append(data)
        return 0

    def writer(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        for part in (b"ab", b"cd", b"efghijklmn", b"o"):
            yield k.send(conn, part, None)
        k.close(conn, half=True)
        yield k.sleep(2)
        return 0

    server_and_client(reader, writer)
    assert got == [b"abcde", b"fghij", b"klmno"]


def test_round_trip_over_a_link() -> None:
    """With latency L: connect takes 2 L, an echo 2 L."""
    times: list[float] = []

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        times.append(k.now())
        yield k.send(conn, b"x", None)
        yield k.recv(conn, 10, None)
        times.append(k.now())
        return 0

    server_and_client(echo, client, LINK)
    assert times == pytest.approx([0.002, 0.004])


def test_rate_serialises_a_direction() -> None:
    """Two messages sent at once over 8 Mbit/s arrive after 1 and 3 ms of 1000 and 2000 bytes, each
    one latency later; and the end of the stream behind them."""
    times: list[tuple[float, int]] = []

    def sink(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        start = k.now()
        while True:
            data = yield k.recv(conn, 10_000, None)
            times.append((k.now() - start, len(data)))
            if not data:
                return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.send(conn, bytes(1000), None)
        yield k.send(conn, bytes(2000), None)
        k.close(conn)
        yield k.sleep(1)
        return 0

    server_and_client(sink, client, replace(LINK, bandwidth_mbit_s=8.0))
    assert [size for _, size in times] == [1000, 2000, 0]
    # accept comes with the handshake's third message, one latency after connect returns, and so
    # that much of the first message's way is over
    assert [time for time, _ in times] == pytest.approx([0.001, 0.003, 0.003])


def test_send_blocks_at_the_buffer() -> None:
    """A peer that does not read lets us send as much as the buffer takes; the rest goes as it
    reads, and send returns when all is taken. A try takes what fits."""
    platform = replace(FREE, send_buffer_bytes=1000)
    seen: list[Any] = []

    def slow(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        for _ in range(25):
            yield k.sleep(1)
            yield k.recv(conn, 100, None)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        seen.append((yield k.send(conn, bytes(2500), 0)))
        seen.append((yield k.send(conn, bytes(100), 0)))
        seen.append((yield k.send(conn, bytes(1250), 20)))
        seen.append(k.now())
        seen.append((yield k.send(conn, bytes(1000), 2.5)))
        return 0

    server_and_client(slow, client, platform)
    assert seen[:3] == [1000, 0, 1250]
    assert seen[3] == pytest.approx(13.0, abs=1e-6)  # 12.5 portions of 100 had to be read
    assert seen[4] == 50 + 200  # what was free, and two more portions in the time


def test_half_close_leaves_the_other_direction() -> None:
    """After our half-close the peer reads the end and can still answer; then it ends too."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        seen.append((yield k.recv(conn, 10, None)))
        seen.append((yield k.recv(conn, 10, None)))
        seen.append((yield k.send(conn, b"bye", None)))
        k.close(conn)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.send(conn, b"q", None)
        k.close(conn, half=True)
        seen.append((yield k.send(conn, b"more", None)))
        seen.append((yield k.recv(conn, 10, None)))
        seen.append((yield k.recv(conn, 10, None)))
        seen.append(conn.reset)
        return 0

    server_and_client(server, client)
    assert sorted(map(repr, seen)) == sorted(map(repr, [None, b"q", b"", 3, b"bye", b"", False]))


@pytest.mark.parametrize("platform", [FREE, LINK], ids=["at once", "over a link"])
def test_closing_with_unread_data_resets(platform: Platform) -> None:
    """The peer of one that closes with unread data sees a reset: recv ends, send is refused."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        yield k.sleep(1)
        k.close(conn)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.send(conn, b"question", None)
        seen.append((yield k.recv(conn, 10, None)))
        seen.append(conn.reset)
        seen.append((yield k.send(conn, b"more", None)))
        return 0

    world, _, _ = server_and_client(server, client, platform)
    assert seen == [b"", True, None]
    assert world.network.resets == 1


def test_sending_to_a_closed_peer_resets() -> None:
    """The first send after the peer's close is taken, and answered by a reset; the next is not."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        k.close(conn)
        yield k.sleep(10)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        seen.append((yield k.recv(conn, 10, None)))
        seen.append(conn.reset)
        seen.append((yield k.send(conn, b"one", None)))
        seen.append((yield k.recv(conn, 10, None)))
        seen.append(conn.reset)
        seen.append((yield k.send(conn, b"two", None)))
        return 0

    server_and_client(server, client)
    assert seen == [b"", False, 3, b"", True, None]


def test_reset_unblocks_a_sender() -> None:
    """A thread that waits for space learns that the peer is gone."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        yield k.sleep(1)
        k.close(conn)
        yield k.sleep(10)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        seen.append((yield k.send(conn, bytes(5000), None)))
        seen.append(k.now())
        return 0

    server_and_client(server, client, replace(FREE, send_buffer_bytes=1000))
    assert seen[0] is None
    assert seen[1] == pytest.approx(1.0, abs=1e-6)


def test_killed_process_ends_its_connections() -> None:
    """By the system: FIN where all was read, RST where something was not."""
    ends: list[tuple[str, bytes, bool]] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        for _ in range(2):
            conn = yield k.accept(listener, None)
            data = yield k.recv(conn, 1, None)
            assert data
        yield k.sleep(100)
        return 0

    def client(k: Kernel, listener: Listener, text: bytes) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.send(conn, text, None)
        data = yield k.recv(conn, 10, None)
        ends.append((text.decode(), data, conn.reset))
        return 0

    world = World(FREE)
    listener = world.listener(10)
    pid = world.spawn(server, listener)
    for text in (b"1", b"22"):
        world.spawn(client, listener, text, machine="client")
    world.at(1.0, lambda _now: world.kill(pid, Signal.KILL))
    world.run()
    assert sorted(ends) == [("1", b"", False), ("22", b"", True)]
    assert world.processes == {}


def test_recv_gives_up_in_time() -> None:
    """None at the deadline, and the data that come later are not lost."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        for timeout_s in (0, 1.5, None):
            seen.append((yield k.recv(conn, 10, timeout_s)))
            seen.append(round(k.now(), 6))
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.sleep(2)
        yield k.send(conn, b"late", None)
        yield from sleeps(k, 1)
        return 0

    server_and_client(server, client)
    assert seen == [None, 0.0, None, 1.5, b"late", 2.0]


def test_many_time_outs_leave_few_timers() -> None:
    """A thread that waits a thousand times with a time-out of 5 s, never reaching it, has one timer
    in the clock, not a thousand."""
    most = [0]

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn: Conn = yield k.connect(listener, None)
        for _ in range(1000):
            yield k.sleep(0.001)
            yield k.send(conn, b"x", 5)
            data = yield k.recv(conn, 10, 5)
            assert data == b"x"
        return 0

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        while data := (yield k.recv(conn, 10, 5)):
            yield k.send(conn, data, 5)
        return 0

    world = World(LINK)
    listener = world.listener(10)
    world.spawn(server, listener)
    world.every(0.1, lambda _now: most.append(world.clock.pending()))
    world.run(until_exit=world.spawn(client, listener, machine="client"))
    assert max(most) <= 6
