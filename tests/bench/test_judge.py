"""Runs before their gates: what the gates are shown, and that they decide what they must."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mpmlab.bench.gates import Gate, Strictness, Verdict, failures
from mpmlab.bench.judge import facts_of, judged, utilisation
from mpmlab.bench.run import Run
from mpmlab.bench.samples import Samples
from mpmlab.bench.speed import Speed
from mpmlab.bench.task import Task
from mpmlab.core.directives import effective
from mpmlab.core.scoreboard import BUSY_KEEPALIVE
from mpmlab.load.recorder import Outcome
from tests.bench.bench_data import Row, failed, make_records, make_run, make_samples, ok
from tests.bench.stored_data import make_plan


def task_of(rows: list[Row], mpm: str = "prefork", **directives: str) -> Task:
    """The task whose plan asked for these rows: 10 s of which 2 are warm-up, time-out 3 s."""
    given = tuple(directives.items())
    plan = make_plan([row[0] for row in rows])
    return Task(mpm, given, effective(mpm, given, "test"), plan, timeout_s=3.0)


def gates_of(rows: list[Row], engine: str = "real", **changes: Any) -> dict[str, Gate]:
    """By name, of a run that left these rows."""
    run = dataclasses.replace(make_run(engine, make_records(rows)), **changes)
    return {gate.name: gate for gate in judged(run, task_of(rows), Strictness.DEFAULT).gates}


def steady(took_s: float = 0.01, late_s: float = 0.0, n: int = 800) -> list[Row]:
    """Requests in even steps over the 10 s, one that is answered after the other."""
    return [ok(10 * i / n, took_s, late_s) for i in range(n)]


# ---- what makes a run invalid --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late_ms", "took_ms", "valid"),
    [(0.9, 5, True), (1.1, 5, False), (4.9, 100, True), (5.1, 100, False)],
)
def test_a_late_generator_makes_a_run_invalid(late_ms: float, took_ms: float, valid: bool) -> None:
    """p99 of lateness above max(1 ms, 5 % of the median response): the run says so itself."""
    rows = steady(took_ms / 1000, late_ms / 1000)
    run = judged(make_run("real", make_records(rows)), task_of(rows), Strictness.DEFAULT)
    assert run.valid is valid
    assert [gate.name for gate in failures(run.gates)] == ([] if valid else ["lateness"])
    if not valid:
        assert f"delay is {late_ms:.3g} ms" in failures(run.gates)[0].text


def test_one_late_send_in_a_thousand_is_forgiven() -> None:
    """The gate is on p99, not on the maximum."""
    rows = [ok(2 + 0.008 * i, 0.01, 0.5 if i == 500 else 0.0) for i in range(1000)]
    assert gates_of(rows)["lateness"].verdict is Verdict.PASS


def test_a_run_without_answers_is_invalid() -> None:
    """No answers, or no requests at all in the window, cannot be valid: real or simulated."""
    for rows in ([failed(5, 0.1, Outcome.RESET)], [ok(1, 0.1)]):
        for engine in ("real", "sim"):
            assert gates_of(rows, engine)["answers"].verdict is Verdict.FAIL


def test_an_account_that_does_not_balance_is_invalid() -> None:
    """A planned request of which there is no row is found, whatever else is fine."""
    rows = steady()
    run = make_run("sim", make_records(rows[:-1]))
    found = judged(run, task_of(rows), Strictness.DEFAULT)
    assert [gate.name for gate in failures(found.gates)] == ["account"]
    assert "800 requests were planned, but 799 sent" in failures(found.gates)[0].text


def test_a_run_that_was_cut_short_is_invalid_by_itself() -> None:
    """Even before anybody has judged it; and the gate names what happened."""
    rows = steady()
    run = dataclasses.replace(make_run("real", make_records(rows)), faults=("killed",))
    assert not run.valid
    assert gates_of(rows, faults=("killed",))["completed"].text == "killed"


# ---- what the gates are shown --------------------------------------------------------------------


def test_facts_are_those_of_the_run_and_of_its_clients() -> None:
    """From the run itself, and from what the load processes said; what nobody said is None."""
    rows = steady()
    records = make_records(rows)
    plain = facts_of(make_run("real", records), task_of(rows), (0.5,))
    assert plain.quantiles == (0.5,)
    assert (plain.client_busy, plain.shortages, plain.queued_connects) == (None, None, None)
    said = {"client_busy": 0.4, "shortages": 2, "queued_connects": 3}
    run = dataclasses.replace(
        make_run("real", dataclasses.replace(records, metadata=said)),
        faults=("killed",), client_foreign=0.1, server_foreign=0.2, link={"mechanism": "x"},
        speed=Speed(1, 2, 3, 4, 5),
    )  # fmt: skip
    found = facts_of(run, task_of(rows), (0.99,))
    assert {name: getattr(found, name) for name in said} == said
    for name in ("engine", "faults", "client_foreign", "server_foreign", "link", "speed"):
        assert getattr(found, name) == getattr(run, name)


def test_each_percentile_asked_has_its_gate() -> None:
    """And strictness is passed on: what is a note by default fails what is to be published."""
    rows = steady(n=300)
    run = make_run("real", make_records(rows))
    for strictness, verdict in zip(Strictness, (Verdict.NOTE, Verdict.FAIL), strict=True):
        gates = {g.name: g for g in judged(run, task_of(rows), strictness, (0.5, 0.999)).gates}
        assert gates["samples-p99.9"].verdict is verdict
        assert gates["samples-p50"].verdict is Verdict.PASS
        assert "samples-p99" not in gates


def test_a_simulation_is_not_asked_about_its_clients() -> None:
    """They are never late, and its machine is nobody else's."""
    real, sim = gates_of(steady()), gates_of(steady(), "sim")
    assert set(real) - set(sim) == {
        "lateness", "rate", "client", "client-core", "server-core", "speed", "descriptors",
        "connect-queue", "arrivals",
    }  # fmt: skip


def link(rtt_ms: float, share: float | None, without_netem: str | None = "none here") -> Any:
    """A link for which 20 ms were asked."""
    return {
        "asked": {"rtt_s": 0.02},
        "measured": {"rtt_s": rtt_ms / 1000},
        "without_netem": without_netem,
        "forwarder_share": share,
    }


@pytest.mark.parametrize(
    ("figures", "name", "verdict"),
    [
        (link(20.9, 0.1), "link-rtt", Verdict.PASS),
        (link(21.1, 0.1), "link-rtt", Verdict.FAIL),
        (link(18.9, 0.1), "link-rtt", Verdict.FAIL),
        (link(20.0, 0.89), "link-forwarder", Verdict.PASS),
        (link(20.0, 0.91), "link-forwarder", Verdict.FAIL),
        (link(20.0, None), "link-forwarder", Verdict.SKIP),
        (link(20.0, None, None), "link-forwarder", Verdict.SKIP),
        ({**link(104.0, 0.1), "asked": {"rtt_s": 0.1}}, "link-rtt", Verdict.PASS),
        ({**link(106.0, 0.1), "asked": {"rtt_s": 0.1}}, "link-rtt", Verdict.FAIL),
    ],
)
def test_a_link_is_what_was_asked_for(figures: Any, name: str, verdict: Verdict) -> None:
    """Its round trip to 1 ms or 5 %, and its forwarder below nine tenths of a core; a run without a
    link has no such gates."""
    assert gates_of(steady(), link=figures)[name].verdict is verdict
    assert name not in gates_of(steady())


# ---- how much of the server is used --------------------------------------------------------------


def samples(busy: int, kept: int = 0, stopping_kept: int = 0) -> Samples:
    """Ten seconds in which so many of 10 workers are busy, and of these so many in K; and besides
    some in K of processes that are stopping, which count as neither busy nor idle."""
    made = make_samples([busy] * 10, workers=10)
    counts = made.counts.copy()
    counts[:, BUSY_KEEPALIVE] = kept + stopping_kept
    return dataclasses.replace(made, counts=counts)


def used(cpu_s: float | None, seen: Samples, cores: int = 1) -> float | None:
    """The utilisation of a pool of 10, over 8 s."""
    rows = steady()
    run = dataclasses.replace(
        make_run("real", make_records(rows), seen), cpu_s=cpu_s, server_cores=cores
    )
    return utilisation(run, task_of(rows, MaxRequestWorkers="10"))


def test_utilisation_is_of_what_limits_the_server() -> None:
    """The larger of CPU per core (4 s of 8 on one) and busy workers (7 of 10)."""
    assert used(4.0, samples(2)) == pytest.approx(0.5)
    assert used(4.0, samples(2), cores=2) == pytest.approx(0.25)
    assert used(4.0, samples(7)) == pytest.approx(0.7)
    assert used(None, samples(7)) == pytest.approx(0.7)
    assert used(16.0, samples(7)) == 1.0
    empty = make_samples([])
    assert used(None, empty) is None


def test_a_worker_that_keeps_a_connection_is_not_at_work() -> None:
    """Ten of ten workers taken, nine of them by idle keep-alive connections: a tenth is used, so
    that such a pool is not taken for a saturated one. K of stopping processes takes nothing off
    below zero."""
    assert used(None, samples(10, kept=9)) == pytest.approx(0.1)
    assert used(None, samples(2, stopping_kept=5)) == 0.0
    rows = steady()
    task = task_of(rows, MaxRequestWorkers="10")
    run: Run = dataclasses.replace(
        make_run("real", make_records(rows), samples(10, kept=9)), cpu_s=0.8
    )
    gates = {gate.name: gate for gate in judged(run, task, Strictness.DEFAULT).gates}
    assert gates["converged"].verdict is Verdict.PASS
    taken = dataclasses.replace(run, samples=samples(10))
    gates = {gate.name: gate for gate in judged(taken, task, Strictness.DEFAULT).gates}
    assert gates["converged"].verdict is Verdict.NOTE


def test_only_the_window_counts() -> None:
    """Samples of the warm-up do not."""
    made = make_samples([10, 10, 1, 1, 1, 1, 1, 1, 1, 1], workers=10)
    assert used(None, made) == pytest.approx(0.1)
    assert np.all(made.busy[:2] == 10)
