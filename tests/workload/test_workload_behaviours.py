"""The shipped scenarios show what their comments say: what each MPM suffers from each kind of
client (httpd's known behaviours), in simulation, by what the measured visitors see."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import load_scenario
from tests.mpms.lab import Lab
from tests.mpms.loaded import PYTHONLIKE, run_plan

MPMS = ("prefork", "worker", "event")
#: A visitor waits 10 ms on average for the application: what is answered by a free worker has half
#: of its answers within some 10 ms and all but one in a hundred within 50 ms.
UNDISTURBED_P50_S, UNDISTURBED_P99_S = 0.015, 0.1
#: What nobody would call undisturbed.
SUFFERING_P50_S = 1.0


@cache
def plan_of(name: str) -> Plan:
    """A shipped scenario's plan with seed 1."""
    return compile_plan(load_scenario(name), 1)


@cache
def visitors_see(name: str, mpm: str, *more: tuple[str, str]) -> tuple[float, float]:
    """The median and 99th percentile of the measured requests' response times after the warm-up, in
    seconds. All are answered in the end, as the client waits longer than any holder."""
    directives = {line.name: line.text for line in load_scenario(name).directives} | dict(more)
    lab = Lab(mpm, directives, platform=PYTHONLIKE, seed=1)
    lab.world.network.send_buffer_bytes = lab.settings.send_buffer_size
    plan = plan_of(name)
    records = run_plan(lab, plan)
    counted = plan.request_measured()[records.index] & (records.planned_s * 1e6 >= plan.warmup_us)
    assert np.all(records.status[counted] == 200)
    response_s = (records.last_byte_s - records.planned_s)[counted]
    assert len(response_s) > 400
    p50_s, p99_s = np.percentile(response_s, [50, 99]).tolist()
    return p50_s, p99_s


@pytest.mark.parametrize("mpm", MPMS)
@pytest.mark.parametrize("name", ["slowloris", "slow-downloads"])
def test_every_mpm_suffers(name: str, mpm: str) -> None:
    """A request's head that dribbles in, and an answer larger than event sets aside, hold a worker
    of every MPM: once all are held, visitors wait for seconds."""
    assert visitors_see(name, mpm)[0] > SUFFERING_P50_S


@pytest.mark.parametrize("name", ["keepalive-holders", "slow-readers"])
def test_event_does_not_suffer(name: str) -> None:
    """An idle keep-alive connection, and a rest that waits for a slow reader, hold a worker of
    prefork and worker; event parks both, and its visitors notice nothing."""
    for mpm in ("prefork", "worker"):
        assert visitors_see(name, mpm)[0] > SUFFERING_P50_S
    p50_s, p99_s = visitors_see(name, "event")
    assert p50_s < UNDISTURBED_P50_S
    assert p99_s < UNDISTURBED_P99_S


def test_what_event_sets_aside_is_a_directive() -> None:
    """With FlushMaxThreshold above the size of the answers event parks downloads too; prefork,
    which has nowhere to park them, is not helped."""
    large = ("FlushMaxThreshold", "2000000")
    assert visitors_see("slow-downloads", "event", large)[1] < UNDISTURBED_P99_S
    assert visitors_see("slow-downloads", "prefork", large)[0] > SUFFERING_P50_S


@pytest.mark.parametrize("mpm", MPMS)
def test_abandoned_requests_are_served_all_the_same(mpm: str) -> None:
    """Most workers are busy for clients who have left: most visitors still find one, some wait for
    longer than any undisturbed one."""
    p50_s, p99_s = visitors_see("abandoning", mpm)
    assert p50_s < UNDISTURBED_P50_S
    assert p99_s > 2 * UNDISTURBED_P99_S


def test_prefork_is_late_for_a_spike() -> None:
    """worker and event have their threads when the crowd comes; prefork forks 1, 2, 4 ... a second
    and is seen to be late."""
    early = visitors_see("spike", "worker")[1]
    assert visitors_see("spike", "event")[1] == pytest.approx(early, rel=0.1)
    assert visitors_see("spike", "prefork")[1] > 2 * early


@pytest.mark.parametrize("mpm", MPMS)
def test_heavy_tails_are_worse_than_poisson(mpm: str) -> None:
    """The same requests at the same mean rate, once in trains with heavy-tailed gaps and once as a
    Poisson process: the tail of the response times says which is which."""
    assert visitors_see("heavy-tail", mpm)[1] > 1.15 * visitors_see("cpu", mpm)[1]
