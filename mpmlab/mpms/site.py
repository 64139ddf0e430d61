"""What every process of one server shares: settings, listener, scoreboard, mutex, pipe of death.

Frozen values and kernel handles only (a fork copies them); no decisions. The launcher makes a Site,
the supervisor adds what is made anew for each generation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mpmlab.core.demand import Demand
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.core.settings import Settings
from mpmlab.core.wire import Limits, ServerWire
from mpmlab.kernel.interface import Listener, Mutex, Queue

# Exit codes of children, which are messages to the parent (httpd include/httpd.h APEXIT_*).
EXIT_OK: Final = 0
EXIT_INIT: Final = 2
EXIT_CHILDINIT: Final = 3
EXIT_CHILDSICK: Final = 7
EXIT_CHILDFATAL: Final = 15

#: Bytes asked of recv at a time while reading requests (httpd: AP_IOBUFSIZE is 8 kB; one big read
#: saves a system call per 8 kB of a body, and costs nothing else).
RECV_BYTES: Final = 65_536


@dataclass(frozen=True)
class Site:
    """One server. `wire(limits)` makes the server's side of a new connection; `client(host)` the
    client's side, of which the parent needs one request: the dummy connection's.

    `serialized_accept`: prefork's children take turns at the accept mutex (httpd does unless the
    platform wakes one waiter only, SINGLE_LISTEN_UNSERIALIZED_ACCEPT)."""

    settings: Settings
    listener: Listener
    board: Scoreboard
    wire: Callable[[Limits], ServerWire]
    dummy_request: Callable[[], Any]
    serialized_accept: bool = True
    generation: int = 0
    pod: Queue | None = None
    accept_mutex: Mutex | None = None
    #: A crash of the application ends the thread (CaughtCrash) and not the process.
    catches_crashes: bool = False

    @property
    def limits(self) -> Limits:
        """The LimitRequest* directives, as the wire takes them."""
        s = self.settings
        return Limits(
            s.limit_request_line,
            s.limit_request_field_size,
            s.limit_request_fields,
            s.limit_request_body,
        )

    def cell(self, slot: int, thread: int = 0) -> int:
        """Index of a worker's cell on the scoreboard."""
        return slot * self.board.thread_limit + thread


#: What the server does for a request without work of its own (OPTIONS *, an error's text).
NO_WORK: Final = Demand()
