"""A run on this machine in progress: a server of whatever kind, load processes, and who watches.

What all engines that are not simulated have in common lives here; what kind of server it is, and
how its workers are seen, real.py, httpd.py and external.py say. The clients have the last core that
we may use (as many as there are client processes, while the server keeps one), the server has the
others; this process is not pinned: it samples the server 20 times a second wherever there is room.

Whatever ends a run early (Ctrl-C, a dying process) is noted in Run.faults, and what was recorded
until then is kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from mpmlab.bench.accounts import FROM, TO, Accounts
from mpmlab.bench.load_process import LoadError
from mpmlab.bench.load_team import LoadTeam
from mpmlab.bench.meter import server_pss_kib, server_threads
from mpmlab.bench.network import link_figures, network_notes
from mpmlab.bench.results import PLAN
from mpmlab.bench.run import Run
from mpmlab.bench.samples import Samples
from mpmlab.bench.speed import glance_us, probe_us, summed_up
from mpmlab.bench.task import POOL_DEADLINE_S, SAMPLE_INTERVAL_S, EngineError, Task, Watch
from mpmlab.core.log_line import LogLine, brief_line, first_word_s
from mpmlab.load.recorder import Recorder, Records
from mpmlab.real.handles import Address
from mpmlab.real.link import Link
from mpmlab.real.load_process import STOPPED

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


class Served(Protocol):
    """A server that runs. `pid`: of its parent process, None if it is nobody's that we know."""

    address: Address

    @property
    def pid(self) -> int | None:
        """See above."""

    def wait(self, timeout_s: float | None) -> int | None:
        """The exit code of its parent, None while it runs."""

    def children(self) -> list[int]:
        """Its other processes."""

    def stop(self, timeout_s: float) -> int:
        """End it; its exit code."""

    def stderr(self) -> str:
        """What it said."""


class Eye(Protocol):
    """Who sees the server's workers."""

    def __len__(self) -> int:
        """Samples so far."""

    def ready_workers(self) -> int:
        """How many are up now."""

    def take(self, time_s: float) -> None:
        """Take a sample, now, which is so long after the run's start."""

    def pause(self, seconds: float) -> None:
        """Let so much time pass."""

    def samples(self) -> Samples:
        """All of them."""


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


def plan_path(folder: Path) -> Path:
    """Where the load process finds the plan."""
    return folder / PLAN


def records_path(folder: Path, engine: str) -> Path:
    """Where the load processes leave their records."""
    return folder / f"{engine}-records.npz"


@dataclass(frozen=True)
class Before:
    """When a run began, and how fast the server's core was then, while nothing of it was there."""

    time_s: float
    speed_us: float

    @staticmethod
    def now(cores: Cores) -> Before:
        """Look."""
        return Before(time.monotonic(), probe_us(cores.server[0]))


def shared_core_note(cores: Cores) -> tuple[str, ...]:
    """What the reader is told if there is but one core."""
    if not cores.shared:
        return ()
    return ("server and clients share the only core: their times include one another's",)


class LiveRun:
    """A run in progress: its server and its load processes, and what was noted so far."""

    def __init__(
        self,
        engine: str,
        task: Task,
        watch: Watch,
        server: Served,
        eye: Eye,
        cores: Cores,
        before: Before,
        folder: Path,
        link: Link | None = None,
    ):
        self._before = before
        self.engine, self.link = engine, link
        self.task, self.watch, self.server, self.eye = task, watch, server, eye
        self.cores, self.folder = cores, folder
        self.faults: list[str] = []
        self.memory_kib: float | None = None
        self.threads: int | None = None
        self.speeds_us: list[float] = []
        #: Samples that were due; an eye may see fewer.
        self._due = 0
        self.start_s = 0.0
        self._records: Records | None = None
        self._ended_s = 0.0
        self.accounts = Accounts(server.pid, cores.server, cores.client, link)

    # ---- before --------------------------------------------------------------------------------

    def start_pool(self) -> None:
        """Until all workers of StartServers children are up."""
        wanted = self.task.start_workers
        deadline_s = time.monotonic() + POOL_DEADLINE_S
        while self.eye.ready_workers() < wanted and not self._must_stop():
            if time.monotonic() > deadline_s:
                raise EngineError(
                    f"{self.task.mpm}: {self.eye.ready_workers()} of {wanted} workers were up "
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
            self.server.address.port,
            records_path(self.folder, self.engine),
            count=self.task.clients,
            timeout_s=self.task.timeout_s,
            cores=self.cores.client,
            paced=self.link is None,
            namespace=None if self.link is None else self.link.client_namespace,
            asking=self.task.asking,
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
        if self.server.pid is not None and self.server.wait(0) is None:
            pids = [self.server.pid, *self.server.children()]
            self.memory_kib = server_pss_kib(pids)
            self.threads = server_threads(pids)

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
        self.eye.pause(max(0.0, wake_s - now_s))
        now_s = self._now_s()
        if now_s >= mark_s:
            self.accounts.mark(mark)
        if now_s >= due_s:
            self.eye.take(now_s)
            self.accounts.look()
            self._due += 1
            if self._due % _GLANCE_EVERY == 0:
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

    def run(self, messages: Sequence[LogLine | str], notes: Sequence[str] = (), **more: Any) -> Run:
        """What came of it. `messages`: the server's, in order; `more`: further fields of Run."""
        link, records = self.link, self.records()
        first_s = first_word_s(messages)
        return Run(
            engine=self.engine,
            records=records,
            samples=self.eye.samples(),
            wall_s=time.monotonic() - self._before.time_s,
            server_cores=len(self.cores.server),
            cpu_s=self.accounts.server_cpu_s(),
            memory_kib=self.memory_kib,
            threads=self.threads,
            log=tuple(brief_line(line, self.start_s) for line in messages),
            speed=summed_up(self._before.speed_us, self.speeds_us, probe_us(self.cores.server[0])),
            faults=tuple(self.faults),
            breaches=() if self.faults else tuple(records.breaches(self.task.plan)),
            notes=(*network_notes(self.task, link), *shared_core_note(self.cores), *notes),
            lead_s=None if first_s is None or not self.start_s else self.start_s - first_s,
            client_foreign=self.accounts.client_share(),
            server_foreign=self.accounts.server_share(),
            link=None if link is None else link_figures(link, self.accounts.forwarder_share()),
            **more,
        )

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
