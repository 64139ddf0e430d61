"""`mpmlab mpms`: what there is to choose from, and each MPM's page. Options and order only."""

from __future__ import annotations

import platform

import click

from mpmlab.bench.prepare import RequestError
from mpmlab.mpms.catalog import CATALOG, Mpm, default_mpm, find_mpm
from mpmlab.report.console import stdout
from mpmlab.report.lists import default_table, mpm_table
from mpmlab.report.mpm_page import (
    compiled_in,
    directive_table,
    heading,
    query_table,
    version_page,
)


def the_mpm(name: str | None) -> Mpm:
    """The one of that name, by default the platform's. Raises RequestError."""
    found = find_mpm(default_mpm(platform.system()) if name is None else name)
    if found is None:
        raise RequestError(f"unknown MPM {name!r}; accepted: {', '.join(CATALOG)}")
    return found


@click.command("mpms")
@click.argument("name", required=False)
@click.option("-l", "listed", is_flag=True, help="List what is compiled in, as httpd -l does.")
@click.option("-V", "version", is_flag=True, help="Name, threads and processes, as httpd -V does.")
@click.option("--defaults", is_flag=True, help="Only which MPM each platform has by default.")
def mpms_command(name: str | None, listed: bool, version: bool, defaults: bool) -> None:
    """List the MPMs, or show one: its structure, directives and limits, and what it answers."""
    out = stdout()
    if listed:
        click.echo(compiled_in(CATALOG.values() if name is None else (the_mpm(name),)))
    elif version:
        click.echo(version_page(the_mpm(name)))
    elif defaults:
        out.print(default_table(platform.system()))
    elif name is not None:
        mpm = the_mpm(name)
        click.echo(heading(mpm))
        for table in (directive_table(mpm), query_table(mpm)):
            out.print()
            out.print(table)
    else:
        out.print(mpm_table())
        out.print()
        out.print(default_table(platform.system()))
