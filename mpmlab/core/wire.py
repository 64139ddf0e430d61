"""The two sides of an HTTP/1.1 connection as values: what a wire takes in and what it gives out.

Only types, sentinels and Protocols live here; no parsing (h11_wire.py, client_wire.py), no counting
(count_wire.py), no text of messages (http_text.py). A wire does no I/O and has no clock: whoever
owns the connection receives, feeds, asks, and sends. One wire serves one connection, one side.

Data is `bytes` in the real world and counted bytes in simulation (see kernel/interface.py: Data).
"""

from __future__ import annotations

import enum
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mpmlab.core.demand import Demand


class NeedType(enum.Enum):
    """Type of NEED."""

    NEED = "need"


class ClosedType(enum.Enum):
    """Type of CLOSED."""

    CLOSED = "closed"


#: More input is needed: receive and feed.
NEED: Final = NeedType.NEED
#: Nothing more will come of this connection, and nothing can be answered: close it.
CLOSED: Final = ClosedType.CLOSED


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest request that is read, in bytes without the line end (httpd: include/httpd.h
    DEFAULT_LIMIT_REQUEST_*; directives LimitRequestLine, LimitRequestFieldSize,
    LimitRequestFields, LimitRequestBody)."""

    line: int = 8190
    field_size: int = 8190
    fields: int = 100
    body: int = 1 << 30


@dataclass(slots=True)
class Request:
    """A request of which head and body have come.

    `keep_alive`: the client allows another request on this connection (HTTP/1.1 without
    "Connection: close", or HTTP/1.0 with "Connection: keep-alive"). `body_bytes`: length of the
    body that was read and discarded. On a counted wire `demand` is what the request asks for and
    `target` is empty; on a real one `demand` is None and is to be read from `target`.
    `expect_continue`: the client waits for "100 Continue" before it sends the body (the wire has
    dealt with it)."""

    method: str
    target: str
    keep_alive: bool
    http_version: str = "1.1"
    body_bytes: int = 0
    demand: Demand | None = None
    expect_continue: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes that the wire itself wants sent now. With close=False an interim "100 Continue": send,
    then ask next() again. With close=True an error answer (`status` 400, 413, 414, 417, 431, 501
    or 505): send, then close lingeringly; next() gives CLOSED from now on."""

    data: Any
    close: bool
    status: int


class ServerWire(Protocol):
    """The server's side: bytes in, requests out; answers in, bytes out."""

    def feed(self, data: Any) -> None:
        """Take in what recv gave; a falsy one (b"") is the end of the stream. Never None. After
        CLOSED or a closing answer the input is thrown away."""

    def next(self) -> Request | Reply | NeedType | ClosedType:
        """The next thing to do. A Request must be answered with respond() before the next call.
        CLOSED: the peer closed (between requests or in the middle of one), or the wire itself
        has given a closing answer."""

    def respond(self, status: int, body: Sized, keep_alive: bool) -> Any:
        """The whole answer to the last Request as one Data. It keeps the connection only if both
        `keep_alive` and the request allow it; see `persistent`. A HEAD request gets the head
        only. Raises ValueError for a status that core/http_text.py does not know."""

    def timed_out(self) -> Any:
        """A 408 answer to a request of which only part came. Send it, then close lingeringly."""

    @property
    def reading(self) -> bool:
        """Part of a request has come: half a head, or a head and not all of the body."""

    @property
    def pipelined(self) -> bool:
        """After respond(): input of a further request is already here, all or part of it, so ask
        next() before recv. False once the connection is to be closed."""

    @property
    def persistent(self) -> bool:
        """After respond(): another request may come; neither the answer nor the peer has ended
        the connection."""


@dataclass(slots=True)
class Response:
    """A complete answer as the client saw it. `body_bytes` is the length of the body (after
    de-chunking), `keep_alive` whether the server allows another request on this connection."""

    status: int
    body_bytes: int
    keep_alive: bool
    http_version: str = "1.1"


class BadResponse(ValueError):  # noqa: N818  # says what it is, as h11's names do
    """What came is not one HTTP/1.x response to the one request that was sent."""


class ClientWire(Protocol):
    """The client's side: one request at a time, no pipelining."""

    #: Any byte of an answer to the current request has come.
    received: bool

    def compose(self, demand: Demand, body_bytes: int, keep_alive: bool, ident: int = -1) -> Any:
        """A whole request as one Data: GET, or POST with that many bytes of body if there are any.
        keep_alive=False announces "Connection: close"; `ident` is the request's number in the
        plan, for the server's log, or -1 to say none. Changes nothing: it may be written long
        before it is sent, and sent more than once."""

    def ask(self) -> None:
        """A request is about to leave on this connection. Raises RuntimeError if the last one has
        not been answered."""

    def request(self, demand: Demand, body_bytes: int, keep_alive: bool) -> Any:
        """`ask`, and what `compose` gives."""

    def feed(self, data: Any) -> Response | None:
        """Take in what recv gave (not the end of the stream: that is `eof`). None: incomplete.
        Raises BadResponse: malformed, more than one answer, or nothing was asked."""

    def eof(self) -> Response | None:
        """The stream ended. A Response if the end of the stream is what ends its body; None if
        the answer is incomplete or has not begun."""
