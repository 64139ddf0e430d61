"""One engine's run as a file that other programs read: which formats there are, what each says of
the run it comes from, and how it is written (whole or not at all).

What is in a histogram is hdr.py, what is in a table of requests is request_table.py, and the
formats are described in docs/results.md. Needs pyarrow, which is slow to import: the command line
imports this module only when it exports.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mpmlab.bench import hdr
from mpmlab.bench.request_table import COLUMNS, ROWS, SCHEMA, batches, schema
from mpmlab.bench.response import Floats, Responses, responses, window_end_s
from mpmlab.bench.results import replacing
from mpmlab.bench.run import Run
from mpmlab.bench.stored import Stored, Validity
from mpmlab.bench.summary import Summary, quantile_ms

#: Name and version of the JSON format.
SUMMARY_SCHEMA: Final = "mpmlab-summary-1"
#: Percentiles of its curves.
_SHARES: Final = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0)

#: What a histogram can be of, and how its comment says it.
VIEWS: Final = {
    "response": "response time: planned send to last byte of a good answer",
    "service": "service time: actual send to last byte of a good answer",
    "lateness": "lateness of the load generator: actual send after the earliest possible one",
}
#: Of a requests table in text: where its columns are described (W3C, Metadata Vocabulary for
#: Tabular Data, section 2.1: the data's name and this).
_SIDECAR: Final = "-metadata.json"


class ExportError(Exception):
    """What cannot be exported as asked; the text names the run or the file, and why."""


@dataclass(frozen=True)
class Subject:
    """The run that is exported."""

    stored: Stored
    engine: str
    #: One of VIEWS: of the histograms.
    view: str

    @property
    def run(self) -> Run:
        """Its records and samples."""
        return self.stored.results.runs[self.engine]

    @property
    def validity(self) -> Validity:
        """Whether it may be believed."""
        return self.stored.validity[self.engine]

    def summary(self) -> Summary:
        """Its figures, as in run.json."""
        return self.stored.results.summaries()[self.engine]

    def responses(self) -> Responses:
        """What each of its rows counts with."""
        asked = self.stored.results.experiment
        times = (asked.warmup_s, asked.duration_s, asked.timeout_s)
        return responses(self.run.records, *times, self.stored.plan)

    def window_s(self) -> tuple[float, float]:
        """The measured window; shorter if the run was cut short."""
        asked = self.stored.results.experiment
        end_s = window_end_s(self.run.records, asked.duration_s)
        return asked.warmup_s, max(asked.warmup_s, end_s)

    def facts(self) -> dict[str, str]:
        """What a file must say of where it comes from, by name, as text."""
        asked = self.stored.results.experiment
        return {
            "plan_hash": asked.plan_hash,
            "mpm": asked.mpm,
            "engine": self.engine,
            "scenario": asked.scenario,
            "seed": str(asked.seed),
            "created": asked.created,
            "warmup_s": f"{asked.warmup_s:g}",
            "duration_s": f"{asked.duration_s:g}",
            "timeout_s": f"{asked.timeout_s:g}",
            "complete": str(self.run.complete).lower(),
            "valid": str(self.validity.valid).lower(),
            "invalid_because": json.dumps(self.validity.reasons),
        }

    def title(self) -> str:
        """One line for people."""
        asked = self.stored.results.experiment
        return (
            f"{asked.mpm}, {self.engine}, scenario {asked.scenario}, seed {asked.seed}, plan "
            f"{asked.plan_hash}"
        )


class Format(NamedTuple):
    """How a run becomes a file: the name of the file in the results folder, what writes its bytes,
    and what describes it in a file beside, if the format itself cannot."""

    name: Callable[[Subject], str]
    write: Callable[[Subject, IO[bytes]], None]
    sidecar: Callable[[Subject, str], bytes] | None = None


# ---- histograms ----------------------------------------------------------------------------------


def _values_s(subject: Subject, seen: Responses) -> Floats:
    """The view's value for each row, NaN where it has none or does not count."""
    column: Floats = getattr(seen, f"{subject.view}_s")
    return np.where(seen.counted, column, np.nan)


def _comments(subject: Subject, seen: Responses) -> list[str]:
    start_s, end_s = subject.window_s()
    asked = subject.stored.results.experiment
    lines = [
        f"mpmlab: {VIEWS[subject.view]}",
        subject.title(),
        f"requests planned from {start_s:g} to {end_s:g} s after the start of the load",
    ]
    bounds = np.count_nonzero(seen.bound & seen.counted)
    if bounds and subject.view == "response":
        least_ms = 1e3 * float(np.min(seen.response_s[seen.bound & seen.counted]))
        lines.append(
            f"{bounds} of the values are lower bounds: requests that timed out (after "
            f"{asked.timeout_s:g} s) or were given up as the run ended count with what had passed "
            f"at least; from {least_ms:.3f} ms on percentiles are lower bounds"
        )
    timeless = np.count_nonzero(seen.counted & np.isnan(seen.response_s))
    if timeless and subject.view == "response":
        lines.append(f"{timeless} requests failed otherwise; they have no response time")
    return lines + [f"INVALID: {reason}" for reason in subject.validity.reasons]


def _write_percentiles(subject: Subject, out: IO[bytes]) -> None:
    seen = subject.responses()
    made = hdr.histogram(_values_s(subject, seen))
    comments = [*_comments(subject, seen), "values in milliseconds"]
    out.write(hdr.percentile_table(made, comments).encode())


def _write_intervals(subject: Subject, out: IO[bytes]) -> None:
    seen = subject.responses()
    comments = [
        *_comments(subject, seen),
        "packed values in microseconds, Interval_Max in milliseconds; a request is in the interval "
        "in which it was planned; times count from the start of the load, StartTime is when the "
        "experiment was set up",
    ]
    created = datetime.fromisoformat(subject.stored.results.experiment.created)
    intervals = hdr.by_interval(seen.planned_s, _values_s(subject, seen), *subject.window_s())
    for line in hdr.interval_log(intervals, created, comments):
        out.write(line.encode())


# ---- tables of requests --------------------------------------------------------------------------


def _layout(subject: Subject) -> pa.Schema:
    return schema({f"mpmlab.{n}": v for n, v in {"schema": SCHEMA, **subject.facts()}.items()})


def _batches(subject: Subject) -> Iterator[pa.RecordBatch]:
    stored = subject.stored
    asked = stored.results.experiment
    return batches(subject.run.records, stored.plan, asked, _layout(subject))


def _write_parquet(subject: Subject, out: IO[bytes]) -> None:
    with pa.parquet.ParquetWriter(out, _layout(subject), compression="zstd") as writer:
        for batch in _batches(subject):
            writer.write_batch(batch, row_group_size=ROWS)


def _write_arrow(subject: Subject, out: IO[bytes]) -> None:
    with pa.ipc.new_file(out, _layout(subject)) as writer:
        for batch in _batches(subject):
            writer.write_batch(batch)


def _write_csv(subject: Subject, out: IO[bytes]) -> None:
    options = pa.csv.WriteOptions(quoting_style="needed", quoting_header="none")
    with pa.csv.CSVWriter(out, _layout(subject), write_options=options) as writer:
        for batch in _batches(subject):
            writer.write_batch(batch)


def _csv_metadata(subject: Subject, name: str) -> bytes:
    """A comment line would break plain readers of CSV; this stands beside it, as W3C recommends."""
    columns = [
        {"name": c.name, "datatype": _csv_type(c.type), "dc:description": c.meaning, "null": ""}
        for c in COLUMNS
    ]
    document = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": name,
        "dc:description": subject.title(),
        "tableSchema": {"columns": columns},
        "notes": [{"mpmlab.schema": SCHEMA, **subject.facts()}],
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _csv_type(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return "double"
    if pa.types.is_integer(kind):
        return "long"
    return "boolean" if pa.types.is_boolean(kind) else "string"


# ---- the summary ---------------------------------------------------------------------------------


def _write_json(subject: Subject, out: IO[bytes]) -> None:
    seen = subject.responses()
    curves = {
        f"{view}_ms": _curve(_values_s(Subject(subject.stored, subject.engine, view), seen))
        for view in VIEWS
    }
    document = {
        "schema": SUMMARY_SCHEMA,
        "experiment": subject.stored.results.experiment.to_dict(),
        "engine": subject.engine,
        "complete": subject.run.complete,
        "valid": subject.validity.valid,
        "invalid_because": list(subject.validity.reasons),
        "notes": list(subject.run.notes),
        "summary": subject.summary().to_dict(),
        "percentiles": curves,
    }
    out.write((json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def _curve(values_s: Floats) -> list[dict[str, float | None]]:
    known_s = values_s[~np.isnan(values_s)]
    return [{"share": share, "value_ms": quantile_ms(known_s, share)} for share in _SHARES]


# ---- files ---------------------------------------------------------------------------------------

FORMATS: Final[Mapping[str, Format]] = {
    "hgrm": Format(lambda s: f"{s.engine}-{s.view}.hgrm", _write_percentiles),
    "hlog": Format(lambda s: f"{s.engine}-{s.view}.hlog", _write_intervals),
    "csv": Format(lambda s: f"{s.engine}-requests.csv", _write_csv, _csv_metadata),
    "parquet": Format(lambda s: f"{s.engine}-requests.parquet", _write_parquet),
    "arrow": Format(lambda s: f"{s.engine}-requests.arrow", _write_arrow),
    "json": Format(lambda s: f"{s.engine}-summary.json", _write_json),
}


def subject_of(stored: Stored, engine: str | None, view: str) -> Subject:
    """The run of that engine; without one, the only run, or the real one beside a simulated.
    Raises ExportError."""
    engines = list(stored.results.runs)
    chosen = engine or next((name for name in ("real", *engines) if name in engines), "")
    if chosen not in engines:
        raise ExportError(
            f"{stored.folder}: has no run of engine {chosen!r}; "
            f"accepted: {', '.join(engines) or 'none'}"
        )
    return Subject(stored, chosen, view)


def export(subject: Subject, format_name: str, out: Path | None, force: bool) -> list[Path]:
    """Write the run as a file of that format (a key of FORMATS): to `out`, or under the format's
    own name in the results folder. The paths that were written. A file that is there already is
    left alone, unless `force`: ExportError, as for any file that cannot be written."""
    form = FORMATS[format_name]
    path = out or subject.stored.folder / form.name(subject)
    if path.is_dir():
        raise ExportError(f"{path}: is a folder")
    beside = None if form.sidecar is None else path.with_name(path.name + _SIDECAR)
    paths = [path] if beside is None else [path, beside]
    for target in paths:
        if target.exists() and not force:
            raise ExportError(f"{target}: is there already; --force replaces it")
    try:
        with replacing(path) as file:
            form.write(subject, file)
        if beside is not None and form.sidecar is not None:
            with replacing(beside) as file:
                file.write(form.sidecar(subject, path.name))
    except hdr.HdrError as error:
        raise ExportError(f"{subject.stored.folder}, {subject.engine}: {error}") from error
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error
    return paths
