"""Suites: the shipped one covers what it says, wrong ones are named, pools are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpmlab.bench.suite import (
    HELD_OUT,
    ROLES,
    TRAIN,
    Case,
    load_suite,
    pool_directives,
)
from mpmlab.bench.validate import wanted
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


def test_a_suite_that_is_not_there() -> None:
    """One error that names the file."""
    with pytest.raises(ScenarioError, match=r"nonesuch\.toml"):
        load_suite("nonesuch")
