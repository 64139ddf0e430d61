"""Carrying out a validation: each case of a suite on an engine and in simulation, in alternating
order, put before the gates first.

Order and selection only: running is conduct.py's, errors are validation.py's, what is printed is
the CLI's affair. A run that was cut short ends the validation; what there is is kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mpmlab.bench.baselines import BASELINES, station_of
from mpmlab.bench.conduct import conduct, keep
from mpmlab.bench.gates import failures
from mpmlab.bench.measured import Measured, measured
from mpmlab.bench.predictions import Predictions, figures_of, predict
from mpmlab.bench.prepare import Asked, Bench, prepare
from mpmlab.bench.profile import Profiles
from mpmlab.bench.results import Results
from mpmlab.bench.stats_quantiles import (
    BATCHES,
    Interval,
    batch_means_interval,
    effective_size,
    quantile_interval,
    t_interval,
)
from mpmlab.bench.suite import HELD_OUT, Case, Suite, pool_directives
from mpmlab.bench.task import Task, Watch
from mpmlab.bench.validation import FIGURES, LEVELS, SIM, Observation

#: How long a client waits for an answer.
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Wanted:
    """What is to be validated, checked: every case with its plan and settings."""

    suite: Suite
    engine: str
    repetitions: int
    seed: int
    benches: tuple[tuple[Case, Bench], ...]

    @property
    def whole(self) -> bool:
        """Whether every held-out case of the suite is among them."""
        asked = {case.name for case, _ in self.benches}
        return all(case.name in asked for case in self.suite.cases if case.role == HELD_OUT)

    def turns(self) -> Iterator[tuple[int, Case, Bench]]:
        """What is run when: every other repetition backwards."""
        for repetition in range(1, self.repetitions + 1):
            for case, bench in self.benches if repetition % 2 else self.benches[::-1]:
                yield repetition, case, bench


def wanted(
    suite: Suite,
    cases: Sequence[Case],
    mpms: Sequence[str],
    engine: str,
    repetitions: int,
    seed: int,
    duration_s: float | None,
    httpd: str | None = None,
) -> Wanted:
    """Check it all before anything is run. Raises what prepare() raises."""
    benches = tuple(
        (case, bench_of(case, mpm, (engine, SIM), seed, duration_s, httpd))
        for case in cases
        for mpm in mpms
    )
    return Wanted(suite, engine, repetitions, seed, benches)


def bench_of(
    case: Case,
    mpm: str,
    engines: Sequence[str],
    seed: int,
    duration_s: float | None,
    httpd: str | None,
) -> Bench:
    """One case for one MPM on these engines, checked. Raises what prepare() raises."""
    asked = Asked(
        mpms=mpm,
        scenario=case.scenario,
        duration_s=duration_s or case.duration_s,
        seed=seed,
        sets=[f"{name}={value}" for name, value in pool_directives(mpm, case.pool)],
        engines=",".join(engines),
        timeout_s=TIMEOUT_S,
        rate_per_s=case.rate_per_s,
        httpd=httpd,
    )
    return prepare(asked)


def validate(
    asked: Wanted,
    profiles: Profiles,
    watch: Watch,
    phase: Callable[[str], None],
    out: Path,
) -> Iterator[Observation]:
    """One observation after the other, each stored in a folder below `out`. Ends early after a run
    that was cut short, which is the last that is given."""
    for repetition, case, bench in asked.turns():
        (task,) = bench.tasks
        name = f"{case.name}, {task.mpm}"

        def say(text: str, name: str = name) -> None:
            phase(f"{name}: {text.partition(': ')[2]}")

        folder, results = conduct(bench, task, profiles.of(task.mpm), watch, say, out)
        keep(folder, results, lambda *_: None)
        more = None
        if repetition == 1:  # they come out much the same each time
            say(": simulations beside it")
            more = predict(task, results, asked.engine, profiles, watch)
        yield observe(case, task, results, asked.engine, repetition, folder.name, more)
        if any(run.faults for run in results.runs.values()):
            return


def observe(
    case: Case, task: Task, results: Results, engine: str, repetition: int, folder: str,
    more: Predictions | None = None,
) -> Observation:  # fmt: skip
    """What the two runs say, side by side. A simulation that is overloaded is no reason: that it
    says so is its prediction."""
    run = results.runs[engine]
    reasons = [f"incomplete: {fault}" for fault in run.faults]
    reasons += [gate.text for gate in failures(run.gates) if not run.faults]
    simulated = results.runs.get(SIM)
    if simulated is None or not simulated.complete:
        reasons.append("the simulation did not end")
    summaries = results.summaries()
    window = measured(run.records, task.warmup_s, task.duration_s, task.timeout_s, task.plan)
    return Observation(
        case=case.name,
        scenario=case.scenario,
        role=case.role,
        mpm=task.mpm,
        repetition=repetition,
        folder=folder,
        utilisation=run.utilisation,
        reasons=tuple(reasons),
        measured=figures_of(summaries[engine]),
        predicted={
            SIM: figures_of(summaries[SIM]) if SIM in summaries else {},
            **({} if more is None else more.others),
            **_baselines(task, run.server_cores),
        },
        quantiles_ms=_quantiles(results, engine),
        intervals=intervals_of(window),
        band={} if more is None else more.band,
    )


def intervals_of(seen: Measured) -> dict[str, tuple[float, float]]:
    """Where the figures of ORDERED lie with 95 % confidence, from batches of the one run: requests
    near one another are alike, so they are not worth as many as they are. A figure is left out if
    there are too few requests for it, or if it rests on time-outs and may lie anywhere above."""
    found = {"throughput_rps": _throughput(seen)}
    times_ms = 1000 * seen.response_s
    if math.isinf(seen.censored_from_s):
        found["mean_ms"] = batch_means_interval(times_ms)
    if len(times_ms):
        found["p99_ms"] = quantile_interval(
            times_ms, 0.99, effective=effective_size(times_ms, 0.99),
            censored_from=1000 * seen.censored_from_s,
        )  # fmt: skip
    return {
        name: (interval.low, interval.high)
        for name, interval in found.items()
        if interval.low is not None and interval.high is not None
    }


def _throughput(seen: Measured) -> Interval:
    """From the good answers that came in each of BATCHES equally long pieces of the window."""
    if not seen.length_s:
        return Interval(None, None)
    counts, _ = np.histogram(seen.all_ended_s, BATCHES, (seen.start_s, seen.end_s))
    return t_interval(counts * (BATCHES / seen.length_s))


def _baselines(task: Task, cores: int) -> dict[str, dict[str, float | None]]:
    settings = task.known()
    workers = settings.daemons_limit * settings.threads_per_child
    station = station_of(task.plan, workers, cores)
    if station is None:
        return {}
    return {
        name: {
            figure: value
            for figure, value in dataclasses.asdict(predict(station)).items()
            if figure in FIGURES
        }
        for name, predict in BASELINES.items()
    }


def _quantiles(results: Results, engine: str) -> dict[str, list[float]]:
    found = {}
    for name in (engine, SIM):
        if name in results.runs:
            times_s = results.response_s(name)
            if len(times_s):
                values = np.quantile(times_s, LEVELS, method="inverted_cdf")
                found["sim" if name == SIM else "measured"] = [1000 * float(v) for v in values]
    return found if len(found) == 2 else {}
