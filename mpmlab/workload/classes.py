"""Classes of requests: what they are called and how much they ask for.

A value object and the choice of a class by path; reading them from a scenario is class_table.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mpmlab.workload.distributions import Distribution


@dataclass(frozen=True)
class RequestClass:
    """One kind of request: how often (`weight`, or for recordings the paths that `match`) and how
    much. A size or wait is None where the recording says it."""

    name: str
    weight: float
    match: re.Pattern[str] | None
    cpu_us: Distribution
    wait_us: Distribution | None
    request_bytes: Distribution | None
    response_bytes: Distribution | None
    #: Its requests are for files of that size: /static/BYTES.
    static: bool = False
    #: Its requests crash whoever serves them, instead of being answered.
    crash: bool = False


def class_of(path: str, classes: tuple[RequestClass, ...]) -> int:
    """The first class whose pattern is found in the path; the last has none and takes the rest."""
    for i, one in enumerate(classes):
        if one.match is None or one.match.search(path):
            return i
    raise AssertionError("the last class of a recording has no pattern")
