"""A directive: which MPMs accept it, how the text of its value is read, and what it is by default.

Reading one value lives here; which directives there are is directive_table.py, what a whole
configuration comes to directives.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mpmlab.core.settings import INT_MAX, MPMS, ONLY_OF

INT_MIN: Final = -(2**31)

#: AsyncRequestWorkerFactor is kept in sixteenths (event.c: WORKER_FACTOR_SCALE).
FACTOR_SCALE: Final = 16
FACTOR_MAX: Final = INT_MAX // FACTOR_SCALE

Value = int | float | bool


@dataclass(frozen=True)
class Directive:
    """One directive: which MPMs accept it, how its text is read, and what it is by default.

    `kind` is "int", "factor", "flag" or "timeout". Numbers outside low..high are errors;
    where httpd clamps, the range is that of a C int."""

    name: str
    field: str  # of Settings
    kind: str
    default: Mapping[str, Value]  # by MPM
    doc: str
    low: int = 0
    high: int = INT_MAX

    @property
    def mpms(self) -> tuple[str, ...]:
        """The MPMs that accept it."""
        return ONLY_OF.get(self.field, MPMS)

    def accepted(self) -> str:
        """What a value may be, for an error message."""
        if self.kind == "flag":
            return "On, Off"
        if self.kind == "timeout":
            return "whole seconds as 5, or 500ms, 2s, 1min, 1h"
        if self.kind == "buffer":
            return f"0, or a whole number from {_LEAST_BUFFER} to {self.high}"
        if self.kind == "factor":
            return f"a number above 0, at most {FACTOR_MAX}"
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, text: str) -> Value:
        """The value of the text. ValueError if it is not one of `accepted()`."""
        return _PARSERS[self.kind](text.strip(), self.low, self.high)


def parse_int(text: str, low: int, high: int) -> int:
    """A whole number within these. ValueError for any other text."""
    # int() alone would take "1_000" and other alphabets' digits.
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not low <= int(text) <= high:
        raise ValueError(text)
    return int(text)


#: server/listen.c: ap_set_send_buffer_size refuses what is smaller.
_LEAST_BUFFER: Final = 512


def _parse_buffer(text: str, low: int, high: int) -> int:
    size = parse_int(text, low, high)
    if 0 < size < _LEAST_BUFFER:
        raise ValueError(text)
    return size


def _parse_factor(text: str, _low: int, high: int) -> float:
    if not re.fullmatch(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text, re.IGNORECASE):
        raise ValueError(text)
    value = float(text)
    if not math.isfinite(value) or not 0 < value <= high:
        raise ValueError(text)
    return max(value, 1.0)  # event.c: set_worker_factor raises what is below 1, silently


def _parse_flag(text: str, _low: int, _high: int) -> bool:
    if text.lower() not in ("on", "off"):
        raise ValueError(text)
    return text.lower() == "on"


_UNIT_MS: Final = MappingProxyType(
    {"": 1000, "s": 1000, "ms": 1, "mi": 60_000, "min": 60_000, "h": 3_600_000}
)


def _parse_timeout(text: str, low: int, high: int) -> float:
    """server/util.c: ap_timeout_parameter_parse, in seconds when no unit is given."""
    found = re.fullmatch(r"\+?([0-9]{1,20})([a-z]*)", text)
    if not found or found[2] not in _UNIT_MS:
        raise ValueError(text)
    seconds = int(found[1]) * _UNIT_MS[found[2]] / 1000
    if not low <= seconds <= high:
        raise ValueError(text)
    return seconds


_PARSERS: Final = MappingProxyType(
    {
        "int": parse_int,
        "buffer": _parse_buffer,
        "factor": _parse_factor,
        "flag": _parse_flag,
        "timeout": _parse_timeout,
    }
)
