"""Access logs in Common and Combined Log Format become columns of numbers.

Reading and parsing only; choosing a part of a log and turning it into sessions is replay.py. Lines
are read one at a time; repeated texts (hosts, targets) are kept once.
"""

from __future__ import annotations

import calendar
import gzip
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from mpmlab.workload.errors import AccessLogError

#: Longest line looked at; httpd's request line alone may have 8,190 bytes (LimitRequestLine).
MAX_LINE: Final = 65_536
#: How many malformed lines are kept for the report, and how much of each.
MAX_EXAMPLES: Final = 20
_EXAMPLE_LENGTH: Final = 200
#: Sizes beyond this are not sizes (an int64 column).
_MAX_DIGITS: Final = 18

# %h %l %u %t "%r" %>s %b, and whatever follows (Combined: "%{Referer}i" "%{User-agent}i"). The user
# may hold blanks. The request may hold quotes, escaped (httpd) or raw (older servers): it ends at
# the first quote that a status and a size follow.
_LINE: Final = re.compile(
    r"(\S+) \S+ .*?\[(\d{2}/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    rf'"(.*?)" (\d{{3}}) (\d{{1,{_MAX_DIGITS}}}|-)(?=\s|$)'
)
_METHOD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun",
                  "jul", "aug", "sep", "oct", "nov", "dec")  # fmt: skip

Int64s = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LogRequests:
    """The requests of a log, one element per line that parsed, in the order of the lines.

    `host`, `method` and `target` are indices into `hosts`, `methods` and `targets`."""

    #: Seconds since 1970 UTC, whole.
    time_s: Int64s
    host: Codes
    method: Codes
    target: Codes
    status: npt.NDArray[np.int16]
    #: Size of the response as logged; '-' is 0.
    response_bytes: Int64s
    #: The line's number in the file, from 1.
    line: Int64s
    hosts: tuple[str, ...]
    methods: tuple[str, ...]
    targets: tuple[str, ...]
    #: Offset from UTC of the first line's clock.
    zone_s: int
    #: The first MAX_EXAMPLES lines that did not parse: (number from 1, beginning of the text).
    malformed: tuple[tuple[int, str], ...]
    malformed_count: int

    def __len__(self) -> int:
        return len(self.time_s)

    def describe_malformed(self) -> str:
        """The account of the lines that were skipped, for people; "" if there are none."""
        if not self.malformed_count:
            return ""
        shown = [f"  line {number}: {text}" for number, text in self.malformed]
        more = self.malformed_count - len(self.malformed)
        if more:
            shown.append(f"  and {more} more")
        return "\n".join([f"{self.malformed_count} malformed lines skipped:", *shown])


class _Names:
    """Texts to small numbers, in order of first sight."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def code(self, text: str) -> int:
        return self.codes.setdefault(text, len(self.codes))


def parse_time(text: str) -> tuple[int, int]:
    """(seconds since 1970 UTC, offset of its clock from UTC in seconds) of a log's time stamp, for
    example "01/Jul/1995:00:00:01 -0400". Raises ValueError. Independent of the locale."""
    day, month, year = int(text[0:2]), text[3:6].lower(), int(text[7:11])
    hour, minute, second = int(text[12:14]), int(text[15:17]), int(text[18:20])
    if month not in _MONTHS or text[2] + text[6] + text[11] + text[20] != "//: ":
        raise ValueError(f"not a time of an access log: {text!r}")
    # A leap second is logged as :60; it counts as the second before.
    when = datetime(year, _MONTHS.index(month) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
    sign = {"+": 1, "-": -1}[text[21]] if text[21] in "+-" else 0
    if not sign or second > 60 or int(text[22:24]) > 23 or int(text[24:26]) > 59:
        raise ValueError(f"not a time of an access log: {text!r}")
    zone = sign * (int(text[22:24]) * 3600 + int(text[24:26]) * 60)
    return calendar.timegm(when.timetuple()) - zone, zone


def split_request(request: str) -> tuple[str, str] | None:
    """(method, target) of a request line; None if it is none (httpd logs "-" where a client
    connected and sent nothing). Targets may hold raw blanks; HTTP/0.9 has no protocol."""
    method, _, rest = request.strip().partition(" ")
    target, _, protocol = rest.rpartition(" ")
    if not protocol.upper().startswith("HTTP/"):
        target = rest
    target = target.strip()
    return (method, target) if target and _METHOD.match(method) else None


def parse_log(lines: Iterable[str]) -> LogRequests:
    """Parse lines in Common or Combined Log Format. Lines that do not parse are counted and
    skipped, empty ones only skipped. Raises AccessLogError if there is none that parses."""
    hosts, methods, targets = _Names(), _Names(), _Names()
    wide = [array("q") for _ in range(3)]
    codes = [array("i") for _ in range(4)]
    malformed: list[tuple[int, str]] = []
    malformed_count = number = 0
    stamp, time_s, zone_s, first_zone_s = "", 0, 0, None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _LINE.match(line)
        asked = split_request(match[3]) if match else None
        if match and asked and match[2] != stamp:
            try:
                time_s, zone_s = parse_time(match[2])
                stamp = match[2]
            except ValueError:
                asked = None
        if not match or not asked:
            malformed_count += 1
            if len(malformed) < MAX_EXAMPLES:
                malformed.append((number, line.strip()[:_EXAMPLE_LENGTH]))
            continue
        if first_zone_s is None:
            first_zone_s = zone_s
        size = 0 if match[5] == "-" else int(match[5])
        found = (hosts.code(match[1]), methods.code(asked[0]), targets.code(asked[1]))
        for column, value in zip(wide, (time_s, size, number), strict=True):
            column.append(value)
        for code, value in zip(codes, (*found, int(match[4])), strict=True):
            code.append(value)
    if first_zone_s is None:
        raise AccessLogError(_nothing(number, malformed))
    return LogRequests(
        time_s=np.array(wide[0], dtype=np.int64),
        host=np.array(codes[0], dtype=np.int32),
        method=np.array(codes[1], dtype=np.int32),
        target=np.array(codes[2], dtype=np.int32),
        status=np.array(codes[3], dtype=np.int16),
        response_bytes=np.array(wide[1], dtype=np.int64),
        line=np.array(wide[2], dtype=np.int64),
        hosts=tuple(hosts.codes),
        methods=tuple(methods.codes),
        targets=tuple(targets.codes),
        zone_s=first_zone_s,
        malformed=tuple(malformed),
        malformed_count=malformed_count,
    )


def _nothing(lines: int, malformed: list[tuple[int, str]]) -> str:
    if not malformed:
        return "the access log is empty"
    number, text = malformed[0]
    return (
        f"none of {lines} lines is in Common or Combined Log Format "
        f'(host ident user [day/Mon/year:hh:mm:ss +zone] "method target protocol" status bytes); '
        f"line {number}: {text!r}"
    )


def read_log(path: Path) -> LogRequests:
    """Parse a file, plain or gzip (told by its first two bytes, not by its name). Raises
    AccessLogError, naming the file."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            return parse_log(_lines(stream))
    except AccessLogError as error:
        raise AccessLogError(f"{path}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        # gzip.BadGzipFile is an OSError, a cut-off archive an EOFError, a damaged one a zlib.error
        reason = getattr(error, "strerror", None) or str(error)
        raise AccessLogError(f"{path}: cannot read the access log: {reason}") from error


def _lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[str]:
    """Lines of at most MAX_LINE bytes; the rest of a longer one is dropped, not kept in memory."""
    while piece := stream.readline(MAX_LINE):
        yield piece.decode("utf-8", "replace")
        while len(piece) == MAX_LINE and not piece.endswith(b"\n"):
            piece = stream.readline(MAX_LINE)
