"""The command line: the program, its small commands, and how errors become exit codes.

Results go to stdout, progress and complaints to stderr. Exit codes: 0 good; 1 an objective was
missed; 2 the input is wrong; 3 a run is invalid; 4 an engine failed; 130 interrupted.

`mpmlab bench` is cli_bench.py, `compare` and `export` are cli_compare.py and cli_export.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from mpmlab import __version__
from mpmlab.bench.conduct import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED
from mpmlab.bench.prepare import RequestError
from mpmlab.bench.profiles import ProfileError
from mpmlab.bench.results import ResultsError
from mpmlab.bench.slo import SloError
from mpmlab.bench.task import EngineError
from mpmlab.cli_bench import bench_command
from mpmlab.cli_calibrate import calibrate_command
from mpmlab.cli_compare import compare_command
from mpmlab.cli_export import export_command
from mpmlab.cli_mpms import mpms_command
from mpmlab.cli_profile import profile_command
from mpmlab.cli_serve import serve_command
from mpmlab.cli_validate import validate_command
from mpmlab.core.directives import DirectiveError
from mpmlab.core.httpd_conf import ConfError
from mpmlab.core.platform_file import PlatformFileError
from mpmlab.httpd.program import HttpdMissingError
from mpmlab.kernel.interface import KernelError
from mpmlab.report.console import stdout
from mpmlab.report.lists import scenario_table
from mpmlab.workload.errors import WorkloadError
from mpmlab.workload.scenario import load_scenario, shipped_scenarios

#: Errors of the user's input, whose text needs no more words.
_INPUT_ERRORS: Final = (
    RequestError,
    DirectiveError,
    ConfError,
    WorkloadError,
    PlatformFileError,
    SloError,
    ProfileError,
)


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
    except (EngineError, HttpdMissingError, KernelError, ResultsError, OSError) as error:
        return _complain(str(error), EXIT_FAILED)
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", EXIT_INTERRUPTED)
    return code if isinstance(code, int) else 0


def _complain(text: str, code: int) -> int:
    click.echo(f"mpmlab: error: {text}", err=True)
    return code


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mpmlab")
@click.pass_context
def commands(context: click.Context) -> None:
    """Simulate and benchmark the Multi-Processing Modules of the Apache HTTP Server."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@commands.command("scenarios")
def list_scenarios() -> None:
    """List the scenarios that come with mpmlab."""
    stdout().print(scenario_table((name, load_scenario(name)) for name in shipped_scenarios()))


for command in (
    bench_command, calibrate_command, compare_command, export_command, mpms_command,
    profile_command, serve_command, validate_command,
):  # fmt: skip
    commands.add_command(command)
