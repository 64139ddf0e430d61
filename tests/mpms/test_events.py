"""How many simulation events a request takes: a performance test that no machine's noise touches.

A change that adds events makes every simulation slower by as much; a change that saves some may
lower the numbers here. Speed itself is measured by benchmarks/sim_speed.py."""

from __future__ import annotations

import pytest

from tests.mpms.lab import Lab
from tests.mpms.loaded import PYTHONLIKE, plan_of, run_plan

#: Events per request, rounded to hundredths, for 10 s of two scenarios with seed 1.
PINNED = {
    ("prefork", "keepalive-sessions"): 8.88,
    ("worker", "keepalive-sessions"): 14.90,
    ("event", "keepalive-sessions"): 18.40,
    ("prefork", "connection-per-request"): 17.37,
    ("worker", "connection-per-request"): 36.38,
    ("event", "connection-per-request"): 32.05,
}


@pytest.mark.parametrize(("mpm", "scenario"), PINNED)
def test_events_per_request(mpm: str, scenario: str) -> None:
    """SimPy events, from the start of the server to the end of the load, per request."""
    lab = Lab(mpm, platform=PYTHONLIKE)
    records = run_plan(lab, plan_of(scenario, 1, 10.0))
    found = round(lab.world.events / len(records.index), 2)
    assert found == PINNED[mpm, scenario], f"({mpm!r}, {scenario!r}): {found}"
