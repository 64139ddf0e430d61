"""What httpd says of itself is read whatever its release prints, and asked for over one connection
that is opened again when it must be."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from mpmlab.core import scoreboard
from mpmlab.httpd.status import StatusConnection, StatusError, read_status

#: As 2.4.71 with event prints it, shortened.
NEW = """\
mpmlab-1.invalid
ServerVersion: Apache/2.4.71 (Debian)
ServerMPM: event
ParentServerConfigGeneration: 1
ParentServerMPMGeneration: 2
ServerUptime: 1 hour 2 minutes
Total Accesses: 12
Total kBytes: 3
Total Duration: 45
ReqPerSec: .5
BusyWorkers: 2
GracefulWorkers: 1
IdleWorkers: 3
Processes: 2
Stopping: 1
ConnsTotal: 4
ConnsAsyncWaitIO: 0
ConnsAsyncWriting: 1
ConnsAsyncKeepAlive: 2
ConnsAsyncClosing: 1
Scoreboard: _W_R_G..SKDCLI
"""
#: An old 2.4 with prefork.
OLD = """\
localhost
Total Accesses: 1
BusyWorkers: 1
IdleWorkers: 1
Scoreboard: W_...
"""


def test_a_report_is_read() -> None:
    """Name, MPM, letters, and counts by their key."""
    found = read_status(NEW)
    assert (found.server_name, found.mpm) == ("mpmlab-1.invalid", "event")
    assert found.letters == "_W_R_G..SKDCLI"
    assert (found.busy, found.idle) == (2, 3)
    assert found.counts["accesses"] == 12
    assert found.counts["duration_ms"] == 45
    kinds = ("wait_io", "writing", "keep_alive", "closing")
    assert [found.counts[kind] for kind in kinds] == [0, 1, 2, 1]
    assert (found.counts["generation"], found.counts["config_generation"]) == (2, 1)
    assert (found.counts["processes"], found.counts["stopping"], found.counts["graceful"]) == (
        2, 1, 1,
    )  # fmt: skip


def test_what_a_release_does_not_print_is_not_there() -> None:
    """No MPM, no connections; the order of lines does not matter, unknown ones do not disturb."""
    found = read_status(OLD)
    assert found.mpm == ""
    assert found.counts == {"accesses": 1, "busy": 1, "idle": 1}
    name, *lines = OLD.splitlines()
    turned = "\n".join([name, *lines[::-1], "NewKey: 7", "a line without a key"])
    assert read_status(turned) == found


def test_slots_are_counted_by_status_without_the_one_that_answers() -> None:
    """Each letter is its status of the scoreboard; one W is the report's own worker."""
    counted = read_status(NEW).by_status()
    assert sum(counted) == len("_W_R_G..SKDCLI") - 1
    expected = {
        scoreboard.READY: 3,
        scoreboard.BUSY_WRITE: 0,
        scoreboard.BUSY_READ: 1,
        scoreboard.GRACEFUL: 1,
        scoreboard.DEAD: 2,
        scoreboard.STARTING: 1,
        scoreboard.BUSY_KEEPALIVE: 1,
        scoreboard.BUSY_DNS: 1,
        scoreboard.CLOSING: 1,
        scoreboard.BUSY_LOG: 1,
        scoreboard.IDLE_KILL: 1,
    }
    assert {code: counted[code] for code in expected} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a report"),
        ("<html>It works!</html>\n", "not a report"),
        (OLD.replace("W_...", "W_.x"), "not a report"),
        (OLD.replace("W_...", "__..."), "not a report"),
        (OLD.replace("BusyWorkers: 1\n", ""), "BusyWorkers or IdleWorkers is missing"),
        (OLD.replace("BusyWorkers: 1", "BusyWorkers: many"), "BusyWorkers: 'many'"),
    ],
)
def test_what_is_no_report_is_refused(text: str, message: str) -> None:
    """A page of another server, letters that there are not, a report that nobody can have written
    (its own worker writes), and counts that are missing or no numbers."""
    with pytest.raises(StatusError, match=message):
        read_status(text)


# ---- the connection ------------------------------------------------------------------------------

#: What a connection of the tiny server does: given what was asked, the pieces to send; an empty
#: piece closes the connection.
Script = Callable[[int, bytes], Sequence[bytes]]


class Tiny:
    """A server of one connection at a time, which answers by a script."""

    def __init__(self, script: Script) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self.connections += 1
            with sock:
                if not self._converse(sock):
                    return

    def _converse(self, sock: socket.socket) -> bool:
        """False if it was told to end."""
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                data = sock.recv(65536)
                if not data:
                    return True
                head += data
                if head == b"end":
                    return False
            self.heads.append(head)
            for piece in self._script(len(self.heads), head):
                if not piece:
                    return True
                sock.sendall(piece)

    def close(self) -> None:
        """End it, and wait for that."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(b"end")
            self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()


@contextmanager
def asking(script: Script) -> Iterator[tuple[Tiny, StatusConnection]]:
    """A tiny server and a connection to it."""
    tiny = Tiny(script)
    connection = StatusConnection("127.0.0.1", tiny.port, "mpmlab-1.invalid")
    try:
        yield tiny, connection
    finally:
        connection.close()
        tiny.close()


def counted(body: str, status: str = "200 OK", more: str = "") -> bytes:
    """An answer with Content-Length."""
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def test_one_connection_asks_many_questions() -> None:
    """It stays open, says the name of the virtual host, and needs no other header."""
    with asking(lambda _n, _head: [counted(NEW)]) as (tiny, connection):
        for _ in range(3):
            assert connection.status(10.0) == read_status(NEW)
        assert (connection.opened, tiny.connections) == (1, 1)
        assert (
            tiny.heads
            == [b"GET /server-status?auto HTTP/1.1\r\nHost: mpmlab-1.invalid\r\n\r\n"] * 3
        )


def test_an_answer_may_come_in_pieces_and_chunks() -> None:
    """What is not complete is not there yet."""
    body = OLD.encode()
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks += b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    pieces = [chunks[at : at + 7] for at in range(0, len(chunks), 7)]
    with asking(lambda _n, _head: pieces) as (_, connection):
        assert connection.get("/x", 10.0) == body
        assert connection.get("/x", 10.0) == body
        assert connection.opened == 1


def test_question_and_answer_can_be_apart() -> None:
    """`ask` does not wait, `poll` without time neither; the descriptor tells when there is more."""
    release = threading.Event()

    def script(_number: int, _head: bytes) -> Sequence[bytes]:
        release.wait(10)
        return [counted("seven..")]

    with asking(script) as (_, connection):
        assert connection.fileno() == -1
        connection.ask("/x")
        assert connection.waiting
        assert connection.poll() is None
        release.set()
        assert connection.poll(10.0) == b"seven.."
        assert not connection.waiting
        assert connection.fileno() >= 0
        connection.close()
        assert connection.fileno() == -1


@pytest.mark.parametrize("announced", [True, False])
def test_a_closed_connection_is_opened_for_the_next_question(announced: bool) -> None:
    """Whether the server announced it or just closes after the answer: no question is lost."""
    more = "Connection: close\r\n" if announced else ""

    def script(_number: int, _head: bytes) -> Sequence[bytes]:
        return [counted(OLD, more=more), b""]

    with asking(script) as (tiny, connection):
        assert connection.status(10.0).busy == 1
        if not announced:
            assert select.select([connection], [], [], 10.0)[0]  # its end
        assert connection.status(10.0).busy == 1
        assert connection.opened == 2
        assert tiny.connections == 2


def test_other_statuses_are_errors() -> None:
    """A refusal is told with its number and the beginning of its text; the next question is asked
    as ever."""

    def script(number: int, _head: bytes) -> Sequence[bytes]:
        return [counted("not here", "404 Not Found") if number == 1 else counted(OLD)]

    with asking(script) as (_, connection):
        with pytest.raises(StatusError, match="status 404: b'not here'"):
            connection.status(10.0)
        assert connection.status(10.0).idle == 1


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([b""], "ended the status connection"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b""], "status connection"),
        ([b"SSH-2.0-other\r\n\r\n"], "the status connection"),
        ([], "no answer within 0.2 s"),
    ],
)
def test_what_is_no_answer_is_an_error(pieces: Sequence[bytes], message: str) -> None:
    """An end before or within the answer, another protocol, nothing in time; afterwards the
    connection is closed, and the next question is asked on a new one."""

    def script(number: int, _head: bytes) -> Sequence[bytes]:
        return pieces if number == 1 else [counted(OLD)]

    with asking(script) as (_, connection):
        with pytest.raises(StatusError, match=message):
            connection.get("/x", 10.0 if pieces else 0.2)
        assert connection.fileno() == -1
        assert not connection.waiting
        assert connection.status(10.0).busy == 1
        assert connection.opened == 2


def test_nobody_there_is_an_error() -> None:
    """Of its own kind."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(StatusError, match="refused"):
        StatusConnection("127.0.0.1", port, "x").status(1.0)
