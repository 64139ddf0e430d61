"""Service level objectives: 'p99<50ms,errors<0.1%' as text, as values, and held against a run.

Parsing and comparing only; what is measured comes from measured.py. No clock, no I/O.
"""

from __future__ import annotations

import enum
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.measured import Measured
from mpmlab.bench.summary import quantile_ms

#: What an objective may be about, for messages.
ACCEPTED: Final = (
    "p50, p95, p99.9 ... mean, max (response time), service_p99 ... service_mean, service_max "
    "(from the actual send), with us, ms or s; errors, as a fraction or with %; throughput or "
    "rate, per second; each with <, <=, > or >=, separated by commas, as in "
    "'p99<50ms,errors<0.1%,throughput>100'"
)
_OBJECTIVE: Final = re.compile(
    r"(?P<name>[a-z_]+(?:\d+(?:\.\d+)?)?)\s*(?P<sign>[<>]=?)\s*"
    r"(?P<number>\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+)\s*(?P<unit>[^\s\d]*)",
    re.IGNORECASE,
)
_TIME: Final = re.compile(r"(?P<view>service_)?(?:p(?P<percent>\d+(?:\.\d+)?)|(?P<word>mean|max))")
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
#: Unit as written -> factor to the objective's own unit.
_TIME_UNITS: Final = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_SHARE_UNITS: Final = {"": 1.0, "%": 0.01}
_RATE_UNITS: Final = {"": 1.0, "/s": 1.0, "rps": 1.0}
_ALIASES: Final = {"rate": "throughput"}


class SloError(ValueError):
    """An objective that cannot be understood; the text names the piece and what is accepted."""


class Finding(enum.Enum):
    """Whether a run meets an objective."""

    MET = "met"
    MISSED = "missed"
    #: Nothing was measured, or only a lower bound that does not decide.
    UNKNOWN = "unknown"


_FOUND: Final = {
    Finding.MET: "met",
    Finding.MISSED: "MISSED",
    Finding.UNKNOWN: "not decided",
}
#: From here on a value is written as a whole number.
_WHOLE: Final = 1000


@dataclass(frozen=True)
class Objective:
    """One of them. `limit` is in `unit`: ms for times, a fraction of 1 for errors, 1/s for rates.

    `metric` is "p99", "mean", "max", the same with "service_" in front, "errors", "throughput"."""

    metric: str
    sign: str
    limit: float
    unit: str
    #: As it was written.
    text: str

    @property
    def quantile(self) -> float | None:
        """Of a percentile, 0..1; None of anything else."""
        found = _TIME.fullmatch(self.metric)
        return None if found is None or not found["percent"] else _fraction(found["percent"])


@dataclass(frozen=True)
class Judgement:
    """An objective held against a run. `value` is in the objective's unit; None if there is none.
    If `lower_bound`, the true one is no less."""

    objective: Objective
    value: float | None
    lower_bound: bool
    finding: Finding

    def describe(self) -> str:
        """For people: "p99<50ms: 61.2 ms, MISSED"."""
        if self.value is None:
            return f"{self.objective.text}: not decided: it was not measured"
        value, unit = self.value, self.objective.unit
        if self.objective.metric == "errors":
            value, unit = 100 * value, "%"
        bound = "at least " if self.lower_bound else ""
        shown = f"{value:,.0f}" if value >= _WHOLE else f"{value:.3g}"
        return f"{self.objective.text}: {bound}{shown} {unit}, {_FOUND[self.finding]}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **vars(self.objective),
            "value": self.value,
            "lower_bound": self.lower_bound,
            "finding": self.finding.value,
        }


# ---- reading -----------------------------------------------------------------------------------


def parse(text: str) -> tuple[Objective, ...]:
    """The objectives of a text, in order. Raises SloError."""
    pieces = [piece.strip() for piece in text.split(",")]
    found = tuple(_objective(piece) for piece in pieces)
    seen: set[tuple[str, str]] = set()
    for objective in found:
        kind = (objective.metric, objective.sign[0])
        if kind in seen:
            raise SloError(f"SLO {objective.text!r}: {objective.metric} has such a limit already")
        seen.add(kind)
    return found


def _objective(piece: str) -> Objective:
    found = _OBJECTIVE.fullmatch(piece)
    if found is None:
        raise SloError(f"SLO {piece!r}: not an objective; accepted: {ACCEPTED}")
    name = found["name"].lower()
    metric = _ALIASES.get(name, name)
    if metric == "errors":
        units, unit, what = _SHARE_UNITS, "", "a fraction such as 0.001, or with % as 0.1%"
    elif metric == "throughput":
        units, unit, what = _RATE_UNITS, "/s", "a number of answers per second, as 100 or 100/s"
    elif (timed := _TIME.fullmatch(metric)) is not None:
        if timed["percent"] and not 0 < _fraction(timed["percent"]) < 1:
            raise SloError(
                f"SLO {piece!r}: there is no {metric}; accepted: percentiles above 0 and below 100"
            )
        units, unit, what = _TIME_UNITS, "ms", "a time with its unit us, ms or s, as 50ms"
    else:
        raise SloError(f"SLO {piece!r}: nothing called {name!r} is measured; accepted: {ACCEPTED}")
    given = found["unit"].lower()
    if given not in units:
        wrong = f"unit {found['unit']!r}" if given else "a number without a unit"
        raise SloError(f"SLO {piece!r}: {wrong} for {metric}; accepted: {what}")
    limit = float(found["number"]) * units[given]
    if metric == "errors" and limit > 1:
        raise SloError(f"SLO {piece!r}: more errors than requests; accepted: {what}")
    if not math.isfinite(limit):
        raise SloError(f"SLO {piece!r}: {found['number']} is too large; accepted: {what}")
    return Objective(metric, found["sign"], limit, unit, piece)


def _fraction(percent: str) -> float:
    # 99.9 / 100 is 0.9990000000000001, whose quantile of a thousand values is another one.
    return round(float(percent) / 100, 12)


# ---- judging -----------------------------------------------------------------------------------


def judge(objectives: Iterable[Objective], seen: Measured) -> tuple[Judgement, ...]:
    """Each objective, held against the measured window of a run."""
    return tuple(_judgement(objective, seen) for objective in objectives)


def all_met(judgements: Iterable[Judgement]) -> bool:
    """True if every objective is shown to be met: one that is unknown is not."""
    return all(one.finding is Finding.MET for one in judgements)


def _judgement(objective: Objective, seen: Measured) -> Judgement:
    value, bound = _value(objective, seen)
    if value is None:
        return Judgement(objective, None, False, Finding.UNKNOWN)
    holds = _SIGNS[objective.sign](value, objective.limit)
    # The true value is this one or more: what lies above the limit already stays there.
    if bound and holds == (objective.sign[0] == "<"):
        return Judgement(objective, value, True, Finding.UNKNOWN)
    return Judgement(objective, value, bound, Finding.MET if holds else Finding.MISSED)


def _value(objective: Objective, seen: Measured) -> tuple[float | None, bool]:
    """The value in the objective's unit, and whether it is a lower bound."""
    if objective.metric == "throughput":
        return (seen.ended_in_window / seen.length_s if seen.length_s else None), False
    if objective.metric == "errors":
        return _errors(seen), False
    if objective.metric.startswith("service_"):
        # Whoever waited in vain has no service time, and would make the rest look good if left out.
        in_vain = np.full(len(seen.response_s) - seen.completed, math.inf)
        value = _time_ms(objective, np.concatenate([seen.service_s, in_vain]))
        return (None if value is None or math.isinf(value) else value), False
    value = _time_ms(objective, seen.response_s)
    first_ms = 1000 * seen.censored_from_s
    mean = objective.metric == "mean"
    return value, value is not None and (math.isfinite(first_ms) if mean else value >= first_ms)


def _errors(seen: Measured) -> float | None:
    """Of the requests that the clients did not leave on purpose, the share that was not answered
    well: refused, broken, wrong, timed out, or never come to an end."""
    failed = sum(seen.errors.values())
    asked = seen.completed + failed
    return failed / asked if asked else None


def _time_ms(objective: Objective, seconds: NDArray[np.float64]) -> float | None:
    if objective.metric.endswith("mean"):
        return 1000 * float(seconds.mean()) if len(seconds) else None
    return quantile_ms(seconds, 1.0 if objective.quantile is None else objective.quantile)
