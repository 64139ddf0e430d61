"""Scenarios: what a TOML file says about load and server, read and validated completely.

The file as a whole and its groups; the tables in it are arrivals_table.py, client_table.py and
class_table.py, drawing numbers is compile.py. Whatever is wrong is one ScenarioError naming file,
line, key and what is accepted.
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mpmlab.workload.arrivals_table import Arrivals, read_arrivals
from mpmlab.workload.class_table import check_classes, read_class, read_names
from mpmlab.workload.classes import RequestClass
from mpmlab.workload.client_table import read_client
from mpmlab.workload.clients import Group
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.limits import MAX_DURATION_S, to_us
from mpmlab.workload.toml_table import Table, read_toml

#: The group of the top-level [arrivals].
MAIN: Final = "main"
#: More kinds of clients than anybody names.
MAX_GROUPS: Final = 1_000
#: It is a part of the names of random streams, which "/" separates.
_GROUP_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")


@dataclass(frozen=True)
class GroupLoad:
    """One group of clients: who they are, when they come, and what they ask for."""

    group: Group
    arrivals: Arrivals
    #: Indices into the scenario's classes.
    classes: tuple[int, ...]

    @property
    def stream_prefix(self) -> str:
        """What the names of its random streams begin with: nothing for the main group, so that
        another group added to a scenario moves none of its numbers."""
        return "" if self.group.name == MAIN else f"group/{self.group.name}/"


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
    groups: tuple[GroupLoad, ...]
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
    load = ("arrivals", "client", "classes", "group", "class")
    table.only(("name", "description", "duration_s", "warmup_s", *load, "directives"))
    duration_us = to_us(table.number("duration_s", 1e-3, MAX_DURATION_S))
    warmup_us = to_us(table.number("warmup_s", 0, MAX_DURATION_S, default=0))
    if warmup_us >= duration_us:
        raise table.wrong(
            "warmup_s", f"is {warmup_us / 1e6:g}; accepted: less than duration_s "
            f"({duration_us / 1e6:g})"
        )  # fmt: skip
    name = table.text("name")
    class_tables = table.tables("class")
    names = read_names(class_tables)
    groups = _read_groups(table, names)
    return Scenario(
        name=name,
        description=table.text("description", default=""),
        duration_us=duration_us,
        warmup_us=warmup_us,
        groups=groups,
        classes=_read_classes(class_tables, groups),
        directives=_read_directives(table.table("directives", optional=True)),
        path=table.file,
    )


def _read_groups(table: Table, class_names: list[str]) -> tuple[GroupLoad, ...]:
    """The top-level [arrivals] with [client] and `classes` is one group; each [[group]] another."""
    groups = []
    if table.has("arrivals") or not table.has("group"):
        arrivals_table = table.table("arrivals")
        arrivals = read_arrivals(arrivals_table)
        client = read_client(arrivals_table, arrivals, table.table("client", optional=True))
        chosen = _chosen(table, class_names)
        groups.append(GroupLoad(Group(MAIN, True, client), arrivals, chosen))
    for key in ("client", "classes"):
        if table.has(key) and not groups:
            raise table.wrong(
                key, f"belongs to [arrivals], which is missing; accepted: {key} of a [[group]]"
            )
    tables = table.tables("group") if table.has("group") else []
    if len(tables) > MAX_GROUPS:
        raise table.wrong("group", f"there are {len(tables)}; accepted: at most {MAX_GROUPS}")
    names = {MAIN}
    for one in tables:
        groups.append(_read_group(one, class_names))
        name = groups[-1].group.name
        if name in names:
            raise one.wrong("name", f"{name!r} is taken; accepted: a name of its own")
        names.add(name)
    if not any(one.group.measured for one in groups):
        raise tables[0].wrong("measured", "every group has false; accepted: true in at least one")
    return tuple(groups)


def _read_group(table: Table, class_names: list[str]) -> GroupLoad:
    table.only(("name", "measured", "classes", "arrivals", "client"))
    name = table.text("name")
    if not _GROUP_NAME.match(name):
        raise table.wrong("name", f"is {name!r}; accepted: letters, digits, '-', '_' and '.'")
    arrivals_table = table.table("arrivals")
    arrivals = read_arrivals(arrivals_table)
    client = read_client(arrivals_table, arrivals, table.table("client", optional=True))
    measured = table.boolean("measured", default=True)
    return GroupLoad(Group(name, measured, client), arrivals, _chosen(table, class_names))


def _chosen(table: Table, class_names: list[str]) -> tuple[int, ...]:
    """The classes of a group: those it lists, in the scenario's order, or all."""
    accepted = f"a list of names of classes: {', '.join(class_names)}"
    listed = table.value("classes", accepted, class_names)
    if not isinstance(listed, list) or not listed:
        raise table.wrong("classes", f"is {listed!r}; accepted: {accepted}")
    for one in listed:
        if one not in class_names:
            raise table.wrong("classes", f"holds {one!r}; accepted: {accepted}")
    return tuple(i for i, name in enumerate(class_names) if name in listed)


def _read_classes(tables: list[Table], groups: tuple[GroupLoad, ...]) -> tuple[RequestClass, ...]:
    """Every class as the groups that use it want it, and every group's classes together."""
    classes = []
    for i, table in enumerate(tables):
        users = [one for one in groups if i in one.classes]
        if not users:
            raise table.wrong("name", "no group uses this class; accepted: in `classes` of a group")
        wanted = {one.arrivals.recorded for one in users}
        if len(wanted) > 1:
            raise table.wrong(
                "name",
                f"is used by groups whose arrivals say different things of a request "
                f"({', '.join(one.group.name for one in users)}); accepted: classes of their own, "
                f"by `classes` of the groups",
            )
        classes.append(read_class(table, wanted.pop()))
    for one in groups:
        used = [(tables[i], classes[i]) for i in one.classes]
        check_classes(used, recorded=one.arrivals.recorded is not None)
    return tuple(classes)


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
