"""The simulated world of the vectors: tests/mpms/lab.py behind the interface of three_worlds.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mpmlab.core.count_wire import CountClient
from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Kernel, Listener, Signal, Steps
from tests.httpd.three_worlds import BoardEngine, Caller, Engine
from tests.mpms.lab import FREE, Lab

#: Between two looks, in simulated seconds.
LOOK_S = 0.005


class SimCaller(Caller):
    """A client process."""

    leaving = False

    def hang_up(self) -> None:
        """See Caller."""
        self.leaving = True


class SimEngine(BoardEngine):
    """A Lab."""

    slack_s = 0.02  # its passes take no time; a look comes up to LOOK_S late
    exact = True

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.board)
        self.lab = lab

    def now(self) -> float:
        """See Engine."""
        return self.lab.world.now

    def rest(self) -> None:
        """See Engine."""
        self.lab.run(self.now() + LOOK_S)
        self.note()

    def told(self, ident: str) -> list[float]:
        """See Engine."""
        return self.lab.logged(ident)

    def signal(self, sign: Signal) -> None:
        """See Engine."""
        self.lab.signal(sign)

    def crash(self, pid: int) -> None:
        """See Engine."""
        self.lab.world.kill(pid, Signal.SEGV)

    def code(self) -> int | None:
        """See Engine."""
        return self.lab.world.exit_code(self.lab.pid)

    def call(
        self,
        wait_us: int = 0,
        keep: bool = True,
        crash: bool = False,
        half: bool = False,
        polite: bool = False,
    ) -> Caller:
        """See Engine."""
        caller = SimCaller()
        self.lab.client(_caller, caller, Demand(wait_us=wait_us, crash=crash), keep, half, polite)
        return caller


def _caller(
    k: Kernel,
    listener: Listener,
    caller: SimCaller,
    demand: Demand,
    keep: bool,
    half: bool,
    polite: bool,
) -> Steps[int]:
    """What SocketCaller does."""
    conn = yield k.connect(listener, 3600)
    assert conn is not None
    caller.events.append((k.now(), "connected"))
    wire = CountClient("lab")
    data = wire.request(demand, 0, keep)
    yield k.send(conn, data[: len(data) // 2] if half else data, 3600)
    over = False
    while not (caller.leaving or (over and polite)):
        if over:
            yield k.sleep(LOOK_S)
            continue
        got = yield k.recv(conn, 65_536, LOOK_S)
        if got:
            response = wire.feed(got)
            if response is not None:
                caller.events.append((k.now(), str(response.status)))
        elif got is not None:
            over = True
            caller.events.append((k.now(), "reset" if conn.reset else "eof"))
    k.close(conn)
    return 0


@contextmanager
def begin_sim(
    mpm: str,
    directives: dict[str, object] | None = None,
    debug: bool = False,
    lines: Sequence[str] = (),
) -> Iterator[Engine]:
    """See Begin. The simulation has every message, whatever its level."""
    del debug, lines
    engine = SimEngine(Lab(mpm, directives or {}, serialized=not FREE.unserialized_accept))
    engine.until(lambda: engine.letters().count("_"), "the pool has started")
    yield engine
