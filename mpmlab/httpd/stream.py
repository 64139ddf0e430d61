"""Reports of httpd in an even stream, whatever load it has.

One connection asks for more before it is answered (HTTP pipelining): to wait a little, to say how
it stands, to wait ... A worker that finds the next request behind the last one goes on with it and
gives the connection to nobody (event.c, process_socket(): data_in_input_filters), so the stream
holds one worker and never waits for another. Asked one at a time, event would close the connection
when it has no idle worker, just when the reports matter: of 494 samples of an overloaded pool 268
were missed.

Here live the socket and the framing; a report is read by status.py.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Final

import h11

from mpmlab.core.demand import Demand, target_of
from mpmlab.httpd.configuration import STATUS_PATH
from mpmlab.httpd.status import Status, StatusError, read_status
from mpmlab.real.netns import in_namespace

#: Pairs of a wait and a report that are asked for ahead. A second's worth.
_AHEAD: Final = 20
_RECV_BYTES: Final = 65_536
_HTTP_OK: Final = 200


class StatusStream:
    """A report every `interval_s` or so, on a connection of its own that is opened when it is first
    read, and again if the server ends it (as a process that is stopping does)."""

    def __init__(
        self, host: str, port: int, name: str, interval_s: float, namespace: int | None = None
    ) -> None:
        """`name`: of the virtual host that has the status; `namespace`: descriptor of the network
        namespace in which the server is."""
        self._address, self._namespace = (host, port), namespace
        wait = target_of(Demand(wait_us=round(interval_s * 1e6)))
        self._questions = tuple(
            h11.Request(method="GET", target=target, headers=[("Host", name)])
            for target in (wait, f"{STATUS_PATH}?auto")
        )
        self._sock: socket.socket | None = None
        self._answer = h11.Connection(h11.CLIENT)
        self._place = 0  # of the answer at hand in _questions
        self._body = b""
        self._code = 0
        #: How often the connection was opened.
        self.opened = 0

    def open(self, timeout_s: float) -> None:
        """Connect and ask, if that has not been done. Raises StatusError."""
        if self._sock is not None:
            return

        def connect() -> socket.socket:
            return socket.create_connection(self._address, timeout_s)

        try:
            # A socket belongs to the namespace of the thread that makes it.
            where = self._namespace
            self._sock = connect() if where is None else in_namespace(where, connect)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._place, self.opened = 0, self.opened + 1
            self._expect(b"")
            self._ask(_AHEAD)
        except OSError as error:
            self.close()
            raise StatusError(f"no status connection: {error}") from error

    def next(self, timeout_s: float) -> Status | None:
        """The next report, if it comes in time. Raises StatusError if the connection cannot be had,
        or ends, or answers something else; the next call opens another."""
        deadline_s = time.monotonic() + timeout_s
        self.open(timeout_s)
        while True:
            report = self._read()
            if report is not None:
                return report
            assert self._sock is not None
            left_s = max(0.0, deadline_s - time.monotonic())
            if not select.select([self._sock], [], [], left_s)[0]:
                return None
            self._receive()

    def close(self) -> None:
        """Give the worker free. Idempotent."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _ask(self, pairs: int) -> None:
        assert self._sock is not None
        self._sock.sendall(pairs * b"".join(map(_written, self._questions)))

    def _expect(self, received: bytes) -> None:
        """The next answer begins with what has been received beyond the last."""
        self._answer = h11.Connection(h11.CLIENT)
        self._answer.send(self._questions[self._place])
        self._answer.send(h11.EndOfMessage())
        if received:
            self._answer.receive_data(received)
        self._body, self._code = b"", 0

    def _receive(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(_RECV_BYTES)
        except OSError:
            data = b""
        if not data:
            self.close()
            raise StatusError("the server ended the status connection")
        self._answer.receive_data(data)

    def _read(self) -> Status | None:
        """A report out of what has been received; None if there is none yet."""
        try:
            while True:
                event = self._answer.next_event()
                if event is h11.NEED_DATA:
                    return None
                if isinstance(event, h11.Response):
                    self._code = event.status_code
                elif isinstance(event, h11.Data):
                    self._body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    report = self._answered()
                    if report is not None:
                        return report
        except h11.RemoteProtocolError as error:
            self.close()
            raise StatusError(f"the status connection: {error}") from error

    def _answered(self) -> Status | None:
        body, code, place = self._body, self._code, self._place
        self._place = (place + 1) % len(self._questions)
        self._expect(self._answer.trailing_data[0])
        if code != _HTTP_OK:
            self.close()
            raise StatusError(f"status {code}: {body[:200]!r}")
        if place == 0:
            return None
        try:
            self._ask(1)
        except OSError:
            self.close()  # the report came all the same
        return read_status(body.decode("latin-1"))


def _written(question: h11.Request) -> bytes:
    """The request as bytes."""
    writer = h11.Connection(h11.CLIENT)
    return (writer.send(question) or b"") + (writer.send(h11.EndOfMessage()) or b"")
