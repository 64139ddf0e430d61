"""The client's side of a real HTTP/1.1 connection: request bytes out, responses counted in.

No I/O and no clock. A load generator must cost less than the server it drives, so this parser reads
of a head only what frames the message, keeps no body, and remembers the heads it has seen. It takes
the answers of any HTTP/1.x server: Content-Length, chunked, and bodies that end with the stream.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import Final, NamedTuple

from mpmlab.core.demand import Demand
from mpmlab.core.http_text import request_head
from mpmlab.core.wire import BadResponse, Response

#: Longest head that is taken: eight times what httpd takes for one field.
MAX_HEAD_BYTES: Final = 65_536
#: Longest chunk header or trailer field.
MAX_LINE_BYTES: Final = 8190
#: How many different heads are remembered (a Date header makes a new one every second and size).
_HEADS: Final = 256

#: Answers up to this size are remembered as a whole.
MAX_KNOWN_BYTES: Final = 4096

_PREFIX: Final = b"HTTP/1."
_HEAD: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [^\r\n\0]*)?"
    rb"(?:\r\n[-!#$%&'*+.^_`|~0-9A-Za-z]+:[^\r\n\0]*)*"
)
_FRAMING: Final = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection):[ \t]*([^\r\n]*)", re.IGNORECASE
)
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0]*)?\r")


class _State(enum.Enum):
    IDLE = "nothing was asked"
    HEAD = "reading a head"
    COUNTED = "a body of known length"
    CHUNK_SIZE = "a chunk's header"
    CHUNK = "a chunk"
    CHUNK_END = "the line end after a chunk"
    TRAILER = "trailer fields"
    UNTIL_EOF = "a body that ends with the stream"


#: A class attribute costs a look-up in a dictionary more than these.
_IDLE: Final = _State.IDLE
_HEAD_STATE: Final = _State.HEAD

_CHUNKED: Final = -1
_UNTIL_EOF: Final = -2


class _Head(NamedTuple):
    status: int
    length: int  # of the body, or _CHUNKED, or _UNTIL_EOF
    keep_alive: bool  # means nothing with _UNTIL_EOF
    version: str
    #: What a body of `length` makes of it; the same object for each answer with this head.
    response: Response


class BytesClient:
    """wire.ClientWire over bytes. `host` is what the Host header says; `target`, if there is one,
    is asked for whatever the demand. Raises RuntimeError when a request is made before the last one
    was answered."""

    __slots__ = (
        "_body_bytes",
        "_buffer",
        "_head",
        "_host",
        "_missing",
        "_state",
        "_target",
        "received",
    )

    def __init__(self, host: str, target: str = "") -> None:
        self._host = host
        self._target = target
        self._state = _State.IDLE
        self._buffer = b""  # half a head or half a line
        self._head: _Head | None = None  # of the response whose body is being read
        self._missing = 0  # bytes to come of the body or of the chunk
        self._body_bytes = 0  # of this response, so far
        self.received = False

    def compose(self, demand: Demand, body_bytes: int, keep_alive: bool, ident: int = -1) -> bytes:
        """See ClientWire.compose. The body is zeros."""
        head = request_head(self._host, demand, body_bytes, keep_alive, ident, self._target)
        return head + bytes(body_bytes) if body_bytes else head

    def ask(self) -> None:
        """See ClientWire.ask."""
        if self._state is not _IDLE:
            raise RuntimeError("a request before the last one was answered")
        self._state = _HEAD_STATE
        self.received = False

    def request(self, demand: Demand, body_bytes: int, keep_alive: bool) -> bytes:
        """See ClientWire.request."""
        self.ask()
        return self.compose(demand, body_bytes, keep_alive)

    def feed(self, data: bytes) -> Response | None:
        """See ClientWire.feed."""
        if not data:
            raise ValueError("the end of the stream goes to eof()")
        self.received = True
        if self._state is _HEAD_STATE:
            if not self._buffer:  # the usual case: the whole answer at once
                response = _known.get(data)
                if response is not None:
                    self._state = _IDLE
                    return response
            return self._feed_head(data)
        if self._state is _State.COUNTED:
            return self._feed_counted(len(data))
        if self._state is _State.UNTIL_EOF:
            self._body_bytes += len(data)
            return None
        if self._state is _State.IDLE:
            raise BadResponse(f"bytes that nobody asked for: {data[:40]!r}")
        return self._feed_chunks(data)

    def eof(self) -> Response | None:
        """See ClientWire.eof."""
        ended, self._state, self._buffer = self._state, _State.IDLE, b""
        if ended is not _State.UNTIL_EOF or self._head is None:
            return None
        return Response(self._head.status, self._body_bytes, False, self._head.version)

    # ---- reading -------------------------------------------------------------------------------

    def _feed_head(self, data: bytes) -> Response | None:
        """A head, or more of one; interim answers (1xx) are skipped."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if not data.startswith(_PREFIX[: len(data)]) or len(data) >= MAX_HEAD_BYTES:
                    raise BadResponse(f"not a response head: {data[:40]!r}")
                self._buffer = data
                return None
            head = _parse(data[:end])
            end += 4
            if head.status >= 200:
                break
            data = data[end:]
            if not data:
                return None
        if head.length >= 0:
            if head.length == len(data) - end:
                self._state = _IDLE
                _remember(data, head.response)
                return head.response
            self._head = head
            self._body_bytes = self._missing = head.length
            return self._feed_counted(len(data) - end)
        self._head = head
        self._body_bytes = 0
        if head.length == _CHUNKED:
            self._state = _State.CHUNK_SIZE
            return self._feed_chunks(data[end:])
        self._state = _State.UNTIL_EOF
        self._body_bytes = len(data) - end
        return None

    def _feed_counted(self, count: int) -> Response | None:
        self._missing -= count
        if self._missing > 0:
            self._state = _State.COUNTED
            return None
        return self._done(-self._missing)

    def _feed_chunks(self, data: bytes) -> Response | None:
        """Add up the chunks' lengths without copying them."""
        at, size = 0, len(data)
        while at < size:
            if self._state is _State.CHUNK:
                count = min(self._missing, size - at)
                self._missing -= count
                self._body_bytes += count
                at += count
                if not self._missing:
                    self._state = _State.CHUNK_END
                continue
            stop = data.find(b"\n", at)
            line = self._buffer + data[at : stop if stop >= 0 else size]
            if len(line) > MAX_LINE_BYTES + 1:
                raise BadResponse(f"chunk header or trailer too long: {line[:40]!r}")
            if stop < 0:
                self._buffer = line
                return None
            self._buffer = b""
            at = stop + 1
            if self._line(line):
                return self._done(size - at)
        return None

    def _line(self, line: bytes) -> bool:
        """One line (still with its CR) of the chunked framing. True: it was the last."""
        if self._state is _State.CHUNK_SIZE:
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise BadResponse(f"illegal chunk header: {line[:40]!r}")
            self._missing = int(match[1], 16)
            self._state = _State.CHUNK if self._missing else _State.TRAILER
            return False
        if self._state is _State.CHUNK_END:
            if line != b"\r":
                raise BadResponse(f"chunk does not end where it said: {line[:40]!r}")
            self._state = _State.CHUNK_SIZE
            return False
        if not line.endswith(b"\r") or (line != b"\r" and b":" not in line):
            raise BadResponse(f"illegal trailer: {line[:40]!r}")
        return line == b"\r"

    def _done(self, leftover: int) -> Response:
        head = self._head
        assert head is not None
        self._state = _State.IDLE
        if leftover:
            raise BadResponse(f"{leftover} bytes after the end of the response")
        return Response(head.status, self._body_bytes, head.keep_alive, head.version)


#: Small answers that came whole, byte for byte, and what they are: to look one up costs a third of
#: parsing it.
_known: dict[bytes, Response] = {}


def _remember(data: bytes, response: Response) -> None:
    """For the next one like it, unless it is large; what is known is forgotten when it is much."""
    if len(data) <= MAX_KNOWN_BYTES:
        if len(_known) >= _HEADS:
            _known.clear()
        _known[data] = response


@lru_cache(maxsize=_HEADS)
def _parse(head: bytes) -> _Head:
    """Framing of a head (without its blank line), RFC 9112 section 6.3."""
    match = _HEAD.fullmatch(head)
    if match is None or len(head) + 4 > MAX_HEAD_BYTES:
        raise BadResponse(f"not a response head: {head[:80]!r}")
    version = "1.0" if match[1] == b"0" else "1.1"
    status = int(match[2])
    if status == 101:
        raise BadResponse("switches protocols, which nobody asked for")
    length = _UNTIL_EOF
    options = codings = b""
    for name, value in _FRAMING.findall(head):
        kind = len(name)  # the three names differ in length
        if kind == 10:
            options += b"," + value.lower()
        elif kind == 17:
            codings += b"," + value.lower()
        else:
            value = value.rstrip(b" \t")
            if not value.isdigit() or len(value) > 18 or length not in (_UNTIL_EOF, int(value)):
                raise BadResponse(f"bad Content-Length: {value[:40]!r}")
            length = int(value)
    if codings:
        if codings.strip(b", \t") != b"chunked":
            raise BadResponse(f"Transfer-Encoding other than chunked: {codings[1:41]!r}")
        length = _CHUNKED
    if status < 200 or status in (204, 304):
        length = 0
    tokens = {token.strip() for token in options.split(b",")}
    keep_alive = b"close" not in tokens and (version == "1.1" or b"keep-alive" in tokens)
    return _Head(status, length, keep_alive, version, Response(status, length, keep_alive, version))
