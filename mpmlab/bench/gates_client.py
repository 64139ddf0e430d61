"""The gates on the load generator: was it in time, complete, and able to do what it was told?

One function for each gate; thresholds stand here with their sources. What the gates look at is
gates_evidence.py's. No clock, no I/O.
"""

from __future__ import annotations

from typing import Final

from mpmlab.bench.gates_evidence import Evidence
from mpmlab.bench.gates_verdict import Gate, Verdict, judged, skipped
from mpmlab.bench.stats_arrivals import arrival_test
from mpmlab.bench.summary import quantile_ms

#: G13 of the measurement rules: a generator whose sends are later than this (p99) measures itself.
LATENESS_LIMIT_MS: Final = 1.0
#: ... or than this share of the median response, if that is more.
LATENESS_SHARE: Final = 0.05
#: G12: within 1 % with several processes; Lancet (Kogias 2019) allows 10 %.
RATE_LIMIT_PERCENT: Final = 1.0
#: Of its core, work without spinning. Beyond it the queue in the client itself grows: at 0.9 a
#: request waits for nine others on average (M/M/1), and its lateness follows.
BUSY_LIMIT: Final = 0.9
#: Requests that waited for a descriptor on this side: a tenth of those that make the p99.
QUEUED_SHARE: Final = 0.001


def lateness(seen: Evidence) -> Gate:
    """p99 of how late requests were taken in hand, under max(1 ms, 5 % of the median response)."""
    late_ms = quantile_ms(seen.lateness_s, 0.99)
    if late_ms is None:
        return skipped("lateness", "ms", "the client took no request of the window in hand")
    middle_ms = quantile_ms(seen.response_s, 0.5)
    limit_ms = max(LATENESS_LIMIT_MS, LATENESS_SHARE * (middle_ms or 0.0))
    return judged(
        "lateness", late_ms, "ms", limit_ms,
        f"p99 of the client's own delay is {late_ms:.3g} ms, the limit {limit_ms:.3g} ms (the "
        f"larger of {LATENESS_LIMIT_MS:g} ms and {LATENESS_SHARE:.0%} of the median response)",
        "lower the rate, use more client processes, or give the clients a core of their own",
    )  # fmt: skip


def rate(seen: Evidence) -> Gate:
    """Requests taken in hand in the window against those planned in it. One request may always lie
    on the other side of an edge, however few there are."""
    if seen.closed:
        return skipped("rate", "%", "in a closed workload the server sets the rate")
    if not seen.planned:
        return skipped("rate", "%", "no request was planned in the window")
    off = 100 * abs(seen.taken - seen.planned) / seen.planned
    limit = max(RATE_LIMIT_PERCENT, 100 / seen.planned)
    return judged(
        "rate", off, "%", limit,
        f"{seen.taken} requests were taken in hand in the window in which {seen.planned} were "
        f"planned ({seen.dropped} never), {off:.2g} % off, the limit {limit:.2g} %",
        "lower the rate: the clients, or the server that keeps their connections busy, cannot "
        "carry it",
    )  # fmt: skip


def client(seen: Evidence) -> Gate:
    """The busiest client process has a tenth of its core to spare."""
    busy = seen.facts.client_busy
    if busy is None:
        return skipped("client", "of a core", "the clients' work was not recorded")
    return judged(
        "client", busy, "of a core", BUSY_LIMIT,
        f"the busiest client process worked for {busy:.0%} of its time, the limit "
        f"{BUSY_LIMIT:.0%}",
        "use more client processes, or lower the rate or the number of users",
    )  # fmt: skip


def descriptors(seen: Evidence) -> Gate:
    """No connection failed for want of descriptors, ports or memory on the client's side: such a
    failure would be counted as a refusal of the server's."""
    short = seen.facts.shortages
    if short is None:
        return skipped("descriptors", "connections", "shortages were not recorded")
    return judged(
        "descriptors", short, "connections", 0,
        f"{short} connections failed for want of descriptors, ports or memory on the client's side",
        "raise the limit of open files (ulimit -n), widen net.ipv4.ip_local_port_range, or keep "
        "connections alive",
    )  # fmt: skip


def connect_queue(seen: Evidence) -> Gate:
    """Hardly a request waited on the client's side for one of the connections it may have: their
    response times would include that wait. A few are told."""
    queued = seen.facts.queued_connects
    if queued is None:
        return skipped("connect-queue", "connections", "waiting connections were not recorded")
    limit = QUEUED_SHARE * seen.account.planned
    text = (
        f"{queued} of {seen.account.planned} requests waited on the client's side, which had as "
        f"many connections as its limit of open files allows; {limit:.0f} may"
    )
    advice = "raise the limit of open files (ulimit -n) or use more client processes"
    found = judged("connect-queue", queued, "connections", limit, text, advice)
    if queued and found.verdict is Verdict.PASS:
        return Gate(found.name, queued, found.unit, limit, Verdict.NOTE, text, advice)
    return found


def arrivals(seen: Evidence) -> Gate:
    """Anderson-Darling at 1 % on the times at which sessions were begun, against the planned
    process."""
    if seen.closed:
        return skipped("arrivals", "A2", "a closed workload has no arrivals")
    planned_s, begun_s = seen.starts_planned_s, seen.starts_begun_s
    test = arrival_test(planned_s, begun_s, poisson=seen.arrivals == "poisson")
    if test is None:
        return skipped("arrivals", "A2", "too few sessions began in the window")
    against = "a Poisson process" if test.kind == "exponential" else "the planned gaps"
    over = "" if test.requests_per_gap == 1 else f" over {test.requests_per_gap} requests each"
    return judged(
        "arrivals", test.statistic, "A2", test.limit,
        f"{test.gaps} gaps between arrivals{over} differ from {against} by A2 = "
        f"{test.statistic:.2f}, the limit {test.limit:.2f} (Anderson-Darling at 1 %)",
        "something held the clients up: look at their lateness, end what else runs on their core, "
        "lower the rate",
    )  # fmt: skip
