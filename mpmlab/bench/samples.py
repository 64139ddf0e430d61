"""What the scoreboard showed over time, the same columns for every engine.

Here live the rows and how one is read from a board. Who calls it, and when, is the engine's affair;
no clock and no I/O here. Counting as modules/generators/mod_status.c, status_handler() does.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.core.scoreboard import BUSY_READ, CLOSING, LETTERS, READY, Scoreboard

#: How many statuses a worker can have.
STATUSES: Final = len(LETTERS)


@dataclass(frozen=True)
class Samples:
    """The scoreboard over time; row i of each array was read at `time_s[i]` after the load began.

    `counts[i, s]` is how many workers had status `s`, all processes together. `busy` and `idle`
    leave out the workers of processes that are stopping, as mod_status does: busy is any status
    from R to C, idle is `_` in a process of the running generation. `processes` counts rows that
    hold a process."""

    time_s: NDArray[np.float64]
    counts: NDArray[np.int64]
    busy: NDArray[np.int64]
    idle: NDArray[np.int64]
    processes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time_s)

    def between(self, start_s: float, end_s: float) -> Samples:
        """The samples of start_s <= time < end_s."""
        keep = (self.time_s >= start_s) & (self.time_s < end_s)
        return Samples(
            self.time_s[keep],
            self.counts[keep],
            self.busy[keep],
            self.idle[keep],
            self.processes[keep],
        )


class SampleRows:
    """Rows as they come, in order of time."""

    def __init__(self) -> None:
        self._times = array("d")
        self._rows: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, time_s: float, row: NDArray[np.int64]) -> None:
        """`row`: a count for each status, then busy, idle and processes."""
        self._times.append(time_s)
        self._rows.append(row)

    def samples(self) -> Samples:
        """All so far, as arrays of their own."""
        rows = np.array(self._rows, dtype=np.int64).reshape(len(self._rows), STATUSES + 3)
        return Samples(
            time_s=np.array(self._times),
            counts=rows[:, :STATUSES],
            busy=rows[:, STATUSES],
            idle=rows[:, STATUSES + 1],
            processes=rows[:, STATUSES + 2],
        )


class SampleLog(SampleRows):
    """Collects samples of one board: `take(time_s)` reads a row, `samples()` gives them all."""

    def __init__(self, board: Scoreboard):
        super().__init__()
        self._threads = board.thread_limit
        # Views of the shared memory, not copies: each take() sees the board as it is then.
        self._status = np.frombuffer(board.status, dtype=np.uint8)
        self._pid = np.frombuffer(board.pid, dtype=np.int32)
        self._quiescing = np.frombuffer(board.quiescing, dtype=np.int32)
        self._generation_of = np.frombuffer(board.generation_of, dtype=np.int32)
        self._board = board

    def take(self, time_s: float) -> None:
        """Read the board now and keep it as the sample of `time_s`."""
        self.add(time_s, self._row())

    def ready_workers(self) -> int:
        """How many workers are up now: READY or at work."""
        return int(np.count_nonzero(self._status >= READY))

    def _row(self) -> NDArray[np.int64]:
        status = self._status.copy()  # one look: the columns of a row must agree
        counts = np.bincount(status, minlength=STATUSES)[:STATUSES]
        cells = status.reshape(-1, self._threads)
        live = self._quiescing == 0
        current = live & (self._generation_of == self._board.generation)
        busy = np.count_nonzero((cells >= BUSY_READ) & (cells <= CLOSING), axis=1)
        idle = np.count_nonzero(cells == READY, axis=1)
        summed = (busy[live].sum(), idle[current].sum(), np.count_nonzero(self._pid))
        return np.concatenate([counts, np.array(summed)]).astype(np.int64)
