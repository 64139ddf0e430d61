"""Replaying logs: times, sessions, sizes, classes, selection."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from mpmlab.workload.accesslog import read_log
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.plan import Plan
from mpmlab.workload.replay import LogArrivals, group_sessions, spread_seconds
from mpmlab.workload.scenario import load_scenario
from mpmlab.workload.streams import Stream
from tests.workload.workload_samples import plan_with, scenario_with

CLASSES = """
[[class]]
name = "script"
match = "^/cgi/"
cpu_us = 9
request_bytes = 50
[[class]]
name = "rest"
cpu_us = 1
request_bytes = 60
"""
#: host, second of the hour, request, size
ENTRIES = (
    ("a", 10, "GET /x", 100),
    ("b", 10, "GET /cgi/y?q=/x", 200),
    ("a", 12, "POST /x", "-"),
    ("a", 30, "GET /no?/cgi/", 400),
    ("b", 24, "HEAD /x", 500),  # out of order, as logs are written when responses end
    ("b", 39, "GET /late", 600),
)


def line(host: str, second: int, request: str, size: int | str) -> str:
    """One line of a log."""
    return f'{host} - - [01/Jul/1995:00:00:{second} -0400] "{request} HTTP/1.0" 200 {size}\n'


def replay(folder: Path, more: str = "", seed: int = 1, duration_s: float = 100) -> Plan:
    """The plan that replays ENTRIES."""
    (folder / "a.log").write_text("".join(line(*entry) for entry in ENTRIES))
    arrivals = f'kind = "accesslog"\nfile = "a.log"\n{more}'
    return plan_with(folder, arrivals, CLASSES, duration_s, seed)


def test_sessions_sizes_and_classes(tmp_path: Path) -> None:
    """a: 10, 12 | 30 (18 s later); b: 10, 24 (14 s) | 39 (about 15 s). Sizes are the log's, classes
    go by the path without the query, bodies are sent with POST only."""
    plan = replay(tmp_path, "session_gap_s = 16")
    assert plan.session_requests.tolist() == [2, 3, 1]
    assert plan.response_bytes.tolist() == [100, 0, 200, 500, 600, 400]
    assert plan.klass.tolist() == [1, 1, 0, 1, 1, 1]
    assert plan.cpu_us.tolist() == [1, 1, 9, 1, 1, 1]
    assert plan.request_bytes.tolist() == [0, 60, 0, 0, 0, 0]
    assert (plan.planned_us // 1_000_000).tolist() == [0, 2, 0, 14, 29, 20]
    assert not plan.cycle
    assert plan.groups[0].client.keep_alive
    assert plan.arrivals == "accesslog"


def test_session_gap(tmp_path: Path) -> None:
    """A smaller gap makes more sessions, in order of their starts; a gap of 0 makes each request
    its own."""
    assert replay(tmp_path, "session_gap_s = 5").session_requests.tolist() == [2, 1, 1, 1, 1]
    assert replay(tmp_path, "session_gap_s = 0").sessions == len(ENTRIES)


def test_keep_alive_off(tmp_path: Path) -> None:
    """The sessions stay, their connections do not."""
    plan = replay(tmp_path, "keep_alive = false\nsession_gap_s = 16")
    assert plan.sessions == 3
    assert not plan.groups[0].client.keep_alive


@pytest.mark.parametrize("speedup", [0.5, 3, 10, 1000])
def test_speedup(tmp_path: Path, speedup: float) -> None:
    """Times are divided by the factor, exactly to the microsecond; sessions do not depend on it."""
    plain = replay(tmp_path)
    fast = replay(tmp_path, f"speedup = {speedup}")
    assert np.array_equal(plain.session_requests, fast.session_requests)
    assert np.array_equal(fast.planned_us, np.rint(plain.planned_us / speedup))


def test_original_offsets(tmp_path: Path) -> None:
    """Without a speedup each request is planned in the second in which the log has it, counted from
    the second of the first."""
    plan = replay(tmp_path, "speedup = 1\nsession_gap_s = 0")
    seconds = sorted(second - ENTRIES[0][1] for _, second, _, _ in ENTRIES)
    assert sorted((plan.planned_us // 1_000_000).tolist()) == seconds


@pytest.mark.parametrize(
    ("selection", "sizes"),
    [
        ("from = 14", {400, 500, 600}),
        ("from = 14.5", {400, 600}),
        ("to = 14", {100, 200, 0}),
        ('from = "01/Jul/1995:00:00:12 -0400"\nto = "1995-07-01T00:00:30"', {0, 500}),
        ('from = "1995-07-01T04:00:39Z"', {600}),
        ("to = 1995-07-01T04:00:11Z", {100, 200}),
    ],
)
def test_selection(tmp_path: Path, selection: str, sizes: set[int]) -> None:
    """from is included, to is not; times without a zone are on the log's clock; the run begins
    with the second of the first request selected."""
    plan = replay(tmp_path, selection)
    assert set(plan.response_bytes.tolist()) == sizes
    assert plan.session_start_us[0] < 1_000_000


def test_the_duration_cuts(tmp_path: Path) -> None:
    """Requests at or after the duration are left out, and the others keep their times."""
    whole, cut = replay(tmp_path), replay(tmp_path, duration_s=10)
    assert cut.requests == 3
    assert set(cut.planned_us.tolist()) <= set(whole.planned_us.tolist())


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("from = 3600", "no request of .*a.log lies between them; the log runs from 1995-07-01T00"),
        ("from = 10\nto = 5", "no request of"),
    ],
)
def test_nothing_selected(tmp_path: Path, more: str, complaint: str) -> None:
    """One error that says from when to when the log runs."""
    with pytest.raises(ScenarioError, match=complaint):
        replay(tmp_path, more)


def test_nothing_within_the_duration(tmp_path: Path) -> None:
    """A replay too slow for its duration says which key to turn."""
    with pytest.raises(ScenarioError, match=r"arrivals\.speedup: no request falls into"):
        replay(tmp_path, "speedup = 1e-6", duration_s=0.001)


def test_a_size_that_no_handler_gives(tmp_path: Path) -> None:
    """A response beyond the handler's limit is refused with its line, not cut in silence."""
    (tmp_path / "a.log").write_text(line("a", 10, "GET /", 1) + line("a", 11, "GET /", 2 << 30))
    with pytest.raises(ScenarioError, match=r"line 2 of the log has 2,147,483,648 bytes"):
        plan_with(tmp_path, 'kind = "accesslog"\nfile = "a.log"', '[[class]]\nname = "x"')


def test_malformed_lines_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Compiling tells of the lines that it skipped; a log with none that parses is an error."""
    (tmp_path / "a.log").write_text(line("a", 10, "GET /", 1) + "nonsense\n")
    scenario = scenario_with(
        tmp_path, 'kind = "accesslog"\nfile = "a.log"', '[[class]]\nname = "x"'
    )
    with caplog.at_level(logging.WARNING):
        assert compile_plan(scenario, 1).requests == 1
    assert "1 malformed lines skipped:\n  line 2: nonsense" in caplog.text
    (tmp_path / "a.log").write_text("nonsense\n")
    with pytest.raises(ScenarioError, match=r"test\.toml: .*a\.log: none of 1 lines"):
        compile_plan(scenario, 1)


def test_spreading_seconds() -> None:
    """Each request stays in its second, the order of lines stays, and the moments are uniform."""
    seconds = np.repeat(np.array([5, 6, 9]), [1000, 1, 3000])
    spread = spread_seconds(seconds, Stream(1, "s"))
    assert np.array_equal(spread // 1_000_000, seconds)
    assert np.all(np.diff(spread) >= 0)
    within = (spread % 1_000_000)[1001:] / 1e6
    # Kolmogorov-Smirnov at 1e-6 for n = 3000
    assert float(np.max(np.abs(within - (np.arange(3000) + 0.5) / 3000))) < 0.049


def test_seeds_move_moments_only(tmp_path: Path) -> None:
    """Another seed spreads otherwise within the seconds and changes nothing that the log says."""
    one, other = replay(tmp_path), replay(tmp_path, seed=2)
    assert one != other
    assert np.array_equal(one.planned_us // 1_000_000, other.planned_us // 1_000_000)
    assert sorted(one.response_bytes.tolist()) == sorted(other.response_bytes.tolist())


def test_group_sessions_against_the_obvious_way() -> None:
    """The vectorised grouping equals a dictionary and a loop, on random hosts and times."""
    u = Stream(1, "g").uniforms(4000)
    host = np.floor(u[:2000] * 40).astype(np.int32)
    at_us = np.cumsum(np.floor(u[2000:] * 2e6)).astype(np.int64)
    last: dict[int, tuple[int, int]] = {}
    expected, opened = [], 0
    for who, when in zip(host.tolist(), at_us.tolist(), strict=True):
        session, before = last.get(who, (-1, 0))
        if session < 0 or when - before >= 30_000_000:
            session, opened = opened, opened + 1
        last[who] = (session, when)
        expected.append(session)
    assert opened > 45
    assert group_sessions(host, at_us, 30).tolist() == expected


def test_nasa_is_the_log() -> None:
    """The shipped log parses whole, and its plan has exactly the requests and bytes of the log up
    to the end of the run."""
    scenario = load_scenario("nasa")
    arrivals = scenario.groups[0].arrivals
    assert isinstance(arrivals, LogArrivals)
    log = read_log(arrivals.file)
    assert (len(log), log.malformed_count, log.zone_s) == (4000, 0, -14400)
    plan = compile_plan(scenario, 1)
    within = (log.time_s - log.time_s[0]) < 20 * 150
    assert plan.requests == np.count_nonzero(within)
    assert plan.response_bytes.sum() == log.response_bytes[within].sum()


def test_a_log_keeps_its_demands_when_cut() -> None:
    """A shorter run of a log has the same requests with the same demands, at the same times."""
    scenario = load_scenario("nasa")
    whole, cut = compile_plan(scenario, 1), compile_plan(scenario, 1, 5)
    early = np.flatnonzero(whole.planned_us < 5_000_000)
    for name in ("planned_us", "cpu_us", "wait_us", "request_bytes", "response_bytes"):
        assert np.array_equal(getattr(whole, name)[early], getattr(cut, name)), name
