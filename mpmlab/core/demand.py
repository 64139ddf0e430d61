"""What one request asks of the application, and how it is written in a URL.

Pure values only. `/work?cpu_us=..&wait_us=..&bytes=..` and `/static/BYTES` are read here for the
real server and written here for the real client; in simulation the same Demand travels with the
counted bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

#: Largest answer the handler gives, so that a typing error cannot fill the machine's memory.
MAX_RESPONSE_BYTES = 1 << 30
#: Longest CPU burn or wait of one request: one hour.
MAX_US = 3_600_000_000

_STATIC = "/static/"
_LIMITS = {"cpu_us": MAX_US, "wait_us": MAX_US, "bytes": MAX_RESPONSE_BYTES, "crash": 1}


@dataclass(frozen=True, slots=True)
class Demand:
    """CPU to burn, time to wait (both in microseconds), bytes to answer, and whether to crash.
    `static`: the bytes are a file's, which httpd reads from a disk; nothing but bytes then."""

    cpu_us: int = 0
    wait_us: int = 0
    response_bytes: int = 0
    crash: bool = False
    static: bool = False


def target_of(demand: Demand) -> str:
    """The request target that asks for this demand."""
    if demand.static:
        return f"{_STATIC}{demand.response_bytes}"
    crash = "&crash=1" if demand.crash else ""
    return (
        f"/work?cpu_us={demand.cpu_us}&wait_us={demand.wait_us}"
        f"&bytes={demand.response_bytes}{crash}"
    )


def demand_of(target: str) -> tuple[int, Demand | str]:
    """(200, Demand) for a target that the handler serves; (404 or 400, reason) otherwise."""
    parts = urlsplit(target)
    if parts.path.startswith(_STATIC):
        return _static_of(parts.path)
    if parts.path not in ("/work", "/"):
        return 404, f"no such resource: {parts.path}"
    values = {}
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        if key not in _LIMITS:
            return 400, f"unknown parameter {key!r}; accepted: {', '.join(_LIMITS)}"
        if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > _LIMITS[key]:
            return 400, f"{key} must be a whole number from 0 to {_LIMITS[key]}"
        values[key] = int(text)
    return 200, Demand(
        values.get("cpu_us", 0),
        values.get("wait_us", 0),
        values.get("bytes", 0),
        bool(values.get("crash", 0)),
    )


def _static_of(path: str) -> tuple[int, Demand | str]:
    """Only a number as it is written: a file of that name is all that httpd has."""
    text = path.removeprefix(_STATIC)
    # More than 12 digits are more than MAX_RESPONSE_BYTES, and some are too many for int().
    if text.isascii() and text.isdigit() and len(text) <= 12:
        size = int(text)
        if size <= MAX_RESPONSE_BYTES and str(size) == text:
            return 200, Demand(response_bytes=size, static=True)
    return 404, f"no such resource: {path}"
