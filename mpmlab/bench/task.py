"""What an engine is asked to run, and how it is watched while it does. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mpmlab.bench.interruption import Interruption
from mpmlab.core.settings import Settings
from mpmlab.workload.plan import Plan

#: How often the scoreboard is read. A read costs some 50 us of this process.
SAMPLE_INTERVAL_S: Final = 0.05
#: How long the pool may take to come up before the load begins.
POOL_DEADLINE_S: Final = 10.0


@dataclass(frozen=True)
class Task:
    """One MPM under one plan. `directives` are those given; `settings` what they come to."""

    mpm: str
    directives: tuple[tuple[str, str], ...]
    settings: Settings
    plan: Plan
    #: How long a client waits for an answer.
    timeout_s: float
    #: How many load processes share the plan in the real world.
    clients: int = 1
    #: How real clients are on their links: network.NETWORKS.
    network: str = "pacing"

    @property
    def duration_s(self) -> float:
        """Length of the plan."""
        return self.plan.duration_us / 1e6

    @property
    def start_workers(self) -> int:
        """How many workers StartServers children have: when they are up, the load may begin."""
        return self.settings.start_servers * self.settings.threads_per_child

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
