"""`mpmlab serve`: one MPM as a server, until it is told to stop. Options and order only.

The server is the real engine's. Its error log goes to stderr as it is written.
"""

from __future__ import annotations

from typing import Any, Final

import click

from mpmlab.bench.interruption import Interruption
from mpmlab.bench.prepare import RequestError, message_text, read_pair
from mpmlab.bench.server import ENTRY, board_bytes, payload
from mpmlab.cli_mpms import the_mpm
from mpmlab.core.directives import effective
from mpmlab.mpms.catalog import Mpm
from mpmlab.real.launch import start_server
from mpmlab.report.mpm_page import compiled_in, version_page
from mpmlab.workload.conf_files import read_httpd_conf

#: How long a server that was told to stop may take before it is killed.
_STOP_S: Final = 35.0
#: How often it is looked after.
_LOOK_S: Final = 0.2
_MODULE_ERROR: Final = "AH00534: mpmlab: Configuration error:"


def one_mpm(names: tuple[str, ...]) -> Mpm:
    """Exactly one is loaded: the one that was named, or the platform's. Raises RequestError with
    httpd's complaint about none and about several (server/mpm_common.c, mpm_check_mpm)."""
    split = [name.strip() for text in names for name in text.split(",")]
    if names and not any(split):
        raise RequestError(f"{_MODULE_ERROR} No MPM loaded.")
    if len(split) > 1:
        raise RequestError(f"{_MODULE_ERROR} More than one MPM loaded.")
    return the_mpm(split[0] if split else None)


@click.command("serve")
@click.option(
    "--mpm",
    "--with-mpm",
    "names",
    multiple=True,
    metavar="NAME",
    help="Which one. Default: the one httpd would choose on this platform.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port to listen on. Default: one that is free.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help="A directive, such as ThreadsPerChild=8. Repeatable.",
)
@click.option("--httpd-conf", metavar="PATH", help="Take the MPM's directives from an httpd.conf.")
@click.option("-l", "listed", is_flag=True, help="List what is compiled in, and end.")
@click.option("-V", "version", is_flag=True, help="The MPM, its threads and processes, and end.")
@click.option("-t", "check", is_flag=True, help="Check the directives only.")
def serve_command(names: tuple[str, ...], listed: bool, version: bool, **typed: Any) -> int:
    """Run one MPM as a server that does what its requests ask for (/work?cpu_us=..&wait_us=..).

    Signals to its process are httpd's: TERM stop, WINCH graceful stop, HUP restart, USR1 graceful
    restart. Ctrl-C stops it."""
    mpm = one_mpm(names)
    if listed:
        click.echo(compiled_in((mpm,)))
        return 0
    if version:
        click.echo(version_page(mpm))
        return 0
    pairs = [read_pair(text) for text in typed["sets"]]
    if typed["httpd_conf"]:
        found = read_httpd_conf(typed["httpd_conf"], mpm.settings_name)
        pairs = [*((line.name, line.value) for line in found.directives), *pairs]
    settings = effective(mpm.settings_name, pairs)
    for message in settings.messages:
        click.echo(message_text(message), err=True)
    if typed["check"]:
        click.echo("Syntax OK", err=True)
        return 0
    interruption = Interruption()
    with interruption.installed(), interruption.polite():
        server = start_server(
            ENTRY,
            payload(mpm.name, pairs, serialized_accept=False),
            board_bytes(settings),
            settings.listen_backlog,
            log_path="/dev/stderr",
            send_buffer_bytes=settings.send_buffer_size,
            host=typed["host"],
            port=typed["port"],
        )
        with server:
            where = f"http://{typed['host']}:{server.port}/"
            click.echo(f"{mpm.name} at {where} (process {server.pid}); Ctrl-C stops it")
            while (code := server.wait(_LOOK_S)) is None:
                if interruption:
                    code = server.stop(_STOP_S)
                    break
    return 0 if code == 0 else 4
