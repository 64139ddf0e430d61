"""The record of a run: one row per request, in columns, its file, and its account.

Here live the columns, how rows are added, the .npz file and the conservation check. No clock, no
I/O but that file, no statistics.
"""

from __future__ import annotations

import enum
import json
import os
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mpmlab.workload.plan import Plan

Floats = npt.NDArray[np.float64]

#: Stands in each file: a change of what the columns mean must change it.
FORMAT: Final = "mpmlab-records-1"

#: After a refused connection a client waits at least this long before a request whose time is
#: relative to it. Without it a thinkless closed client on a dead port would do nothing but count
#: refusals, at the speed of its own processor.
RECONNECT_PAUSE_US: Final = 10_000


class RecordsError(ValueError):
    """A records file that cannot be used: damaged, or of another format."""


class Outcome(enum.IntEnum):
    """How a request ended. Everything but OK is an error."""

    OK = 0
    CONNECT_REFUSED = 1  # no connection, at once
    CONNECT_TIMEOUT = 2  # no connection within the request's timeout
    SEND_FAILED = 3  # the peer was gone before all was sent
    RESET = 4  # connection reset before the answer was complete
    CLOSED_EARLY = 5  # connection closed before the answer was complete
    TIMEOUT = 6  # no complete answer within the request's timeout
    BAD_RESPONSE = 7  # what came is not an HTTP/1.x answer to this request
    HTTP_ERROR = 8  # a complete answer with status >= 400
    NOT_SENT = 9  # due, but not sent when the run was over
    UNFINISHED = 10  # sent, but neither answered nor timed out when the run was stopped
    ABANDONED = 11  # the client left on purpose: its patience (abandon_s) or its stall was over


#: Column -> (struct's format, numpy type). Order is that of Recorder.add's arguments.
_COLUMNS: Final = {
    "index": ("q", "<i8"),
    "cycle": ("i", "<i4"),
    "session": ("i", "<i4"),
    "planned_s": ("d", "<f8"),
    "lateness_s": ("d", "<f8"),
    "sent_s": ("d", "<f8"),
    "first_byte_s": ("d", "<f8"),
    "last_byte_s": ("d", "<f8"),
    "ended_s": ("d", "<f8"),
    "status": ("h", "<i2"),
    "body_bytes": ("q", "<i8"),
    "connection": ("i", "<i4"),
    "error": ("b", "|i1"),
    "retried": ("b", "|i1"),
}
_FACTS: Final = ("complete", "end_s", "metadata")


@dataclass(frozen=True, eq=False)
class Records:
    """One row per request, in the order in which they ended. Times are seconds since the start of
    the run (the plan's zero); NaN where it did not happen."""

    #: Request of the plan.
    index: npt.NDArray[np.int64]
    #: How often its session had been through its list before: 0 unless the plan cycles.
    cycle: npt.NDArray[np.int32]
    session: npt.NDArray[np.int32]
    #: When it was to be sent; latency counts from here.
    planned_s: Floats
    #: How much later than possible the client took it in hand: the generator's own delay. Waiting
    #: for the session's previous response is not in it.
    lateness_s: Floats
    #: Just before the first byte was given to the system (of the second attempt, if retried); of a
    #: request that stalls without a byte, when its silence began.
    sent_s: Floats
    first_byte_s: Floats
    last_byte_s: Floats
    #: When the client was done with it: last_byte_s, or when it failed (a timeout's latency is at
    #: least ended_s - planned_s), or when it was given up (NOT_SENT, UNFINISHED).
    ended_s: Floats
    #: HTTP status; 0 without a complete answer.
    status: npt.NDArray[np.int16]
    #: Length of the response's body.
    body_bytes: npt.NDArray[np.int64]
    #: Serial number of the connection in this run, from 1; 0 if there was none.
    connection: npt.NDArray[np.int32]
    #: An Outcome.
    error: npt.NDArray[np.int8]
    #: 1 if it was sent again, because a reused connection turned out to be closed.
    retried: npt.NDArray[np.int8]

    #: False if the run was stopped before its end.
    complete: bool
    #: Nothing was started after this: the plan's duration, or when the run was stopped.
    end_s: float
    #: Facts of the run for people and gates (JSON values).
    metadata: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Column name -> array, without the facts that are not rows."""
        return {name: getattr(self, name) for name in _COLUMNS}

    def count(self, outcome: Outcome) -> int:
        """How many requests ended so."""
        return int(np.count_nonzero(self.error == outcome))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .npz file, atomically: a reader sees the old file or the whole new one."""
        target = Path(path)
        scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
        facts = {name: getattr(self, name) for name in _FACTS}
        header = json.dumps({"format": FORMAT, **facts})
        columns: dict[str, Any] = self.columns()
        try:
            with scratch.open("wb") as out:
                np.savez_compressed(out, header=np.array(header), **columns)
                out.flush()
                os.fsync(out.fileno())
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Records:
        """Read what `save` wrote. Raises RecordsError if the file is damaged or of another format,
        and OSError if it cannot be opened."""
        try:
            # Opened here: numpy leaves its own file open when the archive is cut.
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                header = json.loads(str(stored["header"][()]))
                if header["format"] != FORMAT:
                    raise RecordsError(f"{path}: format {header['format']!r}; this is {FORMAT!r}")
                columns = {name: stored[name] for name in _COLUMNS}
            records = Records(**columns, **{name: header[name] for name in _FACTS})
        except RecordsError:
            raise
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RecordsError(f"{path}: not a records file: {error}") from error
        if len({len(column) for column in columns.values()}) != 1:
            raise RecordsError(f"{path}: damaged: columns of different lengths")
        return records

    def breaches(self, plan: Plan) -> list[str]:
        """Where the account does not balance, at most a few; empty if every request of `plan` that
        was due is here exactly once, and none that is not in the plan.

        Within a session the rows must be its requests in order without a gap or a double, and
        the request after the last row must not have been due before the run's end."""
        if len(self) and (self.session.min() < 0 or self.session.max() >= plan.sessions):
            return [f"rows of sessions beyond the plan's {plan.sessions}"]
        per_session = plan.session_requests.astype(np.int64)
        offset = self.index - plan.session_first[self.session]
        size = per_session[self.session]
        foreign = np.flatnonzero((offset < 0) | (offset >= size) | (self.cycle < 0))
        if len(foreign):
            return [
                f"request {self.index[i]} is not of session {self.session[i]}" for i in foreign[:5]
            ]
        place = self.cycle * size + offset
        order = np.lexsort((place, self.session))
        rows = np.bincount(self.session, minlength=plan.sessions)
        begins = np.cumsum(rows) - rows
        expected = np.arange(len(self)) - begins[self.session[order]]
        wrong = order[place[order] != expected]
        if len(wrong):
            return [
                f"session {self.session[i]}: a request is missing or twice at or before "
                f"request {self.index[i]} of cycle {self.cycle[i]}"
                for i in wrong[:5]
            ]
        return self._missing(plan, rows, order, begins)

    def _missing(
        self,
        plan: Plan,
        rows: npt.NDArray[np.int64],
        order: npt.NDArray[np.int64],
        begins: npt.NDArray[np.int64],
    ) -> list[str]:
        """Sessions whose next request was due, too, and is not here."""
        size = plan.session_requests.astype(np.int64)
        more = np.flatnonzero(plan.session_cycle | (rows < size))
        following = plan.session_first[more] + rows[more] % size[more]
        first_round = rows[more] < size[more]
        due_s = np.where(first_round, plan.planned_us[following], -1) / 1e6
        relative = np.flatnonzero(due_s < 0)  # so it has a row before it
        last = order[begins[more[relative]] + rows[more[relative]] - 1]
        refused = self.error[last] == Outcome.CONNECT_REFUSED
        think_us = plan.think_us[following[relative]]
        think_us = np.where(refused, np.maximum(think_us, RECONNECT_PAUSE_US), think_us)
        due_s[relative] = self.ended_s[last] + think_us / 1e6
        end_s = min(self.end_s, plan.duration_us / 1e6)
        return [
            f"session {more[i]}: request {following[i]} was due at {due_s[i]:.6f} s and is "
            f"not accounted for"
            for i in np.flatnonzero(due_s < end_s)[:5]
        ]


_ROW: Final = struct.Struct("<" + "".join(code for code, _ in _COLUMNS.values()))
_ROW_TYPE: Final = np.dtype([(name, dtype) for name, (_, dtype) in _COLUMNS.items()])


class Recorder:
    """Collects rows: `add` takes a third of a microsecond and makes no objects that stay. Packing a
    row is what makes it so: appending to a column each took 1.3 us of a request's 10."""

    def __init__(self) -> None:
        self._rows = bytearray()
        #: Set by `finish`.
        self.complete = False
        self.end_s = 0.0

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def add(self, *row: float, pack: Callable[..., bytes] = _ROW.pack) -> None:
        """One request; arguments in the order of the fields of Records."""
        self._rows += pack(*row)

    def finish(self, complete: bool, end_s: float) -> None:
        """The run is over: whether it ran to its end, and when that was."""
        self.complete = complete
        self.end_s = end_s

    def rows(self, first: int = 0) -> npt.NDArray[Any]:
        """A copy of the rows from number `first` on (negative: so many of the last), as a
        structured array whose fields are the columns."""
        first = max(0, first + len(self)) if first < 0 else first
        return np.frombuffer(bytes(self._rows[first * _ROW.size :]), dtype=_ROW_TYPE)

    def tally(self, first: int, outcome: Outcome) -> tuple[int, int]:
        """How many rows there are from number `first` on, and how many of them ended so. Looks at
        them where they are: a load process has no time to copy."""
        rows = np.frombuffer(self._rows, dtype=_ROW_TYPE, offset=first * _ROW.size)
        return len(rows), int(np.count_nonzero(rows["error"] == outcome))

    def records(self, metadata: dict[str, Any] | None = None) -> Records:
        """What was collected so far, as arrays of their own."""
        rows = self.rows()
        columns: dict[str, Any] = {name: np.ascontiguousarray(rows[name]) for name in _COLUMNS}
        return Records(
            **columns, complete=self.complete, end_s=self.end_s, metadata=dict(metadata or {})
        )


def merged(parts: Sequence[Records], metadata: dict[str, Any]) -> Records:
    """The records of several load processes that shared a plan, as if one had made them: all rows,
    in the order in which they ended. Connections are numbered through; the run is as complete as
    its least complete part, and ended when the first of them did: what others began after that (a
    signal does not stop all at one instant) is left out. Raises ValueError of no parts."""
    if not parts:
        raise ValueError("nothing to merge")
    end_s = min(part.end_s for part in parts)
    offset = 0
    columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _COLUMNS}
    for part in parts:
        rows = np.flatnonzero(~(_due_s(part) >= end_s))
        for name, column in part.columns().items():
            columns[name].append(column[rows])
        connection = columns["connection"][-1]
        connection[connection > 0] += offset
        offset += int(part.connection.max(initial=0))
    whole = {name: np.concatenate(pieces) for name, pieces in columns.items()}
    order = np.argsort(whole["ended_s"], kind="stable")
    return Records(
        **{name: column[order] for name, column in whole.items()},
        complete=all(part.complete for part in parts),
        end_s=end_s,
        metadata=metadata,
    )


def _due_s(records: Records) -> Floats:
    """When each row's request was planned. One that has no time of its own was due for the sake of
    the next that has one: Client.account writes them in a row."""
    rows = np.arange(len(records))
    timed = np.where(np.isfinite(records.planned_s), rows, len(rows) - 1)
    return records.planned_s[np.minimum.accumulate(timed[::-1])[::-1]]


assert [f.name for f in fields(Records)] == [*_COLUMNS, *_FACTS]
