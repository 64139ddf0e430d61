"""The load generator itself: how late it sends, how fast one process of it is beside wrk, and what
its parser costs beside others.

Lateness is measured against a server that is far faster than any rate asked for (nginx). The
highest rate is that of a closed loop, in pairs of slices of wrk and of ours, ABBA, against several
servers. Each slice is placed by readings of both cores' speed, and slices in which another process
had a core are told and counted (slices.py). Needs wrk and nginx; takes httpd too if it is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from benchmarks.common import CORES, Estimate, estimate, pin, report, server_and_client_cores
from benchmarks.jobs import carry_out, closed_plan, constant_us, open_plan, poisson_us, url
from benchmarks.parsers import MESSAGES, PARSERS
from benchmarks.parsers import measure as measure_parsers
from benchmarks.parsers import tell as tell_parsers
from benchmarks.peers import Floats, Told, wrk
from benchmarks.programs import Served, complain, httpd, missing, nginx, program
from benchmarks.server_cpu import mpm_server
from benchmarks.slices import (
    Conditions,
    Pair,
    Watch,
    fastest_us,
    in_pairs,
    ratio_of,
    ratio_text,
    states,
    undisturbed,
    used_text,
)
from mpmlab.core.demand import Demand

RATES: Final = (1000, 2000, 5000, 10_000, 20_000, 40_000)
POOL: Final = 64
#: Requests per second that come with a new connection each.
DIALS_PER_S: Final = 2000
CONNECTIONS: Final = (16, 64)
DEMAND: Final = Demand(response_bytes=40)
#: The first moments, in which the pool's connections are opened, do not count.
WARMUP_S: Final = 0.2
#: What the project asks of an idle core: lateness in microseconds, and the share of wrk's rate.
TARGET_P50_US: Final = 5.0
TARGET_P99_US: Final = 50.0
TARGET_UP_TO_PER_S: Final = 10_000
TARGET_DIALLING_P99_US: Final = 200.0
TARGET_RATIO: Final = 0.8
PARTS: Final = ("lateness", "rate", "parsers")

# ---- lateness ------------------------------------------------------------------------------------


class Job(NamedTuple):
    """An open load: so many requests per second, over a pool of connections (0: a new one each)."""

    rate_per_s: int
    poisson: bool
    pool: int

    @property
    def label(self) -> str:
        """For a table."""
        kind = "Poisson" if self.poisson else "constant"
        return f"{self.rate_per_s:,}/s {kind}{'' if self.pool else ', a new connection each'}"

    def verdict(self, p50_us: float, p99_us: float) -> str:
        """Whether the project's targets are met; empty if there is none."""
        if not self.pool:
            return "met" if p99_us <= TARGET_DIALLING_P99_US else "missed"
        if self.rate_per_s > TARGET_UP_TO_PER_S:
            return ""
        return "met" if p50_us <= TARGET_P50_US and p99_us <= TARGET_P99_US else "missed"


class Lateness(NamedTuple):
    """One slice of a job: percentiles of lateness and of the send's delay, microseconds."""

    p50_us: float
    p99_us: float
    p999_us: float
    #: Actual send to planned time; waiting for a connection and dialling are in it.
    sent_p99_us: float
    busy: float
    lost: int
    conditions: Conditions


def jobs(rates: Sequence[int]) -> list[Job]:
    """Each rate evenly spaced and Poisson, and the two with new connections."""
    pooled = [Job(rate, poisson, POOL) for rate in rates for poisson in (False, True)]
    return [*pooled, Job(DIALS_PER_S, False, 0), Job(DIALS_PER_S, True, 0)]


def lateness_slice(job: Job, port: int, watch: Watch, seconds: float, seed: int) -> Lateness:
    """Carry it out once. Raises RuntimeError if nothing was sent after the warm-up."""
    if job.poisson:
        times_us = poisson_us(job.rate_per_s, seconds, seed)
    else:
        times_us = constant_us(job.rate_per_s, seconds)
    kind = "poisson" if job.poisson else "constant"
    done = carry_out(open_plan(times_us, seconds, DEMAND, job.pool, kind), port, watch)
    records = done.records
    steady = (records.planned_s >= min(WARMUP_S, seconds / 2)) & np.isfinite(records.sent_s)
    if not steady.any():
        raise RuntimeError(f"{job.label}: nothing was sent")
    late_s = records.lateness_s[steady]
    return Lateness(
        p50_us=_quantile_us(late_s, 0.5),
        p99_us=_quantile_us(late_s, 0.99),
        p999_us=_quantile_us(late_s, 0.999),
        sent_p99_us=_quantile_us((records.sent_s - records.planned_s)[steady], 0.99),
        busy=done.fact("client_busy"),
        lost=done.lost,
        conditions=done.conditions,
    )


def _quantile_us(values_s: Floats, p: float) -> float:
    return 1e6 * float(np.quantile(values_s, p, method="inverted_cdf"))


def measure_lateness(
    chosen: Sequence[Job], repetitions: int, seconds: float
) -> dict[Job, list[Lateness]]:
    """Slices of every job in turn, every other time backwards."""
    found: dict[Job, list[Lateness]] = {job: [] for job in chosen}
    server_cores = server_and_client_cores()[0]
    with nginx(server_cores) as served:
        watch = Watch(served.pids)
        for number in range(repetitions):
            for job in chosen[::-1] if number % 2 else chosen:
                found[job].append(lateness_slice(job, served.port, watch, seconds, seed=number))
    return found


def tell_lateness(found: dict[Job, list[Lateness]], seconds: float) -> None:
    """Print them."""
    fast_us = fastest_us(one for slices in found.values() for one in slices)
    rows = []
    for job, slices in found.items():
        good = undisturbed(slices)
        p50, p99, p999 = (
            estimate([getattr(one, name) for one in good])
            for name in ("p50_us", "p99_us", "p999_us")
        )
        rows.append((
            job.label, _short(p50), _short(p99), _short(p999),
            _short(estimate([one.sent_p99_us for one in good])),
            f"{estimate([one.busy for one in good]).median:.2f}",
            sum(one.lost for one in slices),
            used_text(good, slices),
            f"{max(one.p99_us for one in slices):,.0f}",
            states(good, fast_us),
            job.verdict(p50.median, p99.median),
        ))  # fmt: skip
    report(
        f"Lateness of the send, microseconds, over {POOL} keep-alive connections",
        ("job", "p50", "p99", "p99.9", "sent - planned, p99", "client busy", "lost", "slices used",
         "worst p99 of all slices", "client's core", "target"),
        rows,
        f"slices of {seconds:g} s, interleaved; medians over the slices used (95 % interval, or "
        "range of few); unused: another process had a core. Targets: p50 "
        f"{TARGET_P50_US:g} and p99 {TARGET_P99_US:g} up to {TARGET_UP_TO_PER_S:,}/s, p99 "
        f"{TARGET_DIALLING_P99_US:g} with new connections",
    )  # fmt: skip


def _short(value: Estimate) -> str:
    digits = 1 if value.median < 100 else 0
    return f"{value.median:,.{digits}f} ({value.low:,.{digits}f} to {value.high:,.{digits}f})"


# ---- the highest rate ----------------------------------------------------------------------------


class Rate(NamedTuple):
    """One slice of a closed loop: answers per second, and the client's CPU for each."""

    per_s: float
    client_us: float
    lost: int
    conditions: Conditions


#: (server, connections, client processes)
Loop = tuple[str, int, int]


def our_rate(served: Served, connections: int, seconds: float, watch: Watch, clients: int) -> Rate:
    """A slice of ours."""
    plan = closed_plan(connections, seconds, DEMAND)
    done = carry_out(plan, served.port, watch, clients)
    answers = max(1, int(np.count_nonzero(done.answered)))
    return Rate(answers / seconds, 1e6 * done.cpu_s / answers, done.lost, done.conditions)


def wrk_rate(served: Served, connections: int, seconds: float, watch: Watch, clients: int) -> Rate:
    """A slice of wrk, on the same cores, for the same answers."""
    watch.begin()
    told: Told = wrk(url(served.port, DEMAND), connections, seconds, watch.client_cores, clients)
    conditions = watch.end()
    return Rate(told.per_s, 1e6 * told.cpu_s / told.requests, told.lost, conditions)


@contextmanager
def our_server(mpm: str, cores: list[int], connections: int) -> Iterator[Served]:
    """One of our own real servers, with a worker for each connection."""
    with mpm_server(mpm, cores, connections) as (port, pids):
        yield Served(f"mpmlab {mpm}", port, pids)


def servers(cores: list[int]) -> list[AbstractContextManager[Served]]:
    """What is to be asked; each begins with its block."""
    made: list[AbstractContextManager[Served]] = [nginx(cores)]
    made.append(our_server("prefork", cores, max(CONNECTIONS)))
    return [*made, httpd(cores)] if program("apache2") else made


def measure_rate(pairs: int, seconds: float) -> dict[Loop, list[Pair[Rate, Rate]]]:
    """Pairs of slices, wrk first, on each server, for each number of connections; with two client
    processes, too, if there are cores for them."""
    found: dict[Loop, list[Pair[Rate, Rate]]] = {}
    for server in servers(server_and_client_cores()[0]):
        with server as served:
            for clients in (1, 2) if len(CORES) > 2 else (1,):
                watch = Watch(served.pids, clients)
                for connections in CONNECTIONS:
                    theirs = partial(wrk_rate, served, connections, seconds, watch, clients)
                    ours = partial(our_rate, served, connections, seconds, watch, clients)
                    theirs()  # warms the server up, not counted
                    found[served.name, connections, clients] = in_pairs(pairs, theirs, ours)
    return found


def tell_rate(found: dict[Loop, list[Pair[Rate, Rate]]], seconds: float) -> None:
    """Print them."""
    rows = []
    for (server, connections, clients), pairs in found.items():
        good = undisturbed(pairs)
        ratio, count = ratio_of(good, lambda one: one.per_s)
        alike = ratio_of([pair for pair in good if pair.same_speed], lambda one: one.per_s)
        per_cpu = ratio_of(good, lambda one: 1 / one.client_us)
        verdict = ""
        if server == "nginx" and ratio is not None:
            verdict = "met" if ratio.value >= TARGET_RATIO else "missed"
        both = [[pair.first for pair in good], [pair.second for pair in good]]
        per_s = [f"{estimate([one.per_s for one in side]).median:,.0f}" for side in both]
        cost_us = [f"{estimate([one.client_us for one in side]).median:.1f}" for side in both]
        lost = sum(pair.first.lost + pair.second.lost for pair in pairs)
        rows.append((
            server, f"{connections}{'' if clients == 1 else f', {clients} clients'}",
            *per_s, *cost_us, lost, used_text(good, pairs),
            ratio_text(ratio, count), ratio_text(*alike), ratio_text(*per_cpu), verdict,
        ))  # fmt: skip
    absent = [] if program("apache2") else ["httpd (apt-get install apache2-bin)"]
    absent += [] if len(CORES) > 2 else [f"two client processes ({len(CORES)} cores)"]
    without = f"; left out: {', '.join(absent)}" if absent else ""
    report(
        "Closed loop, one core for the server and one for each client process",
        ("server", "connections", "wrk /s", "ours /s", "wrk us\neach", "ours us\neach", "lost",
         "pairs used", "ours / wrk", "of them\nat one speed", "per CPU second,\nours / wrk",
         "target"),
        rows,
        f"pairs of slices of {seconds:g} s, ABBA; medians, geometric mean of ratios with 95 % "
        f"interval; us: the client's CPU for each answer; unused: another process had a core; "
        f"target {TARGET_RATIO:g} of wrk{without}",
    )  # fmt: skip


# ---- the program ---------------------------------------------------------------------------------


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    made = argparse.ArgumentParser(prog="load_generator", description=__doc__.split("\n\n")[0])
    made.add_argument("--parts", default=",".join(PARTS), help="of: %(default)s")
    made.add_argument("--rates", default=",".join(map(str, RATES)), help="per second (%(default)s)")
    made.add_argument("--repetitions", type=int, default=5, help="of lateness (%(default)s)")
    made.add_argument("--pairs", type=int, default=6, help="with wrk (%(default)s)")
    made.add_argument("--seconds", type=float, default=2.0, help="of a slice (%(default)s)")
    chosen = made.parse_args(argv)
    chosen.parts = chosen.parts.split(",")
    if unknown := set(chosen.parts) - set(PARTS):
        made.error(f"--parts: unknown {', '.join(unknown)}; accepted: {', '.join(PARTS)}")
    chosen.rates = [int(rate) for rate in chosen.rates.split(",") if rate]
    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code."""
    asked = options(argv)
    needed = {"lateness": ["nginx"], "rate": ["wrk", "nginx"], "parsers": []}
    lacking = missing(dict.fromkeys(name for part in asked.parts for name in needed[part]))
    if lacking:
        return complain(lacking)
    pin(server_and_client_cores()[0])  # while slices run we sleep, on the server's core
    if "lateness" in asked.parts:
        found = measure_lateness(jobs(asked.rates), asked.repetitions, asked.seconds)
        tell_lateness(found, asked.seconds)
    if "rate" in asked.parts:
        seconds = max(1, round(asked.seconds))  # wrk counts in whole ones
        tell_rate(measure_rate(asked.pairs, seconds), seconds)
    if "parsers" in asked.parts:
        tell_parsers(measure_parsers(PARSERS, MESSAGES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
