"""Platform <-> TOML: each value with its unit, its source and its date.

Only reading, checking and writing live here; measuring is real/probe.py, shipped profiles are
platforms/. The one place in core that touches a path. A file looks like this:

    name = "linux-cpython"

    [costs.fork]
    value = 412.5
    unit = "us"
    source = "where the number comes from"
    date = "2026-11-23"
    interval = [398.0, 431.2]  # of 95 %, or what it is assumed to be in; only where there is one

    [facts.cores]
    value = 1
    ...

A key is the name of a field of Costs or Platform without its unit. All costs must be there, but for
those that are zero unless said otherwise; facts that are missing keep Platform's defaults.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
import uuid
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

from mpmlab.core.platform import Costs, Platform

#: Suffix of a field's name -> unit in the file. Fields without one have the unit "".
_UNITS: Final = {"_us": "us", "_kib": "KiB", "_mbit_s": "Mbit/s", "_bytes": "bytes"}
_WAKE_POLICIES: Final = ("fifo", "lifo", "herd")
_ENTRY_KEYS: Final = ("value", "unit", "source", "date")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
#: How `Platform.sources` keeps a source and its date in one text.
_PROVENANCE: Final = re.compile(r"(\d{4}-\d\d-\d\d): (.*)", re.DOTALL)
_NO_FACTS: Final = ("name", "costs", "sources", "intervals")
_INTERVAL: Final = "interval"


class PlatformFileError(ValueError):
    """A platform file that is wrong: the text names file, line and key, and what is accepted."""


def provenance(source: str, date: str) -> str:
    """The text that `Platform.sources` keeps for a field. Date is ISO 8601 (2026-11-23)."""
    if not _DATE.fullmatch(date):
        raise ValueError(f"date must look like 2026-11-23, not {date!r}")
    return f"{date}: {source}"


def read_platform(path: Path) -> Platform:
    """The platform of a file. Raises PlatformFileError, OSError."""
    try:
        return parse_platform(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise PlatformFileError(f"{path}: not UTF-8: {error.reason}") from None


def parse_platform(text: str, origin: str) -> Platform:
    """The platform that a TOML text describes. `origin` names it in errors (PlatformFileError)."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlatformFileError(f"{origin}: not TOML: {error}") from None
    return _Reader(text, origin).platform(document)


class _Reader:
    """One text on its way to a Platform; knows where things stand, for the errors."""

    def __init__(self, text: str, origin: str) -> None:
        self.lines = text.splitlines()
        self.origin = origin
        self.sources: dict[str, str] = {}
        self.intervals: dict[str, tuple[float, float]] = {}

    def platform(self, document: Mapping[str, Any]) -> Platform:
        for key in document:
            if key not in ("name", "costs", "facts"):
                raise self.wrong(key, "unknown key; accepted: name, costs, facts")
        name = document.get("name")
        if not isinstance(name, str) or not name:
            raise self.wrong("name", "must be there, a text that is not empty")
        costs = self.section(document, "costs", _cost_fields())
        facts = self.section(document, "facts", _fact_fields())
        for key, item in _cost_fields().items():
            if item.name not in costs and item.default:
                raise self.wrong(f"costs.{key}", "is missing; every primitive must have its cost")
        return Platform(
            name=name, costs=Costs(**costs), sources=self.sources, intervals=self.intervals, **facts
        )

    def section(
        self, document: Mapping[str, Any], section: str, known: Mapping[str, Field[Any]]
    ) -> dict[str, Any]:
        """The values of one section by field name."""
        entries = document.get(section, {})
        if not isinstance(entries, Mapping):
            raise self.wrong(section, "must be a table")
        values = {}
        for key, entry in entries.items():
            if key not in known:
                raise self.wrong(f"{section}.{key}", f"unknown; accepted: {', '.join(known)}")
            values[known[key].name] = self.entry(f"{section}.{key}", entry, known[key])
        return values

    def entry(self, where: str, entry: Any, item: Field[Any]) -> Any:
        """One value, checked; its provenance goes into `sources`."""
        if not isinstance(entry, Mapping):
            raise self.wrong(where, f"must be a table of {', '.join(_ENTRY_KEYS)}")
        for key in entry:
            if key not in (*_ENTRY_KEYS, _INTERVAL):
                accepted = ", ".join((*_ENTRY_KEYS, _INTERVAL))
                raise self.wrong(f"{where}.{key}", f"unknown; accepted: {accepted}")
        for key in _ENTRY_KEYS:
            if key not in entry:
                raise self.wrong(f"{where}.{key}", "is missing")
        unit = _unit_of(item.name)
        if entry["unit"] != unit:
            raise self.wrong(f"{where}.unit", f'is {entry["unit"]!r}; accepted: "{unit}"')
        source, date = entry["source"], entry["date"]
        if not isinstance(source, str) or not source:
            raise self.wrong(f"{where}.source", "must say where the value comes from")
        if not isinstance(date, str) or not _DATE.fullmatch(date):
            raise self.wrong(f"{where}.date", f'is {date!r}; accepted: a text like "2026-11-23"')
        self.sources[item.name] = provenance(source, date)
        if _INTERVAL in entry:
            self.intervals[item.name] = self.interval(f"{where}.{_INTERVAL}", entry[_INTERVAL])
        return self.value(where, entry["value"], item)

    def interval(self, where: str, value: Any) -> tuple[float, float]:
        """The ends of an interval."""
        good = isinstance(value, list) and len(value) == 2
        good = good and all(type(end) in (int, float) and math.isfinite(end) for end in value)
        if not good or value[0] > value[1]:
            raise self.wrong(where, f"is {value!r}; accepted: two numbers, the lower one first")
        return float(value[0]), float(value[1])

    def value(self, where: str, value: Any, item: Field[Any]) -> Any:
        """The value in the field's type and range."""
        kind = type(item.default)
        accepted = _accepted(item)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        good = type(value) is kind
        if good and kind is float:
            good = math.isfinite(value) and (value > 0 if _positive(item) else value >= 0)
        elif good and kind is int:
            good = value >= 1
        elif good and item.name == "wake_policy":
            good = value in _WAKE_POLICIES
        if not good:
            raise self.wrong(f"{where}.value", f"is {value!r}; accepted: {accepted}")
        return value

    def wrong(self, where: str, text: str) -> PlatformFileError:
        """The error, with the line where the key, or else its table, stands."""
        parts = where.split(".")
        at = 0  # the line of the innermost table that is written, then of the key inside it
        for depth in range(len(parts), 0, -1):
            header = f"[{'.'.join(parts[:depth])}]"
            at = next((n for n, line in enumerate(self.lines, 1) if line.strip() == header), 0)
            if at:
                parts = parts[depth:]
                break
        own = re.compile(rf"\s*{re.escape(parts[0])}\s*=") if parts else None
        for number, line in enumerate(self.lines[at:], at + 1):
            if own is None or line.lstrip().startswith("["):
                break
            if own.match(line):
                at = number
                break
        place = self.origin if not at else f"{self.origin}:{at}"
        return PlatformFileError(f"{place}: {where} {text}")


def format_platform(platform: Platform) -> str:
    """The TOML of a platform. Fields without an entry in `sources` are left out if they have their
    default value; ValueError if not, for no number goes without its source."""
    parts = [f"name = {_quote(platform.name)}\n"]
    for section, holder, known in (
        ("facts", platform, _fact_fields()),
        ("costs", platform.costs, _cost_fields()),
    ):
        for key, item in known.items():
            value = getattr(holder, item.name)
            told = platform.sources.get(item.name)
            if told is None:
                if section == "facts" and value == item.default:
                    continue
                if section == "costs" and value == item.default == 0:
                    continue
                raise ValueError(f"{item.name} of platform {platform.name!r} has no source")
            found = _PROVENANCE.fullmatch(told)
            if found is None:
                raise ValueError(
                    f"source of {item.name} must be provenance(source, date): {told!r}"
                )
            parts.append(
                f"[{section}.{key}]\n"
                f"value = {_toml(value)}\n"
                f"unit = {_quote(_unit_of(item.name))}\n"
                f"source = {_quote(found[2])}\n"
                f"date = {_quote(found[1])}\n" + _interval_line(platform, item.name)
            )
    return "\n".join(parts)


def write_platform(platform: Platform, path: Path) -> None:
    """Write the file in one step: a reader sees the old one or the new one, never half of one.
    Makes missing folders. Raises OSError, and ValueError as format_platform does."""
    text = format_platform(platform)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _cost_fields() -> dict[str, Field[Any]]:
    return {_key_of(item.name): item for item in fields(Costs)}


def _fact_fields() -> dict[str, Field[Any]]:
    return {
        _key_of(item.name): item
        for item in fields(Platform)
        if item.name not in _NO_FACTS and item.default is not MISSING
    }


def _key_of(name: str) -> str:
    return next((name.removesuffix(end) for end in _UNITS if name.endswith(end)), name)


def _unit_of(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _positive(item: Field[Any]) -> bool:
    """Costs must not be zero, or simulated time could stand still; facts may."""
    return item.name in Costs.__dataclass_fields__ and item.default != 0


def _accepted(item: Field[Any]) -> str:
    if item.name == "wake_policy":
        return ", ".join(f'"{policy}"' for policy in _WAKE_POLICIES)
    if isinstance(item.default, bool):
        return "true, false"
    if isinstance(item.default, int):
        return "a whole number from 1"
    return "a number above 0" if _positive(item) else "a number from 0"


def _interval_line(platform: Platform, name: str) -> str:
    ends = platform.intervals.get(name)
    return "" if ends is None else f"{_INTERVAL} = [{ends[0]!r}, {ends[1]!r}]\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quote(value) if isinstance(value, str) else repr(value)


def _quote(text: str) -> str:
    """A TOML basic string. JSON escapes the same way, but leaves DEL alone, which TOML forbids."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
