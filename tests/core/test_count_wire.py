"""core/count_wire.py and core/http_text.py: counted bytes are Data, have the lengths of the real
text, and a counted conversation has the real one's outcomes at the same byte offsets."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from mpmlab.core.client_wire import BytesClient
from mpmlab.core.count_wire import Blob, CountClient, CountWire, Span, counted
from mpmlab.core.demand import Demand, demand_of
from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.http_text import (
    PHRASES,
    request_head,
    request_head_bytes,
    response_head,
    response_head_bytes,
)
from mpmlab.core.wire import (
    CLOSED,
    NEED,
    BadResponse,
    ClientWire,
    Limits,
    Reply,
    Request,
    Response,
    ServerWire,
)

SIZES = [0, 1, 9, 10, 99, 100, 1023, 1024, 65_535, 99_999, 100_000, 1 << 20, 1 << 30]


# ---- counted bytes as Data -----------------------------------------------------------------------


def flat(data: Any) -> list[tuple[int, int]]:
    """Every counted byte by itself: (which blob, offset in it)."""
    if data == b"":
        return []
    pieces = data.pieces if isinstance(data, Span) else [(data, 0, data.size)]
    return [(id(blob), at) for blob, start, stop in pieces for at in range(start, stop)]


def test_counted_bytes_slice_and_join_like_bytes() -> None:
    """Random slices and joins of three messages do what the same operations do to a list of their
    bytes: length, truth, content."""
    rng = random.Random(2)
    for _ in range(300):
        blobs = [Blob(rng.randrange(4), rng.randrange(5), n) for n in range(3)]
        pool: list[Any] = [b"", *blobs]
        for _ in range(12):
            one, two = rng.choice(pool), rng.choice(pool)
            bounds = rng.choice((None, 0, 1, 3, 50, -1, -2)), rng.choice((None, 0, 2, 50, -1))
            piece, both = one[slice(*bounds)], one + two
            assert flat(piece) == flat(one)[slice(*bounds)]
            assert flat(both) == flat(one) + flat(two)
            for data in (piece, both):
                assert len(data) == len(flat(data))
                assert bool(data) is (data != b"")
            pool += [piece, both]


def test_a_message_put_together_is_the_message() -> None:
    """A whole slice, a join with nothing, and the join of all slices are the Blob itself; so
    nothing lasts of having been cut."""
    blob = Blob(3, 4, "meta")
    assert blob[:] is blob
    assert blob[0:99] is blob
    assert blob + b"" is blob
    assert b"" + blob is blob
    assert blob[:2] + blob[2:5] + blob[5:] is blob
    assert (blob[:2] + blob[2:])[:] is blob
    assert (blob + blob)[7:] is blob
    assert len(blob + blob) == 14


def test_counted_bytes_do_not_mix_with_bytes() -> None:
    """Real bytes in a counted stream are a bug and are refused where they enter."""
    with pytest.raises(TypeError, match="do not mix with b'x'"):
        counted(3) + b"x"
    with pytest.raises(TypeError, match="takes counted bytes, not b'x'"):
        CountWire(Limits()).feed(b"x")
    for data in (counted(3), counted(3)[1:]):
        with pytest.raises(ValueError, match="without a step"):
            data[::2]


def test_lost_and_reordered_bytes_are_noticed() -> None:
    """A carrier that loses, repeats or swaps counted bytes gets a ValueError that says which."""
    for first, second in ((slice(0, 3), slice(4, 7)), (slice(0, 3), slice(2, 7))):
        wire, blob = CountWire(Limits()), Blob(10, 0)
        wire.feed(blob[first])
        with pytest.raises(ValueError, match=rf"byte {second.start} of Blob\(10, 0, None\) came"):
            wire.feed(blob[second])
    wire = CountWire(Limits())
    with pytest.raises(ValueError, match="where byte 0 of None was due"):
        wire.feed(Blob(10, 0)[1:])
    wire.feed(Blob(10, 0)[:5])
    with pytest.raises(ValueError, match="where byte 5 of"):
        wire.feed(Blob(10, 0)[5:])


def test_garbage_is_refused() -> None:
    """Counted bytes that mean nothing: 400 from a server, BadResponse from a client."""
    wire, client = CountWire(Limits()), CountClient("a")
    wire.feed(counted(5))
    found = wire.next()
    assert isinstance(found, Reply)
    assert (found.status, found.close) == (400, True)
    client.request(Demand(), 0, True)
    with pytest.raises(BadResponse, match="not a response"):
        client.feed(counted(5))


# ---- the lengths of the real text ----------------------------------------------------------------


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_response_lengths(version: str, keep_alive: bool) -> None:
    """For each status and many sizes the counted head is as long as the written one."""
    for status in PHRASES:
        for size in SIZES:
            text = response_head(status, size, version, keep_alive)
            assert response_head_bytes(status, size, version, keep_alive) == len(text)
            assert text.endswith(b"Content-Length: %d\r\n\r\n" % size)


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_answers_have_the_length_of_real_answers(method: str, keep_alive: bool) -> None:
    """respond() of both wires: the same total for each status, size, version and method."""
    rng = random.Random(3)
    for version in ("1.0", "1.1"):
        option = "keep-alive" if version == "1.0" else "x"
        text = f"{method} / HTTP/{version}\r\nHost: a\r\nConnection: {option}\r\n\r\n"
        for status in PHRASES:
            for size in [*SIZES[:-1], rng.randrange(1 << 16)]:
                real, fake = H11Wire(Limits()), CountWire(Limits())
                real.feed(text.encode())
                fake.feed(Blob(50, 0, Request(method, "", True, version)))
                assert isinstance(real.next(), Request)
                assert isinstance(fake.next(), Request)
                answer = fake.respond(status, counted(size), keep_alive)
                assert len(answer) == len(real.respond(status, bytes(size), keep_alive))
                assert answer.body_bytes == (0 if method == "HEAD" else size)


def test_request_lengths() -> None:
    """Random demands, bodies and hosts: the counted request is as long as the written one, and the
    head counts as head."""
    rng = random.Random(4)
    for _ in range(500):
        cpu, wait, size = (rng.randrange(10 ** rng.randrange(1, 10)) for _ in range(3))
        demand = Demand(cpu, wait, size, rng.random() < 0.2)
        body, keep = rng.choice(SIZES[:-2]), rng.random() < 0.5
        host = rng.choice(("a", "127.0.0.1:80", "www.example.org:65535"))
        head = request_head(host, demand, body, keep)
        assert request_head_bytes(host, demand, body, keep) == len(head)
        fake = CountClient(host).request(demand, body, keep)
        real = BytesClient(host).request(demand, body, keep)
        assert (fake.head_bytes, len(fake)) == (len(head), len(real))


@pytest.mark.parametrize("host", ["", "a b", "a\r\nX: y", "ä"])
@pytest.mark.parametrize("client", [BytesClient, CountClient])
def test_a_host_that_breaks_the_head_is_refused(client: type[ClientWire], host: str) -> None:
    """Nobody smuggles fields in through the host."""
    with pytest.raises(ValueError, match="host must be a name or address"):
        client(host).request(Demand(), 0, True)  # type: ignore[call-arg]


# ---- side by side with the real wires ------------------------------------------------------------

#: One request of a conversation: demand, its body, client keeps alive; the answer's status, its
#: body, server keeps alive.
Step = tuple[Demand, int, bool, int, int, bool]
Cuts = list[float]


def script(rng: random.Random) -> list[Step]:
    """Random requests; most keep the connection."""
    return [
        (
            Demand(
                rng.randrange(2000), rng.randrange(3), rng.randrange(20_000), rng.random() < 0.1
            ),
            rng.choice((0, 0, 1, 30, 3000, 5001)),
            rng.random() < 0.9,
            rng.choice(tuple(PHRASES)),
            rng.choice((0, 1, 100, 9000)),
            rng.random() < 0.9,
        )
        for _ in range(rng.randrange(1, 6))
    ]


def carry(data: Any, rng: random.Random, deliver: Callable[[Any], bool]) -> None:
    """Deliver in random pieces until `deliver` says stop. The draws depend on the length only."""
    while data:
        size = rng.choice((1, 5, 40, 200, 4000, len(data)))
        piece, data = data[:size], data[size:]
        if deliver(piece):
            return


class Conversation:
    """A script played over one pair of wires; `log` is all that was seen, by byte offset."""

    def __init__(self, server: ServerWire, client: ClientWire, body: Callable[[int], Any]) -> None:
        self.server, self.client, self.body = server, client, body
        self.log: list[tuple[Any, ...]] = []
        self.up = self.down = 0  # bytes that went each way

    def play(self, steps: list[Step], rng: random.Random) -> list[tuple[Any, ...]]:
        for step in steps:
            self.step = step
            self.over = False
            data = self.client.request(step[0], step[1], step[2])
            carry(data, rng, lambda piece: self.to_server(piece, rng))
            if self.over or not self.server.persistent:
                break
        self.server.feed(b"")
        self.log.append(("end", self.server.next(), self.client.eof(), self.server.persistent))
        return self.log

    def note(self, *what: Any) -> None:
        server = self.server
        flags = server.reading, server.pipelined, server.persistent, self.client.received
        self.log.append((self.up, self.down, *what, *flags))

    def to_server(self, piece: Any, rng: random.Random) -> bool:
        self.up += len(piece)
        self.server.feed(piece)
        found = self.server.next()
        if found is NEED or found is CLOSED:
            self.note(found)
        elif isinstance(found, Reply):
            self.note("reply", found.status, found.close, len(found.data))
            carry(found.data, rng, self.to_client)
            self.over = True
        else:
            assert isinstance(found, Request)
            demand = found.demand or demand_of(found.target)[1]
            self.note(found.method, demand, found.keep_alive, found.http_version, found.body_bytes)
            _, _, _, status, size, keep_alive = self.step
            answer = self.server.respond(status, self.body(size), keep_alive)
            carry(answer, rng, self.to_client)
        return self.over

    def to_client(self, piece: Any) -> bool:
        self.down += len(piece)
        self.note(self.client.feed(piece))
        return False


def test_side_by_side_with_the_real_wires() -> None:
    """400 random conversations, chopped at the same random positions: the real and the counted pair
    see the same outcomes at the same byte offsets, flags included, and all kinds of them occur."""
    kinds: set[str] = set()
    limits = Limits(body=5000)
    for seed in range(400):
        logs = []
        pairs: list[tuple[ServerWire, ClientWire, Callable[[int], Any]]] = [
            (H11Wire(limits), BytesClient("127.0.0.1:8080"), bytes),
            (CountWire(limits), CountClient("127.0.0.1:8080"), counted),
        ]
        for server, client, body in pairs:
            steps = script(random.Random(seed))
            conversation = Conversation(server, client, body)
            logs.append(conversation.play(steps, random.Random(seed)))
        assert logs[0] == logs[1], seed
        kinds.update(type(entry[2]).__name__ for entry in logs[0])
        kinds.update(entry[2] for entry in logs[0] if isinstance(entry[2], str))
    assert kinds == {"NeedType", "NoneType", "Response", "str", "GET", "POST", "reply"}


def test_interim_answer_side_by_side() -> None:
    """ "Expect: 100-continue" in all splits of the head: both give the interim answer at the same
    byte, of the same length, and both clients pass over it to the final answer."""
    text = (
        b"POST /work?cpu_us=0&wait_us=0&bytes=0 HTTP/1.1\r\nHost: a\r\nUser-Agent: mpmlab\r\n"
        b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    real_data = text + b"abc"
    fake_data = Blob(len(text), 3, Request("POST", "", True, "1.1", 3, Demand(), True))
    for cut in range(1, len(real_data)):
        seen = []
        for server, data, client, body in (
            (H11Wire(Limits()), real_data, BytesClient("a"), bytes),
            (CountWire(Limits()), fake_data, CountClient("a"), counted),
        ):
            seen.append(interim(server, data, client, body, cut))
        assert seen[0] == seen[1]
        assert seen[0].count(("interim", 25, None)) == 2
        assert seen[0][-1] == Response(200, 4, True)


def interim(server: Any, data: Any, client: Any, body: Callable[[int], Any], cut: int) -> list[Any]:
    """What a server sees of `data`, twice in two pieces, and a client of its answers."""
    seen: list[Any] = []
    for piece in (data[:cut], data[cut:]) * 2:
        if not server.reading:
            client.request(Demand(), 0, True)
        server.feed(piece)
        while isinstance(found := server.next(), Reply):
            assert not found.close
            seen.append(("interim", len(found.data), client.feed(found.data)))
        seen.append(("need" if found is NEED else found.body_bytes, server.reading))
        if found is not NEED:
            seen.append(client.feed(server.respond(200, body(4), True)))
    return seen
