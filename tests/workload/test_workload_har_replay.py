"""Replaying HAR files: original times, connections, classes, sizes, waits."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpmlab.workload.compile import compile_plan
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.har_replay import group_connections
from mpmlab.workload.plan import Plan
from mpmlab.workload.streams import Stream
from tests.workload.test_workload_har import entry
from tests.workload.workload_samples import plan_with, scenario_with

CLASSES = """
[[class]]
name = "page"
match = "/$|html"
cpu_us = { dist = "exponential", mean = 900 }
[[class]]
name = "asset"
cpu_us = { dist = "exponential", mean = 100 }
"""
#: Milliseconds after noon, duration in ms, connection, URL, body up, body down. Not by time.
ROWS = (
    (100.0, 40.0, "1", "https://a.example/", 0, 5_000),
    (150.5, 30.0, "1", "https://a.example/x.css", 0, 700),
    (151.25, 80.0, "2", "https://a.example/y.js?page.html", 0, 900),
    (950.125, 10.0, "1", "https://a.example/last", 64, 10),
    (152.0, 25.0, "3", "https://cdn.example/z.png", 0, 80_000),
    (200.0, 20.0, "1", "https://a.example/next.html", 0, 6_000),
)
SORTED = sorted(ROWS)
OFFSETS_US = [round((row[0] - 100) * 1_000) for row in SORTED]


def har_of(rows: tuple[tuple[float, float, str, str, int, int], ...] = ROWS) -> str:
    """The text of a HAR file."""
    entries: list[dict[str, Any]] = [
        entry(
            startedDateTime=f"2024-05-01T12:00:{ms / 1_000:09.6f}+02:00",
            time=span,
            connection=connection,
            request__url=url,
            request__bodySize=up,
            response__bodySize=down,
            timings={"blocked": 0.5, "wait": span / 2},
        )
        for ms, span, connection, url, up, down in rows
    ]
    return json.dumps({"log": {"entries": entries}})


def replay(
    folder: Path, more: str = "", classes: str = CLASSES, duration_s: float = 10, seed: int = 1
) -> Plan:
    """The plan that replays ROWS."""
    (folder / "a.har").write_text(har_of())
    text = f'kind = "har"\nfile = "a.har"\n{more}'
    return plan_with(folder, text, classes, duration_s, seed)


def by_time(plan: Plan, column: str) -> list[int]:
    """A column of the plan in the order of the planned times."""
    values: list[int] = getattr(plan, column)[np.argsort(plan.planned_us, kind="stable")].tolist()
    return values


@pytest.mark.parametrize("speedup", [1, 0.5, 3, 1000])
def test_original_offsets(tmp_path: Path, speedup: float) -> None:
    """Each request is planned exactly as long after the first as it was recorded, fractions of
    milliseconds included, divided by the speedup."""
    plan = replay(tmp_path, f"speedup = {speedup}")
    assert by_time(plan, "planned_us") == [round(offset / speedup) for offset in OFFSETS_US]


def test_sizes_and_classes(tmp_path: Path) -> None:
    """Sizes are the file's; classes go by the path without the query."""
    plan = replay(tmp_path)
    assert by_time(plan, "response_bytes") == [row[5] for row in SORTED]
    assert by_time(plan, "request_bytes") == [row[4] for row in SORTED]
    assert by_time(plan, "klass") == [0, 1, 1, 1, 0, 1]
    assert by_time(plan, "wait_us") == [0] * 6
    assert plan.cpu_us.min() > 0
    assert plan.arrivals == "har"


def test_sessions_are_connections(tmp_path: Path) -> None:
    """Requests of one connection are one session, which is kept alive."""
    plan = replay(tmp_path)
    assert plan.session_requests.tolist() == [4, 1, 1]
    assert plan.session_start_us.tolist() == [0, 51_250, 52_000]
    assert plan.planned_us[:4].tolist() == [0, 50_500, 100_000, 850_125]
    assert np.all(plan.think_us == 0)
    assert plan.groups[0].client.keep_alive
    assert not plan.cycle


def test_recorded_waits(tmp_path: Path) -> None:
    """On request the server waits as long as the recorded one did, whatever the speedup; then the
    classes may not say how long."""
    for speedup in (1, 10):
        plan = replay(tmp_path, f"recorded_wait = true\nspeedup = {speedup}")
        assert by_time(plan, "wait_us") == [round(row[1] * 500) for row in SORTED]
    waiting = CLASSES.replace("cpu_us", "wait_us = 5\ncpu_us", 1)
    assert by_time(replay(tmp_path, classes=waiting), "wait_us") == [5, 0, 0, 0, 5, 0]
    with pytest.raises(ScenarioError, match=r"class\[1\]\.wait_us: not accepted here: the record"):
        replay(tmp_path, "recorded_wait = true", waiting)


def test_host(tmp_path: Path) -> None:
    """Only requests to hosts that the pattern is found in; times count from the first of them."""
    plan = replay(tmp_path, 'host = "^cdn[.]"')
    assert plan.response_bytes.tolist() == [80_000]
    assert plan.planned_us.tolist() == [0]
    with pytest.raises(ScenarioError) as caught:
        replay(tmp_path, 'host = "b[.]"')
    assert str(caught.value).startswith(f"{tmp_path / 'test.toml'}: arrivals.host: 'b[.]' is found")
    assert str(caught.value).endswith("it has a.example, cdn.example")


def test_a_cut_replay_keeps_its_numbers(tmp_path: Path) -> None:
    """A shorter run has the same requests with the same demands, at the same times."""
    whole, cut = replay(tmp_path), replay(tmp_path, duration_s=0.06)
    assert cut.requests == 4
    for column in ("planned_us", "cpu_us", "response_bytes", "klass"):
        assert by_time(cut, column) == by_time(whole, column)[:4], column


def test_seeds_move_demands_only(tmp_path: Path) -> None:
    """Nothing that the file says depends on the seed."""
    one, other = replay(tmp_path), replay(tmp_path, seed=2)
    assert one.cpu_us.tolist() != other.cpu_us.tolist()
    for column in ("planned_us", "response_bytes", "klass", "session_start_us"):
        assert getattr(one, column).tolist() == getattr(other, column).tolist()


def test_skipped_entries_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Compiling tells of entries that are no requests."""
    content = json.loads(har_of())
    content["log"]["entries"].append(entry(request__url="data:text/plain,x"))
    (tmp_path / "a.har").write_text(json.dumps(content))
    scenario = scenario_with(tmp_path, 'kind = "har"\nfile = "a.har"', CLASSES)
    with caplog.at_level(logging.WARNING):
        assert compile_plan(scenario, 1).requests == 6
    assert "a.har: entries skipped: 1 not HTTP but data" in caplog.text


def test_a_bad_file_is_one_error(tmp_path: Path) -> None:
    """It names scenario, file, entry and key."""
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": [entry(time="x")]}}))
    scenario = scenario_with(tmp_path, 'kind = "har"\nfile = "a.har"', CLASSES)
    with pytest.raises(ScenarioError, match=r"test\.toml: .*a\.har: entry 1: time: is 'x'; accep"):
        compile_plan(scenario, 1)


@pytest.mark.parametrize(
    ("arrivals", "classes", "complaint"),
    [
        ("file = 'b.har'", CLASSES, ":5: arrivals.file: there is no file"),
        ("file = 'a.har'\nspeedup = 0", CLASSES, ":6: arrivals.speedup: is 0; accepted: a number"),
        ("file = 'a.har'\nhost = '['", CLASSES, ":6: arrivals.host: unterminated character set"),
        (
            "file = 'a.har'\nrecorded_wait = 1",
            CLASSES,
            ":6: arrivals.recorded_wait: is 1; accepted",
        ),
        (
            "file = 'a.har'\nfrom = 1",
            CLASSES,
            ":6: arrivals.from: unknown key; accepted: kind, file",
        ),
        (
            "file = 'a.har'",
            f"{CLASSES}request_bytes = 1",
            "class[2].request_bytes: not accepted here",
        ),
        ("file = 'a.har'", f"{CLASSES}response_bytes = 1", "class[2].response_bytes: not accepted"),
        (
            "file = 'a.har'",
            f"{CLASSES}weight = 1",
            "class[2].weight: unknown key; accepted: name, ma",
        ),
        (
            "file = 'a.har'",
            f"{CLASSES}match = 'x'",
            "class[2].match: accepted only without it in th",
        ),
    ],
)
def test_errors_of_the_scenario(
    tmp_path: Path, arrivals: str, classes: str, complaint: str
) -> None:
    """One line naming file, line, key and what is accepted."""
    (tmp_path / "a.har").write_text(har_of())
    with pytest.raises(ScenarioError) as caught:
        scenario_with(tmp_path, f'kind = "har"\n{arrivals}', classes)
    assert complaint in str(caught.value)


def grouped(*rows: tuple[int, int, int]) -> list[int]:
    """The sessions of requests (connection, begin, end in ms), by time."""
    which, begin, end = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    found: list[int] = group_connections(which, begin * 1_000, end * 1_000).tolist()
    return found


def test_one_after_the_other_is_one_session() -> None:
    """For as long as each begins after the one before it has ended, give or take the resolution of
    such files."""
    assert grouped((7, 0, 10), (7, 10, 20), (7, 19, 30), (7, 28, 40), (8, 50, 60)) == [0] * 4 + [1]


def test_overlaps_are_further_sessions() -> None:
    """What ran at the same time needed another connection: each takes the first that is free."""
    rows = [(7, 0, 100), (7, 10, 50), (7, 20, 30), (9, 25, 26), (7, 40, 60), (7, 60, 70)]
    assert grouped(*rows) == [0, 1, 2, 3, 2, 1]


def test_a_long_request_is_not_forgotten() -> None:
    """A short request within the resolution of a long one's end leaves the session busy until the
    long one ends."""
    assert grouped((1, 0, 10), (1, 9, 9), (1, 10, 20)) == [0, 0, 0]


def test_sessions_never_overlap() -> None:
    """On random requests: within a session they never overlap beyond the resolution, sessions hold
    one connection's requests only, and no more sessions of a connection are open than requests."""
    u = Stream(1, "har").uniforms(3_000).reshape(3, 1_000)
    which = np.floor(u[0] * 12).astype(np.int64)
    begin = np.sort(np.floor(u[1] * 5e6)).astype(np.int64)
    end = begin + np.floor(u[2] * 400_000).astype(np.int64)
    session = group_connections(which, begin, end)
    first_seen = [int(np.argmax(session == number)) for number in range(session.max() + 1)]
    assert first_seen == sorted(first_seen)
    for number in range(session.max() + 1):
        mine = np.flatnonzero(session == number)
        assert len(set(which[mine].tolist())) == 1
        assert np.all(begin[mine][1:] + 2_000 >= end[mine][:-1])
    for connection in range(12):
        mine = np.flatnonzero(which == connection)
        busiest = max(int(np.sum((begin[mine] <= t) & (end[mine] > t))) for t in begin[mine])
        assert len(set(session[mine].tolist())) <= busiest
