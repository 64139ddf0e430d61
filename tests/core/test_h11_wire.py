"""core/h11_wire.py: what is accepted and refused, and that no verdict depends on the splitting."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable

import pytest

from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.http_text import CONTINUE, PHRASES
from mpmlab.core.wire import CLOSED, NEED, Limits, Reply, Request

HOST = b"Host: a\r\n"
GET = b"GET /work?bytes=2 HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
SMALL = Limits(line=30, field_size=24, fields=4, body=12)

#: A request or refusal in short: (method, target, keep_alive, version, body_bytes) or a status.
Outcome = tuple[str, str, bool, str, int] | int | str


def outcomes(chunks: Iterable[bytes], limits: Limits) -> list[Outcome]:
    """Feed the chunks, ask after each until nothing is left to say, answer 200 to everything; end
    with the end of the stream. "reading" tells that it came within a request."""
    wire = H11Wire(limits)
    seen: list[Outcome] = []
    for chunk in [*chunks, b""]:
        if not chunk and wire.reading:
            seen.append("reading")
        wire.feed(chunk)
        while (found := wire.next()) is not NEED:
            if found is CLOSED:
                return [*seen, "closed"] if not chunk else seen
            if isinstance(found, Reply):
                seen.append(found.status)
                assert found.close is (found.status != 100)
            else:
                assert isinstance(found, Request)
                r = found
                seen.append((r.method, r.target, r.keep_alive, r.http_version, r.body_bytes))
                wire.respond(200, b"ok", True)
    return seen


def got(method: str = "GET", keep: bool = True, version: str = "1.1", body: int = 0) -> Outcome:
    return (method, "/", keep, version, body)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


TABLE: list[tuple[bytes, Limits, list[Outcome]]] = [
    # keep-alive, by version and option
    (head(b"GET / HTTP/1.1", b"Host: a"), Limits(), [got(), "closed"]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"Connection: Close"), Limits(), [got(keep=False)]),
    (
        head(b"GET / HTTP/1.1", b"Host: a", b"Connection: TE", b"connection: x , close"),
        Limits(),
        [got(keep=False)],
    ),
    (head(b"GET / HTTP/1.0"), Limits(), [got(keep=False, version="1.0")]),
    (
        head(b"GET / HTTP/1.0", b"Connection: Keep-Alive") * 2,
        Limits(),
        [got(version="1.0"), got(version="1.0"), "closed"],
    ),
    (
        head(b"GET / HTTP/1.0", b"Connection: keep-alive, close"),
        Limits(),
        [got(keep=False, version="1.0")],
    ),
    (b"GET / HTTP/1.1\nHost: a\n\n", Limits(), [got(), "closed"]),
    # methods and targets
    (head(b"CONNECT / HTTP/1.1", b"Host: a"), Limits(), [got("CONNECT"), "closed"]),
    (
        head(b"GET / HTTP/1.1", b"Host: a", b"Upgrade: websocket", b"Connection: upgrade") * 2,
        Limits(),
        [got(), got(), "closed"],
    ),
    # bodies
    (
        head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5") + b"12345" + GET,
        Limits(),
        [got("POST", body=5), ("GET", "/work?bytes=2", True, "1.1", 0), "closed"],
    ),
    (head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 0"), SMALL, [got("POST"), "closed"]),
    (CHUNKED + b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nT: u\r\n\r\n" + CHUNKED + b"0\r\n\r\n",
     Limits(), [got("POST", body=13), got("POST"), "closed"]),
    (CHUNKED + b"5\r\nabc", Limits(), ["reading", "closed"]),
    (
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 3")
        + b"1\r\na\r\n0\r\n\r\n",
        Limits(),
        [got("POST", keep=False, body=1)],
    ),
    # the interim answer is given whether or not the body is here, and only for a body
    (
        head(b"POST / HTTP/1.1", b"Host: a", b"Expect: 100-Continue", b"Content-Length: 2") + b"ab",
        Limits(),
        [100, got("POST", body=2), "closed"],
    ),
    (
        head(b"POST / HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 2") + b"ab",
        Limits(),
        [got("POST", keep=False, version="1.0", body=2)],
    ),
    (head(b"GET / HTTP/1.1", b"Host: a", b"Expect: 100-continue"), Limits(), [got(), "closed"]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"Expect: a miracle"), Limits(), [417]),
    (head(b"PUT / HTTP/1.1", b"Host: a", b"Expect: 100-continue", b"Content-Length: 13"), SMALL,
     [413]),
    # limits, on and over the edge
    (head(b"GET /" + b"x" * 16 + b" HTTP/1.1", HOST[:-2]), SMALL,
     [("GET", "/" + "x" * 16, True, "1.1", 0), "closed"]),
    (head(b"GET /" + b"x" * 17 + b" HTTP/1.1", HOST[:-2]), SMALL, [414]),
    (b"A" * 31, SMALL, [414]),
    (b"A" * 30, SMALL, ["reading", "closed"]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"B: " + b"x" * 21), SMALL, [got(), "closed"]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"B: " + b"x" * 22), SMALL, [431]),
    (head(b"GET / HTTP/1.1", b"Host: a", *[b"B: c"] * 3), SMALL, [got(), "closed"]),
    (head(b"GET / HTTP/1.1", b"Host: a", *[b"B: c"] * 4), SMALL, [431]),
    (b"GET / HTTP/1.1\r\n" + b"B: c\r\n" * 5, SMALL, [431]),
    (head(b"GET / HTTP/1.1", b"Host: a", *[b"B: c"] * 99), Limits(), [got(), "closed"]),
    (head(b"GET / HTTP/1.1", b"Host: a", *[b"B: c"] * 100), Limits(), [431]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 12") + b"x" * 12, SMALL,
     [got(body=12), "closed"]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 13"), SMALL, [413]),
    (CHUNKED + b"7\r\n1234567\r\n6\r\n123456\r\n0\r\n\r\n",
     Limits(body=12), [413]),
    # each request is measured by itself
    (head(b"GET / HTTP/1.1", b"Host: a", b"B: " + b"x" * 21) * 2
     + head(b"GET /" + b"x" * 17 + b" HTTP/1.1", b"Host: a"), SMALL, [got(), got(), 414]),
    ((b"\r\n" * 4 + head(b"GET / HTTP/1.1", b"Host: a")) * 2, SMALL, [got(), got(), "closed"]),
    # garbage
    (b"\x16\x03\x01\x02\x00", Limits(), [400]),
    (b"\r\n\n" + GET + b"\r\n", Limits(), [("GET", "/work?bytes=2", True, "1.1", 0), "closed"]),
    (b"\r\n" * 4 + head(b"GET / HTTP/1.1", b"Host: a"), SMALL, [got(), "closed"]),
    (b"\r\n" * 5, SMALL, [400]),
    (b" " + GET, Limits(), [400]),
    (head(b"GET  / HTTP/1.1", b"Host: a"), Limits(), [400]),
    (head(b"GET / HTTP/1.1"), Limits(), [400]),
    (head(b"GET / HTTP/1.1", b"Host : a"), Limits(), [400]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 1, 2"), Limits(), [400]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: -1"), Limits(), [400]),
    (head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: gzip"), Limits(), [501]),
    (head(b"GET / HTTP/2.0", b"Host: a"), Limits(), [505]),
    (CHUNKED + b"xyz\r\n", Limits(), [400]),
    (CHUNKED + b"1\r\nabc\r\n", Limits(), [400]),
    (GET + b"\x00", Limits(), [("GET", "/work?bytes=2", True, "1.1", 0), 400]),
]  # fmt: skip


def cuts(data: bytes, rng: random.Random) -> list[bytes]:
    """The same bytes in random chunks, many of them small."""
    chunks = []
    while data:
        size = rng.choice((1, 2, 3, 7, 20, 100, len(data)))
        chunks.append(data[:size])
        data = data[size:]
    return chunks


@pytest.mark.parametrize(("data", "limits", "expected"), TABLE)
def test_outcome_however_split(data: bytes, limits: Limits, expected: list[Outcome]) -> None:
    """Each row has its outcome whole, byte by byte, and in 20 random splits."""
    assert outcomes([data], limits) == expected
    assert outcomes([data[i : i + 1] for i in range(len(data))], limits) == expected
    rng = random.Random(1)
    for _ in range(20):
        assert outcomes(cuts(data, rng), limits) == expected


def test_a_legal_head_of_full_size_passes() -> None:
    """A line and a hundred fields, each of just the limit: 827 KB, not one byte more."""
    full = [b"X: ".ljust(8190, b"y")] * 98
    line = b"GET /".ljust(8190 - 9, b"z") + b" HTTP/1.1"
    data = head(line, b"Host: a", *full, b"Y: ".ljust(8190, b"y"))
    chunks = [data[i : i + 60_000] for i in range(0, len(data), 60_000)]
    assert len(outcomes(chunks, Limits())) == 2
    assert outcomes(chunks, Limits(field_size=8189)) == [431]
    assert outcomes(chunks, Limits(line=8189)) == [414]
    assert outcomes(chunks, Limits(fields=99)) == [431]


def mutated(rng: random.Random) -> bytes:
    """Random bytes, or good requests with bytes changed, dropped, doubled and cut."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(1, 200))
    data = bytearray(b"".join(rng.choice(TABLE)[0][:600] for _ in range(rng.randrange(1, 3))))
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + 1] = rng.choice((b"\r", b"\n", b"\0", b" ", b":", b"\xff", b"9", b""))
        elif kind == 1:
            del data[at : at + rng.randrange(8)]
        elif kind == 2:
            data[at:at] = data[max(0, at - 20) : at]
        else:
            data[at:at] = rng.choice((b"\r\n", b"\r\n\r\n", b"\n\n", b"0\r\n\r\n", b"Expect: x"))
    return bytes(data) or b"?"


def test_fuzz_never_crashes_and_never_depends_on_the_split() -> None:
    """10,000 seeded inputs, random and mutated: no exception, only statuses that can be answered,
    and the same outcomes whole and split at random points."""
    seen: set[int] = set()
    requests = 0
    for seed in range(10_000):
        rng = random.Random(seed)
        data = mutated(rng)
        limits = rng.choice((SMALL, Limits()))
        whole = outcomes([data], limits)
        assert outcomes(cuts(data, rng), limits) == whole, (seed, data)
        requests += sum(isinstance(found, tuple) for found in whole)
        seen.update(found for found in whole if isinstance(found, int))
    assert seen == {100, 400, 413, 414, 417, 431, 501, 505}
    assert requests > 300
    assert seen - {100} <= set(PHRASES)


def respond(request: bytes, status: int, body: bytes, keep_alive: bool) -> bytes:
    wire = H11Wire(Limits())
    wire.feed(request)
    assert isinstance(wire.next(), Request)
    return wire.respond(status, body, keep_alive)


def test_the_text_of_answers() -> None:
    """Content-Length always; Connection says close, or keep-alive to HTTP/1.0, else nothing."""
    old = head(b"GET / HTTP/1.0", b"Connection: keep-alive")
    start = b"HTTP/1.1 200 OK\r\nServer: mpmlab\r\n"
    assert respond(GET, 200, b"ok", True) == start + b"Content-Length: 2\r\n\r\nok"
    assert respond(old, 200, b"ok", True) == (
        start + b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    )
    for request in (GET, old, head(b"GET / HTTP/1.0")):
        assert respond(request, 200, b"ok", False) == (
            start + b"Connection: close\r\nContent-Length: 2\r\n\r\nok"
        )
    assert respond(GET, 404, b"", True).startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_head_gets_the_head_only() -> None:
    """HEAD: the head of the answer to GET, to the byte, and no body."""
    request = GET.replace(b"GET", b"HEAD")
    for body in (b"", b"x", b"x" * 1000):
        full = respond(GET, 200, body, True)
        assert respond(request, 200, body, True) == full.removesuffix(body or b"\0")


def test_interim_answer_then_the_body() -> None:
    """The client that waits gets "100 Continue" once, then its request is completed."""
    wire = H11Wire(Limits())
    wire.feed(head(b"PUT /x HTTP/1.1", b"Host: a", b"Expect: 100-continue", b"Content-Length: 2"))
    assert wire.next() == Reply(CONTINUE, False, 100)
    assert wire.next() is NEED
    assert wire.reading
    wire.feed(b"ab")
    assert wire.next() == Request("PUT", "/x", True, "1.1", 2, None, True)


def test_a_large_body_is_not_kept() -> None:
    """8 MiB in chunks of 64 KiB are counted; the wire never holds more than a chunk or two."""
    wire = H11Wire(Limits())
    wire.feed(head(b"PUT / HTTP/1.1", b"Host: a", b"Content-Length: %d" % (8 << 20)))
    chunk = bytes(1 << 16)
    tracemalloc.start()
    try:
        for _ in range(128):
            assert wire.next() is NEED
            wire.feed(chunk)
        found = wire.next()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found, Request)
    assert found.body_bytes == 8 << 20
    assert peak < 1 << 20


def test_after_a_refusal_input_is_dropped() -> None:
    """During the lingering close what still comes is thrown away, and the answer stays CLOSED."""
    wire = H11Wire(Limits())
    wire.feed(b"\0")
    refusal = wire.next()
    assert isinstance(refusal, Reply)
    assert refusal.data == (
        b"HTTP/1.1 400 Bad Request\r\nServer: mpmlab\r\nConnection: close\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    wire.feed(GET)
    assert (wire.next(), wire.reading, wire.pipelined) == (CLOSED, False, False)
