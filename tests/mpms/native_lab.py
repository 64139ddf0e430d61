"""Helpers for the tests of winnt, netware, os2 and beos: rows of the scoreboard, the pool as time
goes by, and clients that lab.py does not have.

Helpers only; the tests state the properties. Times are simulated seconds.
"""

from __future__ import annotations

from mpmlab.core.count_wire import CountClient
from mpmlab.core.demand import Demand
from mpmlab.core.scoreboard import DEAD, LETTERS
from mpmlab.kernel.interface import Kernel, Listener, Steps
from tests.mpms.lab import Lab, Seen, ask

#: How a client sees that its connection was cut.
CUT = ("eof", "reset")


def waits(seconds: float) -> Demand:
    """A request that holds its worker for so long."""
    return Demand(wait_us=round(seconds * 1e6))


def cells(lab: Lab, slot: int = 0) -> str:
    """The letters of one process's workers, without the unused ones at the end."""
    return "".join(LETTERS[status] for status in lab.board.row(slot)).rstrip(".")


def pool(lab: Lab, slot: int = 0) -> int:
    """How many cells of one process have a thread."""
    return sum(status != DEAD for status in lab.board.row(slot))


def pool_series(lab: Lab, start_s: float, steps: int, slot: int = 0) -> list[int]:
    """The pool one second after start_s, two seconds after it, and so on."""
    seen = []
    for i in range(1, steps + 1):
        lab.run(start_s + i)
        seen.append(pool(lab, slot))
    return seen


def server_processes(lab: Lab) -> int:
    """Processes of the server that live, the parent included."""
    return len(lab.world.machines["server"].processes)


def said(lab: Lab, part: str) -> list[float]:
    """When a line with these words was logged."""
    return [line.time_s for line in lab.world.log if part in line.text]


def singles(lab: Lab, count: int, start_s: float, gap_s: float = 0.1) -> list[Seen]:
    """So many requests, each on a connection of its own and over before the next one begins."""
    seen = [Seen() for _ in range(count)]
    for i, one in enumerate(seen):
        lab.at(start_s + i * gap_s, ask, one)
    return seen


def ask_again(k: Kernel, listener: Listener, seen: Seen, at_s: float) -> Steps[int]:
    """One connection: a request now and another one at `at_s`; then wait for the end of stream."""
    conn = yield k.connect(listener, 10)
    wire = CountClient("lab")
    for wait_s in (0.0, at_s - k.now()):
        yield k.sleep(wait_s)
        yield k.send(conn, wire.request(Demand(), 0, True), 10)
        data = yield k.recv(conn, 65536, 3600)
        response = wire.feed(data) if data else None
        if response is None:
            seen.note(k, "eof")
            return 0
        seen.note(k, f"{response.status}")
        if not response.keep_alive:
            seen.note(k, "told to close")
    yield k.recv(conn, 65536, 3600)
    seen.note(k, "eof")
    k.close(conn)
    return 0
