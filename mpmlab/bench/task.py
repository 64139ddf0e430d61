"""What an engine is asked to run, and how it is watched while it does. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mpmlab.bench.interruption import Interruption
from mpmlab.core.settings import Settings
from mpmlab.workload.plan import Plan


@dataclass(frozen=True)
class Task:
    """One MPM under one plan. `directives` are those given; `settings` what they come to."""

    mpm: str
    directives: tuple[tuple[str, str], ...]
    settings: Settings
    plan: Plan
    #: How long a client waits for an answer.
    timeout_s: float

    @property
    def duration_s(self) -> float:
        """Length of the plan."""
        return self.plan.duration_us / 1e6

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
