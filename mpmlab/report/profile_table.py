"""The tables of `mpmlab profile`: what a profile says, which there are, how two differ.

Formatting only: what they say comes from bench/profiles.py. Sources are long and end alike (which
machine, which measuring): an end that several share is written once, below the table, and [1] where
it belongs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.table import Table

from mpmlab.bench.profiles import (
    Change,
    Difference,
    Origin,
    Place,
    Profile,
    Value,
    oldest,
    standing,
    values_of,
)
from mpmlab.core.platform import Platform

_MISSING: Final = "-"
_WRONG: Final = "WRONG"
_DEFAULT: Final = "mpmlab's default; not in the profile"
#: What stands between the parts of a source.
_BETWEEN: Final = "; "
#: From here on a value is written as a whole number.
_WHOLE: Final = 1000


class Notes:
    """The ends that several of these sources share, numbered in order of appearance."""

    def __init__(self, sources: Iterable[str | None]) -> None:
        counted = Counter(_end(source) for source in sources if source is not None)
        shared = (end for end, count in counted.items() if end and count > 1)
        self._numbers = {end: number for number, end in enumerate(shared, 1)}

    def short(self, source: str | None) -> str:
        """The source with the number instead of a shared end."""
        if source is None:
            return _DEFAULT
        number = self._numbers.get(_end(source))
        return source if number is None else f"{source.rpartition(_BETWEEN)[0]} [{number}]"

    def lines(self) -> Iterator[str]:
        """What the numbers stand for, to be printed below the table."""
        return (f"[{number}] {end}" for end, number in self._numbers.items())


def _end(source: str) -> str:
    before, _, end = source.rpartition(_BETWEEN)
    return end if before else ""


def profile_head(profile: Profile) -> Iterator[str]:
    """What must stand above the values: which profile, from which file, and how good."""
    place = profile.place
    yield f"{place.name}: {_origin(place)}, named {profile.platform.name!r} in its file"
    yield f"file: {place.path}"
    yield standing(profile.platform)


def profile_table(profile: Profile) -> tuple[Table, Notes]:
    """One row for each field, costs first; and the notes that its sources refer to."""
    values = values_of(profile.platform)
    notes = Notes(value.source for value in values)
    table = _table("", "field")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("interval", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("source")
    seen = ""
    for value in values:
        if seen and value.section != seen:
            table.add_section()
        group = "" if value.section == seen else value.section
        seen = value.section
        date = value.date or _MISSING
        source = notes.short(value.source)
        ends = _MISSING if value.interval is None else "{:.4g} to {:.4g}".format(*value.interval)
        table.add_row(group, value.key, _text(value), ends, value.unit, date, source)
    return table, notes


def list_table(rows: Iterable[tuple[Place, Platform | None]]) -> Table:
    """One row for each place; without a platform, its file is wrong."""
    table = _table("name")  # in one piece however narrow the window is, for it is to be copied
    table.add_column("where from", overflow="fold")
    table.add_column("oldest\nvalue", no_wrap=True)
    table.add_column("file", overflow="fold")
    for place, platform in rows:
        date = _WRONG if platform is None else oldest(platform)
        table.add_row(place.name, _origin(place), date, str(place.path))
    return table


def difference_head(found: Difference) -> Iterator[str]:
    """Which two profiles A and B are, and how good."""
    for letter, profile in (("A", found.first), ("B", found.second)):
        first, *rest = profile_head(profile)
        yield f"{letter} = {first}"
        yield from rest


def difference_table(found: Difference) -> tuple[Table, Notes]:
    """One row for each field that differs, then those that only A, and that only B has; and the
    notes that the sources refer to."""
    groups = (
        ("both", found.changed), ("only A", found.only_first), ("only B", found.only_second)
    )  # fmt: skip
    changes = [change for _, group in groups for change in group]
    notes = Notes(v.source for change in changes for v in (change.first, change.second))
    table = _table("", "field", "unit")
    for heading in ("A", "B", "B/A"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("source")
    for title, group in groups:
        _add_changes(table, title, group, notes)
        table.add_section()
    return table, notes


def _add_changes(table: Table, title: str, changes: Sequence[Change], notes: Notes) -> None:
    for number, change in enumerate(changes):
        a, b = change.first, change.second
        table.add_row(
            "" if number else title,
            f"{a.section}.{a.key}",
            a.unit,
            _text(a),
            _text(b),
            _MISSING if change.ratio is None else f"{change.ratio:.3f}",
            f"A: {_dated(a, notes)}\nB: {_dated(b, notes)}",
        )


def difference_count(found: Difference) -> str:
    """How many fields differ, and how many do not."""
    text = f"{_fields(len(found.changed))} with different values, {found.equal} with equal ones"
    only = len(found.only_first) + len(found.only_second)
    return f"{text}; only one profile has {only}, neither has {found.absent}."


def _table(*headings: str) -> Table:
    table = Table(pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _origin(place: Place) -> str:
    if place.origin is Origin.FILE or not place.fingerprint:
        return str(place.origin)
    return f"{place.origin} ({place.fingerprint})"


def _dated(value: Value, notes: Notes) -> str:
    text = notes.short(value.source)
    return text if value.date is None else f"{text}, {value.date}"


def _text(value: Value) -> str:
    """Four significant digits, or all before the point, of what was measured; counts, truths and
    words as they are in the file."""
    plain = value.value
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, float):
        return f"{plain:.0f}" if abs(plain) >= _WHOLE else f"{plain:.4g}"
    return str(plain)


def _fields(count: int) -> str:
    return f"{count} field{'' if count == 1 else 's'}"
