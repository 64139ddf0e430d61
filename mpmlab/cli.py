"""The command line: parse, call, print. No decision about servers or load is made here.

Results go to stdout, progress and complaints to stderr. Exit codes: 0 done; 1 a process died or an
engine could not run; 2 the input is wrong; 3 done, but a run is invalid; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from mpmlab import __version__
from mpmlab.bench.conduct import conduct, exit_code, keep
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.prepare import (
    DEFAULT_SCENARIO,
    Bench,
    RequestError,
    message_text,
    prepare,
)
from mpmlab.bench.profile import profile_for
from mpmlab.bench.results import Results, ResultsError, check_out
from mpmlab.bench.summary import doubts
from mpmlab.bench.task import EngineError, Watch
from mpmlab.core.directives import DirectiveError
from mpmlab.core.platform_file import PlatformFileError
from mpmlab.kernel.interface import KernelError
from mpmlab.report.lists import default_table, mpm_table, scenario_table
from mpmlab.report.plots import draw
from mpmlab.report.progress import Reporter
from mpmlab.report.table import NOT_VALIDATED, comparison
from mpmlab.workload.errors import WorkloadError
from mpmlab.workload.scenario import load_scenario, shipped_scenarios

EXIT_FAILED: Final = 1
EXIT_INPUT: Final = 2
EXIT_INTERRUPTED: Final = 130

#: Width of tables when stdout is not a terminal: wide enough for three MPMs side by side.
_FILE_WIDTH: Final = 160
_LONGEST_TIMEOUT_S: Final = 3600.0

#: Errors of the user's input, whose text needs no more words.
_INPUT_ERRORS: Final = (RequestError, DirectiveError, WorkloadError, PlatformFileError)


def main() -> None:
    """The `mpmlab` program."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; its exit code."""
    try:
        code = commands.main(args=list(arguments), prog_name="mpmlab", standalone_mode=False)
    except click.ClickException as error:
        return _complain(error.format_message(), EXIT_INPUT)
    except _INPUT_ERRORS as error:
        return _complain(str(error), EXIT_INPUT)
    except (EngineError, KernelError, ResultsError, OSError) as error:
        return _complain(str(error), EXIT_FAILED)
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", EXIT_INTERRUPTED)
    return code if isinstance(code, int) else 0


def _complain(text: str, code: int) -> int:
    click.echo(f"mpmlab: error: {text}", err=True)
    return code


def _stdout() -> Console:
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    return Console(highlight=False, width=width)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mpmlab")
@click.pass_context
def commands(context: click.Context) -> None:
    """Simulate and benchmark the Multi-Processing Modules of the Apache HTTP Server."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@commands.command("mpms")
def list_mpms() -> None:
    """List the MPMs, and which one httpd chooses on each platform."""
    out = _stdout()
    out.print(mpm_table())
    out.print()
    out.print(default_table(platform.system()))


@commands.command("scenarios")
def list_scenarios() -> None:
    """List the scenarios that come with mpmlab."""
    _stdout().print(scenario_table((name, load_scenario(name)) for name in shipped_scenarios()))


@commands.command("bench")
@click.option(
    "--mpm",
    "mpms",
    metavar="NAMES",
    help="prefork, worker, event, several with commas, "
    "or all. Default: the one httpd would choose on this platform.",
)
@click.option(
    "--scenario",
    default=DEFAULT_SCENARIO,
    show_default=True,
    metavar="NAME|PATH",
    help="A shipped scenario (see `mpmlab scenarios`) or a TOML file.",
)
@click.option(
    "--duration",
    "duration_s",
    type=float,
    metavar="S",
    help="Seconds of load. Default: the scenario's.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    help="Of every random number of the load.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help="A directive, such as ThreadsPerChild=8. Overrides the scenario's. Repeatable.",
)
@click.option(
    "--engine",
    "engines",
    default="real,sim",
    show_default=True,
    metavar="NAMES",
    help="real, sim or both, in the order in which they run.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Where the results folder is made.",
)
@click.option(
    "--timeout",
    "timeout_s",
    default=10.0,
    show_default=True,
    metavar="S",
    type=click.FloatRange(0, _LONGEST_TIMEOUT_S, min_open=True),
    help="How long a client waits for an answer.",
)
@click.option("--quiet", is_flag=True, help="No progress, only results and warnings.")
@click.option(
    "--refresh-profile",
    is_flag=True,
    help="Measure this machine's costs again, even if they are known.",
)
def bench_command(
    mpms: str | None,
    scenario: str,
    duration_s: float | None,
    seed: int,
    sets: tuple[str, ...],
    engines: str,
    out: Path,
    timeout_s: float,
    quiet: bool,
    refresh_profile: bool,
) -> int:
    """Run a scenario through an MPM, for real and simulated, and compare.

    Exit code: 0 done, 1 a process died, 2 wrong input, 3 a run is invalid, 130 interrupted."""
    interruption = Interruption()
    with interruption.installed(), Reporter(quiet) as reporter, _warnings_shown(reporter):
        bench = prepare(mpms, scenario, duration_s, seed, sets, engines, timeout_s)
        _check_out(out)
        _introduce(bench, quiet)
        done = _run_all(bench, out, refresh_profile, interruption, reporter)
    return _conclude(done, interruption)


def _check_out(out: Path) -> None:
    try:
        check_out(out)
    except ResultsError as error:
        raise RequestError(f"--out: {error}") from error


def _introduce(bench: Bench, quiet: bool) -> None:
    click.echo(f"plan {bench.plan.hash}")
    click.echo(bench.plan.describe())
    if quiet:
        return
    for task in bench.tasks:
        for message in task.settings.messages:
            click.echo(f"{task.mpm}: {message_text(message)}")


def _run_all(
    bench: Bench, out: Path, refresh: bool, interruption: Interruption, reporter: Reporter
) -> list[tuple[Path, Results]]:
    """Every MPM's results with the folder they are in; fewer if something ended the series."""
    profile = profile_for(bench.engines, refresh, reporter.phase, reporter.advance)
    done = []
    for task in bench.tasks:
        watch = Watch(interruption, reporter.advance)
        with interruption.polite():
            folder, results = conduct(bench, task, profile, watch, reporter.phase, out)
        with interruption.polite(patience=False):
            reporter.phase(f"{task.mpm}: saving results and pictures")
            keep(folder, results, draw)
        done.append((folder, results))
        if interruption or any(run.faults for run in results.runs.values()):
            break
    return done


def _conclude(done: Sequence[tuple[Path, Results]], interruption: Interruption) -> int:
    """Table, warnings, folders; the exit code."""
    out = _stdout()
    summaries = {results.experiment.mpm: results.summaries() for _, results in done}
    if done:
        asked = done[0][1].experiment
        title = f"{asked.scenario}, seed {asked.seed}, {asked.duration_s:g} s"
        out.print()
        out.print(comparison(summaries, title))
    if any("sim" in engines for engines in summaries.values()):
        out.print(NOT_VALIDATED)
    valid = True
    for folder, results in done:
        mpm = results.experiment.mpm
        for engine, run in results.runs.items():
            summary = summaries[mpm][engine]
            for kind, count in summary.errors_by_kind.items():
                out.print(f"{mpm}, {engine}: {count} requests ended as {kind}")
            for note in run.notes:
                out.print(f"note: {mpm}, {engine}: {note}", soft_wrap=True)
            for fault in run.faults:
                out.print(f"INCOMPLETE: {mpm}, {engine}: {fault}", soft_wrap=True)
            if run.complete:
                for doubt in doubts(run, summary):
                    valid = False
                    out.print(f"INVALID: {mpm}, {engine}: {doubt}", soft_wrap=True)
        out.print(f"results and pictures: {folder}", soft_wrap=True)
    return exit_code([results for _, results in done], valid, bool(interruption))


class _ToReporter(logging.Handler):
    """Shows warnings of our own modules (lines of an access log that do not parse) as they come."""

    def __init__(self, reporter: Reporter):
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """One line, quiet or not."""
        self._reporter.say(f"mpmlab: warning: {record.getMessage()}", always=True)


@contextlib.contextmanager
def _warnings_shown(reporter: Reporter) -> Iterator[None]:
    logger, handler = logging.getLogger("mpmlab"), _ToReporter(reporter)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
