"""How the clients of a group reach the server, and a connection of theirs. Nothing here waits.

The figures that a group's habits come to, what is sent when, how long a connection may live, and
what the wire makes of what has come. Dialling, sending and reading are exchange.py and habits.py.
"""

from __future__ import annotations

from collections import deque
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
#: A request up to this size leaves at once: an empty send buffer takes it (Linux, net.ipv4.tcp_wmem
#: begins at 16 KiB).
DIRECT_BYTES: Final = 16384
#: A reader with a rate takes what the rate allows in this time, then waits for the next such time.
READ_TICK_S: Final = 0.05
#: A sender on a link with a rate gives as much as this time allows at once.
SEND_TICK_S: Final = 0.02

#: As a global: an attribute of the enumeration costs three times as much to read.
OK: Final = Outcome.OK


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
    """A client's connection, while it has one, and its account. Times are on the kernel's clock."""

    __slots__ = ("conn", "flight", "free_s", "opened_s", "requests", "serial", "wire")

    def __init__(self) -> None:
        self.conn: Any = None
        self.wire: Any = None
        self.serial = 0  # of the connection, in this process's run, from 1
        self.requests = 0  # answers that it has carried
        self.opened_s = 0.0
        #: What has been read and does not count as arrived yet: when it will, when its first byte
        #: does, and the data. Of clients with habits only.
        self.flight: deque[tuple[float, float, Any]] = deque()
        self.free_s = 0.0  # when the reader's rate allows more

    def open(self, conn: Any, wire: ClientWire, serial: int, now_s: float) -> None:
        """There is a new connection."""
        self.conn = conn
        self.wire = wire
        self.serial = serial
        self.requests = 0
        self.opened_s = self.free_s = now_s

    def drop(self, k: ClientKernel) -> None:
        """Close the connection, if there is one."""
        if self.conn is not None:
            k.close(self.conn)
            self.conn = self.wire = None
            self.serial = self.requests = 0
            self.flight.clear()


class Way:
    """How the clients of a group reach the server, and how they behave on a connection.

    `largest_bytes` is the size of their largest request's body; `serials` numbers the connections
    of all groups. `paced`: see exchange.py."""

    def __init__(
        self,
        kind: ClientKind,
        address: Address,
        make_wire: Callable[[], ClientWire],
        start_s: float,
        paced: bool,
        largest_bytes: int,
        serials: Iterator[int],
    ) -> None:
        self.serials = serials
        self.kind = kind
        self.address = address
        self.make_wire = make_wire
        self.start_s = start_s
        self.dial = _dial(kind, paced)
        self.half_trip_s = kind.rtt_s / 2 if paced else 0.0
        self.up_per_s = kind.up_bytes_per_s if paced else 0.0
        self.up_bytes = max(1, int(self.up_per_s * SEND_TICK_S))
        self.read_per_s = _slower(kind.read_bytes_per_s, kind.down_bytes_per_s if paced else 0.0)
        self.read_bytes = RECV_BYTES
        if self.read_per_s:
            self.read_bytes = min(RECV_BYTES, max(1, int(self.read_per_s * READ_TICK_S)))
        #: Keeps every connection that the server keeps.
        self.constant = kind.keep_alive and not (kind.requests_per_connection or kind.connection_s)
        #: Sends at once, waits, reads as fast as it comes: no habits.
        self.plain = not (
            kind.send_bytes
            or self.up_per_s
            or self.read_per_s
            or self.half_trip_s
            or kind.abandon_s
            or kind.stall_after_bytes >= 0
        )
        #: And no request waits while it is sent.
        self.direct = self.plain and largest_bytes <= DIRECT_BYTES

    def idle_s(self, line: Line, now_s: float) -> float | None:
        """How much longer the connection may stay, being idle: 0 or less if it is too old; None if
        there is no limit, or no connection."""
        if line.conn is None or not self.kind.connection_s:
            return None
        return line.opened_s + self.kind.connection_s - now_s

    def nap(self, k: ClientKernel, line: Line, left_s: float) -> float:
        """How long to sleep when the next turn is left_s away: less if the connection becomes too
        old before that; one that is too old is closed."""
        idle_s = self.idle_s(line, k.now())
        if idle_s is None:
            return left_s
        if idle_s > ROUNDING_S:
            return min(left_s, idle_s)
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

    def piece(self, at: int, size: int, begin_s: float, free_s: float) -> tuple[int, float]:
        """The next piece of a request of `size` bytes of which `at` have left: where it ends, and
        when it leaves. The first may at begin_s; the paced link is free at free_s."""
        end, due_s = size, begin_s
        step = self.kind.send_bytes
        if step:
            number = at // step
            end = min(size, (number + 1) * step)
            due_s += number * self.kind.send_interval_s
        if self.up_per_s:
            end = min(end, at + self.up_bytes)
            due_s = max(due_s, free_s) + (end - at) / self.up_per_s
        return end, due_s


def _dial(kind: ClientKind, paced: bool) -> Dial | None:
    """What is to be asked of the kernel; None: nothing."""
    link = (0.0, 0.0, 0.0) if paced else (kind.rtt_s, kind.down_bytes_per_s, kind.up_bytes_per_s)
    if not kind.receive_buffer_bytes and not any(link):
        return None
    return Dial(kind.receive_buffer_bytes, *link)


def _slower(one: float, other: float) -> float:
    """The lower of two rates, of which 0 means none."""
    return min(one, other) if one and other else one or other


# ---- what has come -------------------------------------------------------------------------------


def heard(client: Client, data: Any, first_s: float, at_s: float) -> Outcome | None:
    """`data` has come at at_s (b"": the end), its first byte at first_s, since the start of the
    run. None: the answer is not complete."""
    if not data:
        return ended(client, at_s)
    wire = client.line.wire
    if not wire.received:
        client.first_byte_s = first_s
    try:
        response = wire.feed(data)
    except BadResponse:
        return Outcome.BAD_RESPONSE
    return None if response is None else answered(client, response, at_s)


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
