"""httpd's world of the vectors: the program itself behind the interface of three_worlds.py."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mpmlab.core.demand import Demand
from mpmlab.core.directives import effective
from mpmlab.httpd.configuration import Wishes
from mpmlab.httpd.program import find_httpd
from mpmlab.httpd.server import HttpdServer, start_httpd
from mpmlab.httpd.status import Status, StatusError
from mpmlab.kernel.interface import Signal
from tests.httpd.three_callers import SocketCallers
from tests.httpd.three_worlds import Caller, Engine

#: Between two looks.
LOOK_S = 0.01
STATUS_TIMEOUT_S = 5.0
#: Who served, and the how manieth request of its connection it was.
_LOG = ('LogFormat "%P %k" who', "CustomLog who.log who")


class HttpdEngine(Engine):
    """A running httpd."""

    def __init__(
        self, server: HttpdServer, callers: SocketCallers, go_on: Callable[[], None]
    ) -> None:
        self.server = server
        self.callers = callers
        self._go_on = go_on

    def now(self) -> float:
        """See Engine."""
        return time.monotonic()

    def rest(self) -> None:
        """See Engine."""
        self._go_on()
        self.callers.serve(LOOK_S)

    def pids(self) -> list[int]:
        """See Engine. A child stays the parent's in /proc until it is reaped, as in a scoreboard's
        slot."""
        return self.server.children()

    def letters(self) -> str:
        """See Engine."""
        return self._status().letters.replace("W", "", 1).rstrip(".")

    def places(self) -> int:
        """How many workers the status has a letter for."""
        return len(self._status().letters)

    def closing(self) -> int:
        """See Engine."""
        return self._status().counts["closing"]

    def hush(self) -> None:
        """See Engine."""
        self.server.status.close()

    def _status(self) -> Status:
        try:
            return self.server.status.status(STATUS_TIMEOUT_S)
        except StatusError:  # it had closed the connection that we kept; now there is a new one
            return self.server.status.status(STATUS_TIMEOUT_S)

    def first_made(self) -> int:
        """See Engine. The looks at the start that made sure it answers count, as they are
        connections like others."""
        folder = re.search(r'^ServerRoot "(.*)"$', self.server.configuration, re.MULTILINE)
        assert folder is not None
        served = [line.split() for line in Path(folder[1], "who.log").read_text().splitlines()]
        return sum(pid == served[0][0] and before == "0" for pid, before in served)

    def told(self, ident: str) -> list[float]:
        """See Engine."""
        return [line.time_s for line in self.server.messages() if line.ident == ident]

    def texts(self, ident: str) -> list[str]:
        """What the messages of that number say."""
        return [line.text for line in self.server.messages() if line.ident == ident]

    def signal(self, sign: Signal) -> None:
        """See Engine."""
        assert self.server.signal(sign)

    def crash(self, pid: int) -> None:
        """See Engine."""
        os.kill(pid, signal.SIGSEGV)

    def code(self) -> int | None:
        """See Engine."""
        return self.server.wait(0)

    def call(
        self,
        wait_us: int = 0,
        keep: bool = True,
        crash: bool = False,
        half: bool = False,
        polite: bool = False,
    ) -> Caller:
        """See Engine."""
        return self.callers.call(Demand(wait_us=wait_us, crash=crash), keep, half, polite)


@contextmanager
def begin_httpd(
    go_on: Callable[[], None],
    mpm: str,
    directives: dict[str, object] | None = None,
    debug: bool = False,
    lines: Sequence[str] = (),
) -> Iterator[HttpdEngine]:
    """See Begin. `go_on` raises when the test is to be given up. HttpdMissingError where there is
    no httpd."""
    pairs = [(name, str(value)) for name, value in (directives or {}).items()]
    wishes = Wishes(sampled=False, log_level="debug" if debug else "info", lines=(*_LOG, *lines))
    with (
        start_httpd(find_httpd(), effective(mpm, pairs), wishes) as server,
        closing(SocketCallers(server.port)) as callers,
    ):
        yield HttpdEngine(server, callers, go_on)
