"""The tables of `mpmlab mpms` and `mpmlab scenarios`: what there is to choose from.

Formatting only.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from mpmlab.mpms.catalog import CATALOG, PLATFORM_DEFAULTS, default_mpm
from mpmlab.workload.scenario import Scenario


def mpm_table() -> Table:
    """What each MPM is."""
    table = Table(title="Multi-Processing Modules", title_justify="left", title_style="bold")
    for heading in ("name", "what it is", "threaded", "forked", "async"):
        table.add_column(heading)
    for mpm in CATALOG.values():
        table.add_row(
            mpm.name, mpm.summary, mpm.threaded, mpm.forked, "yes" if mpm.asynchronous else "no"
        )
    return table


def default_table(system: str) -> Table:
    """Which MPM httpd is built with on each platform when none is chosen; `system` is this one."""
    table = Table(
        title="The MPM that httpd chooses by platform",
        title_justify="left",
        title_style="bold",
        caption=f"on this machine ({system}): {default_mpm(system)}",
        caption_justify="left",
    )
    for heading in ("platform", "httpd 2.0", "httpd 2.2", "httpd 2.4"):
        table.add_column(heading)
    for row in PLATFORM_DEFAULTS:
        table.add_row(*row)
    return table


def scenario_table(scenarios: Iterable[tuple[str, Scenario]]) -> Table:
    """(name to ask for, scenario) by name."""
    table = Table(title="Scenarios", title_justify="left", title_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("duration (s)", justify="right")
    table.add_column("what it is")
    for name, scenario in scenarios:
        table.add_row(name, f"{scenario.duration_us / 1e6:g}", scenario.description)
    return table
