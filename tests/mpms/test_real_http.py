"""HTTP/1.1 as clients of this machine's sockets see it: alike for every MPM, and never a crash."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from mpmlab.core.directives import accepted_by
from mpmlab.mpms.catalog import CATALOG
from tests.mpms.real_lab import RealLab, read_response, running

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", params=list(CATALOG))
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealLab]:
    """One server for all questions of an MPM: whatever one does to it, the next must not notice."""
    directives: dict[str, object] = {"Timeout": 2, "LimitRequestBody": 100_000}
    if "ThreadsPerChild" in {d.name for d in accepted_by(CATALOG[request.param].settings_name)}:
        directives |= {"ThreadsPerChild": 8}
    with running(request.param, tmp_path_factory.mktemp("http"), **directives) as server:
        yield server


def exchange(lab: RealLab, data: bytes, parts: int = 1) -> bytes:
    """Everything the server says to these bytes, sent in so many pieces, until it closes."""
    with lab.connect() as sock:
        size = max(1, len(data) // parts)
        with suppress(BrokenPipeError, ConnectionResetError):
            for at in range(0, len(data), size):
                sock.sendall(data[at : at + size])
            sock.shutdown(socket.SHUT_WR)
        return everything(sock)


def everything(sock: socket.socket) -> bytes:
    """What comes until the end of the stream, or a reset."""
    answer = b""
    with suppress(ConnectionResetError):
        while more := sock.recv(65536):
            answer += more
    return answer


STATUSES = {
    "a plain request": (b"GET /work?bytes=5 HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "HTTP/1.0": (b"GET /work HTTP/1.0\r\n\r\n", 200),
    "HEAD": (b"HEAD /work?bytes=5000 HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "OPTIONS *": (b"OPTIONS * HTTP/1.0\r\n\r\n", 200),
    "a body": (b"POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd", 200),
    "a chunked body": (
        b"POST /work HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4\r\nabcd\r\n0\r\n\r\n",
        200,
    ),
    "no such path": (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "a wrong parameter": (b"GET /work?cpu_us=-1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no Host": (b"GET /work HTTP/1.1\r\n\r\n", 400),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a long target": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a long field": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
    "many fields": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 120 + b"\r\n", 431),
    "a body beyond the limit": (
        b"POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n",
        413,
    ),
    "an unknown method": (b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", 501),
}


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize("name", STATUSES)
def test_each_request_gets_its_status(lab: RealLab, name: str, parts: int) -> None:
    """The status of a table of requests, however the bytes are split."""
    data, status = STATUSES[name]
    answer = exchange(lab, data, parts)
    assert answer.startswith(b"HTTP/1.1 %d " % status), (name, answer[:200])


def test_head_has_the_length_but_no_body(lab: RealLab) -> None:
    """HEAD answers like GET, without the bytes."""
    answer = exchange(lab, STATUSES["HEAD"][0])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: 5000" in head.lower()
    assert body == b""


def test_pipelined_requests_are_answered_in_order(lab: RealLab) -> None:
    """Three requests in one segment: three answers, of the asked lengths."""
    data = b"".join(
        b"GET /work?bytes=%d HTTP/1.1\r\nHost: x\r\n\r\n" % size for size in (1, 22, 333)
    )
    with lab.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = everything(sock)
    lengths = [
        int(line.split(b":")[1])
        for line in answer.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    ]
    assert lengths == [1, 22, 333]


def test_expect_100_continue(lab: RealLab) -> None:
    """The interim answer comes before the body is sent, the answer after."""
    with lab.connect() as sock:
        sock.sendall(
            b"POST /work?bytes=3 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert read_response(sock).startswith(b"HTTP/1.1 200")


def test_half_a_head_is_answered_408(lab: RealLab) -> None:
    """Timeout in the middle of a head: 408, then the end."""
    with lab.connect() as sock:
        sock.sendall(b"GET /work HTTP/1.1\r\nHo")
        assert read_response(sock).startswith(b"HTTP/1.1 408")
        assert everything(sock) == b""


def test_a_large_answer_arrives_whole(lab: RealLab) -> None:
    """Three megabytes to a client that starts reading late, through write completion."""
    with lab.connect() as sock:
        lab.ask(sock, "?bytes=3000000", close=True)
        answer = everything(sock)
    assert len(answer.partition(b"\r\n\r\n")[2]) == 3_000_000


def test_fuzz_never_harms_the_server(lab: RealLab) -> None:
    """Two hundred mutilated requests: each connection comes to an end, no child dies, and the next
    request is answered."""
    rng = random.Random(20261123)
    before = lab.log()
    pids = [pid for pid in lab.board.pid if pid]
    whole = [data for data, _ in STATUSES.values()]
    for _ in range(200):
        data = bytearray(rng.choice(whole)[:2000])
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        exchange(lab, bytes(data[: rng.randint(1, len(data))]))
    answer = exchange(lab, STATUSES["a plain request"][0])
    assert answer.startswith(b"HTTP/1.1 200")
    assert "exit signal" not in lab.log()[len(before) :]
    assert set(pids) & {pid for pid in lab.board.pid if pid}
