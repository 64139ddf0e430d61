"""The harness's small parts: speed, meter, interruption, conducting."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from mpmlab.bench.conduct import conduct, exit_code, turns
from mpmlab.bench.gates import Gate, Verdict
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.live import Cores, divide
from mpmlab.bench.meter import server_cpu_s, server_pss_kib
from mpmlab.bench.prepare import prepare
from mpmlab.bench.results import Results
from mpmlab.bench.speed import glance_us, probe_us, summed_up
from mpmlab.bench.task import EngineError, Watch
from mpmlab.core.platform import Platform
from tests.bench.bench_data import asked, make_experiment, make_records, make_run, ok
from tests.bench.stored_data import make_plan

# ---- speed ------------------------------------------------------------------------------------


def test_speed_is_cpu_time_of_a_fixed_loop() -> None:
    """A glance and a probe measure the same thing (within the factor of 4 that a virtual machine
    may do to them), and where this thread may run is as before."""
    before = os.sched_getaffinity(0)
    probed, glanced = probe_us(min(before)), glance_us(min(before))
    assert probed > 0
    assert 0.25 < glanced / probed < 4
    assert os.sched_getaffinity(0) == before


def test_speed_tells_a_disturbed_run() -> None:
    """Equal readings are steady; a slow phase in the middle is seen though the ends agree; a single
    outlier in twenty is not."""
    steady = summed_up(500.0, [500.0] * 20, 500.0)
    assert (steady.ratio, steady.disturbed) == (1.0, False)
    burst = summed_up(500.0, [500.0] * 10 + [900.0] * 10, 500.0)
    assert burst.mean_us == pytest.approx(700)
    assert burst.disturbed
    assert not summed_up(500.0, [500.0] * 19 + [5000.0], 500.0).disturbed


def test_speed_without_readings_during_the_run() -> None:
    """A run that was cut short at once has only the two around it."""
    assert summed_up(400.0, [], 600.0).mean_us == pytest.approx(500)


# ---- meter ------------------------------------------------------------------------------------

_BURNER = """
import os, sys, time
def burn(s):
    end = time.process_time() + s
    while time.process_time() < end: pass
first = os.fork()
if not first:
    burn(0.3); os._exit(0)
os.waitpid(first, 0)
second = os.fork()
if not second:
    burn(0.2); print("ready", flush=True); sys.stdin.read(); os._exit(0)
burn(0.1)
print("parent", flush=True)
sys.stdin.read()
os.waitpid(second, 0)
"""


def _lines(stream: IO[str] | None, count: int) -> set[str]:
    assert stream is not None
    return {stream.readline().strip() for _ in range(count)}


def test_cpu_counts_parent_living_and_dead_children() -> None:
    """0.3 s of a reaped child, 0.2 s of a living one and 0.1 s of the parent, beside the start of
    the interpreter; each process is counted in ticks of 10 ms."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", _BURNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as burner:
        assert _lines(burner.stdout, 2) == {"ready", "parent"}
        used_s = server_cpu_s(burner.pid)
        pss_kib = server_pss_kib([burner.pid])
        burner.communicate("")
    assert used_s is not None
    assert 0.55 < used_s < 1.1
    assert pss_kib is not None
    assert 500 < pss_kib < 50_000
    assert server_cpu_s(burner.pid) is None
    assert server_pss_kib([burner.pid]) is None


# ---- interruption -----------------------------------------------------------------------------


def test_a_signal_raises_where_nobody_looks() -> None:
    """Outside polite(), Ctrl-C is KeyboardInterrupt, as ever; SIGTERM too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        interruption = Interruption()
        with interruption.installed(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert interruption.reason == f"interrupted by {number.name}"


def test_a_polite_signal_is_a_fact_and_the_second_is_not_polite() -> None:
    """Inside polite() the first is noted; the second raises."""
    interruption = Interruption()
    with interruption.installed(), interruption.polite():
        assert not interruption
        signal.raise_signal(signal.SIGTERM)
        assert interruption.reason == "interrupted by SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_saving_is_not_interrupted() -> None:
    """With patience=False, however often one presses Ctrl-C, nothing raises."""
    interruption = Interruption()
    with interruption.installed(), interruption.polite(patience=False):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
    assert interruption


# ---- conducting -------------------------------------------------------------------------------


def test_cores_are_divided_between_server_and_clients() -> None:
    """The last ones are the clients', one for each while one is left for the server; a single one
    is shared, and that is known."""
    assert divide([0, 1, 2]) == Cores((0, 1), (2,))
    assert not divide([0, 1]).shared
    assert divide([5]) == Cores((5,), (5,))
    assert divide([5]).shared
    assert divide([0, 1, 2, 3], clients=2) == Cores((0, 1), (2, 3))
    assert divide([0, 1, 2, 3], clients=9) == Cores((0,), (1, 2, 3))


@pytest.mark.parametrize(
    ("faults", "valid", "slo", "interrupted", "code"),
    [
        ((), True, "", False, 0),
        ((), True, "p50<200ms", False, 0),
        ((), True, "p50<50ms", False, 1),
        ((), True, "p50<200ms,p99<50ms", False, 1),
        ((), False, "p50<200ms", False, 3),
        ((), False, "p50<50ms", False, 3),
        (("a load process failed",), True, "", False, 4),
        (("a load process failed",), False, "p50<50ms", False, 4),
        (("interrupted by SIGINT",), True, "", True, 130),
        ((), True, "p50<50ms", True, 130),
    ],
)
def test_exit_codes(
    faults: tuple[str, ...], valid: bool, slo: str, interrupted: bool, code: int
) -> None:
    """130 before 4 before 3 before 1 before 0, wherever in a series the worst happened."""
    failed = Gate("lateness", 2.0, "ms", 1.0, Verdict.FAIL, "late", "")
    good = make_run("real", make_records([ok(3, 0.1)]))
    bad = dataclasses.replace(good, faults=faults, gates=() if valid else (failed,))
    plan, asked_ = make_plan([3.0]), make_experiment(slo=slo)
    for runs in ([bad], [good, bad], [bad, good]):
        done = [Results(asked_, {"real": run}, plan) for run in runs]
        assert exit_code(done, interrupted) == code


def test_an_objective_that_cannot_be_decided_is_missed() -> None:
    """Nobody was answered: no percentile, and no all-clear."""
    run = make_run("real", make_records([]))
    done = [Results(make_experiment(slo="p50<1s"), {"real": run}, make_plan([3.0]))]
    assert exit_code(done, False) == 1


def test_turns_are_taken_abba() -> None:
    """Each task once in each repetition, and every other repetition backwards: whatever changes
    steadily meanwhile hits both alike."""
    tasks = prepare(asked(mpms="prefork,worker,event")).tasks
    taken = [(number, task.mpm) for number, task in turns(tasks, 4)]
    forwards = ["prefork", "worker", "event"]
    assert [mpm for _, mpm in taken] == [*forwards, *forwards[::-1]] * 2
    assert [number for number, _ in taken] == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    for mpm in forwards:
        when = [place for place, (_, name) in enumerate(taken) if name == mpm]
        assert sum(when) == sum(range(12)) / 3


@pytest.mark.real
def test_an_engine_that_cannot_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that is not up by its deadline is an EngineError that says so; the results folder is
    taken away again, and so is the server, at once."""
    monkeypatch.setattr("mpmlab.bench.live.POOL_DEADLINE_S", -1.0)
    bench = prepare(asked(mpms="prefork", duration_s=1.0, sets=["StartServers=40"], engines="real"))
    began_s = time.monotonic()
    with pytest.raises(EngineError, match=r"of 40 workers were up"):
        conduct(
            bench,
            bench.tasks[0],
            Platform(),
            Watch(Interruption(), lambda _: None),
            lambda _: None,
            tmp_path,
        )
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - began_s < 10
