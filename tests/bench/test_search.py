"""--find-knee over runs: what a run says of its rate, what is refused, what is kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mpmlab.bench.gates import Gate, Verdict
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.knee import Answer, Knee, Trial
from mpmlab.bench.prepare import Bench, RequestError, prepare
from mpmlab.bench.results import Results, load_results
from mpmlab.bench.search import (
    SearchEnded,
    answer_of,
    check_search,
    save_search,
    search_exit_code,
    search_knee,
)
from mpmlab.bench.task import Watch
from mpmlab.core.platform import Platform
from mpmlab.workload.errors import ScenarioError
from tests.bench.bench_data import asked, make_experiment, make_records, make_run, ok
from tests.bench.stored_data import make_plan

SLO = "p99<50ms"


def gate(name: str, verdict: Verdict = Verdict.FAIL) -> Gate:
    """A gate that found something."""
    return Gate(name, 1.0, "%", 0.5, verdict, f"{name} told", "do something")


def answer(took_s: float, *gates: Gate) -> Trial:
    """What a run says in which every answer took so long and the gates found that."""
    run = make_run("real", make_records([ok(3 + i / 100, took_s) for i in range(200)]))
    run = dataclasses.replace(run, gates=gates)
    plan = make_plan([3 + i / 100 for i in range(200)])
    return answer_of(Results(make_experiment(slo=SLO), {"real": run}, plan), "real", 25.0)


def test_a_valid_run_is_good_if_it_met_the_objective() -> None:
    """At the rate that it was told by; notes change nothing; and it says what it measured."""
    good, bad = answer(0.04), answer(0.06, gate("speed", Verdict.NOTE))
    assert (good.answer, good.rate_per_s) == (Answer.GOOD, 25.0)
    assert bad.answer is Answer.BAD
    assert "p99<50ms: 40 ms, met" in good.text
    assert "p99<50ms: 60 ms, MISSED" in bad.text


@pytest.mark.parametrize("took_s", [0.04, 0.06])
def test_an_overloaded_run_is_too_much(took_s: float) -> None:
    """A server that falls behind has given its answer, however the percentile stood until then."""
    found = answer(took_s, gate("backlog"), gate("stationarity"), gate("rate"))
    assert found.answer is Answer.BAD
    assert "backlog told" in found.text


@pytest.mark.parametrize("took_s", [0.04, 0.06])
@pytest.mark.parametrize("more", [(), (gate("backlog"),)])
def test_any_other_invalid_run_says_nothing(took_s: float, more: tuple[Gate, ...]) -> None:
    """Neither good nor bad: a late client, a hog; not even if it looked overloaded, too."""
    found = answer(took_s, gate("lateness"), *more)
    assert found.answer is Answer.NOTHING
    assert "INVALID: lateness told" in found.text


def test_an_undecided_objective_is_not_met() -> None:
    """Nobody was answered."""
    run = make_run("real", make_records([]))
    results = Results(make_experiment(slo=SLO), {"real": run}, make_plan([3.0]))
    assert answer_of(results, "real", 1.0).answer is Answer.BAD


def test_a_run_of_which_nothing_was_asked_says_nothing() -> None:
    """A rate so low that no request falls into the window: not too much, just nothing."""
    run = make_run("real", make_records([ok(1.0, 0.01)]))
    run = dataclasses.replace(run, gates=(gate("answers"),))
    results = Results(make_experiment(slo=SLO), {"real": run}, make_plan([1.0]))
    assert answer_of(results, "real", 0.1).answer is Answer.NOTHING


def test_what_cannot_be_searched_is_refused() -> None:
    """No objective, repetitions, a closed workload; otherwise it begins at the scenario's rate."""
    with pytest.raises(RequestError, match="--slo"):
        check_search(prepare(asked()))
    with pytest.raises(RequestError, match="--repeat"):
        check_search(prepare(asked(slo=SLO, repetitions=2, engines="real")))
    with pytest.raises(RequestError, match="--publish"):
        check_search(prepare(asked(slo=SLO, publish=True, engines="real")))
    with pytest.raises(RequestError, match="closed"):
        check_search(prepare(asked(slo=SLO, scenario="closed")))
    bench = prepare(asked(slo=SLO))
    assert check_search(bench) == bench.plan.offered_rate
    with pytest.raises(ScenarioError, match="requests"):
        bench.at_rate(1e12)


def knee(good: float | None, bad: float | None, found: bool) -> Knee:
    """What a search found."""
    return Knee(good, bad, (Trial(1.0, Answer.GOOD, "well"),), found, "" if found else "why")


@pytest.mark.parametrize(
    ("knees", "code"),
    [
        ([knee(10, 11, True)], 0),
        ([knee(10, 11, True), knee(None, 1, False)], 1),
        ([knee(None, 1, False), knee(10, None, False)], 1),
        ([knee(10, None, False)], 3),
        ([knee(None, None, False)], 3),
        ([knee(10, 20, False), knee(10, 11, True)], 3),
    ],
)
def test_exit_codes_of_a_search(knees: list[Knee], code: int) -> None:
    """0 found; 1 no rate meets the objective; 3 no end for another reason, invalid runs say."""
    assert search_exit_code(knees) == code


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    """Every run on the way with its answer, and what was asked."""
    save_search(tmp_path, prepare(asked(slo=SLO)), {"worker, sim": knee(10, None, False)})
    document = json.loads((tmp_path / "knee.json").read_text())
    assert document["schema"] == "mpmlab-knee-1"
    assert (document["slo"], document["scenario"], document["seed"]) == (SLO, "small-site", 1)
    assert document["searches"] == {
        "worker, sim": {
            "good_per_s": 10, "bad_per_s": None, "found": False, "reason": "why",
            "trials": [{"rate_per_s": 1.0, "answer": "good", "text": "well"}],
        },
    }  # fmt: skip


# ---- whole searches ------------------------------------------------------------------------------


def searched(bench: Bench, out: Path, watch: Watch, told: list[Trial]) -> Knee:
    """A search on the simulation of its first task, without pictures."""
    return search_knee(
        bench, 0, "sim", Platform(name="nearly free"), watch, lambda _: None, out, lambda *_: None,
        told.append,
    )  # fmt: skip


def test_an_interrupted_search_ends_with_its_run(tmp_path: Path) -> None:
    """That run's part is kept, marked as what it is, and no other is begun."""
    interruption = Interruption()
    bench = prepare(asked(slo=SLO, duration_s=1.0))

    def stop(fraction: float) -> None:
        if fraction > 0.5:
            interruption.reason = "interrupted by SIGINT"

    told: list[Trial] = []
    with pytest.raises(SearchEnded) as ended:
        searched(bench, tmp_path, Watch(interruption, stop), told)
    (folder,) = tmp_path.iterdir()
    assert load_results(folder).runs["sim"].faults == ("interrupted by SIGINT",)
    assert ended.value.results.runs["sim"].faults == ("interrupted by SIGINT",)
    assert told == []


def test_each_run_on_the_way_is_kept_with_its_rate(tmp_path: Path) -> None:
    """An objective that no rate meets: the rate is halved until hardly a request is left, where the
    search ends with a reason; every run is a results folder that says the rate asked for."""
    bench = prepare(asked(slo="p50<0.001ms", duration_s=1.0, scenario="poisson-wait"))
    told: list[Trial] = []
    watch = Watch(Interruption(), lambda _: None)
    found = searched(bench, tmp_path, watch, told)
    assert not found.found
    assert found.good_per_s is None
    assert "no run at" in found.reason or "invalid" in found.reason
    assert found.trials == tuple(told)
    rates = [load_results(folder).experiment.rate_per_s for folder in sorted(tmp_path.iterdir())]
    assert len(rates) == len(told)
    first = bench.plan.offered_rate
    assert first is not None
    assert max(rate for rate in rates if rate is not None) == pytest.approx(first)
