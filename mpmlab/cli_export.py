"""`mpmlab export`: parse, call, print. The formats are bench/export.py, told in docs/results.md.

Exit codes: 0 written; 2 anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from mpmlab.bench.results import ResultsError
from mpmlab.bench.stored import load_stored, run_folders

#: Said here, too, because bench/export.py is imported late; the tests hold them together.
FORMATS: Final = ("hgrm", "hlog", "csv", "parquet", "arrow", "json")
VIEWS: Final = ("response", "service", "lateness")


class ExportRefusedError(click.ClickException):
    """What was asked cannot be exported; nothing was written."""

    exit_code = 2


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    required=True,
    help="hgrm: percentile table; hlog: HdrHistogram interval log; csv, parquet, arrow: one row a "
    "request; json: summary.",
)
@click.option("--engine", metavar="NAME", help="real or sim. Default: real, if the run has it.")
@click.option(
    "--view",
    type=click.Choice(VIEWS),
    default="response",
    show_default=True,
    help="What the histogram of hgrm and hlog is of.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The file to write. Default: named after engine and format, in the results folder.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
def export_command(
    run: Path, format_name: str, engine: str | None, view: str, out: Path | None, force: bool
) -> int:
    """Write a results folder RUN in a format that other programs read.

    An invalid run is exported too, and marked so in the file. Exit code: 0 written, 2 not."""
    # pyarrow takes 0.2 s and starts threads: nobody else shall pay for that.
    from mpmlab.bench.export import ExportError, export, subject_of

    try:
        subject = subject_of(load_stored(_only(run)), engine, view)
        paths = export(subject, format_name, out, force)
    except (ExportError, ResultsError) as error:
        raise ExportRefusedError(str(error)) from error
    for reason in subject.validity.reasons:
        click.echo(f"mpmlab: warning: {run}, {subject.engine}: INVALID: {reason}", err=True)
    for path in paths:
        click.echo(str(path))
    return 0


def _only(run: Path) -> Path:
    folders = run_folders(run)
    if len(folders) > 1:
        raise ExportRefusedError(
            f"{run}: holds {len(folders)} repetitions; accepted: one of them, such as {folders[0]}"
        )
    return folders[0]
