"""The requests that count: what the records say about those planned in the measured window.

Selection only, as flat arrays; what is made of them is summary.py and report/. No clock, no I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.load.recorder import Outcome, Records

Floats = NDArray[np.float64]

_TIMED_OUT: Final = (Outcome.TIMEOUT, Outcome.CONNECT_TIMEOUT)
_STOPPED: Final = (Outcome.NOT_SENT, Outcome.UNFINISHED)


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


def measured(records: Records, warmup_s: float, duration_s: float, timeout_s: float) -> Measured:
    """Select from `records`. The window ends with the run if that was cut short."""
    end_s = duration_s if records.complete else min(duration_s, records.end_s)
    inside = np.flatnonzero(_between(records.planned_s, warmup_s, end_s))
    inside = inside[np.argsort(records.planned_s[inside], kind="stable")]
    error, planned_s = records.error[inside], records.planned_s[inside]
    ok = error == Outcome.OK
    answered_s = (records.last_byte_s[inside] - planned_s)[ok]
    given_up_s = _given_up_s(records, inside, timeout_s)
    lateness_s = records.lateness_s[inside]
    good = records.error == Outcome.OK
    return Measured(
        start_s=warmup_s,
        end_s=end_s,
        requests=len(inside),
        completed=int(np.count_nonzero(ok)),
        response_s=np.concatenate([answered_s, given_up_s]),
        censored_from_s=float(given_up_s.min()) if len(given_up_s) else math.inf,
        service_s=(records.last_byte_s[inside] - records.sent_s[inside])[ok],
        lateness_s=lateness_s[np.isfinite(lateness_s)],
        errors={
            kind.name.lower(): int(np.count_nonzero(error == kind))
            for kind in Outcome
            if kind is not Outcome.OK and np.any(error == kind)
        },
        all_planned_s=records.planned_s,
        all_ended_s=records.last_byte_s[good],
    )


def _given_up_s(records: Records, rows: NDArray[np.intp], timeout_s: float) -> Floats:
    """How long at least the requests took that nobody waited for to the end. Those that a run left
    behind when it was cut short say nothing and are left out."""
    error = records.error[rows]
    waited_s = records.ended_s[rows] - records.planned_s[rows]
    timed_out = np.isin(error, _TIMED_OUT)
    left = np.isin(error, _STOPPED) & records.complete & np.isfinite(waited_s)
    return np.concatenate([np.maximum(waited_s[timed_out], timeout_s), waited_s[left]])


def _between(times_s: Floats, start_s: float, end_s: float) -> NDArray[np.bool_]:
    return (times_s >= start_s) & (times_s < end_s)
