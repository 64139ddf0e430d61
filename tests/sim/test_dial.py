"""A client's own link and buffers (interface.Dial), and the server's send buffer, in simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpmlab.core.platform import Platform
from mpmlab.kernel.interface import Dial, Kernel, Listener, Steps
from mpmlab.sim.network import (
    RECEIVE_BUFFER_BYTES,
    RECEIVE_BUFFER_USE,
    SEND_BUFFER_USE,
    Link,
)
from mpmlab.sim.world import World

from .worlds import FREE, NOTHING, server_and_client, sleeps

#: One millisecond each way.
LINK = Platform(costs=NOTHING, cores=1000, latency_us=1000.0)


def test_a_link_behind_another_adds_its_delay_and_the_narrower_sets_the_rate() -> None:
    """Half the round trip each way; a rate of 0 is none; the buffer is the one given."""
    link = Link(0.001, 1e-6, 1000)
    slow, fast, none = (link.via(0.02, rate, 77) for rate in (1e3, 1e9, 0.0))
    assert [way.latency_s for way in (slow, fast, none)] == pytest.approx([0.011] * 3)
    assert [way.byte_s for way in (slow, fast, none)] == pytest.approx([1e-3, 1e-6, 1e-6])
    assert {way.buffer_bytes for way in (slow, fast, none)} == {77}
    assert Link(0.0, 0.0, 1).via(0.0, 0.0, 1).instant
    assert not Link(0.0, 0.0, 1).via(0.0, 1e9, 1).instant


@pytest.mark.parametrize(
    ("dial", "connected_s", "echoed_s"),
    [
        (None, 0.002, 0.002),
        (Dial(), 0.002, 0.002),
        (Dial(rtt_s=0.02), 0.022, 0.022),
        (Dial(up_bytes_per_s=1e5), 0.002, 0.012),
        (Dial(rtt_s=0.02, up_bytes_per_s=1e5, down_bytes_per_s=2e5), 0.022, 0.037),
    ],
)
def test_a_dial_is_a_link_of_its_own(
    dial: Dial | None, connected_s: float, echoed_s: float
) -> None:
    """On top of the platform's: the round trip for connect and for an echo of 1000 bytes, and its
    rates up and down; other clients of the same server do not notice."""
    times: list[float] = []
    usual: list[float] = []

    def client(k: Kernel, listener: Listener, way: Dial | None, into: list[float]) -> Steps[int]:
        conn = yield k.connect(listener, None, way)
        into.append(k.now())
        yield k.send(conn, bytes(1000), None)
        assert (yield k.recv(conn, 1000, None)) == bytes(1000)
        into.append(k.now() - into[0])
        return 0

    world = World(LINK)
    listener = world.listener(10)
    world.spawn(echoes, listener)
    world.spawn(client, listener, dial, times, machine="client")
    world.spawn(client, listener, None, usual, machine="client")
    world.run(until_exit=world.spawn(sleeps, 1.0))
    assert times == pytest.approx([connected_s, echoed_s])
    assert usual == pytest.approx([0.002, 0.002])


def echoes(k: Kernel, listener: Listener) -> Steps[int]:
    """Answers everything, each connection in a thread of its own."""

    def answer(k: Kernel, conn: Any) -> Steps[None]:
        while data := (yield k.recv(conn, 1000, None)):
            yield k.send(conn, data, None)
        k.close(conn)

    while True:
        conn = yield k.accept(listener, None)
        yield k.thread(answer, conn)


def test_a_refusal_takes_the_dials_round_trip() -> None:
    """Nobody listens: known when the answer is back."""
    times: list[float] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        k.close(listener)
        yield k.sleep(1)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        yield k.sleep(0.1)
        assert (yield k.connect(listener, None, Dial(rtt_s=0.5))) is None
        times.append(k.now())
        return 0

    server_and_client(server, client, LINK)
    assert times == pytest.approx([0.1 + 0.502])


def test_a_dial_that_times_out_gives_up_in_time() -> None:
    """connect's timeout is shorter than the round trip; the server sees a connection come and
    go."""
    seen: list[Any] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        seen.append((yield k.recv(conn, 1, None)))
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        assert (yield k.connect(listener, 0.1, Dial(rtt_s=0.15))) is None
        seen.append(k.now())
        yield k.sleep(1)
        return 0

    server_and_client(server, client, FREE)
    assert seen == [pytest.approx(0.1), b""]


@pytest.mark.parametrize("platform", [FREE, LINK], ids=["at once", "over a link"])
@pytest.mark.parametrize("receive_bytes", [0, 2000])
@pytest.mark.parametrize("send_bytes", [0, 1000])
def test_a_reader_that_does_not_read_stops_a_sender_at_both_buffers(
    platform: Platform, receive_bytes: int, send_bytes: int
) -> None:
    """With a send buffer of the server's own: its share and the client's receive buffer, as asked
    or the usual. Without, the platform's figure, whatever the client asks. The other direction is
    the platform's in any case."""
    taken: list[int] = []

    def sends(k: Kernel, conn: Any) -> Steps[None]:
        taken.append((yield k.send(conn, bytes(2_000_000), 5)))

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        yield from sends(k, conn)
        yield k.sleep(100)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None, Dial(receive_bytes))
        yield k.sleep(10)
        yield from sends(k, conn)
        return 0

    world = World(replace(platform, send_buffer_bytes=500_000))
    world.network.send_buffer_bytes = send_bytes
    listener = world.listener(10)
    world.spawn(server, listener)
    world.run(until_exit=world.spawn(client, listener, machine="client"))
    receives = RECEIVE_BUFFER_USE * receive_bytes or RECEIVE_BUFFER_BYTES
    expected = int(SEND_BUFFER_USE * send_bytes) + receives if send_bytes else 500_000
    assert taken == [expected, 500_000]


def test_a_small_buffer_paces_the_sender_by_the_reader() -> None:
    """What does not fit is taken as the reader reads: the send ends when all but a bufferful has
    been read."""
    times: list[float] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        assert (yield k.send(conn, bytes(20_000), None)) == 20_000
        times.append(k.now())
        k.close(conn)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.connect(listener, None, Dial(1000))
        total = 0
        while data := (yield k.recv(conn, 100, None)):
            total += len(data)
            yield k.sleep(0.1)
        return 0 if total == 20_000 else 1

    world = World(FREE)
    world.network.send_buffer_bytes = 1000
    listener = world.listener(10)
    world.spawn(server, listener)
    pid = world.spawn(client, listener, machine="client")
    world.run(until_exit=pid)
    assert world.exit_code(pid) == 0
    hidden = int(SEND_BUFFER_USE * 1000) + RECEIVE_BUFFER_USE * 1000
    assert times == pytest.approx([(20_000 - hidden) / 100 * 0.1], abs=0.11)
