"""Who was served? Clients that got nothing while others did, and how evenly answers were shared.

Counting over the records of one run. No clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.plan import Plan

#: Answers, whatever they say.
_ANSWERED: Final = (Outcome.OK, Outcome.HTTP_ERROR)
#: A client that waited in vain for less than this share of the window may have begun late in it.
STARVED_SHARE: Final = 0.1


@dataclass(frozen=True)
class Fairness:
    """How the answers of a window were spread over the measured clients."""

    #: Clients (sessions of the plan) that waited for an answer at some time of the window.
    clients: int
    #: Of these, those that got none in it and waited for at least STARVED_SHARE of it.
    starved: int
    #: Answers that came in the window, to all of them.
    answers: int
    #: The longest that one request waited from its planned time on, until its end.
    longest_wait_s: float
    #: Jain's index of answers per client, closed workloads only: 1 if all got the same, 1/n if one
    #: got all (Jain, Chiu and Hawe 1984). None if there is nothing to share.
    jain: float | None


def fairness(records: Records, plan: Plan, start_s: float, end_s: float) -> Fairness:
    """Of the window [start_s, end_s)."""
    measured = plan.measured_sessions()
    waiting = measured[records.session] & (records.planned_s < end_s)
    waiting &= (records.ended_s >= start_s) & np.isfinite(records.planned_s)
    answered = waiting & np.isin(records.error, _ANSWERED)
    answered &= (records.last_byte_s >= start_s) & (records.last_byte_s < end_s)
    answers = np.bincount(records.session[answered], minlength=plan.sessions)
    clients = np.bincount(records.session[waiting], minlength=plan.sessions) > 0
    waited_s = np.minimum(records.ended_s, end_s) - np.maximum(records.planned_s, start_s)
    in_vain_s = np.bincount(
        records.session[waiting], weights=waited_s[waiting], minlength=plan.sessions
    )
    starved = clients & (answers == 0) & (in_vain_s >= STARVED_SHARE * (end_s - start_s))
    waits_s = (records.ended_s - records.planned_s)[waiting]
    return Fairness(
        clients=int(np.count_nonzero(clients)),
        starved=int(np.count_nonzero(starved)),
        answers=int(answers.sum()),
        longest_wait_s=float(waits_s.max()) if len(waits_s) else 0.0,
        jain=jain(answers[clients & plan.session_cycle]),
    )


def jain(shares: NDArray[np.int64]) -> float | None:
    """Jain's index of fairness; None if there are no shares, or all are 0."""
    total = float(shares.sum())
    if total <= 0:
        return None
    return total**2 / (len(shares) * float((shares.astype(np.float64) ** 2).sum()))
