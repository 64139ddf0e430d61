"""A made-up run of every kind of row, stored, and the export command on it.

Only builders live here; each number a test relies on is stated in the test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from mpmlab.bench.run import Run
from mpmlab.cli_export import export_command
from mpmlab.load.recorder import Outcome
from mpmlab.workload.plan import Plan
from tests.bench.bench_data import NAN, Row, failed, make_records, make_run, ok
from tests.bench.stored_data import make_plan, store

#: Four that are measured (from 2 s on): answered in 100 and 300 ms, timed out, reset. Before them a
#: warm-up, behind them what was never sent, and one of the group that is not measured.
ROWS: list[Row] = [
    ok(1.0, 0.5),
    ok(2.0, 0.1, late_s=0.02),
    ok(3.25, 0.3),
    failed(4.0, 2.9, Outcome.TIMEOUT),
    failed(5.0, 0.001, Outcome.RESET),
    ok(6.0, 9.0),
    failed(9.5, 1.5, Outcome.NOT_SENT),
]
SLOW = (5,)


def run_of(rows: Sequence[Row] = ROWS, engine: str = "real", complete: bool = True) -> Run:
    """A run of these rows; what was never sent has no lateness."""
    records = make_records(rows, complete=complete)
    late_s = np.where(records.error == Outcome.NOT_SENT, NAN, records.lateness_s)
    return make_run(engine, dataclasses.replace(records, lateness_s=late_s))


def plan_of(rows: Sequence[Row] = ROWS, slow: Sequence[int] = SLOW) -> Plan:
    """The plan that the rows are of."""
    return make_plan([row[0] for row in rows], slow)


def exported(folder: Path, format_name: str, *more: str) -> Path:
    """The (first) file that the command wrote."""
    done = command(folder, "--format", format_name, *more)
    assert done.exit_code == 0, done.output
    return Path(done.stdout.splitlines()[0])


def command(folder: Path, *arguments: str) -> Result:
    """The command's outcome."""
    return CliRunner().invoke(export_command, [str(folder), *arguments])


def stored(folder: Path) -> Path:
    """A results folder with that run, real and (other times) simulated."""
    sim = run_of([*ROWS[:1], ok(2.0, 0.2), *ROWS[2:]], "sim")
    return store(folder, plan_of(), {"real": run_of(), "sim": sim})
