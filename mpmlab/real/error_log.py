"""The error log of a real server: how a line is written and read back. No decisions, no clock.

A line reads `[wall time] [mpm:level] [pid N] [monotonic S] AH00161: text`: httpd's shape
(ErrorLogFormat), and the kernel's clock beside the wall's so that it can be laid over measurements.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

from mpmlab.core.log_line import LogLine

__all__ = ["LogLine", "format_line", "parse_line", "read_error_log"]

_LINE: Final = re.compile(
    r"\[[^\]]*\] \[mpm:(?P<level>\w+)\] \[pid (?P<pid>\d+)\] \[monotonic (?P<time>[\d.]+)\] "
    r"(?P<ident>\S+): (?P<text>.*)"
)


def format_line(line: LogLine, wall_s: float) -> str:
    """The line of the file, with its newline. Newlines inside the text become spaces."""
    micros = int(wall_s % 1 * 1e6)
    wall = time.strftime(f"%a %b %d %H:%M:%S.{micros:06d} %Y", time.localtime(wall_s))
    text = " ".join(line.text.split("\n"))
    return (
        f"[{wall}] [mpm:{line.level}] [pid {line.pid}] [monotonic {line.time_s:.6f}] "
        f"{line.ident}: {text}\n"
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
