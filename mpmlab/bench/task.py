"""What an engine is asked to run, and how it is watched while it does. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mpmlab.bench.interruption import Interruption
from mpmlab.bench.load_process import Asking
from mpmlab.bench.url import Url
from mpmlab.core.settings import Settings
from mpmlab.httpd.program import Program
from mpmlab.workload.plan import Plan

#: How often the scoreboard is read. A read costs some 50 us of this process.
SAMPLE_INTERVAL_S: Final = 0.05
#: How long the pool may take to come up before the load begins.
POOL_DEADLINE_S: Final = 10.0


@dataclass(frozen=True)
class Task:
    """One MPM under one plan. `directives` are those given; `settings` what they come to: None for
    a server that is not ours, whose name is then in `mpm`."""

    mpm: str
    directives: tuple[tuple[str, str], ...]
    settings: Settings | None
    plan: Plan
    #: How long a client waits for an answer.
    timeout_s: float
    #: How many load processes share the plan in the real world.
    clients: int = 1
    #: How real clients are on their links: network.NETWORKS.
    network: str = "pacing"
    #: The httpd of the httpd engine.
    httpd: Program | None = None
    #: The server of the external engine.
    url: Url | None = None
    #: Where the MPM is from, if it is the user's own: module:attribute.
    module: str = ""
    #: Whether each request says its number in the plan, and httpd keeps an access log.
    tagged: bool = False

    @property
    def asking(self) -> Asking:
        """How the load processes write requests."""
        if self.url is None:
            return Asking(self.tagged)
        return Asking(self.tagged, self.url.target, self.url.host_header)

    @property
    def source(self) -> str:
        """What finds the MPM (own_mpm.mpm_of)."""
        return self.module or self.mpm

    @property
    def duration_s(self) -> float:
        """Length of the plan."""
        return self.plan.duration_us / 1e6

    @property
    def start_workers(self) -> int:
        """How many workers the server starts with: when they are up, the load may begin."""
        return 0 if self.settings is None else self.settings.first_workers

    def known(self) -> Settings:
        """The settings, for engines that start the server. Raises EngineError without any."""
        if self.settings is None:
            raise EngineError(f"{self.mpm}: a server that is not ours cannot be started")
        return self.settings

    @property
    def warmup_s(self) -> float:
        """Where the measured window begins."""
        return self.plan.warmup_us / 1e6


@dataclass(frozen=True)
class Watch:
    """Who watches: `advance` is told how far the run is (0..1), `interruption` says whether the
    user wants it to end."""

    interruption: Interruption
    advance: Callable[[float], None]


class EngineError(Exception):
    """An engine could not run the task at all; the text says why."""
