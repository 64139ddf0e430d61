"""core/client_wire.py: the answers of any HTTP/1.x server, however split, counted and not kept."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable

import h11
import pytest

from mpmlab.core.client_wire import MAX_HEAD_BYTES, MAX_LINE_BYTES, BytesClient
from mpmlab.core.demand import Demand
from mpmlab.core.wire import BadResponse, Response

#: What became of an answer: complete at this byte, or complete at the end, or incomplete, or bad.
Outcome = tuple[str, Response | None]


def outcome(chunks: Iterable[bytes]) -> Outcome:
    """Feed an answer in chunks, then the end of the stream."""
    client = BytesClient("a:1")
    client.request(Demand(), 0, True)
    rest = list(chunks)
    try:
        while rest:
            response = client.feed(rest.pop(0))
            if response is not None:
                if rest:
                    client.feed(rest.pop(0))  # more than one answer: raises
                return "complete", response
    except BadResponse:
        return "bad", None
    response = client.eof()
    return ("at the end", response) if response else ("incomplete", None)


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, *lines, b"", b""])


def ok(body: int, keep: bool = True, status: int = 200, version: str = "1.1") -> Outcome:
    return "complete", Response(status, body, keep, version)


BAD: Outcome = ("bad", None)
INCOMPLETE: Outcome = ("incomplete", None)
CHUNKED = head(b"Transfer-Encoding: chunked")

TABLE: list[tuple[bytes, Outcome]] = [
    # lengths
    (head(b"Content-Length: 5") + b"12345", ok(5)),
    (head(b"cOnTeNt-LeNgTh:5 \t", b"X: y") + b"12345", ok(5)),
    (head(b"Content-Length: 0"), ok(0)),
    (head(b"Content-Length: 2", b"Content-Length: 2") + b"ab", ok(2)),
    (head(b"X: Content-Length: 3", b"Content-Length: 2") + b"ab", ok(2)),
    (head(b"Content-Length: 5") + b"1234", INCOMPLETE),
    (head(status=b"HTTP/1.1 204 No Content"), ok(0, status=204)),
    (head(b"Content-Length: 9", status=b"HTTP/1.1 304 Not Modified"), ok(0, status=304)),
    (head() + b"until the end", ("at the end", Response(200, 13, False))),
    (head(), ("at the end", Response(200, 0, False))),
    # status lines
    (head(b"Content-Length: 0", status=b"HTTP/1.1 503"), ok(0, status=503)),
    (head(b"Content-Length: 0", status=b"HTTP/1.1 299 "), ok(0, status=299)),
    # keep-alive
    (head(b"Content-Length: 1", b"Connection: Close") + b"a", ok(1, keep=False)),
    (head(b"Content-Length: 1", b"connection: x", b"CONNECTION: y , close") + b"a", ok(1, False)),
    (head(b"Content-Length: 1", b"Connection: closed") + b"a", ok(1)),
    (
        head(b"Content-Length: 1", status=b"HTTP/1.0 200 OK") + b"a",
        ok(1, keep=False, version="1.0"),
    ),
    (
        head(b"Connection: Keep-Alive", b"Content-Length: 1", status=b"HTTP/1.0 200 OK") + b"a",
        ok(1, version="1.0"),
    ),
    # chunked
    (CHUNKED + b"0\r\n\r\n", ok(0)),
    (CHUNKED + b"3\r\nabc\r\n0a;x=y\r\n\r\n345678\r\n\r\n0\r\nT: u\r\nV: w\r\n\r\n", ok(13)),
    (head(b"Content-Length: 1", b"Transfer-Encoding: Chunked") + b"2\r\nab\r\n0\r\n\r\n", ok(2)),
    (CHUNKED + b"3\r\nabc\r\n0\r\n", INCOMPLETE),
    (CHUNKED + b"3\r\nabc\r\n", INCOMPLETE),
    (CHUNKED + b"3\r\nabcd\r\n", BAD),
    (CHUNKED + b"x\r\nabc\r\n", BAD),
    (CHUNKED + b"-3\r\nabc\r\n", BAD),
    (CHUNKED + b"1\na\r\n0\r\n\r\n", BAD),
    (CHUNKED + b"1234567890123456\r\n", BAD),
    (CHUNKED + b"0\r\nno trailer\r\n\r\n", BAD),
    (CHUNKED + b"0\r\n\r\n0", BAD),
    (CHUNKED + b"1;" + b"x" * (MAX_LINE_BYTES - 2) + b"\r\na\r\n0\r\n\r\n", ok(1)),
    (CHUNKED + b"1;" + b"x" * (MAX_LINE_BYTES - 1) + b"\r\na\r\n0\r\n\r\n", BAD),
    # interim answers
    (b"HTTP/1.1 100 Continue\r\n\r\n" + head(b"Content-Length: 2") + b"ab", ok(2)),
    (
        head(b"Link: x", status=b"HTTP/1.1 103 Early Hints") * 2 + head() + b"a",
        ("at the end", Response(200, 1, False)),
    ),
    (b"HTTP/1.1 100 Continue\r\n\r\n", INCOMPLETE),
    (head(status=b"HTTP/1.1 101 Switching Protocols"), BAD),
    # more than one answer
    (head(b"Content-Length: 1") + b"ab", BAD),
    (head(b"Content-Length: 0") * 2, BAD),
    # malformed
    (b"", INCOMPLETE),
    (b"HTTP/1.1 200 OK\r\nContent-", INCOMPLETE),
    (b"SSH-2.0-OpenSSH\r\n", BAD),
    (b"HTTP/2 200\r\n\r\n", BAD),
    (head(status=b"HTTP/1.1 20 OK"), BAD),
    (head(status=b"HTTP/1.1 020 OK"), BAD),
    (head(status=b"HTTP/1.1 2000 OK"), BAD),
    (head(b"Content-Length: 1x") + b"a", BAD),
    (head(b"Content-Length: -1"), BAD),
    (head(b"Content-Length:"), BAD),
    (head(b"Content-Length: 1", b"Content-Length: 2") + b"a", BAD),
    (head(b"Content-Length: " + b"9" * 19), BAD),
    (head(b"Content-Length : 1") + b"a", BAD),
    (head(b"no colon"), BAD),
    (head(b": no name"), BAD),
    (head(b"X: folded", b" value"), BAD),
    (head(b"X: \0"), BAD),
    (head(b"Transfer-Encoding: gzip"), BAD),
    (head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), BAD),
    # heads without end
    (head(b"Content-Length: 0", b"X: ".ljust(MAX_HEAD_BYTES - 40, b"x")), ok(0)),
    (head(b"Content-Length: 0", b"X: ".ljust(MAX_HEAD_BYTES - 39, b"x")), BAD),
    (b"HTTP/1.1 200 OK\r\nX: ".ljust(MAX_HEAD_BYTES, b"x"), BAD),
]


def cuts(data: bytes, rng: random.Random) -> list[bytes]:
    """The same bytes in random chunks, many of them small."""
    chunks = []
    while data:
        size = rng.choice((1, 2, 3, 7, 20, 100, len(data)))
        chunks.append(data[:size])
        data = data[size:]
    return chunks


@pytest.mark.parametrize(("data", "expected"), TABLE, ids=range(len(TABLE)))
def test_outcome_however_split(data: bytes, expected: Outcome) -> None:
    """Each row has its outcome whole, byte by byte (if it is short), and in 20 random splits."""
    assert outcome([data] if data else []) == expected
    if len(data) < 20_000:
        assert outcome(data[i : i + 1] for i in range(len(data))) == expected
    rng = random.Random(1)
    for _ in range(20):
        assert outcome(cuts(data, rng)) == expected


def mutated(rng: random.Random) -> bytes:
    """Random bytes, or good answers with bytes changed, dropped and doubled."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(1, 200))
    data = bytearray(rng.choice(TABLE)[0][:400])
    for _ in range(rng.randrange(5)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(3)
        if kind == 0:
            data[at : at + 1] = rng.choice((b"\r", b"\n", b"\0", b" ", b":", b"\xff", b"9", b""))
        elif kind == 1:
            del data[at : at + rng.randrange(8)]
        else:
            data[at:at] = data[max(0, at - 20) : at]
    return bytes(data) or b"?"


def test_fuzz_raises_nothing_but_bad_response() -> None:
    """10,000 seeded inputs: a Response, nothing, or BadResponse; the same whole and split; every
    kind of outcome occurs."""
    seen: set[str] = set()
    for seed in range(10_000):
        rng = random.Random(seed)
        data = mutated(rng)
        whole = outcome([data])
        assert outcome(cuts(data, rng)) == whole, (seed, data)
        seen.add(whole[0])
    assert seen == {"complete", "at the end", "incomplete", "bad"}


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("body_bytes", [0, 1, 5000])
def test_requests_are_what_h11_reads(body_bytes: int, keep_alive: bool) -> None:
    """A strict parser that is not ours reads the request as it was meant, to its last byte."""
    data = BytesClient("h:8").request(Demand(7, 8, 9, True), body_bytes, keep_alive)
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert request.method == (b"POST" if body_bytes else b"GET")
    assert request.target == b"/work?cpu_us=7&wait_us=8&bytes=9&crash=1"
    fields = dict(request.headers)
    assert fields[b"host"] == b"h:8"
    assert fields.get(b"connection") == (None if keep_alive else b"close")
    size = 0
    while isinstance(event := server.next_event(), h11.Data):
        size += len(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert size == body_bytes
    assert server.trailing_data[0] == b""


def test_one_client_for_many_answers() -> None:
    """A persistent connection: answers of every framing one after the other leave nothing behind;
    only the one that ends with the stream is the last."""
    client = BytesClient("a")
    good = [(data, found) for data, found in TABLE if found[0] == "complete"]
    for data, found in good * 2:
        client.request(Demand(), 0, True)
        assert not client.received
        chunks = cuts(data, random.Random(7))
        answers = [client.feed(chunk) for chunk in chunks]
        assert answers == [None] * (len(chunks) - 1) + [found[1]]
        assert client.received


@pytest.mark.parametrize("framing", ["length", "chunked", "eof"])
def test_large_bodies_are_not_kept(framing: str) -> None:
    """8 MiB in chunks of 64 KiB are counted in next to no memory, in each framing."""
    piece = bytes(1 << 16)
    start = {"length": head(b"Content-Length: 8388608"), "chunked": CHUNKED, "eof": head()}
    client = BytesClient("a")
    client.request(Demand(), 0, True)
    client.feed(start[framing] + (b"800000\r\n" if framing == "chunked" else b""))
    response = None
    tracemalloc.start()
    try:
        for _ in range(128):
            response = client.feed(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if framing == "chunked":
        response = client.feed(b"\r\n0\r\n\r\n")
    if framing == "eof":
        assert response is None
        response = client.eof()
    assert response is not None
    assert response.body_bytes == 8 << 20
    assert peak < 10_000
