"""httpd's messages, read: those on stderr until the configuration is read, then the error log's.

Parsing only. What comes out is real.error_log.LogLine, as our own servers' messages: the kernel's
clock, level, message number, text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from mpmlab.real.error_log import LogLine

#: configuration.ERROR_FORMAT: [2026-11-24 14:58:16.123456] [mpm_event:notice] [pid 12] text
_LINE: Final = re.compile(
    r"\[(?P<wall>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+)\] \[(?P<module>[^:\]]*):(?P<level>\w+)\] "
    r"\[pid (?P<pid>\d+)\] (?P<text>.*)"
)
#: httpd's own format, in which it speaks before: [Tue Nov 24 14:58:16.123456 2026] ...
_STARTUP: Final = re.compile(
    r"\[(?P<wall>\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d\.\d+ \d{4})\] \[(?P<module>[^:\]]*):"
    r"(?P<level>\w+)\] \[pid (?P<pid>\d+)(?::tid \d+)?\] (?P<text>.*)"
)
_BARE: Final = re.compile(r"(?P<ident>AH\d{5}): (?P<text>.*)")
_WALL_FORMATS: Final = ("%Y-%m-%d %H:%M:%S.%f", "%a %b %d %H:%M:%S.%f %Y")


def read_messages(
    lines: Iterable[str], wall_to_monotonic_s: float, started_s: float
) -> list[LogLine]:
    """All messages. `wall_to_monotonic_s`: what is to be taken off the wall's clock;
    `started_s`: the time of those that have none. Lines of another shape are skipped."""
    found = []
    for line in lines:
        match = _LINE.fullmatch(line) or _STARTUP.fullmatch(line)
        bare = _BARE.match(match["text"] if match else line)
        if match:
            time_s = _wall_s(match["wall"]) - wall_to_monotonic_s
            pid, level, text = int(match["pid"]), match["level"], match["text"]
        elif bare:
            time_s, pid, level, text = started_s, 0, "warn", line
        else:
            continue
        ident, text = (bare["ident"], bare["text"]) if bare else ("", text)
        found.append(LogLine(time_s, pid, level, ident, text))
    return found


def _wall_s(text: str) -> float:
    for form in _WALL_FORMATS:
        try:
            return datetime.strptime(text, form).timestamp()
        except ValueError:
            continue
    raise ValueError(text)
