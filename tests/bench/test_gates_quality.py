"""The gates as a whole (G25): clean runs pass, disturbed ones are flagged by the right gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from mpmlab.bench.gates import Evidence, Verdict, failures, gates, overloaded, verdict
from mpmlab.bench.speed import Speed
from tests.bench.gate_data import QUIET, made_up

RUNS = 100
#: G25 of the measurement rules.
MOST_CLEAN_FLAGGED, LEAST_DISTURBED_FLAGGED = 0.05, 0.95


def failed(seen: Evidence) -> set[str]:
    """Names of the gates that make it invalid."""
    return {gate.name for gate in failures(gates(seen))}


@pytest.mark.parametrize(
    "clean",
    [
        lambda seed: made_up(seed),
        lambda seed: made_up(seed, kind="constant"),
        lambda seed: made_up(seed, rate=100, utilisation=0.1),
        lambda seed: made_up(seed, rate=4000, utilisation=0.6),
        lambda seed: made_up(seed, rate=1000, utilisation=0.8),
        lambda seed: made_up(
            seed,
            utilisation=0.4,
            jumps=True,
            facts=dataclasses.replace(
                QUIET, utilisation=0.57, speed=Speed(570, 790, 570, 1060, 900)
            ),
        ),
    ],
    ids=["poisson", "constant", "slow", "fast", "busy", "virtual machine"],
)
def test_clean_runs_pass(clean: Callable[[int], Evidence]) -> None:
    """At most one in twenty is flagged: at all rates and up to 80 % of the server, also on a
    machine that jumps between two speeds."""
    flagged = sum(not verdict(gates(clean(seed))) for seed in range(RUNS))
    assert flagged <= MOST_CLEAN_FLAGGED * RUNS


def test_a_hog_on_the_clients_core_is_flagged() -> None:
    """By its effect alone, were nothing known of what else ran: sends are late and come in
    clumps."""
    unknown = dataclasses.replace(QUIET, client_foreign=None, server_foreign=None, speed=None)
    found = [failed(made_up(seed, hog=True, facts=unknown)) for seed in range(RUNS)]
    assert sum(map(bool, found)) >= LEAST_DISTURBED_FLAGGED * RUNS
    assert sum({"lateness", "arrivals"} <= one for one in found) >= LEAST_DISTURBED_FLAGGED * RUNS


def test_a_rate_beyond_the_server_is_flagged_as_that() -> None:
    """A quarter more than it can do: nothing is wrong with the measuring, the load is too much."""
    for seed in range(20):
        found = gates(made_up(seed, utilisation=1.25))
        assert "backlog" in {gate.name for gate in failures(found)}
        assert overloaded(found)


@pytest.mark.parametrize("utilisation", [1.1, 1.5, 4.0])
def test_more_or_less_beyond_the_server_is_flagged(utilisation: float) -> None:
    """From a tenth too much up to four times: in 95 % of runs at least."""
    flagged = sum(bool(failed(made_up(seed, utilisation=utilisation))) for seed in range(RUNS))
    assert flagged >= LEAST_DISTURBED_FLAGGED * RUNS


def test_a_rate_beyond_the_client_is_flagged() -> None:
    """Each request keeps the client for 2.5 ms and one comes every 2: it is late and falls behind,
    and that is not the server's overload."""
    for seed in range(20):
        facts = dataclasses.replace(QUIET, client_busy=1.0)
        found = gates(made_up(seed, work_s=0.0025, facts=facts))
        assert {"lateness", "rate", "client"} <= {gate.name for gate in failures(found)}
        assert not overloaded(found)


def test_too_few_descriptors_are_flagged() -> None:
    """Connections that failed for want of descriptors, or requests that queued for them."""
    for facts in (
        dataclasses.replace(QUIET, shortages=1),
        dataclasses.replace(QUIET, queued_connects=200),
    ):
        found = gates(made_up(1, facts=facts))
        assert not verdict(found)
        assert not overloaded(found)


def test_every_failure_and_note_says_what_to_change() -> None:
    """Advice where there is something to do, none where there is not; a sentence always."""
    runs = [made_up(1), made_up(1, hog=True), made_up(1, utilisation=1.5), made_up(1, rate=20)]
    seen = set()
    for gate in (gate for run in runs for gate in gates(run)):
        assert gate.text
        assert bool(gate.advice) == (gate.verdict in (Verdict.FAIL, Verdict.NOTE)), gate
        seen.add(gate.verdict)
    assert seen == set(Verdict)
