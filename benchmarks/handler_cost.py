"""What httpd's handler (mod_lua) costs per request beside a static file of the same size, and what
it costs to have httpd's status 20 times a second (stream.py). Needs httpd and wrk.

CPU of all of httpd's processes over what they answered in closed loops of wrk, in pairs of slices,
ABBA, on one httpd for each MPM: file and handler in one half, handler with and without a sampled
status in the other. httpd has one core, wrk and the sampling have the other. The slices of a pair
are a second apart, so that a change of the machine's speed meets both; pairs in which another
process had a core are told (slices.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from benchmarks.common import Estimate, cpu_us, estimate, pin, report, server_and_client_cores
from benchmarks.jobs import LOOPBACK, url
from benchmarks.peers import wrk
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
from mpmlab.core.directives import effective
from mpmlab.httpd.configuration import STATIC_PATH
from mpmlab.httpd.program import HttpdMissingError, Program, find_httpd, find_luaposix
from mpmlab.httpd.server import HttpdServer, start_httpd
from mpmlab.httpd.status import StatusError

FILE_BYTES: Final = 1024
#: Connections of the closed loop; workers are some more, so that event keeps idle connections.
CONNECTIONS: Final = 16
SAMPLES_PER_S: Final = 20
#: 3 MPMs, 2 halves, so many pairs of slices of a second: about a minute.
PAIRS: Final = 4
SLICE_S: Final = 1
_PATIENCE_S: Final = 5.0


@dataclass(frozen=True)
class Slice:
    """CPU microseconds of httpd per answer, answers per second, and how they came about."""

    cpu_us: float
    per_s: float
    lost: int
    samples_per_s: float
    conditions: Conditions


@dataclass(frozen=True)
class Costs:
    """All that was measured on the httpd of one MPM."""

    #: First the static file, second the handler.
    handler: list[Pair[Slice, Slice]]
    #: First without, second with sampling.
    sampling: list[Pair[Slice, Slice]]
    #: CPU microseconds of each sample while httpd has nothing else to do.
    sample_us: list[float]


def pool_of(mpm: str) -> dict[str, str]:
    """Directives of a pool that is larger than the load and never changes."""
    workers = 2 * CONNECTIONS
    if mpm == "prefork":
        pool = {"StartServers": workers, "MinSpareServers": 1, "MaxSpareServers": workers + 1}
    else:
        pool = {"StartServers": 1, "ThreadsPerChild": workers, "MinSpareThreads": 1,
                "MaxSpareThreads": 2 * workers}  # fmt: skip
    more = {"MaxRequestWorkers": workers, "MaxKeepAliveRequests": 0, "KeepAliveTimeout": 60}
    return {name: str(value) for name, value in {**pool, **more}.items()}


@contextmanager
def _sampled(server: HttpdServer) -> Iterator[list[float]]:
    """Read the stream of reports until the block ends. The list has, after the block, how many
    came per second."""
    over, rate = threading.Event(), list[float]()
    stream = server.stream(1 / SAMPLES_PER_S)

    def read() -> None:
        count, began_s = 0, time.monotonic()
        while not over.is_set():
            count += stream.next(_PATIENCE_S) is not None
        rate.append(count / (time.monotonic() - began_s))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield rate
    finally:
        over.set()
        thread.join()
        stream.close()


def _pids(server: HttpdServer) -> list[int]:
    return [server.pid, *server.children()]


def slice_of(server: HttpdServer, watch: Watch, address: str, sampled: bool, seconds: int) -> Slice:
    """One closed loop. Raises RuntimeError if wrk fails, IndexError if the sampling does."""
    watch.begin()
    before_us = cpu_us(_pids(server))
    with _sampled(server) if sampled else nullcontext([0.0]) as rate:
        told = wrk(address, CONNECTIONS, seconds, watch.client_cores)
    used_us = cpu_us(_pids(server)) - before_us
    conditions = watch.end()
    per_answer_us = used_us / max(1, told.requests)
    return Slice(per_answer_us, told.per_s, told.lost, rate[0], conditions)


def sample_costs_us(server: HttpdServer, count: int) -> list[float]:
    """CPU of each of so many reports of a stream, on an otherwise idle httpd."""
    found, pids, stream = [], _pids(server), server.stream(1 / SAMPLES_PER_S)
    stream.next(_PATIENCE_S)
    before_us = cpu_us(pids)
    for _ in range(count):
        if stream.next(_PATIENCE_S) is None:
            raise StatusError(f"no report within {_PATIENCE_S:g} s")
        after_us = cpu_us(pids)
        found.append(after_us - before_us)
        before_us = after_us
    stream.close()
    return found


def measure(program: Program, mpm: str, pairs: int = PAIRS, seconds: int = SLICE_S) -> Costs:
    """Start httpd, and measure. Raises HttpdMissingError, HttpdError, StatusError, or RuntimeError
    if wrk fails."""
    server_cores, _ = server_and_client_cores()
    settings = effective(mpm, pool_of(mpm))
    with start_httpd(program, settings, cores=server_cores, static_bytes=(FILE_BYTES,)) as server:
        watch = Watch(lambda: _pids(server))
        work = url(server.port, Demand(response_bytes=FILE_BYTES))
        file = f"http://{LOOPBACK}:{server.port}{STATIC_PATH}/{FILE_BYTES}"

        def one(address: str, sampled: bool = False) -> Callable[[], Slice]:
            return lambda: slice_of(server, watch, address, sampled, seconds)

        one(work)()  # every worker makes its Lua state
        return Costs(
            in_pairs(pairs, one(file), one(work)),
            in_pairs(pairs, one(work), one(work, sampled=True)),
            sample_costs_us(server, SAMPLES_PER_S),
        )


# ---- telling -------------------------------------------------------------------------------------


def tell(found: Mapping[str, Costs], seconds: int) -> None:
    """Print two tables."""
    pairs = {mpm: undisturbed(costs.handler) for mpm, costs in found.items()}
    report(
        f"CPU of httpd per request, {FILE_BYTES} bytes, {CONNECTIONS} keep-alive connections",
        ("MPM", "static us", "handler us", "difference us", "handler / static", "pairs used",
         "lost"),
        [
            (
                mpm,
                estimate([pair.first.cpu_us for pair in used]),
                estimate([pair.second.cpu_us for pair in used]),
                estimate([pair.second.cpu_us - pair.first.cpu_us for pair in used]),
                ratio_text(*ratio_of(used, lambda one: one.cpu_us)),
                used_text(used, found[mpm].handler),
                _lost(found[mpm].handler),
            )
            for mpm, used in pairs.items()
        ],
        f"pairs of slices of {seconds} s; medians (95 % interval, or range of few)",
    )  # fmt: skip
    sampled = {mpm: undisturbed(costs.sampling) for mpm, costs in found.items()}
    report(
        f"What it costs to have the status {SAMPLES_PER_S} times a second",
        ("MPM", "us per report, idle", "answers/s with / without", "us per request, with / without",
         "reports/s under load", "pairs used", "lost"),
        [
            (
                mpm,
                estimate(found[mpm].sample_us),
                ratio_text(*ratio_of(used, lambda one: one.per_s)),
                ratio_text(*ratio_of(used, lambda one: one.cpu_us)),
                _short(estimate([pair.second.samples_per_s for pair in used])),
                used_text(used, found[mpm].sampling),
                _lost(found[mpm].sampling),
            )
            for mpm, used in sampled.items()
        ],
        "from the second column on at saturation of the server's core",
    )  # fmt: skip


def _lost(pairs: Sequence[Pair[Slice, Slice]]) -> int:
    return sum(pair.first.lost + pair.second.lost for pair in pairs)


def _short(value: Estimate) -> str:
    return f"{value.median:.1f} ({value.low:.1f} to {value.high:.1f})"


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="handler_cost", description=__doc__)
    parser.add_argument("--httpd", default=os.environ.get("MPMLAB_HTTPD"), help="its path")
    parser.add_argument("--mpms", default="", help="comma-separated; all by default")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of slices of each kind")
    parser.add_argument("--seconds", type=int, default=SLICE_S, help="of a slice, whole")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code."""
    asked = options(argv)
    if lacking := missing(["wrk"]):
        return complain(lacking)
    try:
        program = find_httpd(asked.httpd)
        find_luaposix()
    except HttpdMissingError as error:
        return complain(str(error))
    pin(server_and_client_cores()[1])  # sampling runs beside the load, not on the server's core
    mpms = [name for name in asked.mpms.split(",") if name] or program.mpms()
    tell({mpm: measure(program, mpm, asked.pairs, asked.seconds) for mpm in mpms}, asked.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
