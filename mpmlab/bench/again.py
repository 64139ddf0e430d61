"""What an earlier validation or calibration measured, read back: to simulate or to fit it anew.

Reading, and the order of simulations; nothing is measured here. Errors are validation.py's, fits
calibration.py's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpmlab.bench import calibrate
from mpmlab.bench.calibrate import Ran
from mpmlab.bench.calibration import Taken
from mpmlab.bench.conduct import world_of
from mpmlab.bench.errors import RequestError
from mpmlab.bench.predictions import predict
from mpmlab.bench.prepare import Bench
from mpmlab.bench.profile import Profiles
from mpmlab.bench.results import Results, ResultsError, load_results
from mpmlab.bench.sim import run_sim
from mpmlab.bench.suite import Case
from mpmlab.bench.task import Watch
from mpmlab.bench.validate import Wanted, observe
from mpmlab.bench.validation import FILE, SCHEMA, SIM, Observation


@dataclass(frozen=True)
class Measured:
    """An earlier validation: its folder, and the document in it."""

    folder: Path
    engine: str
    repetitions: int
    seed: int
    #: (case, mpm, repetition, folder of the run), in the order of measuring.
    runs: tuple[tuple[str, str, int, str], ...]


def earlier_validation(folder: Path) -> Measured:
    """What is there. Raises RequestError naming the file, the key and what is accepted."""
    path = folder / FILE
    document = _document(path, SCHEMA)
    try:
        runs = tuple(
            (str(one["case"]), str(one["mpm"]), int(one["repetition"]), str(one["folder"]))
            for one in document["observations"]
        )
        return Measured(
            folder,
            str(document["engine"]),
            int(document["repetitions"]),
            int(document["seed"]),
            runs,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{path}: {error!r}: not as mpmlab validate writes it") from error


def validate_again(
    asked: Wanted,
    measured: Measured,
    profiles: Profiles,
    watch: Watch,
    phase: Callable[[str], None],
) -> Iterator[Observation]:
    """One observation after the other of the runs that were measured, with new simulations. Runs of
    cases that were not asked for are left out. Raises ResultsError for one that cannot be read."""
    known = {(case.name, bench.tasks[0].mpm): (case, bench) for case, bench in asked.benches}
    for name, mpm, repetition, folder in measured.runs:
        found = known.get((name, mpm))
        if found is None:
            continue
        if watch.interruption:
            return
        phase(f"{name}, {mpm}: simulation")
        results = load_results(measured.folder / folder)
        yield _observed(*found, results, measured.engine, repetition, folder, profiles, watch)


def _observed(
    case: Case, bench: Bench, results: Results, engine: str, repetition: int, folder: str,
    profiles: Profiles, watch: Watch,
) -> Observation:  # fmt: skip
    run = results.runs.get(engine)
    if run is None:
        raise ResultsError(f"{folder}: has no run of {engine}")
    task = replace(bench.tasks[0], plan=results.plan)
    runs = {engine: run}
    if not run.faults:
        platform, cores = world_of(run, profiles.of(task.mpm))
        runs[SIM] = run_sim(task, platform, cores, watch, run.lead_s)
    anew = Results(results.experiment, runs, results.plan)
    more = predict(task, anew, engine, profiles, watch) if repetition == 1 else None
    return observe(case, task, anew, engine, repetition, folder, more)


def earlier_training(folder: Path, engine: str) -> list[Ran]:
    """The training runs that an earlier calibration of that engine made. Raises RequestError."""
    path = folder / calibrate.FILE
    document = _document(path, calibrate.SCHEMA)
    try:
        if document["engine"] != engine:
            raise RequestError(
                f"{path}: engine: {document['engine']!r}; accepted with it: --engine "
                f"{document['engine']}"
            )
        return [
            Ran(
                one["case"], one["mpm"], int(one["repetition"]),
                None if one["taken"] is None else Taken(**one["taken"]), tuple(one["reasons"]),
            )
            for one in document["runs"]
        ]  # fmt: skip
    except (KeyError, TypeError) as error:
        raise RequestError(f"{path}: {error!r}: not as mpmlab calibrate writes it") from error


def _document(path: Path, schema: str) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"--measured: {path}: cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != schema:
        raise RequestError(f"--measured: {path}: schema: accepted: {schema!r}")
    return document
