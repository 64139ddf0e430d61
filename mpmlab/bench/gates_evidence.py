"""The evidence: everything that a gate looks at, gathered from a run's records and plan.

Values and the selection of values only; verdicts are in gates_client.py, gates_machine.py and
gates_data.py. No clock, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.account import Account, account
from mpmlab.bench.measured import measured
from mpmlab.bench.speed import Speed
from mpmlab.bench.stats_batches import drift
from mpmlab.bench.stats_fairness import Fairness, fairness
from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.plan import Plan

Floats = NDArray[np.float64]

#: Arrivals whose rate is the same all the time, so that response times should be. The rate of the
#: others changes by design: piecewise and mmpp say so, recordings have the day's course.
STEADY_ARRIVALS: Final = frozenset({"constant", "poisson", "renewal", "sessions", "closed"})
_TIMEOUTS: Final = (Outcome.TIMEOUT, Outcome.CONNECT_TIMEOUT)


@dataclass(frozen=True)
class Facts:
    """What the records do not say; None: not known. Shares are of one core, 0..1."""

    #: "real" or "sim".
    engine: str
    #: Why the run is not complete; empty if it is.
    faults: tuple[str, ...] = ()
    #: Work (not spinning) of the busiest client process.
    client_busy: float | None = None
    #: Share of the window that processes which are not ours had of a client's core; of the worst.
    client_foreign: float | None = None
    #: The same of the server's cores, all together: its processes run on any of them.
    server_foreign: float | None = None
    speed: Speed | None = None
    #: connect() calls that failed for want of descriptors, ports or memory on this side.
    shortages: int | None = None
    #: connect() calls that waited because the client had as many connections as it may have.
    queued_connects: int | None = None
    #: Of what limits the server: the larger of busy workers / workers and CPU / cores. 0..1
    utilisation: float | None = None
    #: The link between two namespaces that the run went over (network.link_figures).
    link: Mapping[str, Any] | None = None
    #: The percentiles that are asked for, 0..1.
    quantiles: tuple[float, ...] = (0.99,)


@dataclass(frozen=True, eq=False)
class Evidence:
    """A run as the gates see it. Counts, times and rates are of the requests that measured clients
    planned in the window, unless they say otherwise."""

    facts: Facts
    start_s: float
    end_s: float
    account: Account
    fairness: Fairness
    #: True if the measured clients' rate follows from the answers.
    closed: bool
    #: True if there are clients besides the measured ones: what they do to those is the subject.
    background: bool
    #: True if neither the kind of arrivals nor the planned times themselves change their rate.
    steady: bool
    #: Kind of arrivals.
    arrivals: str
    planned: int
    #: Requests whose turn came and that the client took in hand, whenever they were planned.
    taken: int
    #: Never tried.
    dropped: int
    answered: int
    #: More requests were awaiting their answers at the end than at the start, by so many.
    backlog_growth: int
    #: Requests that timed out in the window.
    timed_out: int
    #: Answers of the server in the window, those to other clients too, per second.
    completed_per_s: float
    #: In order of planning; those nobody waited for to the end with what they took at least.
    response_s: Floats
    #: From here on response times are lower bounds.
    censored_from_s: float
    lateness_s: Floats
    #: When sessions of the first measured group were planned to start, and when their clients took
    #: the first request in hand (connecting comes after that, and is the server's).
    starts_planned_s: Floats = field(default_factory=lambda: np.zeros(0))
    starts_begun_s: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def length_s(self) -> float:
        """Of the window; 0 if the run was over before it began."""
        return max(0.0, self.end_s - self.start_s)


def gather(
    records: Records,
    plan: Plan,
    warmup_s: float,
    duration_s: float,
    timeout_s: float,
    facts: Facts,
) -> Evidence:
    """The evidence of a run of `plan`, over requests planned in [warmup_s, duration_s). The window
    ends with the run if that was cut short."""
    seen = measured(records, warmup_s, duration_s, timeout_s, plan)
    end_s = seen.end_s
    mine = plan.measured_sessions()[records.session]
    begun_s = begun(records, plan)
    timed_out = mine & np.isin(records.error, _TIMEOUTS) & _in(records.ended_s, warmup_s, end_s)
    starts = _starts(records, plan, warmup_s, end_s)
    return Evidence(
        facts=facts,
        start_s=warmup_s,
        end_s=end_s,
        account=account(records, plan),
        fairness=fairness(records, plan, warmup_s, end_s),
        closed=bool(np.any(plan.session_cycle & plan.measured_sessions())),
        background=not bool(plan.measured_sessions().all()),
        steady=plan.arrivals in STEADY_ARRIVALS and not _drifts(records.planned_s[starts]),
        arrivals=plan.arrivals,
        planned=seen.requests,
        taken=int(np.count_nonzero(mine & _in(begun_s, warmup_s, end_s))),
        dropped=seen.errors.get(Outcome.NOT_SENT.name.lower(), 0),
        answered=seen.completed,
        backlog_growth=_awaiting(records, mine, end_s) - _awaiting(records, mine, warmup_s),
        timed_out=int(np.count_nonzero(timed_out)),
        completed_per_s=_completed_per_s(records, warmup_s, end_s),
        response_s=seen.response_s,
        censored_from_s=seen.censored_from_s,
        lateness_s=seen.lateness_s,
        starts_planned_s=records.planned_s[starts],
        starts_begun_s=begun_s[starts],
    )


def begun(records: Records, plan: Plan) -> Floats:
    """When each request was taken in hand: its planned time, or the end of its session's request
    before it if that is later, and the client's own lateness. NaN if its turn never came."""
    size = plan.session_requests.astype(np.int64)[records.session]
    place = records.cycle * size + records.index
    order = np.lexsort((place, records.session))
    before_s = np.full(len(records), -math.inf)
    follows = np.diff(records.session[order]) == 0
    before_s[order[1:][follows]] = records.ended_s[order[:-1][follows]]
    return np.asarray(np.maximum(records.planned_s, before_s) + records.lateness_s)


def _in(times_s: Floats, start_s: float, end_s: float) -> NDArray[np.bool_]:
    return (times_s >= start_s) & (times_s < end_s)


def _awaiting(records: Records, mine: NDArray[np.bool_], at_s: float) -> int:
    """How many requests were planned before, and not yet over."""
    due = mine & (records.planned_s < at_s)
    return int(np.count_nonzero(due & ~(records.ended_s < at_s)))


def _completed_per_s(records: Records, start_s: float, end_s: float) -> float:
    if end_s <= start_s:
        return 0.0
    return int(np.count_nonzero(_in(records.last_byte_s, start_s, end_s))) / (end_s - start_s)


def _starts(records: Records, plan: Plan, start_s: float, end_s: float) -> NDArray[np.intp]:
    """Rows of the first requests of the first measured group's sessions, if they came in hand."""
    first_group = next(i for i, group in enumerate(plan.groups) if group.measured)
    first = records.index == plan.session_first[records.session]
    first &= (records.cycle == 0) & (plan.session_group[records.session] == first_group)
    chosen = first & _in(records.planned_s, start_s, end_s) & np.isfinite(records.lateness_s)
    return np.flatnonzero(chosen)


def _drifts(times_s: Floats) -> bool:
    """Whether the rate of these moments changes steadily."""
    found = drift(np.diff(np.sort(times_s)))
    return found is not None and found.found
