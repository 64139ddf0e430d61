"""One request on a client's connection: dialling, sending, reading, and the habits of clients that
are slow, silent or impatient.

The same text in both worlds, over the kernel; when requests are due and what becomes of their
records is client.py. Only `yield k.op(...)` waits.

Links. In simulation a connection's round trip and rates are the simulated link's. On a machine they
are the network's, or, when `paced`, kept by the client itself: it dials a round trip late, lets a
request wait half of one before it leaves and an answer half of one before it counts as arrived, and
sends and reads no faster than its link would. To the server this differs from a link in one thing:
a new connection is there half a round trip before it would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from mpmlab.core.wire import BadResponse, ClientWire
from mpmlab.kernel.interface import Address, Conn, Dial, Queue, Steps
from mpmlab.load.recorder import Outcome
from mpmlab.workload.clients import ClientKind

if TYPE_CHECKING:
    from mpmlab.load.client import Client

#: What is left of a wait below this is rounding, not time.
ROUNDING_S: Final = 1e-9
#: Most that is taken from a connection at once.
RECV_BYTES: Final = 65536
#: A reader with a rate takes what the rate allows in this time, then waits for the next such time.
READ_TICK_S: Final = 0.05
#: A sender on a link with a rate gives as much as this time allows at once.
SEND_TICK_S: Final = 0.02

#: As a global: an attribute of the enumeration costs three times as much to read.
OK: Final = Outcome.OK

_AGAIN: Final = (Outcome.SEND_FAILED, Outcome.RESET, Outcome.CLOSED_EARLY)


class ClientKernel(Protocol):
    """The part of kernel.interface.Kernel that clients need; contracts are stated there."""

    def thread(self, fn: Callable[..., Steps[Any]], *args: Any) -> Any: ...
    def sleep(self, seconds: float) -> Any: ...
    def put(self, queue: Queue, item: Any) -> Any: ...
    def get(self, queue: Queue, timeout_s: float | None) -> Any: ...
    def recv(self, conn: Conn, n: int, timeout_s: float | None) -> Any: ...
    def send(self, conn: Conn, data: Any, timeout_s: float | None) -> Any: ...
    def connect(self, address: Address, timeout_s: float | None, dial: Dial | None) -> Any: ...
    def now(self) -> float: ...
    def signals(self) -> Any: ...
    def close(self, handle: Any, half: bool = False) -> None: ...
    def queue(self, order: str = "fifo", shared: bool = False) -> Queue: ...


class Line:
    """A client's connection, while it has one, and its account."""

    __slots__ = ("conn", "opened_s", "requests", "serial", "wire")

    def __init__(self) -> None:
        self.conn: Any = None
        self.wire: Any = None
        self.serial = 0  # of the connection, in this process's run, from 1
        self.requests = 0  # answers that it has carried
        self.opened_s = 0.0  # on the kernel's clock

    def drop(self, k: ClientKernel) -> None:
        """Close the connection, if there is one."""
        if self.conn is not None:
            k.close(self.conn)
            self.conn = self.wire = None
            self.serial = self.requests = 0


class Way:
    """How the clients of a group reach the server, and how they behave on a connection. `serials`
    numbers the connections of all groups."""

    def __init__(
        self,
        kind: ClientKind,
        address: Address,
        make_wire: Callable[[], ClientWire],
        start_s: float,
        paced: bool,
        serials: Iterator[int],
    ) -> None:
        self.serials = serials
        self.kind = kind
        self.address = address
        self.make_wire = make_wire
        self.start_s = start_s
        link = bool(kind.rtt_s or kind.down_bytes_per_s or kind.up_bytes_per_s)
        self.half_trip_s = kind.rtt_s / 2 if paced else 0.0
        self.dial: Dial | None = None
        if kind.receive_buffer_bytes or (link and not paced):
            figures = (0.0, 0.0, 0.0) if paced else (
                kind.rtt_s, kind.down_bytes_per_s, kind.up_bytes_per_s
            )  # fmt: skip
            self.dial = Dial(kind.receive_buffer_bytes, *figures)
        self.read_per_s = _slower(kind.read_bytes_per_s, kind.down_bytes_per_s if paced else 0.0)
        self.step_bytes, self.step_s = _steps(kind, paced)
        #: Keeps every connection that the server keeps.
        self.constant = kind.keep_alive and not (kind.requests_per_connection or kind.connection_s)
        #: Sends at once, waits, reads as fast as it comes: no habits.
        self.plain = not (
            self.step_bytes
            or self.read_per_s
            or self.half_trip_s
            or kind.abandon_s
            or kind.stall_after_bytes >= 0
        )

    def nap(self, k: ClientKernel, line: Line, left_s: float) -> float:
        """How long to sleep when the next turn is left_s away: less if the connection's age ends
        before that; an overaged one is closed."""
        limit_s = self.kind.connection_s
        if not limit_s or line.conn is None:
            return left_s
        age_left_s = line.opened_s + limit_s - k.now()
        if age_left_s > ROUNDING_S:
            return min(left_s, age_left_s)
        line.drop(k)
        return left_s

    def keeps(self, line: Line, now_s: float) -> bool:
        """Whether the client keeps the connection after an answer."""
        kind = self.kind
        if not kind.keep_alive:
            return False
        if kind.requests_per_connection and line.requests >= kind.requests_per_connection:
            return False
        return not kind.connection_s or now_s - line.opened_s < kind.connection_s


def _slower(one: float, other: float) -> float:
    """The lower of two rates, of which 0 means none."""
    return min(one, other) if one and other else one or other


def _steps(kind: ClientKind, paced: bool) -> tuple[int, float]:
    """In pieces of how many bytes a request leaves, and how far apart; (0, 0): at once."""
    link_per_s = kind.up_bytes_per_s if paced else 0.0
    if kind.send_bytes:
        link_s = kind.send_bytes / link_per_s if link_per_s else 0.0
        return kind.send_bytes, max(kind.send_interval_s, link_s)
    if link_per_s:
        size = max(1, int(link_per_s * SEND_TICK_S))
        return size, size / link_per_s
    return 0, 0.0


def stale(line: Line, error: Outcome) -> bool:
    """Whether a request that failed without a byte of the answer is to be sent again, as browsers
    do: on a connection that has carried one before, which the server closed, being idle, at the
    moment at which the request was on its way (RFC 9112 section 9.3.1)."""
    return error in _AGAIN and line.requests > 0 and not line.wire.received


def exchange(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """The client's request, on its connection or on a new one."""
    line, way = client.line, client.way
    while True:
        if line.conn is None:
            error = yield from connect(k, way, line, deadline_s)
            if error != Outcome.OK:
                return error
        error = yield from (attempt if way.plain else talk)(k, client, deadline_s)
        if client.response is not None or not stale(line, error):
            return error
        line.drop(k)
        client.retried = 1


def proceed(
    k: ClientKernel, client: Client, taken: int | None, data: Any, deadline_s: float
) -> Steps[Outcome]:
    """`client.serve` has sent the request (so much was taken) and fed the wire what came at first,
    which was not a whole answer (taken = -1: nor part of one): the rest, and a second attempt on a
    new connection if this one had gone stale."""
    line = client.line
    if taken == -1:
        return Outcome.BAD_RESPONSE
    if data:
        client.first_byte_s = k.now() - client.way.start_s
        return (yield from read(k, client, deadline_s))
    if taken != len(client.request):
        error = Outcome.SEND_FAILED if taken is None else Outcome.TIMEOUT
    elif data is None:
        return (yield from read(k, client, deadline_s))
    else:
        error = ended(client, k.now() - client.way.start_s)
    if client.response is not None or not stale(line, error):
        return error
    line.drop(k)
    client.retried = 1
    return (yield from exchange(k, client, deadline_s))


def connect(k: ClientKernel, way: Way, line: Line, deadline_s: float) -> Steps[Outcome]:
    """A new connection."""
    if way.half_trip_s:
        yield k.sleep(2 * way.half_trip_s)
    conn = yield k.connect(way.address, max(0.0, deadline_s - k.now()), way.dial)
    if conn is None:
        late = deadline_s - k.now() <= ROUNDING_S
        return Outcome.CONNECT_TIMEOUT if late else Outcome.CONNECT_REFUSED
    line.conn = conn
    line.serial = next(way.serials)
    line.requests = 0
    line.opened_s = k.now()
    line.wire = way.make_wire()
    return Outcome.OK


def attempt(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """Send the request and read its answer, on the connection that is there."""
    line, request, now_s = client.line, client.request, k.now()
    line.wire.ask()
    client.sent_s = now_s - client.way.start_s
    taken = yield k.send(line.conn, request, max(0.0, deadline_s - now_s))
    if taken != len(request):
        return Outcome.SEND_FAILED if taken is None else Outcome.TIMEOUT
    return (yield from read(k, client, deadline_s))


def read(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """Read the answer, or what is left of it, as fast as it comes."""
    line, start_s = client.line, client.way.start_s
    conn, wire = line.conn, line.wire
    while (left_s := deadline_s - k.now()) > ROUNDING_S:
        data = yield k.recv(conn, RECV_BYTES, left_s)
        at_s = k.now() - start_s
        if data is None:
            continue
        if not data:
            return ended(client, at_s)
        if not wire.received:
            client.first_byte_s = at_s
        try:
            response = wire.feed(data)
        except BadResponse:
            return Outcome.BAD_RESPONSE
        if response is not None:
            return answered(client, response, at_s)
    return Outcome.TIMEOUT


def answered(client: Client, response: Any, at_s: float) -> Outcome:
    """The answer is complete, `at_s` since the start of the run."""
    client.last_byte_s = at_s
    client.response = response
    client.line.requests += 1
    return OK if response.status < 400 else Outcome.HTTP_ERROR


def ended(client: Client, at_s: float) -> Outcome:
    """The stream has ended: that may be what ends the answer."""
    response = client.line.wire.eof()
    if response is not None:
        return answered(client, response, at_s)
    return Outcome.RESET if client.line.conn.reset else Outcome.CLOSED_EARLY


# ---- clients with habits -------------------------------------------------------------------------


def talk(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """As `attempt`, by a client that sends in pieces, reads slowly, falls silent or leaves."""
    line, way, kind = client.line, client.way, client.way.kind
    line.wire.ask()
    client.sent_s = k.now() - way.start_s
    if way.half_trip_s:
        yield k.sleep(way.half_trip_s)
    request = client.request
    stalls = 0 <= kind.stall_after_bytes < len(request)
    if stalls:
        request = request[: kind.stall_after_bytes]
    outcome = yield from utter(k, client, request, deadline_s)
    if outcome is not None:
        return outcome
    patience_s = kind.stall_s if stalls else kind.abandon_s
    leaves = stalls or kind.abandon_s > 0
    until_s = min(deadline_s, k.now() + patience_s) if leaves else deadline_s
    outcome = yield from listen(k, client, until_s)
    if outcome is not None:
        return outcome
    return Outcome.ABANDONED if until_s < deadline_s else Outcome.TIMEOUT


def utter(
    k: ClientKernel, client: Client, request: Any, deadline_s: float
) -> Steps[Outcome | None]:
    """Send it in the client's pieces, with an ear for early answers; None: all is sent."""
    conn, way = client.line.conn, client.way
    at, size, next_s = 0, len(request), k.now()
    while at < size:
        piece = request[at : at + way.step_bytes] if way.step_bytes else request[at:]
        taken = yield k.send(conn, piece, max(0.0, deadline_s - k.now()))
        if taken is None:
            return Outcome.SEND_FAILED
        at += taken
        if at < size:
            next_s += way.step_s
            outcome = yield from listen(k, client, min(next_s, deadline_s))
            if outcome is not None:
                return outcome
            if deadline_s - k.now() <= ROUNDING_S:
                return Outcome.TIMEOUT
    return None


def listen(k: ClientKernel, client: Client, until_s: float) -> Steps[Outcome | None]:
    """Read at the client's rate; None: no complete answer until then."""
    line, way = client.line, client.way
    conn, wire, rate = line.conn, line.wire, way.read_per_s
    most = min(RECV_BYTES, max(1, int(rate * READ_TICK_S))) if rate else RECV_BYTES
    next_s = 0.0  # when the rate allows more
    while True:
        if rate and (left_s := min(next_s, until_s) - k.now()) > ROUNDING_S:
            yield k.sleep(left_s)
        left_s = until_s - k.now()
        if left_s <= ROUNDING_S:
            return None
        data = yield k.recv(conn, most, left_s)
        if data is None:
            continue
        if way.half_trip_s and not wire.received:
            yield k.sleep(way.half_trip_s)
        at_s = k.now() - way.start_s
        if not data:
            return ended(client, at_s)
        if not wire.received:
            client.first_byte_s = at_s
        try:
            response = wire.feed(data)
        except BadResponse:
            return Outcome.BAD_RESPONSE
        if response is not None:
            return answered(client, response, at_s)
        if rate:
            next_s = max(next_s, k.now()) + len(data) / rate
