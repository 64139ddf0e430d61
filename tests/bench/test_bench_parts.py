"""The harness's small parts: speed, meter, interruption, preparing, conducting."""

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

from mpmlab.bench.conduct import conduct, exit_code
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.meter import server_cpu_s, server_pss_kib
from mpmlab.bench.prepare import RequestError, chosen_mpms, prepare
from mpmlab.bench.real import Cores, divide
from mpmlab.bench.results import Results
from mpmlab.bench.speed import glance_us, probe_us, summed_up
from mpmlab.bench.task import EngineError, Watch
from mpmlab.core.directives import DirectiveError
from mpmlab.core.platform import Platform
from mpmlab.workload.errors import ScenarioError
from tests.bench.bench_data import make_experiment, make_records, make_run, ok

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


# ---- preparing --------------------------------------------------------------------------------


def test_mpms_are_chosen_by_name_all_or_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, in the order given; the default is what httpd 2.4 would choose."""
    assert chosen_mpms("event, prefork,event") == ("event", "prefork")
    assert chosen_mpms("all") == ("prefork", "worker", "event")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert chosen_mpms(None) == ("event",)
    monkeypatch.setattr("platform.system", lambda: "Windows")
    with pytest.raises(RequestError, match=r"mpm_winnt.*prefork, worker, event"):
        chosen_mpms(None)


def test_set_overrides_the_scenario(tmp_path: Path) -> None:
    """Scenario first, then --set in order: the last wins, and all are kept as given."""
    path = tmp_path / "s.toml"
    path.write_text(
        'name = "s"\nduration_s = 1\n[arrivals]\nkind = "poisson"\nrate_per_s = 20\n'
        '[[class]]\nname = "a"\nresponse_bytes = 1\n[directives]\nTimeout = 7\nStartServers = 2\n'
    )
    bench = prepare("worker", str(path), None, 3, ["Timeout=8", "timeout=9"], "sim", 5.0)
    (task,) = bench.tasks
    assert task.settings.timeout_s == 9
    assert task.settings.start_servers == 2
    assert [name for name, _ in task.directives] == [
        "Timeout",
        "StartServers",
        "Timeout",
        "timeout",
    ]
    assert bench.scenario_text == path.read_text()
    assert (bench.plan.seed, task.duration_s, task.timeout_s) == (3, 1.0, 5.0)


def test_a_directive_of_another_mpm_is_refused_for_that_mpm() -> None:
    """`--mpm worker,prefork --set ThreadsPerChild=8` cannot be meant."""
    with pytest.raises(DirectiveError, match="prefork"):
        prepare("worker,prefork", "default", None, 1, ["ThreadsPerChild=8"], "sim", 5.0)
    with pytest.raises(ScenarioError):
        prepare("worker", "no-such-scenario", None, 1, [], "sim", 5.0)


# ---- conducting -------------------------------------------------------------------------------


def test_cores_are_divided_between_server_and_clients() -> None:
    """The last one is the clients'; a single one is shared, and that is known."""
    assert divide([0, 1, 2]) == Cores((0, 1), (2,))
    assert not divide([0, 1]).shared
    assert divide([5]) == Cores((5,), (5,))
    assert divide([5]).shared


@pytest.mark.parametrize(
    ("faults", "valid", "interrupted", "code"),
    [
        ((), True, False, 0),
        ((), False, False, 3),
        (("the load process failed",), True, False, 1),
        (("the load process failed",), False, False, 1),
        (("interrupted by SIGINT",), True, True, 130),
    ],
)
def test_exit_codes(faults: tuple[str, ...], valid: bool, interrupted: bool, code: int) -> None:
    """130 before 1 before 3 before 0."""
    run = dataclasses.replace(make_run("real", make_records([ok(3, 0.1)])), faults=faults)
    assert exit_code([Results(make_experiment(), {"real": run})], valid, interrupted) == code


@pytest.mark.real
def test_an_engine_that_cannot_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that is not up by its deadline is an EngineError that says so; the results folder is
    taken away again, and so is the server, at once."""
    monkeypatch.setattr("mpmlab.bench.real.POOL_DEADLINE_S", -1.0)
    bench = prepare("prefork", "default", 1.0, 1, ["StartServers=40"], "real", 5.0)
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
