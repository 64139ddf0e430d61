"""The account of a run: every request that was planned is somewhere, and nowhere twice.

Counting only, over a plan and its records. What is due is worked out from the plan and the times at
which answers came, not from how requests ended, so that a row that was lost leaves a gap. No clock,
no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.load.recorder import RECONNECT_PAUSE_US, Outcome, Records
from mpmlab.workload.plan import Plan

#: Ended without a single byte of a request having left, and yet the client had done its part: it
#: asked for a connection (or, stalling on purpose, had one and said nothing).
_ASKED: Final = (Outcome.CONNECT_REFUSED, Outcome.CONNECT_TIMEOUT, Outcome.ABANDONED)
_TIMEOUTS: Final = (Outcome.CONNECT_TIMEOUT, Outcome.TIMEOUT)
#: What counts neither as answered, nor as an error, nor as a time-out, each on its own.
_APART: Final = (Outcome.OK, Outcome.ABANDONED, Outcome.UNFINISHED, Outcome.NOT_SENT)


@dataclass(frozen=True)
class Account:
    """Requests of a whole run, warm-up and unmeasured groups included. Two identities hold:

        planned = sent + dropped
        sent    = ok + errors + timeouts + abandoned + unfinished

    `planned`, `sent` and the outcomes are counted from different columns."""

    #: Due before the run's end, by the plan and the answers before them.
    planned: int
    #: A first byte left, or at least a connection was asked for: a request whose connection was
    #: refused counts as sent.
    sent: int
    #: Due, but never tried: the run was over first.
    dropped: int
    ok: int
    #: By Outcome, lower case: refused, reset, closed early, bad or error answers.
    errors: Mapping[str, int]
    #: Of the answer or of the connection.
    timeouts: int
    #: The client left on purpose.
    abandoned: int
    #: Still awaited when the run was stopped.
    unfinished: int
    #: Rows that are missing, twice, or foreign to the plan (Records.breaches).
    faults: tuple[str, ...] = ()

    def breaches(self) -> tuple[str, ...]:
        """Where the account does not balance; empty if it does, to the last request."""
        found = list(self.faults)
        if self.planned != self.sent + self.dropped:
            found.append(
                f"{self.planned} requests were planned, but {self.sent} sent and {self.dropped} "
                f"dropped make {self.sent + self.dropped}"
            )
        ended = sum((self.ok, *self.errors.values(), self.timeouts, self.abandoned))
        if self.sent != ended + self.unfinished:
            found.append(
                f"{self.sent} requests were sent, but {self.ok} good answers, "
                f"{sum(self.errors.values())} errors, {self.timeouts} time-outs, "
                f"{self.abandoned} abandoned and {self.unfinished} unfinished make "
                f"{ended + self.unfinished}"
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: plain values by field name."""
        return {**vars(self), "errors": dict(self.errors), "faults": list(self.faults)}

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Account:
        """What to_dict gave. Raises KeyError or TypeError if it is something else."""
        return Account(**{**document, "faults": tuple(document["faults"])})


def account(records: Records, plan: Plan) -> Account:
    """Count a run of `plan`."""
    error = records.error
    counts = {kind: int(np.count_nonzero(error == kind)) for kind in Outcome}
    asked = np.isfinite(records.sent_s) | np.isin(error, _ASKED)
    faults = tuple(records.breaches(plan))
    return Account(
        planned=_planned(records, plan),
        sent=int(np.count_nonzero(asked)),
        dropped=counts[Outcome.NOT_SENT],
        ok=counts[Outcome.OK],
        errors={
            kind.name.lower(): count
            for kind, count in counts.items()
            if count and kind not in (*_APART, *_TIMEOUTS)
        },
        timeouts=sum(counts[kind] for kind in _TIMEOUTS),
        abandoned=counts[Outcome.ABANDONED],
        unfinished=counts[Outcome.UNFINISHED],
        faults=faults,
    )


def _end_s(records: Records, plan: Plan) -> float:
    return min(records.end_s, plan.duration_us / 1e6)


def _absolute(records: Records, plan: Plan) -> NDArray[np.int64]:
    """For each session how many of its requests are due by their planned times: up to the last one
    with such a time before the end, since those before it come first."""
    due = (plan.planned_us >= 0) & (plan.planned_us / 1e6 < _end_s(records, plan))
    owner = np.repeat(np.arange(plan.sessions), plan.session_requests)
    reached = np.zeros(plan.sessions, dtype=np.int64)
    place = np.arange(plan.requests) - plan.session_first[owner]
    np.maximum.at(reached, owner[due], place[due] + 1)
    return reached


def _planned(records: Records, plan: Plan) -> int:
    """How many requests were due: by their planned times, and by the answers they follow."""
    reached = _absolute(records, plan)
    mine = _of_plan(records, plan)
    session, cycle = records.session[mine], records.cycle[mine]
    size, first = plan.session_requests.astype(np.int64)[session], plan.session_first[session]
    following = cycle * size + records.index[mine] - first + 1
    goes_on = plan.session_cycle[session] | (following < size)
    index = first + following % size
    think_us = np.where(
        records.error[mine] == Outcome.CONNECT_REFUSED,
        np.maximum(plan.think_us[index], RECONNECT_PAUSE_US),
        plan.think_us[index],
    )
    relative = (following >= size) | (plan.planned_us[index] < 0)
    due = goes_on & relative & (records.ended_s[mine] + think_us / 1e6 < _end_s(records, plan))
    np.maximum.at(reached, session[due], following[due] + 1)
    return int(reached.sum())


def _of_plan(records: Records, plan: Plan) -> NDArray[np.intp]:
    """The rows that can be followed through the plan; others are faults, named as such."""
    rows = np.flatnonzero((records.session >= 0) & (records.session < plan.sessions))
    offset = records.index[rows] - plan.session_first[records.session[rows]]
    inside = (offset >= 0) & (offset < plan.session_requests[records.session[rows]])
    return rows[inside & (records.cycle[rows] >= 0)]
