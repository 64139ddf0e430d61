"""The records of a run as a table for other programs: one row a request, columns with their units.

The columns, their types and what they mean live here (docs/results.md shows them), and how a
piece of the records becomes a piece of the table. Files and formats are export.py. Any change of
what a column means changes SCHEMA.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpmlab.bench.experiment import Experiment
from mpmlab.bench.response import Responses, responses
from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.plan import Plan

#: Name and version of the table's layout.
SCHEMA: Final = "mpmlab-requests-1"
#: Rows that are in work at a time, and of a row group in Parquet: about 20 MB.
ROWS: Final = 131_072

_NAMES: Final = pa.dictionary(pa.int16(), pa.string())
_OUTCOMES: Final = [outcome.name.lower() for outcome in Outcome]


class _Piece(NamedTuple):
    """Some rows, and what their columns are made from."""

    records: Records
    plan: Plan
    seen: Responses


class Column(NamedTuple):
    """A column: its name with the unit, its type, what it means, and where it comes from. A value
    that is NaN, or where `known` is false, is null."""

    name: str
    type: pa.DataType
    meaning: str
    values: Callable[[_Piece], NDArray[Any]]
    known: Callable[[_Piece], NDArray[np.bool_]] | None = None


def _group(piece: _Piece) -> NDArray[np.int16]:
    return piece.plan.session_group[piece.records.session]


COLUMNS: Final = (
    Column("request", pa.int64(), "number of the request in the plan", lambda p: p.records.index),
    Column(
        "cycle",
        pa.int32(),
        "how often its session had been through its list before; 0 unless the session is closed",
        lambda p: p.records.cycle,
    ),
    Column("session", pa.int32(), "number of the client in the plan", lambda p: p.records.session),
    Column("class", _NAMES, "class of the scenario", lambda p: p.plan.klass[p.records.index]),
    Column("group", _NAMES, "group of clients of the scenario", _group),
    Column(
        "measured",
        pa.bool_(),
        "whether the summary rests on it: planned inside the measured window, by a measured group",
        lambda p: p.seen.counted,
    ),
    Column(
        "planned_s",
        pa.float64(),
        "when it was to be sent; all times count from the start of the load",
        lambda p: p.records.planned_s,
    ),
    Column("sent_s", pa.float64(), "just before its first byte left", lambda p: p.records.sent_s),
    Column(
        "first_byte_s",
        pa.float64(),
        "first byte of the answer",
        lambda p: p.records.first_byte_s,
    ),
    Column("last_byte_s", pa.float64(), "last byte of the answer", lambda p: p.records.last_byte_s),
    Column(
        "ended_s",
        pa.float64(),
        "when the client was done with it: answered, failed or given up",
        lambda p: p.records.ended_s,
    ),
    Column(
        "response_ms",
        pa.float64(),
        "planned send to last byte of a good answer; of a request that timed out or was given up "
        "as the run ended what had passed at least; null after any other failure",
        lambda p: p.seen.response_s * 1e3,
    ),
    Column(
        "response_is_bound",
        pa.bool_(),
        "response_ms is such a lower bound, not an answer's time",
        lambda p: p.seen.bound,
    ),
    Column(
        "service_ms",
        pa.float64(),
        "actual send to last byte of a good answer",
        lambda p: p.seen.service_s * 1e3,
    ),
    Column(
        "lateness_ms",
        pa.float64(),
        "how much later than possible the client took it in hand: the load generator's own delay",
        lambda p: p.seen.lateness_s * 1e3,
    ),
    Column(
        "outcome", _NAMES, "how it ended; anything but ok is an error", lambda p: p.records.error
    ),
    Column(
        "status",
        pa.int16(),
        "HTTP status; null without a complete answer",
        lambda p: p.records.status,
        lambda p: p.records.status != 0,
    ),
    Column("body_bytes", pa.int64(), "length of the answer's body", lambda p: p.records.body_bytes),
    Column(
        "connection",
        pa.int32(),
        "serial number of its connection in this run, from 1; null if there was none",
        lambda p: p.records.connection,
        lambda p: p.records.connection != 0,
    ),
    Column(
        "retried",
        pa.bool_(),
        "sent again, because a reused connection turned out to be closed",
        lambda p: p.records.retried != 0,
    ),
)


def schema(metadata: dict[str, str]) -> pa.Schema:
    """The table's Arrow schema with facts of the run; each field carries its meaning."""
    fields = [
        pa.field(column.name, column.type, metadata={"meaning": column.meaning})
        for column in COLUMNS
    ]
    return pa.schema(fields, metadata=metadata)


def batches(
    records: Records, plan: Plan, asked: Experiment, layout: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The table in pieces of ROWS rows, in the order of the records (in which they ended). Only one
    piece exists at a time, if the caller keeps none. The records must be of the plan."""
    names = {"class": list(plan.classes), "group": [g.name for g in plan.groups]}
    names["outcome"] = _OUTCOMES
    for start in range(0, len(records), ROWS):
        rows: dict[str, Any] = {
            name: column[start : start + ROWS] for name, column in records.columns().items()
        }
        part = dataclasses.replace(records, **rows)
        seen = responses(part, asked.warmup_s, asked.duration_s, asked.timeout_s, plan)
        piece = _Piece(part, plan, seen)
        arrays = [_array(column, piece, names.get(column.name)) for column in COLUMNS]
        yield pa.RecordBatch.from_arrays(arrays, schema=layout)


def _array(column: Column, piece: _Piece, names: list[str] | None) -> pa.Array:
    values = column.values(piece)
    if names is not None:
        return pa.DictionaryArray.from_arrays(pa.array(values, pa.int16()), names)
    missing = None if column.known is None else ~column.known(piece)
    return pa.array(values, column.type, mask=missing, from_pandas=True)
