"""`mpmlab bench`: parse, call, print. No decision about servers, load or validity is made here.

Exit codes: 0 good; 1 an objective was missed; 2 the input is wrong; 3 a run is invalid; 4 an engine
failed; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from mpmlab.bench.compare import compare, load_members, variants_of
from mpmlab.bench.conduct import EXIT_FAILED, EXIT_INTERRUPTED, conduct, exit_code, keep, turns
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.knee import Answer, Knee, Trial
from mpmlab.bench.platform_range import Range, over_range, save_range
from mpmlab.bench.prepare import (
    Asked,
    Bench,
    RequestError,
    message_text,
    prepare,
)
from mpmlab.bench.profile import Profiles, profile_for
from mpmlab.bench.profiles import find, read
from mpmlab.bench.ranking import rankings
from mpmlab.bench.results import Results, ResultsError, check_out, series_folder
from mpmlab.bench.search import (
    SearchEnded,
    check_search,
    save_search,
    search_exit_code,
    search_knee,
)
from mpmlab.bench.standing import Standing, find_standing
from mpmlab.bench.task import Task, Watch
from mpmlab.bench.validation import Cell
from mpmlab.cli_options import with_options
from mpmlab.core.platform import Platform
from mpmlab.report.compare_table import compare_notes, compare_table, ranking_table, series_table
from mpmlab.report.console import stdout
from mpmlab.report.findings import ignored_lines, run_lines, series_lines
from mpmlab.report.gate_table import NOT_VALIDATED_RATES, gate_table, knee_table
from mpmlab.report.plots import draw
from mpmlab.report.progress import Reporter
from mpmlab.report.table import HEADINGS, NOT_VALIDATED, RANGED, VALIDATED, comparison

#: As many engines of several MPMs fit into one table.
_SIDE_BY_SIDE: Final = 2
#: And so many MPMs.
_MPMS_BESIDE: Final = 3
#: Of so many MPMs it is told which is best.
_RANKED: Final = 3

Done = Sequence[tuple[Path, Results]]


@click.command("bench")
@with_options
def bench_command(
    out: Path, find_knee: bool, quiet: bool, refresh_profile: bool, **typed: Any
) -> int:
    """Run a scenario through an MPM, for real and simulated, and compare.

    Exit code: 0 good, 1 an objective was missed, 2 wrong input, 3 a run is invalid, 4 an engine
    failed, 130 interrupted."""
    interruption = Interruption()
    with interruption.installed(), Reporter(quiet) as reporter, _warnings_shown(reporter):
        bench = prepare(Asked(**typed))
        if find_knee:
            check_search(bench)
        _check_out(out)
        other = None if bench.platform is None else read(find(bench.platform)).platform
        _introduce(bench, quiet)
        runner = _Runner(bench, out, interruption, reporter, refresh_profile, other)
        if find_knee:
            knees = runner.find_knees()
            save_search(runner.out, bench, knees)
        else:
            done = runner.run_all()
    # The bar is gone from the terminal: results are printed from here on.
    if find_knee:
        return _conclude_search(runner, knees)
    return _conclude(runner, done)


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
    for text in (*ignored_lines(bench.ignored), *bench.left_out):
        click.echo(text)
    for task in bench.tasks:
        for message in () if task.settings is None else task.settings.messages:
            click.echo(f"{task.mpm}: {message_text(message)}")


class _Runner:
    """Carries a bench out, run after run."""

    def __init__(
        self,
        bench: Bench,
        out: Path,
        interruption: Interruption,
        reporter: Reporter,
        refresh_profile: bool,
        other: Platform | None = None,
    ):
        self.bench, self.out = bench, out
        self.interruption, self.reporter = interruption, reporter
        self.watch = Watch(interruption, reporter.advance)
        self.profiles = (
            profile_for(bench.engines, refresh_profile, reporter.phase, reporter.advance)
            if other is None
            else Profiles(other)
        )
        #: Of simulations on a platform with assumed values: by MPM, between what their figures are.
        self.ranges: dict[str, Range] = {}
        #: What ended a search before its end.
        self.ended: SearchEnded | None = None

    def run_all(self) -> list[tuple[Path, Results]]:
        """Every run's results with the folder they are in; fewer if something ended the series."""
        bench, reporter = self.bench, self.reporter
        if bench.repetitions > 1:
            self.out = self._series_folder("series")
        done: list[tuple[Path, Results]] = []
        for repetition, task in turns(bench.tasks, bench.repetitions):
            if bench.repetitions > 1:
                reporter.say(f"repetition {repetition} of {bench.repetitions}: {task.mpm}")
            with self.interruption.polite():
                folder, results = conduct(
                    bench,
                    task,
                    self.profiles.of(task.mpm),
                    self.watch,
                    reporter.phase,
                    self.out,
                    repetition,
                )
                self._over_range(task, results)
            with self.interruption.polite(patience=False):
                reporter.phase(f"{task.mpm}: saving results and pictures")
                if task.mpm in self.ranges:
                    save_range(folder, self.ranges[task.mpm])
                keep(folder, results, draw)
            done.append((folder, results))
            if self.interruption or any(run.faults for run in results.runs.values()):
                break
        return done

    def _over_range(self, task: Task, results: Results) -> None:
        """Where values of the platform are assumed."""
        if self.bench.platform is None or "sim" not in results.runs:
            return
        found = over_range(
            task, self.profiles.of(task.mpm), results.summaries()["sim"], self.watch,
            self.reporter.phase,
        )  # fmt: skip
        if found is not None:
            self.ranges[task.mpm] = found

    def find_knees(self) -> dict[str, Knee]:
        """Search on each engine for each MPM; fewer if something ended the search (`ended`)."""
        self.out = self._series_folder("knee")
        knees: dict[str, Knee] = {}
        for position, task in enumerate(self.bench.tasks):
            for engine in self.bench.engines:
                name = f"{task.mpm}, {engine}"
                try:
                    with self.interruption.polite():
                        knees[name] = search_knee(
                            self.bench, position, engine, self.profiles.of(task.mpm), self.watch,
                            self.reporter.phase, self.out, draw, self._tell(name),
                        )  # fmt: skip
                except SearchEnded as ended:
                    self.ended = ended
                    return knees
        return knees

    def _tell(self, name: str) -> Callable[[Trial], None]:
        def tell(trial: Trial) -> None:
            text = f"{name}: {trial.rate_per_s:.1f} requests/s {trial.answer.value} ({trial.text})"
            self.reporter.say(text, always=trial.answer is Answer.NOTHING)

        return tell

    def _series_folder(self, kind: str) -> Path:
        plan = self.bench.plan
        return series_folder(self.out, kind, plan.scenario, plan.seed)


# ---- what is printed -----------------------------------------------------------------------------


def _conclude(runner: _Runner, done: Done) -> int:
    """Tables, warnings, folders; the exit code."""
    out, bench = stdout(), runner.bench
    all_results = [results for _, results in done]
    out.print()
    if bench.repetitions > 1 and done:
        _print_series(out, done)
        _say(out, series_lines(all_results))
        _say(out, (f"results and pictures: {runner.out}",))
    elif done:
        _print_single(out, done, runner.profiles.engine, runner.ranges)
        for folder, results in done:
            _say(out, (*run_lines(results), f"results and pictures: {folder}"))
    return exit_code(all_results, bool(runner.interruption))


def _print_single(out: Console, done: Done, engine: str, over: Mapping[str, Range]) -> None:
    summaries = {results.experiment.mpm: results.summaries() for _, results in done}
    asked = done[0][1].experiment
    title = f"{asked.scenario}, seed {asked.seed}, {asked.duration_s:g} s"
    # Three engines of three MPMs side by side are wider than a page.
    wide = max(map(len, summaries.values())) > _SIDE_BY_SIDE
    width = 1 if wide else _MPMS_BESIDE
    parts = [done[i : i + width] for i in range(0, len(done), width)]
    found = _standings(done, engine)
    validated = {
        results.experiment.mpm: _errors_of(found[results.experiment.mpm], results)
        for _, results in done
        if results.experiment.mpm in found
    }
    ranges = {mpm: one.figures for mpm, one in over.items()}
    for part in parts:
        chosen = {results.experiment.mpm: summaries[results.experiment.mpm] for _, results in part}
        out.print(comparison(chosen, title, validated or None, ranges))
    if over:
        some = next(iter(over.values()))
        out.print(RANGED.format(values=len(some.assumed), simulations=some.simulations))
    elif any("sim" in engines for engines in summaries.values()):
        for said in _said_of(found, [results.experiment.mpm for _, results in done]):
            out.print(said)
    for part in parts:
        out.print(
            gate_table({
                f"{results.experiment.mpm}\n{HEADINGS[engine]}": run.gates
                for _, results in part
                for engine, run in results.runs.items()
            })
        )  # fmt: skip
    if not over:  # ranks of single values would say more than the ranges do
        _print_ranks(out, [folder for folder, _ in done])


def _print_ranks(out: Console, folders: Sequence[Path]) -> None:
    """Of several MPMs: which is best at what, on each engine."""
    members = load_members(folders)
    found = rankings(members)
    for engine in dict.fromkeys(one.engine for one in found):
        ranked = [one for one in found if one.engine == engine]
        if max(len(one.places) for one in ranked) >= _RANKED:
            out.print(ranking_table(ranked))


def _standings(done: Done, engine: str) -> dict[str, Standing]:
    """What is known of each MPM's profile, by MPM."""
    found = {}
    for _, results in done:
        standing = find_standing(results.experiment.platform, engine)
        if standing is not None:
            found[results.experiment.mpm] = standing
    return found


def _said_of(found: Mapping[str, Standing], mpms: Sequence[str]) -> list[str]:
    """How far the simulated columns may be trusted: a sentence for each that differs."""
    said: dict[str, list[str]] = {}
    for mpm in mpms:
        standing = found.get(mpm)
        text = NOT_VALIDATED if standing is None else VALIDATED.format(what=standing.describe())
        said.setdefault(text, []).append(mpm)
    if len(said) == 1:
        return list(said)
    return [f"{', '.join(names)}: {text}" for text, names in said.items()]


def _errors_of(standing: Standing, results: Results) -> Callable[[str], Cell | None]:
    """The validated errors at the utilisation that the simulation has."""
    run = results.runs.get("sim")
    used = None if run is None else run.utilisation
    return lambda figure: standing.cell(results.experiment.mpm, used, figure)


def _print_series(out: Console, done: Done) -> None:
    """Of each variant the means over its repetitions, and of several their ratios to the first. One
    that was cut short is no repetition."""
    whole = [folder for folder, results in done if all(r.complete for r in results.runs.values())]
    members = load_members(whole)
    if not members:
        return
    variants = variants_of(members)
    out.print(series_table(variants))
    if len(variants) == 1:
        return
    found = compare(members, None, allow_invalid=True)
    out.print(compare_table(found))
    _print_ranks(out, whole)
    _say(out, compare_notes(found))


def _conclude_search(runner: _Runner, knees: Mapping[str, Knee]) -> int:
    """The table of what was found, why something was not, the folder; the exit code."""
    out, bench = stdout(), runner.bench
    out.print()
    if knees:
        out.print(knee_table(knees, ",".join(o.text for o in bench.objectives)))
        if "sim" in bench.engines:
            out.print(NOT_VALIDATED_RATES)
    for name, knee in knees.items():
        if not knee.found:
            _say(out, (f"NOT FOUND: {name}: {knee.reason}",))
    if runner.ended is not None:
        _say(out, run_lines(runner.ended.results))
    _say(out, (f"results and pictures: {runner.out}",))
    if runner.ended is not None:
        return EXIT_INTERRUPTED if runner.interruption else EXIT_FAILED
    return search_exit_code(knees.values())


def _say(out: Console, lines: Iterable[str]) -> None:
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


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
