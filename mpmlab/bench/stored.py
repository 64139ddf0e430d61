"""A results folder as export and comparison see it: results, plan, and whether each engine's run
may be used.

Only reading lives here. What is in the folder is results.py, whether a run is valid was decided
when it was stored; here that decision is read, in one place, and never made milder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mpmlab.bench.gates import COMPLETED, Verdict
from mpmlab.bench.results import Results, load_results
from mpmlab.workload.plan import Plan

_JSON: Final = "run.json"
#: Folders of repetitions below a folder without a run.json of its own.
_REPETITIONS: Final = "rep*"


@dataclass(frozen=True)
class Validity:
    """Why a run must not be used; no reason: it may."""

    reasons: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


@dataclass(frozen=True)
class Stored:
    """One results folder. `validity` is by engine, as `results.runs` is."""

    folder: Path
    results: Results
    validity: Mapping[str, Validity]

    @property
    def plan(self) -> Plan:
        """What its clients were to do."""
        return self.results.plan


def load_stored(folder: Path) -> Stored:
    """Read a results folder. Raises ResultsError naming the file and what is wrong with it."""
    results = load_results(folder)
    facts = json.loads((folder / _JSON).read_text(encoding="utf-8"))["engines"]
    return Stored(
        folder=folder,
        results=results,
        validity={engine: validity_of(facts[engine]) for engine in results.runs},
    )


def validity_of(facts: Mapping[str, Any]) -> Validity:
    """What an engine's part of run.json says against the run: what cut it short, and which gates
    failed. A run that does not say that it is complete and valid is neither."""
    faults = facts.get("faults", ())
    reasons = [f"incomplete: {fault}" for fault in faults]
    reasons += [
        gate["text"]
        for gate in facts.get("gates", ())
        if gate["verdict"] == Verdict.FAIL.value and not (faults and gate["name"] == COMPLETED)
    ]
    if not reasons and facts.get("complete") is not True:
        reasons.append("incomplete")
    if not reasons and facts.get("valid") is not True:
        reasons.append("marked as not valid, without a reason")
    return Validity(tuple(dict.fromkeys(reasons)))


def run_folders(folder: Path) -> list[Path]:
    """The results folders that a path stands for: itself, or its repetitions in order of name."""
    if not (folder / _JSON).exists():
        inside = sorted(path.parent for path in folder.glob(f"{_REPETITIONS}/{_JSON}"))
        if inside:
            return inside
    return [folder]
