"""`mpmlab calibrate`: parse, call, print. What is run and fitted, bench/ decides.

Exit codes: 0 calibrated; 2 the input is wrong; 3 too few runs count; 4 an engine failed; 130
interrupted. The profiles of before are replaced only by whole calibrations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mpmlab.bench.again import earlier_training
from mpmlab.bench.calibrate import (
    FILE,
    SCHEMA,
    CalibrationError,
    Ran,
    Wanted,
    calibrated,
    take,
    wanted,
)
from mpmlab.bench.calibration import Fit
from mpmlab.bench.conduct import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    describe_platform,
)
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.prepare import REFERENTS, RequestError, chosen_mpms, versions
from mpmlab.bench.profile import calibrated_path
from mpmlab.bench.results import ResultsError, check_out, series_folder, write_json
from mpmlab.bench.task import Watch
from mpmlab.core.platform_file import write_platform
from mpmlab.real.machine import fingerprint
from mpmlab.real.probe import local_platform
from mpmlab.report.calibration_table import factor_table, residual_table
from mpmlab.report.console import stdout
from mpmlab.report.progress import Reporter


@click.command("calibrate")
@click.option("--engine", type=click.Choice(REFERENTS), default="real",
              show_default=True, help="What the simulation is to come close to.")  # fmt: skip
@click.option("--mpm", "mpms", default="all", show_default=True, metavar="NAMES",
              help="prefork, worker, event, several with commas, or all.")  # fmt: skip
@click.option("--repeat", "repetitions", type=click.IntRange(1, 100), default=2, show_default=True,
              help="Repetitions of each training run, in alternating order.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True,
              help="Of every random number of the load.")  # fmt: skip
@click.option("--measured", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY",
              help="Run nothing: fit to the training runs of an earlier calibration.")  # fmt: skip
@click.option("--httpd", metavar="PATH", help="The program of the httpd engine.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"),
              show_default=True, help="Where the results folder is made.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress, only results.")
def calibrate_command(quiet: bool, out: Path, measured: Path | None, **typed: Any) -> int:
    """Fit the simulation's costs to a minute of training runs of each MPM on this machine.

    From then on simulations beside this engine use them. How far they are off on runs that were not
    fitted to, `mpmlab validate` measures.

    Exit code: 0 calibrated, 2 wrong input, 3 too few runs count, 4 an engine failed, 130
    interrupted."""
    interruption = Interruption()
    with interruption.installed(), Reporter(quiet) as reporter:
        asked = wanted(
            chosen_mpms(typed["mpms"], ("httpd",)),  # the suite is for those that httpd has here
            typed["engine"], typed["repetitions"], typed["seed"], typed["httpd"],
        )  # fmt: skip
        try:
            check_out(out)
        except ResultsError as error:
            raise RequestError(f"--out: {error}") from error
        folder = series_folder(out, f"calibrate-{asked.engine}", asked.suite.name, typed["seed"])
        earlier = None if measured is None else earlier_training(measured, asked.engine)
        calibration = _Calibration(asked, folder, reporter, interruption, earlier)
        try:
            code = calibration.carry_out()
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        calibration.save(complete=code == 0)
    return calibration.conclude(code)


class _Calibration:
    """One calibration on its way: what was run and fitted so far."""

    def __init__(
        self, asked: Wanted, folder: Path, reporter: Reporter, interruption: Interruption,
        earlier: Iterable[Ran] | None = None,
    ) -> None:  # fmt: skip
        self.asked, self.folder, self.earlier = asked, folder, earlier
        self.reporter, self.interruption = reporter, interruption
        self.watch = Watch(interruption, reporter.advance)
        self.ran: list[Ran] = []
        self.fits: dict[str, Fit] = {}
        self.trouble: list[str] = []
        self.kept: list[Path] = []

    def carry_out(self) -> int:
        """All runs, then all fits; the exit code."""
        asked, reporter = self.asked, self.reporter
        reporter.phase("cost profile of this machine")
        probed = local_platform(progress=reporter.advance)
        with self.interruption.polite():
            ones = self.earlier
            if ones is None:
                ones = take(asked, self.watch, reporter.phase, self.folder)
            for one in ones:
                self.ran.append(one)
                verdict = f"NOT COUNTED: {one.reasons[0]}" if one.reasons else "counts"
                text = f"{len(self.ran)} of {asked.runs}: {one.case}, {one.mpm}: {verdict}"
                reporter.say(text)
        if self.interruption:
            return EXIT_INTERRUPTED
        if any(reason.startswith("incomplete") for one in self.ran for reason in one.reasons):
            return EXIT_FAILED
        today = datetime.now(UTC).date().isoformat()
        with self.interruption.polite():
            for mpm in asked.mpms:
                reporter.phase(f"fitting {mpm}")
                try:
                    self.fits[mpm] = calibrated(asked, self.ran, mpm, probed, today, self.watch)
                except CalibrationError as error:
                    self.trouble.append(str(error))
        for mpm, found in self.fits.items():
            path = calibrated_path(asked.engine, mpm)
            write_platform(found.platform, path)
            self.kept.append(path)
        return EXIT_INVALID if self.trouble else 0

    def save(self, complete: bool) -> None:
        """All that was seen, whatever came of it."""
        document = {
            "schema": SCHEMA,
            "complete": complete,
            "engine": self.asked.engine,
            "suite": self.asked.suite.name,
            "repetitions": self.asked.repetitions,
            "machine": {name: str(value) for name, value in fingerprint().items()},
            "versions": versions(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "runs": [dataclasses.asdict(one) for one in self.ran],
            "fits": {
                mpm: {
                    "platform": describe_platform(found.platform),
                    "factors": dict(found.factors),
                    "residuals": [dataclasses.asdict(one) for one in found.residuals],
                }
                for mpm, found in self.fits.items()
            },
        }
        write_json(self.folder / FILE, document)

    def conclude(self, code: int) -> int:
        """What is printed; the exit code."""
        out = stdout()
        out.print()
        engine = self.asked.engine
        for mpm, found in self.fits.items():
            out.print(residual_table(found, f"{engine} {mpm}: the training runs, and simulations"))
        if self.fits:
            out.print(factor_table(self.fits, engine))
        counted = sum(1 for one in self.ran if not one.reasons)
        lines = [f"{counted} of {self.asked.runs} training runs count", *self.trouble]
        lines += [f"profile: {path}" for path in self.kept]
        for text in (*lines, f"results: {self.folder}"):
            out.print(text, markup=False, soft_wrap=True)
        return code
