"""A Lab under the load of a plan: the simulation as the bench runs it, without the bench.

Helpers only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from mpmlab.core.count_wire import CountClient
from mpmlab.core.platform import Costs, Platform
from mpmlab.load.client import load
from mpmlab.load.recorder import Recorder, Records
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import load_scenario
from tests.mpms.lab import Lab

#: Costs of the right order for Python on Linux; the values are not those of any machine.
PYTHONLIKE = Platform(
    name="pythonlike",
    costs=Costs(
        fork_us=4000, child_start_us=800, thread_us=60, exit_us=100, switch_us=5, lock_us=2,
        put_us=2, get_us=2, accept_us=20, connection_us=60, recv_us=5, recv_per_kb_us=0.2,
        send_us=12, send_per_kb_us=0.3, close_us=8, connect_us=30, poll_us=5, arm_us=2,
        signal_us=5, step_us=0.5, request_us=120, idle_us=5, stale_us=200,
        cold_us=80, thread_switch_us=4,
    ),
    gil=True,
    unserialized_accept=False,
    timer_slack_us=60,
    latency_us=15,
)  # fmt: skip


def plan_of(scenario: str, seed: int, duration_s: float) -> Plan:
    """A shipped scenario's plan."""
    return compile_plan(load_scenario(scenario), seed, duration_s)


def run_plan(lab: Lab, plan: Plan, start_s: float = 1.0, client: Any = CountClient) -> Records:
    """Drive the lab's server by the plan from `start_s` on, to the end of the load."""
    recorder = Recorder()
    lab.run(start_s)
    pid = lab.world.spawn(
        load,
        plan,
        lab.listener,
        partial(client, "127.0.0.1:40000"),
        recorder,
        start_s,
        machine="client",
    )
    lab.world.run(until_exit=pid)
    return recorder.records({})
