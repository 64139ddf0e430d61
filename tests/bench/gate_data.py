"""Made-up runs for the tests of the gates: a client with a core of its own, and one queue.

Only builders live here. What is wrong with a run is what the test asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpmlab.bench.gates import Evidence, Facts, gather
from mpmlab.bench.speed import Speed
from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.plan import Plan
from tests.bench.queue_data import Floats, response_s

WARMUP_S, DURATION_S, TIMEOUT_S = 2.0, 10.0, 3.0
#: What the client's core does for a request, and how late it is on average besides.
CLIENT_S, LATE_S = 10e-6, 2e-6
#: A scheduler's slice: how long a hog keeps the core.
SLICE_S = 0.003

#: A run on a quiet machine.
QUIET = Facts(
    engine="real",
    client_busy=0.2,
    client_foreign=0.01,
    server_foreign=0.02,
    speed=Speed(570.0, 580.0, 570.0, 600.0, 575.0),
    shortages=0,
    queued_connects=0,
    utilisation=0.3,
)


def arrivals_s(kind: str, rate: float, seed: int) -> Floats:
    """Planned times below DURATION_S."""
    random = np.random.default_rng(seed)
    n = int(rate * DURATION_S * 1.2) + 100
    gaps = np.ones(n) if kind == "constant" else random.exponential(1.0, n)
    times_s = np.floor(np.cumsum(gaps / rate) * 1e6) / 1e6
    return np.asarray(times_s[times_s < DURATION_S])


def one_each(times_s: Floats, kind: str = "poisson", **changes: Any) -> Plan:
    """A plan in which each request is a session of its own."""
    us = np.rint(times_s * 1e6).astype(np.int64)
    none = np.zeros_like(us)
    columns: dict[str, Any] = {
        "session_start_us": us,
        "session_first": np.arange(len(us)),
        "session_requests": np.ones(len(us), dtype=np.int32),
        "session_group": none.astype(np.int16),
        "session_cycle": none.astype(bool),
        "planned_us": us,
        "klass": none.astype(np.int16),
    }
    for name in ("think_us", "cpu_us", "wait_us", "request_bytes", "response_bytes"):
        columns[name] = none
    facts: dict[str, Any] = {
        "classes": ("page",),
        "groups": (Group("main", True, ClientKind()),),
        "arrivals": kind,
        "duration_us": round(1e6 * DURATION_S),
        "warmup_us": round(1e6 * WARMUP_S),
        "seed": 1,
        "scenario": "made up",
    }
    return Plan(**{**columns, **facts, **changes})


def begun_s(planned_s: Floats, seed: int, hog: bool = False, work_s: float = CLIENT_S) -> Floats:
    """When the client takes requests in hand, one after the other; a hog has its core for every
    second slice."""
    random = np.random.default_rng([seed, 1])
    ready_s = planned_s + random.exponential(LATE_S, len(planned_s))
    if hog:
        gaps_s = random.exponential(SLICE_S, int(DURATION_S / SLICE_S)) + SLICE_S
        ends_s = np.cumsum(gaps_s)
        following = ends_s[np.minimum(np.searchsorted(ends_s, ready_s), len(ends_s) - 1)]
        kept = (following >= ready_s) & (following - ready_s < SLICE_S)
        ready_s = np.where(kept, following, ready_s)
    place = work_s * np.arange(len(planned_s))
    return np.asarray(np.maximum.accumulate(ready_s - place) + place)


def served(plan: Plan, start_s: Floats, service_s: Floats) -> Records:
    """The records if one server answers in the order of arrival; later than TIMEOUT_S nobody
    waits, though the server does not know it. What had not begun by the end never does."""
    planned_s = plan.planned_us / 1e6
    n = len(planned_s)
    end_s = start_s + response_s(start_s, service_s)
    gone = end_s > start_s + TIMEOUT_S
    dropped = start_s >= DURATION_S + 0.001
    error = np.where(dropped, Outcome.NOT_SENT, np.where(gone, Outcome.TIMEOUT, Outcome.OK))
    good = error == Outcome.OK
    over_s = np.where(dropped, DURATION_S + TIMEOUT_S, np.where(gone, start_s + TIMEOUT_S, end_s))
    answer_s = np.where(good, end_s, np.nan)
    return Records(
        index=np.arange(n),
        cycle=np.zeros(n, dtype=np.int32),
        session=np.arange(n, dtype=np.int32),
        planned_s=planned_s,
        lateness_s=np.where(dropped, np.nan, start_s - planned_s),
        sent_s=np.where(dropped, np.nan, start_s),
        first_byte_s=answer_s,
        last_byte_s=answer_s,
        ended_s=over_s,
        status=np.where(good, 200, 0).astype(np.int16),
        body_bytes=np.zeros(n, dtype=np.int64),
        connection=np.where(dropped, 0, np.arange(1, n + 1)).astype(np.int32),
        error=error.astype(np.int8),
        retried=np.zeros(n, dtype=np.int8),
        complete=True,
        end_s=DURATION_S,
    )


def made_up(
    seed: int,
    *,
    kind: str = "poisson",
    rate: float = 500.0,
    utilisation: float = 0.3,
    hog: bool = False,
    work_s: float = CLIENT_S,
    jumps: bool = False,
    facts: Facts = QUIET,
) -> Evidence:
    """The evidence of one run. `jumps`: the server's work takes 1.85 times as long for half of the
    time, in bursts of a second on average."""
    plan = one_each(arrivals_s(kind, rate, seed), kind)
    start_s = begun_s(plan.planned_us / 1e6, seed, hog, work_s)
    random = np.random.default_rng([seed, 2])
    service_s = random.exponential(utilisation / rate, len(start_s))
    if jumps:
        changes_s = np.cumsum(random.exponential(1.0, 60))
        service_s *= np.where(np.searchsorted(changes_s, start_s) % 2, 1.85, 1.0)
    return judged_by(plan, served(plan, start_s, service_s), facts)


def judged_by(plan: Plan, records: Records, facts: Facts = QUIET) -> Evidence:
    """The evidence of these records."""
    return gather(records, plan, WARMUP_S, DURATION_S, TIMEOUT_S, facts)
