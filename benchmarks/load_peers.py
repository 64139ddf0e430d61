"""Our load generator beside others on the same job: do throughput, p50 and p99 agree?

The server waits a fixed time in each request, so that what is compared is what the clients measure
and not how fast they are. Pairs of runs of the other program and of ours, ABBA, on the same cores.

wrk's job is a closed loop. The others keep to a rate, each in its own way, and three of them not
evenly: where a program tells when it sent each request, ours is given the very same times (those of
a rehearsal that is not compared), since other gaps between the same requests are another load. What
the pairs of evenly spaced requests would give is told beside.

All latencies compared are from the actual send to the last byte, as every other program counts;
ours from the planned send stand beside them. Needs the programs asked for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks.common import estimate, pin, report, server_and_client_cores
from benchmarks.jobs import carry_out, closed_plan, constant_us, open_plan, url
from benchmarks.load_generator import our_server
from benchmarks.peers import (
    Floats,
    Told,
    autocannon,
    corrected_as_wrk,
    h2load,
    hey,
    install_autocannon,
    wrk,
)
from benchmarks.programs import complain, missing
from benchmarks.slices import (
    Conditions,
    Pair,
    Watch,
    in_pairs,
    ratio_of,
    ratio_text,
    undisturbed,
    used_text,
)
from mpmlab.core.demand import Demand
from mpmlab.workload.plan import Plan

PEERS: Final = ("wrk", "h2load", "hey", "autocannon")
#: Programs that a peer needs.
_NEEDS: Final = {"autocannon": ("node", "npm")}
CONNECTIONS: Final = 10
RATE_PER_S: Final = 500
#: The injected delay, long against all that the clients do, and small answers.
DEMAND: Final = Demand(wait_us=5000, response_bytes=1000)
#: How far throughput and p50, and p99, may be apart.
LIMIT: Final = 0.05
P99_LIMIT: Final = 0.10

#: What a peer measures otherwise than we do.
DIFFERENCES: Final = {
    "wrk": "clock from the actual send; adds guessed samples for answers slower than twice the mean"
    " (here they are added to ours, too); stops without waiting for open answers",
    "h2load": "clock from the actual send; a timer for each connection, kept to by epoll's "
    "milliseconds: sends up to 1 ms late and does not count that",
    "hey": "clock from the actual send; its workers tick together: bursts of as many requests as "
    "connections; times in tenths of a millisecond",
    "autocannon": "clock from the actual send; each connection sends a second's requests one after "
    "the other at once, then pauses; the delays of its own event loop count as the server's; its "
    "own program adds guessed samples (here off)",
}


class Figures(NamedTuple):
    """One run: answers per second, percentiles in milliseconds, and the same from planned sends
    (ours only; the others count from the actual send)."""

    per_s: float
    p50_ms: float
    p99_ms: float
    planned_p99_ms: float
    lost: int
    conditions: Conditions


@dataclass(frozen=True)
class Match:
    """A peer's job and its pairs. `expected`: both do and measure the same, so they must agree."""

    peer: str
    job: str
    expected: bool
    pairs: list[Pair[Figures, Figures]]


Run = Callable[[], Told]


def peer_figures(run: Run, watch: Watch) -> Figures:
    """A run of the other program."""
    watch.begin()
    told = run()
    conditions = watch.end()
    p50_ms, p99_ms = 1000 * told.p50_s, 1000 * told.p99_s
    return Figures(told.per_s, p50_ms, p99_ms, p99_ms, told.lost, conditions)


def our_figures(plan: Plan, port: int, watch: Watch) -> Figures:
    """A run of ours. Throughput of a closed loop counts the answers until the plan's end; of an
    open one, all of them over the time from the first send to the last, as the peers' does."""
    done = carry_out(plan, port, watch)
    records = done.records
    good = done.answered if plan.cycle else records.error == 0
    service_s = (records.last_byte_s - records.sent_s)[good]
    if plan.cycle:
        per_s = len(service_s) / done.seconds
        service_s = corrected_as_wrk(service_s, done.seconds, CONNECTIONS)
    else:
        sent_s = records.sent_s[good]
        per_s = (len(sent_s) - 1) / float(np.ptp(sent_s))
    planned = _percentiles_ms((records.last_byte_s - records.planned_s)[good])
    return Figures(per_s, *_percentiles_ms(service_s), planned[1], done.lost, done.conditions)


def _percentiles_ms(values_s: Floats) -> tuple[float, float]:
    p50, p99 = np.quantile(values_s, (0.5, 0.99), method="inverted_cdf")
    return 1000 * float(p50), 1000 * float(p99)


def replay(told: Told) -> Plan:
    """A plan of the same requests at the same times, over as many connections. It ends a second
    later: what waits for a connection is sent nevertheless."""
    times_us = np.rint(told.sent_s * 1e6).astype(np.int64)
    seconds = int(times_us[-1]) / 1e6 + 1
    return open_plan(times_us, seconds, DEMAND, CONNECTIONS, "replay")


def matches(peers: Sequence[str], pairs: int, seconds: float, folder: Path) -> list[Match]:
    """Run all pairs."""
    server_cores, client_cores = server_and_client_cores()
    found = []
    with our_server("prefork", server_cores, CONNECTIONS) as served:
        watch = Watch(served.pids)
        target = url(served.port, DEMAND)
        closed = closed_plan(CONNECTIONS, seconds, DEMAND)
        even_us = constant_us(RATE_PER_S, seconds)
        even = open_plan(even_us, seconds, DEMAND, CONNECTIONS)
        common = (target, CONNECTIONS, seconds, RATE_PER_S, client_cores)
        runs: dict[str, Run] = {
            "wrk": partial(wrk, target, CONNECTIONS, seconds, client_cores),
            "h2load": partial(h2load, *common),
            "hey": partial(hey, *common),
            "autocannon": partial(autocannon, folder, *common),
        }
        for peer in peers:
            rehearsal = runs[peer]()
            theirs = partial(peer_figures, runs[peer], watch)
            jobs = [("closed loop", closed, True)]
            if peer != "wrk":
                # h2load's timers are evenly spaced, if a little late; the others' are not.
                jobs = [("its own send times", replay(rehearsal), peer != "autocannon"),
                        ("evenly spaced", even, peer == "h2load")]  # fmt: skip
            for job, plan, expected in jobs:
                ours = partial(our_figures, plan, served.port, watch)
                found.append(Match(peer, job, expected, in_pairs(pairs, theirs, ours)))
    return found


def tell(found: Sequence[Match], seconds: float) -> None:
    """Print them."""
    rows = []
    for match in found:
        good = undisturbed(match.pairs)
        ratios = [ratio_of(good, value) for value in (_per_s, _p50_ms, _p99_ms)]
        medians = [
            " / ".join(f"{estimate([value(one) for one in side]).median:,.{digits}f}"
                       for side in ([p.first for p in good], [p.second for p in good]))
            for value, digits in ((_per_s, 0), (_p50_ms, 2), (_p99_ms, 2))
        ]  # fmt: skip
        planned = estimate([pair.second.planned_p99_ms for pair in good]).median
        limits = (LIMIT, LIMIT, P99_LIMIT)
        apart = [abs(r.value - 1) > limit for (r, _), limit in zip(ratios, limits, strict=True)
                 if r is not None]  # fmt: skip
        verdict = "differs" if any(apart) else "agrees"
        rows.append((
            f"{match.peer}, {match.job}", *medians, f"{planned:.2f}",
            *(ratio_text(*ratio) for ratio in ratios),
            sum(pair.first.lost + pair.second.lost for pair in match.pairs),
            used_text(good, match.pairs),
            verdict if match.expected else f"{verdict} (not the same)",
        ))  # fmt: skip
    report(
        f"The same job, {CONNECTIONS} keep-alive connections, a server that waits "
        f"{DEMAND.wait_us / 1000:g} ms",
        ("peer, job", "per second\npeer / ours", "p50 ms\npeer / ours", "p99 ms\npeer / ours",
         "our p99\nfrom plan", "throughput\nours / peer", "p50\nours / peer", "p99\nours / peer",
         "lost", "pairs used", f"within {LIMIT:.0%},\np99 {P99_LIMIT:.0%}"),
        rows,
        f"{len(found[0].pairs)} pairs of runs of {seconds:g} s, ABBA; medians, geometric means of "
        f"ratios with 95 % intervals; open jobs at {RATE_PER_S}/s",
    )  # fmt: skip
    for peer in dict.fromkeys(match.peer for match in found):
        print(f"{peer}: {DIFFERENCES[peer]}.")


def _per_s(one: Figures) -> float:
    return one.per_s


def _p50_ms(one: Figures) -> float:
    return one.p50_ms


def _p99_ms(one: Figures) -> float:
    return one.p99_ms


# ---- the program ---------------------------------------------------------------------------------


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    made = argparse.ArgumentParser(prog="load_peers", description=__doc__.split("\n\n")[0])
    made.add_argument(
        "--peers", default=",".join(PEERS[:3]),
        help=f"of {', '.join(PEERS)} (%(default)s; autocannon is fetched by npm)",
    )  # fmt: skip
    made.add_argument("--pairs", type=int, default=6, help="of runs (%(default)s)")
    made.add_argument("--seconds", type=float, default=5.0, help="of a run (%(default)s)")
    chosen = made.parse_args(argv)
    chosen.peers = chosen.peers.split(",")
    if unknown := set(chosen.peers) - set(PEERS):
        made.error(f"--peers: unknown {', '.join(unknown)}; accepted: {', '.join(PEERS)}")
    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code."""
    asked = options(argv)
    lacking = missing(name for peer in asked.peers for name in _NEEDS.get(peer, (peer,)))
    if lacking:
        return complain(lacking)
    pin(server_and_client_cores()[0])  # while runs go on we sleep, on the server's core
    seconds = max(1, round(asked.seconds))  # wrk counts in whole ones
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpmlab-npm.")))
        if "autocannon" in asked.peers:
            print(f"autocannon {install_autocannon(folder)}")
        tell(matches(asked.peers, asked.pairs, seconds, folder), seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
