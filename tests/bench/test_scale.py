"""workload/scale.py: one factor for all measured arrivals that come by themselves, no more."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpmlab.workload.arrivals import OpenArrivals, SessionArrivals
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.plan import Plan
from mpmlab.workload.processes import PoissonProcess
from mpmlab.workload.scale import scaled
from mpmlab.workload.scenario import Scenario, load_scenario

CLASSES = """
[[class]]
name = "page"
cpu_us = { dist = "exponential", mean = 1500 }
wait_us = { dist = "exponential", mean = 1500 }
response_bytes = 100
"""
HEAD = 'name = "s"\nduration_s = 20\n'
LOG = '10.0.0.1 - - [01/Jul/1995:00:00:{:02d} -0400] "GET / HTTP/1.0" 200 10\n'
HAR = (
    '{{"log": {{"version": "1.2", "entries": [{}]}}}}',
    '{{"startedDateTime": "2026-01-01T00:00:{:02d}.000Z", "time": 1, '
    '"request": {{"method": "GET", "url": "http://a.example/", "headersSize": 1, "bodySize": 0}}, '
    '"response": {{"status": 200, "bodySize": 10, "content": {{"size": 10}}}}, '
    '"timings": {{"wait": 1}}}}',
)
#: Arrivals of every kind that comes by itself.
KINDS = {
    "constant": 'kind = "constant"\nrate_per_s = 40',
    "poisson": 'kind = "poisson"\nrate_per_s = 40',
    "renewal": 'kind = "renewal"\nrate_per_s = 40\ngap = { dist = "pareto", alpha = 2.5 }',
    "mmpp": 'kind = "mmpp"\nstates = [{ rate_per_s = 10, mean_s = 2 }, '
    "{ rate_per_s = 90, mean_s = 1 }]",
    "piecewise": 'kind = "piecewise"\nstages = [{ duration_s = 10, rate_per_s = 20 }, '
    "{ duration_s = 10, from_per_s = 20, to_per_s = 80 }]",
    "sessions": 'kind = "sessions"\nrate_per_s = 10\nrequests_per_session = 4',
    "starts": 'kind = "sessions"\nstarts = { kind = "constant", rate_per_s = 10 }\n'
    "requests_per_session = 4",
    "accesslog": 'kind = "accesslog"\nfile = "a.log"',
    "har": 'kind = "har"\nfile = "a.har"',
}


def scenario(folder: Path, arrivals: str, more: str = "") -> Scenario:
    """With those arrivals, and recordings to replay beside it."""
    (folder / "a.log").write_text("".join(LOG.format(i % 60) for i in range(60)))
    entries = ",".join(HAR[1].format(i) for i in range(60))
    (folder / "a.har").write_text(HAR[0].format(entries))
    path = folder / "s.toml"
    classes = CLASSES.replace("response_bytes = 100\n", "") if "file" in arrivals else CLASSES
    path.write_text(f"{HEAD}[arrivals]\n{arrivals}\n{classes}{more}")
    return load_scenario(str(path))


@pytest.fixture(params=KINDS, ids=str)
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Scenario:
    """A scenario of every kind."""
    return scenario(tmp_path, KINDS[request.param])


def moments_us(plan: Plan) -> Any:
    """When requests come that have a time of their own."""
    return plan.planned_us[plan.planned_us >= 0].astype(float)


def test_everything_comes_so_much_sooner(plain: Scenario) -> None:
    """With twice the rate what came at t comes at t / 2, to the microseconds that times are rounded
    to, and twice as much of it; where the rate depends on the clock, about twice as much comes."""
    slow, fast = (compile_plan(scaled(plain, factor), 1) for factor in (1.0, 2.0))
    here, there = moments_us(slow), moments_us(fast)
    assert len(there) == pytest.approx(2 * len(here), rel=0.15)
    if fast.arrivals not in ("mmpp", "piecewise"):
        assert np.allclose(there[: len(here)], here / 2, atol=3)


def test_nothing_else_moves(plain: Scenario) -> None:
    """What each request asks for is the same: not one random number is another. And so is all of
    the scenario but the arrivals."""
    slow, fast = (compile_plan(scaled(plain, factor), 1) for factor in (1.0, 1.5))
    n = min(slow.requests, fast.requests, 50)
    for name in ("cpu_us", "wait_us", "request_bytes", "response_bytes", "klass"):
        assert np.array_equal(getattr(slow, name)[:n], getattr(fast, name)[:n]), name
    if slow.arrivals == "sessions":
        assert np.array_equal(slow.session_requests[:50], fast.session_requests[:50])
    assert (slow.duration_us, slow.warmup_us) == (fast.duration_us, fast.warmup_us)
    same = dataclasses.replace(scaled(plain, 1.5), groups=plain.groups)
    assert same == plain


def test_a_factor_of_one_changes_nothing(plain: Scenario) -> None:
    """To the last bit."""
    assert compile_plan(scaled(plain, 1.0), 1).hash == compile_plan(plain, 1).hash


def test_a_closed_workload_is_refused(tmp_path: Path) -> None:
    """Its rate is the server's: told with the file and what is accepted."""
    closed = scenario(tmp_path, 'kind = "closed"\nusers = 3')
    with pytest.raises(ScenarioError, match=r"s\.toml: a closed workload has no rate.*accepted"):
        scaled(closed, 2.0)


def test_only_measured_groups_come_faster(tmp_path: Path) -> None:
    """What stands beside is there as before, a closed group too."""
    more = """
[[group]]
name = "holders"
measured = false
[group.arrivals]
kind = "closed"
users = 2

[[group]]
name = "others"
measured = false
[group.arrivals]
kind = "poisson"
rate_per_s = 5
"""
    plain = scenario(tmp_path, KINDS["poisson"], more)
    fast = scaled(plain, 3.0)
    assert fast.groups[1:] == plain.groups[1:]
    main = fast.groups[0].arrivals
    assert isinstance(main, OpenArrivals)
    assert main.process == PoissonProcess(rate_per_s=120.0)


def test_sessions_keep_their_thinks(tmp_path: Path) -> None:
    """More sessions, not faster ones."""
    plain = scenario(tmp_path, KINDS["sessions"] + "\nthink_s = 0.2")
    fast = scaled(plain, 2.0).groups[0].arrivals
    before = plain.groups[0].arrivals
    assert isinstance(fast, SessionArrivals)
    assert isinstance(before, SessionArrivals)
    assert fast == dataclasses.replace(before, starts=PoissonProcess(rate_per_s=20.0))


def test_an_unknown_process_is_not_passed_over() -> None:
    """A kind of arrivals that is new has to be named here, or a search would stand still."""
    read = load_scenario("default")
    odd: Any = OpenArrivals(process=object())  # type: ignore[arg-type]
    groups = (dataclasses.replace(read.groups[0], arrivals=odd),)
    with pytest.raises(TypeError, match="no rate is known of object"):
        scaled(dataclasses.replace(read, groups=groups), 2.0)
