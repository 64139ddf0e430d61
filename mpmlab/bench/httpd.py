"""The httpd engine: Apache httpd itself under the same plan and the same clients.

Starting and ending it, and seeing its workers through /server-status; the run is live.py's, the
server mpmlab/httpd. What httpd says of itself is put into the shape that all engines have.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mpmlab.bench.live import LOOPBACK, Before, LiveRun, divide
from mpmlab.bench.network import NAMESPACE, link_for
from mpmlab.bench.run import Run
from mpmlab.bench.samples import SampleRows
from mpmlab.bench.task import EngineError, Task, Watch
from mpmlab.core.scoreboard import READY
from mpmlab.httpd.configuration import STATUS_PATH, Wishes
from mpmlab.httpd.server import HttpdServer, start_httpd
from mpmlab.httpd.status import Status, StatusError, read_status
from mpmlab.real.machine import usable_cores
from mpmlab.workload.plan import Plan

#: How long a question before the load may take, and how long a connection during it.
_PATIENCE_S: Final = 2.0
_CONNECT_S: Final = 0.05
CONFIGURATION: Final = "httpd.conf"
ACCESS_LOG: Final = "httpd-access.log"


class StatusEye(SampleRows):
    """Sees the workers of an httpd through its status connection.

    A sample is asked for when it is due, and has the time at which its answer came: of a server
    without an idle worker that is when one is free again. The worker that answers is left out, and
    so is the process that prefork has for the connection (configuration.py)."""

    def __init__(self, server: HttpdServer, mpm: str) -> None:
        super().__init__()
        self._server, self._connection = server, server.status
        #: A process of prefork is ours, of the others a thread that is busy anyway as it answers.
        self._own = 1 if mpm == "prefork" else 0
        self._zero_s = 0.0
        #: Samples that were due while the one before had no answer, or got none.
        self.missed = 0
        self.first: Status | None = None
        self.last: Status | None = None

    def ready_workers(self) -> int:
        """How many are up, without ours."""
        try:
            letters = self._connection.status(_PATIENCE_S).by_status()
        except StatusError:
            return 0
        # by_status() has left out one: in worker and event it belongs to the pool.
        return sum(letters[READY:]) + 1 - self._own

    def take(self, time_s: float) -> None:
        """Ask, if the last question has been answered."""
        self._zero_s = time.monotonic() - time_s
        if self._connection.waiting:
            self.missed += 1
            return
        try:
            self._connection.ask(f"{STATUS_PATH}?auto", _CONNECT_S)
        except StatusError:
            self.missed += 1

    def pause(self, seconds: float) -> None:
        """Let time pass, and take the answer when it comes."""
        until_s = time.monotonic() + seconds
        while self._connection.waiting:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            self._look(left_s)
        time.sleep(max(0.0, until_s - time.monotonic()))

    def finish(self) -> None:
        """The last word, for the counters: after the load there are idle workers again."""
        with contextlib.suppress(StatusError):
            if self._connection.waiting:
                self._connection.close()
            self.last = self._connection.status(_PATIENCE_S)

    def facts(self) -> dict[str, Any]:
        """What the server said of itself, JSON-able: its counters at the first sample and after the
        load, how many samples there are and were missed, and how far apart at most."""
        times_s = self.samples().time_s
        gap_s = float(np.max(np.diff(times_s))) if len(times_s) > 1 else None
        return {
            "samples": len(self),
            "missed": self.missed,
            "longest_gap_s": gap_s,
            "status_connections": self._connection.opened,
            "counters_before": None if self.first is None else dict(self.first.counts),
            "counters_after": None if self.last is None else dict(self.last.counts),
        }

    def _look(self, timeout_s: float) -> None:
        try:
            body = self._connection.poll(timeout_s)
            if body is None:
                return
            found = read_status(body.decode("latin-1"))
        except StatusError:  # event closes idle connections while it has no idle worker
            self.missed += 1
            return
        self.first = self.first or found
        processes = found.counts.get("processes", len(self._server.children())) - self._own
        row = [*found.by_status(), found.busy - 1, found.idle, processes]
        self.add(time.monotonic() - self._zero_s, np.array(row, dtype=np.int64))


def run_httpd(task: Task, watch: Watch, folder: Path) -> Run:
    """Run the task on Apache httpd. Leaves its configuration in `folder`, and its access log if the
    task wants one. Raises EngineError, HttpdError or HttpdMissingError if it cannot start, and
    LinkError if there cannot be the network that was asked for."""
    program = task.httpd
    if program is None:
        raise EngineError("the httpd engine was not told which httpd")
    cores = divide(usable_cores(), task.clients)
    before = Before.now(cores)
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(link_for(task)) if task.network == NAMESPACE else None
        server = stack.enter_context(
            start_httpd(
                program,
                task.known(),
                Wishes(access_log=task.tagged),
                cores.server,
                host=LOOPBACK if link is None else link.server_address,
                namespace=None if link is None else link.server_namespace,
                static_bytes=static_sizes(task.plan),
            )
        )
        eye = StatusEye(server, task.mpm)
        live = LiveRun("httpd", task, watch, server, eye, cores, before, folder, link)
        live.start_pool()
        live.run_load()
        eye.finish()
        live.stop_server()
        (folder / CONFIGURATION).write_text(server.configuration)
        if task.tagged:
            (folder / ACCESS_LOG).write_text(server.access_log())
        facts = {"program": str(program.path), "version": program.version, **eye.facts()}
        return live.run(server.messages(), _notes(eye, live), server=facts)


def static_sizes(plan: Plan) -> Sequence[int]:
    """The sizes of the static files that the plan asks for."""
    return [int(size) for size in np.unique(plan.response_bytes[plan.request_static()])]


def _notes(eye: StatusEye, live: LiveRun) -> tuple[str, ...]:
    """Where the picture of the workers has holes."""
    if live.faults or not eye.missed:
        return ()
    return (
        f"the status of httpd was sampled {len(eye)} times, and {eye.missed} samples were missed: "
        "no worker was free to answer",
    )
