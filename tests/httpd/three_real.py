"""The real world of the vectors: our own servers' processes behind the interface of three_worlds.py
(the laboratory is tests/mpms/real_lab.py's)."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mpmlab.bench.server import ENTRY, board_bytes, payload
from mpmlab.core.demand import Demand
from mpmlab.core.directives import effective
from mpmlab.core.platform import Platform
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.kernel.interface import Signal
from mpmlab.real.error_log import read_error_log
from mpmlab.real.launch import start_server
from tests.httpd.three_callers import SocketCallers
from tests.httpd.three_worlds import BoardEngine, Caller, Engine
from tests.mpms.real_lab import RealLab

#: Between two looks.
LOOK_S = 0.01


class RealEngine(BoardEngine):
    """A RealLab."""

    def __init__(self, lab: RealLab, callers: SocketCallers, go_on: Callable[[], None]) -> None:
        super().__init__(lab.board)
        self.lab = lab
        self.callers = callers
        self._go_on = go_on

    def now(self) -> float:
        """See Engine."""
        return time.monotonic()

    def rest(self) -> None:
        """See Engine."""
        self._go_on()
        self.callers.serve(LOOK_S)
        self.note()

    def told(self, ident: str) -> list[float]:
        """See Engine."""
        lines = read_error_log(self.lab.log_path)
        return [line.time_s for line in lines if line.ident == ident]

    def signal(self, sign: Signal) -> None:
        """See Engine."""
        assert self.lab.server.signal(sign)

    def crash(self, pid: int) -> None:
        """See Engine."""
        os.kill(pid, signal.SIGSEGV)

    def code(self) -> int | None:
        """See Engine."""
        return self.lab.server.wait(0)

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
def begin_real(
    go_on: Callable[[], None],
    mpm: str,
    directives: dict[str, object] | None = None,
    debug: bool = False,
    lines: Sequence[str] = (),
) -> Iterator[Engine]:
    """See Begin. Our servers log every message, whatever its level. `go_on` raises when the test is
    to be given up."""
    del debug, lines
    pairs = [(name, str(value)) for name, value in (directives or {}).items()]
    settings = effective(mpm, pairs)
    with tempfile.TemporaryDirectory(prefix="mpmlab-three.") as folder:
        log_path = Path(folder, "error.log")
        server = start_server(
            ENTRY,
            payload(mpm, pairs, serialized_accept=not Platform().unserialized_accept),
            board_size=board_bytes(settings),
            backlog=settings.listen_backlog,
            log_path=log_path,
        )
        with server, closing(SocketCallers(server.port)) as callers:
            assert server.buffer is not None
            board = Scoreboard(settings.server_limit, settings.thread_limit, server.buffer)
            engine = RealEngine(RealLab(server, board, log_path), callers, go_on)
            engine.until(lambda: engine.letters().count("_"), "the pool has started")
            yield engine
