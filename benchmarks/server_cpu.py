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
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import Final

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
from mpmlab.real.probe import local_platform
from mpmlab.real.probe_whole import RESPONSE_BYTES, request_bytes, run_users

USERS: Final = 8
ROUNDS: Final = 8
SLICE_S: Final = 0.25
_RECV_BYTES: Final = 65_536
#: Pools that are as large as the load and never change.
DIRECTIVES: Final = {
    "prefork": {"StartServers": USERS, "MinSpareServers": 1, "MaxSpareServers": USERS + 1,
                "MaxRequestWorkers": USERS},
    "worker": {"StartServers": 1, "ThreadsPerChild": USERS, "MinSpareThreads": 1,
               "MaxSpareThreads": 2 * USERS, "MaxRequestWorkers": USERS},
    "event": {"StartServers": 1, "ThreadsPerChild": USERS, "MinSpareThreads": 1,
              "MaxSpareThreads": 2 * USERS, "MaxRequestWorkers": USERS},
}  # fmt: skip
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


def directives_of(mpm: str) -> list[tuple[str, str]]:
    """The pool's directives as the server takes them."""
    pairs = {**DIRECTIVES[mpm], "MaxKeepAliveRequests": 0}
    return [(name, str(value)) for name, value in pairs.items()]


@contextmanager
def mpm_server(mpm: str, cores: list[int]) -> Iterator[Variant]:
    """A real server of ours."""
    pairs = directives_of(mpm)
    size = board_bytes(effective(mpm, pairs, "benchmark"))
    with start_server(ENTRY, payload(mpm, pairs, serialized_accept=False), size, cores=cores) as server:
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
        with conn:
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


def simulated(mpm: str, platform: Platform, keep_alive: bool) -> tuple[float, float]:
    """(CPU us per request, requests per second) of the simulated server under the same load."""
    text = SCENARIO.format(users=USERS, keep_alive=str(keep_alive).lower(), size=RESPONSE_BYTES)
    pairs = directives_of(mpm)
    task = Task(mpm, tuple(pairs), effective(mpm, pairs, "benchmark"), plan_of(text), 30.0)
    run = run_sim(task, platform, 1, Watch(Interruption(), lambda _done: None))
    ended_s = run.records.last_byte_s
    done = int(((ended_s >= task.warmup_s) & (ended_s < task.duration_s)).sum())
    window_s = task.duration_s - task.warmup_s
    return (run.cpu_s or 0.0) * 1e6 / done, done / window_s


def measure(
    variants: dict[str, Variant], client: ProcessPoolExecutor
) -> dict[tuple[str, bool], list[tuple[float, float]]]:
    """(name, keep-alive) -> (CPU us per request, requests per second) of each slice."""
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for number in range(ROUNDS + 1):
        for name, (port, pids) in variants.items():
            for keep_alive in (True, False):
                serving = pids()
                before = cpu_us(serving)
                answers = client.submit(run_users, port, USERS, SLICE_S, keep_alive).result()
                spent = cpu_us(serving) - before
                if number and answers:  # the first round warms up
                    figures = (spent / answers, answers / SLICE_S)
                    found.setdefault((name, keep_alive), []).append(figures)
    return found


def main() -> None:
    """Measure and print."""
    server_cores, client_cores = server_and_client_cores()
    platform = local_platform()
    client = ProcessPoolExecutor(1, get_context("spawn"), pin, (client_cores,))
    h11_us = []
    with ExitStack() as stack:
        variants = {f"{mpm}": stack.enter_context(mpm_server(mpm, server_cores)) for mpm in CATALOG}
        variants["no MPM, plain sockets"] = stack.enter_context(plain_server(server_cores))
        stack.enter_context(client)
        found = measure(variants, client)
    pin(server_cores)
    h11_us = [h11_alone_us() for _ in range(40)]
    rows = []
    for (name, keep_alive), slices in found.items():
        cpu = estimate([us for us, _ in slices])
        rate = estimate([per_s for _, per_s in slices])
        sim: tuple[object, ...] = ("", "", "")
        if name in CATALOG:
            sim_us, sim_rate = simulated(name, platform, keep_alive)
            sim = (f"{sim_us:.1f}", f"{sim_rate:,.0f}", f"{sim_rate / rate.median - 1:+.0%}")
        kind = "keep-alive" if keep_alive else "connection per request"
        rows.append((f"{name}, {kind}", cpu, f"{rate.median:,.0f}", *sim))
    rows.append(("h11 wire alone", estimate(h11_us), "", "", "", ""))
    report(
        f"Server CPU per request, {USERS} users without thinks, {RESPONSE_BYTES} bytes, one core",
        ("server", "CPU us per request", "requests/s", "sim us", "sim requests/s", "sim error"),
        rows,
        f"{ROUNDS} interleaved slices of {SLICE_S} s; medians, 95 % intervals",
    )


if __name__ == "__main__":
    main()
