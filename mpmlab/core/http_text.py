"""The text of the messages that mpmlab itself writes: heads of answers and requests, their lengths.

Only the writing side lives here, so that what the real wires write and the counted ones count has
one source; nothing here parses, and nothing knows a connection's state.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from mpmlab.core.demand import Demand, target_of

#: Statuses that can be answered, with the reason phrases of RFC 9110. Those whose answers have no
#: body by definition (1xx, 204, 304) are left out: every answer here carries Content-Length.
PHRASES: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}

#: The interim answer to "Expect: 100-continue".
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def _starts(connection: str) -> dict[int, bytes]:
    """Per status everything of an answer's head before the digits of Content-Length."""
    return {
        status: (
            f"HTTP/1.1 {status} {phrase}\r\nServer: mpmlab\r\n{connection}Content-Length: "
        ).encode("ascii")
        for status, phrase in PHRASES.items()
    }


_CLOSE: Final = _starts("Connection: close\r\n")
_SILENT: Final = _starts("")  # HTTP/1.1: persistent unless somebody says otherwise
_KEEP_ALIVE: Final = _starts("Connection: keep-alive\r\n")  # HTTP/1.0: the other way round


def _start(status: int, http_version: str, keep_alive: bool) -> bytes:
    table = _CLOSE if not keep_alive else _KEEP_ALIVE if http_version == "1.0" else _SILENT
    start = table.get(status)
    if start is None:
        known = ", ".join(map(str, PHRASES))
        raise ValueError(f"cannot answer with status {status}; accepted: {known}")
    return start


def response_head(status: int, body_bytes: int, http_version: str, keep_alive: bool) -> bytes:
    """The head of an answer to a client of that version, up to and including the blank line.

    Raises ValueError for a status outside PHRASES."""
    return b"%b%d\r\n\r\n" % (_start(status, http_version, keep_alive), body_bytes)


def response_head_bytes(status: int, body_bytes: int, http_version: str, keep_alive: bool) -> int:
    """len(response_head(...)), without writing it."""
    return len(_start(status, http_version, keep_alive)) + len(str(body_bytes)) + 4


@lru_cache(maxsize=64)
def _request_tail(host: str, keep_alive: bool) -> str:
    """Everything of a request's head between target and body length or blank line.

    Raises ValueError for a host that cannot stand in a header field."""
    if not host or not host.isascii() or not host.isprintable() or " " in host:
        raise ValueError(f"host must be a name or address with an optional port, not {host!r}")
    connection = "" if keep_alive else "Connection: close\r\n"
    return f" HTTP/1.1\r\nHost: {host}\r\nUser-Agent: mpmlab\r\n{connection}"


def request_head(
    host: str, demand: Demand, body_bytes: int, keep_alive: bool, ident: int = -1, target: str = ""
) -> bytes:
    """The head of our client's request: GET, or POST with Content-Length if there is a body.
    `ident`: the request's number in the plan, said in X-Request-Id if it is not negative.
    `target`: what is asked for instead of the demand."""
    tail = _request_tail(host, keep_alive)
    target = target or target_of(demand)
    said = f"{_IDENT}{ident}\r\n" if ident >= 0 else ""
    if body_bytes:
        text = f"POST {target}{tail}{said}Content-Length: {body_bytes}\r\n\r\n"
    else:
        text = f"GET {target}{tail}{said}\r\n"
    return text.encode("ascii")


_IDENT: Final = "X-Request-Id: "
_GET_BYTES: Final = len("GET \r\n")
_POST_BYTES: Final = len("POST Content-Length: \r\n\r\n")


def request_head_bytes(
    host: str, demand: Demand, body_bytes: int, keep_alive: bool, ident: int = -1
) -> int:
    """len(request_head(...)), without writing it."""
    size = target_bytes(demand) + len(_request_tail(host, keep_alive))
    if ident >= 0:
        size += len(_IDENT) + len(str(ident)) + 2
    if body_bytes:
        return size + _POST_BYTES + len(str(body_bytes))
    return size + _GET_BYTES


_TARGET_BYTES: Final = len(target_of(Demand())) - 3  # without the digits of its three numbers
_CRASH_BYTES: Final = len(target_of(Demand(crash=True))) - len(target_of(Demand()))
_STATIC_BYTES: Final = len(target_of(Demand(static=True))) - 1


def target_bytes(demand: Demand) -> int:
    """len(target_of(demand)), without writing it."""
    if demand.static:
        return _STATIC_BYTES + len(str(demand.response_bytes))
    size = _TARGET_BYTES + len(f"{demand.cpu_us}{demand.wait_us}{demand.response_bytes}")
    return size + _CRASH_BYTES if demand.crash else size
