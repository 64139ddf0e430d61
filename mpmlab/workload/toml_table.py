"""Reading TOML with an address for every complaint: file, line, key, what is accepted.

The mechanics only: tables, types, ranges, unknown keys. What a scenario means is scenario.py.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from mpmlab.workload.errors import ScenarioError

Where = tuple[str | int, ...]
D = TypeVar("D")

#: A default that means "the key must be there".
REQUIRED: Final = object()

_NAME: Final = r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'"""
_DOTTED: Final = rf"(?:{_NAME})(?:\s*\.\s*(?:{_NAME}))*"
_HEADER: Final = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY: Final = re.compile(rf"\s*({_DOTTED})\s*=")
_AT_LINE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")


def read_toml(path: Path) -> Table:
    """The top table of a file. Raises ScenarioError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot read the scenario: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text: {error.reason}") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT_LINE.search(str(error))
        place = f":{at[1]}" if at else ""
        raise ScenarioError(f"{path}{place}: not TOML: {_AT_LINE.sub('', str(error))}") from error
    return Table(path, find_lines(text), (), content)


def find_lines(text: str) -> dict[Where, int]:
    """The line of each table and key, by its path; elements of [[arrays]] count from 0. Keys in
    inline tables are not found (their table's line stands for them), and a multi-line string that
    looks like TOML may add lines of keys that do not exist."""
    lines: dict[Where, int] = {}
    table: Where = ()
    counts: dict[Where, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            table = _resolve(_split(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_split(key[1])), number)
    return lines


def _split(dotted: str) -> Where:
    return tuple(part.strip("\"'") for part in re.findall(_NAME, dotted))


def _resolve(names: Where, counts: Mapping[Where, int]) -> Where:
    """[class.cpu_us] belongs to the last [[class]] before it."""
    path: Where = ()
    for i, name in enumerate(names):
        path = (*path, name)
        if path in counts and i < len(names) - 1:
            path = (*path, counts[path])
    return path


class Table:
    """One table and where it stands."""

    def __init__(self, file: Path, lines: Mapping[Where, int], path: Where, content: Any):
        self.file = file
        self._lines = lines
        self._path = path
        self.content: Mapping[str, Any] = content

    def line(self, key: str) -> int:
        """The line of a key, or that of the nearest table around it; 0 if there is none."""
        where: Where = (*self._path, key)
        while where and where not in self._lines:
            where = where[:-1]
        return self._lines.get(where, 0)

    def wrong(self, key: str, problem: str) -> ScenarioError:
        """The error to raise about a key."""
        line = self.line(key)
        name = ""
        for part in (*self._path, key) if key else self._path:
            name += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
        return ScenarioError(f"{self.file}{f':{line}' if line else ''}: {name[1:]}: {problem}")

    def only(self, accepted: Iterable[str]) -> None:
        """Every key must be one of these."""
        accepted = list(accepted)
        for key in self.content:
            if key not in accepted:
                near = difflib.get_close_matches(key, accepted, 1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise self.wrong(key, f"unknown key; {hint}accepted: {', '.join(accepted)}")

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self.content

    def value(self, key: str, accepted: str, default: Any = REQUIRED) -> Any:
        """The raw value; `accepted` says in the error what would be right."""
        if key in self.content:
            return self.content[key]
        if default is REQUIRED:
            raise self.wrong(key, f"missing; accepted: {accepted}")
        return default

    def number(
        self, key: str, low: float, high: float, *, above: bool = False, default: Any = REQUIRED
    ) -> float:
        """A finite number from `low` (or, with above=True, greater than it) to `high`."""
        accepted = f"a number {'above' if above else 'from'} {low:.12g} to {high:.12g}"
        value = self.value(key, accepted, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, f"is {value!r}; accepted: {accepted}")
        if not math.isfinite(value) or not low <= value <= high or (above and value == low):
            raise self.wrong(key, f"is {value!r}; accepted: {accepted}")
        return float(value)

    def integer(self, key: str, low: int, high: int, *, default: Any = REQUIRED) -> int:
        """A whole number from `low` to `high`."""
        accepted = f"a whole number from {low} to {high}"
        value = self.value(key, accepted, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"is {value!r}; accepted: {accepted}")
        return value

    def text(self, key: str, *, default: Any = REQUIRED) -> str:
        """Text; one that must be there must not be empty."""
        value = self.value(key, "text in quotes", default)
        if not isinstance(value, str) or (default is REQUIRED and not value.strip()):
            raise self.wrong(key, f"is {value!r}; accepted: text in quotes")
        return value

    def boolean(self, key: str, *, default: Any = REQUIRED) -> bool:
        """true or false."""
        value = self.value(key, "true, false", default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"is {value!r}; accepted: true, false")
        return value

    def choice(self, key: str, options: Iterable[str], *, default: Any = REQUIRED) -> str:
        """One of a few words."""
        options = list(options)
        value = self.value(key, ", ".join(options), default)
        if value not in options:
            near = difflib.get_close_matches(str(value), options, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise self.wrong(key, f"is {value!r}; {hint}accepted: {', '.join(options)}")
        return str(value)

    def numbers(self, key: str, low: float, high: float) -> tuple[float, ...]:
        """A list of at least one number, each from `low` to `high`."""
        accepted = f"a list of numbers from {low:.12g} to {high:.12g}"
        value = self.value(key, accepted)
        if not isinstance(value, list) or not value:
            raise self.wrong(key, f"is {value!r}; accepted: {accepted}")
        for item in value:
            good = isinstance(item, int | float) and not isinstance(item, bool)
            if not good or not low <= item <= high:
                raise self.wrong(key, f"holds {item!r}; accepted: {accepted}")
        return tuple(float(item) for item in value)

    def table(self, key: str, *, optional: bool = False) -> Table:
        """A table inside this one; an optional one that is missing is empty."""
        value = self.value(key, f"a table [{key}]", {} if optional else REQUIRED)
        if not isinstance(value, dict):
            raise self.wrong(key, f"is {value!r}; accepted: a table [{key}]")
        return Table(self.file, self._lines, (*self._path, key), value)

    def tables(self, key: str) -> list[Table]:
        """An array of one or more tables: [[key]], or key = [{ ... }, { ... }]."""
        value = self.value(key, f"one or more tables [[{key}]]")
        good = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
        if not good:
            raise self.wrong(key, f"accepted: one or more tables [[{key}]]")
        return [
            Table(self.file, self._lines, (*self._path, key, i), item)
            for i, item in enumerate(value)
        ]
