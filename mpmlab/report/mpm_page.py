"""What `mpmlab mpms NAME`, `-l` and `-V` print. Formatting only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.table import Table

from mpmlab import __version__
from mpmlab.core.directive_kinds import Directive
from mpmlab.core.directive_table import CURRENT, OLDER, OLDER_NAMES, default_in
from mpmlab.core.directives import accepted_by, effective
from mpmlab.mpms.catalog import Mpm
from mpmlab.mpms.portrait import PORTRAITS
from mpmlab.mpms.query import queries

#: What every server has besides its MPM.
_ALWAYS: Final = ("core.c", "http_core.c")


def source_name(mpm: Mpm) -> str:
    """As `httpd -l` lists it: the file that the MPM is in."""
    return PORTRAITS[mpm.name].source.partition(",")[0].rpartition("/")[2]


def compiled_in(mpms: Iterable[Mpm]) -> str:
    """`httpd -l`."""
    names = (*_ALWAYS, *map(source_name, mpms))
    return "\n".join(["Compiled in modules:", *(f"  {name}" for name in names)])


def version_page(mpm: Mpm) -> str:
    """The lines of `httpd -V` that tell of the MPM."""
    return (
        f"Server version: mpmlab/{__version__}\n"
        f"Server MPM:     {mpm.httpd_name}\n"
        f"  threaded:     {mpm.threaded}\n"
        f"    forked:     {mpm.forked}"
    )


def heading(mpm: Mpm) -> str:
    """Its names, what it is, and its structure."""
    portrait = PORTRAITS[mpm.name]
    names = ", ".join(dict.fromkeys((mpm.name, f"mpm_{mpm.name}", *mpm.aliases, mpm.httpd_name)))
    lines = [
        f"{mpm.name}: {mpm.summary}",
        "",
        f"names: {names}",
        f"httpd: {portrait.source}; {portrait.versions}; the default of: {portrait.platforms}",
        f"accepts: {mpm.accepts}; an idle keep-alive connection holds: {mpm.keep_alive_costs}",
        "",
        portrait.structure,
    ]
    if portrait.quirks:
        lines += ["", "quirks (Quirks Off does without):", *(f"* {q}" for q in portrait.quirks)]
    return "\n".join(lines)


def directive_table(mpm: Mpm) -> Table:
    """Name, defaults of httpd 2.2 and 2.4, what is accepted. A name or a directive that 2.2 does
    not have is told in its column."""
    table = Table(title="Directives", title_justify="left", title_style="bold")
    for column in ("directive", "in 2.2", "in 2.4", "accepted", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    name = mpm.settings_name
    for directive in accepted_by(name):
        older = _text(default_in(directive, name, OLDER))
        if older != "-" and directive.name in OLDER_NAMES:
            older = f"{OLDER_NAMES[directive.name]} {older}"
        newer = (
            "-" if mpm.name == "beos" else _text(default_in(directive, mpm.settings_name, CURRENT))
        )
        table.add_row(directive.name, older, newer, _accepted(directive, name), directive.doc)
    return table


def _accepted(directive: Directive, mpm: str) -> str:
    """What a value may be; of a number that httpd clamps, to what (with the others' defaults)."""
    if directive.kind != "int" or directive.low >= 0:
        return directive.accepted().removeprefix("a ").removeprefix("whole number from ")
    ends = [
        effective(mpm, {directive.name: str(extreme)}).as_directives()[directive.name]
        for extreme in (directive.low, directive.high)
    ]
    most = "any" if ends[1] == directive.high else ends[1]
    return f"clamped to {ends[0]} to {most}"


def _text(value: object) -> str:
    if value is None:
        return "-"
    return ("Off", "On")[value] if isinstance(value, bool) else f"{value}"


def query_table(mpm: Mpm) -> Table:
    """What ap_mpm_query() answers with the default settings."""
    table = Table(title="ap_mpm_query", title_justify="left", title_style="bold")
    table.add_column("AP_MPMQ_", no_wrap=True)
    table.add_column("answer", justify="right")
    for code, answer in queries(effective(mpm.settings_name)).items():
        table.add_row(code, str(answer))
    return table
