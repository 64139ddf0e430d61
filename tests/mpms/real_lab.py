"""A laboratory for MPMs on this machine: a server in a clean process, and a plain socket client.

Helpers only. Waiting is on conditions with deadlines, never on time alone.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mpmlab.bench.server import ENTRY, board_bytes, payload
from mpmlab.core.directives import effective
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.mpms.catalog import CATALOG
from mpmlab.real.launch import Server, start_server

DEADLINE_S = 20.0


class RealLab:
    """One running server of `mpm`: its handle, its scoreboard."""

    def __init__(self, server: Server, board: Scoreboard, log_path: Path) -> None:
        self.server = server
        self.board = board
        self.log_path = log_path
        self._socks: list[socket.socket] = []

    def children(self) -> int:
        """How many slots have a process."""
        return sum(1 for pid in self.board.pid if pid)

    def letters(self) -> str:
        """The scoreboard string of slots in use."""
        return self.board.letters().rstrip(".")

    def log(self) -> str:
        """The error log so far."""
        return self.log_path.read_text()

    def connect(self) -> socket.socket:
        """A client connection."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=DEADLINE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socks.append(sock)
        return sock

    def close(self) -> None:
        """Close every client connection."""
        for sock in self._socks:
            sock.close()

    def ask(self, sock: socket.socket, query: str = "", close: bool = False) -> None:
        """Send one request."""
        extra = "Connection: close\r\n" if close else ""
        sock.sendall(f"GET /work{query} HTTP/1.1\r\nHost: lab\r\n{extra}\r\n".encode())

    def burst(self, count: int, wait_us: int) -> None:
        """So many connections, with one long request each."""
        for sock in [self.connect() for _ in range(count)]:
            self.ask(sock, f"?wait_us={wait_us}", close=True)


@contextmanager
def running(mpm: str, tmp_path: Path, **directives: object) -> Iterator[RealLab]:
    """A server, stopped and checked to be gone at the end."""
    pairs = [(name, str(value)) for name, value in directives.items()]
    settings = effective(CATALOG[mpm].settings_name, pairs)
    log_path = tmp_path / "error.log"
    server = start_server(
        ENTRY,
        payload(mpm, pairs, serialized_accept=True),
        board_size=board_bytes(settings),
        backlog=settings.listen_backlog,
        log_path=log_path,
    )
    with server:
        assert server.buffer is not None
        board = Scoreboard(settings.server_limit, settings.thread_limit, server.buffer)
        lab = RealLab(server, board, log_path)
        start_up = settings.first_workers
        until(lambda: lab.letters().count("_") >= start_up, "the pool has started")
        try:
            yield lab
        finally:
            lab.close()


def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> float:
    """Wait for a condition; how long it took. AssertionError after the deadline."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < deadline_s, f"not within {deadline_s} s: {what}"
        time.sleep(0.005)
    return time.monotonic() - start


def read_response(sock: socket.socket) -> bytes:
    """One response with a Content-Length, head and body; b"" at the end of the stream."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        more = sock.recv(65536)
        assert more, "the body was cut short"
        body += more
    return head + b"\r\n\r\n" + body
