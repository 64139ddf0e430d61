"""httpd's messages are read in both of its formats and without any, with times that can be laid
over measurements."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from mpmlab.httpd.error_log import read_messages

#: The wall's time in the lines below, as seconds since the epoch.
WALL_S = datetime(2026, 11, 24, 14, 58, 16, 123456).timestamp()
OFFSET_S = 1_000_000.0
OURS = "[2026-11-24 14:58:16.123456] "
EARLY = "[Tue Nov 24 14:58:16.123456 2026] "


@pytest.mark.parametrize(
    ("line", "pid", "level", "ident", "text"),
    [
        (OURS + "[mpm_event:notice] [pid 12] AH00489: configured -- resuming",
         12, "notice", "AH00489", "configured -- resuming"),
        (OURS + "[mpm_prefork:error] [pid 7] AH00161: server reached [a] b: c",
         7, "error", "AH00161", "server reached [a] b: c"),
        (OURS + "[lua:error] [pid 7] something without a number", 7, "error", "",
         "something without a number"),
        (EARLY + "[mpm_worker:warn] [pid 3] AH00317: raised", 3, "warn", "AH00317", "raised"),
        (EARLY + "[core:crit] [pid 3:tid 140] AH00136: missing", 3, "crit", "AH00136", "missing"),
        (EARLY + "[:notice] [pid 3] text", 3, "notice", "", "text"),
    ],
)  # fmt: skip
def test_both_formats_are_read(line: str, pid: int, level: str, ident: str, text: str) -> None:
    """Ours of the configuration, and httpd's own before it has read that; the time is the wall's,
    moved to the other clock."""
    (found,) = read_messages([line], OFFSET_S, started_s=5.0)
    assert (found.pid, found.level, found.ident, found.text) == (pid, level, ident, text)
    assert found.time_s == pytest.approx(WALL_S - OFFSET_S, abs=1e-6)


def test_a_day_of_one_digit_is_read() -> None:
    """httpd pads it with a space or a nought."""
    wall_s = datetime(2026, 11, 4, 1, 2, 3, 5).timestamp()
    for day in (" 4", "04"):
        line = f"[Wed Nov {day} 01:02:03.000005 2026] [core:warn] [pid 1] AH00548: NameVirtualHost"
        (found,) = read_messages([line], 0.0, started_s=0.0)
        assert found.time_s == pytest.approx(wall_s, abs=1e-6)


def test_bare_lines_have_the_time_of_the_start() -> None:
    """Before there is a log httpd writes number and text only."""
    line = "AH00180: WARNING: MaxRequestWorkers of 999 exceeds ServerLimit value of 256"
    (found,) = read_messages([line], OFFSET_S, started_s=5.0)
    assert (found.time_s, found.pid, found.level, found.ident) == (5.0, 0, "warn", "AH00180")
    assert "MaxRequestWorkers of 999" in found.text


def test_other_lines_are_skipped_and_the_order_stays() -> None:
    """What a module prints, half a line, and text that only looks like a number."""
    lines = [
        "", "  indented", "AH1: short", "[2026-11-24] [x:y]",
        OURS + "[core:notice] [pid 1] AH00094: Command line: 'x'",
        "(98)Address already in use: AH00072: make_sock: could not bind",
        "AH00014: Configuration check failed",
    ]  # fmt: skip
    assert [one.ident for one in read_messages(lines, 0.0, 0.0)] == ["AH00094", "AH00014"]


def test_times_are_on_the_clock_that_the_offset_is_of() -> None:
    """A line written now has the time that the monotonic clock shows now."""
    offset_s = time.time() - time.monotonic()
    before_s = time.monotonic()
    stamp = f"{datetime.now():%Y-%m-%d %H:%M:%S.%f}"
    after_s = time.monotonic()
    (found,) = read_messages([f"[{stamp}] [core:notice] [pid 1] now"], offset_s, 0.0)
    assert before_s - 0.001 <= found.time_s <= after_s + 0.001
