"""The error log of a real server: how a line is written and read back. No decisions, no clock.

A line reads `[wall time] [mpm:level] [pid N] [monotonic S] AH00161: text`: httpd's shape
(ErrorLogFormat), and the kernel's clock beside the wall's so that it can be laid over measurements.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LINE: Final = re.compile(
    r"\[[^\]]*\] \[mpm:(?P<level>\w+)\] \[pid (?P<pid>\d+)\] \[monotonic (?P<time>[\d.]+)\] "
    r"(?P<ident>\S+): (?P<text>.*)"
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message: `time_s` is the kernel's now(), `ident` httpd's message id ("AH00161")."""

    time_s: float
    pid: int
    level: str
    ident: str
    text: str


def format_line(line: LogLine, wall_s: float) -> str:
    """The line of the file, with its newline. Newlines inside the text become spaces."""
    micros = int(wall_s % 1 * 1e6)
    wall = time.strftime(f"%a %b %d %H:%M:%S.{micros:06d} %Y", time.localtime(wall_s))
    text = " ".join(line.text.split("\n"))
    return (
        f"[{wall}] [mpm:{line.level}] [pid {line.pid}] [monotonic {line.time_s:.6f}] "
        f"{line.ident}: {text}\n"
    )


def brief_line(line: LogLine | str, start_s: float) -> str:
    """How a run keeps it: with the time since the run's start, in one shape for all engines. What
    is no message (a traceback that somebody sent there) stays as it is."""
    if isinstance(line, str):
        return line
    return (
        f"[{line.time_s - start_s:.6f}] [mpm:{line.level}] [pid {line.pid}] "
        f"{line.ident}: {line.text}"
    )


def parse_line(text: str) -> LogLine | None:
    """The message in a line of the file, None if it is of another shape."""
    match = _LINE.fullmatch(text.rstrip("\n"))
    if match is None:
        return None
    return LogLine(
        float(match["time"]), int(match["pid"]), match["level"], match["ident"], match["text"]
    )


def read_error_log(path: str | Path) -> list[LogLine]:
    """All messages of a log, in the order of the file. Lines of another shape (a traceback that
    somebody sent there) are skipped. Raises OSError when there is no such file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return [line for line in map(parse_line, file) if line is not None]
