"""The fit: costs that were planted are found again, whatever the machine's speed; what is compared
of which case; memory; and what the fitted profile says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
import pytest

from mpmlab.bench import calibration
from mpmlab.bench.calibration import (
    PARAMETERS,
    Fit,
    Taken,
    Trial,
    fit,
    getattr_of,
    memory,
    simulate,
    with_values,
)
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.task import Watch
from mpmlab.core.platform import Costs, Platform, with_costs_times
from mpmlab.core.platform_file import format_platform, parse_platform
from mpmlab.real.probe import CALIBRATED, at_speed, speed_of
from tests.bench.calibration_data import (
    DATE,
    PLANTED,
    SPEED_US,
    TAKEN,
    measured_on,
    trial_of,
    watch,
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few requests for each simulation, and no costs but those that a platform here has."""
    monkeypatch.setattr(calibration, "_REQUESTS", 500)
    monkeypatch.setattr(calibration, "_STARTS", {})


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Fit these and nothing else."""
    chosen: Mapping[str, tuple[str, ...]] = {name: PARAMETERS[name] for name in names}
    monkeypatch.setattr(calibration, "PARAMETERS", chosen)


def fitted(trials: list[Trial], base: Platform, base_speed_us: float = SPEED_US) -> Fit:
    """The fit of prefork to these."""
    return fit(trials, base, base_speed_us, "real prefork", DATE, watch())


# ---- what is found -------------------------------------------------------------------------------


def test_planted_costs_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """From costs that are twice as large, those of a connection three times: what requests take is
    within 3 % afterwards, and the interval of a request's cost has the planted one inside."""
    only(monkeypatch, "request", "connection")
    cases = ("users-16", "connections-16", "computing-16")
    trials = [measured_on(PLANTED, case) for case in cases]
    dear = with_costs_times(PLANTED, 2.0)
    dear = with_values(
        dear, {name: 1.5 * getattr_of(dear, name) for name in PARAMETERS["connection"]}
    )
    found = fitted(trials, dear)
    overheads = [one for one in found.residuals if one.figure == "overhead"]
    assert [one.case for one in overheads] == list(cases)
    for one in overheads:
        assert one.before / one.measured > 1.8
        assert one.fitted / one.measured == pytest.approx(1.0, abs=0.03)
    planted, costs = PLANTED.costs, found.platform.costs
    assert costs.request_us == pytest.approx(planted.request_us, rel=0.05)
    assert costs.connection_us == pytest.approx(planted.connection_us, rel=0.15)
    low, high = found.platform.intervals["request_us"]
    assert low < planted.request_us < high
    assert high < 2 * planted.request_us
    # What was not fitted follows the level of all costs.
    assert costs.fork_us == pytest.approx(planted.fork_us, rel=0.05)


def test_speed_is_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on a machine that is half as fast, of which each request took twice the CPU, says the
    same as one at the usual speed."""
    only(monkeypatch, "request")
    (usual,) = measured_on(PLANTED, "users-16").taken
    slow = replace(
        usual,
        speed_us=2 * usual.speed_us,
        cpu_per_request_us=2 * usual.cpu_per_request_us,
        throughput_rps=usual.throughput_rps / 2,
    )
    dear = with_costs_times(PLANTED, 2.0)
    alone = fitted([trial_of("users-16", "prefork", None, usual)], dear)
    mixed = fitted([trial_of("users-16", "prefork", None, usual, slow, usual)], dear)
    for item in fields(Costs):
        expected = getattr(alone.platform.costs, item.name)
        assert getattr(mixed.platform.costs, item.name) == pytest.approx(expected), item.name
    assert mixed.residuals[0].spread == pytest.approx(0.0)
    assert alone.platform.costs.request_us == pytest.approx(180, rel=0.03)


def test_the_profile_holds_for_the_speed_of_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All runs at half the speed, and a base that was probed at the usual one: the profile says
    which speed it holds for, and at the usual one it has the planted costs."""
    only(monkeypatch, "request")
    trial = measured_on(with_costs_times(PLANTED, 2.0), "users-16", speed_us=2 * SPEED_US)
    found = fitted([trial], PLANTED)
    assert speed_of(found.platform) == 2 * SPEED_US
    assert found.factors["request"][0] == pytest.approx(1.0, abs=0.02)
    usual = at_speed(found.platform, SPEED_US)
    assert usual.costs.request_us == pytest.approx(PLANTED.costs.request_us, rel=0.02)
    assert usual.costs.fork_us == pytest.approx(PLANTED.costs.fork_us, rel=0.02)


def test_an_open_run_is_simulated_at_its_own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Response times of a queue do not just scale with the speed. Taken at half of it, all four
    figures are met by the planted costs."""
    only(monkeypatch, "request")
    monkeypatch.setattr(calibration, "_ROUNDS", 1)
    closed = measured_on(PLANTED, "users-16")
    closed = replace(closed, taken=closed.taken * 2)
    slow = measured_on(with_costs_times(PLANTED, 2.0), "queue", 3.0, 2 * SPEED_US)
    found = fitted([closed, slow], PLANTED)
    assert found.factors["request"][0] == pytest.approx(1.0, abs=0.02)
    figures = [one.figure for one in found.residuals if one.case == "queue"]
    assert figures == ["overhead", "mean_ms", "p50_ms", "p99_ms"]
    for one in found.residuals:
        assert one.fitted == pytest.approx(one.measured, rel=0.05), one
    assert speed_of(found.platform) == SPEED_US


def test_the_runs_spread_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two runs a tenth below and above: 10 %, and nine tenths of the costs' range between
    costs_least and costs_most."""
    only(monkeypatch, "request")
    (usual,) = measured_on(PLANTED, "users-16").taken
    runs = [
        replace(usual, cpu_per_request_us=factor * usual.cpu_per_request_us)
        for factor in (0.9, 1.1)
    ]
    found = fitted([trial_of("users-16", "prefork", None, *runs)], PLANTED)
    (residual,) = found.residuals
    assert residual.measured == pytest.approx(usual.cpu_per_request_us)
    assert residual.spread == pytest.approx(0.1)
    # Of the ratios 0.9, 1 and 1.1 to the fit.
    assert found.platform.costs_least == pytest.approx(0.91, rel=0.02)
    assert found.platform.costs_most == pytest.approx(1.09, rel=0.02)


# ---- what the profile says of itself -------------------------------------------------------------


def test_every_fitted_value_has_its_source_and_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """All parameters, from a base in which the probe found many of them to be nothing: engine, MPM,
    number of runs, speed, date; and the file is read back as it was written."""
    monkeypatch.undo()  # begin where the shipped module does
    monkeypatch.setattr(calibration, "_REQUESTS", 200)
    monkeypatch.setattr(calibration, "_ROUNDS", 1)
    trial = measured_on(PLANTED, "users-1")
    trial = replace(trial, taken=trial.taken * 3)
    platform = fitted([trial], PLANTED).platform
    assert parse_platform(format_platform(platform), "fitted") == platform
    told = f"{DATE}: {CALIBRATED}, real prefork, 3 runs, speed loop 500.0 us; "
    for members in PARAMETERS.values():
        for name in members:
            assert platform.sources[name].startswith(told), name
            low, high = platform.intervals[name]
            assert 0 <= low <= getattr_of(platform, name) <= high, name
    for name in ("costs_least", "costs_most"):
        assert platform.sources[name].startswith(told)
    assert set(platform.intervals) == {name for ms in PARAMETERS.values() for name in ms}
    assert speed_of(platform) == SPEED_US
    # What was not fitted says where it is from, and at which speed it is given.
    assert platform.sources["fork_us"].startswith(f"{DATE}: mpmlab probe")
    assert "3 runs" in platform.sources["fork_us"]


def test_the_fit_can_be_interrupted() -> None:
    """Before the first simulation, or after any: KeyboardInterrupt, and no profile."""
    trial = trial_of("users-1", "prefork", None, TAKEN)
    gone = Interruption()
    gone.reason = "interrupted by SIGINT"
    with pytest.raises(KeyboardInterrupt):
        fit([trial], PLANTED, SPEED_US, "real prefork", DATE, Watch(gone, lambda _: None))
    told: list[float] = []
    later = Interruption()

    def advance(share: float) -> None:
        told.append(share)
        later.reason = "interrupted by SIGINT"

    with pytest.raises(KeyboardInterrupt):
        fit([trial], PLANTED, SPEED_US, "real prefork", DATE, Watch(later, advance))
    assert len(told) == 1


# ---- what is compared ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "is_open", "figures", "demand_us"),
    [
        ("users-1", False, ("overhead", "mean_ms"), 0),
        ("users-16", False, ("overhead",), 0),
        ("computing-16", False, ("overhead",), 1000),
        ("queue", True, ("overhead", "mean_ms", "p50_ms", "p99_ms"), 2500),
        ("waits", True, ("overhead", "mean_ms", "p50_ms", "p99_ms"), 0),
    ],
)
def test_what_is_compared_of_a_case(
    case: str, is_open: bool, figures: tuple[str, ...], demand_us: float
) -> None:
    """The CPU beyond the application's of every case; response times where nobody waits for
    another, and of open runs."""
    trial = trial_of(case)
    assert trial.open == is_open
    assert trial.figures == figures
    assert trial.demand_us == pytest.approx(demand_us, rel=0.1)


def test_saturated_runs_are_simulated_for_so_many_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many as asked for, at the throughput that was measured; an open run's plan is whole."""
    monkeypatch.setattr(calibration, "_REQUESTS", 300)
    (usual,) = measured_on(PLANTED, "users-16").taken
    seen = simulate(trial_of("users-16", "prefork", None, usual), PLANTED)
    assert seen.completed == pytest.approx(300, rel=0.1)
    opened = trial_of("queue", "prefork", 2.0)
    at = opened.task.plan.earliest_us()
    planned = int(np.count_nonzero(at >= opened.task.plan.warmup_us))
    assert simulate(opened, PLANTED).requests == planned


def test_fields_are_read_and_set_wherever_they_stand() -> None:
    """Of the costs or of the platform."""
    platform = with_values(PLANTED, {"request_us": 7.0, "latency_us": 8.0})
    assert (platform.costs.request_us, platform.latency_us) == (7.0, 8.0)
    assert (getattr_of(platform, "request_us"), getattr_of(platform, "latency_us")) == (7.0, 8.0)
    assert platform.costs.send_us == PLANTED.costs.send_us
    known = {item.name for kind in (Costs, Platform) for item in fields(kind)}
    members = [name for names in PARAMETERS.values() for name in names]
    assert set(members) <= known
    assert len(members) == len(set(members))


# ---- memory --------------------------------------------------------------------------------------


def with_memory(case: str, mpm: str, *memory_kib: float) -> Trial:
    """Runs of a case whose pool took so much."""
    runs = [replace(TAKEN, memory_mib=kib / 1024) for kib in memory_kib]
    return trial_of(case, mpm, None, *runs)


def test_memory_of_prefork_tells_parent_and_children_apart() -> None:
    """12,000 KiB and 3,000 for each child, from pools of 50 and 10; saturated runs, whose clients
    are another number, do not count."""
    trials = [
        with_memory("users-16", "prefork", 1.0),
        with_memory("queue", "prefork", 12_000 + 50 * 3000, 12_000 + 50 * 3000),
        with_memory("waits", "prefork", 12_000 + 10 * 3000),
    ]
    assert memory(trials, PLANTED) == {
        "parent_memory_kib": pytest.approx(12_000),
        "process_memory_kib": pytest.approx(3000),
    }


@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_memory_of_threads_is_told_apart_from_that_of_processes(mpm: str) -> None:
    """Parent and processes keep their probed proportions: here twice as large, threads three times.
    50 workers are 2 processes of 25 threads, 10 are one process."""
    parent, process, thread = 9000.0, 6000.0, 40.0
    trials = [
        with_memory("queue", mpm, 2 * (parent + 2 * process) + 3 * 50 * thread),
        with_memory("waits", mpm, 2 * (parent + process) + 3 * 10 * thread),
    ]
    assert memory(trials, PLANTED) == {
        "parent_memory_kib": pytest.approx(2 * parent),
        "process_memory_kib": pytest.approx(2 * process),
        "thread_memory_kib": pytest.approx(3 * thread),
    }


def test_memory_is_never_negative_nor_made_up() -> None:
    """A pool of 50 that takes less than one of 10: children take nothing, not less. Without open
    runs, or without readings, memory stays as probed."""
    odd = [with_memory("queue", "prefork", 10_000.0), with_memory("waits", "prefork", 20_000.0)]
    assert min(memory(odd, PLANTED).values()) >= 0
    assert memory([with_memory("users-16", "prefork", 1.0)], PLANTED) == {}
    unread: Taken = replace(TAKEN, memory_mib=None)
    assert memory([trial_of("queue", "prefork", None, unread)], PLANTED) == {}
