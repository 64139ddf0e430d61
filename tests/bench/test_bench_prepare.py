"""From what the user typed to tasks: what is chosen, what overrides what, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpmlab.bench.gates import Strictness
from mpmlab.bench.prepare import RequestError, chosen_mpms, experiment_of, prepare
from mpmlab.core.directives import DirectiveError
from mpmlab.mpms.catalog import CATALOG
from mpmlab.workload.errors import ScenarioError
from tests.bench.bench_data import asked

SHORT = """\
name = "s"
duration_s = 1
warmup_s = 0.9
[arrivals]
kind = "constant"
rate_per_s = 20
[[class]]
name = "a"
response_bytes = 1
"""


def test_mpms_are_chosen_by_name_all_or_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, in the order given, by any of its names; the default is what httpd 2.4 would
    choose; all are those that httpd has here, if it is to run."""
    assert chosen_mpms("event, prefork,event") == ("event", "prefork")
    assert chosen_mpms("mpm_winnt,mpmt_os2,WinNT") == ("winnt", "os2")
    assert chosen_mpms("all") == tuple(CATALOG)
    assert chosen_mpms("all", ("httpd", "sim")) == ("prefork", "worker", "event")
    with pytest.raises(RequestError, match="unknown MPM 'winnt'; accepted: prefork, worker, event"):
        chosen_mpms("winnt", ("httpd",))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert chosen_mpms(None) == ("event",)
    monkeypatch.setattr("platform.system", lambda: "Windows")
    assert chosen_mpms(None) == ("winnt",)


def test_what_an_mpm_lacks_is_left_out_and_said(tmp_path: Path) -> None:
    """Of a scenario, which is for any MPM, and of --set with all; what nobody has is refused, as
    is what a named one lacks."""
    path = tmp_path / "s.toml"
    path.write_text(SHORT + "[directives]\nMaxRequestWorkers = 25\n")
    bench = prepare(asked(scenario=str(path), mpms="prefork,winnt,beos"))
    assert [task.directives for task in bench.tasks] == [
        (("MaxRequestWorkers", "25"),), (), (("MaxRequestWorkers", "25"),)
    ]  # fmt: skip
    assert bench.left_out == ("winnt has no MaxRequestWorkers: left out",)
    bench = prepare(asked(scenario=str(path), mpms="all", sets=["StartThreads=9"]))
    given = {task.mpm: dict(task.directives).get("StartThreads") for task in bench.tasks}
    assert {mpm for mpm, value in given.items() if value == "9"} == {"netware", "beos"}
    with pytest.raises(DirectiveError, match="StartTreads"):
        prepare(asked(mpms="all", sets=["StartTreads=9"]))
    with pytest.raises(DirectiveError, match="belongs to netware, beos"):
        prepare(asked(mpms="worker,netware", sets=["StartThreads=9"]))


def test_an_older_version_has_its_defaults() -> None:
    """--httpd-version 2.2: what it has otherwise, and what is given overrides it."""
    (task,) = prepare(asked(version="2.2")).tasks
    assert (task.known().timeout_s, task.known().max_connections_per_child) == (300, 10_000)
    assert task.known().limit_request_body == 0
    (task,) = prepare(asked(version="2.2", sets=["Timeout=7"])).tasks
    assert task.known().timeout_s == 7
    (task,) = prepare(asked(mpms="netware", version="2.2")).tasks
    assert task.known().max_connections_per_child == 0


def test_set_overrides_the_scenario(tmp_path: Path) -> None:
    """Scenario first, then --set in order: the last wins, and all are kept as given."""
    path = tmp_path / "s.toml"
    path.write_text(
        'name = "s"\nduration_s = 1\n[arrivals]\nkind = "poisson"\nrate_per_s = 20\n'
        '[[class]]\nname = "a"\nresponse_bytes = 1\n[directives]\nTimeout = 7\nStartServers = 2\n'
    )
    bench = prepare(asked(scenario=str(path), seed=3, sets=["Timeout=8", "timeout=9"]))
    (task,) = bench.tasks
    assert task.known().timeout_s == 9
    assert task.known().start_servers == 2
    assert [name for name, _ in task.directives] == [
        "Timeout",
        "StartServers",
        "Timeout",
        "timeout",
    ]
    assert bench.scenario_text == path.read_text()
    assert (bench.plan.seed, task.duration_s, task.timeout_s) == (3, 1.0, 5.0)


def test_a_directive_of_another_mpm_is_refused_for_that_mpm() -> None:
    """`--mpm worker,prefork --set ThreadsPerChild=8` cannot be meant."""
    with pytest.raises(DirectiveError, match="prefork"):
        prepare(asked(mpms="worker,prefork", sets=["ThreadsPerChild=8"]))
    with pytest.raises(ScenarioError):
        prepare(asked(scenario="no-such-scenario"))


def test_a_rate_is_the_plans_to_a_few_per_cent() -> None:
    """--rate makes the measured clients come faster: the plan offers what was asked for within the
    scatter of its draws, the experiment says what was asked, and nothing else changes."""
    plain, faster = prepare(asked(duration_s=20)), prepare(asked(duration_s=20, rate_per_s=400))
    assert plain.rate_per_s is None
    offered = faster.plan.offered_rate
    assert offered is not None
    assert offered == pytest.approx(400, rel=0.1)
    assert experiment_of(faster, faster.tasks[0], "made up").rate_per_s == 400
    assert faster.tasks[0].plan is faster.plan
    assert faster.tasks[0].settings == plain.tasks[0].settings
    assert faster.plan.duration_us == plain.plan.duration_us
    assert faster.plan.hash != plain.plan.hash


def test_a_rate_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """A closed workload has none, and where no request falls into the window there is none to
    change: both are told, with what is accepted."""
    with pytest.raises(ScenarioError, match="closed workload has no rate"):
        prepare(asked(scenario="closed", rate_per_s=100))
    path = tmp_path / "s.toml"
    path.write_text(SHORT.replace("rate_per_s = 20", "rate_per_s = 1"))
    with pytest.raises(RequestError, match=r"no rate to change.*--duration"):
        prepare(asked(scenario=str(path), rate_per_s=100))


@pytest.mark.parametrize(
    ("typed", "repetitions"),
    [
        ({}, 1),
        ({"repetitions": 3}, 3),
        ({"publish": True}, 10),
        ({"publish": True, "repetitions": 12}, 12),
        ({"publish": True, "engines": "sim"}, 1),
        ({"publish": True, "engines": "sim,real"}, 10),
    ],
)
def test_repetitions(typed: dict[str, Any], repetitions: int) -> None:
    """One, as many as asked, and ten of what is to be published; a simulation is never repeated."""
    bench = prepare(asked(**{"engines": "real", **typed}))
    assert bench.repetitions == repetitions
    wanted = Strictness.PUBLISH if "publish" in typed else Strictness.DEFAULT
    assert bench.strictness is wanted


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"publish": True, "repetitions": 9, "engines": "real"}, "--repeat 9.*at least 10"),
        ({"repetitions": 2, "engines": "sim"}, "--repeat 2.*same to the last bit.*--seed"),
    ],
)
def test_what_cannot_be_is_refused(typed: dict[str, Any], words: str) -> None:
    """Before anything runs, and with what is accepted."""
    with pytest.raises(RequestError, match=words):
        prepare(asked(**typed))


def test_the_percentiles_asked_are_the_objectives() -> None:
    """p99 without any; of several objectives each once, and those without a percentile not."""
    assert prepare(asked()).quantiles() == (0.99,)
    assert prepare(asked(slo="errors<1%")).quantiles() == (0.99,)
    slo = "p50<1s,p99.9<2s,service_p50<1s,errors<1%"
    assert prepare(asked(slo=slo)).quantiles() == (0.5, 0.999)


def test_one_link_is_for_all_clients(tmp_path: Path) -> None:
    """--network namespace has one link: groups that are on different ones are refused before
    anything runs; with the clients' own pacing they are fine, and so is one link for all."""
    path = tmp_path / "s.toml"
    text = (
        SHORT
        + """
[[group]]
name = "far"
[group.arrivals]
kind = "constant"
rate_per_s = 10
[group.client]
rtt_s = 0.1
"""
    )
    path.write_text(text)
    assert prepare(asked(scenario=str(path))).tasks[0].network == "pacing"
    with pytest.raises(RequestError, match=r"--network namespace.*--network pacing"):
        prepare(asked(scenario=str(path), network="namespace"))
    path.write_text(text.replace("[[class]]", "[client]\nrtt_s = 0.1\n[[class]]", 1))
    assert prepare(asked(scenario=str(path), network="namespace")).tasks[0].network == "namespace"
