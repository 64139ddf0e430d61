"""Cost profiles by name: which there are, what each says, and how two of them differ.

Four kinds are known by a name: those shipped with mpmlab, "local" (this machine's, where
real/probe.py keeps it), those calibrated here by engine and MPM, and what else the probe's cache
folder holds, by the names of its files. Any other
is known by its path. Only finding, reading and comparing live here: nothing is measured, whatever
is missing (profile.py does that), and nothing is printed.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, Final

from mpmlab.bench.conduct import describe_platform
from mpmlab.bench.prepare import REFERENTS
from mpmlab.bench.profile import calibrated_path
from mpmlab.bench.standing import find_standing
from mpmlab.core.platform import Costs, Platform
from mpmlab.core.platform_file import format_platform, provenance, read_platform
from mpmlab.mpms.catalog import CATALOG
from mpmlab.platforms import shipped_names
from mpmlab.real.machine import fingerprint_key
from mpmlab.real.probe import profile_path

#: This machine's profile, of this interpreter and this code: the one that simulations use.
LOCAL: Final = "local"
NOT_MEASURED: Final = (
    "the costs of this machine are not known yet: the first simulated run, or `mpmlab bench "
    "--refresh-profile`, measures them (15 s)"
)
#: How the probe names its files: fingerprint of the machine, then of the code.
_KEPT: Final = re.compile(r"([0-9a-f]{16})-[0-9a-f]{8}")
#: Stands for a source while fields that have none are written, too; never seen outside.
_NOWHERE: Final = provenance("not in the profile", "1970-01-01")


class ProfileError(ValueError):
    """A profile that is not there: the text says what is accepted."""


class Origin(StrEnum):
    """Where a profile is from."""

    SHIPPED = "shipped"
    LOCAL = "this machine"
    CALIBRATED = "this machine, calibrated"
    OTHER_CODE = "this machine, another version of mpmlab"
    OTHER_MACHINE = "another machine, kernel or interpreter"
    FILE = "file"


@dataclass(frozen=True)
class Place:
    """Where a profile is kept. Its file may turn out to be wrong: it is not read yet."""

    name: str  # what it is asked for by
    origin: Origin
    path: Path
    fingerprint: str = ""  # of the machine that was measured, if the file's name tells


@dataclass(frozen=True)
class Profile:
    """A profile and where it was found."""

    place: Place
    platform: Platform


@dataclass(frozen=True)
class Value:
    """One field of a profile, named as in its file."""

    section: str  # costs or facts
    key: str
    value: Any
    unit: str
    source: str | None  # None: the profile does not have it, and mpmlab's default holds
    date: str | None  # ISO 8601; None as for `source`
    interval: tuple[float, float] | None = None  # of 95 %, or assumed


@dataclass(frozen=True)
class Change:
    """A field whose value two profiles give differently, or that only one of them has."""

    first: Value
    second: Value

    @property
    def ratio(self) -> float | None:
        """Second by first; None if they are no numbers, or the first is 0."""
        if not (_is_number(self.first.value) and _is_number(self.second.value)):
            return None
        return None if self.first.value == 0 else float(self.second.value / self.first.value)


@dataclass(frozen=True)
class Difference:
    """How two profiles differ, in the order of their fields."""

    first: Profile
    second: Profile
    changed: tuple[Change, ...]  # both have the field, with different values
    only_first: tuple[Change, ...]  # the other value of the pair is mpmlab's default
    only_second: tuple[Change, ...]
    equal: int  # fields of both with one value, whatever their sources
    absent: int  # fields that neither has


def standing(platform: Platform) -> str:
    """How far numbers simulated with this profile may be trusted, in words."""
    text = describe_platform(platform)
    found = [standing for engine in REFERENTS if (standing := find_standing(text, engine))]
    if found:
        return "; ".join(standing.describe() for standing in found)
    return f"not validated: no error of numbers simulated with {platform.name!r} is known"


# ---- finding -------------------------------------------------------------------------------------


def places() -> list[Place]:
    """The profiles that have a name: local (if it was measured), those calibrated here
    (real-worker, httpd-event ...), shipped, the rest of the cache."""
    kept = _kept()
    own = profile_path()
    local = [replace(place, name=LOCAL) for place in kept if place.path == own]
    shipped = [Place(name, Origin.SHIPPED, _shipped_path(name)) for name in shipped_names()]
    return local + _calibrated() + shipped + [place for place in kept if place.path != own]


def find(text: str) -> Place:
    """The place of the profile of that name or path (anything with a folder in it, or ending in
    .toml). Raises ProfileError for names that are unknown, and for "local" if it was not measured;
    a path is taken as it is."""
    if Path(text).suffix == ".toml" or Path(text).name != text:
        return Place(text, Origin.FILE, Path(text))
    named = {place.name: place for place in (*_kept(), *places())}
    if text in named:
        return named[text]
    if text == LOCAL:
        raise ProfileError(NOT_MEASURED)
    near = difflib.get_close_matches(text, (LOCAL, *shipped_names()), 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ProfileError(f"no profile is called {text!r}; {hint}{_accepted()}")


def read(place: Place) -> Profile:
    """What is kept there. Raises ProfileError if there is no such file, or it may not be read, and
    PlatformFileError if it is wrong."""
    try:
        return Profile(place, read_platform(place.path))
    except OSError as error:
        raise ProfileError(f"{place.path}: {error.strerror}; {_accepted()}") from None


def _accepted() -> str:
    names = ", ".join((LOCAL, *shipped_names()))
    return (
        f"accepted: {names}, another name of `mpmlab profile list`, or the path of a profile's "
        f".toml file"
    )


def _shipped_path(name: str) -> Path:
    return Path(str(resources.files("mpmlab.platforms") / f"{name}.toml"))


def _calibrated() -> list[Place]:
    """Those that simulations beside an engine use, as far as they are there."""
    paths = {
        f"{engine}-{mpm}": calibrated_path(engine, mpm) for engine in REFERENTS for mpm in CATALOG
    }
    return [
        Place(name, Origin.CALIBRATED, path, fingerprint_key())
        for name, path in paths.items()
        if path.exists()
    ]


def _kept() -> list[Place]:
    """What the probe keeps in its folder, by the names of the files."""
    own = profile_path()
    machine = fingerprint_key()
    found = []
    for path in sorted(own.parent.glob("*.toml")):
        match = _KEPT.fullmatch(path.stem)
        if match is None:
            continue
        origin = Origin.OTHER_CODE if match[1] == machine else Origin.OTHER_MACHINE
        origin = Origin.LOCAL if path == own else origin
        found.append(Place(path.stem, origin, path, match[1]))
    return found


# ---- what one says -------------------------------------------------------------------------------


def values_of(platform: Platform) -> list[Value]:
    """Every field of the profile, costs first, in the file's words. ValueError if the platform
    could not be written (a number without source): one that was read can."""
    own = tomllib.loads(format_platform(platform))
    every = {item.name: _NOWHERE for kind in (Costs, Platform) for item in fields(kind)}
    document = tomllib.loads(format_platform(replace(platform, sources=every)))
    found = []
    for section in ("costs", "facts"):
        for key, entry in document[section].items():
            told = own.get(section, {}).get(key, {})
            source, date, ends = (told.get(part) for part in ("source", "date", "interval"))
            interval = None if ends is None else (ends[0], ends[1])
            found.append(Value(section, key, entry["value"], entry["unit"], source, date, interval))
    return found


def oldest(platform: Platform) -> str:
    """The date of the oldest value that the profile has itself. ValueError as values_of does."""
    return min(value.date for value in values_of(platform) if value.date is not None)


# ---- how two differ ------------------------------------------------------------------------------


def difference(first: Profile, second: Profile) -> Difference:
    """How the second profile differs from the first, field by field."""
    pairs = [
        Change(a, b)
        for a, b in zip(values_of(first.platform), values_of(second.platform), strict=True)
    ]
    both = [p for p in pairs if p.first.source is not None and p.second.source is not None]
    changed = tuple(p for p in both if p.first.value != p.second.value)
    only_first = tuple(p for p in pairs if p.first.source is not None and p.second.source is None)
    only_second = tuple(p for p in pairs if p.first.source is None and p.second.source is not None)
    return Difference(
        first,
        second,
        changed,
        only_first,
        only_second,
        equal=len(both) - len(changed),
        absent=len(pairs) - len(both) - len(only_first) - len(only_second),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---- documents for --json ------------------------------------------------------------------------


def profile_document(profile: Profile) -> dict[str, Any]:
    """What the profile says, sources in full, for json.dumps."""
    values = values_of(profile.platform)
    return _head(profile) | {
        section: {v.key: _entry(v) for v in values if v.section == section}
        for section in ("costs", "facts")
    }


def list_document(rows: Iterable[tuple[Place, Platform | None]]) -> list[dict[str, Any]]:
    """One entry for each place, for json.dumps. Without a platform, its file is wrong: `oldest` is
    null."""
    return [
        _place(place) | {"oldest": None if platform is None else oldest(platform)}
        for place, platform in rows
    ]


def difference_document(found: Difference) -> dict[str, Any]:
    """The difference, sources in full, for json.dumps."""
    return {
        "first": _head(found.first),
        "second": _head(found.second),
        "changed": _changes(found.changed),
        "only_first": _changes(found.only_first),
        "only_second": _changes(found.only_second),
        "equal": found.equal,
        "absent": found.absent,
    }


def _changes(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [
        {
            "section": change.first.section,
            "key": change.first.key,
            "first": _entry(change.first),
            "second": _entry(change.second),
            "ratio": change.ratio,
        }
        for change in changes
    ]


def _head(profile: Profile) -> dict[str, Any]:
    return _place(profile.place) | {
        "platform": profile.platform.name,
        "standing": standing(profile.platform),
    }


def _place(place: Place) -> dict[str, Any]:
    return asdict(place) | {"origin": place.origin.value, "path": str(place.path)}


def _entry(value: Value) -> dict[str, Any]:
    told = asdict(value)
    return {key: told[key] for key in ("value", "unit", "source", "date", "interval")}
