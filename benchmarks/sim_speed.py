"""How fast the simulation is: simulated requests per CPU second of this machine, and events per
request, for each MPM.

Two loads: Poisson arrivals of one-request connections at 77 % of a core, and keep-alive sessions.
The costs are those of the shipped profile, so that the simulated work is the same everywhere.
"""

from __future__ import annotations

import gc
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.common import estimate, report
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.sim import run_sim
from mpmlab.bench.task import Task, Watch
from mpmlab.core.directives import effective
from mpmlab.mpms.catalog import CATALOG
from mpmlab.platforms import shipped
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import load_scenario

REPETITIONS: Final = 3
PLATFORM: Final = "linux-cpython"
LOADS: Final = {
    "77 % of a core": """
name = "poisson"
duration_s = 20
[arrivals]
kind = "poisson"
rate_per_s = 700
keep_alive = false
[[class]]
name = "page"
cpu_us = { dist = "exponential", mean = 1000 }
response_bytes = 1024
""",
    "keep-alive sessions": """
name = "sessions"
duration_s = 20
[arrivals]
kind = "sessions"
rate_per_s = 70
requests_per_session = 10
think_s = { dist = "exponential", mean = 0.2 }
keep_alive = true
[[class]]
name = "page"
cpu_us = { dist = "exponential", mean = 1000 }
response_bytes = 1024
""",
}


def plan_of(text: str) -> Plan:
    """Compile a scenario that is written here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.toml"
        path.write_text(text, encoding="utf-8")
        return compile_plan(load_scenario(path), seed=1)


def simulate(mpm: str, plan: Plan) -> tuple[float, float, float]:
    """Requests per CPU second, events per request, utilisation of the server's core."""
    task = Task(mpm, (), effective(mpm, (), "benchmark"), plan, timeout_s=30.0)
    watch = Watch(Interruption(), lambda _done: None)
    platform = replace(shipped(PLATFORM), cores=1)
    gc.collect()
    began = time.process_time()
    run = run_sim(task, platform, 1, watch)
    spent_s = time.process_time() - began
    assert run.events is not None
    busy = (run.cpu_s or 0.0) / (task.duration_s - task.warmup_s)
    return len(run.records) / spent_s, run.events / len(run.records), busy


def main() -> None:
    """Measure and print."""
    plans = {name: plan_of(text) for name, text in LOADS.items()}
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for _ in range(REPETITIONS):
        for load, plan in plans.items():
            for mpm in CATALOG:
                found.setdefault((load, mpm), []).append(simulate(mpm, plan))
    report(
        "Speed of the simulation",
        ("load, MPM", "requests per CPU second (min to max)", "events per request", "core busy"),
        [
            (
                f"{load}, {mpm}",
                estimate([speed for speed, _, _ in runs]),
                f"{runs[0][1]:.2f}",
                f"{runs[0][2]:.0%}",
            )
            for (load, mpm), runs in found.items()
        ],
        f"median of {REPETITIONS} interleaved runs; setting up and reading out included",
    )


if __name__ == "__main__":
    main()
