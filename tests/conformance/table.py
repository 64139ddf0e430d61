"""The table of the conformance suite: what a body is, how it gets into the table, its helpers.

A body is a module-level generator function `body(k, listener) -> Steps[result]`, run as the main
thread of a fresh process with a fresh listener. It uses `mpmlab.kernel.interface` and `mpmlab.core`
only. Its docstring is the property; its result (None, numbers, strings, booleans, tuples of those)
is compared with what it is expected to be, after JSON. Each world offers

    run_body(body, backlog) -> result        (real_world.py, sim_world.py)

which raises when the body raises or does not end. A body's functions for other processes and
threads are module-level too, and get frozen values and kernel handles.

Timing: never early is exact, to a nanosecond (times are floats in both worlds); "late" is a
deadline, generous, because the machine may be busy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Conn, Data, Kernel, Listener, Steps

#: Later than asked by more than this is a hang, not a delay.
LATE_S: Final = 4.0
#: What adding and subtracting floats may lose.
_ROUNDING_S: Final = 1e-9
#: For waits that must end by something else than their timeout.
LONG_S: Final = 15.0
#: For waits that must last.
SHORT_S: Final = 0.05
#: Backlog of the listener unless a body says otherwise.
BACKLOG: Final = 8

Function = Callable[[Kernel, Listener], Steps[Any]]


@dataclass(frozen=True)
class Body:
    """One row: the function, its expected result, the listener's backlog."""

    function: Function
    expected: Any
    backlog: int


#: All bodies, in the order of their files.
BODIES: Final[list[Body]] = []


def conforms(expected: Any, backlog: int = BACKLOG) -> Callable[[Function], Function]:
    """Put a body into the table. The function itself stays as it is."""

    def note(function: Function) -> Function:
        BODIES.append(Body(function, expected, backlog))
        return function

    return note


def lasted(k: Kernel, since: float, at_least_s: float) -> str:
    """ "ok", or how far the time since then is off."""
    elapsed_s = k.now() - since
    if elapsed_s < at_least_s - _ROUNDING_S:
        return f"early: {elapsed_s} s instead of {at_least_s} s"
    if elapsed_s > at_least_s + LATE_S:
        return f"late: {elapsed_s} s instead of {at_least_s} s"
    return "ok"


def bytes_of(k: Kernel, size: int) -> Steps[Data]:
    """That many bytes of this world's kind of data: the application makes them."""
    data: Data = yield k.work(Demand(response_bytes=size))
    return data


def pair(k: Kernel, listener: Listener) -> Steps[tuple[Conn, Conn]]:
    """Both ends of a fresh connection: (client's, server's)."""
    client = yield k.connect(listener, LONG_S)
    server = yield k.accept(listener, LONG_S)
    assert client is not None
    assert server is not None
    return client, server


def read_all(k: Kernel, conn: Conn) -> Steps[int]:
    """How many bytes come until the end of the stream; -1 if it does not end."""
    total = 0
    while True:
        data = yield k.recv(conn, 65_536, LONG_S)
        if data is None:
            return -1
        if not data:
            return total
        total += len(data)


def end_of(k: Kernel) -> Steps[Any]:
    """How the next child ended: its exit code, or the name of the signal."""
    dead = yield k.wait(LONG_S)
    if dead is None:
        return "nobody died"
    return dead.code if dead.signal is None else dead.signal.value
