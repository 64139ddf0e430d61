"""Classes whose requests crash their handler: as they are read, planned, stored and asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpmlab.core.count_wire import CountClient
from mpmlab.core.demand import demand_of, target_of
from mpmlab.load.recorder import Outcome
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import Scenario, load_scenario
from tests.mpms.lab import Lab
from tests.mpms.loaded import PYTHONLIKE, run_plan

TEXT = """\
name = "c"
duration_s = 4
[arrivals]
kind = "constant"
rate_per_s = 50
[[class]]
name = "good"
weight = 9
wait_us = 5000
response_bytes = 10
[[class]]
name = "bad"
weight = 1
crash = true
"""


def scenario(tmp_path: Path, text: str = TEXT) -> Scenario:
    """Read from a file."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load_scenario(str(path))


def test_a_class_crashes_if_it_says_so(tmp_path: Path) -> None:
    """And its requests are those of the plan, which is stored and read with it."""
    read = scenario(tmp_path)
    assert [one.crash for one in read.classes] == [False, True]
    plan = compile_plan(read, 3)
    assert plan.crash_classes == ("bad",)
    assert plan.request_crash().tolist() == (plan.klass == 1).tolist()
    assert 5 < plan.request_crash().sum() < 40
    plan.save(tmp_path / "plan.npz")
    again = Plan.load(tmp_path / "plan.npz")
    assert again == plan
    assert again.crash_classes == plan.crash_classes


def test_a_plan_without_crashes_keeps_its_hash(tmp_path: Path) -> None:
    """crash = false is as if it were not said; true is another plan."""
    plain = TEXT.replace("crash = true\n", "")
    hashes = [
        compile_plan(scenario(tmp_path, text), 1).hash
        for text in (plain, plain + "crash = false\n", TEXT)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("line", "words"),
    [("crash = 1", "accepted: true, false"), ("crash = true\nstatic = true", "one of the two")],
)
def test_what_is_wrong_is_told(tmp_path: Path, line: str, words: str) -> None:
    """A number is no answer, and a file crashes nobody."""
    with pytest.raises(ScenarioError, match=words):
        scenario(tmp_path, TEXT.replace("crash = true", line))


@pytest.mark.parametrize(
    ("mpm", "directives"),
    [
        ("prefork", {"StartServers": 10}),
        ("worker", {"ThreadsPerChild": 10, "MinSpareThreads": 10}),
        ("winnt", {"ThreadsPerChild": 20}),
        ("os2", {}),
    ],
)
def test_a_crash_costs_what_the_mpm_says(
    tmp_path: Path, mpm: str, directives: dict[str, object]
) -> None:
    """Every crash is lost, nothing is answered twice or forgotten, and the server is there
    afterwards: of prefork only the crashing requests fail; of os2, which catches them, too, but
    they get no answer before their child has ended."""
    plan = compile_plan(scenario(tmp_path), 3)
    lab = Lab(mpm, directives, platform=PYTHONLIKE)
    records = run_plan(lab, plan)
    lab.run(lab.world.now + 10)  # the parent has heard of the last death
    crashes = int(plan.request_crash().sum())
    failed = records.error != Outcome.OK
    lost = {int(index) for index in records.index[failed]}
    assert {int(i) for i in plan.request_crash().nonzero()[0]} <= lost
    if mpm == "prefork":
        assert len(lost) == crashes
        assert len(lab.logged("AH00052")) == crashes
    elif mpm == "worker":
        assert len(lost) >= crashes
        assert 0 < len(lab.logged("AH00052")) <= crashes  # two may have had one child
    elif mpm == "winnt":
        assert 0 < len(lab.logged("AH00428")) <= crashes
    good = set(range(plan.requests)) - lost
    assert max(good) > max(lost) or mpm == "os2"  # it serves on after the last crash


def test_the_demand_travels_in_the_target(tmp_path: Path) -> None:
    """What the client writes is what the server reads."""
    plan = compile_plan(scenario(tmp_path), 3)
    assert plan.request_crash().any()
    status, demand = demand_of("/work?crash=1")
    assert status == 200
    assert not isinstance(demand, str)
    assert demand.crash
    assert demand_of(target_of(demand)) == (200, demand)
    assert CountClient("x").request(demand, 0, True)
