"""How good a profile's simulation was shown to be: the error that travels with a simulated number.

A validation that was carried out to its end is kept beside the profiles, by the profile's own name
and hash: another profile, or the same measured again, has none. Of it the errors of held-out cases
are told, for the MPM and the band of utilisation of the number in question, or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mpmlab.bench.results import write_json
from mpmlab.bench.suite import HELD_OUT
from mpmlab.bench.targets import MISSED, UNDECIDED
from mpmlab.bench.validation import FEWEST, SCHEMA, SIM, Cell, Error, band_of, cell
from mpmlab.real.probe import profile_path

_FIELDS: Final = (
    "case", "role", "mpm", "figure", "predictor", "utilisation", "percent",
    "repeatability_percent",
)  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """What a validation found for one profile: when, against which engine, on which suite."""

    platform: str
    engine: str
    suite: str
    created: str
    errors: tuple[Error, ...]
    #: Of the suite's targets: how many there are, how many were missed, and of how many that could
    #: not be said.
    targets: int = 0
    missed: int = 0
    undecided: int = 0

    def cell(self, mpm: str, utilisation: float | None, figure: str) -> Cell | None:
        """The error of that figure for the MPM in that band; None if it was not validated there."""
        band = band_of(utilisation)
        if band is None:
            return None
        found = cell(self.errors, figure, SIM, mpm=mpm, band=band)
        return None if found is None or found.cases < FEWEST else found

    def describe(self) -> str:
        """One sentence for people. A simulation that missed a target of its suite is rejected, and
        its errors are told all the same."""
        cases = len({(error.case, error.mpm) for error in self.errors})
        rejected = ""
        if self.missed:
            rejected = f"; rejected: {self.missed} of {self.targets} targets missed"
            rejected += f", {self.undecided} undecided" if self.undecided else ""
        return (
            f"validated on {self.created[:10]} against {self.engine}: {cases} held-out cases of "
            f"the suite {self.suite}{rejected}"
        )


def standing_of(document: Mapping[str, Any]) -> Standing:
    """What a validation's document says of its `platform`. KeyError, TypeError or ValueError name
    what is wrong with it."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema is {document['schema']!r}; this reads {SCHEMA!r}")
    found = tuple(
        Error(**{name: error[name] for name in _FIELDS})
        for error in document["errors"]
        if error["role"] == HELD_OUT and error["predictor"] == SIM
    )
    states = [target["state"] for target in document["targets"]]
    return Standing(
        platform=str(document["platform"]),
        engine=str(document["engine"]),
        suite=str(document["suite"]),
        created=str(document["created"]),
        errors=found,
        targets=len(states),
        missed=states.count(MISSED),
        undecided=states.count(UNDECIDED),
    )


def keep_standing(document: Mapping[str, Any]) -> list[Path]:
    """Keep a validation for each of its profiles (`platforms`: MPM -> profile), if it was of a
    whole suite, complete, and some held-out case was valid; the paths. A part of a suite would only
    push out the whole."""
    if not (document["whole"] and document["complete"]):
        return []
    paths = []
    for platform in dict.fromkeys(document["platforms"].values()):
        kept = {name: document[name] for name in document if name != "observations"}
        kept["platform"] = platform
        mpms = [mpm for mpm, name in document["platforms"].items() if name == platform]
        kept["errors"] = [error for error in document["errors"] if error["mpm"] in mpms]
        standing = standing_of(kept)
        if standing.errors:
            path = _path(platform, standing.engine)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, kept)
            paths.append(path)
    return paths


def find_standing(platform: str, engine: str) -> Standing | None:
    """The validation of that profile (conduct.describe_platform) against that engine, None if there
    is none. A file that cannot be read counts for nothing: it is a cache."""
    try:
        standing = standing_of(json.loads(_path(platform, engine).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return standing if standing.platform == platform else None


def trust(platform: str, mpm: str, utilisation: float | None) -> str:
    """A few words for pictures: the validated errors of that profile's mean and p99 at the
    utilisation, or that there are none."""
    for engine in ("real", "httpd"):
        standing = find_standing(platform, engine)
        cells = {
            name: standing.cell(mpm, utilisation, figure)
            for name, figure in (("mean", "mean_ms"), ("p99", "p99_ms"))
            if standing is not None
        }
        told = [f"{name} ± {c.median_percent:.2g} %" for name, c in cells.items() if c is not None]
        if told:
            return f"sim validated: {', '.join(told)}"
    return "sim not validated"


def _path(platform: str, engine: str) -> Path:
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", platform).strip("-")
    return profile_path().parent.parent / "validations" / f"{plain}-{engine}.json"
