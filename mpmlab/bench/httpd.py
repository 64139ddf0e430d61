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
from mpmlab.bench.task import SAMPLE_INTERVAL_S, EngineError, Task, Watch
from mpmlab.core.scoreboard import READY
from mpmlab.core.settings import Settings
from mpmlab.httpd.configuration import Wishes, place_added
from mpmlab.httpd.server import HttpdServer, start_httpd
from mpmlab.httpd.status import Status, StatusError
from mpmlab.real.machine import usable_cores
from mpmlab.workload.plan import Plan

#: How long a report before or after the load may take.
_PATIENCE_S: Final = 2.0
#: Pause before another attempt at a stream.
_AGAIN_S: Final = 0.01
#: Reports that are further apart are told.
_GAP_S: Final = 0.5
#: One of so many is less than a per cent.
_MANY_WORKERS: Final = 100
CONFIGURATION: Final = "httpd.conf"
ACCESS_LOG: Final = "httpd-access.log"


class StatusEye(SampleRows):
    """Sees the workers of an httpd through its stream of reports.

    A sample has the time at which it came. The worker that writes it is left out, and so is the
    process that prefork has for the stream (configuration.py)."""

    def __init__(self, server: HttpdServer, settings: Settings) -> None:
        super().__init__()
        self._server = server
        self._stream = server.stream(SAMPLE_INTERVAL_S)
        #: A worker of the pool has the stream, or one that came on top; prefork's is a process.
        self._own = int(place_added(settings))
        self._own_processes = int(settings.mpm == "prefork")
        self._zero_s = 0.0
        self._sampling = False
        #: How often the stream broke off.
        self.broken = 0
        self.first: Status | None = None
        self.last: Status | None = None

    def ready_workers(self) -> int:
        """How many are up, without ours."""
        try:
            report = self._stream.next(_PATIENCE_S)
        except StatusError:
            return 0
        if report is None:
            return 0
        # by_status() leaves one out, which may belong to the pool.
        return sum(report.by_status()[READY:]) + 1 - self._own

    def take(self, time_s: float) -> None:
        """Reports come by themselves; this says what time it is."""
        self._zero_s = time.monotonic() - time_s
        self._sampling = True

    def pause(self, seconds: float) -> None:
        """Let time pass, and take the reports that come."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                report = self._stream.next(left_s)
            except StatusError:
                self.broken += 1
                time.sleep(min(_AGAIN_S, max(0.0, until_s - time.monotonic())))
                continue
            if report is not None and self._sampling:
                self._keep(report)

    def finish(self) -> None:
        """The last word, for the counters, and the end of the stream."""
        self._sampling = False
        with contextlib.suppress(StatusError):
            while self._stream.next(0.0) is not None:
                pass  # nobody looked while the clients wrote their records: these are old
        with contextlib.suppress(StatusError):
            self.last = self._stream.next(_PATIENCE_S)
        self._stream.close()

    def facts(self) -> dict[str, Any]:
        """What the server said of itself, JSON-able: its counters at the first sample and after the
        load, how many samples there are, how far apart at most, and how often they broke off."""
        times_s = self.samples().time_s
        return {
            "samples": len(self),
            "worker_slots": None if self.first is None else len(self.first.letters),
            "longest_gap_s": float(np.max(np.diff(times_s))) if len(times_s) > 1 else None,
            "broken_off": self.broken,
            "counters_before": None if self.first is None else dict(self.first.counts),
            "counters_after": None if self.last is None else dict(self.last.counts),
        }

    def _keep(self, found: Status) -> None:
        self.first = self.first or found
        processes = found.counts.get("processes", len(self._server.children()))
        processes -= self._own_processes
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
        eye = StatusEye(server, task.known())
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


def _notes(eye: StatusEye, live: LiveRun) -> list[str]:
    """What the stream of reports takes of a small pool, and where the picture has holes."""
    settings = live.task.known()
    workers = settings.daemons_limit * settings.threads_per_child
    notes = []
    slots = workers + place_added(settings)
    if eye.first is not None and len(eye.first.letters) != slots:
        notes.append(
            f"httpd has places for {len(eye.first.letters)} workers, our reading of the directives "
            f"gives {slots}: they are not clamped alike"
        )
    if not place_added(settings) and workers < _MANY_WORKERS:
        notes.append(f"one of {workers} threads of httpd holds the stream of its own reports")
    gap_s = eye.facts()["longest_gap_s"]
    if not live.faults and gap_s is not None and gap_s > _GAP_S:
        notes.append(
            f"httpd gave {len(eye)} reports of its workers, at most {gap_s:.2f} s apart; the "
            f"stream of them broke off {eye.broken} times"
        )
    return notes
