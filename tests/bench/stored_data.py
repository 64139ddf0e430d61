"""Made-up results folders for the tests of export and comparison: a plan and runs of it, stored.

Only builders live here; each number a test relies on is stated in the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.gates import Facts, gates, gather
from mpmlab.bench.results import Results, save_results
from mpmlab.bench.run import Run
from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.plan import Plan
from tests.bench.bench_data import make_experiment, make_records, make_run, make_samples, ok

GROUPS = (Group("main", True, ClientKind()), Group("slow", False, ClientKind(send_bytes=10)))
CLASSES = ("page", 'search, "quoted"')


def make_plan(planned_s: Sequence[float], slow: Sequence[int] = (), seed: int = 7) -> Plan:
    """One session with one request for each planned time, in their order; those numbered in `slow`
    belong to the group that is not measured. Classes alternate."""
    n = len(planned_s)
    planned_us = np.rint(np.array(planned_s) * 1e6).astype(np.int64)
    zeros = np.zeros(n, dtype=np.int64)
    group = np.zeros(n, dtype=np.int16)
    group[list(slow)] = 1
    return Plan(
        session_start_us=planned_us,
        session_first=np.arange(n),
        session_requests=np.ones(n, dtype=np.int32),
        session_group=group,
        session_cycle=np.zeros(n, dtype=np.bool_),
        planned_us=planned_us,
        think_us=zeros,
        klass=(np.arange(n) % 2).astype(np.int16),
        cpu_us=zeros,
        wait_us=zeros,
        request_bytes=zeros,
        response_bytes=zeros,
        classes=CLASSES,
        groups=GROUPS,
        arrivals="poisson",
        duration_us=10_000_000,
        warmup_us=2_000_000,
        seed=seed,
        scenario="made-up",
    )


def store(folder: Path, plan: Plan, runs: dict[str, Run], **changes: object) -> Path:
    """A results folder of that plan and these runs; `changes` of the experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    plan.save(folder / "plan.npz")
    experiment = make_experiment(**{"plan_hash": plan.hash, "seed": plan.seed, **changes})
    save_results(folder, Results(experiment, runs, plan))
    return folder


def gated(run: Run, plan: Plan) -> Run:
    """The run with what the gates find in the measured window, as the bench stores it."""
    asked = make_experiment()
    facts = Facts(engine=run.engine, faults=run.faults)
    seen = gather(run.records, plan, asked.warmup_s, asked.duration_s, asked.timeout_s, facts)
    return replace(run, gates=gates(seen))


def arrivals(seed: int, n: int = 4000) -> NDArray[np.float64]:
    """Times of a Poisson process over the 10 s."""
    return np.sort(np.random.default_rng(seed).uniform(0, 10, n))


def served(planned_s: NDArray[np.float64], slower: float, seed: int, engine: str = "real") -> Run:
    """A run of those arrivals: 4 ms and an exponential 6 ms, `slower` times; busy workers in
    proportion."""
    random = np.random.default_rng(seed)
    took_s = slower * (0.004 + random.exponential(0.006, len(planned_s)))
    rows = [ok(float(p), float(t), 2e-5) for p, t in zip(planned_s, took_s, strict=True)]
    busy = random.poisson(6 * slower, 200)
    return make_run(engine, make_records(rows), make_samples(busy.tolist(), 50, 0.05))
