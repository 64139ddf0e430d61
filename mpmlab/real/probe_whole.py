"""Whole requests on the real kernel: what the primitives' costs must add up to.

A child of a prefork-like server (the order of operations of mpms/prefork.py and
mpms/connection.py, which this floor may not import; benchmarks/server_cpu.py compares the two), and
a closed-loop client on another core. The children count their own CPU time, so that what else runs
on the machine is not measured.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from mpmlab.core.client_wire import BytesClient
from mpmlab.core.demand import Demand, demand_of
from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.scoreboard import BUSY_KEEPALIVE, BUSY_READ, BUSY_WRITE, CLOSING, READY, Scoreboard
from mpmlab.core.wire import NEED, Limits, Request
from mpmlab.kernel.interface import Kernel, KernelError, Signal, Steps
from mpmlab.real.drive import drive
from mpmlab.real.handles import Address, Conn, Listener
from mpmlab.real.loop import LoopKernel
from mpmlab.real.probe_primitives import Bench

#: Children, and connections of the client: enough that the server's core never rests.
CHILDREN: Final = 6
#: Bytes of the answers: feasibility and the benchmarks use the same.
RESPONSE_BYTES: Final = 1024
#: Requests of a child before it counts: the first ones pay for copying the parent's pages.
WARM_UP: Final = 25
#: Requests that count of the slice with one user, who lets the core rest in between.
SINGLE: Final = 40
REST_S: Final = 0.003
#: What the requests of another slice compute: long enough that the caches are others' afterwards.
BURN_US: Final = 1000
#: Round trips of one latency slice.
PINGS: Final = 300
PING: Final = b"x" * 128
#: Longest that a slice's client may take.
CLIENT_TIMEOUT_S: Final = 20.0

RECV_BYTES: Final = 65_536  # as mpms/site.py RECV_BYTES


@dataclass(frozen=True)
class Whole:
    """One slice: sums over the children that counted.

    `blocked`: how often a child gave up the core to wait (voluntary context switches)."""

    requests: int
    cpu_us: float
    blocked: int
    child_start_us: float
    fork_us: float
    exit_us: float
    trip_us: float  # the client's round trip, where it reports one
    foreign: float  # share of the core that others took meanwhile; 0 where this is not told

    @property
    def request_us(self) -> float:
        """CPU per request."""
        return self.cpu_us / self.requests

    @property
    def blocked_per_request(self) -> float:
        """Waits per request."""
        return self.blocked / self.requests


# ---- the server ----------------------------------------------------------------------------------


class _Account:
    """One child's count; `note` at the end of each request. It begins after WARM_UP of them."""

    def __init__(self) -> None:
        self.requests = -WARM_UP
        self.cpu_ns = self.blocked = 0

    def note(self, requests: int = 1) -> None:
        self.requests += requests
        if self.requests == 0:
            self.cpu_ns = -time.process_time_ns()
            self.blocked = -resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw

    def report(self, file: int, start_ns: int) -> None:
        told = {"start_ns": start_ns, "requests": max(self.requests, 0), "cpu_ns": 0, "blocked": 0}
        told["all_ns"] = time.process_time_ns()
        if self.requests > 0:
            blocked = self.blocked + resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
            told |= {"cpu_ns": self.cpu_ns + time.process_time_ns(), "blocked": blocked}
        os.write(file, json.dumps(told).encode() + b"\n")  # shorter than PIPE_BUF: in one piece


def child(k: Kernel, listener: Listener, file: int) -> Steps[int]:
    """prefork's child_main() with a whole connection inside, and an account of it."""
    start_ns = time.process_time_ns()
    board = Scoreboard(1, 1)
    account = _Account()
    pod = k.queue(shared=True)
    while not k.signals():
        board.set(0, READY)
        conn = yield k.accept(listener, None)
        if conn is None:
            continue
        yield from _serve(k, conn, board, 0, account, RECV_BYTES)
        if (yield k.get(pod, 0)):
            break
    account.report(file, start_ns)
    return 0


def threads(k: Kernel, listener: Listener, file: int) -> Steps[int]:
    """A process with one thread for each of CHILDREN connections, as worker's are once they have
    one, and an account of all."""
    start_ns = time.process_time_ns()
    board = Scoreboard(1, CHILDREN)
    for cell in range(CHILDREN):
        conn = yield k.accept(listener, CLIENT_TIMEOUT_S)
        if conn is None:
            return 1
        yield k.thread(_serve, conn, board, cell, _Account(), RECV_BYTES)
    account = _Account()
    account.note(WARM_UP)  # begin to count: the first requests of one process are few
    before = sum(board.served)
    while not k.signals():
        yield k.sleep(CLIENT_TIMEOUT_S)
    account.note(sum(board.served) - before)
    account.report(file, start_ns)
    return 0


def _serve(
    k: Kernel, conn: Conn, board: Scoreboard, cell: int, account: _Account, recv_bytes: int
) -> Steps[None]:
    wire = H11Wire(Limits())
    board.accepted[cell] += 1
    while True:
        request = yield from _read(k, conn, wire, board, cell, recv_bytes)
        if request is None:
            k.close(conn)
            return
        board.set(cell, BUSY_WRITE)
        status, demand = demand_of(request.target)
        body = yield k.work(demand if isinstance(demand, Demand) else Demand())
        data = wire.respond(status, body, not k.signals())
        yield k.send(conn, data, 30.0)
        board.served[cell] += 1
        account.note()
        if not wire.persistent:
            break
        board.set(cell, BUSY_KEEPALIVE)
    board.set(cell, CLOSING)
    k.close(conn, half=True)
    deadline = k.now() + 30.0
    while k.now() < deadline:
        data = yield k.recv(conn, 512, 2.0)
        if not data:
            break
    k.close(conn)


def _read(
    k: Kernel, conn: Conn, wire: H11Wire, board: Scoreboard, cell: int, recv_bytes: int
) -> Steps[Request | None]:
    while True:
        found = wire.next()
        if isinstance(found, Request):
            return found
        if found is not NEED:
            return None
        data = yield k.recv(conn, recv_bytes, 30.0)
        if data is None:
            return None
        board.set(cell, BUSY_READ)
        wire.feed(data)


def unblocked_us(bench: Bench, n: int = 100) -> float:
    """CPU of a keep-alive request whose bytes are there already, so that nothing waits: requests of
    the same length, read one at a time."""
    request = request_bytes(keep_alive=True)
    near, far = bench.pair()
    near.send_now(request * n)
    bench.k.close(near, half=True)
    steps = _serve(bench.k, far, Scoreboard(1, 1), 0, _Account(), len(request))
    began = time.thread_time_ns()
    drive(steps)
    spent_us = (time.thread_time_ns() - began) / 1000
    bench.k.close(near)
    return spent_us / n


def echo(k: Kernel, listener: Listener, file: int) -> Steps[int]:
    """Sends back what comes on one connection, for latency and switching."""
    start_ns = time.process_time_ns()
    account = _Account()
    while not k.signals():
        conn = yield k.accept(listener, None)
        while conn is not None:
            data = yield k.recv(conn, RECV_BYTES, 5.0)
            if not data:
                k.close(conn)
                break
            yield k.send(conn, data, 5.0)
            account.note()
    account.report(file, start_ns)
    return 0


def slice_of(
    k: Kernel,
    children: int,
    run: Callable[..., Steps[int]],
    client: Callable[..., Steps[int]],
    *args: Any,
    before_stop: Callable[[list[int]], None] | None = None,
) -> Whole:
    """Fork `children` of `run(k, listener, report file)`, let a process of
    `client(k, port, report file, *args)` use them, stop them (TERM), add up what all report.
    `before_stop(pids)` is called when the client has ended and the children still live."""
    listener = Listener.bind()
    read_file, write_file = os.pipe()
    fork_us, pids = [], []
    for _ in range(children):
        began = time.thread_time_ns()
        pid = k.fork(run, listener, write_file)
        fork_us.append((time.thread_time_ns() - began) / 1000)
        if pid is None:
            raise KernelError("the system refuses the probe's fork")
        pids.append(pid)
    busy_s, began_s = core_busy_s(), time.monotonic()
    user = k.fork(client, listener.port, write_file, *args)
    dead = k.wait(CLIENT_TIMEOUT_S)
    busy_s, elapsed_s = core_busy_s() - busy_s, time.monotonic() - began_s
    if dead is None or dead.pid != user or dead.code:
        raise KernelError(f"the probe's client or server failed: {dead}")
    if before_stop is not None:
        before_stop(pids)
    exit_us = []
    for pid in pids:
        k.kill(pid, Signal.TERM)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # ended, and left for wait() to reap
        began = time.thread_time_ns()
        k.wait(0)
        exit_us.append((time.thread_time_ns() - began) / 1000)
    os.close(write_file)
    with open(read_file, encoding="ascii") as reports:
        told = [json.loads(line) for line in reports]
    k.close(listener)
    servers = [t for t in told if "requests" in t]
    requests = sum(t["requests"] for t in servers)
    if len(servers) < children or not requests:
        raise KernelError("the probe's server did not answer")
    return Whole(
        requests,
        sum(t["cpu_ns"] for t in servers) / 1000,
        sum(t["blocked"] for t in servers),
        median([t["start_ns"] for t in servers]) / 1000,
        median(fork_us),
        median(exit_us),
        next((t["trip_us"] for t in told if "trip_us" in t), 0.0),
        max(0.0, busy_s - sum(t["all_ns"] for t in servers) / 1e9) / elapsed_s,
    )


def core_busy_s() -> float:
    """How long the core that we are pinned to has been busy since the system began, in steps of a
    clock tick (Linux: proc(5), /proc/stat); 0 where this is not told or we are not pinned."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    if len(cores) != 1 or not os.path.exists("/proc/stat"):
        return 0.0
    name = f"cpu{next(iter(cores))} "
    with open("/proc/stat", encoding="ascii") as lines:
        fields = next((line.split() for line in lines if line.startswith(name)), ["", "0", "0"])
    # user nice system idle iowait irq softirq steal
    busy = [int(text) for number, text in enumerate(fields[1:9]) if number not in (3, 4)]
    return sum(busy) / os.sysconf("SC_CLK_TCK")


# ---- the client ----------------------------------------------------------------------------------


def move_to(core: int | None) -> None:
    """Leave the server's core, where this can be done and there is another."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def closed_loop(
    k: Kernel,
    port: int,
    _file: int,
    core: int | None,
    users: int,
    seconds: float,
    keep_alive: bool,
    cpu_us: int = 0,
) -> Steps[int]:
    """run_users() as the process of a slice's client."""
    yield k.sleep(0)
    move_to(core)
    run_users(port, users, seconds, keep_alive, cpu_us)
    return 0


def single(k: Kernel, port: int, _file: int, core: int | None) -> Steps[int]:
    """One user who rests between requests, so that each wakes an idle core."""
    yield k.sleep(0)
    move_to(core)
    request = request_bytes(keep_alive=True)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(WARM_UP + SINGLE):
            time.sleep(REST_S)
            sock.send(request)
            size = 0
            while size < RESPONSE_BYTES:
                size += len(sock.recv(RECV_BYTES))
    return 0


def run_users(port: int, users: int, seconds: float, keep_alive: bool, cpu_us: int = 0) -> int:
    """`users` without think time, whose requests compute `cpu_us`, for that long, and until there
    are 2 * WARM_UP answers for each; then all connections are closed. -> answers. One poll() over
    plain sockets: a client that must be faster than the server."""
    request = request_bytes(keep_alive, cpu_us)
    poll = select.poll()
    open_: dict[int, list[Any]] = {}  # descriptor -> [socket, bytes of the answer so far]
    answers = 0

    def begin() -> None:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_[sock.fileno()] = [sock, 0]
        poll.register(sock.fileno(), select.POLLIN)
        sock.send(request)

    for _ in range(users):
        begin()
    end = time.monotonic() + seconds
    while time.monotonic() < end or answers < 2 * WARM_UP * users:
        for number, _event in poll.poll(1000):
            user = open_[number]
            size = len(user[0].recv(RECV_BYTES))
            if not size and user[1]:
                raise KernelError("the server closed a connection in the middle of an answer")
            if not size:  # event does so to idle ones when all its workers are busy
                poll.unregister(number)
                open_.pop(number)[0].close()
                begin()
                continue
            user[1] += size
            if user[1] < RESPONSE_BYTES:  # the head comes in the same piece
                continue
            user[1] = 0
            answers += 1
            if keep_alive:
                user[0].send(request)
            else:
                poll.unregister(number)
                open_.pop(number)[0].close()
                begin()
    for user in open_.values():
        user[0].close()
    return answers


def request_bytes(keep_alive: bool, cpu_us: int = 0) -> bytes:
    """The request of all slices."""
    wire = BytesClient("127.0.0.1")
    data: bytes = wire.request(Demand(cpu_us=cpu_us, response_bytes=RESPONSE_BYTES), 0, keep_alive)
    return data


def ping(k: Kernel, port: int, file: int, core: int | None) -> Steps[int]:
    """Round trips to an echo over the load process's own kernel; reports the median."""
    yield k.sleep(0)
    move_to(core)
    trip_us = LoopKernel().run(_pings, port)
    os.write(file, json.dumps({"trip_us": trip_us}).encode() + b"\n")
    return 0


def _pings(k: LoopKernel, port: int) -> Steps[float]:
    conn = yield k.connect(Address(port), 5.0)
    trips = []
    for _ in range(PINGS):
        began = time.perf_counter_ns()
        yield k.send(conn, PING, 5.0)
        yield k.recv(conn, RECV_BYTES, 5.0)
        trips.append((time.perf_counter_ns() - began) / 1000)
    k.close(conn)
    return median(trips)
