"""What the kernel indirection costs per request on the real side: an echo through `yield k.recv`
and `yield k.send`, against the same loop written directly on sockets.

Both serve the same messages over the same connection, in short slices that alternate, so that a
change of the machine's speed meets both; each pair of slices gives one difference. The server's
part alone is timed, in CPU time of the thread.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Final

from benchmarks.common import estimate, pin, report, server_and_client_cores
from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.real.drive import drive
from mpmlab.real.handles import Conn, Listener
from mpmlab.real.kernel import MainKernel
from mpmlab.real.process import Process

PAIRS: Final = 1000
MESSAGES: Final = 50  # per slice
SIZE: Final = 128
_RECV_BYTES: Final = 65_536


def through_kernel(k: Kernel, conn: Conn, peer: socket.socket) -> Steps[int]:
    """The echo as an MPM would write it; -> nanoseconds of the server's part."""
    clock, spent, message = time.thread_time_ns, 0, b"x" * SIZE
    for _ in range(MESSAGES):
        peer.send(message)
        began = clock()
        data = yield k.recv(conn, _RECV_BYTES, 30.0)
        if not data:
            break
        yield k.send(conn, data, 30.0)
        spent += clock() - began
        peer.recv(_RECV_BYTES)
    return spent


def directly(sock: socket.socket, peer: socket.socket) -> int:
    """The same on sockets."""
    clock, spent, message = time.thread_time_ns, 0, b"x" * SIZE
    for _ in range(MESSAGES):
        peer.send(message)
        began = clock()
        data = sock.recv(_RECV_BYTES)
        if not data:
            break
        sock.sendall(data)
        spent += clock() - began
        peer.recv(_RECV_BYTES)
    return spent


def measure(pairs: int = PAIRS) -> tuple[list[float], list[float], list[float]]:
    """Microseconds per request through the kernel, directly, and the paired differences."""
    process = Process(os.getppid())
    kernel = MainKernel(process)
    listener = Listener.bind()
    peer = socket.create_connection((listener.host, listener.port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn = kernel.accept(listener, 5.0)
    assert conn is not None
    slices: tuple[Callable[[], int], Callable[[], int]] = (
        lambda: drive(through_kernel(kernel, conn, peer)),  # type: ignore[arg-type]
        lambda: directly(conn.sock, peer),
    )
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            times[which].append(slices[which]() / 1000 / MESSAGES)
    conn.close()
    peer.close()
    listener.close()
    kept, plain = times
    return kept, plain, [a - b for a, b in zip(kept, plain, strict=True)]


def main() -> None:
    """Measure and print."""
    pin(server_and_client_cores()[0])
    kernel, direct, difference = measure()
    report(
        "Kernel indirection per echoed request (one recv, one send), CPU us",
        ("loop", "median (95 % interval)"),
        [
            ("through the kernel", estimate(kernel)),
            ("directly on sockets", estimate(direct)),
            ("difference, paired", estimate(difference)),
        ],
        f"{PAIRS} pairs of slices of {MESSAGES} messages of {SIZE} bytes, alternating",
    )


if __name__ == "__main__":
    main()
