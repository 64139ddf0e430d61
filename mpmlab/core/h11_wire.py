"""The server's side of a real HTTP/1.1 connection: h11 parses, this file frames, limits, answers.

No I/O and no clock. What h11 does: the grammar of heads, chunked bodies, which framing headers are
legal. What is done here: finding the end of a head (so that limits are judged before anything is
parsed, and no verdict depends on how the bytes were split), limits, keep-alive, Expect, and writing
the answer (with core/http_text.py).

Each request gets a fresh h11.Connection, and answers do not go through h11. Making one costs
0.7 us, while h11's own answering and resetting takes twice as long as its parsing (31 against 14 us
per request; h11 0.16, Python 3.11). And h11 ends every HTTP/1.0 connection, which would break the
keep-alive of `ab -k`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sized
from typing import Final

import h11

from mpmlab.core.http_text import CONTINUE, response_head
from mpmlab.core.wire import CLOSED, NEED, ClosedType, Limits, NeedType, Reply, Request

#: The end of a head. Bare line feeds are accepted, as h11 and RFC 9112 section 2.2 do.
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
#: A head that begins with a control character or a blank is none (TLS begins with 0x16).
_FIRST_PRINTABLE: Final = 0x21


class _State(enum.Enum):
    HEAD = "reading a head"
    BODY = "reading a body"
    ANSWER = "waiting for respond()"
    OVER = "nothing more to come"


class H11Wire:
    """wire.ServerWire over bytes. Raises RuntimeError when next() and respond() are out of turn."""

    __slots__ = (
        "_blank",
        "_buffer",
        "_eof",
        "_h11",
        "_limits",
        "_line",
        "_line_start",
        "_request",
        "_searched",
        "_state",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()  # input that h11 has not been given
        self._blank = 0  # bytes of empty lines before the head
        self._searched = 0  # no blank line begins before this
        self._line = 0  # number of the line of the head that begins at _line_start
        self._line_start = 0
        self._state = _State.HEAD
        self._eof = False
        self._h11: h11.Connection | None = None  # while a body is read
        self._request: Request | None = None

    def feed(self, data: bytes) -> None:
        """See ServerWire.feed."""
        if not data:
            self._eof = True
        elif self._h11 is not None:
            self._h11.receive_data(data)
        elif self._state is not _State.OVER:
            self._buffer += data

    def next(self) -> Request | Reply | NeedType | ClosedType:
        """See ServerWire.next."""
        if self._state is _State.HEAD:
            return self._next_head() if self._buffer else self._need()
        if self._state is _State.BODY:
            return self._next_body()
        if self._state is _State.OVER:
            return CLOSED
        raise RuntimeError("next() before the last request was answered with respond()")

    def respond(self, status: int, body: Sized, keep_alive: bool) -> bytes:
        """See ServerWire.respond. `body` is bytes-like."""
        request = self._request
        if self._state is not _State.ANSWER or request is None:
            raise RuntimeError("respond() without a request")
        keep_alive = keep_alive and request.keep_alive
        head = response_head(status, len(body), request.http_version, keep_alive)
        self._request = None
        if keep_alive:
            self._state = _State.HEAD
            self._blank = self._searched = self._line = self._line_start = 0
        else:
            self._end()
        if request.method == "HEAD" or not body:
            return head
        return head + body  # type: ignore[operator]  # Sized in the Protocol, bytes here

    def timed_out(self) -> bytes:
        """See ServerWire.timed_out."""
        self._end()
        return response_head(408, 0, "1.1", False)

    @property
    def reading(self) -> bool:
        """See ServerWire.reading."""
        return self._state is _State.BODY or (self._state is _State.HEAD and bool(self._buffer))

    @property
    def pipelined(self) -> bool:
        """See ServerWire.pipelined."""
        return self.reading

    @property
    def persistent(self) -> bool:
        """See ServerWire.persistent."""
        return self._state is not _State.OVER and (not self._eof or self.reading)

    # ---- reading -------------------------------------------------------------------------------

    def _next_head(self) -> Request | Reply | NeedType | ClosedType:
        """Something of a head is here: frame it, judge its size, have it parsed."""
        if self._buffer[0] in b"\r\n":
            # RFC 9112 section 2.2 and httpd skip empty lines; bounded as httpd does, by the fields.
            size = len(self._buffer)
            self._buffer = self._buffer.lstrip(b"\r\n")
            self._blank += size - len(self._buffer)
            if self._blank > 2 * self._limits.fields:
                return self._refuse(400)
            if not self._buffer:
                return self._need()
        buffer, limits = self._buffer, self._limits
        if buffer[0] < _FIRST_PRINTABLE:
            return self._refuse(400)
        blank = _BLANK_LINE.search(buffer, self._searched)
        end = len(buffer) if blank is None else blank.end()
        # A head no longer than one line may be has no line that is too long.
        if end > limits.line or end > limits.field_size:
            status = self._too_long(end)
            if status:
                return self._refuse(status)
        if blank is None:
            self._searched = max(0, end - 2)
            return self._need()
        if buffer.count(b"\n", 0, end) - 2 > limits.fields:  # request line and blank line
            return self._refuse(431)
        if end == len(buffer):
            self._buffer = bytearray()
            return self._parse(bytes(buffer))
        head = bytes(buffer[:end])
        del buffer[:end]
        return self._parse(head)

    def _too_long(self, end: int) -> int:
        """414 or 431 for the first line, or field too many, of buffer[:end] that breaks a limit,
        else 0. Takes up where it left off, so a head that trickles in is read once."""
        buffer, limits = self._buffer, self._limits
        while self._line_start < end:
            stop = buffer.find(b"\n", self._line_start, end)
            size = (stop if stop >= 0 else end) - self._line_start
            if size and buffer[self._line_start + size - 1] == 0x0D:
                size -= 1
            if size > (limits.field_size if self._line else limits.line):
                return 431 if self._line else 414
            if size and self._line > limits.fields:
                return 431
            if stop < 0:
                break
            self._line += 1
            self._line_start = stop + 1
        return 0

    def _parse(self, head: bytes) -> Request | Reply | NeedType | ClosedType:
        """Have a whole head parsed and begin with what follows it."""
        limits = self._limits
        # Heads come here whole; what h11 must bound itself is chunk headers and trailers.
        connection = h11.Connection(h11.SERVER, limits.line + limits.fields * limits.field_size)
        connection.receive_data(head)
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return self._refuse(501 if error.error_status_hint == 501 else 400)
        assert isinstance(event, h11.Request), event
        version = event.http_version.decode("ascii")
        length = 0
        chunked = False
        options = expect = b""
        for name, value in event.headers:
            if name == b"connection":
                options += b"," + value.lower()
            elif name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"expect":
                expect = value.lower()
        if version[0] != "1":
            return self._refuse(505)
        if version == "1.0":
            expect = b""  # RFC 9110 section 10.1.1: to be ignored
        if expect and expect != b"100-continue":
            return self._refuse(417)
        if length > limits.body and not chunked:
            return self._refuse(413)
        keep_alive = _keep_alive(version, options) and not (chunked and length)
        request = Request(
            event.method.decode("ascii"), event.target.decode("ascii"), keep_alive, version
        )
        self._request = request
        if not chunked and not length:
            self._state = _State.ANSWER
            return request
        return self._begin_body(connection, bool(expect))

    def _begin_body(
        self, connection: h11.Connection, expect: bool
    ) -> Request | Reply | NeedType | ClosedType:
        """A body is to come, or is here already. The interim answer is given in either case, as
        httpd does, so that it does not depend on how the bytes were split."""
        if self._buffer:
            connection.receive_data(bytes(self._buffer))
            self._buffer = bytearray()
        self._h11 = connection
        self._state = _State.BODY
        if expect:
            assert self._request is not None
            self._request.expect_continue = True
            return Reply(CONTINUE, False, 100)
        return self._next_body()

    def _next_body(self) -> Request | Reply | NeedType | ClosedType:
        """Count and discard what has come of the body."""
        connection, request = self._h11, self._request
        assert connection is not None
        assert request is not None
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                return self._refuse(501 if error.error_status_hint == 501 else 400)
            if event is h11.NEED_DATA:
                return self._need()
            if isinstance(event, h11.Data):
                request.body_bytes += len(event.data)
                if request.body_bytes > self._limits.body:
                    return self._refuse(413)
                continue
            assert isinstance(event, h11.EndOfMessage), event
            self._buffer = bytearray(connection.trailing_data[0])
            self._h11 = None
            self._state = _State.ANSWER
            return request

    def _need(self) -> NeedType | ClosedType:
        if not self._eof:
            return NEED
        self._end()
        return CLOSED

    def _refuse(self, status: int) -> Reply:
        self._end()
        return Reply(response_head(status, 0, "1.1", False), True, status)

    def _end(self) -> None:
        self._state = _State.OVER
        self._buffer = bytearray()
        self._h11 = None
        self._request = None


def _keep_alive(version: str, options: bytes) -> bool:
    """RFC 9112 section 9.3, from the lower-cased values of Connection."""
    if not options:
        return version != "1.0"
    tokens = {token.strip() for token in options.split(b",")}
    return b"close" not in tokens and (version != "1.0" or b"keep-alive" in tokens)
