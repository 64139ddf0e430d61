"""CPU of the real servers per request, keep-alive and one connection per request, beside the same
loop without an MPM, h11 alone, and what the simulation charges with this machine's profile.

All variants run at the same time, each used for a short slice in turn, so that a change of the
machine's speed meets all of them.
"""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from statistics import median
from typing import Final, NamedTuple

from benchmarks.common import cpu_us, estimate, pin, report, server_and_client_cores
from benchmarks.sim_speed import plan_of
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.server import ENTRY, board_bytes, payload
from mpmlab.bench.sim import run_sim
from mpmlab.bench.task import Task, Watch
from mpmlab.core.demand import Demand, demand_of
from mpmlab.core.directives import effective
from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.platform import Platform
from mpmlab.core.wire import Limits, Request
from mpmlab.mpms.catalog import CATALOG
from mpmlab.real.application import answer
from mpmlab.real.launch import start_server
from mpmlab.real.probe import FEWEST, FOREIGN, at_speed, local_platform
from mpmlab.real.probe_primitives import speed_us
from mpmlab.real.probe_whole import RESPONSE_BYTES, core_busy_s, request_bytes, run_users

USERS: Final = 8
ROUNDS: Final = 10
SLICE_S: Final = 0.25
_RECV_BYTES: Final = 65_536
SCENARIO: Final = """
name = "as the slices"
duration_s = 3
warmup_s = 1
[arrivals]
kind = "closed"
users = {users}
requests_listed = 100
keep_alive = {keep_alive}
[[class]]
name = "page"
response_bytes = {size}
"""

#: What a variant is to the measuring: its port and the processes whose CPU counts.
Variant = tuple[int, Callable[[], list[int]]]


def directives_of(mpm: str, users: int = USERS) -> list[tuple[str, str]]:
    """Directives of a pool that is as large as the load and never changes; event closes idle
    keep-alive connections when all its workers are busy, so the threaded ones have some to spare.
    """
    if mpm == "prefork":
        pool = {"StartServers": users, "MinSpareServers": 1, "MaxSpareServers": users + 1,
                "MaxRequestWorkers": users}  # fmt: skip
    else:
        pool = {
            "StartServers": 1,
            "ThreadLimit": 2 * users,
            "ThreadsPerChild": 2 * users,
            "MinSpareThreads": 1,
            "MaxSpareThreads": 3 * users,
            "MaxRequestWorkers": 2 * users,
        }
    return [(name, str(value)) for name, value in {**pool, "MaxKeepAliveRequests": 0}.items()]


@contextmanager
def mpm_server(mpm: str, cores: list[int], users: int = USERS) -> Iterator[Variant]:
    """A real server of ours, for so many connections."""
    pairs = directives_of(mpm, users)
    settings = effective(mpm, pairs, "benchmark")
    told = payload(mpm, pairs, serialized_accept=False)
    backlog = settings.listen_backlog
    with start_server(ENTRY, told, board_bytes(settings), backlog, cores) as server:
        yield server.port, lambda: [server.pid, *server.children()]


@contextmanager
def plain_server(cores: list[int]) -> Iterator[Variant]:
    """The same loop without MPM and kernel: forked processes, blocking sockets, the same wire."""
    with socket.create_server(("127.0.0.1", 0), backlog=511) as listener:
        pids = []
        for _ in range(USERS):
            pid = os.fork()
            if pid == 0:
                try:
                    pin(cores)
                    plain_child(listener)
                except BaseException:  # noqa: BLE001 - a forked child must not return into ours
                    traceback.print_exc()
                finally:
                    os._exit(1)
            pids.append(pid)
        try:
            yield listener.getsockname()[1], lambda: pids
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def plain_child(listener: socket.socket) -> None:
    """Accept, read, answer, close lingeringly; for ever."""
    while True:
        conn, _ = listener.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = H11Wire(Limits())
        with conn, suppress(OSError):  # a user who leaves before reading
            while data := conn.recv(_RECV_BYTES):
                wire.feed(data)
                request = wire.next()
                if not isinstance(request, Request):
                    continue
                demand = demand_of(request.target)[1]
                assert isinstance(demand, Demand)
                conn.sendall(wire.respond(200, answer(demand), True))
                if not wire.persistent:
                    conn.shutdown(socket.SHUT_WR)
                    while conn.recv(512):
                        pass
                    break


def h11_alone_us(n: int = 500) -> float:
    """CPU of parsing a request and writing its answer, nothing else."""
    wire, request, body = H11Wire(Limits()), request_bytes(keep_alive=True), b"x" * RESPONSE_BYTES
    began = time.thread_time_ns()
    for _ in range(n):
        wire.feed(request)
        wire.next()
        wire.respond(200, body, True)
    return (time.thread_time_ns() - began) / 1000 / n


def simulated_us(mpm: str, platform: Platform, keep_alive: bool) -> float:
    """CPU us per request of the simulated server under the same load."""
    users = USERS if keep_alive else 2 * USERS
    text = SCENARIO.format(users=users, keep_alive=str(keep_alive).lower(), size=RESPONSE_BYTES)
    pairs = directives_of(mpm)
    task = Task(mpm, tuple(pairs), effective(mpm, pairs, "benchmark"), plan_of(text), 30.0)
    run = run_sim(task, platform, 1, Watch(Interruption(), lambda _done: None))
    ended_s = run.records.last_byte_s
    done = int(((ended_s >= task.warmup_s) & (ended_s < task.duration_s)).sum())
    return (run.cpu_s or 0.0) * 1e6 / done


class Slice(NamedTuple):
    """What one slice gave, how fast the server's core was (probe_primitives.speed_us), and what
    share of it others took."""

    cpu_us: float  # per request
    per_s: float
    loop_us: float
    foreign: float


def gauge() -> tuple[float, float]:
    """(speed, seconds that the core has been busy) of the core to which this process is pinned."""
    return speed_us(), core_busy_s()


def measure(
    variants: dict[str, Variant], client: ProcessPoolExecutor, beside: ProcessPoolExecutor
) -> dict[tuple[str, bool], list[Slice]]:
    """(name, keep-alive) -> its slices. `client` runs on the client's core, `beside` on the
    server's."""
    found: dict[tuple[str, bool], list[Slice]] = {}
    for number in range(ROUNDS + 1):
        for name, (port, pids) in variants.items():
            for keep_alive in (True, False):
                serving = pids()
                before_us, busy_s = beside.submit(gauge).result()
                used_us, began_s = cpu_us(serving), time.monotonic()
                users = USERS if keep_alive else 2 * USERS  # so that somebody waits to be accepted
                answers = client.submit(run_users, port, users, SLICE_S, keep_alive).result()
                used_us, elapsed_s = cpu_us(serving) - used_us, time.monotonic() - began_s
                busy_s = beside.submit(core_busy_s).result() - busy_s
                loop_us = (before_us + beside.submit(speed_us).result()) / 2
                if number and answers:  # the first round warms up
                    foreign = max(0.0, busy_s - used_us / 1e6) / elapsed_s
                    one = Slice(used_us / answers, answers / SLICE_S, loop_us, foreign)
                    found.setdefault((name, keep_alive), []).append(one)
    return found


def undisturbed(slices: list[Slice]) -> list[Slice]:
    """Those in which nobody else took the core, and the three best in any case."""
    good = sum(1 for one in slices if one.foreign <= FOREIGN)
    return sorted(slices, key=lambda one: one.foreign)[: max(good, FEWEST)]


def main() -> None:
    """Measure and print."""
    server_cores, client_cores = server_and_client_cores()
    platform = local_platform()
    with ExitStack() as stack:
        variants = {mpm: stack.enter_context(mpm_server(mpm, server_cores)) for mpm in CATALOG}
        variants["no MPM, plain sockets"] = stack.enter_context(plain_server(server_cores))
        client, beside = (
            stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), pin, (cores,)))
            for cores in (client_cores, server_cores)
        )
        found = measure(variants, client, beside)
    loop_us = median([one.loop_us for slices in found.values() for one in slices])
    platform = at_speed(platform, loop_us)
    rows = []
    for (name, keep_alive), all_slices in found.items():
        slices = undisturbed(all_slices)
        cpu = estimate([one.cpu_us * loop_us / one.loop_us for one in slices])
        sim: tuple[str, ...] = ("", "")
        if name in CATALOG:
            sim_us = simulated_us(name, platform, keep_alive)
            sim = (f"{sim_us:.1f}", f"{sim_us / cpu.median - 1:+.0%}")
        kind = "keep-alive" if keep_alive else "connection per request"
        rate = median([one.per_s for one in slices])
        used = f"{len(slices)}/{len(all_slices)}"
        rows.append((f"{name}, {kind}", cpu, used, f"{rate:,.0f}", *sim))
    pin(server_cores)
    rows.append(("h11 wire alone", estimate([h11_alone_us() for _ in range(40)]), "", "", "", ""))
    report(
        f"Server CPU per request, {USERS} users without thinks, {RESPONSE_BYTES} bytes, one core",
        ("server", "CPU us per request", "slices", "requests/s", "simulated us", "error"),
        rows,
        f"{ROUNDS} interleaved slices of {SLICE_S} s, scaled to a speed loop of {loop_us:.0f} us; "
        "medians, 95 % intervals",
    )


if __name__ == "__main__":
    main()
