"""What a gate says: its figure, its limit, its verdict, and what to do about it. Values only."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class Verdict(enum.Enum):
    """What a gate found."""

    #: As it should be.
    PASS = "pass"
    #: The run is invalid: its numbers are not what they are taken for.
    FAIL = "fail"
    #: The reader is told; the numbers stand.
    NOTE = "note"
    #: It could not be judged; the text says why.
    SKIP = "skip"


class Strictness(enum.Enum):
    """How much is asked of a run."""

    DEFAULT = "default"
    #: What is to be published: what is a note by default may be a failure.
    PUBLISH = "publish"


@dataclass(frozen=True)
class Gate:
    """One gate's finding. `figure` and `limit` are in `unit`; None where there is none."""

    name: str
    figure: float | None
    unit: str
    limit: float | None
    verdict: Verdict
    #: A sentence for people.
    text: str
    #: What to change; empty if nothing is to be.
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "verdict": self.verdict.value}

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Gate:
        """What to_dict gave. Raises KeyError, TypeError or ValueError if it is something else."""
        return Gate(**{**document, "verdict": Verdict(document["verdict"])})


def verdict(gates: Iterable[Gate]) -> bool:
    """True if the run is valid: no gate failed."""
    return not failures(gates)


def failures(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """The gates that make a run invalid."""
    return tuple(gate for gate in gates if gate.verdict is Verdict.FAIL)


def judged(
    name: str,
    figure: float,
    unit: str,
    limit: float,
    text: str,
    advice: str,
    *,
    least: bool = False,
    otherwise: Verdict = Verdict.FAIL,
) -> Gate:
    """A gate with a figure up to its limit (or at least it): PASS, or `otherwise` with advice."""
    good = figure >= limit if least else figure <= limit
    found = Verdict.PASS if good else otherwise
    return Gate(name, figure, unit, limit, found, text, "" if good else advice)


def skipped(name: str, unit: str, why: str) -> Gate:
    """A gate that could not be judged."""
    return Gate(name, None, unit, None, Verdict.SKIP, f"not judged: {why}", "")
