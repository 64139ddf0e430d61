"""Suites: the shipped one covers what it says, wrong ones are named, pools are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpmlab.bench.suite import (
    HELD_OUT,
    ROLES,
    TRAIN,
    Case,
    Suite,
    Target,
    load_suite,
    pool_directives,
)
from mpmlab.bench.validate import wanted
from mpmlab.bench.validation import ALL, BANDS
from mpmlab.core.directives import effective
from mpmlab.workload.errors import ScenarioError

MPMS = ("prefork", "worker", "event")


def write(tmp_path: Path, text: str) -> str:
    """A suite's file."""
    path = tmp_path / "suite.toml"
    path.write_text(f'name = "s"\n{text}')
    return str(path)


def test_the_reference_covers_what_validation_asks_for() -> None:
    """Waits, CPU, mixed classes, sessions, a connection each, bursts, slow clients, small and
    large pools, an access log; and every kind of demand has a case that no fit may see."""
    suite = load_suite("reference")
    scenarios = {case.scenario for case in suite.cases}
    assert scenarios >= {
        "poisson-wait", "cpu", "default", "keepalive-sessions", "connection-per-request", "bursty",
        "slow-readers", "slowloris", "nasa", "saturation", "spike",
    }  # fmt: skip
    unseen = [case for case in suite.cases if case.role == HELD_OUT]
    assert {case.scenario for case in unseen} == scenarios
    assert len(unseen) > len(suite.cases) / 2
    assert {case.role for case in suite.cases} == set(ROLES)
    pools = {case.pool for case in suite.cases}
    assert min(pools - {0}) <= 10
    assert max(pools) >= 100


def test_every_case_can_be_prepared_for_every_mpm() -> None:
    """Scenario, rate and pool go together, so that no validation fails in its middle; held-out
    cases ask something else than those for fitting."""
    suite = load_suite("reference")
    asked = wanted(suite, suite.cases, MPMS, "real", 1, 1, None)
    assert len(asked.benches) == 3 * len(suite.cases)
    plans = {role: set() for role in ROLES}  # type: dict[str, set[tuple[str, int]]]
    for case, bench in asked.benches:
        (task,) = bench.tasks
        plans[case.role].add((bench.plan.hash, case.pool))
        if case.pool:
            settings = task.known()
            assert settings.daemons_limit * settings.threads_per_child == case.pool
            assert task.start_workers == case.pool
    assert not plans[TRAIN] & plans[HELD_OUT]


@pytest.mark.parametrize("mpm", MPMS)
@pytest.mark.parametrize("workers", [1, 7, 25, 50, 400])
def test_a_fixed_pool_neither_grows_nor_shrinks(mpm: str, workers: int) -> None:
    """It starts with all its workers, has no more, and none is spare enough to end; httpd has
    nothing to say about the directives."""
    settings = effective(mpm, pool_directives(mpm, workers))
    assert settings.messages == ()
    assert settings.start_servers * settings.threads_per_child == workers
    assert settings.daemons_limit * settings.threads_per_child == workers
    spare = settings.max_spare_servers if mpm == "prefork" else settings.max_spare_threads
    assert spare >= workers


def test_no_pool_leaves_the_directives_alone() -> None:
    """The pool is the scenario's, or httpd's own."""
    assert pool_directives("event", 0) == ()


def test_turns_go_back_and_forth() -> None:
    """Every other repetition backwards, as all that is repeated here."""
    suite = load_suite("reference")
    asked = wanted(suite, suite.cases[:2], ("event",), "real", 2, 1, 1.0)
    names = [(repetition, case.name) for repetition, case, _ in asked.turns()]
    first, second = suite.cases[0].name, suite.cases[1].name
    assert names == [(1, first), (1, second), (2, second), (2, first)]
    assert not asked.whole


def test_a_part_of_a_suite_is_not_the_whole() -> None:
    """The whole is every held-out case, with or without those for fitting."""
    suite = load_suite("reference")
    unseen = [case for case in suite.cases if case.role == HELD_OUT]
    assert wanted(suite, unseen, ("event",), "real", 1, 1, 1.0).whole
    assert not wanted(suite, unseen[1:], ("event",), "real", 1, 1, 1.0).whole


# ---- calibration ---------------------------------------------------------------------------------


def asks(suite: Suite, mpm: str = "prefork") -> list[tuple[Case, str]]:
    """Each case with the hash of its plan: the same for the same load."""
    asked = wanted(suite, suite.cases, (mpm,), "real", 1, 1, None)
    return [(case, bench.plan.hash) for case, bench in asked.benches]


def test_what_is_fitted_to_is_held_out_nowhere() -> None:
    """All cases of the calibration are for fitting; none is a held-out case of the reference, by
    scenario, by scenario with rate and pool, or by what is asked of the server."""
    calibration, reference = load_suite("calibration"), load_suite("reference")
    assert {case.role for case in calibration.cases} == {TRAIN}
    unseen = [(case, plan) for case, plan in asks(reference) if case.role == HELD_OUT]
    fitted = asks(calibration)
    assert unseen
    assert fitted

    def name(case: Case) -> str:
        return Path(case.scenario).stem

    assert not {name(case) for case, _ in fitted} & {name(case) for case, _ in unseen}
    assert not {(name(c), c.rate_per_s, c.pool) for c, _ in fitted} & {
        (name(c), c.rate_per_s, c.pool) for c, _ in unseen
    }
    assert not {plan for _, plan in fitted} & {plan for _, plan in unseen}


def test_the_calibration_is_a_minute_and_tells_its_parameters_apart() -> None:
    """Every MPM can run it; saturated runs over numbers of users, connections, sizes and demand,
    and three open runs with pools of different sizes, which tell the memory of a worker."""
    suite = load_suite("calibration")
    for mpm in MPMS:
        asked = wanted(suite, suite.cases, (mpm,), "real", 1, 1, None)
        plans = {case.name: bench.plan for case, bench in asked.benches}
        assert sum(plan.duration_us for plan in plans.values()) < 60e6
        closed = {name for name, plan in plans.items() if plan.offered_rate is None}
        assert {plans[name].sessions for name in closed} == {1, 4, 16, 48}
        pools = {case.pool for case in suite.cases if case.name not in closed}
        assert len(pools) == 3
    assert {len(set(plan.response_bytes)) for plan in plans.values()} == {1}
    assert len({int(plan.response_bytes[0]) for plan in plans.values()}) == 2
    assert int(plans["computing-16"].cpu_us.max()) == 1000
    assert int(plans["users-16"].cpu_us.max()) == 0


GOOD = '[[case]]\nname = "a"\nscenario = "cpu"\nrole = "train"\n'


def test_a_suite_is_read(tmp_path: Path) -> None:
    """All keys, and what they are without."""
    text = GOOD + '[[case]]\nname = "b"\nscenario = "cpu"\nrole = "held-out"\nrate_per_s = 5\n'
    text += "pool = 50\nduration_s = 3\n"
    suite = load_suite(write(tmp_path, text))
    assert suite.cases == (
        Case("a", "cpu", "train", None, 0, None),
        Case("b", "cpu", "held-out", 5.0, 50, 3.0),
    )


def test_a_scenario_stands_beside_its_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path is relative to the suite's folder, wherever we are; an absolute one is as it is."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    absolute = str(elsewhere / "b.toml")
    text = GOOD.replace('"cpu"', '"own/a.toml"')
    text += GOOD.replace('"cpu"', f'"{absolute}"').replace('"a"', '"b"')
    path = write(tmp_path, text)
    monkeypatch.chdir(elsewhere)
    first, second = load_suite(path).cases
    assert first.scenario == str(tmp_path / "own" / "a.toml")
    assert second.scenario == absolute


def test_a_suite_s_own_scenario_is_run(tmp_path: Path) -> None:
    """With its name and its rate; one that is not there is named."""
    (tmp_path / "own.toml").write_text(
        'name = "mine"\nduration_s = 2\nwarmup_s = 1\n[arrivals]\nkind = "constant"\n'
        'rate_per_s = 50\n[[class]]\nname = "all"\n'
    )
    suite = load_suite(write(tmp_path, GOOD.replace('"cpu"', '"own.toml"')))
    ((_, bench),) = wanted(suite, suite.cases, ("event",), "real", 1, 1, None).benches
    assert bench.plan.scenario == "mine"
    assert bench.plan.offered_rate == pytest.approx(50, rel=0.05)
    missing = load_suite(write(tmp_path, GOOD.replace('"cpu"', '"nonesuch.toml"')))
    with pytest.raises(ScenarioError, match=r"nonesuch\.toml"):
        wanted(missing, missing.cases, ("event",), "real", 1, 1, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD + GOOD, r"suite.toml:\d+: .*name.*'a' is there twice"),
        (GOOD.replace("train", "test"), r"suite.toml:5: .*role.*train, held-out"),
        (GOOD.replace('"cpu"', '"cqu"'), r"suite.toml:4: .*scenario.*'cqu' is not shipped; accept"),
        (GOOD + "pool = 30\n", r"suite.toml:6: .*pool.*is 30; accepted: up to 25, or a multiple"),
        (GOOD + "pool = 0\n", r"suite.toml:6: .*pool"),
        (GOOD + "rate_per_s = -1\n", r"suite.toml:6: .*rate_per_s"),
        (GOOD + "colour = 1\n", r"suite.toml:6: .*colour"),
        ("[[case]]\nname = 'a'\n", r"suite.toml:2: .*scenario.*missing"),
        ("", r"suite.toml.*case"),
    ],
)
def test_wrong_suites_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    """File, line, key, and what is accepted."""
    with pytest.raises(ScenarioError, match=complaint):
        load_suite(write(tmp_path, text))


# ---- targets -------------------------------------------------------------------------------------


def test_the_reference_asks_for_what_was_promised() -> None:
    """Throughput, mean and p99 by utilisation, memory, prediction bands above .85, the order."""
    low, middle, high = BANDS[:2], BANDS[2:3], BANDS[3:]
    assert set(load_suite("reference").targets) == {
        Target("throughput_rps", low, 1),
        Target("throughput_rps", middle, 1),
        Target("throughput_rps", high, 3, 7),
        Target("mean_ms", low, 5, 10),
        Target("mean_ms", middle, 9, 18),
        Target("p99_ms", low, 7, 12),
        Target("p99_ms", middle, 15, 25),
        Target("memory_mib", (), 5),
        Target("mean_ms", high, inside_percent=85),
        Target("p99_ms", high, inside_percent=85),
        Target(ALL, right_percent=95),
    }


def test_targets_are_read(tmp_path: Path) -> None:
    """Each kind, with and without what may be left out; a suite may have none."""
    text = GOOD + (
        '[[target]]\nfigure = "p50_ms"\nmedian_percent = 2.5\n'
        '[[target]]\nfigure = "p99_ms"\nbands = ["above .85", "to .5"]\ninside_percent = 0\n'
        '[[target]]\nfigure = "mean_ms"\nright_percent = 100\n'
    )
    assert load_suite(write(tmp_path, text)).targets == (
        Target("p50_ms", (), 2.5),
        Target("p99_ms", ("above .85", "to .5"), inside_percent=0),
        Target("mean_ms", right_percent=100),
    )
    assert load_suite(write(tmp_path, GOOD)).targets == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r":6: target\[1\].median_percent: nothing is asked for; accepted: one of median_per"),
        ("median_percent = 1\ninside_percent = 1\n",
         r":8: .*inside_percent: median_percent and inside_percent is asked for; accepted: one of"),
        ("median_percent = 1\n", r":6: .*figure: missing; accepted: throughput_rps, mean_ms"),
        ('figure = "p98_ms"\nmedian_percent = 1\n', r":7: .*figure: .*did you mean 'p99_ms'"),
        ('figure = "mean_ms"\nmedian_percent = 0\n', r":8: .*median_percent.*above 0"),
        ('figure = "mean_ms"\nmedian_percent = 5\np90_percent = 4\n',
         r":9: .*p90_percent: is 4; accepted: a number from 5"),
        ('figure = "mean_ms"\np90_percent = 4\n', r":6: .*median_percent: nothing is asked for"),
        ('figure = "mean_ms"\ninside_percent = 85\np90_percent = 4\n',
         r":9: .*p90_percent: stands with inside_percent; accepted: with median_percent"),
        ('figure = "mean_ms"\ninside_percent = 101\n', r":8: .*inside_percent.*from 0 to 100"),
        ('figure = "mean_ms"\ninside_percent = 1\nbands = []\n', r":9: .*bands: .*a list of"),
        ('figure = "mean_ms"\ninside_percent = 1\nbands = "to .5"\n', r":9: .*bands: .*a list of"),
        ('figure = "mean_ms"\ninside_percent = 1\nbands = ["to .6"]\n',
         r""":9: .*bands: is \['to .6'\]; accepted: a list of "to .5", ".5 to .7", """),
        ('figure = "mean_ms"\ninside_percent = 1\nbands = ["to .5", "to .5"]\n',
         r":9: .*bands: .*each once"),
        ('right_percent = 95\nbands = ["to .5"]\n', r":8: .*bands: .*accepted: none"),
        ('right_percent = 95\nfigure = "memory_mib"\n',
         r":8: .*figure: .*accepted: throughput_rps, mean_ms, p99_ms, all"),
        ("right_percent = true\n", r":7: .*right_percent: is True"),
        ("colour = 1\n", r":7: .*colour: unknown key"),
    ],
)  # fmt: skip
def test_wrong_targets_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    """File, line, key, and what is accepted."""
    with pytest.raises(ScenarioError, match=r"suite\.toml" + complaint):
        load_suite(write(tmp_path, f"{GOOD}[[target]]\n{text}"))


def test_a_suite_that_is_not_there() -> None:
    """One error that names the file."""
    with pytest.raises(ScenarioError, match=r"nonesuch\.toml"):
        load_suite("nonesuch")
