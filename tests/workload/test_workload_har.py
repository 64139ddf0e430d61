"""HAR files: what is read of the entries, what is skipped, one clear error for what is bad."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mpmlab.workload.errors import HarError
from mpmlab.workload.har import HarRequests, parse_har, read_har

#: One entry as a browser writes it.
ENTRY: dict[str, Any] = {
    "pageref": "page_1",
    "startedDateTime": "2024-05-01T12:00:00.250Z",
    "time": 61.5,
    "connection": "771",
    "request": {
        "method": "GET",
        "url": "https://www.example.com/a/b.css?v=1#top",
        "httpVersion": "HTTP/1.1",
        "bodySize": 0,
    },
    "response": {"status": 200, "content": {"size": 900, "compression": 500}, "bodySize": 410},
    "timings": {"blocked": 1.25, "dns": -1, "connect": -1, "send": 0.25, "wait": 55, "receive": 5},
}


def entry(**changes: Any) -> dict[str, Any]:
    """ENTRY with values at dotted keys ("request.url" is written request__url); ... removes one."""
    made = copy.deepcopy(ENTRY)
    for name, value in changes.items():
        *way, key = name.split("__")
        inner = made
        for part in way:
            inner = inner[part]
        if value is ...:
            del inner[key]
        else:
            inner[key] = value
    return made


def read(*entries: Any) -> HarRequests:
    """The requests of a file with these entries."""
    return parse_har({"log": {"version": "1.2", "entries": list(entries)}})


def test_one_entry() -> None:
    """Times in microseconds with their fractions, sizes on the wire, host and path without query
    and fragment."""
    one = read(entry())
    assert one.start_us.tolist() == [1_714_564_800_250_000]
    assert (one.blocked_us[0], one.total_us[0], one.wait_us[0]) == (1_250, 61_500, 55_000)
    assert (one.request_bytes[0], one.response_bytes[0]) == (0, 410)
    assert (one.hosts, one.paths) == (("www.example.com",), ("/a/b.css",))
    assert len(one) == 1
    assert one.describe_skipped() == ""


@pytest.mark.parametrize(
    ("written", "later_us"),
    [
        ("2024-05-01T14:00:00.251+02:00", 1_000),
        ("2024-05-01T12:00:00.2504Z", 400),
        ("2024-05-01T12:00:00.250123456Z", 123),
        ("2024-05-01T12:00:01Z", 750_000),
        ("2024-05-01T12:00:00.250", 0),
        ("2024-05-01T05:00:00.250-07:00", 0),
    ],
)
def test_times(written: str, later_us: int) -> None:
    """Zones, and fractions of any length, to the microsecond; without a zone it is UTC."""
    both = read(entry(), entry(startedDateTime=written))
    assert int(both.start_us[1] - both.start_us[0]) == later_us


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({"response__bodySize": -1}, (0, 400)),
        ({"response__bodySize": ...}, (0, 400)),
        ({"response__bodySize": -1, "response__content": {"size": 900}}, (0, 900)),
        ({"response__bodySize": -1, "response__content": {"size": 5, "compression": 9}}, (0, 0)),
        ({"response__bodySize": -1, "response__content": ...}, (0, 0)),
        ({"response": ...}, (0, 0)),
        ({"response__bodySize": 0}, (0, 0)),
        ({"request__bodySize": 33}, (33, 410)),
        ({"request__bodySize": -1, "request__postData": {"text": "naïve"}}, (6, 410)),
        ({"request__bodySize": 2, "request__postData": {"text": "naïve"}}, (2, 410)),
        ({"request__bodySize": -1}, (0, 410)),
    ],
)
def test_sizes(changes: dict[str, Any], sizes: tuple[int, int]) -> None:
    """On the wire if it is known, else of the text less what compression saved, else 0."""
    one = read(entry(**changes))
    assert (one.request_bytes[0], one.response_bytes[0]) == sizes


def test_missing_times_are_zero_or_summed() -> None:
    """Without `time` the parts make the whole, without parts it is nothing; -1 is "not there"."""
    one = read(entry(time=...), entry(time=..., timings=...), entry(timings={"blocked": -1}))
    assert one.total_us.tolist() == [61_500, 0, 61_500]
    assert one.blocked_us.tolist() == [1_250, 0, 0]
    assert one.wait_us.tolist() == [55_000, 0, 0]


def test_connections() -> None:
    """Of one server and number; without a number, of one server and page."""
    entries = [
        entry(),
        entry(connection="772"),
        entry(request__url="https://other.example.com/"),
        entry(request__url="http://www.example.com/"),
        entry(pageref="page_2"),
        entry(connection=...),
        entry(connection="", startedDateTime="2024-05-01T12:00:01Z"),
        entry(connection=..., pageref="page_2"),
        entry(connection=..., pageref=...),
        entry(connection=771),
    ]
    assert read(*entries).connection.tolist() == [0, 1, 2, 3, 0, 4, 4, 5, 6, 0]


def test_what_is_no_request_is_skipped_and_told() -> None:
    """Other schemes and answers from a cache asked no server."""
    found = read(
        entry(request__url="data:image/png;base64,AAAA"),
        entry(_fromCache="disk"),
        entry(),
        entry(request__url="blob:https://www.example.com/1-2-3"),
        entry(request__url="wss://www.example.com/live"),
        entry(_fromCache="memory"),
    )
    assert len(found) == 1
    assert found.skipped == {
        "not HTTP but data": 1,
        "answered from the browser's cache": 2,
        "not HTTP but blob": 1,
        "not HTTP but wss": 1,
    }
    assert found.describe_skipped().startswith("entries skipped: 1 not HTTP but data, 2 answered")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"request__url": ...}, 'request.url: missing; accepted: "http://host/path"'),
        ({"request": ...}, "request.url: missing"),
        ({"request": 3}, "request.url: missing"),
        ({"request__url": "http://"}, "request.url: is 'http://'; accepted"),
        ({"request__url": "/a"}, "request.url: is '/a'; accepted"),
        ({"request__url": "http://[::1/"}, "request.url: is 'http://[::1/'; accepted"),
        ({"request__url": 5}, "request.url: is 5; accepted"),
        (
            {"startedDateTime": ...},
            'startedDateTime: missing; accepted: a time such as "2024-05-01T',
        ),
        ({"startedDateTime": "noon"}, "startedDateTime: is 'noon'; accepted: a time"),
        ({"startedDateTime": 17}, "startedDateTime: is 17; accepted: a time"),
        ({"time": "61"}, "time: is '61'; accepted: a number up to 1000000000, or -1"),
        ({"time": True}, "time: is True; accepted: a number"),
        ({"time": float("nan")}, "time: is nan; accepted: a number"),
        ({"timings__wait": 3.7e6}, "timings.wait: is 3700000.0; accepted: a number up to 3600000,"),
        ({"timings__blocked": []}, "timings.blocked: is []; accepted: a number"),
        (
            {"response__bodySize": 2 << 30},
            "response.bodySize: is 2147483648; accepted: a number up",
        ),
        ({"request__bodySize": "x" * 500}, f"request.bodySize: is '{'x' * 59}...; accepted: a num"),
    ],
)
def test_bad_entries(changes: dict[str, Any], complaint: str) -> None:
    """The entry by its number from 1, the key, what it is and what is accepted; in one line."""
    with pytest.raises(HarError) as caught:
        read(entry(), entry(**changes))
    message = str(caught.value)
    assert message.startswith(f"entry 2: {complaint}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1"),
        (b"{", "not JSON: Expecting property name"),
        (b"[" * 100_000, "not JSON: "),
        (b"[]", "log.entries: missing or no list; accepted: a HAR file, version 1.2 or 1.1"),
        (b'{"log": 3}', "log.entries: missing or no list"),
        (b'{"log": {"entries": {}}}', "log.entries: missing or no list"),
        (b'{"log": {"entries": []}}', "log.entries: none of 0 is an HTTP request; accepted: at l"),
        (b'{"log": {"entries": [3]}}', "entry 1: is 3; accepted: an object with request, response"),
        (b'{"log": "\xff"}', "not UTF-8 text: invalid start byte"),
        (b"\x1f\x8bnonsense", "cannot read the HAR file: "),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, complaint: str) -> None:
    """One error that names the file."""
    path = tmp_path / "a.har"
    path.write_bytes(content)
    with pytest.raises(HarError) as caught:
        read_har(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_files(tmp_path: Path) -> None:
    """Plain or packed, with or without a byte order mark it is the same; a missing file is told."""
    text = json.dumps({"log": {"entries": [entry()]}}).encode()
    for name, content in (("a", text), ("b", gzip.compress(text)), ("c", b"\xef\xbb\xbf" + text)):
        (tmp_path / name).write_bytes(content)
        assert read_har(tmp_path / name).response_bytes.tolist() == [410]
    with pytest.raises(HarError, match=r"no\.har: cannot read the HAR file: No such file"):
        read_har(tmp_path / "no.har")
