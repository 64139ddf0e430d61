"""The training runs: in which order they are made, which of them count, and what is handed to the
fit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mpmlab.bench import calibrate
from mpmlab.bench.calibrate import (
    CalibrationError,
    Ran,
    Wanted,
    calibrated,
    take,
    trials_of,
    wanted,
)
from mpmlab.bench.calibration import Trial
from mpmlab.bench.gates import Gate, Verdict
from mpmlab.bench.run import Run
from mpmlab.bench.speed import Speed
from mpmlab.bench.summary import Summary, summarise
from mpmlab.core.platform import Platform
from tests.bench.bench_data import make_records, make_run, ok
from tests.bench.calibration_data import DATE, PLANTED, SPEED_US, TAKEN, watch

MPMS = ("prefork", "worker")


@pytest.fixture(scope="module")
def asked() -> Wanted:
    """Both MPMs, twice."""
    return wanted(MPMS, "real", 2, 1)


def ran(asked: Wanted, **reasons: tuple[str, ...]) -> list[Ran]:
    """Each case of each MPM once; `reasons` by case, with _ for -."""
    return [
        Ran(case.name, mpm, 1, TAKEN, reasons.get(case.name.replace("-", "_"), ()))
        for case, mpm, _ in asked.benches
    ]


# ---- running -------------------------------------------------------------------------------------


@dataclass
class Done:
    """What conduct() gives of one run, as far as it is looked at."""

    runs: dict[str, Run]

    def summaries(self) -> dict[str, Summary]:
        """Of 10 s, of which 2 are warm-up."""
        return {name: summarise(run, 2.0, 10.0, 3.0) for name, run in self.runs.items()}


def a_run(**facts: Any) -> Run:
    """40 answers of 10 ms, 4 s of CPU, at a steady speed."""
    rows = [ok(3 + i / 10, 0.01) for i in range(40)]
    plain = replace(make_run("real", make_records(rows)), speed=Speed(500, 510.0, 495, 520, 500))
    return replace(plain, **facts)


def runs_made(
    asked: Wanted, monkeypatch: pytest.MonkeyPatch, runs: Iterator[Run]
) -> tuple[list[str], list[Ran]]:
    """What was run, in order, and what take() makes of it. What a run needs on disk is in the
    folder that was given, and gone afterwards."""
    order: list[str] = []

    def conducted(_bench: object, task: Any, *others: Any) -> tuple[Path, Done]:
        assert others[-1].parent == Path(scratch)
        order.append(f"{task.plan.scenario}, {task.mpm}")
        return Path("nowhere"), Done({"real": next(runs)})

    monkeypatch.setattr(calibrate, "conduct", conducted)
    with tempfile.TemporaryDirectory() as scratch:
        found = list(take(asked, watch(), lambda _: None, Path(scratch)))
        assert not list(Path(scratch).iterdir())
    return order, found


def endless(run: Run) -> Iterator[Run]:
    """The same again and again."""
    while True:
        yield run


def test_mpms_stand_next_to_one_another_and_turns_go_back_and_forth(
    asked: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other repetition backwards, each run with its case, MPM and figures."""
    few = replace(asked, benches=asked.benches[:4])
    order, found = runs_made(few, monkeypatch, endless(a_run()))
    there = [f"{case}, {mpm}" for case in ("users-1", "users-4") for mpm in MPMS]
    assert order == there + there[::-1]
    assert [f"{one.case}, {one.mpm}" for one in found] == order
    assert [one.repetition for one in found] == [1] * 4 + [2] * 4
    assert len(found) == few.runs
    taken = found[0].taken
    assert taken is not None
    assert taken.speed_us == 510.0
    assert taken.cpu_per_request_us == pytest.approx(4e6 / 40)
    assert taken.throughput_rps == pytest.approx(40 / 8)
    assert taken.mean_ms == pytest.approx(10)
    assert taken.memory_mib == 64


def test_a_run_that_was_cut_short_is_the_last(
    asked: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, with what ended it."""
    runs = iter([a_run(), a_run(faults=("a process died",))])
    order, found = runs_made(asked, monkeypatch, runs)
    assert len(order) == len(found) == 2
    assert found[0].reasons == ()
    assert found[1].reasons[0] == "incomplete: a process died"


@pytest.mark.parametrize(
    ("gate", "counts"),
    [("server-core", False), ("answers", False), ("lateness", True), ("client-core", True)],
)
def test_which_gates_a_training_run_must_pass(
    gate: str, counts: bool, asked: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the server and of the account; a client that is late does no harm to what is
    compared."""
    failed = Gate(gate, 0.3, "", 0.1, Verdict.FAIL, "too much of it", "")
    few = replace(asked, benches=asked.benches[:1], repetitions=1)
    _, (found,) = runs_made(few, monkeypatch, endless(a_run(gates=(failed,))))
    assert found.reasons == (() if counts else ("too much of it",))
    assert found.taken is not None


@pytest.mark.parametrize("facts", [{"speed": None}, {"cpu_s": None}, {"records": make_records([])}])
def test_a_run_without_figures_does_not_count(
    facts: dict[str, Any], asked: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No speed beside it, no CPU, no answers: there is nothing to compare."""
    few = replace(asked, benches=asked.benches[:1], repetitions=1)
    _, (found,) = runs_made(few, monkeypatch, endless(a_run(**facts)))
    assert found.taken is None
    assert found.reasons


# ---- what is fitted to ---------------------------------------------------------------------------


def test_each_case_has_the_runs_that_count(asked: Wanted) -> None:
    """Of its own MPM, in order of the suite; those that do not count are left out."""
    second = replace(TAKEN, cpu_per_request_us=300.0)
    runs = ran(asked)
    runs += [replace(one, repetition=2, taken=second) for one in runs if one.mpm == "worker"]
    runs += [replace(one, repetition=3, reasons=("late",)) for one in ran(asked)]
    trials = trials_of(asked, runs, "worker")
    assert [trial.case for trial in trials] == [case.name for case in asked.suite.cases]
    assert {trial.task.mpm for trial in trials} == {"worker"}
    assert {trial.taken for trial in trials} == {(TAKEN, second)}
    assert {trial.taken for trial in trials_of(asked, runs, "prefork")} == {(TAKEN,)}


def test_a_case_without_runs_is_named(asked: Wanted) -> None:
    """With the reasons, each once; or that there was no run. The other MPM's do not help."""
    bad = [
        replace(one, reasons=("others had the core",)) if one.mpm == "prefork" else one
        for one in ran(asked)
        if one.case == "users-4"
    ]
    rest = [one for one in ran(asked) if one.case != "users-4"]
    with pytest.raises(CalibrationError) as caught:
        trials_of(asked, [*rest, *bad, *bad], "prefork")
    assert str(caught.value) == "prefork: no run of users-4 counts: others had the core"
    assert trials_of(asked, [*rest, *bad], "worker")
    with pytest.raises(CalibrationError, match="prefork: no run of users-1 counts: none was made"):
        trials_of(asked, [], "prefork")


@pytest.mark.parametrize(("engine", "gil"), [("real", True), ("httpd", False)])
def test_the_fit_begins_with_the_probed_profile(
    engine: str, gil: bool, asked: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the name of engine and MPM; httpd has no GIL, whatever interpreter was probed."""
    given: list[Any] = []

    def fit_noted(trials: list[Trial], *more: Any) -> Any:
        given.extend((len(trials), *more))

    monkeypatch.setattr(calibrate, "fit", fit_noted)
    probed = replace(PLANTED, gil=True)
    mine = watch()
    calibrated(replace(asked, engine=engine), ran(asked), "worker", probed, DATE, mine)
    count, base, speed_us, what, date, watched = given
    assert count == len(asked.suite.cases)
    assert (base.name, base.gil) == (f"this machine, {engine} worker", gil)
    assert replace(base, name=probed.name, gil=True) == probed
    assert (speed_us, what, date) == (SPEED_US, f"{engine} worker", DATE)
    assert watched is mine


def test_a_profile_of_no_speed_is_nothing_to_begin_with(asked: Wanted) -> None:
    """It would be scaled by a guess."""
    with pytest.raises(CalibrationError, match="does not say at which speed"):
        calibrated(asked, ran(asked), "worker", Platform(), DATE, watch())
