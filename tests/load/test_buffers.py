"""How much a server can send to a client that does not read: what the simulation says of small
buffers, held against this machine."""

from __future__ import annotations

import select
import socket
from typing import Any

import pytest

from mpmlab.core.platform import Platform
from mpmlab.kernel.interface import Dial, Steps
from mpmlab.real.handles import Address, Listener
from mpmlab.real.loop import LoopKernel
from mpmlab.sim.world import World

#: No room for this long: there will be none.
STILL_S = 0.3
#: The model's figure, which is right within a quarter on the kernel that it was measured on, may be
#: off by so much on another.
FACTOR = 1.7
HOST = "127.0.0.1"


def taken(listener: Listener, receive_bytes: int) -> int:
    """Bytes that this machine takes of a server's answer to a client that does not read."""

    def client(k: Any) -> Steps[int]:
        conn = yield k.connect(Address(listener.port, HOST), 5, Dial(receive_bytes))
        server = listener.sock.accept()[0]
        with server:
            server.setblocking(False)
            total = 0
            while select.select([], [server], [], STILL_S)[1]:
                total += server.send(bytes(1_000_000))
        k.close(conn)
        return total

    sent: int = LoopKernel().run(client)
    return sent


@pytest.mark.real
@pytest.mark.parametrize("send_bytes", [4096, 16384, 65536, 262144])
@pytest.mark.parametrize("receive_bytes", [0, 4096, 16384, 65536])
def test_small_buffers_hold_as_much_as_the_simulation_says(
    send_bytes: int, receive_bytes: int
) -> None:
    """SO_SNDBUF of the server and SO_RCVBUF of the client, asked for as bench and clients do."""
    world = World(Platform())
    world.network.send_buffer_bytes = send_bytes
    model = world.network.ways(Dial(receive_bytes))[1].buffer_bytes
    listener = Listener.bind(HOST, send_buffer_bytes=send_bytes)
    try:
        assert model / FACTOR < taken(listener, receive_bytes) < model * FACTOR
    finally:
        listener.close()


@pytest.mark.real
def test_a_dialled_receive_buffer_is_the_sockets() -> None:
    """What is asked is what the system is asked for (it doubles it); without, its own."""

    def client(k: Any) -> Steps[list[int]]:
        sizes = []
        for dial in (None, Dial(), Dial(8192)):
            conn = yield k.connect(Address(listener.port, HOST), 5, dial)
            sizes.append(conn.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        return sizes

    listener = Listener.bind(HOST)
    try:
        usual, none, small = LoopKernel().run(client)
    finally:
        listener.close()
    assert usual == none > small == 2 * 8192
