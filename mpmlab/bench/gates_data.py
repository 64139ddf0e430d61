"""The gates on what was measured: does the account balance, was it steady, is there enough of it?

One function for each gate; thresholds stand here with their sources. These hold for a simulated run
as well. No clock, no I/O.

Clients besides the measured ones (slow senders, idle holders) are there to hurt: what they do to
the measured ones is then the finding, so starved and overloaded is told and is no failure.
"""

from __future__ import annotations

import math
from typing import Final

from mpmlab.bench.gates_evidence import Evidence, Facts
from mpmlab.bench.gates_verdict import Gate, Strictness, Verdict, judged, skipped
from mpmlab.bench.stats_batches import DRIFT_FLOOR, DRIFT_LEVEL, drift, mser5
from mpmlab.bench.stats_quantiles import Quantile, least_n, quantile, relaxation_s, samples_for

#: The name of the gate that only says what cut a run short.
COMPLETED: Final = "completed"
#: Of the requests planned in the window. A server at 1.05 times its capacity falls behind by so
#: much; a steady one at utilisation 0.95 with 2,000 requests by 1 % (standard deviation).
BACKLOG_SHARE: Final = 0.05
#: ... or so many, where there are few.
BACKLOG_LEAST: Final = 10
#: Half-width of a percentile's interval, relative to it: G22 of the measurement rules.
HALF_WIDTH_LIMIT: Final = {Strictness.DEFAULT: 0.10, Strictness.PUBLISH: 0.05}
#: Relaxation times that a window must last: measurement rules, 5.2.
RELAXATIONS: Final = 200
#: What is a note by default and a failure of what is to be published.
_WANTING: Final = {Strictness.DEFAULT: Verdict.NOTE, Strictness.PUBLISH: Verdict.FAIL}


def completed(seen: Evidence) -> Gate:
    """Nothing ended the run before its plan did."""
    faults = seen.facts.faults
    text = "; ".join(faults) if faults else "the run went to its end"
    return judged(COMPLETED, len(faults), "faults", 0, text, "repeat the run")


def balance(seen: Evidence) -> Gate:
    """planned = sent + dropped, sent = ok + errors + timeouts + abandoned + unfinished."""
    if seen.facts.faults:
        return skipped("account", "breaches", "the run was cut short")
    sums, found = seen.account, seen.account.breaches()
    text = (
        "the account of requests does not balance: " + "; ".join(found)
        if found
        else f"{sums.planned} planned = {sums.sent} sent + {sums.dropped} dropped; sent = "
        f"{sums.ok} good + {sum(sums.errors.values())} errors + {sums.timeouts} time-outs + "
        f"{sums.abandoned} abandoned + {sums.unfinished} unfinished"
    )
    return judged(
        "account", len(found), "breaches", 0, text, "this is a fault of mpmlab: report it"
    )


def answers(seen: Evidence) -> Gate:
    """There is something to measure."""
    return judged(
        "answers", seen.answered, "answers", 1,
        f"{seen.answered} of {seen.planned} requests of the window were answered well",
        "see the errors by kind and the server's log; a longer run if none was planned",
        least=True,
        otherwise=Verdict.NOTE if seen.background and seen.planned else Verdict.FAIL,
    )  # fmt: skip


def starvation(seen: Evidence) -> Gate:
    """No client went without while others were served. It is told and never a failure: it is what
    the server does, and the waits count in the percentiles. That nobody was served is for the gate
    "answers"."""
    found = seen.fairness
    if not found.answers:
        return skipped("starvation", "clients", "nobody was answered in the window")
    even = "" if found.jain is None else f"; Jain's index of answers per client {found.jain:.3f}"
    return judged(
        "starvation", found.starved, "clients", 0,
        f"{found.starved} of {found.clients} clients waited without an answer while others were "
        f"served; the longest wait of a request was {found.longest_wait_s:.3g} s{even}",
        "more workers than connections, a shorter KeepAliveTimeout, or another MPM",
        otherwise=Verdict.NOTE,
    )  # fmt: skip


def backlog(seen: Evidence) -> Gate:
    """The server kept up: as many requests ended as were planned. Where it did not, response times
    are a matter of how long the run lasts."""
    if seen.closed:
        return skipped("backlog", "%", "in a closed workload the server sets the rate")
    if not seen.planned:
        return skipped("backlog", "%", "no request was planned in the window")
    behind = max(0, seen.backlog_growth) + seen.timed_out
    share = 100 * behind / seen.planned
    limit = 100 * max(BACKLOG_SHARE, BACKLOG_LEAST / seen.planned)
    meant = seen.background or not seen.steady
    return judged(
        "backlog", share, "%", limit,
        f"the server fell behind by {share:.2g} % of the requests planned in the window "
        f"({seen.backlog_growth:+d} awaiting an answer, {seen.timed_out} timed out), the limit "
        f"{limit:.2g} %",
        "lower the rate or give the server more workers: it cannot carry this load",
        otherwise=Verdict.NOTE if meant else Verdict.FAIL,
    )  # fmt: skip


def stationarity(seen: Evidence) -> Gate:
    """Response times do not drift (Mann-Kendall on medians of batches); MSER-5 is told beside.

    A machine that changes its speed (see the gate "speed") takes response times with it, and a few
    slow seconds late in a run look like a drift: one that this explains is told only."""
    if not seen.steady:
        return skipped("stationarity", "%", f"the rate of {seen.arrivals} arrivals changes by plan")
    found = drift(seen.response_s)
    if found is None:
        return skipped("stationarity", "%", "too few answers for a test of their drift")
    moved = 100 * found.change
    advice = (
        "the server is overloaded or still warming up: lower the rate, or lengthen the warm-up and "
        "the run"
    )
    text = (
        f"the median response moved by {moved:+.3g} % over the window; chance does as much in "
        f"{found.p_value:.2g} of steady runs (a drift: below {DRIFT_LEVEL:g} and above "
        f"{DRIFT_FLOOR:.0%}); {_mser_text(seen)}"
    )
    explained = abs(found.change) <= _change_by_speed(seen.facts)
    bad = Verdict.NOTE if seen.background or explained else Verdict.FAIL
    # What chance does has no limit.
    limit = 100 * DRIFT_FLOOR if found.found or abs(moved) <= 100 * DRIFT_FLOOR else None
    return Gate(
        "stationarity", abs(moved), "%", limit,
        bad if found.found else Verdict.PASS, text, advice if found.found else "",
    )  # fmt: skip


def _change_by_speed(facts: Facts) -> float:
    """How much longer responses are in the machine's slow state than in its fast one, relative to
    the latter: the work takes so much longer, and the queue before it grows as s / (1 - rho)."""
    if facts.speed is None:
        return 0.0
    ratio = facts.speed.ratio
    fast = (facts.utilisation or 0.0) * facts.speed.fast_us / facts.speed.mean_us
    return ratio * (1 - fast) / (1 - ratio * fast) - 1 if ratio * fast < 1 else math.inf


def _mser_text(seen: Evidence) -> str:
    found = mser5(seen.response_s)
    if found is None:
        return "too few answers for MSER-5"
    if not found.reliable:
        return "MSER-5 gives no cut to rely on (it lies in the second half)"
    share = found.cut / len(seen.response_s)
    return f"MSER-5 would cut off {share:.0%} more at the start (a diagnostic, not used)"


def samples(seen: Evidence, p: float, strictness: Strictness) -> Gate:
    """The percentile asked for is known well enough."""
    name, limit = f"samples-p{100 * p:g}", 100 * HALF_WIDTH_LIMIT[strictness]
    found = quantile(seen.response_s, p, censored_from=seen.censored_from_s)
    if found is None:
        return skipped(name, "%", "no request of the window was answered")
    worth = f"{found.n} requests, worth {found.effective:.0f} independent ones"
    if found.half_width is None:
        text = f"p{100 * p:g} has no interval: {worth}, or values beyond it that timed out"
        wanted = max(least_n(p), samples_for(p, limit / 100))
        advice = f"lengthen the run: about {wanted} independent requests are needed"
        return Gate(name, None, "%", limit, _WANTING[strictness], text, advice)
    width = 100 * found.half_width
    advice = f"measure {(width / limit) ** 2:.1f} times as long, or repeat the run"
    return judged(
        name, width, "%", limit,
        f"p{100 * p:g} is known to +-{width:.2g} % with 95 % confidence ({worth}"
        f"{_batches_text(found)}); asked is +-{limit:g} %",
        advice, otherwise=_WANTING[strictness],
    )  # fmt: skip


def _batches_text(found: Quantile) -> str:
    """The interval that rests on other assumptions, where there is one."""
    beside = found.batch_interval
    width = None if beside is None else beside.half_width(found.value)
    return "" if width is None else f"; +-{100 * width:.2g} % by the scatter of batches"


def converged(seen: Evidence, strictness: Strictness) -> Gate:
    """The run is long against the memory of its queue, or one draw of it proves little."""
    name, unit, used = "converged", "relaxation times", seen.facts.utilisation
    if seen.closed:
        return skipped(name, unit, "the users of a closed workload bound its queue")
    if used is None or not seen.completed_per_s:
        return skipped(name, unit, "the server's utilisation or throughput is not known")
    memory_s = relaxation_s(used, seen.completed_per_s)
    if math.isinf(memory_s):
        text = f"not converged: at a utilisation of {used:.0%} the queue never forgets"
        advice = "lower the rate"
        return Gate(name, 0.0, unit, RELAXATIONS, _WANTING[strictness], text, advice)
    # A server that nothing waits for has no memory; a figure stays one that JSON can hold.
    times = seen.length_s / max(memory_s, 1e-9)
    said = "" if times >= RELAXATIONS else "not converged: "
    return judged(
        name, times, unit, RELAXATIONS,
        f"{said}the window of {seen.length_s:.3g} s lasts {times:.0f} relaxation times of a queue "
        f"at {used:.0%} ({1000 * memory_s:.3g} ms each), asked are {RELAXATIONS}",
        f"measure for {RELAXATIONS * memory_s:.0f} s, or lower the rate",
        least=True, otherwise=_WANTING[strictness],
    )  # fmt: skip
