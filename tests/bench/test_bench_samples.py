"""Samples of a scoreboard: counted as mod_status counts, each row the board of that moment."""

from __future__ import annotations

import numpy as np
import pytest

from mpmlab.bench.samples import STATUSES, SampleLog
from mpmlab.core.scoreboard import (
    BUSY_KEEPALIVE,
    BUSY_READ,
    BUSY_WRITE,
    CLOSING,
    DEAD,
    GRACEFUL,
    IDLE_KILL,
    READY,
    STARTING,
    Scoreboard,
)


def board_of(*rows: str) -> Scoreboard:
    """A board with one process of four threads for each string of mod_status letters."""
    letters = {".": DEAD, "S": STARTING, "_": READY, "R": BUSY_READ, "W": BUSY_WRITE,
               "K": BUSY_KEEPALIVE, "C": CLOSING, "G": GRACEFUL, "I": IDLE_KILL}  # fmt: skip
    board = Scoreboard(len(rows), 4)
    for slot, row in enumerate(rows):
        for thread, letter in enumerate(row):
            board.set(slot * 4 + thread, letters[letter])
        board.pid[slot] = 0 if row == "...." else 100 + slot
    return board


def test_counts_are_by_status_over_all_processes() -> None:
    """Every cell is in exactly one column."""
    log = SampleLog(board_of("SS__", "RWKC", "GI..", "...."))
    log.take(1.5)
    samples = log.samples()
    assert samples.time_s.tolist() == [1.5]
    assert samples.counts.shape == (1, STATUSES)
    assert samples.counts[0].tolist() == [6, 2, 2, 1, 1, 1, 0, 0, 1, 1, 1]
    assert samples.processes.tolist() == [3]


def test_busy_is_from_reading_to_closing() -> None:
    """G, I, S and _ are not busy; only _ is idle."""
    log = SampleLog(board_of("S_RW", "KCGI"))
    log.take(0.0)
    assert (log.samples().busy[0], log.samples().idle[0]) == (4, 1)


def test_a_stopping_process_is_neither_busy_nor_idle() -> None:
    """mod_status skips the workers of quiescing processes; the columns by status do not."""
    board = board_of("WW__", "WW__")
    board.quiescing[1] = 1
    log = SampleLog(board)
    log.take(0.0)
    samples = log.samples()
    assert (samples.busy[0], samples.idle[0]) == (2, 2)
    assert samples.counts[0, BUSY_WRITE] == 4


def test_an_old_generation_is_not_idle() -> None:
    """After a graceful restart, idle workers of the old generation take no new connections."""
    board = board_of("W___", "W___")
    board.generation = 1
    board.generation_of[1] = 1
    log = SampleLog(board)
    log.take(0.0)
    assert (log.samples().busy[0], log.samples().idle[0]) == (2, 3)


def test_each_sample_is_the_board_of_its_moment() -> None:
    """A later change of the board does not reach back into samples that were taken."""
    board = board_of("____")
    log = SampleLog(board)
    assert log.ready_workers() == 4
    log.take(0.0)
    board.set(0, BUSY_WRITE)
    board.set(1, STARTING)
    log.take(0.05)
    assert log.samples().busy.tolist() == [0, 1]
    assert log.samples().idle.tolist() == [4, 2]
    assert log.ready_workers() == 3
    assert len(log) == 2


def test_between_is_half_open_on_every_column() -> None:
    """start <= time < end, and the columns stay together."""
    board = board_of("____")
    log = SampleLog(board)
    for i in range(4):
        board.set(i, BUSY_WRITE)
        log.take(float(i))
    part = log.samples().between(1.0, 3.0)
    assert part.time_s.tolist() == [1.0, 2.0]
    assert part.busy.tolist() == [2, 3]
    assert part.counts[:, READY].tolist() == [2, 1]
    assert part.processes.tolist() == [1, 1]


def test_no_samples_are_arrays_all_the_same() -> None:
    """A run that was cut short before its first sample has empty columns of the right shape."""
    samples = SampleLog(board_of("____")).samples()
    assert len(samples) == 0
    assert samples.counts.shape == (0, STATUSES)


def test_a_log_over_shared_memory_sees_the_other_side() -> None:
    """It is a view of the buffer: what another mapping of it writes is seen."""
    memory = bytearray(Scoreboard.size_of(2, 4))
    log = SampleLog(Scoreboard(2, 4, memoryview(memory)))
    other = Scoreboard(2, 4, memoryview(memory))
    other.set(5, BUSY_READ)
    log.take(0.0)
    assert log.samples().busy.tolist() == [1]
    assert np.asarray(log.samples().counts).sum() == pytest.approx(8)
