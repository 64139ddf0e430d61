"""A server that notes what it sees of its clients, the same in both worlds, and runs against it.

What the server does is a `Manner`; what it saw are `Note`s. The real one is a thread for each
connection in this process, the simulated one a generator. Of the records only that their account
balances is checked here.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from mpmlab.bench.account import account
from mpmlab.core.client_wire import BytesClient
from mpmlab.core.count_wire import Blob, CountClient, CountWire, counted
from mpmlab.core.demand import Demand, demand_of
from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.platform import NEARLY_FREE, Platform
from mpmlab.core.wire import CLOSED, NEED, Limits, Request, Response
from mpmlab.kernel.interface import Conn, Kernel, Listener, Signal, Steps
from mpmlab.load.client import load
from mpmlab.load.recorder import Recorder, Records
from mpmlab.real.handles import Address
from mpmlab.real.loop import LoopKernel
from mpmlab.sim import World
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import HOST, SOON_S

#: How late what happens on a busy machine may be; what is told apart is longer.
SLACK_S = 0.15
#: The same in simulation, where nothing but the platform's nearly free steps takes time.
STEPS_S = 0.001

#: How long a server pauses that is slow with the second request.
PAUSE_S = 0.2

SECOND = {
    "pieces": "answers in two halves, PAUSE_S apart",
    "garbage": "answers with something that is not HTTP",
    "half": "closes in the middle of the answer",
    "closes": "closes instead of answering",
    "mute": "says nothing",
    "late": "begins to read PAUSE_S after its first answer, and says nothing",
}

#: After these it closes.
ENDS = ("garbage", "half", "closes")

_EARLY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Manner:
    """How the server treats its clients."""

    #: Longest wait for the next bytes of a request, and for a request on an idle connection; None:
    #: for ever. Half a request is answered with 408, none at all with nothing.
    patience_s: float | None = None
    #: Half a request is not answered either.
    curt: bool = False
    #: Answers nothing, but reads on.
    mute: bool = False
    #: As soon as so many bytes have come, complete or not, it answers 200 and would keep the
    #: connection; None: never.
    early_bytes: int | None = None
    #: SO_SNDBUF; 0: the system's.
    send_buffer_bytes: int = 0
    #: What it does with a connection's second request, a key of SECOND; "": it answers.
    second: str = ""


@dataclass(frozen=True)
class Note:
    """Something that the server saw: "open", "data" (bytes came), "sent" (an answer was taken by
    the system, all of it), "end" (the client has closed) or "gone" (we have)."""

    what: str
    #: From 1, in the order in which they were accepted.
    connection: int
    #: Since the plan's zero; when the server noticed.
    at_s: float
    size: int = 0


@dataclass
class Played:
    """A run, from both sides."""

    records: Records
    notes: list[Note] = field(default_factory=list)
    #: When `load` returned, since the plan's zero.
    ended_s: float = 0.0

    def seen(self, what: str, connection: int | None = None) -> list[Note]:
        """The notes of that kind, in order."""
        return [
            note
            for note in self.notes
            if note.what == what and connection in (None, note.connection)
        ]


def slack_s(world: str) -> float:
    """How late things may be in that world."""
    return SLACK_S if world == "real" else STEPS_S


# ---- the real server -----------------------------------------------------------------------------


class _Watcher:
    """Accepts, and serves each connection in a thread."""

    def __init__(self, manner: Manner, notes: list[Note], zero_s: float) -> None:
        self.manner, self.notes, self.zero_s = manner, notes, zero_s
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if manner.send_buffer_bytes:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, manner.send_buffer_bytes)
        self._listener.bind((HOST, 0))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def note(self, what: str, connection: int, size: int = 0) -> None:
        self.notes.append(Note(what, connection, time.monotonic() - self.zero_s, size))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # shut down
            while True:
                sock = self._listener.accept()[0]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socks.append(sock)
                number = len(self._socks)
                self.note("open", number)
                self._start(self._serve, sock, number)

    def _serve(self, sock: socket.socket, number: int) -> None:
        with sock, contextlib.suppress(OSError):
            self._talk(sock, number)

    def _talk(self, sock: socket.socket, number: int) -> None:
        manner, wire, total, answers = self.manner, H11Wire(Limits()), 0, 0
        sock.settimeout(manner.patience_s)
        while True:
            step = wire.next()
            if step is CLOSED:
                break
            if step is NEED:
                try:
                    data = sock.recv(65536)
                except TimeoutError:
                    if wire.reading and not manner.curt:
                        sock.sendall(wire.timed_out())
                    self.note("gone", number)
                    break
                except ConnectionResetError:
                    data = b""
                self.note("data" if data else "end", number, len(data))
                wire.feed(data)
                before, total = total, total + len(data)
                early = manner.early_bytes
                if early is not None and before < early <= total:
                    sock.sendall(_EARLY)
                continue
            assert isinstance(step, Request)
            odd = manner.second if answers else ""
            if manner.mute or manner.early_bytes is not None or odd in ("mute", "late"):
                continue_reading(sock, self, number)
                break
            demand = demand_of(step.target)[1]
            assert isinstance(demand, Demand)
            time.sleep(demand.wait_us / 1e6)  # the application, not synchronisation
            answer = wire.respond(200, bytes(demand.response_bytes), True)
            sock.settimeout(None)
            for portion in portions(odd, answer, b"SSH-2.0-OpenSSH_9.2\r\n"):
                if portion is None:
                    time.sleep(PAUSE_S)
                else:
                    sock.sendall(portion)
            sock.settimeout(manner.patience_s)
            self.note("sent", number, len(answer))
            answers += 1
            if odd in ENDS:
                break
            if manner.second == "late":
                time.sleep(PAUSE_S)

    def close(self) -> None:
        """All clients are gone: so is everything here."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def portions(odd: str, answer: Any, garbage: Any) -> list[Any]:
    """What is sent for an answer, None for a pause."""
    half = len(answer) // 2
    if odd == "pieces":
        return [answer[:half], None, answer[half:]]
    return {"garbage": [garbage], "half": [answer[:half]], "closes": []}.get(odd, [answer])


def continue_reading(sock: socket.socket, watcher: _Watcher, number: int) -> None:
    """Say nothing (more) until the client has closed."""
    data = b"x"
    while data:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            data = b""
        watcher.note("data" if data else "end", number, len(data))


def _play_real(
    plan: Plan, manner: Manner, timeout_s: float, stop_s: float | None, **options: Any
) -> Played:
    recorder, notes, k = Recorder(), list[Note](), LoopKernel()
    zero_s = k.now() + SOON_S
    watcher = _Watcher(manner, notes, zero_s)
    host = f"{HOST}:{watcher.port}"

    def stop(k: LoopKernel) -> Steps[None]:
        yield k.sleep(zero_s + (stop_s or 0.0) - k.now())
        k._signals.append(Signal.TERM)

    def clients(k: Any) -> Steps[float]:
        if stop_s is not None:
            yield k.thread(stop)
        yield from load(k, plan, Address(watcher.port), lambda: BytesClient(host), recorder,
                        zero_s, None, timeout_s, **options)  # fmt: skip
        ended_s: float = k.now() - zero_s
        return ended_s

    try:
        ended_s = k.run(clients)
    finally:
        watcher.close()
    return Played(recorder.records(), notes, ended_s)


# ---- the simulated server ------------------------------------------------------------------------


def _sim_server(k: Kernel, listener: Listener, manner: Manner, notes: list[Note]) -> Steps[int]:
    for number in count(1):
        conn = None
        while conn is None:
            conn = yield k.accept(listener, timeout_s=None)
        notes.append(Note("open", number, k.now() - SOON_S))
        yield k.thread(_sim_connection, conn, number, manner, notes)
    return 0


def _sim_connection(
    k: Kernel, conn: Conn, number: int, manner: Manner, notes: list[Note]
) -> Steps[None]:
    def note(what: str, size: int = 0) -> None:
        notes.append(Note(what, number, k.now() - SOON_S, size))

    wire, total, answers, silent = CountWire(Limits()), 0, 0, False
    while True:
        step = wire.next() if not silent else NEED
        if step is CLOSED:
            break
        if step is NEED:
            data = yield k.recv(conn, 65536, None if silent else manner.patience_s)
            if data is None:
                if wire.reading and not manner.curt:
                    yield k.send(conn, wire.timed_out(), None)
                note("gone")
                break
            note("data" if data else "end", len(data))
            if silent and not data:
                break
            if not silent:
                wire.feed(data)
            before, total = total, total + len(data)
            early = manner.early_bytes
            if early is not None and before < early <= total:
                yield k.send(conn, Blob(len(_EARLY), 0, Response(200, 0, True)), None)
            continue
        assert isinstance(step, Request)
        odd = manner.second if answers else ""
        if manner.mute or manner.early_bytes is not None or odd in ("mute", "late"):
            silent = True
            continue
        assert step.demand is not None
        yield k.sleep(step.demand.wait_us / 1e6)
        answer = wire.respond(200, counted(step.demand.response_bytes), True)
        for portion in portions(odd, answer, Blob(21, 0, "SSH")):
            if portion is None:
                yield k.sleep(PAUSE_S)
            else:
                yield k.send(conn, portion, None)
        note("sent", len(answer))
        answers += 1
        if odd in ENDS:
            break
        if manner.second == "late":
            yield k.sleep(PAUSE_S)
    k.close(conn)


def _play_sim(
    plan: Plan, manner: Manner, timeout_s: float, stop_s: float | None, **options: Any
) -> Played:
    recorder, notes, ended = Recorder(), list[Note](), list[float]()
    world = World(Platform(costs=NEARLY_FREE, latency_us=5.0, bandwidth_mbit_s=100_000.0))
    world.network.send_buffer_bytes = manner.send_buffer_bytes
    listener = world.listener(128)
    world.spawn(_sim_server, listener, manner, notes)

    def clients(k: Kernel) -> Steps[int]:
        yield from load(k, plan, listener, lambda: CountClient(HOST), recorder, SOON_S, None,
                        timeout_s, **options)  # fmt: skip
        ended.append(k.now() - SOON_S)
        return 0

    pid = world.spawn(clients, machine="client")
    if stop_s is not None:
        world.at(SOON_S + stop_s, lambda _now: world.kill(pid, Signal.TERM))
    world.run(until_exit=pid)
    world.run(until_s=world.now + 1.0)  # the server sees the last clients go
    return Played(recorder.records(), notes, ended[0])


def play(
    world: str,
    plan: Plan,
    manner: Manner = Manner(),
    timeout_s: float = 5.0,
    stop_s: float | None = None,
    **options: Any,
) -> Played:
    """Run the plan in that world, told to stop at stop_s; `options` go to load(). Checks that every
    request is accounted for, unless it is one process's part of a run."""
    player = {"real": _play_real, "sim": _play_sim}[world]
    played = player(plan, manner, timeout_s, stop_s, **options)
    if "part" not in options:
        assert played.records.breaches(plan) == []
        assert account(played.records, plan).breaches() == ()
    assert played.records.complete == (stop_s is None)
    return played
