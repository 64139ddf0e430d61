"""Distributions as they are written in a scenario: a number, or { dist = "...", ... }.

Reading and range checks only; the formulas are in distributions.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mpmlab.workload.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Geometric,
    Hyperexponential,
    Lognormal,
    Pareto,
    Uniform,
)
from mpmlab.workload.toml_table import REQUIRED, Table

#: Largest coefficient of variation and the range of tail indices: beyond them the steps of the
#: uniform numbers (2**-53) no longer reach the part of the tail that carries the mean.
MAX_CV: Final = 100.0
MIN_ALPHA, MAX_ALPHA = 0.01, 100.0
#: Largest number in a form whose size does not matter, and a Pareto's range if none is given.
MAX_RELATIVE: Final = 1e12
DEFAULT_PARETO_RANGE: Final = (1.0, 1e6)


def read_distribution(
    table: Table, key: str, low: float, high: float, default: Any = REQUIRED
) -> Distribution:
    """The distribution at `key`, whose mean (and bounds, where it has them) lie from low to high.
    Raises ScenarioError."""
    accepted = (
        f'a number from {low:.12g} to {high:.12g}, or a table {{ dist = "{"|".join(_READERS)}" }}'
    )
    value = table.value(key, accepted, default)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Constant(table.number(key, low, high, default=value))
    if not isinstance(value, dict):
        raise table.wrong(key, f"is {value!r}; accepted: {accepted}")
    inner = table.table(key)
    return _READERS[inner.choice("dist", _READERS)](inner, low, high)


def read_shape(table: Table, key: str) -> Distribution:
    """The form of a distribution whose mean is said elsewhere: the same tables without their
    `mean`; of `low`, `high` and `values` only the ratios count. Raises ScenarioError."""
    inner = table.table(key)
    shape = _SHAPES[inner.choice("dist", _SHAPES)](inner)
    if not shape.mean > 0:
        raise table.wrong(key, "has a mean of 0; accepted: a mean above 0")
    return shape


def _constant(table: Table, low: float, high: float) -> Distribution:
    table.only(("dist", "value"))
    return Constant(table.number("value", low, high))


def _uniform(table: Table, low: float, high: float) -> Distribution:
    table.only(("dist", "low", "high"))
    least = table.number("low", low, high)
    return Uniform(least, table.number("high", least, high))


def _exponential(table: Table, low: float, high: float) -> Distribution:
    table.only(("dist", "mean"))
    return Exponential(table.number("mean", low, high))


def _lognormal(table: Table, low: float, high: float) -> Distribution:
    table.only(("dist", "mean", "cv"))
    return Lognormal(table.number("mean", low, high), table.number("cv", 0, MAX_CV))


def _pareto(table: Table, low: float, high: float) -> Distribution:
    table.only(("dist", "low", "high", "alpha"))
    least = table.number("low", low, high, above=low == 0)
    return Pareto(
        least,
        table.number("high", least, high, above=True),
        table.number("alpha", MIN_ALPHA, MAX_ALPHA),
    )


def _hyperexponential(table: Table, low: float, high: float) -> Distribution:
    table.only(("dist", "mean", "cv"))
    return Hyperexponential(table.number("mean", low, high), table.number("cv", 1, MAX_CV))


def _geometric(table: Table, low: float, high: float) -> Distribution:
    table.only(("dist", "mean"))
    return Geometric(table.number("mean", max(low, 1), high))


def _empirical(table: Table, low: float, high: float) -> Distribution:
    table.only(("dist", "values", "weights"))
    values = table.numbers("values", low, high)
    weights = table.numbers("weights", 0, 1e12) if table.has("weights") else (1.0,) * len(values)
    if len(weights) != len(values):
        raise table.wrong("weights", f"has {len(weights)} entries; accepted: {len(values)}")
    if not sum(weights):
        raise table.wrong("weights", "are all 0; accepted: at least one above 0")
    return Empirical(values, weights)


_READERS: Final[dict[str, Callable[[Table, float, float], Distribution]]] = {
    "constant": _constant,
    "uniform": _uniform,
    "exponential": _exponential,
    "lognormal": _lognormal,
    "pareto": _pareto,
    "hyperexponential": _hyperexponential,
    "geometric": _geometric,
    "empirical": _empirical,
}


def _exponential_shape(table: Table) -> Distribution:
    table.only(("dist",))
    return Exponential(1.0)


def _lognormal_shape(table: Table) -> Distribution:
    table.only(("dist", "cv"))
    return Lognormal(1.0, table.number("cv", 0, MAX_CV))


def _hyperexponential_shape(table: Table) -> Distribution:
    table.only(("dist", "cv"))
    return Hyperexponential(1.0, table.number("cv", 1, MAX_CV))


def _pareto_shape(table: Table) -> Distribution:
    table.only(("dist", "low", "high", "alpha"))
    low, high = DEFAULT_PARETO_RANGE
    least = table.number("low", 0, MAX_RELATIVE, above=True, default=low)
    return Pareto(
        least,
        table.number(
            "high", least, MAX_RELATIVE, above=True, default=min(least * high, MAX_RELATIVE)
        ),
        table.number("alpha", MIN_ALPHA, MAX_ALPHA),
    )


_SHAPES: Final[dict[str, Callable[[Table], Distribution]]] = {
    "exponential": _exponential_shape,
    "lognormal": _lognormal_shape,
    "hyperexponential": _hyperexponential_shape,
    "pareto": _pareto_shape,
    "uniform": lambda table: _uniform(table, 0, MAX_RELATIVE),
    "empirical": lambda table: _empirical(table, 0, MAX_RELATIVE),
}
