"""The stream of httpd's reports: from a made-up server, and from httpd while no worker is idle."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mpmlab.core.directives import effective
from mpmlab.httpd.program import HttpdMissingError, Program, find_httpd, find_luaposix
from mpmlab.httpd.server import start_httpd
from mpmlab.httpd.status import Status, StatusError
from mpmlab.httpd.stream import StatusStream

DEADLINE_S = 20.0
REPORT = "here\nServerMPM: event\nBusyWorkers: {busy}\nIdleWorkers: 2\nScoreboard: W__...\n"
_REQUEST = re.compile(rb"GET (\S+) HTTP/1\.1\r\nhost: (\S+)\r\n\r\n", re.IGNORECASE)

#: What the made-up server sends for its n-th request: None ends the connection.
Answers = Callable[[int, str], bytes | None]


def plain(number: int, target: str) -> bytes:
    """As httpd answers: nothing to a wait, a report that tells its number to the rest."""
    body = "" if target.startswith("/work") else REPORT.format(busy=number)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@contextmanager
def server(answers: Answers) -> Iterator[tuple[int, list[str]]]:
    """A server of one connection after another; its port, and the targets that it was asked for."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, answers, asked))
        thread.start()
        try:
            yield listener.getsockname()[1], asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # ends accept()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


def _serve(listener: socket.socket, answers: Answers, asked: list[str]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):  # the client may go at any time
            connection.settimeout(DEADLINE_S)
            _answer(connection, answers, asked)
            # Closing at once would throw away what the client has not read yet.
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass


def _answer(connection: socket.socket, answers: Answers, asked: list[str]) -> None:
    received = b""
    while data := connection.recv(65_536):
        received += data
        for match in _REQUEST.finditer(received):
            asked.append(match[1].decode())
            said = answers(len(asked), asked[-1])
            if said is None:
                return
            connection.sendall(said)
        received = received[received.rfind(b"\r\n\r\n") + 4 :]


def reports(stream: StatusStream, count: int) -> list[Status]:
    """So many of them, none of which is late."""
    found = []
    for _ in range(count):
        report = stream.next(DEADLINE_S)
        assert report is not None
        found.append(report)
    return found


def test_waits_and_reports_alternate() -> None:
    """Each report follows a wait of the interval, more is asked for ahead than has been answered,
    and it is one connection."""
    with server(plain) as (port, asked):
        stream = StatusStream("127.0.0.1", port, "some.name", 0.05)
        assert [report.busy for report in reports(stream, 50)] == list(range(2, 102, 2))
        stream.close()
        assert asked[:4] == 2 * ["/work?cpu_us=0&wait_us=50000&bytes=0", "/server-status?auto"]
        assert len(asked) > 100
        assert stream.opened == 1


def test_answers_in_pieces_are_put_together() -> None:
    """Answers are separated by their framing, not by how they arrive: chunked bodies among them."""

    def chunked(number: int, target: str) -> bytes:
        if target.startswith("/work"):
            return plain(number, target)
        body = REPORT.format(busy=number)
        half = f"{7:x}\r\n{body[:7]}\r\n{len(body) - 7:x}\r\n{body[7:]}\r\n0\r\n\r\n"
        return f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{half}".encode()

    with server(chunked) as (port, _):
        stream = StatusStream("127.0.0.1", port, "n", 0.05)
        assert [report.busy for report in reports(stream, 3)] == [2, 4, 6]
        stream.close()


def test_no_report_in_time_is_none() -> None:
    """The wait is bounded, and a report that comes later is not lost."""
    go = threading.Event()

    def late(number: int, target: str) -> bytes:
        if number == 2:
            assert go.wait(DEADLINE_S)
        return plain(number, target)

    with server(late) as (port, _):
        stream = StatusStream("127.0.0.1", port, "n", 0.05)
        assert stream.next(0.01) is None
        go.set()
        assert reports(stream, 1)[0].busy == 2
        stream.close()


def test_a_stream_that_ends_is_opened_again() -> None:
    """The server ends the connection after the sixth request: that is told, and the next call has
    a new connection, which begins with a wait."""
    with server(lambda n, target: None if n == 6 else plain(n, target)) as (port, asked):
        stream = StatusStream("127.0.0.1", port, "n", 0.05)
        reports(stream, 2)
        with pytest.raises(StatusError, match="ended the status connection"):
            stream.next(DEADLINE_S)
        reports(stream, 1)
        assert stream.opened == 2
        assert asked[6].startswith("/work")
        stream.close()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", "status 404: b'gone'"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "the status connection: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "not a report"),
    ],
)
def test_another_server_is_told(answer: bytes, complaint: str) -> None:
    """Another status, another protocol, another page: one error that says what came."""
    with server(lambda _n, _target: answer) as (port, _):
        stream = StatusStream("127.0.0.1", port, "n", 0.05)
        with pytest.raises(StatusError, match=complaint):
            reports(stream, 2)
        stream.close()


def test_nobody_there_is_told() -> None:
    """No connection is an error of its own, and leaves none behind."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    stream = StatusStream("127.0.0.1", port, "n", 0.05)
    with pytest.raises(StatusError, match="no status connection"):
        stream.next(1.0)
    stream.close()


@pytest.fixture
def program() -> Program:
    """The installed httpd."""
    try:
        find_luaposix()
        return find_httpd()
    except HttpdMissingError as error:
        pytest.skip(str(error))


@pytest.mark.real
@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_reports_go_on_while_no_worker_is_idle(program: Program, mpm: str) -> None:
    """Requests for every worker there is, and then more: the reports come all the same, on the one
    connection, and show all but our own worker at work."""
    pool = {
        "prefork": {"StartServers": 3, "MaxRequestWorkers": 3, "ServerLimit": 3},
        "worker": {"StartServers": 1, "ThreadsPerChild": 4, "MaxRequestWorkers": 4},
        "event": {"StartServers": 1, "ThreadsPerChild": 4, "MaxRequestWorkers": 4},
    }[mpm]
    settings = effective(mpm, [(name, str(value)) for name, value in pool.items()])
    with start_httpd(program, settings) as httpd:
        stream = httpd.stream(0.02)
        reports(stream, 1)
        clients = [socket.create_connection(("127.0.0.1", httpd.port)) for _ in range(8)]
        for client in clients:
            client.sendall(b"GET /work?wait_us=1000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        full = [report for report in reports(stream, 40) if report.idle == 0]
        assert len(full) >= 20
        # Ours, in each, comes on top: of three processes, or of the four threads of the only one.
        assert {report.busy for report in full} == {4 if mpm == "prefork" else 5}
        assert stream.opened == 1
        stream.close()
        for client in clients:
            client.close()
