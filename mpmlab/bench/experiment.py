"""What was asked: the part of an experiment that all its engines share.

Values only, and how they go to and from JSON. What an engine made of it is run.py.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """One MPM under one plan. Enough, with the platform profile, to run it again."""

    mpm: str
    scenario: str
    #: The scenario's file, word for word.
    scenario_text: str
    seed: int
    plan_hash: str
    #: The plan in one paragraph (Plan.describe).
    plan_text: str
    duration_s: float
    #: Requests planned from here to duration_s are the measured ones.
    warmup_s: float
    #: How long a client waits for an answer.
    timeout_s: float
    #: Requests per second of the measured clients that were asked for instead of the scenario's own
    #: (--rate, a search); None: the scenario's.
    rate_per_s: float | None
    #: Load processes that shared the plan in the real world, and how its clients' links were made.
    clients: int
    network: str
    #: Where the server is, if it is not ours (--url); None otherwise.
    url: str | None
    #: How much is asked of a run (gates_verdict.Strictness), and the objectives, as written.
    strictness: str
    slo: str
    #: Which repetition this is, from 1, and of how many.
    repetition: int
    repetitions: int
    #: Directives as given (scenario first, then the command line), and as they took effect.
    directives_given: tuple[tuple[str, str], ...]
    directives_effective: tuple[tuple[str, str], ...]
    #: What httpd would have printed about them.
    messages: tuple[str, ...]
    #: Facts of this machine, by name.
    machine: dict[str, str]
    #: Versions of Python, mpmlab and what it stands on.
    versions: dict[str, str]
    #: The platform profile that the simulation was given: name, and a hash of its values.
    platform: str
    #: The command line.
    command: tuple[str, ...]
    #: UTC, ISO 8601.
    created: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(document: dict[str, Any]) -> Experiment:
        """What to_dict wrote. KeyError or TypeError name what is wrong."""
        values = {name.name: document[name.name] for name in dataclasses.fields(Experiment)}
        for name in ("directives_given", "directives_effective"):
            values[name] = tuple((str(key), str(value)) for key, value in values[name])
        for name in ("messages", "command"):
            values[name] = tuple(values[name])
        return Experiment(**values)
