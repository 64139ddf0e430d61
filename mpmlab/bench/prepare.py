"""From what the user typed to tasks: scenario, plan, settings of each MPM. Checks everything first,
so that a typing error costs no run.

No engine is started here and nothing is printed.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from mpmlab import __version__
from mpmlab.bench.experiment import Experiment
from mpmlab.bench.task import Task
from mpmlab.core.directives import effective
from mpmlab.core.settings import Message
from mpmlab.mpms.catalog import CATALOG, default_mpm
from mpmlab.real.machine import fingerprint
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import Scenario, load_scenario

ENGINES: Final = ("real", "sim")
DEFAULT_SCENARIO: Final = "default"
_DEPENDENCIES: Final = ("simpy", "h11", "numpy")


class RequestError(ValueError):
    """What the user asked for makes no sense; the text says what is accepted."""


@dataclass(frozen=True)
class Bench:
    """Everything that a `mpmlab bench` is to do."""

    scenario: Scenario
    scenario_text: str
    plan: Plan
    tasks: tuple[Task, ...]
    engines: tuple[str, ...]


def prepare(
    mpms: str | None,
    scenario: str,
    duration_s: float | None,
    seed: int,
    sets: Sequence[str],
    engines: str,
    timeout_s: float,
) -> Bench:
    """Read and check it all. Raises RequestError, DirectiveError, WorkloadError or OSError."""
    names = chosen_mpms(mpms)
    chosen_engines = tuple(_listed(engines, ENGINES, "engine"))
    read = load_scenario(scenario)
    pairs = tuple(_pair(text) for text in sets)
    plan = compile_plan(read, seed, duration_s)
    tasks = []
    for name in names:
        given = (*((line.name, line.text) for line in read.directives), *pairs)
        # Twice: first the file's alone, so that an error in it names the file.
        if read.directives:
            effective(name, given[: len(read.directives)], str(read.path))
        tasks.append(Task(name, given, effective(name, given, "--set"), plan, timeout_s))
    text = read.path.read_text(encoding="utf-8")
    return Bench(read, text, plan, tuple(tasks), chosen_engines)


def chosen_mpms(text: str | None) -> tuple[str, ...]:
    """The MPMs of a comma-separated list, "all", or None for the platform's default."""
    if text is None:
        name = default_mpm(platform.system())
        if name not in CATALOG:
            raise RequestError(
                f"httpd's default MPM on {platform.system()} is {name}, which mpmlab does not have "
                f"yet; choose with --mpm: {', '.join(CATALOG)}"
            )
        return (name,)
    if text == "all":
        return tuple(CATALOG)
    return tuple(_listed(text, CATALOG, "MPM", "all"))


def _listed(text: str, known: Iterable[str], what: str, *more: str) -> list[str]:
    """The names of a comma-separated list, each once, in the order given."""
    names = [name.strip() for name in text.split(",")]
    accepted = list(known)
    for name in names:
        if name not in accepted:
            raise RequestError(
                f"unknown {what} {name!r}; accepted: {', '.join([*accepted, *more])}, or several "
                "with commas between them"
            )
    return list(dict.fromkeys(names))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise RequestError(f"--set {text!r}; accepted: Name=Value, for example ThreadsPerChild=8")
    return name.strip(), value.strip()


def experiment_of(bench: Bench, task: Task, platform_text: str) -> Experiment:
    """The record of what is being asked, now and on this machine."""
    return Experiment(
        mpm=task.mpm,
        scenario=bench.scenario.name,
        scenario_text=bench.scenario_text,
        seed=bench.plan.seed,
        plan_hash=bench.plan.hash,
        plan_text=bench.plan.describe(),
        duration_s=task.duration_s,
        warmup_s=task.warmup_s,
        timeout_s=task.timeout_s,
        directives_given=task.directives,
        directives_effective=tuple(
            (name, _httpd_text(value)) for name, value in task.settings.as_directives().items()
        ),
        messages=tuple(message_text(message) for message in task.settings.messages),
        machine={name: str(value) for name, value in fingerprint().items()},
        versions=versions(),
        platform=platform_text,
        command=tuple(sys.argv),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def message_text(message: Message) -> str:
    """A line of the error log, without its time."""
    return " ".join(filter(None, (f"[{message.level}]", message.ident, message.text)))


def _httpd_text(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return "On" if value else "Off"
    return str(value)


def versions() -> dict[str, str]:
    """Of Python, of mpmlab, and of the packages whose behaviour the numbers rest on."""
    found = {"python": platform.python_version(), "mpmlab": __version__}
    for name in _DEPENDENCIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
