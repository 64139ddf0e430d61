"""The options of `mpmlab bench`: their names, ranges and help. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from mpmlab.bench.network import NETWORKS
from mpmlab.bench.prepare import DEFAULT_ENGINES, DEFAULT_SCENARIO
from mpmlab.core.directive_table import CURRENT, VERSIONS

_LONGEST_TIMEOUT_S: Final = 3600.0
_MOST_CLIENTS: Final = 64

_Command = Callable[..., Any]

_OPTIONS: Final = (
    click.option(
        "--mpm",
        "--with-mpm",
        "mpms",
        metavar="NAMES",
        help="One of `mpmlab mpms`, several with commas, "
        "or all. Default: the one httpd would choose on this platform.",
    ),
    click.option(
        "--scenario",
        default=DEFAULT_SCENARIO,
        show_default=True,
        metavar="NAME|PATH",
        help="A shipped scenario (see `mpmlab scenarios`) or a TOML file.",
    ),
    click.option(
        "--duration",
        "duration_s",
        type=float,
        metavar="S",
        help="Seconds of load. Default: the scenario's.",
    ),
    click.option(
        "--rate",
        "rate_per_s",
        type=click.FloatRange(0, 1e6, min_open=True),
        metavar="PER_S",
        help="Requests per second of the measured clients. Default: the scenario's.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**63 - 1),
        default=1,
        show_default=True,
        help="Of every random number of the load.",
    ),
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="NAME=VALUE",
        help="A directive, such as ThreadsPerChild=8. Overrides the scenario's. Repeatable.",
    ),
    click.option(
        "--engine",
        "engines",
        metavar="NAMES",
        help="httpd, real, sim, or several with commas, in the order in which they run. "
        f"Default: {DEFAULT_ENGINES}.",
    ),
    click.option(
        "--platform",
        metavar="NAME|PATH",
        help="Simulate on another platform (see `mpmlab profile list`). Of one with assumed values "
        "the numbers are intervals. Default: this machine.",
    ),
    click.option(
        "--httpd",
        metavar="PATH",
        help="The program of the httpd engine. Default: apache2 or httpd, where it is found.",
    ),
    click.option(
        "--httpd-conf",
        metavar="PATH",
        help="Take the MPM's directives from an httpd.conf, or a folder of them such as "
        "mods-enabled. --set overrides them, they override the scenario's.",
    ),
    click.option(
        "--httpd-version",
        "version",
        type=click.Choice(VERSIONS),
        default=CURRENT,
        show_default=True,
        help="Whose defaults a directive has that is not given.",
    ),
    click.option(
        "--url",
        metavar="URL",
        help="Drive a server that already runs, instead of one of ours. A path in it is asked for "
        "by every request; without one each asks for its own /work?...",
    ),
    click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("results"),
        show_default=True,
        help="Where the results folder is made.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        default=10.0,
        show_default=True,
        metavar="S",
        type=click.FloatRange(0, _LONGEST_TIMEOUT_S, min_open=True),
        help="How long a client waits for an answer.",
    ),
    click.option(
        "--clients",
        type=click.IntRange(1, _MOST_CLIENTS),
        default=1,
        show_default=True,
        help="Load processes that share the plan (real engine).",
    ),
    click.option(
        "--network",
        type=click.Choice(NETWORKS),
        default=NETWORKS[0],
        show_default=True,
        help="How real clients with a link (rtt_s, ..._bytes_per_s) are on it: by their own "
        "pacing, or through two network namespaces (root).",
    ),
    click.option(
        "--slo",
        metavar="OBJECTIVES",
        help="Such as 'p99<50ms,errors<0.1%'. Exit code 1 if one is missed.",
    ),
    click.option(
        "--find-knee",
        is_flag=True,
        help="Search for the highest rate that meets --slo, within 10 %.",
    ),
    click.option(
        "--repeat",
        "repetitions",
        type=click.IntRange(1, 1000),
        help="Repetitions, in alternating order, and intervals over them. Default: 1.",
    ),
    click.option(
        "--publish",
        is_flag=True,
        help="Strict gates and at least 10 repetitions: for numbers that others are to rely on.",
    ),
    click.option(
        "--access-log",
        is_flag=True,
        help="Each request says its number in the plan, and httpd keeps an access log of them.",
    ),
    click.option("--quiet", is_flag=True, help="No progress, only results and warnings."),
    click.option(
        "--refresh-profile",
        is_flag=True,
        help="Measure this machine's costs again, even if they are known.",
    ),
)


def with_options(command: _Command) -> _Command:
    """The command with all of them, in the order in which --help lists them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
