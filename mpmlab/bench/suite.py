"""A suite: the cases on which a simulation is fitted and validated, read and checked completely.

Reading only; carrying out is validate.py. Whatever is wrong is one error naming file, line, key and
what is accepted.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mpmlab.workload.scenario import shipped_scenarios
from mpmlab.workload.toml_table import Table, read_toml

TRAIN: Final = "train"
HELD_OUT: Final = "held-out"
ROLES: Final = (TRAIN, HELD_OUT)
DEFAULT_SUITE: Final = "reference"
_MOST_PER_S: Final = 1e6
_MOST_WORKERS: Final = 10_000
#: httpd's default of both: a process of a fixed pool has no more threads.
_THREADS: Final = 25


@dataclass(frozen=True)
class Case:
    """One scenario as it is to be run. `rate_per_s` None: the scenario's own; `pool` 0: the pool
    that the directives make, which may grow and shrink."""

    name: str
    scenario: str
    role: str
    rate_per_s: float | None
    pool: int
    duration_s: float | None


@dataclass(frozen=True)
class Suite:
    """All cases of a file."""

    name: str
    description: str
    cases: tuple[Case, ...]
    path: Path


def _suite_folder() -> Path:
    return Path(str(importlib.resources.files("mpmlab").joinpath("suites")))


def load_suite(name_or_path: str) -> Suite:
    """A shipped suite by its name, or any other by its path (ending in .toml). Raises
    ScenarioError."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = _suite_folder() / f"{name_or_path}.toml"
    table = read_toml(path)
    table.only(("name", "description", "case"))
    cases = tuple(_case(one) for one in table.tables("case"))
    for case, at in zip(cases, table.tables("case"), strict=True):
        if sum(case.name == other.name for other in cases) > 1:
            raise at.wrong("name", f"{case.name!r} is there twice; accepted: a name of its own")
    return Suite(table.text("name"), table.text("description", default=""), cases, path)


def _case(table: Table) -> Case:
    table.only(("name", "scenario", "role", "rate_per_s", "pool", "duration_s"))
    scenario = table.text("scenario")
    if not scenario.endswith(".toml") and scenario not in shipped_scenarios():
        raise table.wrong(
            "scenario", f"{scenario!r} is not shipped; accepted: {', '.join(shipped_scenarios())}, "
            "or the path of a .toml file"
        )  # fmt: skip
    rate = table.number("rate_per_s", 1e-3, _MOST_PER_S) if table.has("rate_per_s") else None
    pool = table.integer("pool", 1, _MOST_WORKERS) if table.has("pool") else 0
    if pool > _THREADS and pool % _THREADS:
        raise table.wrong(
            "pool", f"is {pool}; accepted: up to {_THREADS}, or a multiple of {_THREADS}, so that "
            "processes of worker and event have the same number of threads"
        )  # fmt: skip
    duration = table.number("duration_s", 1, 3600) if table.has("duration_s") else None
    return Case(table.text("name"), scenario, table.choice("role", ROLES), rate, pool, duration)


def pool_directives(mpm: str, workers: int) -> tuple[tuple[str, str], ...]:
    """Directives of a pool that has so many workers from the start and keeps them; none for 0."""
    if not workers:
        return ()
    if mpm == "prefork":
        names = ("StartServers", "MinSpareServers", "MaxSpareServers", "ServerLimit",
                 "MaxRequestWorkers")  # fmt: skip
        return tuple((name, str(workers)) for name in names)
    threads = min(workers, _THREADS)
    processes = workers // threads
    numbers = {
        "ServerLimit": processes,
        "StartServers": processes,
        "ThreadsPerChild": threads,
        "MaxRequestWorkers": workers,
        "MinSpareThreads": workers,
        "MaxSpareThreads": workers + threads,
    }
    return tuple((name, str(number)) for name, number in numbers.items())
