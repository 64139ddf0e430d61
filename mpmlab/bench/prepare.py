"""From what the user typed to tasks: scenario, plan, settings of each MPM. Checks everything first,
so that a typing error costs no run.

No engine is started here and nothing is printed.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from mpmlab import __version__
from mpmlab.bench.errors import RequestError as RequestError  # for those who prepare
from mpmlab.bench.experiment import Experiment
from mpmlab.bench.gates import Strictness
from mpmlab.bench.network import NAMESPACE, NETWORKS, shared_link
from mpmlab.bench.own_mpm import mpm_of
from mpmlab.bench.slo import Objective, parse
from mpmlab.bench.task import EngineError, Task
from mpmlab.bench.url import Url, read_url
from mpmlab.core.directive_table import CURRENT, older_defaults
from mpmlab.core.directives import effective, mpms_with
from mpmlab.core.httpd_conf import ConfLine, ConfReading
from mpmlab.core.settings import MPMS, UNIX_MPMS, Message
from mpmlab.httpd.configuration import check_modules
from mpmlab.httpd.program import Program, find_httpd, find_luaposix
from mpmlab.mpms.catalog import CATALOG, default_mpm, find_mpm
from mpmlab.real.machine import fingerprint
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.conf_files import read_httpd_conf
from mpmlab.workload.plan import Plan
from mpmlab.workload.scale import scaled
from mpmlab.workload.scenario import Scenario, load_scenario

ENGINES: Final = ("httpd", "real", "sim")
#: Those that a simulation can be held against.
REFERENTS: Final = ("real", "httpd")
#: The engine of --url.
EXTERNAL: Final = "external"
DEFAULT_ENGINES: Final = "real,sim"
DEFAULT_SCENARIO: Final = "default"
#: The percentiles that a run is asked for when no objective names one.
DEFAULT_QUANTILES: Final = (0.99,)
#: Repetitions of what is to be published (measurement rules, G23).
PUBLISH_REPETITIONS: Final = 10
_DEPENDENCIES: Final = ("simpy", "h11", "numpy")

#: Directives and their text, in the order given.
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bench:
    """Everything that a `mpmlab bench` is to do."""

    scenario: Scenario
    scenario_text: str
    plan: Plan
    tasks: tuple[Task, ...]
    engines: tuple[str, ...]
    strictness: Strictness
    objectives: tuple[Objective, ...]
    repetitions: int
    #: The rate that was asked for instead of the scenario's own; None: the scenario's.
    rate_per_s: float | None = None
    #: Lines of the user's httpd.conf that do not matter here.
    ignored: tuple[ConfLine, ...] = ()
    #: Directives that were given for several MPMs and that one of them does not have, in words.
    left_out: tuple[str, ...] = ()
    #: Name or path of the profile to simulate on; None: this machine's.
    platform: str | None = None

    def at_rate(self, rate_per_s: float) -> Bench:
        """The same with the measured clients at about that rate: as much faster or slower as it is
        of what the plan offers now. Raises ScenarioError if the rate is not ours to choose, and
        RequestError if there is none."""
        offered = self.plan.offered_rate
        if offered == 0:
            raise RequestError(
                f"{self.scenario.path}: there is no rate to change, since no request of the "
                "measured clients falls between warm-up and end; accepted: a longer --duration"
            )
        # Without an offered rate a measured group is closed, which scaled() refuses.
        scenario = scaled(self.scenario, rate_per_s / offered if offered else 1.0)
        plan = compile_plan(scenario, self.plan.seed, self.plan.duration_us / 1e6)
        tasks = tuple(replace(task, plan=plan) for task in self.tasks)
        return replace(self, scenario=scenario, plan=plan, tasks=tasks, rate_per_s=rate_per_s)

    def with_engine(self, engine: str) -> Bench:
        """The same on one engine only."""
        return replace(self, engines=(engine,))

    def quantiles(self) -> tuple[float, ...]:
        """The percentiles that are asked of a run: the objectives', or p99."""
        asked = (objective.quantile for objective in self.objectives)
        return tuple(dict.fromkeys(p for p in asked if p is not None)) or DEFAULT_QUANTILES


@dataclass(frozen=True)
class Asked:
    """What the user typed, not yet checked."""

    mpms: str | None
    scenario: str
    duration_s: float | None
    seed: int
    sets: Sequence[str]
    engines: str | None
    timeout_s: float
    rate_per_s: float | None = None
    clients: int = 1
    network: str = NETWORKS[0]
    slo: str | None = None
    repetitions: int | None = None
    publish: bool = False
    #: Files of httpd's configuration; the program; a server that runs already.
    httpd_conf: str | None = None
    httpd: str | None = None
    url: str | None = None
    access_log: bool = False
    #: Name or path of a profile to simulate on, in the place of this machine's.
    platform: str | None = None
    #: Whose defaults: directive_table.VERSIONS.
    version: str = CURRENT


def prepare(asked: Asked) -> Bench:
    """Read and check it all. Raises RequestError, DirectiveError, SloError, WorkloadError or
    OSError."""
    url = None if asked.url is None else _url(asked)
    engines = _engines(asked) if url is None else (EXTERNAL,)
    names = chosen_mpms(asked.mpms, engines) if url is None else (url.label,)
    program = _httpd(asked, engines, names)
    repetitions = _repetitions(asked, engines)
    objectives = () if asked.slo is None else parse(asked.slo)
    read = load_scenario(asked.scenario)
    pairs = tuple(read_pair(text) for text in asked.sets)
    plan = compile_plan(read, asked.seed, asked.duration_s)
    if asked.network == NAMESPACE:
        _one_link(plan)
    if asked.access_log and not {"httpd", EXTERNAL} & set(engines):
        raise RequestError("--access-log: accepted only with --engine httpd or --url")
    plain = Task(
        "", (), None, plan, asked.timeout_s, asked.clients, asked.network, program, url,
        tagged=asked.access_log,
    )  # fmt: skip
    configured = [_configured(plain, name, read, asked, pairs, names) for name in names]
    tasks, ignored, left_out = zip(*configured, strict=True)
    bench = Bench(
        scenario=read,
        scenario_text=read.path.read_text(encoding="utf-8"),
        plan=plan,
        tasks=tasks,
        engines=engines,
        strictness=Strictness.PUBLISH if asked.publish else Strictness.DEFAULT,
        objectives=objectives,
        repetitions=repetitions,
        platform=asked.platform,
        ignored=tuple(dict.fromkeys(line for lines in ignored for line in lines)),
        left_out=tuple(text for texts in left_out for text in texts),
    )
    return bench if asked.rate_per_s is None else bench.at_rate(asked.rate_per_s)


def _engines(asked: Asked) -> tuple[str, ...]:
    """Those that were asked for; on another platform there is only the simulation."""
    if asked.platform is None:
        return tuple(_listed(asked.engines or DEFAULT_ENGINES, ENGINES, "engine"))
    engines = tuple(_listed(asked.engines or "sim", ENGINES, "engine"))
    if engines != ("sim",):
        raise RequestError(
            f"--platform {asked.platform} with --engine {asked.engines}: only a simulation can be "
            "on another platform; accepted: --engine sim"
        )
    return engines


def _configured(
    task: Task,
    name: str,
    read: Scenario,
    asked: Asked,
    pairs: Pairs,
    names: Sequence[str],
) -> tuple[Task, tuple[ConfLine, ...], tuple[str, ...]]:
    """The task with its directives: of the user's httpd.conf, of the scenario and of --set, later
    ones over earlier ones; which lines of the first are ignored, and what this MPM does not have of
    the others."""
    if task.url is not None:
        return replace(task, mpm=name), (), ()
    module = mpm_of(name)
    mpm = module.settings_name
    own = tuple((line.name, line.text) for line in read.directives)
    found = read_httpd_conf(asked.httpd_conf, mpm) if asked.httpd_conf else ConfReading((), ())
    conf = ((line.name, line.value) for line in found.directives)
    # A scenario is for whatever MPM; --set is for those that were asked for, unless that is all.
    given, left_out = _having(mpm, own, MPMS)
    if asked.mpms == "all":
        pairs, more = _having(mpm, pairs, names)
        left_out += more
    # The scenario's alone, so that an error in it names the file; the other file's are checked.
    effective(mpm, given, str(read.path))
    # A user's own server overrules what a scenario suggests.
    given = (*older_defaults(mpm, asked.version), *given, *conf, *pairs)
    settings = effective(mpm, given, "--set")
    task = replace(task, mpm=module.name, directives=given, settings=settings)
    if name != module.name:
        task = replace(task, module=name)
    return task, found.ignored, left_out


def _having(mpm: str, pairs: Pairs, others: Sequence[str]) -> tuple[Pairs, tuple[str, ...]]:
    """The directives without those that this MPM lacks and one of the others has; and these, in
    words. Those that nobody has stay, so that they are refused."""
    lacking = {
        name
        for name, _ in pairs
        if mpm not in mpms_with(name) and set(mpms_with(name)) & set(others)
    }
    texts = [f"{mpm} has no {name}: left out" for name in dict(pairs) if name in lacking]
    return tuple(pair for pair in pairs if pair[0] not in lacking), tuple(texts)


def _url(asked: Asked) -> Url:
    """Where the server is. What would configure one of ours is refused."""
    ours = {
        "--mpm": asked.mpms, "--engine": asked.engines, "--set": asked.sets,
        "--httpd": asked.httpd, "--httpd-conf": asked.httpd_conf, "--platform": asked.platform,
    }  # fmt: skip
    for option, value in ours.items():
        if value:
            raise RequestError(
                f"{option} with --url: the server there is configured by whoever runs it; accepted "
                "with --url: what is about the load"
            )
    if asked.network == NAMESPACE:
        raise RequestError("--network namespace with --url: the server is in another namespace")
    try:
        return read_url(asked.url or "")
    except ValueError as error:
        raise RequestError(str(error)) from None


def _httpd(asked: Asked, engines: Sequence[str], names: Sequence[str]) -> Program | None:
    """The program of the httpd engine, if that is asked for. Raises HttpdMissingError."""
    if "httpd" not in engines:
        if asked.httpd:
            raise RequestError(
                "--httpd: the httpd engine is not asked for; accepted: with --engine"
            )
        return None
    program = find_httpd(asked.httpd)
    find_luaposix()
    for name in names:
        check_modules(program, name)
    return program


def _one_link(plan: Plan) -> None:
    try:
        shared_link(plan)
    except EngineError as error:
        raise RequestError(str(error)) from error


def _repetitions(asked: Asked, engines: Sequence[str]) -> int:
    if tuple(engines) == ("sim",):
        if (asked.repetitions or 1) > 1:
            raise RequestError(
                f"--repeat {asked.repetitions}: a simulation that is repeated is the same to the "
                "last bit; accepted: an --engine beside sim, or one run for each --seed"
            )
        return 1
    if asked.publish:
        if asked.repetitions is not None and asked.repetitions < PUBLISH_REPETITIONS:
            raise RequestError(
                f"--repeat {asked.repetitions}: what is to be published (--publish) takes at least "
                f"{PUBLISH_REPETITIONS} repetitions"
            )
        return asked.repetitions or PUBLISH_REPETITIONS
    return asked.repetitions or 1


def chosen_mpms(text: str | None, engines: Sequence[str] = ()) -> tuple[str, ...]:
    """The MPMs of a comma-separated list, each by any of its names or the user's own as
    module:name; "all", which with Apache httpd among the engines is all that it has on Unix; or
    None for the platform's default."""
    here = UNIX_MPMS if "httpd" in engines else tuple(CATALOG)
    if text is None:
        return (default_mpm(platform.system()),)
    if text == "all":
        return here
    names = [_called(name.strip(), here) for name in text.split(",")]
    return tuple(dict.fromkeys(names))


def _called(name: str, here: Sequence[str]) -> str:
    """An MPM as we call it: by its name in the catalog, or module:name if it is the user's."""
    if ":" not in name:
        found = find_mpm(name)
        return _listed(name if found is None else found.name, here, "MPM", "all")[0]
    if tuple(here) == UNIX_MPMS:
        raise RequestError(f"--mpm {name}: httpd has none of yours; accepted: {', '.join(here)}")
    mpm_of(name)
    return name


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


def read_pair(text: str) -> tuple[str, str]:
    """The directive and its text of a --set. Raises RequestError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise RequestError(f"--set {text!r}; accepted: Name=Value, for example ThreadsPerChild=8")
    return name.strip(), value.strip()


def experiment_of(bench: Bench, task: Task, platform_text: str, repetition: int = 1) -> Experiment:
    """The record of what is being asked, now and on this machine."""
    settings = task.settings
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
        rate_per_s=bench.rate_per_s,
        clients=task.clients,
        network=task.network,
        url=None if task.url is None else task.url.text,
        strictness=bench.strictness.value,
        slo=",".join(objective.text for objective in bench.objectives),
        repetition=repetition,
        repetitions=bench.repetitions,
        directives_given=task.directives,
        directives_effective=()
        if settings is None
        else tuple((name, _httpd_text(value)) for name, value in settings.as_directives().items()),
        messages=() if settings is None else tuple(map(message_text, settings.messages)),
        machine={name: str(value) for name, value in fingerprint().items()},
        versions=versions(),
        platform=platform_text,
        command=tuple(sys.argv),
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
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
