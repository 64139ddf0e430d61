"""`mpmlab profile show|list|diff`: parse, call, print. Finding and comparing is bench/profiles.py.

Nothing is measured here. Exit codes: 0 shown; 2 the input is wrong, or there is no such profile.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Final

import click
from rich.console import Console

from mpmlab.bench.profiles import (
    LOCAL,
    NOT_MEASURED,
    Place,
    Profile,
    ProfileError,
    difference,
    difference_document,
    find,
    list_document,
    places,
    profile_document,
    read,
)
from mpmlab.core.platform import Platform
from mpmlab.core.platform_file import PlatformFileError
from mpmlab.report.profile_table import (
    difference_count,
    difference_head,
    difference_table,
    list_table,
    profile_head,
    profile_table,
)

#: Most that the tables are wide when stdout is not a terminal: paths and sources in one piece.
_FILE_WIDTH: Final = 400

_as_json = click.option(
    "--json", "as_json", is_flag=True, help="A JSON document instead of the table."
)


class ProfileRefusedError(click.ClickException):
    """There is no such profile."""

    exit_code = 2


@click.group("profile", invoke_without_command=True)
@click.pass_context
def profile_command(context: click.Context) -> None:
    """Show what primitives cost here or elsewhere, as the simulation is told.

    A profile is asked for by its name in `mpmlab profile list`, by the path of its .toml file, or
    as "local": this machine's."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@profile_command.command("show")
@click.argument("profile", metavar="[NAME|PATH]", default=LOCAL)
@_as_json
def show_command(profile: str, as_json: bool) -> int:
    """Every value of a profile with unit, date and source. Default: local."""
    found = _read(profile)
    if as_json:
        _print_json(profile_document(found))
        return 0
    table, notes = profile_table(found)
    out = _stdout()
    _print_lines(out, profile_head(found))
    out.print(table)
    _print_lines(out, notes.lines())
    return 0


@profile_command.command("list")
@_as_json
def list_command(as_json: bool) -> int:
    """The profiles that have a name: local, shipped, and what else the cache holds.

    A file that is wrong is listed, too, and named on stderr."""
    rows = [(place, _platform(place)) for place in places()]
    if as_json:
        _print_json(list_document(rows))
        return 0
    out = _stdout()
    out.print(list_table(rows))
    if LOCAL not in [place.name for place, _ in rows]:
        _print_lines(out, [f"{LOCAL}: {NOT_MEASURED}."])
    return 0


@profile_command.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@_as_json
def diff_command(first: str, second: str, as_json: bool) -> int:
    """Each value that differs between profiles A and B, with ratio and sources.

    A value that only one of them has stands beside mpmlab's default."""
    found = difference(_read(first), _read(second))
    if as_json:
        _print_json(difference_document(found))
        return 0
    out = _stdout()
    _print_lines(out, difference_head(found))
    if found.changed or found.only_first or found.only_second:
        table, notes = difference_table(found)
        out.print(table)
        _print_lines(out, notes.lines())
    _print_lines(out, [difference_count(found)])
    return 0


def _read(text: str) -> Profile:
    try:
        return read(find(text))
    except ProfileError as error:
        raise ProfileRefusedError(str(error)) from error


def _platform(place: Place) -> Platform | None:
    """What is kept there; None, and a warning, if that is wrong."""
    try:
        return read(place).platform
    except (PlatformFileError, ProfileError) as error:
        click.echo(f"mpmlab: warning: {error}", err=True)
        return None


def _stdout() -> Console:
    """Where results go. Sources are anybody's words: no markup in them is obeyed."""
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def _print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _print_lines(out: Console, lines: Iterable[str]) -> None:
    for line in lines:
        out.print(line, soft_wrap=True)
