"""[[class]] as it is written in a scenario.

Reading and range checks only. What a recording says of its requests (sizes, waits) their classes
may not say, so what a class accepts depends on the groups that use it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from mpmlab.core.demand import MAX_RESPONSE_BYTES, MAX_US
from mpmlab.workload.arrivals_table import read_pattern
from mpmlab.workload.classes import RequestClass
from mpmlab.workload.dist_table import read_distribution
from mpmlab.workload.toml_table import Table

#: As many as Plan.klass (int16) can number.
MAX_CLASSES: Final = 32_767
MAX_WEIGHT: Final = 1e12

_DEMANDS: Final = {
    "cpu_us": MAX_US,
    "wait_us": MAX_US,
    "request_bytes": MAX_RESPONSE_BYTES,
    "response_bytes": MAX_RESPONSE_BYTES,
}

#: What a request for a file does not ask for.
_NOT_STATIC: Final = ("cpu_us", "wait_us", "request_bytes")


def read_names(tables: list[Table]) -> list[str]:
    """The names of the classes, each its own."""
    if len(tables) > MAX_CLASSES:
        raise tables[-1].wrong("name", f"too many classes; accepted: at most {MAX_CLASSES}")
    names: list[str] = []
    for table in tables:
        name = table.text("name")
        if name in names:
            raise table.wrong("name", f"{name!r} is there twice; accepted: a name of its own")
        names.append(name)
    return names


def read_class(table: Table, recorded: Collection[str] | None) -> RequestClass:
    """One class. `recorded`: what the recording says that it is for; None where it is drawn."""
    for key in recorded or ():
        if table.has(key):
            raise table.wrong(key, "not accepted here: the recording says it")
    own = "weight" if recorded is None else "match"
    wanted = {key: most for key, most in _DEMANDS.items() if key not in (recorded or ())}
    table.only(("name", own, "static", "crash", *wanted))
    static = table.boolean("static", default=False)
    crash = table.boolean("crash", default=False)
    if static and crash:
        raise table.wrong("crash", "a static file crashes nobody; accepted: one of the two")
    for key in _NOT_STATIC if static else ():
        if table.has(key) or key in (recorded or ()):
            raise table.wrong(
                "static",
                f"a static file has no {key}; accepted: static without {', '.join(_NOT_STATIC)}",
            )
    demands = {
        key: read_distribution(table, key, 0, most, default=0) for key, most in wanted.items()
    }
    return RequestClass(
        name=table.text("name"),
        weight=table.number("weight", 0, MAX_WEIGHT, default=1),
        match=read_pattern(table, "match") if table.has("match") else None,
        cpu_us=demands["cpu_us"],
        wait_us=demands.get("wait_us"),
        request_bytes=demands.get("request_bytes"),
        response_bytes=demands.get("response_bytes"),
        static=static,
        crash=crash,
    )


def check_classes(used: Iterable[tuple[Table, RequestClass]], recorded: bool) -> None:
    """The classes of one group go together: some weight, or for a recording a pattern in each but
    the last."""
    pairs = list(used)
    if not recorded:
        if not sum(one.weight for _, one in pairs):
            raise pairs[0][0].wrong("weight", "every weight is 0; accepted: at least one above 0")
        return
    for i, (table, one) in enumerate(pairs):
        last = i == len(pairs) - 1
        if (one.match is None) != last:
            problem = "accepted only without it in the last class, which takes all other paths"
            raise table.wrong("match", problem if last else f"missing; {problem}")
