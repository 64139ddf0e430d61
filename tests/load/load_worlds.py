"""The same misbehaving server in both worlds, and a run of the load clients against it.

The real one is the standard library's HTTP server, the simulated one a generator; `BEHAVIOURS` says
what both do. Nothing is checked here.
"""

from __future__ import annotations

import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from mpmlab.core.client_wire import BytesClient
from mpmlab.core.count_wire import Blob, CountClient, CountWire, counted
from mpmlab.core.demand import Demand, demand_of
from mpmlab.core.platform import NEARLY_FREE, Platform
from mpmlab.core.wire import Limits, NeedType, Request
from mpmlab.kernel.interface import Conn, Kernel, Listener, Signal, Steps
from mpmlab.load.client import load
from mpmlab.load.recorder import Recorder, Records
from mpmlab.real.handles import Address
from mpmlab.real.loop import LoopKernel
from mpmlab.sim import World
from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.plan import Plan

HOST = "127.0.0.1"
#: How long a server that closes idle connections waits for the next request.
IDLE_S = 0.05
#: How long a real run waits before its zero.
SOON_S = 0.02

BEHAVIOURS = {
    "answers": "waits as demanded, then answers with as many bytes as demanded",
    "says close": "answers and announces that it closes, though the client would keep alive",
    "closes idle": "answers, and closes connections that are idle for IDLE_S",
    "unavailable": "answers 503",
    "mute": "reads requests and says nothing",
    "hangs up": "closes instead of answering",
    "half": "closes in the middle of the answer",
    "resets": "closes with the request unread",
    "garbage": "answers with something that is not HTTP",
    "refuses": "nobody listens",
}

_REQUEST_COLUMNS = (
    "planned_us", "think_us", "klass", "cpu_us", "wait_us", "request_bytes", "response_bytes",
)  # fmt: skip

#: A request: absolute time in seconds or None, think time in seconds, and bytes of the response.
Ask = tuple[float | None, float, int]


def plan_of(
    sessions: Sequence[Sequence[Ask]],
    duration_s: float,
    reuse: bool = True,
    cycle: bool = False,
    wait_us: int = 0,
    request_bytes: int = 0,
    client: ClientKind | None = None,
) -> Plan:
    """The plan of these sessions."""
    asks = [ask for session in sessions for ask in session]
    counts = np.array([len(session) for session in sessions])
    same = np.zeros(len(asks), dtype=np.int64)
    return Plan(
        session_start_us=np.array([round(1e6 * (session[0][0] or 0)) for session in sessions]),
        session_first=np.cumsum(counts) - counts,
        session_requests=counts.astype(np.int32),
        session_group=np.zeros(len(sessions), dtype=np.int16),
        session_cycle=np.full(len(sessions), cycle),
        planned_us=np.array([-1 if at is None else round(1e6 * at) for at, _, _ in asks]),
        think_us=np.array([round(1e6 * think) for _, think, _ in asks]),
        klass=same.astype(np.int16),
        cpu_us=same,
        wait_us=same + wait_us,
        request_bytes=same + request_bytes,
        response_bytes=np.array([size for _, _, size in asks]),
        classes=("page",),
        groups=(Group("main", True, client or ClientKind(keep_alive=reuse)),),
        arrivals="constant",
        duration_us=round(1e6 * duration_s),
        warmup_us=0,
        seed=1,
        scenario="test",
    )


def joined(**plans: Plan) -> Plan:
    """One plan of several groups, by name, that begin and end together."""
    whole = list(plans.values())
    starts = np.concatenate([plan.session_start_us for plan in whole])
    order = np.argsort(starts, kind="stable")
    counts = np.concatenate([plan.session_requests for plan in whole])
    first = np.cumsum(counts) - counts
    rows = np.concatenate([np.arange(first[i], first[i] + counts[i]) for i in order])
    numbers = [np.full(plan.sessions, i) for i, plan in enumerate(whole)]

    def requests(name: str) -> Any:
        return np.concatenate([getattr(plan, name) for plan in whole])[rows]

    return dataclasses.replace(
        whole[0],
        session_start_us=starts[order],
        session_first=np.cumsum(counts[order]) - counts[order],
        session_requests=counts[order],
        session_group=np.concatenate(numbers)[order].astype(np.int16),
        session_cycle=np.concatenate([plan.session_cycle for plan in whole])[order],
        groups=tuple(Group(name, True, plan.groups[0].client) for name, plan in plans.items()),
        duration_us=max(plan.duration_us for plan in whole),
        **{name: requests(name) for name in _REQUEST_COLUMNS},
    )


# ---- reality -------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment
    server: _Server

    def setup(self) -> None:
        super().setup()
        if self.server.behaviour == "closes idle":
            self.connection.settimeout(IDLE_S)

    def handle(self) -> None:
        if self.server.behaviour == "resets":
            self.connection.recv(1, socket.MSG_PEEK)
        else:
            super().handle()

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        demand = demand_of(self.path)[1]
        assert isinstance(demand, Demand)
        time.sleep(demand.wait_us / 1e6)
        if behaviour == "mute":
            self.server.over.wait()
        elif behaviour == "garbage":
            self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        elif behaviour == "half":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
        elif behaviour != "hangs up":
            self.send_response(503 if behaviour == "unavailable" else 200)
            if behaviour == "says close":
                self.send_header("Connection", "close")  # and so the handler does
            self.send_header("Content-Length", str(demand.response_bytes))
            self.end_headers()
            self.wfile.write(bytes(demand.response_bytes))
            return
        self.close_connection = True

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 128

    def __init__(self, behaviour: str) -> None:
        super().__init__((HOST, 0), _Handler)
        self.behaviour = behaviour
        self.over = threading.Event()

    def shutdown_request(self, request: Any) -> None:
        if self.behaviour == "resets":  # no FIN before the RST
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""


@contextmanager
def real_server(behaviour: str) -> Iterator[int]:
    """The port of a server on this machine that behaves so. All clients must be gone at the end."""
    if behaviour == "refuses":
        with socket.socket() as placeholder:  # bound, so nobody else gets it, but not listening
            placeholder.bind((HOST, 0))
            yield placeholder.getsockname()[1]
        return
    with _Server(behaviour) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def run_real(plan: Plan, behaviour: str, timeout_s: float) -> Records:
    """The records of the plan on this machine."""
    recorder = Recorder()
    with real_server(behaviour) as port:
        k = LoopKernel()
        wire = f"{HOST}:{port}"
        k.run(load, plan, Address(port), lambda: BytesClient(wire), recorder, k.now() + SOON_S,
              None, timeout_s)  # fmt: skip
    return recorder.records()


# ---- simulation ----------------------------------------------------------------------------------


def _sim_server(k: Kernel, listener: Listener, behaviour: str) -> Steps[int]:
    if behaviour == "refuses":
        k.close(listener)
    while behaviour == "refuses":
        yield k.sleep(1.0)
    while True:
        conn = yield k.accept(listener, timeout_s=None)
        if conn is not None:
            yield k.thread(_sim_connection, conn, behaviour)


def _sim_connection(k: Kernel, conn: Conn, behaviour: str) -> Steps[None]:
    wire, keep = CountWire(Limits()), True
    if behaviour == "resets":
        yield k.sleep(0.01)
        keep = False
    while keep:
        request = wire.next()
        if isinstance(request, NeedType):
            data = yield k.recv(conn, 65536, IDLE_S if behaviour == "closes idle" else None)
            if not data:
                break
            wire.feed(data)
            continue
        assert isinstance(request, Request)
        assert request.demand is not None
        yield k.sleep(request.demand.wait_us / 1e6)
        if behaviour == "mute":
            yield k.sleep(1e6)
        elif behaviour == "garbage":
            yield k.send(conn, Blob(21, 0, "SSH"), None)
            break
        elif behaviour == "hangs up":
            break
        status = 503 if behaviour == "unavailable" else 200
        body = counted(request.demand.response_bytes)
        keep = request.keep_alive and behaviour not in ("says close", "half")
        answer = wire.respond(status, body, keep)
        yield k.send(conn, answer[: len(answer) // 2] if behaviour == "half" else answer, None)
    k.close(conn)


def run_sim(plan: Plan, behaviour: str, timeout_s: float, stop_s: float | None = None) -> Records:
    """The records of the plan in a world whose platform takes next to nothing, on a fast link.
    Clients are told to stop at stop_s."""
    recorder = Recorder()
    world = World(Platform(costs=NEARLY_FREE, latency_us=20.0, bandwidth_mbit_s=10_000.0))
    listener = world.listener(128)
    world.spawn(_sim_server, listener, behaviour)

    def clients(k: Kernel) -> Steps[int]:
        wire = lambda: CountClient(HOST)  # noqa: E731
        yield from load(k, plan, listener, wire, recorder, SOON_S, None, timeout_s)
        return 0

    pid = world.spawn(clients, machine="client")
    if stop_s is not None:
        world.at(SOON_S + stop_s, lambda _now: world.kill(pid, Signal.TERM))
    world.run(until_exit=pid)
    return recorder.records()


RUNNERS = {"real": run_real, "sim": run_sim}


def run(world: str, plan: Plan, behaviour: str = "answers", timeout_s: float = 5.0) -> Records:
    """The records of the plan in that world, their account checked."""
    assert behaviour in BEHAVIOURS
    records = RUNNERS[world](plan, behaviour, timeout_s)
    assert records.breaches(plan) == []
    return records


def without(records: Records, rows: Sequence[int]) -> Records:
    """The records without these rows."""
    columns: dict[str, Any] = {
        name: np.delete(column, rows) for name, column in records.columns().items()
    }
    return dataclasses.replace(records, **columns)
