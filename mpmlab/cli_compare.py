"""`mpmlab compare`: parse, call, print. What may be compared, and how, is bench/compare.py.

Exit codes: 0 compared; 2 refused, or the input is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from mpmlab.bench.compare import CompareError, Comparison, compare, document, load_members
from mpmlab.bench.results import ResultsError
from mpmlab.report.compare_table import compare_notes, compare_table
from mpmlab.report.console import stdout


class CompareRefusedError(click.ClickException):
    """Nothing was compared."""

    exit_code = 2


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--engine", "engines", multiple=True, metavar="NAME", help="Only this. Repeatable.")
@click.option(
    "--baseline",
    metavar="VARIANT|RUN",
    help="What the others are compared with, such as worker/real, or a folder. Default: the first.",
)
@click.option("--different-plans", is_flag=True, help="Also if the clients did not ask the same.")
@click.option(
    "--allow-invalid", is_flag=True, help="Use invalid runs, and mark what rests on them."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    help="Of the bootstrap of single runs.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON document instead of the table.")
def compare_command(
    runs: tuple[Path, ...],
    engines: tuple[str, ...],
    baseline: str | None,
    different_plans: bool,
    allow_invalid: bool,
    seed: int,
    as_json: bool,
) -> int:
    """Compare the results folders RUNS: ratios with intervals.

    Runs of one MPM, engine, machine and set of directives are repetitions of one another. Exit
    code: 0 compared, 2 refused or wrong input."""
    try:
        found = compare(
            load_members(runs, engines),
            baseline,
            allow_invalid=allow_invalid,
            different_plans=different_plans,
            seed=seed,
        )
    except (CompareError, ResultsError) as error:
        raise CompareRefusedError(str(error)) from error
    if as_json:
        click.echo(json.dumps(document(found), indent=2, allow_nan=False))
    else:
        _print(found)
    return 0


def _print(found: Comparison) -> None:
    out = stdout()
    for remark in found.remarks:
        out.print(remark, markup=False, soft_wrap=True)
    for variant in found.variants:
        runs = len(variant.members)
        folders = ", ".join(str(member.folder) for member in variant.members)
        text = f"{variant.label}: {runs} run{'s' if runs > 1 else ''}: {folders}"
        out.print(text, markup=False, soft_wrap=True)
    out.print()
    out.print(compare_table(found))
    for note in compare_notes(found):
        out.print(note, markup=False, soft_wrap=True)
