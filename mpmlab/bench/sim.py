"""The simulated engine: the same MPM, clients and plan in a World, at a platform's costs.

Sets the world up, runs it, reads it out. The samples and the measured window are taken as real.py
takes them, so that the columns compare.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Final

from mpmlab.bench.dummy import dummy_blob
from mpmlab.bench.own_mpm import mpm_of
from mpmlab.bench.run import Run
from mpmlab.bench.samples import SampleLog
from mpmlab.bench.task import POOL_DEADLINE_S, SAMPLE_INTERVAL_S, EngineError, Task, Watch
from mpmlab.core.count_wire import CountClient, CountWire
from mpmlab.core.log_line import brief_line, first_word_s
from mpmlab.core.platform import Platform
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.kernel.interface import Signal
from mpmlab.load.client import load
from mpmlab.load.recorder import Recorder
from mpmlab.mpms.site import Site
from mpmlab.sim.world import World

#: What the Host header says: as long as that of a real run on an ephemeral port.
_HOST: Final = "127.0.0.1:40000"
#: Steps in which the start of the pool is awaited.
_STEP_S: Final = 0.01


class _Simulation:
    """One run: the world, what is in it, and what is noted while it runs."""

    def __init__(self, task: Task, platform: Platform, watch: Watch):
        settings = task.known()
        self.task, self.watch = task, watch
        self.world = World(server=platform, seed=task.plan.seed)
        self.board = Scoreboard(settings.server_limit, settings.thread_limit)
        self.log = SampleLog(self.board)
        self.recorder = Recorder()
        self.listener = self.world.listener(settings.listen_backlog)
        self.world.network.send_buffer_bytes = settings.send_buffer_size
        site = Site(
            settings=settings,
            listener=self.listener,
            board=self.board,
            wire=CountWire,
            dummy_request=dummy_blob,
            serialized_accept=not platform.unserialized_accept,
        )
        self.server = self.world.spawn(mpm_of(task.source).parent, site, name=task.mpm)
        self.start_s = 0.0
        self.load = 0
        self.sampling = True
        self.memory_kib = 0.0
        self.threads = 0
        self.cpu_s: dict[str, float] = {}

    def start_pool(self, lead_s: float | None) -> None:
        """Until all workers of StartServers children are up, as the real run waits for them, and
        until `lead_s` after the server's first word if that is later."""
        wanted = self.task.start_workers
        while self.log.ready_workers() < wanted:
            if self.world.now > POOL_DEADLINE_S:
                raise EngineError(
                    f"simulated {self.task.mpm}: {self.log.ready_workers()} of {wanted} workers "
                    f"were up after {POOL_DEADLINE_S:g} s"
                )
            self.world.run(until_s=self.world.now + _STEP_S)
        first_s = first_word_s(self.world.log)
        if lead_s is not None and first_s is not None:
            self.world.run(until_s=max(self.world.now, first_s + lead_s))

    def run_load(self) -> None:
        """The plan, from its zero to the end of its last session."""
        world, task = self.world, self.task
        self.start_s = world.now
        world.every(SAMPLE_INTERVAL_S, self._sample)
        for mark, at_s in (("from", task.warmup_s), ("to", task.duration_s)):
            world.at(self.start_s + at_s, partial(self._note_cpu, mark))
        self.load = world.spawn(
            partial(load, tagged=task.tagged),
            task.plan,
            self.listener,
            partial(CountClient, _HOST),
            self.recorder,
            self.start_s,
            None,
            task.timeout_s,
            machine="client",
            name="load",
        )
        self.log.take(0.0)
        world.run(until_exit=self.load)
        self.memory_kib = world.memory_kib("server")
        self.threads = world.thread_count("server")
        end_s = self.start_s + task.duration_s
        if not self.watch.interruption and world.now < end_s:
            world.run(until_s=end_s)  # the window lasts longer than the last answer
        self.sampling = False

    def stop_server(self) -> None:
        """TERM, and wait for its end."""
        if self.world.kill(self.server, Signal.TERM):
            self.world.run(until_exit=self.server)

    def used_cpu_s(self) -> float | None:
        """CPU of the server inside the measured window; None if the run ended before it."""
        if "from" not in self.cpu_s:
            return None
        end_s = self.cpu_s.get("to", self.world.cpu_seconds("server"))
        return end_s - self.cpu_s["from"]

    def _note_cpu(self, mark: str, _now: float) -> None:
        self.cpu_s[mark] = self.world.cpu_seconds("server")

    def _sample(self, now: float) -> None:
        if not self.sampling:
            return
        at_s = now - self.start_s
        self.log.take(at_s)
        self.watch.advance(at_s / self.task.duration_s)
        if self.watch.interruption:
            # The load's own way to end early: it accounts for what was under way.
            self.world.kill(self.load, Signal.TERM)


def run_sim(
    task: Task, platform: Platform, cores: int, watch: Watch, lead_s: float | None = None
) -> Run:
    """Simulate the task on `platform` with that many server cores. The load begins `lead_s` after
    the server's first word, or as soon as its pool is up. Raises EngineError, and what
    a simulation raises that has hung (Deadlock, Livelock)."""
    began = time.monotonic()
    simulation = _Simulation(task, replace(platform, cores=cores), watch)
    world = simulation.world
    simulation.start_pool(lead_s)
    simulation.run_load()
    cpu_s = simulation.used_cpu_s()
    faults = [watch.interruption.reason] if watch.interruption else []
    if simulation.server in world.deaths:
        faults.append(f"the simulated parent ended: {world.deaths[simulation.server]}")
    simulation.stop_server()
    records = simulation.recorder.records({"platform": platform.name})
    first_s = first_word_s(world.log)
    return Run(
        engine="sim",
        records=records,
        samples=simulation.log.samples(),
        wall_s=time.monotonic() - began,
        server_cores=cores,
        cpu_s=cpu_s,
        memory_kib=simulation.memory_kib,
        threads=simulation.threads,
        lead_s=None if first_s is None else simulation.start_s - first_s,
        log=tuple(brief_line(line, simulation.start_s) for line in world.log),
        digest=world.digest,
        events=world.events,
        faults=tuple(faults),
        breaches=() if faults else tuple(records.breaches(task.plan)),
    )
