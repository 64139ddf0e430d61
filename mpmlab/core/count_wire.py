"""Counted bytes: messages that have a length and a meaning but no text, and both wires over them.

What the simulation sends instead of bytes. No text is written or parsed here. Lengths come from
core/http_text.py, and at every byte offset a counted conversation has the outcome of the real one:
tests/core/test_count_wire.py holds h11_wire and client_wire against this file. A message usually
travels whole, as one Blob; only what a full buffer or a small recv cuts up becomes a Span.
"""

from __future__ import annotations

import enum
from collections.abc import Sized
from typing import Any

from mpmlab.core.demand import Demand
from mpmlab.core.http_text import CONTINUE, request_head_bytes, response_head_bytes
from mpmlab.core.wire import (
    CLOSED,
    NEED,
    BadResponse,
    ClosedType,
    Limits,
    NeedType,
    Reply,
    Request,
    Response,
)


class Blob:
    """One message as counted bytes: a head, a body, and in `meta` what the message says (a Request,
    a Response, or anything else, which a server takes for garbage and a client for no response).

    It is Data (kernel/interface.py): it has a length, is sliced and joined; an empty slice is b"".
    Its identity matters: slices of one Blob fit together only with each other."""

    __slots__ = ("body_bytes", "head_bytes", "meta", "size")

    def __init__(self, head_bytes: int, body_bytes: int, meta: Any = None) -> None:
        self.head_bytes = head_bytes
        self.body_bytes = body_bytes
        self.meta = meta
        self.size = head_bytes + body_bytes

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: slice) -> Blob | Span | bytes:
        start, stop, step = key.indices(self.size)
        if step != 1:
            raise ValueError("counted bytes are sliced without a step")
        if start >= stop:
            return b""
        if stop - start == self.size:
            return self
        return Span([(self, start, stop)])

    def __add__(self, other: Blob | Span | bytes) -> Blob | Span | bytes:
        return _join(self, other)

    def __radd__(self, other: bytes) -> Blob | Span | bytes:
        return _join(other, self)

    def __repr__(self) -> str:
        return f"Blob({self.head_bytes}, {self.body_bytes}, {self.meta!r})"


#: Bytes start..stop of a message.
Piece = tuple[Blob, int, int]


class Span:
    """Counted bytes that are not one whole message: the pieces of messages, in order. Never empty.
    Data, as Blob is."""

    __slots__ = ("pieces", "size")

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces
        self.size = sum([stop - start for _, start, stop in pieces])

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: slice) -> Blob | Span | bytes:
        first, last, step = key.indices(self.size)
        if step != 1:
            raise ValueError("counted bytes are sliced without a step")
        pieces: list[Piece] = []
        at = 0  # offset of the piece in this span
        for blob, start, stop in self.pieces:
            low = max(start, start + first - at)
            high = min(stop, start + last - at)
            if low < high:
                pieces.append((blob, low, high))
            at += stop - start
        return _of(pieces)

    def __add__(self, other: Blob | Span | bytes) -> Blob | Span | bytes:
        return _join(self, other)

    def __radd__(self, other: bytes) -> Blob | Span | bytes:
        return _join(other, self)

    def __repr__(self) -> str:
        return f"Span({self.pieces!r})"


def counted(body_bytes: int) -> Blob:
    """The body that the simulated application answers with: nothing but a length."""
    return Blob(0, body_bytes)


def _pieces(data: Blob | Span | bytes) -> list[Piece]:
    if isinstance(data, Blob):
        return [(data, 0, data.size)] if data.size else []
    if isinstance(data, Span):
        return data.pieces
    if data == b"":
        return []
    raise TypeError(f"counted bytes do not mix with {data!r:.40}")


def _of(pieces: list[Piece]) -> Blob | Span | bytes:
    """The simplest Data of these pieces: b"", a whole Blob, or a Span."""
    if not pieces:
        return b""
    blob, start, stop = pieces[0]
    if len(pieces) == 1 and stop - start == blob.size:
        return blob
    return Span(pieces)


def _join(left: Blob | Span | bytes, right: Blob | Span | bytes) -> Blob | Span | bytes:
    pieces = list(_pieces(left))
    for piece in _pieces(right):
        blob, start, stop = piece
        if pieces and start and pieces[-1][0] is blob and pieces[-1][2] == start:
            pieces[-1] = (blob, pieces[-1][1], stop)
        else:
            pieces.append(piece)
    return _of(pieces)


class _Inbox:
    """Puts messages together again: `_blob` is the one being read, `_have` how much of it is here,
    `_rest` what came after it."""

    __slots__ = ("_blob", "_have", "_rest")

    def __init__(self) -> None:
        self._blob: Blob | None = None
        self._have = 0
        self._rest: list[Piece] = []

    def _take(self, data: Blob | Span) -> None:
        """Raises ValueError if bytes were lost or reordered on the way: the carrier's bug."""
        if type(data) is Blob and self._blob is None:  # a whole message, the usual case
            self._blob = data
            self._have = data.size
            return
        for piece in _pieces(data):
            self._fit(piece)

    def _fit(self, piece: Piece) -> None:
        blob, start, stop = piece
        expected = 0
        if self._blob is not None:
            if self._have == self._blob.size:
                self._rest.append(piece)
                return
            expected = self._have
        if start != expected or (self._blob is not None and self._blob is not blob):
            raise ValueError(
                f"byte {start} of {blob!r} came where byte {expected} of {self._blob!r} was due"
            )
        self._blob = blob
        self._have = stop

    def _drop(self) -> None:
        """Done with this message: on to what came after it."""
        self._blob = None
        self._have = 0
        if self._rest:
            rest, self._rest = self._rest, []
            for piece in rest:
                self._fit(piece)


class _State(enum.Enum):
    READ = "reading a request"
    ANSWER = "waiting for respond()"
    OVER = "nothing more to come"


class CountWire(_Inbox):
    """wire.ServerWire over counted bytes. Of the limits only `body` can be broken: our own heads
    are short. Raises RuntimeError when next() and respond() are out of turn."""

    __slots__ = ("_continued", "_eof", "_limits", "_request", "_state")

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._state = _State.READ
        self._eof = False
        self._continued = False  # "100 Continue" has been given for this request
        self._request: Request | None = None

    def feed(self, data: Blob | Span | bytes) -> None:
        """See ServerWire.feed."""
        if not data:
            self._eof = True
        elif isinstance(data, bytes):
            raise TypeError(f"a counted wire takes counted bytes, not {data[:40]!r}")
        elif self._state is not _State.OVER:
            self._take(data)

    def next(self) -> Request | Reply | NeedType | ClosedType:
        """See ServerWire.next. The Request is the one that the client put into its Blob."""
        if self._state is _State.OVER:
            return CLOSED
        if self._state is _State.ANSWER:
            raise RuntimeError("next() before the last request was answered with respond()")
        blob = self._blob
        if blob is None or self._have < blob.head_bytes:
            return self._need()
        request = blob.meta
        if type(request) is not Request:
            return self._refuse(400)
        if blob.body_bytes:
            if blob.body_bytes > self._limits.body:
                return self._refuse(413)
            if request.expect_continue and not self._continued:
                self._continued = True
                return Reply(Blob(len(CONTINUE), 0, Response(100, 0, True)), False, 100)
            if self._have < blob.size:
                return self._need()
        self._state = _State.ANSWER
        self._request = request
        return request

    def respond(self, status: int, body: Sized, keep_alive: bool) -> Blob:
        """See ServerWire.respond. `body` is anything with a length."""
        request = self._request
        if self._state is not _State.ANSWER or request is None:
            raise RuntimeError("respond() without a request")
        keep_alive = keep_alive and request.keep_alive
        size = len(body)
        head = response_head_bytes(status, size, request.http_version, keep_alive)
        if keep_alive:
            self._state = _State.READ
            self._request = None
            self._continued = False
            self._drop()
        else:
            self._end()
        if request.method == "HEAD":
            size = 0
        return Blob(head, size, Response(status, size, keep_alive))

    def timed_out(self) -> Blob:
        """See ServerWire.timed_out."""
        self._end()
        return Blob(response_head_bytes(408, 0, "1.1", False), 0, Response(408, 0, False))

    @property
    def reading(self) -> bool:
        """See ServerWire.reading."""
        return self._state is _State.READ and self._blob is not None

    @property
    def pipelined(self) -> bool:
        """See ServerWire.pipelined."""
        return self.reading

    @property
    def persistent(self) -> bool:
        """See ServerWire.persistent."""
        return self._state is not _State.OVER and (not self._eof or self.reading)

    def _need(self) -> NeedType | ClosedType:
        if not self._eof:
            return NEED
        self._end()
        return CLOSED

    def _refuse(self, status: int) -> Reply:
        self._end()
        head = response_head_bytes(status, 0, "1.1", False)
        return Reply(Blob(head, 0, Response(status, 0, False)), True, status)

    def _end(self) -> None:
        self._state = _State.OVER
        self._request = None
        self._rest.clear()
        self._drop()


class CountClient(_Inbox):
    """wire.ClientWire over counted bytes. `host` counts with its length. Raises RuntimeError when a
    request is made before the last one was answered."""

    __slots__ = ("_asked", "_host", "received")

    def __init__(self, host: str) -> None:
        super().__init__()
        self._host = host
        self._asked = False
        self.received = False

    def ask(self) -> None:
        """See ClientWire.ask."""
        if self._asked:
            raise RuntimeError("a request before the last one was answered")
        self._asked = True
        self.received = False

    def request(self, demand: Demand, body_bytes: int, keep_alive: bool) -> Blob:
        """See ClientWire.request."""
        self.ask()
        return self.compose(demand, body_bytes, keep_alive)

    def compose(self, demand: Demand, body_bytes: int, keep_alive: bool, ident: int = -1) -> Blob:
        """See ClientWire.compose."""
        head = request_head_bytes(self._host, demand, body_bytes, keep_alive, ident)
        method = "POST" if body_bytes else "GET"
        return Blob(head, body_bytes, Request(method, "", keep_alive, "1.1", body_bytes, demand))

    def feed(self, data: Blob | Span) -> Response | None:
        """See ClientWire.feed."""
        if not data:
            raise ValueError("the end of the stream goes to eof()")
        self.received = True
        if not self._asked:
            raise BadResponse(f"bytes that nobody asked for: {data!r:.80}")
        if type(data) is Blob and self._blob is None:  # a whole message, the usual case
            answer = data.meta
            if type(answer) is Response and answer.status >= 200:
                self._asked = False
                return answer
        self._take(data)
        while (blob := self._blob) is not None and self._have >= blob.head_bytes:
            response = blob.meta
            if type(response) is not Response:
                raise BadResponse(f"not a response: {blob!r:.80}")
            if self._have < blob.size:
                return None
            self._drop()
            if response.status >= 200:
                self._asked = False
                if self._blob is not None:
                    raise BadResponse(f"bytes after the end of the response: {self._blob!r:.80}")
                return response
        return None

    def eof(self) -> Response | None:
        """See ClientWire.eof. Our servers' answers always say their length."""
        self._asked = False
        self._rest.clear()
        self._drop()
        return None
