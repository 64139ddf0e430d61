"""Compiling: pinned plans, arrival statistics, structures, independence of the streams."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpmlab.workload.compile import compile_plan
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import load_scenario
from tests.workload.workload_samples import ONE_CLASS, plan_with, scenario_of, scenario_with

SESSIONS = (
    'kind = "sessions"\nrate_per_s = 100\n'
    'requests_per_session = { dist = "geometric", mean = 4 }\n'
    'think_s = { dist = "exponential", mean = 0.2 }\n'
)
CLOSED = 'kind = "closed"\nusers = 7\nrequests_listed = 5\n'
TWO_CLASSES = """
[[class]]
name = "a"
weight = 3
cpu_us = { dist = "exponential", mean = 1000 }
wait_us = { dist = "lognormal", mean = 5000, cv = 1 }
[[class]]
name = "b"
cpu_us = 7
response_bytes = { dist = "pareto", low = 100, high = 10000, alpha = 1.1 }
"""


def test_single_requests(tmp_path: Path) -> None:
    """poisson and constant: each request is a session of its own, without reuse by default."""
    for kind in ("poisson", "constant"):
        plan = plan_with(tmp_path, f'kind = "{kind}"\nrate_per_s = 50')
        assert plan.sessions == plan.requests
        assert not plan.groups[0].client.keep_alive
        assert np.array_equal(plan.planned_us, plan.session_start_us)
        kept = plan_with(tmp_path, f'kind = "{kind}"\nrate_per_s = 50\nkeep_alive = true')
        assert kept.groups[0].client.keep_alive
        assert (plan.arrivals, kept.arrivals) == (kind, kind)


def test_sessions(tmp_path: Path) -> None:
    """Numbers per session and thinks have their distributions; only first requests are absolute and
    do not think; the offered rate is that of sessions times requests."""
    plan = plan_with(tmp_path, SESSIONS, duration_s=100)
    counts = plan.session_requests
    deviation = math.sqrt(1 - 1 / 4) * 4
    assert float(counts.mean()) == pytest.approx(4, abs=5 * deviation / math.sqrt(plan.sessions))
    later = np.ones(plan.requests, dtype=np.bool_)
    later[plan.session_first] = False
    assert np.all(plan.planned_us[later] == -1)
    assert np.all(plan.think_us[~later] == 0)
    thinks = plan.think_us[later]
    assert float(thinks.mean()) == pytest.approx(2e5, abs=5 * 2e5 / math.sqrt(len(thinks)))
    assert plan.groups[0].client.keep_alive
    # The variance of a compound Poisson count: rate * time * E[N^2], of which E[N^2] = 28.
    assert plan.offered_rate == pytest.approx(400, abs=5 * math.sqrt(100 * 28 / 100) + 4)


def test_closed(tmp_path: Path) -> None:
    """A cycle of the listed length for each user; without think and ramp all begin at once."""
    plan = plan_with(tmp_path, CLOSED)
    assert plan.cycle
    assert plan.session_requests.tolist() == [5] * 7
    assert plan.session_start_us.tolist() == [0] * 7
    assert plan.offered_rate is None


def test_closed_users_begin_thinking(tmp_path: Path) -> None:
    """Starts are the ramp's moments plus the first thinks, sorted; users who would begin after the
    end are left out."""
    plan = plan_with(tmp_path, f"{CLOSED}ramp_s = 7\n")
    assert plan.session_start_us.tolist() == [i * 1_000_000 for i in range(7)]
    assert plan_with(tmp_path, f"{CLOSED}ramp_s = 7\n", duration_s=3).sessions == 3
    thinking = plan_with(
        tmp_path, f'{CLOSED}think_s = {{ dist = "exponential", mean = 1 }}\n', duration_s=60
    )
    assert np.all(np.diff(thinking.session_start_us) >= 0)
    assert np.array_equal(thinking.think_us[thinking.session_first], thinking.session_start_us)


def test_demands_follow_their_class(tmp_path: Path) -> None:
    """Classes come by weight; each request has the demands of its class, and only those."""
    plan = plan_with(tmp_path, 'kind = "constant"\nrate_per_s = 2000', TWO_CLASSES)
    a = plan.klass == 0
    n = plan.requests
    assert float(np.mean(a)) == pytest.approx(0.75, abs=5 * math.sqrt(0.75 * 0.25 / n))
    error = 5 * 1000 / math.sqrt(n * 0.75)
    assert float(plan.cpu_us[a].mean()) == pytest.approx(1000, abs=error)
    assert np.all(plan.cpu_us[~a] == 7)
    assert np.all(plan.wait_us[~a] == 0)
    assert np.all(plan.response_bytes[a] == 0)
    assert plan.response_bytes[~a].min() >= 100
    assert plan.response_bytes[~a].max() <= 10_000


def same_columns(one: Plan, other: Plan, but: set[str]) -> None:
    """All columns are equal but these, and these do differ."""
    for name in ("planned_us", "think_us", "klass", "cpu_us", "wait_us", "response_bytes"):
        equal = np.array_equal(getattr(one, name), getattr(other, name))
        assert equal == (name not in but), name


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        ("mean = 1000", "mean = 2000", {"cpu_us"}),
        ("mean = 5000", "mean = 6000", {"wait_us"}),
        ("cpu_us = 7", 'cpu_us = { dist = "uniform", low = 1, high = 9 }', {"cpu_us"}),
        ("alpha = 1.1", "alpha = 2.1", {"response_bytes"}),
        ("mean = 0.2", "mean = 0.3", {"think_us"}),
    ],
)
def test_changing_one_stream_moves_no_other(
    tmp_path: Path, old: str, new: str, moved: set[str]
) -> None:
    """Another distribution of one thing leaves every number of everything else where it was."""
    text = f'name = "t"\nduration_s = 10\n[arrivals]\n{SESSIONS}{TWO_CLASSES}'
    assert old in text
    before = compile_plan(scenario_of(tmp_path, text), 1)
    after = compile_plan(scenario_of(tmp_path, text.replace(old, new)), 1)
    same_columns(before, after, moved)


def test_a_new_class_moves_no_request_that_keeps_its_own(tmp_path: Path) -> None:
    """Requests that remain in a class keep their demands when a class is added."""
    arrivals = 'kind = "poisson"\nrate_per_s = 200'
    before = plan_with(tmp_path, arrivals, TWO_CLASSES)
    after = plan_with(tmp_path, arrivals, TWO_CLASSES + '[[class]]\nname = "c"\nweight = 2')
    still = (before.klass == 0) & (after.klass == 0)
    assert 0 < np.count_nonzero(still) < np.count_nonzero(before.klass == 0)
    assert np.array_equal(before.cpu_us[still], after.cpu_us[still])
    assert np.array_equal(before.planned_us, after.planned_us)


@pytest.mark.parametrize("arrivals", ['kind = "poisson"\nrate_per_s = 90', SESSIONS])
def test_another_duration(tmp_path: Path, arrivals: str) -> None:
    """--duration: the sessions in common are the same ones; the warm-up shrinks with a shorter run
    and stays in a longer one."""
    scenario = replace(scenario_with(tmp_path, arrivals, TWO_CLASSES), warmup_us=2_000_000)
    plan = compile_plan(scenario, 1)
    short, long = compile_plan(scenario, 1, 5), compile_plan(scenario, 1, 20.5)
    assert (short.duration_us, short.warmup_us) == (5_000_000, 1_000_000)
    assert (long.duration_us, long.warmup_us) == (20_500_000, 2_000_000)
    for one, more in ((short, plan), (plan, long)):
        for name in ("planned_us", "think_us", "klass", "cpu_us", "wait_us", "response_bytes"):
            assert np.array_equal(getattr(one, name), getattr(more, name)[: one.requests]), name


@pytest.mark.parametrize("duration_s", [0, -1, math.nan, math.inf, 1e9])
def test_bad_durations(duration_s: float) -> None:
    """A duration that is none is refused, with the range."""
    with pytest.raises(ScenarioError, match=r"duration is .* accepted: 0\.001 to 604800 s"):
        compile_plan(load_scenario("default"), 1, duration_s)


@pytest.mark.parametrize(
    ("arrivals", "complaint"),
    [
        ('kind = "poisson"\nrate_per_s = 1e-9', "not one request comes within 10 s"),
        ('kind = "closed"\nusers = 3\nthink_s = 60', "not one request comes within 10 s"),
        ('kind = "constant"\nrate_per_s = 1e6\n', None),
        ('kind = "closed"\nusers = 1000000', "users times requests_listed gives 2e+08 requests"),
        (
            'kind = "sessions"\nrate_per_s = 1e6\nrequests_per_session = 2',
            "requests_per_session gives 2e+07 requests; accepted: at most 10,000,000",
        ),
    ],
)
def test_too_few_and_too_many(tmp_path: Path, arrivals: str, complaint: str | None) -> None:
    """Nothing at all, or more than memory should hold, is one error that names file and key."""
    scenario = scenario_with(tmp_path, arrivals, ONE_CLASS)
    if complaint is None:
        assert compile_plan(scenario, 1, 0.5).requests == 500_000
        return
    with pytest.raises(ScenarioError) as caught:
        compile_plan(scenario, 1)
    assert str(caught.value).startswith(f"{tmp_path / 'test.toml'}: arrivals")
    assert complaint in str(caught.value)
