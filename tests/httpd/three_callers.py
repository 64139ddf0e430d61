"""Client connections over this machine's sockets, for httpd and real: one request each, and the
time of whatever comes back. No threads: they are served while a test rests."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time

import h11

from mpmlab.core.demand import Demand, target_of
from tests.httpd.three_worlds import DEADLINE_S, Caller

_RECV_BYTES = 65_536


class SocketCaller(Caller):
    """One connection."""

    def __init__(self, callers: SocketCallers, sock: socket.socket, polite: bool) -> None:
        super().__init__()
        self.sock = sock
        self.polite = polite
        self._callers = callers
        self._http = h11.Connection(h11.CLIENT)

    def note(self, what: str) -> None:
        """It happened, now."""
        self.events.append((time.monotonic(), what))

    def hang_up(self) -> None:
        """See Caller."""
        self._callers.forget(self)
        self.sock.close()

    def send(self, demand: Demand, keep: bool, half: bool) -> None:
        """The request, or half of its head."""
        headers = [("Host", "lab")] + ([] if keep else [("Connection", "close")])
        asked = h11.Request(method="GET", target=target_of(demand), headers=headers)
        data = self._http.send(asked)
        assert data is not None
        self.sock.sendall(data[: len(data) // 2] if half else data)
        self._http.send(h11.EndOfMessage())

    def receive(self) -> None:
        """There is something to read."""
        try:
            data = self.sock.recv(_RECV_BYTES)
        except ConnectionResetError:
            self._over("reset")
            return
        if not data:
            self._over("eof")
            return
        self._http.receive_data(data)
        while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response):
                self.note(str(event.status_code))
            elif isinstance(event, h11.EndOfMessage):
                break

    def _over(self, what: str) -> None:
        self.note(what)
        self._callers.forget(self)
        if self.polite:
            self.sock.close()


class SocketCallers:
    """All connections to one server."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._selector = selectors.DefaultSelector()
        self._all: list[SocketCaller] = []

    def call(self, demand: Demand, keep: bool, half: bool, polite: bool) -> SocketCaller:
        """Dial, and send."""
        sock = socket.create_connection(self._address, timeout=DEADLINE_S)
        caller = SocketCaller(self, sock, polite)
        caller.note("connected")
        self._all.append(caller)
        caller.send(demand, keep, half)
        self._selector.register(sock, selectors.EVENT_READ, caller)
        return caller

    def serve(self, seconds: float) -> None:
        """Note what comes in that time."""
        until_s = time.monotonic() + seconds
        left_s = seconds
        while left_s > 0:
            for key, _ in self._selector.select(left_s):
                key.data.receive()
            left_s = until_s - time.monotonic()

    def forget(self, caller: SocketCaller) -> None:
        """Nothing more will come of it."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(caller.sock)

    def close(self) -> None:
        """All of them."""
        self._selector.close()
        for caller in self._all:
            caller.sock.close()
