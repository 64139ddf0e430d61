"""Point processes as they are written in a scenario: kind = "poisson" and its own keys.

Reading and range checks only; the formulas are in processes.py. The same keys stand in [arrivals]
(single requests) and in the `starts` of sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from mpmlab.workload.dist_table import read_shape
from mpmlab.workload.limits import MAX_DURATION_S, MAX_RATE_PER_S, to_us
from mpmlab.workload.processes import (
    ConstantProcess,
    MmppProcess,
    PiecewiseProcess,
    PoissonProcess,
    Process,
    RenewalProcess,
    Stage,
    State,
)
from mpmlab.workload.toml_table import Table

#: Shortest state or stage: below it the load client's clock could not tell.
MIN_PART_S: Final = 1e-3
MAX_STATES: Final = 1_000
MAX_STAGES: Final = 10_000


def read_process(table: Table, more: Iterable[str] = ()) -> Process:
    """The process of a table with a `kind`; keys of `more` are the caller's. Raises ScenarioError.

    poisson, constant: rate_per_s.
    renewal: rate_per_s, gap = { dist = "pareto", alpha = 1.5 }: the form of the gaps, without their
    size, which the rate says.
    mmpp: states = [{ rate_per_s = 50, mean_s = 2 }, { rate_per_s = 400, mean_s = 0.2 }], next =
    "cyclic" (default) or "random".
    piecewise: stages = [{ duration_s = 5, rate_per_s = 100 }, { duration_s = 5, to_per_s = 300 }],
    a step and a ramp, which goes from `from_per_s` (default: the end of the stage before, at first
    0); spacing = "poisson" (default) or "constant"; repeat = false (default: nothing comes after
    the last stage) or true."""
    kind = table.choice("kind", PROCESSES)
    return PROCESSES[kind](table, tuple(more))


def _poisson(table: Table, more: tuple[str, ...]) -> Process:
    table.only(("kind", "rate_per_s", *more))
    return PoissonProcess(read_rate(table))


def _constant(table: Table, more: tuple[str, ...]) -> Process:
    table.only(("kind", "rate_per_s", *more))
    return ConstantProcess(read_rate(table))


def _renewal(table: Table, more: tuple[str, ...]) -> Process:
    table.only(("kind", "rate_per_s", "gap", *more))
    return RenewalProcess(read_rate(table), read_shape(table, "gap"))


def _mmpp(table: Table, more: tuple[str, ...]) -> Process:
    table.only(("kind", "states", "next", *more))
    tables = table.tables("states")
    if not 2 <= len(tables) <= MAX_STATES:
        raise table.wrong("states", f"has {len(tables)}; accepted: 2 to {MAX_STATES} states")
    states = []
    for one in tables:
        one.only(("rate_per_s", "mean_s"))
        rate = one.number("rate_per_s", 0, MAX_RATE_PER_S)
        states.append(State(rate, one.number("mean_s", MIN_PART_S, MAX_DURATION_S)))
    if not any(state.rate_per_s for state in states):
        raise table.wrong("states", "every rate_per_s is 0; accepted: at least one above 0")
    order = table.choice("next", ("cyclic", "random"), default="cyclic")
    return MmppProcess(tuple(states), cyclic=order == "cyclic")


def _piecewise(table: Table, more: tuple[str, ...]) -> Process:
    table.only(("kind", "stages", "spacing", "repeat", *more))
    tables = table.tables("stages")
    if len(tables) > MAX_STAGES:
        raise table.wrong("stages", f"has {len(tables)}; accepted: 1 to {MAX_STAGES} stages")
    stages: list[Stage] = []
    for one in tables:
        stages.append(_stage(one, stages[-1].end_per_s if stages else 0.0))
    if not any(stage.begin_per_s or stage.end_per_s for stage in stages):
        raise table.wrong("stages", "every rate is 0; accepted: at least one above 0")
    return PiecewiseProcess(
        tuple(stages),
        even=table.choice("spacing", ("poisson", "constant"), default="poisson") == "constant",
        repeat=table.boolean("repeat", default=False),
    )


def _stage(table: Table, before_per_s: float) -> Stage:
    """A step, or a ramp from where the stage before ended."""
    table.only(("duration_s", "rate_per_s", "from_per_s", "to_per_s"))
    if table.has("rate_per_s"):
        for key in ("from_per_s", "to_per_s"):
            if table.has(key):
                raise table.wrong(key, "not accepted beside rate_per_s")
        begin = end = table.number("rate_per_s", 0, MAX_RATE_PER_S)
    else:
        if not table.has("to_per_s"):
            raise table.wrong("rate_per_s", "missing; accepted: rate_per_s, or to_per_s for a ramp")
        begin = table.number("from_per_s", 0, MAX_RATE_PER_S, default=before_per_s)
        end = table.number("to_per_s", 0, MAX_RATE_PER_S)
    return Stage(to_us(table.number("duration_s", MIN_PART_S, MAX_DURATION_S)), begin, end)


def read_rate(table: Table) -> float:
    """The `rate_per_s` of a table."""
    return table.number("rate_per_s", 0, MAX_RATE_PER_S, above=True)


#: Kind -> its reader, in the order in which complaints list them.
PROCESSES: Final[dict[str, Callable[[Table, tuple[str, ...]], Process]]] = {
    "poisson": _poisson,
    "constant": _constant,
    "renewal": _renewal,
    "mmpp": _mmpp,
    "piecewise": _piecewise,
}
