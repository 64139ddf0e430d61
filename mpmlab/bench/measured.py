"""The requests that count: what the records say about those that measured clients planned in the
measured window.

Selection only, as flat arrays (row by row it is response.py); what is made of them is summary.py
and report/. No clock, no I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.response import responses, window_end_s
from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.plan import Plan

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """The requests planned in [start_s, end_s). All arrays in seconds, in order of planning.

    `response_s` holds the answered ones (planned send to last byte), and those that were given up
    with what is known: at least so long. The shortest of the latter is `censored_from_s`, infinite
    if there is none: whatever statistic lies beyond it is a lower bound."""

    start_s: float
    end_s: float
    requests: int
    completed: int
    response_s: Floats
    censored_from_s: float
    service_s: Floats  # actual send to last byte, answered ones
    lateness_s: Floats  # of all whose turn came
    errors: dict[str, int]  # by Outcome, lower case; only those that occurred
    abandoned: int  # the client left on purpose: neither answered nor an error
    #: Of the whole run, for rates over time: planned sends, and last bytes of good answers.
    all_planned_s: Floats
    all_ended_s: Floats

    @property
    def length_s(self) -> float:
        """Length of the window; 0 if the run was over before it began."""
        return max(self.end_s - self.start_s, 0.0)

    @property
    def ended_in_window(self) -> int:
        """Good answers whose last byte came inside the window, whenever they were planned: what
        the server did in that time (of an overloaded one, what was planned inside ends later)."""
        return int(np.count_nonzero(_between(self.all_ended_s, self.start_s, self.end_s)))


def measured(
    records: Records, warmup_s: float, duration_s: float, timeout_s: float, plan: Plan | None = None
) -> Measured:
    """Select from `records`. The window ends with the run if that was cut short. Without a plan all
    clients are taken for measured ones."""
    rows = responses(records, warmup_s, duration_s, timeout_s, plan)
    inside = np.flatnonzero(rows.counted)
    inside = inside[np.argsort(records.planned_s[inside], kind="stable")]
    error = records.error[inside]
    known = inside[np.isfinite(rows.response_s[inside])]
    bounds_s = rows.response_s[known][rows.bound[known]]
    lateness_s = records.lateness_s[inside]
    service_s = rows.service_s[inside]
    good = (records.error == Outcome.OK) & rows.measured
    return Measured(
        start_s=warmup_s,
        end_s=window_end_s(records, duration_s),
        requests=len(inside),
        completed=int(np.count_nonzero(error == Outcome.OK)),
        response_s=rows.response_s[known],
        censored_from_s=float(bounds_s.min()) if len(bounds_s) else math.inf,
        service_s=service_s[np.isfinite(service_s)],
        lateness_s=lateness_s[np.isfinite(lateness_s)],
        errors={
            kind.name.lower(): int(np.count_nonzero(error == kind))
            for kind in Outcome
            if kind not in (Outcome.OK, Outcome.ABANDONED) and np.any(error == kind)
        },
        abandoned=int(np.count_nonzero(error == Outcome.ABANDONED)),
        all_planned_s=records.planned_s[rows.measured],
        all_ended_s=records.last_byte_s[good],
    )


def _between(times_s: Floats, start_s: float, end_s: float) -> NDArray[np.bool_]:
    return (times_s >= start_s) & (times_s < end_s)
