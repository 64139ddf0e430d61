"""Scenario files: what is read, and one clear error for each thing that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mpmlab.workload.arrivals import ClosedArrivals, OpenArrivals, SessionArrivals
from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.distributions import Constant, Exponential
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.processes import PoissonProcess
from mpmlab.workload.replay import LogArrivals
from mpmlab.workload.scenario import Directive, load_scenario, shipped_scenarios
from tests.workload.workload_samples import ONE_CLASS, scenario_of, scenario_with

HEAD = 'name = "test"\nduration_s = 10\n'  # two lines
POISSON = '[arrivals]\nkind = "poisson"\nrate_per_s = 5\n'  # lines 3 to 5
GOOD = HEAD + POISSON + ONE_CLASS  # the class begins at line 6
LOG = '1.2.3.4 - - [01/Jul/1995:00:00:01 -0400] "GET / HTTP/1.0" 200 5\n'


def error_of(folder: Path, text: str) -> str:
    """The one line of complaint about this file."""
    with pytest.raises(ScenarioError) as caught:
        scenario_of(folder, text)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_whole_file(tmp_path: Path) -> None:
    """Every part arrives where it belongs, with defaults where nothing is said."""
    scenario = scenario_of(
        tmp_path,
        'name = "n"\ndescription = "d"\nduration_s = 2.5\nwarmup_s = 0.5\n'
        + POISSON
        + '[[class]]\nname = "a"\ncpu_us = 7\nwait_us = { dist = "exponential", mean = 3 }\n'
        + "[directives]\nThreadsPerChild = 8\nKeepAlive = true\nListenBacklog = '511'\n",
    )
    assert (scenario.name, scenario.description) == ("n", "d")
    assert (scenario.duration_us, scenario.warmup_us) == (2_500_000, 500_000)
    (load,) = scenario.groups
    assert load.arrivals == OpenArrivals(PoissonProcess(5))
    assert load.group == Group("main", True, ClientKind(keep_alive=False))
    assert load.classes == (0,)
    (one,) = scenario.classes
    assert (one.cpu_us, one.wait_us) == (Constant(7), Exponential(3))
    assert (one.request_bytes, one.response_bytes, one.weight) == (Constant(0), Constant(0), 1)
    assert scenario.directives == (
        Directive("ThreadsPerChild", "8", 13),
        Directive("KeepAlive", "On", 14),
        Directive("ListenBacklog", "511", 15),
    )


def test_closed_and_sessions(tmp_path: Path) -> None:
    """Their keys arrive, and keep-alive is their default."""
    closed = scenario_with(tmp_path, 'kind = "closed"\nusers = 3\nthink_s = 0.5')
    assert closed.groups[0].arrivals == ClosedArrivals(3, 200, Constant(0.5), 0)
    assert closed.groups[0].group.client.keep_alive
    sessions = scenario_with(
        tmp_path, 'kind = "sessions"\nrate_per_s = 2\nrequests_per_session = 4\nkeep_alive = false'
    )
    expected = SessionArrivals(PoissonProcess(2), Constant(4), Constant(0))
    assert sessions.groups[0].arrivals == expected
    assert not sessions.groups[0].group.client.keep_alive


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("12.5", 12.5),
        ('"30"', 30.0),
        ('"01/Jul/1995:00:00:01 -0400"', datetime(1995, 7, 1, 4, 0, 1, tzinfo=UTC)),
        ('"1995-07-01T00:00:01-04:00"', datetime(1995, 7, 1, 4, 0, 1, tzinfo=UTC)),
        ("1995-07-01T04:00:01Z", datetime(1995, 7, 1, 4, 0, 1, tzinfo=UTC)),
        ('"1995-07-01 00:00:01"', datetime(1995, 7, 1, 0, 0, 1)),
    ],
)
def test_access_log_and_its_instants(tmp_path: Path, written: str, expected: object) -> None:
    """The file is found beside the scenario; from and to accept offsets, log times and ISO."""
    (tmp_path / "a.log").write_text(LOG)
    scenario = scenario_with(tmp_path, f'kind = "accesslog"\nfile = "a.log"\nfrom = {written}')
    arrivals = scenario.groups[0].arrivals
    assert isinstance(arrivals, LogArrivals)
    assert arrivals.file == tmp_path / "a.log"
    assert arrivals.start == expected
    assert (arrivals.end, arrivals.session_gap_s, arrivals.speedup) == (None, 15, 1)
    assert scenario.classes[0].response_bytes is None


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"test"', "7", ":1: name: is 7; accepted: text in quotes"),
        ('"test"', '" "', ":1: name: is ' '; accepted: text in quotes"),
        ('name = "test"\n', "", ": name: missing; accepted: text in quotes"),
        ("= 10", "= 0", ":2: duration_s: is 0; accepted: a number from 0.001 to 604800"),
        ("= 10", "= nan", ":2: duration_s: is nan; accepted: a number"),
        ("= 10", "= true", ":2: duration_s: is True; accepted: a number"),
        ("= 10", "= 10\nwarmup_s = 10", ":3: warmup_s: is 10; accepted: less than duration_s (10)"),
        ("= 10", "= 10\nwarmups = 1", ":3: warmups: unknown key; did you mean warmup_s? accepted:"),
        ("= 10", "= = 10", ":2: not TOML: Invalid value"),
        ('"poisson"', '"poison"', ":4: arrivals.kind: is 'poison'; did you mean 'poisson'?"),
        ('"poisson"', "[]", ":4: arrivals.kind: is []; accepted: poisson, constant, renewal"),
        ("rate_per_s = 5\n", "", ":3: arrivals.rate_per_s: missing; accepted: a number above 0"),
        ("= 5", "= 0", ":5: arrivals.rate_per_s: is 0; accepted: a number above 0 to 1000000"),
        ("= 5", "= '5'", ":5: arrivals.rate_per_s: is '5'; accepted: a number"),
        ("= 5", "= 5\nusers = 3", ":6: arrivals.users: unknown key; accepted: kind, rate_per_s"),
        ("= 5", "= 5\nkeep_alive = 1", ":6: arrivals.keep_alive: is 1; accepted: true, false"),
        ("= 5", "= 5\nkeepalive = true", ":6: arrivals.keepalive: unknown key; did you mean keep_"),
        (POISSON, "arrivals = 5\n", ":3: arrivals: is 5; accepted: a table [arrivals]"),
        (ONE_CLASS, "", ": class: missing; accepted: one or more tables [[class]]"),
        (ONE_CLASS, "[class]\nname = 'a'", ":6: class: accepted: one or more tables [[class]]"),
        ('name = "page"\n', "", ":6: class[1].name: missing"),
        ("= 100", "= -1", ":8: class[1].cpu_us: is -1; accepted: a number from 0 to 3600000000"),
        ("= 100", "= '1'", ":8: class[1].cpu_us: is '1'; accepted: a number from 0 to"),
        ("= 100", "= {}", ":8: class[1].cpu_us.dist: missing; accepted: constant, uniform"),
        ("= 100", "= { dist = 'gauss' }", ":8: class[1].cpu_us.dist: is 'gauss'; accepted:"),
        ("= 100", "= { dist = 'lognormal', mean = 1 }", ":8: class[1].cpu_us.cv: missing"),
        (
            "= 100",
            "= { dist = 'exponential', mea = 1 }",
            "cpu_us.mea: unknown key; did you mean me",
        ),
        (
            "= 100",
            "= { dist = 'exponential', mean = -1 }",
            "cpu_us.mean: is -1; accepted: a number",
        ),
        (
            "= 100",
            "= { dist = 'uniform', low = 2, high = 1 }",
            "cpu_us.high: is 1; accepted: a num",
        ),
        ("= 100", "= { dist = 'pareto', low = 0, high = 1, alpha = 1 }", "cpu_us.low: is 0; acce"),
        ("= 100", "= { dist = 'hyperexponential', mean = 1, cv = 0.5 }", "cpu_us.cv: is 0.5; acc"),
        ("= 100", "= { dist = 'geometric', mean = 0.5 }", "cpu_us.mean: is 0.5; accepted: a numb"),
        ("= 100", "= { dist = 'empirical', values = [] }", "cpu_us.values: is []; accepted: a l"),
        ("= 100", "= { dist = 'empirical', values = [nan] }", "cpu_us.values: holds nan; accepted"),
        ("= 100", "= { dist = 'empirical', values = [1], weights = [1, 2] }", "accepted: 1"),
        ("= 100", "= { dist = 'empirical', values = [1], weights = [0] }", "at least one above 0"),
        ("= 100", "= 1\nweight = 0", ":9: class[1].weight: every weight is 0; accepted: at least"),
        ("= 100", "= 1\nmatch = 'x'", ":9: class[1].match: unknown key; accepted: name, weight"),
        ("= 100\n", "= 1\n" + ONE_CLASS, ":10: class[2].name: 'page' is there twice; accepted:"),
        ("= 100\n", "= 1\n[directives]\na = [1]", ":10: directives.a: is [1]; accepted: a whole"),
        ("= 100\n", "= 1\n[directive]\na = 1", ":9: directive: unknown key; did you mean direct"),
    ],
)
def test_errors(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    """One line naming file, line, key and what is accepted."""
    assert old in GOOD
    message = error_of(tmp_path, GOOD.replace(old, new, 1))
    assert message.startswith(str(tmp_path / "test.toml"))
    assert complaint in message


@pytest.mark.parametrize(
    ("arrivals", "classes", "complaint"),
    [
        ("file = 'b.log'", ONE_CLASS, ":5: arrivals.file: there is no file"),
        ("file = 'a.log'\nspeedup = 0", ONE_CLASS, ":6: arrivals.speedup: is 0; accepted: a num"),
        ("file = 'a.log'\nto = 'noon'", ONE_CLASS, ":6: arrivals.to: is 'noon'; accepted: seconds"),
        ("file = 'a.log'\nfrom = -1", ONE_CLASS, ":6: arrivals.from: is -1; accepted: seconds"),
        ("file = 'a.log'\nfrom = 1995-07-01", ONE_CLASS, ":6: arrivals.from: is datetime.date"),
        ("file = 'a.log'", ONE_CLASS + "response_bytes = 1", ":9: class[1].response_bytes: not ac"),
        ("file = 'a.log'", ONE_CLASS + "match = '['", ":9: class[1].match: unterminated"),
        ("file = 'a.log'", ONE_CLASS + "match = 'x'", ":9: class[1].match: accepted only without"),
        (
            "file = 'a.log'",
            ONE_CLASS + '[[class]]\nname = "b"',
            ":6: class[1].match: missing; accepted only without it in the last class",
        ),
    ],
)
def test_errors_of_access_logs(tmp_path: Path, arrivals: str, classes: str, complaint: str) -> None:
    """The same for the keys that only a replayed log has."""
    (tmp_path / "a.log").write_text(LOG)
    text = f'{HEAD}[arrivals]\nkind = "accesslog"\n{arrivals}\n{classes}'
    assert complaint in error_of(tmp_path, text)


def test_unreadable_files(tmp_path: Path) -> None:
    """A missing file, a folder and a file that is not text are told apart, by name."""
    with pytest.raises(ScenarioError, match=r"no\.toml: cannot read the scenario: No such file"):
        load_scenario(tmp_path / "no.toml")
    with pytest.raises(ScenarioError, match="cannot read the scenario: Is a directory"):
        load_scenario(tmp_path)
    (tmp_path / "bad.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ScenarioError, match=r"bad\.toml: not UTF-8 text"):
        load_scenario(tmp_path / "bad.toml")


def test_windows_text(tmp_path: Path) -> None:
    """A byte order mark and CRLF ends do no harm, and lines are counted right."""
    path = tmp_path / "w.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_scenario(path).name == "test"
    path.write_bytes(path.read_bytes().replace(b"= 5", b"= -5"))
    with pytest.raises(ScenarioError, match=r"w\.toml:5: arrivals\.rate_per_s: is -5"):
        load_scenario(path)


def test_names_of_shipped_scenarios() -> None:
    """They are found by name; an unknown name lists them, with a suggestion."""
    names = shipped_scenarios()
    assert names == sorted(names)
    assert {"default", "poisson-wait", "cpu", "closed", "saturation", "nasa"} <= set(names)
    assert {"keepalive-sessions", "connection-per-request"} <= set(names)
    assert load_scenario("default").name == "small-site"
    with pytest.raises(ScenarioError) as caught:
        load_scenario("defualt")
    assert "did you mean 'default'?" in str(caught.value)
    assert all(name in str(caught.value) for name in names)
