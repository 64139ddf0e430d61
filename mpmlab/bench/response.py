"""What each row of the records counts with: its response time as far as it is known, its service
time, its lateness, and whether it counts at all.

Row by row, so that a histogram, a table of requests and the intervals of a log agree with one
another and with measured.py, which selects the same values. No clock, no I/O, no statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.plan import Plan

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Nobody waited for the answer to the end: it takes at least the time-out.
_TIMED_OUT: Final = (Outcome.TIMEOUT, Outcome.CONNECT_TIMEOUT)
#: The client left before the end: it takes at least as long as its patience.
_LEFT: Final = (Outcome.ABANDONED,)
#: Given up when the run was over: it takes at least as long as it had waited by then. In a run that
#: was cut short this says nothing about the server and is left out.
_STOPPED: Final = (Outcome.NOT_SENT, Outcome.UNFINISHED)


@dataclass(frozen=True)
class Responses:
    """One value for each row of the records, in their order; seconds, NaN where there is none.

    `response_s` runs from the planned send to the last byte of a good answer; where `bound` is set
    nobody saw the answer, and it is what is known to have passed at least. `service_s` runs from
    the actual send. `measured` rows are those of clients that are measured; `counted`, of those,
    what was planned inside the measured window: a summary rests on them."""

    planned_s: Floats
    response_s: Floats
    bound: Bools
    service_s: Floats
    lateness_s: Floats
    measured: Bools
    counted: Bools


def window_end_s(records: Records, duration_s: float) -> float:
    """Where the measured window ends: with the plan, or with a run that was cut short."""
    return duration_s if records.complete else min(duration_s, records.end_s)


def responses(
    records: Records, warmup_s: float, duration_s: float, timeout_s: float, plan: Plan | None = None
) -> Responses:
    """What the rows of `records` count with, if the window is [warmup_s, duration_s) and a client
    waits `timeout_s` for an answer. A run that was cut short has a shorter window. Without a plan
    every client is taken for measured."""
    end_s = window_end_s(records, duration_s)
    planned_s, error = records.planned_s, records.error
    ok = error == Outcome.OK
    waited_s = records.ended_s - planned_s
    timed_out = np.isin(error, _TIMED_OUT)
    left = np.isin(error, _STOPPED) & records.complete & np.isfinite(waited_s)
    left |= np.isin(error, _LEFT)
    response_s = np.full(len(records), np.nan)
    response_s[ok] = (records.last_byte_s - planned_s)[ok]
    response_s[timed_out] = np.maximum(waited_s[timed_out], timeout_s)
    response_s[left] = waited_s[left]
    inside = (planned_s >= warmup_s) & (planned_s < end_s)
    everybody = np.ones(len(records), dtype=np.bool_)
    measured = everybody if plan is None else plan.request_measured()[records.index]
    return Responses(
        planned_s=planned_s,
        response_s=response_s,
        bound=timed_out | left,
        service_s=np.where(ok, records.last_byte_s - records.sent_s, np.nan),
        lateness_s=records.lateness_s,
        measured=measured,
        counted=inside & measured,
    )
