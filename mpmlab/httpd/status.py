"""What httpd says of itself: `/server-status?auto` read, and the connection that asks for it.

Parsing is pure; the connection has one socket, and its waits have a deadline. What is made of
reports over time is bench/'s affair. Lines are found by their key, never by their place: releases
differ in what they print (modules/generators/mod_status.c, status_handler()).
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import h11

from mpmlab.core.scoreboard import BUSY_WRITE, LETTERS
from mpmlab.httpd.configuration import STATUS_PATH
from mpmlab.real.netns import in_namespace

_RECV_BYTES: Final = 65_536
#: Code of each letter.
_CODES: Final = {letter: code for code, letter in enumerate(LETTERS)}
#: Counts of the report, by its key; absent ones are None.
_INTEGERS: Final = {
    "Total Accesses": "accesses",
    "Total kBytes": "kbytes",
    "Total Duration": "duration_ms",
    "BusyWorkers": "busy",
    "IdleWorkers": "idle",
    "GracefulWorkers": "graceful",
    "Processes": "processes",
    "Stopping": "stopping",
    "ConnsTotal": "connections",
    "ConnsAsyncWaitIO": "wait_io",
    "ConnsAsyncWriting": "writing",
    "ConnsAsyncKeepAlive": "keep_alive",
    "ConnsAsyncClosing": "closing",
    "ParentServerMPMGeneration": "generation",
    "ParentServerConfigGeneration": "config_generation",
}


class StatusError(Exception):
    """The status could not be had, or is none; the text says why."""


@dataclass(frozen=True)
class Status:
    """One report. `letters` has one character for each slot, the request's own worker (a W) among
    them; `busy` and `idle` leave out the workers of processes that are stopping."""

    server_name: str
    mpm: str
    letters: str
    #: The other counts, by the names of _INTEGERS' values; those that the release does not print
    #: are not in it.
    counts: Mapping[str, int]

    @property
    def busy(self) -> int:
        """Workers at work, ours included."""
        return self.counts["busy"]

    @property
    def idle(self) -> int:
        """Workers that wait for a connection."""
        return self.counts["idle"]

    def by_status(self) -> list[int]:
        """How many slots have each status of core.scoreboard, the worker that wrote it left out."""
        found = [0] * len(LETTERS)
        for letter in self.letters:
            found[_CODES[letter]] += 1
        found[BUSY_WRITE] -= 1
        return found


def read_status(text: str) -> Status:
    """The report in the text. Raises StatusError if it is none."""
    name, _, rest = text.partition("\n")
    fields = dict(line.split(": ", 1) for line in rest.splitlines() if ": " in line)
    letters = fields.get("Scoreboard")
    if letters is None or set(letters) - set(LETTERS) or "W" not in letters:
        raise StatusError(f"not a report of /server-status?auto: {text[:80]!r}")
    counts = {}
    for key, field in _INTEGERS.items():
        if key in fields:
            try:
                counts[field] = int(fields[key])
            except ValueError:
                raise StatusError(f"/server-status?auto: {key}: {fields[key]!r}") from None
    if not {"busy", "idle"} <= counts.keys():
        raise StatusError("/server-status?auto: BusyWorkers or IdleWorkers is missing")
    return Status(name.strip(), fields.get("ServerMPM", ""), letters, counts)


class StatusConnection:
    """An open connection that asks one question at a time: `ask`, then `poll` until the answer is
    there; `get` does both. If the server ends the connection, the next question opens another."""

    def __init__(self, host: str, port: int, name: str, namespace: int | None = None) -> None:
        """`name`: of the virtual host that has the status; `namespace`: descriptor of the network
        namespace in which the server is."""
        self._address, self._name, self._namespace = (host, port), name, namespace
        self._sock: socket.socket | None = None
        self._http: h11.Connection | None = None
        self._status = 0
        self._body = b""
        #: Whether a question has no answer yet.
        self.waiting = False
        #: How often it was opened: more than once if the server closed it.
        self.opened = 0

    def fileno(self) -> int:
        """For select(); -1 while there is no connection."""
        return -1 if self._sock is None else self._sock.fileno()

    def ask(self, target: str, timeout_s: float = 1.0) -> None:
        """Send a question. Raises StatusError if there is no connection to be had."""
        for again in (True, False):
            try:
                self._send(target, timeout_s)
                return
            except OSError as error:
                self.close()
                if not again:
                    raise StatusError(f"{target}: {error}") from error

    def poll(self, timeout_s: float = 0.0) -> bytes | None:
        """The body of the answer, if it comes in time. Raises StatusError if the connection ends
        before that, or for another status than 200."""
        deadline_s = time.monotonic() + timeout_s
        while self.waiting and self._sock is not None:
            left_s = max(0.0, deadline_s - time.monotonic())
            if not select.select([self._sock], [], [], left_s)[0]:
                return None
            try:
                data = self._sock.recv(_RECV_BYTES)
            except OSError:
                data = b""
            body = self._feed(data)
            if body is not None:
                return body
        return None

    def get(self, target: str, timeout_s: float) -> bytes:
        """Question and answer. Raises StatusError."""
        self.ask(target, timeout_s)
        body = self.poll(timeout_s)
        if body is None:
            self.close()
            raise StatusError(f"{target}: no answer within {timeout_s:g} s")
        return body

    def status(self, timeout_s: float) -> Status:
        """A report. Raises StatusError."""
        return read_status(self.get(f"{STATUS_PATH}?auto", timeout_s).decode("latin-1"))

    def close(self) -> None:
        """Give the worker free. Idempotent."""
        self.waiting = False
        if self._sock is not None:
            self._sock.close()
            self._sock = self._http = None

    def _open(self, timeout_s: float) -> None:
        def connect() -> socket.socket:
            return socket.create_connection(self._address, timeout_s)

        # A socket belongs to the namespace of the thread that makes it.
        where = self._namespace
        self._sock = connect() if where is None else in_namespace(where, connect)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http = h11.Connection(h11.CLIENT)
        self.opened += 1

    def _send(self, target: str, timeout_s: float) -> None:
        # What comes unasked is the end of an idle connection.
        if self._sock is not None and select.select([self._sock], [], [], 0)[0]:
            self.close()
        if self._sock is None:
            self._open(timeout_s)
        assert self._sock is not None
        assert self._http is not None
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        headers = [("Host", self._name)]
        question = h11.Request(method="GET", target=target, headers=headers)
        sent = self._http.send(question)
        assert sent is not None
        self._sock.sendall(sent)
        self._http.send(h11.EndOfMessage())
        self._status, self._body, self.waiting = 0, b"", True

    def _feed(self, data: bytes) -> bytes | None:
        assert self._http is not None
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    return None
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                elif isinstance(event, h11.Data):
                    self._body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return self._answered()
                elif isinstance(event, h11.ConnectionClosed):
                    raise StatusError("the server ended the status connection")
        except h11.RemoteProtocolError as error:
            self.close()
            if not data:
                raise StatusError("the server ended the status connection") from error
            raise StatusError(f"the status connection: {error}") from error
        except StatusError:
            self.close()
            raise

    def _answered(self) -> bytes:
        assert self._http is not None
        self.waiting = False
        body = self._body
        if self._status != 200:
            raise StatusError(f"status {self._status}: {body[:200]!r}")
        if self._http.their_state is not h11.DONE:  # "Connection: close"
            self.close()
        return body
