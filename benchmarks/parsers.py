"""What reading an answer costs the client: our BytesClient, httptools (llhttp, compiled) and h11.

All three do what a load generator needs: status, version, length of the body, whether the
connection stays, and whether the body ends only with the stream (of a head without a length), for
which httptools has to see the header fields. They are used in short slices in turn on one core, so
that a change of the machine's speed meets all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any, Final, NamedTuple

import h11
import httptools

from benchmarks.common import estimate, pin, report, server_and_client_cores
from mpmlab.core.client_wire import BytesClient

ROUNDS: Final = 30
#: How long a slice is to take, about.
SLICE_S: Final = 0.01
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 11:53:02 GMT\r\n"
    b"Content-Type: text/plain\r\n"
)


class Answer(NamedTuple):
    """What a parser found."""

    status: int
    body_bytes: int
    keep_alive: bool
    version: str


Parser = Callable[[bytes], Answer]


def bytes_client() -> Parser:
    """Ours, on one keep-alive connection."""
    wire = BytesClient("127.0.0.1")

    def parse(message: bytes) -> Answer:
        wire.ask()
        found = wire.feed(message)
        assert found is not None, "an incomplete answer"
        return found  # type: ignore[return-value]  # has the same four; making another costs time

    return parse


class _Events:
    """What httptools calls."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.body_bytes = 0
        self.framed = self.complete = self.keep_alive = False

    def on_header(self, name: bytes, _value: bytes) -> None:
        """A body without one of these ends with the stream."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self.framed = True

    def on_body(self, data: bytes) -> None:
        """Part of it."""
        self.body_bytes += len(data)

    def on_message_complete(self) -> None:
        """To be asked here: afterwards should_keep_alive() says True in any case."""
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()


def httptools_client() -> Parser:
    """httptools, on one keep-alive connection."""
    events = _Events()
    parser = events.parser = httptools.HttpResponseParser(events)

    def parse(message: bytes) -> Answer:
        events.body_bytes, events.complete, events.framed = 0, False, False
        parser.feed_data(message)
        assert events.complete, "an incomplete answer"
        assert events.framed, "its end is that of the stream"
        return Answer(
            parser.get_status_code(), events.body_bytes, events.keep_alive,
            parser.get_http_version(),
        )  # fmt: skip

    return parse


def h11_client() -> Parser:
    """h11, on one keep-alive connection; the request that it insists on is written, too."""
    connection = h11.Connection(our_role=h11.CLIENT)
    request = h11.Request(method="GET", target="/", headers=[("Host", "127.0.0.1")])

    def parse(message: bytes) -> Answer:
        connection.send(request)
        connection.send(h11.EndOfMessage())
        connection.receive_data(message)
        body_bytes, head = 0, None
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body_bytes += len(event.data)
            else:
                raise AssertionError(f"an incomplete answer: {event!r}")
        assert head is not None
        keep_alive = connection.their_state is h11.DONE
        connection.start_next_cycle()
        return Answer(head.status_code, body_bytes, keep_alive, head.http_version.decode())

    return parse


PARSERS: Final[Mapping[str, Callable[[], Parser]]] = {
    "ours": bytes_client,
    "httptools": httptools_client,
    "h11": h11_client,
}


def counted(size: int, more: bytes = b"") -> bytes:
    """An answer with Content-Length."""
    length = b"Content-Length: %d\r\n" % size
    return _HEAD + length + more + b"Connection: keep-alive\r\n\r\n" + b"x" * size


def chunked(sizes: Iterable[int]) -> bytes:
    """An answer in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in sizes)
    return _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


#: Kind of answer -> its messages, each of which is used in turn. Ours remembers 256 heads: of the
#: last kind it has seen none before.
MESSAGES: Final[Mapping[str, Sequence[bytes]]] = {
    "40 bytes": (counted(40),),
    "12,000 bytes": (counted(12_000),),
    "3 chunks of 4,000 bytes": (chunked((4000, 4000, 4000)),),
    "40 bytes, each head new": tuple(counted(40, b"X-Id: %d\r\n" % i) for i in range(1000)),
}

#: (parser, kind of answer) -> microseconds per message, one for each slice.
Times = dict[tuple[str, str], list[float]]


def measure(
    parsers: Mapping[str, Callable[[], Parser]],
    messages: Mapping[str, Sequence[bytes]],
    rounds: int = ROUNDS,
) -> Times:
    """Slices of every parser and kind of answer in turn, every other round backwards. CPU time of
    this thread. Raises AssertionError if they do not find the same."""
    cases = [(name, kind) for kind in messages for name in parsers]
    ready = {case: (parsers[case[0]](), cycle(messages[case[1]])) for case in cases}
    for kind in messages:
        found = {tuple(_fields(ready[name, kind][0](messages[kind][0]))) for name in parsers}
        assert len(found) == 1, f"{kind}: the parsers do not agree: {found}"
    counts = {case: _count(*ready[case]) for case in cases}
    times: Times = {case: [] for case in cases}
    for number in range(rounds):
        for case in cases[::-1] if number % 2 else cases:
            times[case].append(_slice_us(*ready[case], counts[case]))
    return times


def _fields(answer: Any) -> list[Any]:
    version = answer.version if isinstance(answer, Answer) else answer.http_version
    return [answer.status, answer.body_bytes, answer.keep_alive, version]


def _slice_us(parse: Parser, messages: cycle[bytes], count: int) -> float:
    chosen = [next(messages) for _ in range(count)]
    began_ns = time.thread_time_ns()
    for message in chosen:
        parse(message)
    return (time.thread_time_ns() - began_ns) / 1000 / count


def _count(parse: Parser, messages: cycle[bytes]) -> int:
    """How many messages make a slice."""
    return max(10, round(1e6 * SLICE_S / _slice_us(parse, messages, 10)))


def tell(times: Times) -> None:
    """Print them."""
    kinds = list(dict.fromkeys(kind for _, kind in times))
    names = list(dict.fromkeys(name for name, _ in times))
    rows = []
    for kind in kinds:
        ours = times[names[0], kind]
        for name in names:
            theirs = times[name, kind]
            ratio = estimate([b / a for a, b in zip(ours, theirs, strict=True)])
            rows.append((f"{name}, {kind}", estimate(theirs), ratio))
    report(
        "Parsing one answer, CPU us",
        ("parser, answer", "us (95 % interval)", f"of {names[0]}"),
        rows,
        f"{len(times[names[0], kinds[0]])} interleaved slices each, medians; ratios within a round",
    )


def main() -> None:
    """Measure and print."""
    pin(server_and_client_cores()[1])
    tell(measure(PARSERS, MESSAGES))


if __name__ == "__main__":
    main()
