"""A suite: the cases on which a simulation is fitted and validated, and the targets that it is held
to, read and checked completely.

Reading only; carrying out is validate.py, judging is targets.py. Whatever is wrong is one error
naming file, line, key and what is accepted.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mpmlab.bench.validation import ALL, BANDS, FIGURES, ORDERED
from mpmlab.workload.scenario import shipped_scenarios
from mpmlab.workload.toml_table import Table, read_toml

TRAIN: Final = "train"
HELD_OUT: Final = "held-out"
ROLES: Final = (TRAIN, HELD_OUT)
DEFAULT_SUITE: Final = "reference"
#: What a target may ask for, of which it must ask for one.
_ASKED: Final = ("median_percent", "inside_percent", "right_percent")
#: No error that is asked for is larger.
_MOST_PERCENT: Final = 1000.0
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
class Target:
    """What is asked of the held-out cases, of one figure (field of Summary), in the bands of
    utilisation named (none: everywhere). One of the three is asked for, the others are None."""

    figure: str
    bands: tuple[str, ...] = ()
    #: The median of absolute errors, and with it perhaps their 90th percentile: at most.
    median_percent: float | None = None
    p90_percent: float | None = None
    #: Cases whose measured value is inside the prediction band: at least.
    inside_percent: float | None = None
    #: Pairs of cases that are in the right order (ordering.py): at least. Of one of the figures of
    #: ORDERED, or of all of them together (ALL).
    right_percent: float | None = None


@dataclass(frozen=True)
class Suite:
    """All cases of a file, and its targets, if it has any."""

    name: str
    description: str
    cases: tuple[Case, ...]
    path: Path
    targets: tuple[Target, ...] = ()


def _suite_folder() -> Path:
    return Path(str(importlib.resources.files("mpmlab").joinpath("suites")))


def load_suite(name_or_path: str) -> Suite:
    """A shipped suite by its name, or any other by its path (ending in .toml). Raises
    ScenarioError."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = _suite_folder() / f"{name_or_path}.toml"
    table = read_toml(path)
    table.only(("name", "description", "case", "target"))
    cases = tuple(_case(one, path.parent) for one in table.tables("case"))
    for case, at in zip(cases, table.tables("case"), strict=True):
        if sum(case.name == other.name for other in cases) > 1:
            raise at.wrong("name", f"{case.name!r} is there twice; accepted: a name of its own")
    targets = tuple(map(_target, table.tables("target"))) if table.has("target") else ()
    return Suite(table.text("name"), table.text("description", default=""), cases, path, targets)


def _case(table: Table, folder: Path) -> Case:
    table.only(("name", "scenario", "role", "rate_per_s", "pool", "duration_s"))
    scenario = table.text("scenario")
    if not scenario.endswith(".toml") and scenario not in shipped_scenarios():
        raise table.wrong(
            "scenario", f"{scenario!r} is not shipped; accepted: {', '.join(shipped_scenarios())}, "
            "or the path of a .toml file"
        )  # fmt: skip
    if scenario.endswith(".toml"):
        scenario = str(folder / scenario)  # beside the suite, wherever we are called
    rate = table.number("rate_per_s", 1e-3, _MOST_PER_S) if table.has("rate_per_s") else None
    pool = table.integer("pool", 1, _MOST_WORKERS) if table.has("pool") else 0
    if pool > _THREADS and pool % _THREADS:
        raise table.wrong(
            "pool", f"is {pool}; accepted: up to {_THREADS}, or a multiple of {_THREADS}, so that "
            "processes of worker and event have the same number of threads"
        )  # fmt: skip
    duration = table.number("duration_s", 1, 3600) if table.has("duration_s") else None
    return Case(table.text("name"), scenario, table.choice("role", ROLES), rate, pool, duration)


def _target(table: Table) -> Target:
    table.only(("figure", "bands", *_ASKED, "p90_percent"))
    asked = [key for key in _ASKED if table.has(key)]
    if len(asked) != 1:
        raise table.wrong(
            asked[1] if asked else _ASKED[0], f"{' and '.join(asked) or 'nothing'} is asked for; "
            f"accepted: one of {', '.join(_ASKED)}"
        )  # fmt: skip
    (kind,) = asked
    if table.has("p90_percent") and kind != "median_percent":
        raise table.wrong("p90_percent", f"stands with {kind}; accepted: with median_percent")
    if kind == "right_percent":
        if table.has("bands"):
            raise table.wrong("bands", "a pair may be of two bands; accepted: none")
        figure = table.choice("figure", (*ORDERED, ALL), default=ALL)
        return Target(figure, right_percent=table.number(kind, 0, 100))
    figure, bands = table.choice("figure", FIGURES), _bands(table)
    if kind == "inside_percent":
        return Target(figure, bands, inside_percent=table.number(kind, 0, 100))
    median = table.number(kind, 0, _MOST_PERCENT, above=True)
    p90 = table.number("p90_percent", median, _MOST_PERCENT) if table.has("p90_percent") else None
    return Target(figure, bands, median, p90)


def _bands(table: Table) -> tuple[str, ...]:
    if not table.has("bands"):
        return ()
    accepted = "a list of " + ", ".join(f'"{band}"' for band in BANDS) + ", each once"
    value = table.value("bands", accepted)
    known = isinstance(value, list) and value and all(one in BANDS for one in value)
    if not known or len(set(value)) < len(value):
        raise table.wrong("bands", f"is {value!r}; accepted: {accepted}")
    return tuple(value)


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
