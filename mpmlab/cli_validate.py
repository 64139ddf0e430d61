"""`mpmlab validate`: parse, call, print. Which runs count and what an error is, bench/ decides.

Exit codes: 0 validated; 1 a target of the suite was missed; 2 the input is wrong; 3 no run is
valid; 4 an engine failed; 130 interrupted. A target with too few cases is not missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mpmlab.bench.again import earlier_validation, validate_again
from mpmlab.bench.conduct import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_MISSED,
    describe_platform,
)
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.prepare import REFERENTS, RequestError, chosen_mpms, versions
from mpmlab.bench.profile import Profiles, profile_for
from mpmlab.bench.results import ResultsError, check_out, series_folder, write_json
from mpmlab.bench.standing import keep_standing
from mpmlab.bench.suite import DEFAULT_SUITE, HELD_OUT, ROLES, Case, Suite, load_suite
from mpmlab.bench.targets import Verdict, any_missed, verdicts
from mpmlab.bench.task import Watch
from mpmlab.bench.validate import Wanted, validate, wanted
from mpmlab.bench.validation import FILE, Observation, document, errors
from mpmlab.real.machine import fingerprint
from mpmlab.report.console import stdout
from mpmlab.report.progress import Reporter
from mpmlab.report.validation_plot import draw_validation
from mpmlab.report.validation_table import (
    band_table,
    baseline_table,
    held_out,
    lines,
    mpm_table,
    title_of,
)
from mpmlab.report.validation_targets import (
    coverage_table,
    order_lines,
    order_table,
    target_table,
)


@click.command("validate")
@click.option("--engine", type=click.Choice(REFERENTS), default="real",
              show_default=True, help="What the simulation is held against.")  # fmt: skip
@click.option("--mpm", "mpms", default="all", show_default=True, metavar="NAMES",
              help="prefork, worker, event, several with commas, or all.")  # fmt: skip
@click.option("--suite", default=DEFAULT_SUITE, show_default=True, metavar="NAME|PATH",
              help="The cases: a shipped suite, or a TOML file.")  # fmt: skip
@click.option("--case", "names", multiple=True, metavar="NAME", help="Only this. Repeatable.")
@click.option("--role", type=click.Choice(ROLES), help="Only cases for fitting, or held out.")
@click.option("--repeat", "repetitions", type=click.IntRange(1, 100), default=1, show_default=True,
              help="Repetitions, in alternating order.")  # fmt: skip
@click.option("--duration", "duration_s", type=float, metavar="S",
              help="Seconds of load of each run. Default: the scenario's.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True,
              help="Of every random number of the load.")  # fmt: skip
@click.option("--measured", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY",
              help="Measure nothing: simulate the runs of an earlier validation anew.")  # fmt: skip
@click.option("--httpd", metavar="PATH", help="The program of the httpd engine.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"),
              show_default=True, help="Where the results folder is made.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress, only results.")
def validate_command(quiet: bool, out: Path, measured: Path | None, **typed: Any) -> int:
    """Hold the simulation against measured runs of a suite of scenarios.

    Exit code: 0 validated, 1 a target of the suite was missed, 2 wrong input, 3 no run is valid, 4
    an engine failed, 130 interrupted."""
    interruption = Interruption()
    with interruption.installed(), Reporter(quiet) as reporter:
        suite = load_suite(typed.pop("suite"))
        earlier = None if measured is None else earlier_validation(measured)
        if earlier is not None:
            typed |= {
                "engine": earlier.engine, "repetitions": earlier.repetitions, "seed": earlier.seed
            }  # fmt: skip
        asked = _wanted(suite, **typed)
        try:
            check_out(out)
        except ResultsError as error:
            raise RequestError(f"--out: {error}") from error
        watch = Watch(interruption, reporter.advance)
        profiles = profile_for((asked.engine, "sim"), False, reporter.phase, reporter.advance)
        folder = series_folder(out, f"validate-{asked.engine}", suite.name, asked.seed)
        if earlier is None:
            ones = validate(asked, profiles, watch, reporter.phase, folder)
        else:
            ones = validate_again(asked, earlier, profiles, watch, reporter.phase)
        seen = _carry_out(asked, ones, reporter, interruption)
    complete = len(seen) == len(asked.benches) * asked.repetitions
    judged = verdicts(suite.targets, errors(seen), seen)
    found = document(seen, _about(asked, profiles), complete, [one.to_dict() for one in judged])
    write_json(folder / FILE, found)
    keep_standing(found)
    draw_validation(folder, seen, asked.engine)
    _print(seen, judged, asked.engine, folder)
    return _exit_code(seen, judged, bool(interruption))


def _exit_code(seen: Sequence[Observation], judged: Sequence[Verdict], interrupted: bool) -> int:
    if interrupted:
        return EXIT_INTERRUPTED
    if any(reason.startswith("incomplete") for one in seen for reason in one.reasons):
        return EXIT_FAILED
    if not any(one.valid for one in seen):
        return EXIT_INVALID
    return EXIT_MISSED if any_missed(judged) else 0


def _wanted(
    suite: Suite, engine: str, mpms: str, names: Sequence[str], role: str | None,
    repetitions: int, seed: int, duration_s: float | None, httpd: str | None, **_: Any,
) -> Wanted:  # fmt: skip
    cases = _chosen(suite, names, role)
    return wanted(
        suite, cases, chosen_mpms(mpms, ("httpd",)), engine, repetitions, seed, duration_s, httpd
    )


def _chosen(suite: Suite, names: Sequence[str], role: str | None) -> list[Case]:
    known = [case.name for case in suite.cases]
    for name in names:
        if name not in known:
            raise RequestError(f"--case {name!r}; {suite.path} has: {', '.join(known)}")
    return [
        case
        for case in suite.cases
        if (not names or case.name in names) and (role is None or case.role == role)
    ]


def _carry_out(
    asked: Wanted, ones: Iterator[Observation], reporter: Reporter, interruption: Interruption
) -> list[Observation]:
    seen: list[Observation] = []
    total = len(asked.benches) * asked.repetitions
    with interruption.polite():
        for one in ones:
            seen.append(one)
            verdict = "valid" if one.valid else f"NOT COUNTED: {one.reasons[0]}"
            reporter.say(f"{len(seen)} of {total}: {one.case}, {one.mpm}: {verdict}")
            if interruption:
                break
    return seen


def _about(asked: Wanted, profiles: Profiles) -> dict[str, Any]:
    return {
        "suite": asked.suite.name,
        "whole": asked.whole,
        "engine": asked.engine,
        "repetitions": asked.repetitions,
        "seed": asked.seed,
        "machine": {name: str(value) for name, value in fingerprint().items()},
        "versions": versions(),
        "platforms": {
            mpm: describe_platform(profiles.of(mpm))
            for mpm in dict.fromkeys(bench.tasks[0].mpm for _, bench in asked.benches)
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _print(
    seen: Sequence[Observation], judged: Sequence[Verdict], engine: str, folder: Path
) -> None:
    out = stdout()
    found = errors(seen)
    unseen = held_out(found)
    chosen, title = unseen or found, title_of(engine, "held-out" if unseen else None)
    out.print()
    if chosen:
        out.print(band_table(chosen, title))
        out.print(mpm_table(chosen, title))
        out.print(baseline_table(chosen, title))
    unseen_title = title_of(engine, HELD_OUT)
    for table in (
        coverage_table(seen, unseen_title),
        order_table(seen, unseen_title),
        target_table(judged, unseen_title),
    ):
        if table is not None:
            out.print(table)
    for text in (*lines(seen), *order_lines(seen), f"results and pictures: {folder}"):
        out.print(text, markup=False, soft_wrap=True)
