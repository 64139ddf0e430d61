"""Scenarios: what a TOML file says about load and server, read and validated completely.

Meaning and validation only; drawing numbers is compile.py. Whatever is wrong is one ScenarioError
naming file, line, key and what is accepted.
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mpmlab.core.demand import MAX_RESPONSE_BYTES, MAX_US
from mpmlab.workload.accesslog import parse_time
from mpmlab.workload.dist_table import read_distribution
from mpmlab.workload.distributions import Distribution
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.toml_table import Table, read_toml

#: One week; longer runs are a typing error.
MAX_DURATION_S: Final = 7 * 86_400
MAX_RATE_PER_S: Final = 1_000_000
MAX_USERS: Final = 1_000_000
MAX_LISTED: Final = 1_000_000
MAX_THINK_S: Final = 86_400
MAX_SPEEDUP: Final = 1_000_000
#: As many as Plan.klass (int16) can number.
MAX_CLASSES: Final = 32_767
#: A browser's habit of 1995 to today: connections idle for 15 s are given up (httpd's
#: KeepAliveTimeout had this default up to 2.0).
DEFAULT_SESSION_GAP_S: Final = 15

_DEMANDS: Final = {
    "cpu_us": MAX_US,
    "wait_us": MAX_US,
    "request_bytes": MAX_RESPONSE_BYTES,
    "response_bytes": MAX_RESPONSE_BYTES,
}


@dataclass(frozen=True)
class OpenArrivals:
    """Requests that come by themselves, each a session of its own: Poisson or evenly spaced."""

    kind: str
    rate_per_s: float
    keep_alive: bool


@dataclass(frozen=True)
class ClosedArrivals:
    """`users` who each send, await, think, and send again, cycling through `requests_listed`. They
    begin thinking, spread evenly over `ramp_s`."""

    users: int
    requests_listed: int
    think_s: Distribution
    ramp_s: float
    keep_alive: bool


@dataclass(frozen=True)
class SessionArrivals:
    """Clients that come as a Poisson stream, send some requests with thinks between, and leave."""

    rate_per_s: float
    requests_per_session: Distribution
    think_s: Distribution
    keep_alive: bool


@dataclass(frozen=True)
class LogArrivals:
    """An access log sent again, `speedup` times faster, from `start` (included) to `end` (not).
    Those are seconds after the log's first request, or times; a time without a zone is read on
    the log's own clock. Requests of one host less than `session_gap_s` (of the log's time) apart
    are one session."""

    file: Path
    speedup: float
    start: float | datetime | None
    end: float | datetime | None
    session_gap_s: float
    keep_alive: bool


Arrivals = OpenArrivals | ClosedArrivals | SessionArrivals | LogArrivals


@dataclass(frozen=True)
class RequestClass:
    """One kind of request: how often (`weight`, or for logs the paths that `match`) and how much.
    `response_bytes` is None where the log says it."""

    name: str
    weight: float
    match: re.Pattern[str] | None
    cpu_us: Distribution
    wait_us: Distribution
    request_bytes: Distribution
    response_bytes: Distribution | None


@dataclass(frozen=True)
class Directive:
    """A line of [directives], not yet validated: TOML's true and false are On and Off."""

    name: str
    text: str
    line: int


@dataclass(frozen=True)
class Scenario:
    """A validated scenario file."""

    name: str
    description: str
    duration_us: int
    warmup_us: int
    arrivals: Arrivals
    classes: tuple[RequestClass, ...]
    directives: tuple[Directive, ...]
    path: Path


def _scenario_folder() -> Path:
    return Path(str(importlib.resources.files("mpmlab").joinpath("scenarios")))


def shipped_scenarios() -> list[str]:
    """The names of the scenarios that come with mpmlab, sorted."""
    return sorted(path.stem for path in _scenario_folder().glob("*.toml"))


def load_scenario(name_or_path: str | os.PathLike[str]) -> Scenario:
    """Read a shipped scenario by its name, or any other by its path (anything with a folder, or
    ending in .toml). Raises ScenarioError."""
    text = os.fspath(name_or_path)
    path = Path(text)
    if path.suffix != ".toml" and path.name == text and not isinstance(name_or_path, Path):
        shipped = shipped_scenarios()
        if text not in shipped:
            near = difflib.get_close_matches(text, shipped, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ScenarioError(
                f"no scenario is called {text!r}; {hint}shipped: {', '.join(shipped)}; "
                f"or give the path of a .toml file"
            )
        path = _scenario_folder() / f"{text}.toml"
    return read_scenario(read_toml(path))


def read_scenario(table: Table) -> Scenario:
    """Validate a file's top table. Raises ScenarioError."""
    table.only(("name", "description", "duration_s", "warmup_s", "arrivals", "class", "directives"))
    duration_us = to_us(table.number("duration_s", 1e-3, MAX_DURATION_S))
    warmup_us = to_us(table.number("warmup_s", 0, MAX_DURATION_S, default=0))
    if warmup_us >= duration_us:
        raise table.wrong(
            "warmup_s", f"is {warmup_us / 1e6:g}; accepted: less than duration_s "
            f"({duration_us / 1e6:g})"
        )  # fmt: skip
    arrivals = _read_arrivals(table.table("arrivals"))
    return Scenario(
        name=table.text("name"),
        description=table.text("description", default=""),
        duration_us=duration_us,
        warmup_us=warmup_us,
        arrivals=arrivals,
        classes=_read_classes(table.tables("class"), isinstance(arrivals, LogArrivals)),
        directives=_read_directives(table.table("directives", optional=True)),
        path=table.file,
    )


def to_us(seconds: float) -> int:
    """Seconds to whole microseconds."""
    return round(seconds * 1e6)


def _read_arrivals(table: Table) -> Arrivals:
    return _ARRIVALS[table.choice("kind", _ARRIVALS)](table)


def _open(table: Table) -> OpenArrivals:
    table.only(("kind", "rate_per_s", "keep_alive"))
    return OpenArrivals(
        kind=table.text("kind"),
        rate_per_s=table.number("rate_per_s", 0, MAX_RATE_PER_S, above=True),
        keep_alive=table.boolean("keep_alive", default=False),
    )


def _closed(table: Table) -> ClosedArrivals:
    table.only(("kind", "users", "requests_listed", "think_s", "ramp_s", "keep_alive"))
    return ClosedArrivals(
        users=table.integer("users", 1, MAX_USERS),
        requests_listed=table.integer("requests_listed", 1, MAX_LISTED, default=200),
        think_s=read_distribution(table, "think_s", 0, MAX_THINK_S, default=0),
        ramp_s=table.number("ramp_s", 0, MAX_DURATION_S, default=0),
        keep_alive=table.boolean("keep_alive", default=True),
    )


def _sessions(table: Table) -> SessionArrivals:
    table.only(("kind", "rate_per_s", "requests_per_session", "think_s", "keep_alive"))
    return SessionArrivals(
        rate_per_s=table.number("rate_per_s", 0, MAX_RATE_PER_S, above=True),
        requests_per_session=read_distribution(table, "requests_per_session", 1, MAX_LISTED),
        think_s=read_distribution(table, "think_s", 0, MAX_THINK_S, default=0),
        keep_alive=table.boolean("keep_alive", default=True),
    )


def _log(table: Table) -> LogArrivals:
    table.only(("kind", "file", "speedup", "from", "to", "session_gap_s", "keep_alive"))
    file = table.file.parent / table.text("file")
    if not file.is_file():
        raise table.wrong("file", f"there is no file {file}; accepted: an access log, plain or .gz")
    return LogArrivals(
        file=file,
        speedup=table.number("speedup", 0, MAX_SPEEDUP, above=True, default=1),
        start=_read_instant(table, "from"),
        end=_read_instant(table, "to"),
        session_gap_s=table.number(
            "session_gap_s", 0, MAX_DURATION_S, default=DEFAULT_SESSION_GAP_S
        ),
        keep_alive=table.boolean("keep_alive", default=True),
    )


_ARRIVALS: Final[dict[str, Callable[[Table], Arrivals]]] = {
    "poisson": _open,
    "constant": _open,
    "closed": _closed,
    "sessions": _sessions,
    "accesslog": _log,
}


def _read_instant(table: Table, key: str) -> float | datetime | None:
    """An offset in seconds, or a time as the log writes it, or in ISO 8601."""
    value: Any = table.value(key, "", None)
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, str):
        readers: tuple[Callable[[str], float | datetime], ...] = (
            float,
            datetime.fromisoformat,
            lambda text: datetime.fromtimestamp(parse_time(text)[0], UTC),
        )
        for reader in readers:
            try:
                value = reader(value)
            except (ValueError, IndexError, KeyError):
                continue
            break
    if isinstance(value, datetime):
        return value
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value < float("inf"):
        raise table.wrong(
            key,
            f"is {value!r}; accepted: seconds after the log's first request, "
            f'"01/Jul/1995:00:00:01 -0400", "1995-07-01T00:00:01-04:00"',
        )
    return float(value)


def _read_classes(tables: list[Table], of_log: bool) -> tuple[RequestClass, ...]:
    if len(tables) > MAX_CLASSES:
        raise tables[-1].wrong("name", f"too many classes; accepted: at most {MAX_CLASSES}")
    classes = [_read_class(table, of_log) for table in tables]
    names: set[str] = set()
    for i, (table, one) in enumerate(zip(tables, classes, strict=True)):
        if one.name in names:
            raise table.wrong("name", f"{one.name!r} is there twice; accepted: a name of its own")
        names.add(one.name)
        last = i == len(tables) - 1
        if of_log and (one.match is None) != last:
            problem = "accepted only without it in the last class, which takes all other paths"
            raise table.wrong("match", problem if last else f"missing; {problem}")
    if not sum(one.weight for one in classes):
        raise tables[0].wrong("weight", "every weight is 0; accepted: at least one above 0")
    return tuple(classes)


def _read_class(table: Table, of_log: bool) -> RequestClass:
    own = ("match",) if of_log else ("weight", "response_bytes")
    if of_log and table.has("response_bytes"):
        raise table.wrong("response_bytes", "not accepted here: the access log says the size")
    table.only(("name", "cpu_us", "wait_us", "request_bytes", *own))
    demands = {
        key: read_distribution(table, key, 0, limit, default=0) for key, limit in _DEMANDS.items()
    }
    match = None
    if table.has("match"):
        try:
            match = re.compile(table.text("match"))
        except re.error as error:
            raise table.wrong("match", f"{error}; accepted: a Python regular expression") from error
    return RequestClass(
        name=table.text("name"),
        weight=table.number("weight", 0, 1e12, default=1),
        match=match,
        cpu_us=demands["cpu_us"],
        wait_us=demands["wait_us"],
        request_bytes=demands["request_bytes"],
        response_bytes=None if of_log else demands["response_bytes"],
    )


def _read_directives(table: Table) -> tuple[Directive, ...]:
    found = []
    for name, value in table.content.items():
        if isinstance(value, bool):
            text = "On" if value else "Off"
        elif isinstance(value, int | str):
            text = str(value)
        else:
            raise table.wrong(name, f"is {value!r}; accepted: a whole number, true, false, text")
        found.append(Directive(name, text, table.line(name)))
    return tuple(found)
