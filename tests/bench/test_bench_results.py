"""The results folder: what is written is read back, and whatever is damaged is named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpmlab.bench.account import Account
from mpmlab.bench.experiment import Experiment
from mpmlab.bench.gates import Gate, Verdict
from mpmlab.bench.results import (
    Results,
    ResultsError,
    load_results,
    new_folder,
    save_results,
    series_folder,
)
from mpmlab.bench.run import Run
from mpmlab.bench.slo import Finding
from mpmlab.bench.speed import Speed
from mpmlab.load.recorder import Outcome
from tests.bench.bench_data import make_experiment, make_records, make_run, ok
from tests.bench.stored_data import make_plan

LATE = Gate("lateness", 1.5, "ms", 1.0, Verdict.FAIL, "late", "lower the rate")
SKIPPED = Gate("arrivals", None, "A2", None, Verdict.SKIP, "not judged: too few", "")
LINK = {"mechanism": "made up", "asked": {"rtt_s": 0.02}, "forwarder_share": None}


@pytest.fixture
def results() -> Results:
    """Two engines; the real one was late, the simulated one was cut short."""
    rows = [ok(2 + 0.1 * i, 0.01 * (i + 1)) for i in range(20)]
    real = dataclasses.replace(
        make_run("real", make_records(rows)),
        speed=Speed(1.0, 2.0, 1.5, 2.5, 1.25),
        client_foreign=0.01,
        server_foreign=0.02,
        link=LINK,
        gates=(LATE, SKIPPED),
    )
    sim = dataclasses.replace(
        make_run("sim", make_records(rows[:3], complete=False, end_s=2.25)),
        faults=("interrupted by SIGINT",),
    )
    plan = make_plan([row[0] for row in rows])
    asked = make_experiment(plan_hash=plan.hash, slo="p99<50ms,errors<0.1%")
    return Results(asked, {"real": real, "sim": sim}, plan)


def saved(results: Results, folder: Path) -> Path:
    """A folder with these results."""
    results.plan.save(folder / "plan.npz")
    save_results(folder, results)
    return folder


def test_a_round_trip_loses_nothing(results: Results, tmp_path: Path) -> None:
    """Experiment, plan, facts, gates, records, samples, summaries, judgements come back equal."""
    loaded = load_results(saved(results, tmp_path))
    assert loaded.experiment == results.experiment
    assert list(loaded.runs) == ["real", "sim"]
    assert loaded.summaries() == results.summaries()
    assert loaded.judgements() == results.judgements()
    assert loaded.plan.hash == results.plan.hash
    for engine, run in results.runs.items():
        back = loaded.runs[engine]
        for name in {field.name for field in dataclasses.fields(Run)} - {"records", "samples"}:
            assert getattr(back, name) == getattr(run, name), name
        assert np.array_equal(back.samples.counts, run.samples.counts)
        assert np.array_equal(back.samples.time_s, run.samples.time_s)
        assert np.array_equal(back.records.ended_s, run.records.ended_s)
        assert back.records.complete == run.records.complete
        assert back.records.count(Outcome.OK) == run.records.count(Outcome.OK)


def test_run_json_says_what_people_look_for(results: Results, tmp_path: Path) -> None:
    """Seed, plan hash, effective directives, validity with its gates, account, objectives and
    summary stand in it under their names."""
    document = json.loads((saved(results, tmp_path) / "run.json").read_text())
    experiment, engines = document["experiment"], document["engines"]
    assert document["schema"] == 3
    assert experiment["seed"] == 7
    assert experiment["plan_hash"] == results.plan.hash
    assert ["ServerLimit", "16"] in experiment["directives_effective"]
    assert engines["real"]["valid"] is False
    assert engines["real"]["complete"] is True
    assert engines["real"]["gates"][0] == {
        "name": "lateness", "figure": 1.5, "unit": "ms", "limit": 1.0, "verdict": "fail",
        "text": "late", "advice": "lower the rate",
    }  # fmt: skip
    assert engines["real"]["account"]["planned"] == engines["real"]["account"]["ok"] == 20
    assert [found["finding"] for found in engines["real"]["slo"]] == ["missed", "met"]
    assert engines["sim"]["valid"] is False
    assert engines["sim"]["faults"] == ["interrupted by SIGINT"]
    assert engines["sim"]["digest"] == "00ff"
    assert engines["real"]["summary"]["p50_ms"] == pytest.approx(100)


def test_nothing_but_the_files_is_left(results: Results, tmp_path: Path) -> None:
    """No scratch file survives a save; saving twice is saving once."""
    saved(results, tmp_path)
    saved(results, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "plan.npz", "real-error.log", "real-records.npz", "real-samples.npz", "run.json",
        "sim-error.log", "sim-records.npz", "sim-samples.npz",
    ]  # fmt: skip


def test_a_failed_write_leaves_no_run_json(results: Results, tmp_path: Path) -> None:
    """run.json comes last: if anything before it fails, the folder does not claim to be whole."""
    (tmp_path / "sim-error.log").mkdir()
    with pytest.raises(OSError):
        save_results(tmp_path, results)
    assert not (tmp_path / "run.json").exists()
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(ResultsError, match=r"run\.json: no such file"):
        load_results(tmp_path)


def test_a_folder_is_never_used_twice(tmp_path: Path) -> None:
    """The name holds time, MPM, scenario and seed; the same again gets a number."""
    experiment = make_experiment(scenario="my odd/../name")
    first, second, third = (new_folder(tmp_path / "out", experiment) for _ in range(3))
    assert first.name == "20260723T101500Z-worker-my-odd-..-name-seed7"
    assert second.name == first.name + "-2"
    assert third.name == first.name + "-3"
    assert first.parent == tmp_path / "out"


def test_repetitions_lie_in_the_folder_of_their_series(tmp_path: Path) -> None:
    """A series has a folder by its kind; a repetition in it is told by its number and MPM."""
    series = series_folder(tmp_path / "out", "series", "my odd/../name", 7)
    assert series.name.endswith("-series-my-odd-..-name-seed7")
    assert series_folder(tmp_path / "out", "series", "my odd/../name", 7) != series
    folder = new_folder(series, make_experiment(repetition=3, repetitions=10))
    assert folder == series / "rep03-worker"


def test_runs_without_objectives_are_not_judged(results: Results) -> None:
    """Of two objectives each engine has two judgements, without any there is nothing to read."""
    found = results.judgements()
    assert [one.finding for one in found["real"]] == [Finding.MISSED, Finding.MET]
    assert len(found["sim"]) == 2
    asked = dataclasses.replace(results.experiment, slo="")
    assert dataclasses.replace(results, experiment=asked).judgements() == {}


def test_the_account_in_the_file_is_that_of_the_records(results: Results, tmp_path: Path) -> None:
    """A row that was lost is missed in the stored account, and its sums say so."""
    records = results.runs["real"].records
    columns: dict[str, Any] = {n: column[:-1] for n, column in records.columns().items()}
    run = dataclasses.replace(results.runs["real"], records=dataclasses.replace(records, **columns))
    saved(dataclasses.replace(results, runs={"real": run}), tmp_path)
    document = json.loads((tmp_path / "run.json").read_text())
    stored = Account.from_dict(document["engines"]["real"]["account"])
    assert (stored.planned, stored.sent) == (20, 19)
    assert stored.breaches()


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "run.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return damage


def _chop(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def _resave(name: str, **columns: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with np.load(folder / name) as stored:
            old = {key: stored[key] for key in stored.files}
        new = {key: value for key, value in {**old, **columns}.items() if value is not None}
        np.savez(folder / name, **new)

    return damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_chop("run.json"), ("run.json", "cannot be read")),
        (lambda f: (f / "run.json").write_text("[]"), ("run.json", "object")),
        (_edit(lambda d: d.update(schema=99)), ("run.json", "schema", "99")),
        (_edit(lambda d: d.pop("schema")), ("run.json", "schema", "None")),
        (_edit(lambda d: d.pop("engines")), ("run.json", "engines", "missing")),
        (_edit(lambda d: d["experiment"].pop("seed")), ("run.json", "experiment.seed", "missing")),
        (_edit(lambda d: d.update(experiment=3)), ("run.json", "experiment")),
        (_edit(lambda d: d["engines"]["sim"].pop("digest")), ("engines.sim.digest", "missing")),
        (_edit(lambda d: d["engines"]["real"].update(speed={"x": 1})), ("engines.real", "x")),
        (_edit(lambda d: d["engines"]["real"].pop("gates")), ("engines.real.gates", "missing")),
        (
            _edit(lambda d: d["engines"]["real"]["gates"][0].update(verdict="perhaps")),
            ("engines.real", "perhaps"),
        ),
        (_edit(lambda d: d["engines"]["real"].pop("link")), ("engines.real.link", "missing")),
        (_edit(lambda d: d["experiment"].update(plan_hash="ab" * 32)), ("plan.npz", "abababab")),
        (_chop("plan.npz"), ("plan.npz",)),
        (lambda f: (f / "plan.npz").unlink(), ("plan.npz", "No such file")),
        (_edit(lambda d: d.update(engines={"real": None})), ("run.json", "engines.real")),
        (_chop("real-records.npz"), ("real-records.npz",)),
        (lambda f: (f / "real-records.npz").unlink(), ("real-records.npz", "No such file")),
        (_chop("sim-samples.npz"), ("sim-samples.npz", "cannot be read")),
        (lambda f: (f / "sim-samples.npz").unlink(), ("sim-samples.npz", "No such file")),
        (_resave("sim-samples.npz", busy=None), ("sim-samples.npz", "busy", "missing")),
        (_resave("sim-samples.npz", busy=np.zeros(1)), ("sim-samples.npz", "lengths")),
        (_resave("sim-samples.npz", odd=np.zeros(10)), ("sim-samples.npz", "odd")),
        (lambda f: (f / "real-error.log").unlink(), ("real-error.log", "cannot be read")),
    ],
)
def test_damage_is_named(
    results: Results, tmp_path: Path, damage: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    """One clear error with file, key and what is wrong; never a traceback of json or zip."""
    damage(saved(results, tmp_path))
    with pytest.raises(ResultsError) as caught:
        load_results(tmp_path)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_experiment_survives_json() -> None:
    """Tuples and pairs come back as such, so that experiments can be compared."""
    experiment = make_experiment()
    assert Experiment.from_dict(json.loads(json.dumps(experiment.to_dict()))) == experiment
