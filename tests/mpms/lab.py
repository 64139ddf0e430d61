"""A laboratory for MPMs in simulation: a server, scripted clients, and a record of the pool.

Helpers only; the tests state the properties. Times are simulated seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpmlab.bench.dummy import dummy_blob
from mpmlab.core.count_wire import CountClient, CountWire
from mpmlab.core.demand import Demand
from mpmlab.core.directives import effective
from mpmlab.core.platform import NEARLY_FREE, Platform
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.kernel.interface import Kernel, Listener, Signal, Steps
from mpmlab.mpms.catalog import CATALOG
from mpmlab.mpms.site import Site
from mpmlab.sim.world import World

#: A server whose own costs do not matter.
FREE = Platform(name="free", costs=NEARLY_FREE, cores=1000)
#: Longer than any test: a request that is stuck.
STUCK = Demand(wait_us=3_600_000_000)


@dataclass
class Lab:
    """One server of `mpm` with `directives` in a world of its own."""

    mpm: str
    directives: Mapping[str, object] = field(default_factory=dict)
    platform: Platform = FREE
    serialized: bool = True
    seed: int = 0
    wire: Any = CountWire
    dummy: Any = dummy_blob

    def __post_init__(self) -> None:
        pairs = [(name, str(value)) for name, value in self.directives.items()]
        self.settings = effective(CATALOG[self.mpm].settings_name, pairs)
        self.world = World(self.platform, seed=self.seed)
        s = self.settings
        self.board = Scoreboard(s.server_limit, s.thread_limit)
        self.listener = self.world.listener(s.listen_backlog)
        self.site = Site(
            settings=s,
            listener=self.listener,
            board=self.board,
            wire=self.wire,
            dummy_request=self.dummy,
            serialized_accept=self.serialized,
        )
        self.pid = self.world.spawn(CATALOG[self.mpm].parent, self.site, name=self.mpm)

    def run(self, until_s: float) -> None:
        """Let the simulated clock reach `until_s`."""
        self.world.run(until_s=until_s)

    def client(self, fn: Any, *args: Any) -> int:
        """Start a client process `fn(k, listener, *args)`, now."""
        return self.world.spawn(fn, self.listener, *args, machine="client")

    def at(self, time_s: float, fn: Any, *args: Any) -> None:
        """Start a client at that time."""
        self.world.at(time_s, lambda _now: self.client(fn, *args))

    def signal(self, signal: Signal) -> None:
        """To the parent."""
        self.world.kill(self.pid, signal)

    def children(self) -> int:
        """How many slots have a process."""
        return sum(1 for pid in self.board.pid if pid)

    def series(self, start_s: float, steps: int, step_s: float = 1.0) -> list[int]:
        """Children half a second after each step from start_s + step_s on: after the pass that
        fell within it."""
        seen = []
        for i in range(1, steps + 1):
            self.run(start_s + i * step_s)
            seen.append(self.children())
        return seen

    def logged(self, ident: str) -> list[float]:
        """When a message was logged."""
        return [line.time_s for line in self.world.log if line.ident == ident]

    def letters(self) -> str:
        """The scoreboard string of slots in use."""
        return self.board.letters().rstrip(".")


@dataclass
class Seen:
    """What a scripted client saw: (when, what) pairs."""

    events: list[tuple[float, str]] = field(default_factory=list)

    def note(self, k: Kernel, what: str) -> None:
        """What happened, now."""
        self.events.append((k.now(), what))

    def whats(self) -> list[str]:
        """The events without their times."""
        return [what for _, what in self.events]

    def when(self, what: str) -> float:
        """The time of the first event of that name."""
        return next(t for t, w in self.events if w == what)


def ask(
    k: Kernel,
    listener: Listener,
    seen: Seen,
    demands: Iterable[Demand] = (Demand(),),
    keep_alive: bool = True,
    hold_s: float = 0.0,
    close: bool = True,
) -> Steps[int]:
    """One connection: the demands one after the other, then wait for the server's end of stream for
    `hold_s` (if any), then close."""
    conn = yield k.connect(listener, 3600)
    if conn is None:
        seen.note(k, "refused")
        return 0
    seen.note(k, "connected")
    wire = CountClient("lab")
    for demand in demands:
        sent = yield k.send(conn, wire.request(demand, 0, keep_alive), 3600)
        if sent is None:
            seen.note(k, "gone")
            return 0
        response = None
        while response is None:
            data = yield k.recv(conn, 65536, 3600)
            if not data:
                seen.note(k, "reset" if conn.reset else "eof")
                return 0
            response = wire.feed(data)
        seen.note(k, f"{response.status}")
        if not response.keep_alive:
            seen.note(k, "told to close")
    if hold_s:
        data = yield k.recv(conn, 65536, hold_s)
        seen.note(k, "silence" if data is None else "eof")
    if close:
        k.close(conn)
    else:
        yield k.sleep(3600)
    return 0


def crowd(k: Kernel, listener: Listener, count: int, demand: Demand) -> Steps[int]:
    """`count` connections, one request each, all at once; each waits for its answer and closes."""
    for _ in range(count):
        yield k.thread(_one, listener, demand)
    yield k.sleep(36_000)
    return 0


def _one(k: Kernel, listener: Listener, demand: Demand) -> Steps[None]:
    conn = yield k.connect(listener, 3600)
    if conn is not None:
        yield k.send(conn, CountClient("lab").request(demand, 0, False), 3600)
        yield k.recv(conn, 65536, 36_000)
        k.close(conn)


def serial(k: Kernel, listener: Listener, count: int, seen: Seen) -> Steps[int]:
    """`count` connections one after the other, one request each."""
    for _ in range(count):
        yield from ask(k, listener, seen, (Demand(wait_us=5000),), keep_alive=False)
    return 0
