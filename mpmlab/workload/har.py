"""HAR files (HTTP Archive 1.2, what browsers and proxies export) become columns of numbers.

Reading and checking only; grouping into sessions and speed are har_replay.py. Only entries that
asked a server over HTTP count; the others (data: URLs, answers from a cache) are told.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import numpy as np
import numpy.typing as npt

from mpmlab.core.demand import MAX_RESPONSE_BYTES, MAX_US
from mpmlab.workload.errors import HarError

#: Largest file read (unpacked): the reader holds all of it, and Python's objects some times that.
MAX_HAR_BYTES: Final = 1 << 29
#: Longest request: eleven days.
MAX_SPAN_MS: Final = 1e9

#: What `time` is the sum of ("ssl" is a part of "connect").
_PARTS: Final = ("blocked", "dns", "connect", "send", "wait", "receive")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
#: A value is shown in a complaint up to this length: a HAR file may hold whole documents.
_SHOWN: Final = 60

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class HarRequests:
    """The requests of a HAR file, one element per entry that counts, in the order of the file.

    `connection` is an index: requests with the same one may have shared a connection."""

    #: When each began (startedDateTime), in microseconds since 1970 UTC.
    start_us: Int64s
    #: How long each waited for a connection before anything else (timings.blocked).
    blocked_us: Int64s
    #: How long each took in all (time, or the sum of its parts).
    total_us: Int64s
    #: From the last byte sent to the first received (timings.wait): the server, and the way there
    #: and back.
    wait_us: Int64s
    request_bytes: Int64s
    response_bytes: Int64s
    connection: npt.NDArray[np.int64]
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    #: Why entries were skipped, and how many.
    skipped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.start_us)

    def describe_skipped(self) -> str:
        """The account of the entries that were skipped, for people; "" if there are none."""
        account = ", ".join(f"{count} {why}" for why, count in self.skipped.items())
        return f"entries skipped: {account}" if account else ""


def read_har(path: Path) -> HarRequests:
    """Read a file, plain or gzip (told by its first two bytes). Raises HarError, naming the file,
    the entry (from 1) and the key."""
    try:
        data = _content(path)
        if len(data) > MAX_HAR_BYTES:
            raise HarError(f"larger than {MAX_HAR_BYTES >> 20} MiB; accepted: less")
        return parse_har(json.loads(data.decode("utf-8-sig")))
    except HarError as error:
        raise HarError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise HarError(f"{path}: not UTF-8 text: {error.reason}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise HarError(f"{path}: not JSON: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise HarError(f"{path}: cannot read the HAR file: {reason}") from error


def _content(path: Path) -> bytes:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as stream:
        return stream.read(MAX_HAR_BYTES + 1)


def parse_har(content: Any) -> HarRequests:
    """The requests of a HAR file's content. Raises HarError."""
    log = content.get("log") if isinstance(content, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise HarError("log.entries: missing or no list; accepted: a HAR file, version 1.2 or 1.1")
    rows: list[tuple[int, ...]] = []
    hosts, paths = [], []
    connections: dict[tuple[str, ...], int] = {}
    skipped: Counter[str] = Counter()
    for number, entry in enumerate(entries, 1):
        one = _Entry(number, entry)
        url = one.url()
        if url.scheme not in ("http", "https"):
            skipped[f"not HTTP but {url.scheme or 'nothing'}"] += 1
            continue
        if one.text("_fromCache"):
            skipped["answered from the browser's cache"] += 1
            continue
        key = _connection(one, url)
        rows.append((*one.times(), *one.sizes(), connections.setdefault(key, len(connections))))
        hosts.append(url.hostname or "")
        paths.append(url.path or "/")
    if not rows:
        raise HarError(
            f"log.entries: none of {len(entries)} is an HTTP request; accepted: at least one"
        )
    start, blocked, total, wait, sent, received, connection = np.array(rows, dtype=np.int64).T
    return HarRequests(
        start_us=start,
        blocked_us=blocked,
        total_us=total,
        wait_us=wait,
        request_bytes=sent,
        response_bytes=received,
        connection=connection,
        hosts=tuple(hosts),
        paths=tuple(paths),
        skipped=dict(skipped),
    )


def _connection(entry: _Entry, url: SplitResult) -> tuple[str, ...]:
    """Which connection: by its number where the recorder knew it. That may be a port, so only
    together with the server. Else those of one page to one server may have shared connections."""
    server = f"{url.scheme}://{url.netloc}"
    number = entry.text("connection")
    return (server, "connection", number) if number else (server, "page", entry.text("pageref"))


class _Entry:
    """One entry, with an address for every complaint."""

    def __init__(self, number: int, content: Any):
        self.number = number
        self.content = content
        if not isinstance(content, dict):
            raise self.wrong("", content, "an object with request, response, timings")

    def wrong(self, key: str, value: Any, accepted: str) -> HarError:
        """The error to raise about a key: what it is (None: missing) and what is accepted."""
        shown = repr(value)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}..."
        said = "missing" if value is None else f"is {shown}"
        name = f" {key}:" if key else ""
        return HarError(f"entry {self.number}:{name} {said}; accepted: {accepted}")

    def value(self, key: str) -> Any:
        """What is at a dotted key; None if it, or something on the way, is not there."""
        value: Any = self.content
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def text(self, key: str) -> str:
        """Optional text ("" if it is missing); some recorders write numbers where it belongs."""
        value = self.value(key)
        return "" if value is None else str(value)

    def number_at(self, key: str, most: float) -> float | None:
        """A number from 0; None where it is -1 ("does not apply" in this format) or missing."""
        value = self.value(key)
        if value is None:
            return None
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or value > most:
            raise self.wrong(key, value, f"a number up to {most:.12g}, or -1")
        return float(value) if value >= 0 else None

    def url(self) -> SplitResult:
        """Where the request went."""
        value = self.value("request.url")
        if isinstance(value, str):
            try:
                parts = urlsplit(value)
            except ValueError:
                parts = None
            if parts is not None and (parts.hostname or parts.scheme not in ("http", "https", "")):
                return parts
        raise self.wrong("request.url", value, '"http://host/path"')

    def times(self) -> tuple[int, int, int, int]:
        """start_us, blocked_us, total_us, wait_us."""
        value = self.value("startedDateTime")
        try:
            when = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise self.wrong(
                "startedDateTime", value, 'a time such as "2024-05-01T12:00:00.123Z"'
            ) from None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        blocked_ms = self.number_at("timings.blocked", MAX_SPAN_MS) or 0
        wait_ms = self.number_at("timings.wait", MAX_US / 1e3) or 0
        total_ms = self.number_at("time", MAX_SPAN_MS)
        if total_ms is None:  # Firefox leaves it out
            parts = (self.number_at(f"timings.{part}", MAX_SPAN_MS) for part in _PARTS)
            total_ms = sum(part or 0 for part in parts)
        start_us = (when - _EPOCH) // _MICROSECOND
        return start_us, round(blocked_ms * 1e3), round(total_ms * 1e3), round(wait_ms * 1e3)

    def sizes(self) -> tuple[int, int]:
        """request_bytes, response_bytes: those on the wire where they are known (bodySize), else
        those of the text, less what compression saved, else 0."""
        most = MAX_RESPONSE_BYTES
        sent = self.number_at("request.bodySize", most)
        if sent is None:
            sent = min(len(self.text("request.postData.text").encode()), most)
        received = self.number_at("response.bodySize", most)
        if received is None:
            size = self.number_at("response.content.size", most) or 0
            received = max(0, size - (self.number_at("response.content.compression", most) or 0))
        return int(sent), int(received)
