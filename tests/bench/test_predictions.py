"""What is predicted beside a validated run: the band, and the uncalibrated simulation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpmlab.bench.interruption import Interruption
from mpmlab.bench.predictions import UNCALIBRATED, Predictions, figures_of, predict
from mpmlab.bench.prepare import experiment_of
from mpmlab.bench.profile import Profiles
from mpmlab.bench.results import Results
from mpmlab.bench.sim import run_sim
from mpmlab.bench.suite import load_suite
from mpmlab.bench.task import Task, Watch
from mpmlab.bench.validate import bench_of
from mpmlab.bench.validation import FIGURES, SIM
from mpmlab.core.platform import Platform, with_costs_times
from tests.bench.calibration_data import PLANTED, watch

NOTHING = Predictions({}, {})
CALIBRATED = replace(PLANTED, costs_least=0.8, costs_most=1.25)


@pytest.fixture(scope="module")
def done() -> tuple[Task, Results]:
    """A queue of 2 s, "measured" and simulated on one platform."""
    (case,) = [one for one in load_suite("calibration").cases if one.name == "queue"]
    bench = bench_of(case, "prefork", ("real", SIM), 1, 2.0, None)
    (task,) = bench.tasks
    real = replace(run_sim(task, CALIBRATED, 1, watch()), engine="real")
    runs = {"real": real, SIM: run_sim(task, CALIBRATED, 1, watch(), real.lead_s)}
    return task, Results(experiment_of(bench, task, "made up"), runs, task.plan)


def predicted(
    done: tuple[Task, Results], utilisation: float | None, profiles: Profiles
) -> Predictions:
    """Beside a run that was so busy."""
    task, results = done
    real = replace(results.runs["real"], utilisation=utilisation)
    results = replace(results, runs={**results.runs, "real": real})
    return predict(task, results, "real", profiles, watch())


def profiles(probed: Platform = PLANTED, **by_mpm: Platform) -> Profiles:
    """For the real engine."""
    return Profiles(probed, "real", by_mpm)


@pytest.mark.parametrize("utilisation", [None, 0.3, 0.85])
def test_where_a_value_is_promised_there_is_no_band(
    utilisation: float | None, done: tuple[Task, Results]
) -> None:
    """Up to .85, and where nobody knows."""
    assert predicted(done, utilisation, profiles(CALIBRATED)) == NOTHING


def test_above_the_band_is_around_the_simulation(done: tuple[Task, Results]) -> None:
    """From the cheapest to the dearest run that the profile was fitted to, for every figure that
    the simulation has but memory, which no cost has an influence on; its own value is inside."""
    found = predicted(done, 0.86, profiles(prefork=CALIBRATED))
    own = figures_of(done[1].summaries()[SIM])
    known = {figure for figure in FIGURES if own[figure] is not None}
    assert "memory_mib" in known
    assert set(found.band) == known - {"memory_mib"}
    for figure, (low, high) in found.band.items():
        value = own[figure]
        assert value is not None
        assert low <= value <= high, figure
    for figure in ("mean_ms", "cpu_per_request_us"):
        low, high = found.band[figure]
        assert low < high, figure
    # 80 % and 125 % of what requests cost beyond their demand.
    cpu_us = own["cpu_per_request_us"]
    assert cpu_us is not None
    low, high = found.band["cpu_per_request_us"]
    assert 0.9 * cpu_us < low < high < 1.1 * cpu_us


def test_a_profile_of_no_spread_has_a_band_of_no_width(done: tuple[Task, Results]) -> None:
    """Simulations are the same each time: the run's own start, cores and speed are those of the
    simulation beside it."""
    found = predicted(done, 0.9, profiles(PLANTED))
    own = figures_of(done[1].summaries()[SIM])
    for figure, (low, high) in found.band.items():
        assert low == high == own[figure], figure


def test_what_calibrating_gains_is_told_where_it_was_used(done: tuple[Task, Results]) -> None:
    """The probed profile's figures beside those of the calibrated one; without one for the MPM the
    simulation itself is uncalibrated."""
    dear = with_costs_times(PLANTED, 3.0)
    found = predicted(done, 0.5, profiles(dear, prefork=CALIBRATED))
    assert set(found.others) == {UNCALIBRATED}
    other, own = found.others[UNCALIBRATED], figures_of(done[1].summaries()[SIM])
    assert set(other) == set(FIGURES)
    for figure in ("mean_ms", "cpu_per_request_us"):
        value, ours = other[figure], own[figure]
        assert value is not None
        assert ours is not None
        assert value > 1.05 * ours, figure
    assert predicted(done, 0.5, profiles(dear, worker=CALIBRATED)).others == {}


def test_nothing_is_predicted_for_what_is_no_run(done: tuple[Task, Results]) -> None:
    """One with faults, one without its simulation, one that the user ended."""
    task, results = done
    busy = replace(results.runs["real"], utilisation=0.95)
    own = profiles(prefork=CALIBRATED)
    broken = replace(results, runs={**results.runs, "real": replace(busy, faults=("it died",))})
    assert predict(task, broken, "real", own, watch()) == NOTHING
    alone = replace(results, runs={"real": busy})
    assert predict(task, alone, "real", own, watch()) == NOTHING
    gone = Interruption()
    gone.reason = "interrupted by SIGINT"
    whole = replace(results, runs={**results.runs, "real": busy})
    assert predict(task, whole, "real", own, Watch(gone, lambda _: None)) == NOTHING
