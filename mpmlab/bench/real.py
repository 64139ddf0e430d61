"""The real engine: the MPM as processes of this machine, the clients in a process of their own.

Starts both, watches both, ends both. The clients have the last core that we may use (as many as
there are client processes, while the server keeps one), the server has the others; this process is
not pinned: it reads the scoreboard 20 times a second wherever there is room.

Whatever ends a run early (Ctrl-C, a dying process) is noted in Run.faults, and what was recorded
until then is kept. Nothing survives this function; were this process killed outright, both children
would die with it, as they ask the system to (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mpmlab.bench.accounts import FROM, TO, Accounts
from mpmlab.bench.load_process import LoadError
from mpmlab.bench.load_team import LoadTeam
from mpmlab.bench.meter import server_pss_kib
from mpmlab.bench.network import NAMESPACE, link_figures, link_for, network_notes
from mpmlab.bench.results import PLAN
from mpmlab.bench.run import Run
from mpmlab.bench.samples import SampleLog
from mpmlab.bench.server import ENTRY, board_bytes, payload
from mpmlab.bench.speed import glance_us, probe_us, summed_up
from mpmlab.bench.task import POOL_DEADLINE_S, SAMPLE_INTERVAL_S, EngineError, Task, Watch
from mpmlab.core.platform import Platform
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.load.recorder import Recorder, Records
from mpmlab.real.launch import Server, start_server
from mpmlab.real.link import Link
from mpmlab.real.load_process import STOPPED
from mpmlab.real.machine import usable_cores

#: How long the load process may take from its start to its first word.
_LOAD_START_S: Final = 30.0
#: How long it may take to write its records once told to stop.
_LOAD_STOP_S: Final = 10.0
#: How long the server may take to stop: httpd's kill ladder gives children 10 s (mpm_unix.c).
_SERVER_STOP_S: Final = 15.0
#: Samples from one reading of the machine's speed to the next: 4 readings a second, 0.1 ms each.
_GLANCE_EVERY: Final = 5
_LOOK_S: Final = 0.01
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class Cores:
    """Which cores the server and the clients run on."""

    server: tuple[int, ...]
    client: tuple[int, ...]

    @property
    def shared(self) -> bool:
        """True if they share one, so that the measuring disturbs what is measured."""
        return bool(set(self.server) & set(self.client))


def divide(usable: list[int], clients: int = 1) -> Cores:
    """The last cores are the clients', one for each of their processes as long as there is one left
    for the server, which has the others; a single one is shared."""
    count = max(1, min(clients, len(usable) - 1))
    return Cores(tuple(usable[:-count] or usable), tuple(usable[-count:]))


def run_real(task: Task, platform: Platform, watch: Watch, folder: Path) -> Run:
    """Run the task on this machine. The plan is read from, and the records are written to, files in
    `folder` (plan_path, records_path). Raises EngineError or LaunchError if it cannot start, and
    LinkError if there cannot be the network that was asked for."""
    began = time.monotonic()
    cores = divide(usable_cores(), task.clients)
    before_us = probe_us(cores.server[0])
    told = payload(task.mpm, task.directives, not platform.unserialized_accept)
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(link_for(task)) if task.network == NAMESPACE else None
        server = stack.enter_context(
            start_server(
                ENTRY,
                told,
                board_bytes(task.settings),
                task.settings.listen_backlog,
                cores.server,
                send_buffer_bytes=task.settings.send_buffer_size,
                host=LOOPBACK if link is None else link.server_address,
                namespace=None if link is None else link.server_namespace,
            )
        )
        live = _RealRun(task, watch, server, cores, folder, link)
        live.start_pool()
        live.run_load()
        live.stop_server()
        log = tuple(server.stderr().splitlines())
        notes = (*network_notes(task, link), *_notes(cores))
        figures = None if link is None else link_figures(link, live.accounts.forwarder_share())
    records = live.records()
    return Run(
        engine="real",
        records=records,
        samples=live.log.samples(),
        wall_s=time.monotonic() - began,
        server_cores=len(cores.server),
        cpu_s=live.used_cpu_s(),
        memory_kib=live.memory_kib,
        log=log,
        speed=summed_up(before_us, live.speeds_us, probe_us(cores.server[0])),
        faults=tuple(live.faults),
        breaches=() if live.faults else tuple(records.breaches(task.plan)),
        notes=notes,
        client_foreign=live.accounts.client_share(),
        server_foreign=live.accounts.server_share(),
        link=figures,
    )


def plan_path(folder: Path) -> Path:
    """Where the load process finds the plan."""
    return folder / PLAN


def records_path(folder: Path) -> Path:
    """Where the load process leaves its records."""
    return folder / "real-records.npz"


def _notes(cores: Cores) -> tuple[str, ...]:
    if not cores.shared:
        return ()
    return ("server and clients share the only core: their times include one another's",)


class _RealRun:
    """A run in progress: its two children, and what was noted so far."""

    def __init__(
        self,
        task: Task,
        watch: Watch,
        server: Server,
        cores: Cores,
        folder: Path,
        link: Link | None,
    ):
        self.link = link
        self.task, self.watch, self.server = task, watch, server
        self.cores, self.folder = cores, folder
        settings = task.settings
        board = Scoreboard(settings.server_limit, settings.thread_limit, server.buffer)
        self.log = SampleLog(board)
        self.faults: list[str] = []
        self.memory_kib: float | None = None
        self.speeds_us: list[float] = []
        self.start_s = 0.0
        self._records: Records | None = None
        self._ended_s = 0.0
        self.accounts = Accounts(server.pid, cores.server, cores.client, link)

    # ---- before --------------------------------------------------------------------------------

    def start_pool(self) -> None:
        """Until all workers of StartServers children are up."""
        wanted = self.task.start_workers
        deadline_s = time.monotonic() + POOL_DEADLINE_S
        while self.log.ready_workers() < wanted and not self._must_stop():
            if time.monotonic() > deadline_s:
                raise EngineError(
                    f"{self.task.mpm}: {self.log.ready_workers()} of {wanted} workers were up "
                    f"after {POOL_DEADLINE_S:g} s; the server said:\n{self.server.stderr()}"
                )
            time.sleep(_LOOK_S)
        code = self.server.wait(0)
        if code is not None:
            raise EngineError(
                f"{self.task.mpm}: the server ended with code {code} before the load began; it "
                f"said:\n{self.server.stderr()}"
            )

    # ---- the load ------------------------------------------------------------------------------

    def run_load(self) -> None:
        """The load from start to end, and what is measured meanwhile."""
        if self.faults:
            return
        with LoadTeam(
            plan_path(self.folder),
            self.server.address.host,
            self.server.port,
            records_path(self.folder),
            count=self.task.clients,
            timeout_s=self.task.timeout_s,
            cores=self.cores.client,
            paced=self.link is None,
            namespace=None if self.link is None else self.link.client_namespace,
        ) as load:
            self.accounts.clients = load.pids
            begun = self._begin(load)
            if begun:
                self._attend(load)
            self._end_load(load)
            if begun:
                self._idle_until_end()

    def _begin(self, load: LoadTeam) -> bool:
        """Wait until they have read the plan, and say when its zero is. False if they will not."""
        deadline_s = time.monotonic() + _LOAD_START_S
        while time.monotonic() < deadline_s:
            if load.ready():
                self.start_s = load.begin(self.task.plan.requests)
                return True
            if load.poll() is not None or self._must_stop():
                return False
            time.sleep(_LOOK_S)
        raise EngineError(f"the load processes were not ready after {_LOAD_START_S:g} s")

    def _attend(self, load: LoadTeam) -> None:
        """Sample and meter until the load is over or must be ended."""
        while load.poll() is None:
            self._wait_and_sample()
            load.drain()
            if self._must_stop():
                break
        self._ended_s = self._now_s()
        if self.server.wait(0) is None:
            pids = [self.server.pid, *self.server.children()]
            self.memory_kib = server_pss_kib(pids)

    def _idle_until_end(self) -> None:
        """The last answer may come before the plan's end: the window lasts until that."""
        while not self.faults and self._now_s() < self.task.duration_s:
            self._wait_and_sample()
            self._must_stop()
        self.accounts.close()

    def _end_load(self, load: LoadTeam) -> None:
        """Make it end, and find out how it did."""
        load.stop()
        try:
            load.wait(_LOAD_STOP_S)
        except TimeoutError:
            self.faults.append(f"a load process did not stop within {_LOAD_STOP_S:g} s")
            return
        except LoadError as error:
            self.faults.append(f"a load process failed: {error}")
            return
        if load.poll() == STOPPED and not self.faults:
            self.faults.append("a load process was told by somebody to stop")
        self._records = load.collect()

    # ---- watching ------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return time.monotonic() - self.start_s

    def _wait_and_sample(self) -> None:
        """Until the next sample is due or a mark of the window is reached, whichever is first."""
        now_s = self._now_s()
        due_s = max(0.0, (now_s // SAMPLE_INTERVAL_S + 1) * SAMPLE_INTERVAL_S)
        mark, mark_s = self._next_mark()
        wake_s = min(due_s, mark_s)
        time.sleep(max(0.0, wake_s - now_s))
        now_s = self._now_s()
        if now_s >= mark_s:
            self.accounts.mark(mark)
        if now_s >= due_s:
            self.log.take(now_s)
            self.accounts.look()
            if len(self.log) % _GLANCE_EVERY == 0:
                self.speeds_us.append(glance_us(self.cores.server[0]))
            self.watch.advance(now_s / self.task.duration_s)

    def _next_mark(self) -> tuple[str, float]:
        for mark, at_s in ((FROM, self.task.warmup_s), (TO, self.task.duration_s)):
            if not self.accounts.has(mark):
                return mark, at_s
        return "", float("inf")

    def _must_stop(self) -> bool:
        """Note what, if anything, ends this run early."""
        if not self.faults:
            if self.watch.interruption:
                self.faults.append(self.watch.interruption.reason)
            elif (code := self.server.wait(0)) is not None:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                self.faults.append(f"the server's parent process {how}")
            elif self.link is not None and (fault := self.link.fault()):
                self.faults.append(f"the link failed: {fault}")
        return bool(self.faults)

    # ---- after ---------------------------------------------------------------------------------

    def stop_server(self) -> None:
        """TERM and wait; a server that does not obey is killed, and that is a fault."""
        if self.server.wait(0) is None:
            code = self.server.stop(_SERVER_STOP_S)
            if code != 0:
                self.faults.append(f"the server ended with code {code} when told to stop")

    def records(self) -> Records:
        """What the load process left; nothing, marked incomplete, if it left nothing."""
        if self._records is not None:
            return self._records
        recorder = Recorder()
        recorder.finish(complete=False, end_s=max(0.0, self._ended_s))
        return recorder.records()

    def used_cpu_s(self) -> float | None:
        """CPU of the server in the measured window; None if that never began."""
        return self.accounts.server_cpu_s()
