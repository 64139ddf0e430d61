"""A message of a server's error log, of whatever kind of server: the value, and how a run keeps it.

No files here, and no clock: real/error_log.py and httpd/error_log.py read such lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

#: What brief_line writes.
_BRIEF: Final = re.compile(r"\[(-?[\d.]+)\] \[mpm:\w+\] \[pid \d+\] (AH\d{5})?: ")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message: `time_s` is the kernel's now(), `ident` httpd's message id ("AH00161")."""

    time_s: float
    pid: int
    level: str
    ident: str
    text: str


def brief_line(line: LogLine | str, start_s: float) -> str:
    """How a run keeps it: with the time since the run's start, in one shape for all engines. What
    is no message (a traceback that somebody sent there) stays as it is."""
    if isinstance(line, str):
        return line
    return (
        f"[{line.time_s - start_s:.6f}] [mpm:{line.level}] [pid {line.pid}] "
        f"{line.ident}: {line.text}"
    )


def first_word_s(lines: Iterable[LogLine | str]) -> float | None:
    """When a server said that it is there ("resuming normal operations", its first notice): then
    its parent's housekeeping begins. None if it did not."""
    return next(
        (one.time_s for one in lines if not isinstance(one, str) and one.level == "notice"), None
    )


def numbered(lines: Iterable[str]) -> dict[str, dict[str, float]]:
    """Of brief lines, for each message number how often it was said, and when first and last."""
    found: dict[str, list[float]] = {}
    for line in lines:
        match = _BRIEF.match(line)
        if match and match[2]:
            found.setdefault(match[2], []).append(float(match[1]))
    return {
        ident: {"count": len(times_s), "first_s": min(times_s), "last_s": max(times_s)}
        for ident, times_s in found.items()
    }
