"""The scenarios that come with mpmlab: sized for one core of a Python server, and as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpmlab.core.directives import effective
from mpmlab.core.settings import UNIX_MPMS
from mpmlab.workload.arrivals import ClosedArrivals, OpenArrivals
from mpmlab.workload.clients import Group
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import Scenario, load_scenario, shipped_scenarios

#: CPU of a Python server's own for a request, on a slow machine.
OWN_US = 400
#: A request's head at least: "GET /work?cpu_us=...", Host, User-Agent.
HEAD_BYTES = 90
#: What a peer that does not read lets a server with this send buffer send, by its receive buffer:
#: measured on the loopback of Linux 6.18.
SEND_BUFFER = 16_384
ON_THE_WAY = {4_096: 30_720, 16_384: 57_344}
#: Visitors beside clients who hold workers: the name of those clients, and how many workers they
#: would hold in prefork if there were enough, by what the scenario says.
HOLDERS = {
    "slowloris": "slow-heads",
    "keepalive-holders": "holders",
    "slow-readers": "slow-readers",
    "slow-downloads": "downloaders",
    "abandoning": "impatient",
}


def loaded(name: str) -> tuple[Scenario, Plan]:
    """A scenario and its plan with seed 1."""
    scenario = load_scenario(name)
    return scenario, compile_plan(scenario, 1)


@pytest.mark.parametrize("name", shipped_scenarios())
def test_they_compile(name: str) -> None:
    """Each gives a plan, the same twice, another for another seed; short, with a warm-up; and every
    class is asked for."""
    scenario, plan = loaded(name)
    assert scenario.description
    assert plan == compile_plan(scenario, 1)
    assert plan != compile_plan(scenario, 2)
    assert 0 < plan.warmup_us < plan.duration_us <= 30_000_000
    assert set(plan.klass.tolist()) == set(range(len(plan.classes)))
    assert plan.response_bytes.max() <= 2_000_000


@pytest.mark.parametrize("name", shipped_scenarios())
def test_their_directives_suit_every_mpm(name: str) -> None:
    """No MPM refuses or corrects them: each scenario runs on all."""
    given = [(line.name, line.text) for line in load_scenario(name).directives]
    for mpm in UNIX_MPMS:
        assert effective(mpm, given).messages == ()


@pytest.mark.parametrize("name", shipped_scenarios())
def test_one_core_bears_them(name: str) -> None:
    """Requests at a rate with utilisation below 0.6 (0.4 ms of the server's own per request), but
    for the one that is there to saturate it."""
    _, plan = loaded(name)
    busy_s = (float(np.mean(plan.cpu_us)) + OWN_US) / 1e6
    if plan.offered_rate is not None:
        least = 35 if name in HOLDERS or name == "growth" else 50
        assert least <= plan.offered_rate <= 250
        every = np.count_nonzero(plan.planned_us >= plan.warmup_us)
        assert every / (plan.duration_us - plan.warmup_us) * 1e6 * busy_s < 0.6
    else:
        # The asymptotic bound of a closed network: users over the cycle without queueing.
        cycle_s = busy_s + float(np.mean(plan.wait_us) + np.mean(plan.think_us)) / 1e6
        demanded = plan.sessions / cycle_s * busy_s
        assert demanded > 5 if name == "saturation" else demanded < 0.6


def test_keep_alive_twins_differ_in_nothing_else() -> None:
    """keepalive-sessions and connection-per-request are one workload, request for request."""
    kept, single = loaded("keepalive-sessions")[1], loaded("connection-per-request")[1]
    (one,), (other,) = kept.groups, single.groups
    assert one.client.keep_alive
    assert other == Group("main", True, replace(one.client, keep_alive=False))
    assert replace(single, groups=kept.groups, scenario=kept.scenario) == kept


def held_s(scenario: Scenario, group: str) -> float:
    """How long a client of a group holds a worker of prefork, by what the scenario says."""
    settings = effective("prefork", [(line.name, line.text) for line in scenario.directives])
    (load,) = (one for one in scenario.groups if one.group.name == group)
    client = load.group.client
    asked = scenario.classes[load.classes[0]]
    if client.send_bytes:
        return HEAD_BYTES / client.send_bytes * client.send_interval_s
    if client.hold_s:
        return min(client.hold_s, settings.keep_alive_timeout_s)
    if client.read_bytes_per_s:
        assert asked.response_bytes is not None
        assert settings.send_buffer_size == SEND_BUFFER
        on_the_way = ON_THE_WAY[client.receive_buffer_bytes]
        return (asked.response_bytes.mean - on_the_way) / client.read_bytes_per_s
    assert client.abandon_s
    assert asked.wait_us is not None
    return asked.wait_us.mean / 1e6


@pytest.mark.parametrize("name", HOLDERS)
def test_holders_fill_the_pool(name: str) -> None:
    """Visitors are measured and the others are not; those would hold more workers than there are
    (the impatient most of them), so that it shows."""
    scenario, plan = loaded(name)
    assert [load.group.measured for load in scenario.groups] == [True, False]
    (load,) = (one for one in scenario.groups if one.group.name == HOLDERS[name])
    settings = effective("prefork", [(line.name, line.text) for line in scenario.directives])
    if isinstance(load.arrivals, ClosedArrivals):
        assert held_s(scenario, HOLDERS[name]) >= 10  # the client's timeout
        holding = float(load.arrivals.users)
    else:
        assert isinstance(load.arrivals, OpenArrivals)
        rate_per_s = load.arrivals.process.expected(1_000_000)
        holding = rate_per_s * held_s(scenario, HOLDERS[name])
    share = holding / settings.max_request_workers
    assert 0.7 < share < 0.9 if name == "abandoning" else 1.1 < share < 2
    assert plan.offered_rate == pytest.approx(40, rel=0.1)


def test_event_parks_slow_readers_but_not_downloads() -> None:
    """What a slow reader leaves is less than FlushMaxThreshold at once, so that event need not
    wait; of a download there is far more."""
    for name, parks in (("slow-readers", True), ("slow-downloads", False)):
        scenario, plan = loaded(name)
        settings = effective("event", [(line.name, line.text) for line in scenario.directives])
        client = scenario.groups[1].group.client
        left = int(plan.response_bytes.max()) - ON_THE_WAY[client.receive_buffer_bytes]
        assert (left < settings.flush_max_threshold) is parks
