"""Putting a run before its gates: what they look at besides records and plan, taken from the run.

Selection only; the gates are gates.py's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpmlab.bench.gates import Facts, Strictness, gates, gather
from mpmlab.bench.run import Run
from mpmlab.bench.task import Task
from mpmlab.core.scoreboard import BUSY_KEEPALIVE


def judged(
    run: Run, task: Task, strictness: Strictness, quantiles: tuple[float, ...] = (0.99,)
) -> Run:
    """The run with what the gates found. `quantiles`: the percentiles that are asked of it."""
    facts = facts_of(run, task, quantiles)
    seen = gather(run.records, task.plan, task.warmup_s, task.duration_s, task.timeout_s, facts)
    return replace(run, gates=gates(seen, strictness), utilisation=facts.utilisation)


def facts_of(run: Run, task: Task, quantiles: tuple[float, ...]) -> Facts:
    """What the records do not say."""
    said = run.records.metadata
    return Facts(
        engine=run.engine,
        faults=run.faults,
        client_busy=said.get("client_busy"),
        client_foreign=run.client_foreign,
        server_foreign=run.server_foreign,
        speed=run.speed,
        shortages=said.get("shortages"),
        queued_connects=said.get("queued_connects"),
        utilisation=utilisation(run, task),
        link=run.link,
        quantiles=quantiles,
    )


def utilisation(run: Run, task: Task) -> float | None:
    """Of what limits the server, 0 to 1: its cores' time, or its workers.

    A worker that waits for the next request of a keep-alive connection (K) is not at work: it holds
    a place, but its queue forgets at the speed of the others. In a pool of one worker a connection
    (prefork, worker) all are taken by a few idle clients."""
    inside = run.samples.between(task.warmup_s, task.duration_s)
    settings = task.settings
    workers = 0 if settings is None else settings.daemons_limit * settings.threads_per_child
    shares = []
    if run.cpu_s is not None and task.duration_s > task.warmup_s:
        shares.append(run.cpu_s / ((task.duration_s - task.warmup_s) * run.server_cores))
    if len(inside) and workers:
        # K of processes that are stopping is in `counts`, but not in `busy`.
        at_work = np.maximum(inside.busy - inside.counts[:, BUSY_KEEPALIVE], 0)
        shares.append(float(at_work.mean()) / workers)
    return min(1.0, max(shares)) if shares else None
