"""Each gate by itself: where it turns, what it says, what it leaves alone; and the JSON form."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from mpmlab.bench.gates import (
    OVERLOAD,
    Evidence,
    Facts,
    Gate,
    Strictness,
    Verdict,
    failures,
    gates,
    overloaded,
    verdict,
)
from mpmlab.bench.speed import Speed
from tests.bench.gate_data import QUIET, made_up

PASS, FAIL, NOTE, SKIP = Verdict.PASS, Verdict.FAIL, Verdict.NOTE, Verdict.SKIP
#: Long enough for a percentile to 5 %.
GOOD = made_up(1, rate=2000, utilisation=0.2)


def with_facts(**changes: Any) -> Evidence:
    """The good run with other facts."""
    return dataclasses.replace(GOOD, facts=dataclasses.replace(QUIET, **changes))


def but(**changes: Any) -> Evidence:
    """The good run with other evidence."""
    return dataclasses.replace(GOOD, **changes)


def verdicts(seen: Evidence, strictness: Strictness = Strictness.DEFAULT) -> dict[str, Verdict]:
    """By name."""
    return {gate.name: gate.verdict for gate in gates(seen, strictness)}


def one(seen: Evidence, name: str, strictness: Strictness = Strictness.DEFAULT) -> Gate:
    """One gate's finding."""
    return next(gate for gate in gates(seen, strictness) if gate.name == name)


def speed_of(ratio: float) -> Speed:
    """A machine that changed so much."""
    return Speed(570, 570 * (1 + ratio) / 2, 570, 570 * ratio, 580)


def late(ms: float) -> Evidence:
    """Two of a hundred requests were so late."""
    return but(lateness_s=np.where(np.arange(1000) % 50 == 0, ms / 1000, 0.0))


def drifting(speed: Speed | None, utilisation: float) -> Evidence:
    """Response times that rise by a fifth on a machine that changes its speed by so much. Of a
    change by 1.15 the queue makes 1.21 at a utilisation of 0.3."""
    seen = with_facts(speed=speed, utilisation=utilisation)
    return dataclasses.replace(seen, response_s=np.linspace(1.0, 1.2, 4000))


def account_of(**changes: Any) -> Evidence:
    """The good run with an account in which these sums are others."""
    return but(account=dataclasses.replace(GOOD.account, **changes))


def fairness_of(**changes: Any) -> Evidence:
    """The good run with another share of answers."""
    return but(fairness=dataclasses.replace(GOOD.fairness, **changes))


def test_a_good_run_passes_every_gate() -> None:
    """Nothing noted, nothing skipped, when to be published neither."""
    for strictness in Strictness:
        assert set(verdicts(GOOD, strictness).values()) == {PASS}


TABLE: list[tuple[str, Evidence, Verdict, Verdict]] = [
    # gate, evidence, verdict by default, verdict of what is to be published
    ("completed", with_facts(faults=("interrupted",)), FAIL, FAIL),
    ("account", account_of(planned=GOOD.account.planned + 1), FAIL, FAIL),
    ("answers", but(answered=0), FAIL, FAIL),
    ("answers", but(answered=0, background=True), NOTE, NOTE),
    ("answers", but(answered=0, planned=0, background=True), FAIL, FAIL),
    ("lateness", late(0.99), PASS, PASS),
    ("lateness", late(1.01), FAIL, FAIL),
    ("lateness", dataclasses.replace(late(4.9), response_s=np.full(9, 0.1)), PASS, PASS),
    ("lateness", dataclasses.replace(late(5.1), response_s=np.full(9, 0.1)), FAIL, FAIL),
    ("lateness", but(lateness_s=np.zeros(0)), SKIP, SKIP),
    ("rate", but(planned=1000, taken=990), PASS, PASS),
    ("rate", but(planned=1000, taken=989), FAIL, FAIL),
    ("rate", but(planned=1000, taken=1011), FAIL, FAIL),
    ("rate", but(planned=20, taken=19), PASS, PASS),
    ("rate", but(planned=20, taken=18), FAIL, FAIL),
    ("rate", but(closed=True, taken=0), SKIP, SKIP),
    ("rate", but(planned=0), SKIP, SKIP),
    ("client", with_facts(client_busy=0.9), PASS, PASS),
    ("client", with_facts(client_busy=0.91), FAIL, FAIL),
    ("client", with_facts(client_busy=None), SKIP, SKIP),
    ("client-core", with_facts(client_foreign=0.05), PASS, PASS),
    ("client-core", with_facts(client_foreign=0.06), FAIL, FAIL),
    ("client-core", with_facts(client_foreign=None), SKIP, SKIP),
    ("server-core", with_facts(server_foreign=0.07), PASS, FAIL),
    ("server-core", with_facts(server_foreign=0.11), FAIL, FAIL),
    ("server-core", with_facts(server_foreign=None), SKIP, SKIP),
    ("speed", with_facts(speed=speed_of(1.2)), PASS, PASS),
    ("speed", with_facts(speed=speed_of(1.85)), NOTE, FAIL),
    ("speed", with_facts(speed=speed_of(2.6)), FAIL, FAIL),
    ("speed", with_facts(speed=None), SKIP, SKIP),
    ("descriptors", with_facts(shortages=1), FAIL, FAIL),
    ("descriptors", with_facts(shortages=None), SKIP, SKIP),
    ("connect-queue", with_facts(queued_connects=1), NOTE, NOTE),
    ("connect-queue", with_facts(queued_connects=GOOD.account.planned // 900), FAIL, FAIL),
    ("connect-queue", with_facts(queued_connects=None), SKIP, SKIP),
    ("arrivals", but(starts_begun_s=np.sort(GOOD.starts_begun_s) // 0.005 * 0.005), FAIL, FAIL),
    ("arrivals", but(closed=True), SKIP, SKIP),
    ("arrivals", but(starts_begun_s=np.zeros(0), starts_planned_s=np.zeros(0)), SKIP, SKIP),
    ("starvation", fairness_of(starved=1), NOTE, NOTE),
    ("starvation", fairness_of(starved=1, answers=0), SKIP, SKIP),
    ("backlog", but(backlog_growth=round(0.049 * GOOD.planned)), PASS, PASS),
    ("backlog", but(backlog_growth=round(0.051 * GOOD.planned)), FAIL, FAIL),
    ("backlog", but(backlog_growth=-5000), PASS, PASS),
    ("backlog", but(timed_out=round(0.051 * GOOD.planned)), FAIL, FAIL),
    ("backlog", but(backlog_growth=5000, background=True), NOTE, NOTE),
    ("backlog", but(backlog_growth=5000, steady=False), NOTE, NOTE),
    ("backlog", but(backlog_growth=5000, closed=True), SKIP, SKIP),
    ("backlog", but(planned=50, backlog_growth=10), PASS, PASS),
    ("backlog", but(planned=50, backlog_growth=11), FAIL, FAIL),
    ("backlog", but(planned=0), SKIP, SKIP),
    ("stationarity", but(response_s=np.linspace(1.0, 1.2, 4000)), FAIL, FAIL),
    ("stationarity", but(response_s=np.linspace(1.2, 1.0, 4000)), FAIL, FAIL),
    ("stationarity", but(response_s=np.linspace(1.0, 1.08, 4000)), PASS, PASS),
    ("stationarity", but(response_s=np.linspace(1.0, 1.2, 4000), background=True), NOTE, NOTE),
    ("stationarity", but(response_s=np.linspace(1.0, 1.2, 4000), steady=False), SKIP, SKIP),
    ("stationarity", drifting(speed_of(1.24), 0.0), NOTE, NOTE),
    ("stationarity", drifting(speed_of(1.15), 0.0), FAIL, FAIL),
    ("stationarity", drifting(speed_of(1.15), 0.3), NOTE, NOTE),
    ("stationarity", drifting(speed_of(1.15), 0.99), NOTE, NOTE),
    ("stationarity", drifting(speed_of(1.02), 0.3), FAIL, FAIL),
    ("stationarity", drifting(None, 0.3), FAIL, FAIL),
    ("stationarity", but(response_s=np.ones(100)), SKIP, SKIP),
    ("samples-p99", but(response_s=GOOD.response_s[:8000]), PASS, FAIL),
    ("samples-p99", but(response_s=GOOD.response_s[:1000]), NOTE, FAIL),
    ("samples-p99", but(response_s=GOOD.response_s[:300]), NOTE, FAIL),
    ("samples-p99", but(censored_from_s=0.0), NOTE, FAIL),
    ("samples-p99", but(response_s=np.zeros(0)), SKIP, SKIP),
    ("converged", with_facts(utilisation=0.99), NOTE, FAIL),
    ("converged", with_facts(utilisation=1.0), NOTE, FAIL),
    ("converged", with_facts(utilisation=None), SKIP, SKIP),
    ("converged", but(closed=True), SKIP, SKIP),
    ("converged", with_facts(utilisation=0.0), PASS, PASS),
]  # fmt: skip


@pytest.mark.parametrize(("name", "seen", "by_default", "published"), TABLE)
def test_where_each_gate_turns(
    name: str, seen: Evidence, by_default: Verdict, published: Verdict
) -> None:
    """One piece of evidence at a time, on both sides of the limit, by default and --publish."""
    assert one(seen, name).verdict is by_default
    assert one(seen, name, Strictness.PUBLISH).verdict is published


@pytest.mark.parametrize(("name", "seen", "by_default", "published"), TABLE)
def test_a_figure_beyond_its_limit_is_what_fails(
    name: str, seen: Evidence, by_default: Verdict, published: Verdict
) -> None:
    """Figure and limit are shown; what is over says so in its text; and all of it is JSON."""
    gate = one(seen, name)
    assert json.loads(json.dumps(gate.to_dict(), allow_nan=False))["verdict"] == by_default.value
    if by_default is SKIP:
        assert gate.figure is None
        assert gate.text.startswith("not judged: ")
    elif gate.figure is not None and name != "stationarity":  # which has a second condition
        assert gate.limit is not None
        least = name in ("answers", "converged")
        inside = gate.figure >= gate.limit if least else gate.figure <= gate.limit
        noted = published is not PASS and name in ("speed", "connect-queue")
        assert inside == (by_default is PASS or (noted and by_default is NOTE))


def test_every_gate_is_in_the_table() -> None:
    """A gate that is added must be tested where it turns."""
    assert {gate.name for gate in gates(GOOD)} == {name for name, *_ in TABLE}
    assert {name for name, *_ in TABLE} >= OVERLOAD


def test_a_simulated_run_has_gates_of_its_own() -> None:
    """Nothing about client and machine, all about the data."""
    seen = dataclasses.replace(GOOD, facts=Facts("sim", utilisation=0.2))
    names = [gate.name for gate in gates(seen)]
    assert names == [
        "completed", "account", "answers", "starvation", "backlog", "stationarity", "samples-p99",
        "converged",
    ]  # fmt: skip
    assert verdict(gates(seen))


def test_each_percentile_that_is_asked_for_has_its_gate() -> None:
    """In order, named as people write them."""
    seen = with_facts(quantiles=(0.5, 0.999))
    assert [name for name in verdicts(seen) if name.startswith("samples")] == [
        "samples-p50", "samples-p99.9",
    ]  # fmt: skip


def test_an_account_of_a_run_cut_short_is_not_held_against_it() -> None:
    """That it was cut short is failure enough."""
    seen = dataclasses.replace(
        account_of(planned=7), facts=dataclasses.replace(QUIET, faults=("SIGINT",))
    )
    assert {gate.name for gate in failures(gates(seen))} == {"completed"}
    assert one(seen, "account").verdict is SKIP


def test_texts_have_the_figures() -> None:
    """What people read: figures, limits, and what stands beside."""
    assert (
        "p99 of the client's own delay is 1.01 ms, the limit 1 ms"
        in one(late(1.01), "lateness").text
    )
    assert "MSER-5 would cut off" in one(GOOD, "stationarity").text
    assert "by the scatter of batches" in one(with_facts(quantiles=(0.5,)), "samples-p50").text
    assert "not converged" in one(with_facts(utilisation=0.99), "converged").text
    assert "never forgets" in one(with_facts(utilisation=1.2), "converged").text
    assert "Jain's index" in one(fairness_of(jain=0.5), "starvation").text
    assert "1 connections failed" in one(with_facts(shortages=1), "descriptors").text
    assert "changed by a factor of 1.85" in one(with_facts(speed=speed_of(1.85)), "speed").text


def test_only_overload_is_overload() -> None:
    """A search may take a run for "too much" if nothing else is wrong with it."""
    too_much = but(backlog_growth=5000)
    assert overloaded(gates(too_much))
    assert not overloaded(gates(GOOD))
    wrong = dataclasses.replace(too_much, facts=dataclasses.replace(QUIET, shortages=1))
    assert not overloaded(gates(wrong))


@pytest.mark.parametrize("seen", [GOOD, made_up(1, hog=True), made_up(2, rate=20)])
def test_gates_survive_json(seen: Evidence) -> None:
    """to_dict and back, whatever the verdict."""
    for gate in gates(seen):
        assert Gate.from_dict(json.loads(json.dumps(gate.to_dict(), allow_nan=False))) == gate


@pytest.mark.parametrize("change", [{"verdict": "maybe"}, {"colour": "red"}])
def test_a_gate_that_is_none_is_refused(change: dict[str, str]) -> None:
    """Another verdict, another field."""
    document = {**gates(GOOD)[0].to_dict(), **change}
    with pytest.raises((TypeError, ValueError)):
        Gate.from_dict(document)


def test_the_converged_figure_is_windows_in_relaxation_times() -> None:
    """At utilisation 0.7 and 140 answers a second: s/c = 5 ms, 0.187 s each, 42.7 in 8 s."""
    seen = dataclasses.replace(with_facts(utilisation=0.7), completed_per_s=140.0)
    gate = one(seen, "converged")
    assert gate.figure == pytest.approx(8 / (0.005 / (1 - math.sqrt(0.7)) ** 2))
    assert "measure for 37 s" in gate.advice
