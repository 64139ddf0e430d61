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
from mpmlab.bench.validation import SCHEMA, SIM, Cell, Error, band_of, cell
from mpmlab.real.probe import profile_path

#: Fewer cases than this say nothing of a 90th percentile, and little of a median.
FEWEST: Final = 2
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

    def cell(self, mpm: str, utilisation: float | None, figure: str) -> Cell | None:
        """The error of that figure for the MPM in that band; None if it was not validated there."""
        band = band_of(utilisation)
        if band is None:
            return None
        found = cell(self.errors, figure, SIM, mpm=mpm, band=band)
        return None if found is None or found.cases < FEWEST else found

    def describe(self) -> str:
        """One sentence for people."""
        cases = len({(error.case, error.mpm) for error in self.errors})
        return (
            f"validated on {self.created[:10]} against {self.engine}: {cases} held-out cases of "
            f"the suite {self.suite}"
        )


def standing_of(document: Mapping[str, Any]) -> Standing:
    """What a validation's document says of its profile. KeyError, TypeError or ValueError name what
    is wrong with it."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema is {document['schema']!r}; this reads {SCHEMA!r}")
    found = tuple(
        Error(**{name: error[name] for name in _FIELDS})
        for error in document["errors"]
        if error["role"] == HELD_OUT and error["predictor"] == SIM
    )
    return Standing(
        platform=str(document["platform"]),
        engine=str(document["engine"]),
        suite=str(document["suite"]),
        created=str(document["created"]),
        errors=found,
    )


def keep_standing(document: Mapping[str, Any]) -> Path | None:
    """Keep a validation for its profile, if it was of a whole suite, complete, and some held-out
    case was valid; its path. A part of a suite would only push out the whole."""
    standing = standing_of(document)
    if not (document["whole"] and document["complete"] and standing.errors):
        return None
    path = _path(standing.platform, standing.engine)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: document[name] for name in document if name != "observations"}
    write_json(path, kept)
    return path


def find_standing(platform: str, engine: str) -> Standing | None:
    """The validation of that profile (conduct.describe_platform) against that engine, None if there
    is none. A file that cannot be read counts for nothing: it is a cache."""
    try:
        standing = standing_of(json.loads(_path(platform, engine).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return standing if standing.platform == platform else None


def _path(platform: str, engine: str) -> Path:
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", platform).strip("-")
    return profile_path().parent.parent / "validations" / f"{plain}-{engine}.json"
