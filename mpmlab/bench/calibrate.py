"""Carrying out a calibration: the training runs of all MPMs, interleaved, and the fits to them.

Order and selection only: what is fitted is calibration.py's, running is conduct.py's, where a
profile is kept is profile.py's. A run that was cut short ends the calibration; nothing is replaced
then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mpmlab.bench.calibration import Fit, Taken, Trial, fit
from mpmlab.bench.conduct import conduct
from mpmlab.bench.gates import failures
from mpmlab.bench.prepare import Bench
from mpmlab.bench.results import Results
from mpmlab.bench.suite import Case, Suite, load_suite
from mpmlab.bench.task import Watch
from mpmlab.bench.validate import bench_of
from mpmlab.core.platform import Platform
from mpmlab.real.probe import speed_of

#: Name and version of the document of a calibration, and its file.
SCHEMA: Final = "mpmlab-calibration-1"
FILE: Final = "calibration.json"
#: The suite that profiles are fitted to.
SUITE: Final = "calibration"
#: Runs of a case are for nothing if somebody else had the server's core, or too little was
#: answered. That clients were late, or had no more to give, does not matter to what is compared of
#: users without thinks: the CPU that a request took.
_GATES: Final = ("completed", "answers", "balance", "server-core", "speed")
#: In httpd there is no GIL, and no herd.
_WITHOUT_GIL: Final = ("httpd",)


class CalibrationError(Exception):
    """There is nothing to fit: the text says why."""


@dataclass(frozen=True)
class Ran:
    """One training run: what was seen, and why it does not count (nothing: it does)."""

    case: str
    mpm: str
    repetition: int
    taken: Taken | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What is to be calibrated, checked."""

    suite: Suite
    engine: str
    mpms: tuple[str, ...]
    repetitions: int
    benches: tuple[tuple[Case, str, Bench], ...]

    @property
    def runs(self) -> int:
        """How many there will be."""
        return len(self.benches) * self.repetitions


def wanted(
    mpms: Sequence[str], engine: str, repetitions: int, seed: int, httpd: str | None = None
) -> Wanted:
    """Check it all before anything is run. Raises what prepare() raises."""
    suite = load_suite(SUITE)
    benches = tuple(
        (case, mpm, bench_of(case, mpm, (engine,), seed, None, httpd))
        for case in suite.cases
        for mpm in mpms
    )
    return Wanted(suite, engine, tuple(mpms), repetitions, benches)


def take(asked: Wanted, watch: Watch, phase: Callable[[str], None], scratch: Path) -> Iterator[Ran]:
    """One training run after the other, MPMs next to one another, every other repetition backwards.
    What a run needs on disk is in `scratch` while it lasts. Ends early after a run that was cut
    short, which is the last that is given."""
    for repetition in range(1, asked.repetitions + 1):
        for case, mpm, bench in asked.benches if repetition % 2 else asked.benches[::-1]:
            (task,) = bench.tasks
            phase(f"{case.name}, {mpm}")
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                _, results = conduct(
                    bench, task, Platform(name="not needed"), watch, lambda _: None, Path(folder)
                )
            ran = _ran(case, mpm, repetition, results, asked.engine)
            yield ran
            if results.runs[asked.engine].faults:
                return


def _ran(case: Case, mpm: str, repetition: int, results: Results, engine: str) -> Ran:
    run, seen = results.runs[engine], results.summaries()[engine]
    reasons = [f"incomplete: {fault}" for fault in run.faults]
    reasons += [gate.text for gate in failures(run.gates) if gate.name in _GATES]
    figures = (
        seen.cpu_per_request_us, seen.throughput_rps, seen.mean_ms, seen.p50_ms, seen.p99_ms
    )  # fmt: skip
    if run.speed is None or any(not value for value in figures):
        return Ran(case.name, mpm, repetition, None, (*reasons, "too little was answered"))
    cpu_us, rate, mean, p50, p99 = (float(value) for value in figures if value)
    taken = Taken(run.speed.mean_us, cpu_us, rate, mean, p50, p99, seen.memory_mib)
    return Ran(case.name, mpm, repetition, taken, tuple(reasons))


def trials_of(asked: Wanted, ran: Sequence[Ran], mpm: str) -> list[Trial]:
    """The MPM's cases with the runs that count. Raises CalibrationError if a case has none."""
    trials = []
    for case, name, bench in asked.benches:
        if name != mpm:
            continue
        good = [
            one.taken for one in ran
            if (one.case, one.mpm) == (case.name, mpm) and one.taken and not one.reasons
        ]  # fmt: skip
        if not good:
            why = {r for one in ran if (one.case, one.mpm) == (case.name, mpm) for r in one.reasons}
            raise CalibrationError(
                f"{mpm}: no run of {case.name} counts: {'; '.join(sorted(why)) or 'none was made'}"
            )
        trials.append(Trial(case.name, bench.tasks[0], tuple(good)))
    return trials


def calibrated(
    asked: Wanted, ran: Sequence[Ran], mpm: str, probed: Platform, date: str, watch: Watch
) -> Fit:
    """The MPM's profile, fitted from the probed one. Raises CalibrationError."""
    speed_us = speed_of(probed)
    if speed_us is None:
        raise CalibrationError("the probed profile does not say at which speed it was measured")
    base = replace(probed, name=f"this machine, {asked.engine} {mpm}")
    if asked.engine in _WITHOUT_GIL:
        # httpd waits in accept(), which wakes one, where our servers wait in poll().
        base = replace(base, gil=False, wake_policy="fifo")
    what = f"{asked.engine} {mpm}"
    return fit(trials_of(asked, ran, mpm), base, speed_us, what, date, watch)
