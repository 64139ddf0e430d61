"""Access logs: what parses, what does not, and that nothing is lost silently."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mpmlab.workload.accesslog import (
    MAX_EXAMPLES,
    MAX_LINE,
    parse_log,
    parse_time,
    read_log,
    split_request,
)
from mpmlab.workload.errors import AccessLogError

STAMP = "[01/Jul/1995:00:00:01 -0400]"
GOOD = f'h - - {STAMP} "GET / HTTP/1.0" 200 5'
COMBINED = f'{GOOD} "http://from/" "Mozilla/4.0 (\\"x\\")"'


@pytest.mark.parametrize(
    ("line", "method", "target", "status", "size"),
    [
        (GOOD, "GET", "/", 200, 5),
        (COMBINED, "GET", "/", 200, 5),
        (GOOD + "\r\n", "GET", "/", 200, 5),
        (GOOD + ' "-" "-" 1234 extra', "GET", "/", 200, 5),
        (GOOD.replace(" 5", " -"), "GET", "/", 200, 0),
        (GOOD.replace("200 5", "304 0"), "GET", "/", 304, 0),
        (GOOD.replace("h - -", "::1 - Jane Doe"), "GET", "/", 200, 5),
        (GOOD.replace("GET / HTTP/1.0", "GET /old"), "GET", "/old", 200, 5),
        (GOOD.replace("GET /", "POST /a?b=1"), "POST", "/a?b=1", 200, 5),
        (GOOD.replace("GET /", "GET /a b"), "GET", "/a b", 200, 5),
        (GOOD.replace("GET /", 'GET /a"b'), "GET", '/a"b', 200, 5),
        (GOOD.replace("GET /", 'GET /a\\"b'), "GET", '/a\\"b', 200, 5),
        (GOOD.replace("GET /", "PROPFIND *"), "PROPFIND", "*", 200, 5),
        (GOOD.replace(":01 ", ":60 "), "GET", "/", 200, 5),
    ],
)
def test_lines_that_parse(line: str, method: str, target: str, status: int, size: int) -> None:
    """Common and Combined, and the oddities that real logs have."""
    log = parse_log([line])
    assert (log.methods, log.targets) == ((method,), (target,))
    assert (log.status.tolist(), log.response_bytes.tolist()) == ([status], [size])
    assert log.malformed_count == 0


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        GOOD.replace(" 200 5", ""),
        GOOD.replace(" 200 5", " 200"),
        GOOD.replace(" 200", " 2000"),
        GOOD.replace(" 5", " five"),
        GOOD.replace(" 5", " -5"),
        GOOD.replace(" 5", " " + "9" * 30),
        GOOD.replace('"GET', "GET"),
        GOOD.replace('0" 200', "0 200"),
        GOOD.replace("GET / HTTP/1.0", "-"),
        GOOD.replace("GET / HTTP/1.0", ""),
        GOOD.replace("GET / HTTP/1.0", "GET"),
        GOOD.replace("GET / HTTP/1.0", "GET  HTTP/1.0"),
        GOOD.replace("GET /", "\\x16\\x03 /"),
        GOOD.replace(STAMP, "[]"),
        GOOD.replace(STAMP, ""),
        GOOD.replace("Jul", "Juli"),
        GOOD.replace("Jul", "Xyz"),
        GOOD.replace("01/Jul", "31/Jun"),
        GOOD.replace("00:00:01", "24:00:01"),
        GOOD.replace("00:00:01", "00:00:61"),
        GOOD.replace("-0400", "-0460"),
        GOOD.replace("-0400", "+9900"),
        GOOD.replace("-0400", "EST"),
    ],
)
def test_lines_that_do_not(line: str) -> None:
    """Counted, reported with number and text, skipped; the lines around it are kept."""
    log = parse_log([GOOD, line, "", GOOD])
    assert log.line.tolist() == [1, 4]
    assert log.malformed == ((2, line),)
    assert log.malformed_count == 1
    assert "line 2: " in log.describe_malformed()


def test_a_bad_time_does_not_take_the_last_good_one() -> None:
    """After a line with an impossible date the next line of the first date is still right."""
    bad = GOOD.replace("01/Jul", "31/Jun")
    log = parse_log([GOOD, bad, GOOD, bad])
    assert log.line.tolist() == [1, 3]
    assert len(set(log.time_s.tolist())) == 1
    assert [number for number, _ in log.malformed] == [2, 4]


def test_only_the_first_malformed_lines_are_kept() -> None:
    """All are counted, MAX_EXAMPLES are kept, each cut short; the account says how many more."""
    log = parse_log([GOOD, *(["x" * 5000] * 100)])
    assert log.malformed_count == 100
    assert [number for number, _ in log.malformed] == list(range(2, 2 + MAX_EXAMPLES))
    assert max(len(text) for _, text in log.malformed) <= 200
    assert log.describe_malformed().endswith("and 80 more")
    assert parse_log([GOOD]).describe_malformed() == ""


def test_repeated_texts_are_kept_once() -> None:
    """Hosts, methods and targets are numbered in order of first sight."""
    lines = [GOOD, GOOD.replace("h ", "i ", 1), GOOD.replace("GET /", "HEAD /x"), GOOD]
    log = parse_log(lines)
    assert (log.hosts, log.host.tolist()) == (("h", "i"), [0, 1, 0, 0])
    assert (log.methods, log.method.tolist()) == (("GET", "HEAD"), [0, 0, 1, 0])
    assert (log.targets, log.target.tolist()) == (("/", "/x"), [0, 0, 1, 0])
    assert len(log) == 4


def test_times() -> None:
    """Seconds since 1970 by the stamp's own zone; the zone is kept."""
    assert parse_time("01/Jan/1970:00:00:00 +0000") == (0, 0)
    assert parse_time("01/Jul/1995:00:00:01 -0400") == (804571201, -14400)
    assert parse_time("29/feb/2024:23:59:59 +0530") == (1709231399, 19800)
    assert parse_log([GOOD]).zone_s == -14400


def test_split_request() -> None:
    """A request line without method or target is none."""
    assert split_request("GET /a HTTP/1.1") == ("GET", "/a")
    assert split_request("GET /a http/1.1") == ("GET", "/a")
    assert split_request("HTTP/1.1") is None
    assert split_request("-") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "is empty"), ("\n \n", "is empty"), ("a\nb\n", "none of 2 lines .* line 1: 'a'")],
)
def test_a_log_with_nothing(tmp_path: Path, text: str, complaint: str) -> None:
    """No line that parses is an error that names the file and shows the first line."""
    path = tmp_path / "x.log"
    path.write_text(text)
    with pytest.raises(AccessLogError, match=f"x.log: .*{complaint}"):
        read_log(path)


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    """Packed or plain, with or without the ending .gz: the same columns."""
    path = tmp_path / "access"
    path.write_bytes(gzip.compress(f"{GOOD}\nbad\n".encode()))
    log = read_log(path)
    assert (log.line.tolist(), log.malformed) == ([1], ((2, "bad"),))


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_gzip(tmp_path: Path, damage: str) -> None:
    """A cut-off or corrupted archive is one clear error, not half a log."""
    lines = "\n".join(GOOD.replace(" 5", f" {i * i}") for i in range(2000))
    packed = bytearray(gzip.compress(lines.encode()))
    if damage == "cut":
        del packed[len(packed) // 2 :]
    else:
        for i in range(100, 140):
            packed[i] ^= 0xFF
    path = tmp_path / "x.gz"
    path.write_bytes(packed)
    with pytest.raises(AccessLogError, match=r"x\.gz: cannot read the access log"):
        read_log(path)


def test_missing_file(tmp_path: Path) -> None:
    """Named, with the system's reason."""
    with pytest.raises(AccessLogError, match="nowhere: cannot read the access log: No such file"):
        read_log(tmp_path / "nowhere")


def test_endless_lines_and_foreign_bytes(tmp_path: Path) -> None:
    """A line without end counts as one line and is not kept; bytes that are no UTF-8 do no harm."""
    path = tmp_path / "x.log"
    path.write_bytes(
        b"\xff" * (3 * MAX_LINE + 5) + b"\n" + GOOD.encode()
        + b"\n" + GOOD.replace("GET /", "GET /\xe9").encode("latin-1") + b"\n"
        + b"y" * MAX_LINE + b"\n" + GOOD.encode()
    )  # fmt: skip
    log = read_log(path)
    assert log.line.tolist() == [2, 3, 5]
    assert [number for number, _ in log.malformed] == [1, 4]
