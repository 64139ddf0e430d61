"""The folder of one experiment: what is in it, how it is written, how it is read back.

    results/20260723T101500Z-worker-default-seed1/
      run.json                the experiment, and each engine's summary, validity and facts
      plan.npz                every session and request that was asked for
      <engine>-records.npz    one row for each request
      <engine>-samples.npz    the scoreboard over time
      <engine>-error.log      the server's messages
      *.png                   written by report/

Files are written whole or not at all (a scratch file that takes the name at the end); run.json
comes last, so a folder without one was never finished. No arithmetic here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.account import account
from mpmlab.bench.experiment import Experiment
from mpmlab.bench.gates import Gate
from mpmlab.bench.measured import measured
from mpmlab.bench.run import Run
from mpmlab.bench.samples import Samples
from mpmlab.bench.slo import Judgement, judge, parse
from mpmlab.bench.speed import Speed
from mpmlab.bench.summary import Summary, summarise
from mpmlab.core.log_line import numbered
from mpmlab.load.recorder import Records, RecordsError
from mpmlab.workload.errors import PlanError
from mpmlab.workload.plan import Plan

#: Version of the layout. A reader refuses any other.
SCHEMA: Final = 3
_JSON: Final = "run.json"
PLAN: Final = "plan.npz"


class ResultsError(Exception):
    """A results folder that cannot be read; the text names the file and what is wrong with it."""


@dataclass(frozen=True)
class Results:
    """One experiment with what each engine made of it, in order of running."""

    experiment: Experiment
    runs: dict[str, Run]
    plan: Plan

    def summaries(self) -> dict[str, Summary]:
        """Each engine's summary."""
        asked = self.experiment
        return {
            engine: summarise(run, asked.warmup_s, asked.duration_s, asked.timeout_s, self.plan)
            for engine, run in self.runs.items()
        }

    def response_s(self, engine: str) -> NDArray[np.float64]:
        """Response times of that engine's measured requests (measured.Measured.response_s)."""
        asked = self.experiment
        return measured(
            self.runs[engine].records, asked.warmup_s, asked.duration_s, asked.timeout_s, self.plan
        ).response_s

    def judgements(self) -> dict[str, tuple[Judgement, ...]]:
        """Each engine's run held against the objectives; empty without any."""
        asked = self.experiment
        if not asked.slo:
            return {}
        objectives = parse(asked.slo)
        return {
            engine: judge(
                objectives,
                measured(run.records, asked.warmup_s, asked.duration_s, asked.timeout_s, self.plan),
            )
            for engine, run in self.runs.items()
        }


def check_out(out: Path) -> None:
    """Make sure, before anything is measured, that folders can be made in `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"results folder {out}: cannot be made: {error.strerror}") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise ResultsError(f"results folder {out}: cannot be written to")


def series_folder(out: Path, kind: str, scenario: str, seed: int) -> Path:
    """Make an empty folder for several runs that belong together ("series", "knee")."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return _fresh(out, f"{stamp}-{kind}-{_plain(scenario)}-seed{seed}")


def new_folder(out: Path, experiment: Experiment) -> Path:
    """Make an empty folder of its own for the experiment; never one that was there before."""
    stamp = datetime.datetime.fromisoformat(experiment.created).strftime("%Y%m%dT%H%M%SZ")
    name = f"{stamp}-{experiment.mpm}-{_plain(experiment.scenario)}-seed{experiment.seed}"
    if experiment.repetitions > 1:  # in a folder of the series
        name = f"rep{experiment.repetition:02d}-{experiment.mpm}"
    return _fresh(out, name)


def _plain(scenario: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", scenario).strip("-.") or "scenario"


def _fresh(out: Path, name: str) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        folder = out / (name + suffix)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise ResultsError(f"{out}: a thousand folders named {name} are there already")


# ---- writing ----------------------------------------------------------------------------------


def save_results(folder: Path, results: Results) -> None:
    """Write everything but the pictures. run.json comes last."""
    for engine, run in results.runs.items():
        run.records.save(folder / f"{engine}-records.npz")
        packed = io.BytesIO()
        np.savez_compressed(packed, **_columns_of(run.samples))
        _write(folder / f"{engine}-samples.npz", packed.getvalue())
        _write(folder / f"{engine}-error.log", "".join(f"{line}\n" for line in run.log).encode())
    write_json(folder / _JSON, _document(results))


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document that people may read, too."""
    _write(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def _document(results: Results) -> dict[str, Any]:
    summaries = results.summaries()
    judgements = results.judgements()
    return {
        "schema": SCHEMA,
        "experiment": results.experiment.to_dict(),
        "engines": {
            engine: {
                "complete": run.complete,
                "faults": list(run.faults),
                "valid": run.valid,
                "gates": [gate.to_dict() for gate in run.gates],
                "account": account(run.records, results.plan).to_dict(),
                "slo": [found.to_dict() for found in judgements.get(engine, ())],
                "breaches": list(run.breaches),
                "notes": list(run.notes),
                "wall_s": run.wall_s,
                "server_cores": run.server_cores,
                "cpu_s": run.cpu_s,
                "memory_kib": run.memory_kib,
                "threads": run.threads,
                "messages": numbered(run.log),
                "client_foreign": run.client_foreign,
                "server_foreign": run.server_foreign,
                "lead_s": run.lead_s,
                "utilisation": run.utilisation,
                "link": run.link,
                "server": run.server,
                "speed": None if run.speed is None else dataclasses.asdict(run.speed),
                "digest": run.digest,
                "events": run.events,
                "summary": summaries[engine].to_dict(),
            }
            for engine, run in results.runs.items()
        },
    }


def _columns_of(values: Samples) -> dict[str, Any]:
    return {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as out:
        out.write(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the name `path` when all went well, and is gone otherwise."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with scratch.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


# ---- reading ----------------------------------------------------------------------------------


def load_results(folder: Path) -> Results:
    """Read what save_results wrote. Raises ResultsError naming the file and the key at fault."""
    path = folder / _JSON
    document = _read_json(path)
    schema = document.get("schema")
    if schema != SCHEMA:
        raise ResultsError(f"{path}: schema: this reads {SCHEMA}, the file says {schema!r}")
    experiment = _build(path, "experiment", document, Experiment.from_dict)
    engines = _build(path, "engines", document, dict)
    runs = {
        engine: _build(
            path, f"engines.{engine}", {f"engines.{engine}": facts}, _loader(engine, folder)
        )
        for engine, facts in engines.items()
    }
    return Results(experiment, runs, load_plan(folder / PLAN, experiment.plan_hash))


def load_plan(path: Path, plan_hash: str) -> Plan:
    """The plan of a results folder. Raises ResultsError if it cannot be read or is another's."""
    try:
        plan = Plan.load(path)
    except PlanError as error:
        raise ResultsError(str(error)) from error
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error
    if plan.hash != plan_hash:
        raise ResultsError(
            f"{path}: is not the plan of this run: its hash is {plan.hash[:12]}, run.json says "
            f"{plan_hash[:12]}"
        )
    return plan


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "not a results folder, or a run that was cut off before it was saved"
        raise ResultsError(f"{path}: no such file: {hint}") from None
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ResultsError(f"{path}: must hold an object, holds a {type(document).__name__}")
    return document


def _build(path: Path, key: str, document: Mapping[str, Any], make: Callable[[Any], Any]) -> Any:
    """make(document[key]), with any complaint about its shape told as the file's and the key's."""
    try:
        return make(document[key])
    except KeyError as error:
        missing = error.args[0]
        where = key if missing == key else f"{key}.{missing}"
        raise ResultsError(f"{path}: {where}: missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ResultsError(f"{path}: {key}: {error}") from error


def _loader(engine: str, folder: Path) -> Callable[[dict[str, Any]], Run]:
    def load(facts: dict[str, Any]) -> Run:
        speed = facts["speed"]
        return Run(
            engine=engine,
            records=_load_records(folder / f"{engine}-records.npz"),
            samples=_load_samples(folder / f"{engine}-samples.npz"),
            wall_s=facts["wall_s"],
            server_cores=facts["server_cores"],
            cpu_s=facts["cpu_s"],
            memory_kib=facts["memory_kib"],
            threads=facts["threads"],
            log=_read_log(folder / f"{engine}-error.log"),
            speed=None if speed is None else Speed(**speed),
            digest=facts["digest"],
            events=facts["events"],
            faults=tuple(facts["faults"]),
            breaches=tuple(facts["breaches"]),
            notes=tuple(facts["notes"]),
            client_foreign=facts["client_foreign"],
            server_foreign=facts["server_foreign"],
            lead_s=facts["lead_s"],
            utilisation=facts["utilisation"],
            link=facts["link"],
            server=facts["server"],
            gates=tuple(Gate.from_dict(gate) for gate in facts["gates"]),
        )

    return load


def _check_zip(path: Path) -> None:
    """numpy leaves the file open when it finds that it is not a whole archive: look first."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("not an .npz file, or cut short")


def _load_records(path: Path) -> Records:
    try:
        _check_zip(path)
        return Records.load(path)
    except RecordsError as error:
        raise ResultsError(str(error)) from error
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error


def _load_samples(path: Path) -> Samples:
    try:
        _check_zip(path)
        with np.load(path, allow_pickle=False) as stored:
            columns = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error
    for field in dataclasses.fields(Samples):
        if field.name not in columns:
            raise ResultsError(f"{path}: {field.name}: missing")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ResultsError(f"{path}: columns of different lengths: {lengths}")
    try:
        return Samples(**columns)
    except TypeError as error:  # a column too many
        raise ResultsError(f"{path}: {error}") from error


def _read_log(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error
