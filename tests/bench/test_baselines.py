"""The naive baselines: textbook values, limits, monotonicity, and stations read off plans."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from mpmlab.bench.baselines import (
    BASELINES,
    Predicted,
    Station,
    erlang_c,
    mg1kps,
    mmc,
    station_of,
)
from mpmlab.bench.stats_quantiles import quantile_interval
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import load_scenario
from tests.bench.queue_data import Floats, mm1_quantile
from tests.theory.queues import loss

#: Ten workers held for 20 ms on average; they carry 500 a second.
WAITING = Station(100.0, 10, 1, 0.0, 0.020, 1.0)
#: A core that is asked for 10 ms; it carries 100 a second.
COMPUTING = Station(70.0, 400, 1, 0.010, 0.0, 1.0)
#: Draws of the Monte Carlo, and how sure its intervals are: one in a thousand seeds would miss.
DRAWS = 400_000
CONFIDENCE = 0.999


def shipped(name: str) -> Plan:
    """The plan of a shipped scenario with seed 1."""
    return compile_plan(load_scenario(name), 1)


def mean_ms(predicted: Predicted) -> float:
    assert predicted.mean_ms is not None
    return predicted.mean_ms


def percentiles_ms(predicted: Predicted) -> tuple[float, float]:
    assert predicted.p50_ms is not None
    assert predicted.p99_ms is not None
    return predicted.p50_ms, predicted.p99_ms


# ---- Erlang C ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("servers", "load", "expected"),
    [
        (1, 0.7, 0.7),
        (2, 1.0, 1 / 3),
        (3, 2.0, 4 / 9),
        (5, 4.0, 0.5541),
        (10, 8.0, 0.4092),
        (4, 0.0, 0.0),
        (4, 4.0, 1.0),
        (4, 9.0, 1.0),
    ],
)
def test_erlang_c_is_the_tables(servers: int, load: float, expected: float) -> None:
    """Erlang C agrees with the published tables to their digits, and with its own ends."""
    assert erlang_c(servers, load) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("servers", "load"), [(7, 5), (60, 57), (400, 390), (2000, 1990)])
def test_erlang_c_of_large_pools_is_its_definition(servers: int, load: int) -> None:
    """The recursion keeps its precision where floats could hold no factorial: compared with the
    definition, computed in fractions."""
    term, below = Fraction(1), Fraction(0)
    for n in range(1, servers + 1):
        below += term
        term *= Fraction(load, n)
    last = term * Fraction(servers, servers - load)
    assert erlang_c(servers, load) == pytest.approx(float(last / (below + last)), rel=1e-11)


# ---- M/M/c ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("utilisation", [0.01, 0.5, 0.9, 0.999])
def test_one_worker_is_mm1(utilisation: float) -> None:
    """With c = 1 the response is exponential with mean 1 / (mu - lambda), so that its percentiles
    are known in closed form."""
    got = mmc(Station(1.0, 1, 1, utilisation / 4, utilisation * 3 / 4, 1.0))
    assert got.throughput_rps == 1.0
    assert got.busy_mean == pytest.approx(utilisation)
    assert mean_ms(got) == pytest.approx(1e3 * utilisation / (1 - utilisation))
    wanted = tuple(1e3 * mm1_quantile(utilisation, p) for p in (0.5, 0.99))
    assert percentiles_ms(got) == pytest.approx(wanted, rel=1e-9)


def test_mean_of_two_workers_is_the_textbooks() -> None:
    """M/M/2: the mean response is s / (1 - rho^2)."""
    got = mmc(replace(WAITING, workers=2, rate_per_s=75.0))
    assert mean_ms(got) == pytest.approx(20 / (1 - 0.75**2))


def responses(station: Station, seed: int) -> Floats:
    """Response times in ms, drawn by M/M/c's own mechanism, without Erlang C: an arrival sees the
    steady state's number of requests, and waits until all but c - 1 of them are served."""
    random = np.random.default_rng(seed)
    servers, load = station.workers, station.rate_per_s * station.service_s_mean
    n = np.arange(1, 4000)
    steps = np.log(load) - np.log(np.minimum(n, servers))
    weights = np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    assert weights[-1] / weights.sum() < 1e-12  # nothing is cut off that matters
    found = random.choice(len(weights), DRAWS, p=weights / weights.sum())
    ahead = np.maximum(0, found - servers + 1)
    wait = random.standard_gamma(ahead) / servers
    return np.asarray(1e3 * station.service_s_mean * (wait + random.standard_exponential(DRAWS)))


@pytest.mark.parametrize(
    ("workers", "load"),
    [
        (10, 2.0),
        (10, 9.0),  # c - a = 1 exactly: the two exponentials are one
        (10, 9.000001),
        (4, 3.8),
        (2, 1.98),  # the wait is far longer than the service
        (100, 97.0),
    ],
)
def test_percentiles_of_mmc_are_its_mechanisms(workers: int, load: float) -> None:
    """p50, p99 and the mean lie in the intervals of a large sample of the mechanism itself."""
    station = replace(WAITING, workers=workers, rate_per_s=load / 0.020)
    got, sample = mmc(station), responses(station, seed=workers)
    for p, value in zip((0.5, 0.99), percentiles_ms(got), strict=True):
        interval = quantile_interval(sample, p, CONFIDENCE)
        assert interval.contains(value)
        half = interval.half_width(value)
        assert half is not None
        assert half < 0.03
    error = 3.3 * sample.std() / math.sqrt(DRAWS)
    assert mean_ms(got) == pytest.approx(float(sample.mean()), abs=error)


def test_percentiles_are_continuous_where_the_formula_is_not() -> None:
    """Near c - a = 1 the textbook's form is 0 / 0; the percentiles pass through smoothly."""
    values = [
        percentiles_ms(mmc(replace(WAITING, rate_per_s=(9 + shift) / 0.020)))[1]
        for shift in (-1e-7, -1e-12, 0.0, 1e-12, 1e-7)
    ]
    assert values == pytest.approx([values[2]] * 5, rel=1e-6)


def test_mmc_next_to_saturation_has_finite_percentiles() -> None:
    """A millionth below its capacity the response is nearly all wait, exponential with mean
    s / (c - a); nothing overflows."""
    got = mmc(replace(WAITING, rate_per_s=500 * (1 - 1e-6)))
    assert mean_ms(got) == pytest.approx(20 / 1e-5, rel=1e-4)
    assert percentiles_ms(got)[1] == pytest.approx(math.log(100) * 20 / 1e-5, rel=1e-4)


def test_mmc_without_queueing_is_the_service() -> None:
    """As the rate goes to 0, the response is the service alone: mean 20 ms, exponential."""
    got = mmc(replace(WAITING, rate_per_s=1e-6))
    assert mean_ms(got) == pytest.approx(20)
    assert percentiles_ms(got) == pytest.approx((20 * math.log(2), 20 * math.log(100)))


def test_mmc_is_monotone_in_rate_and_workers() -> None:
    """More requests never make it faster, more workers never slower."""
    by_rate = [mmc(replace(WAITING, rate_per_s=float(rate))) for rate in range(20, 500, 20)]
    by_workers = [mmc(replace(WAITING, workers=workers)) for workers in range(3, 30)]
    for worse_last in (by_rate, by_workers[::-1]):
        for better, worse in pairwise(worse_last):
            assert mean_ms(better) <= mean_ms(worse)
            for one, other in zip(percentiles_ms(better), percentiles_ms(worse), strict=True):
                assert one <= other + 1e-9  # of ms: roots are found, not computed
    assert mean_ms(by_rate[0]) < mean_ms(by_rate[-1]) / 2
    assert mean_ms(by_workers[0]) / mean_ms(by_workers[-1]) == pytest.approx(1 + 4 / 9)


@pytest.mark.parametrize("rate", [500.0, 501.0, 5000.0])
def test_unstable_mmc_gives_its_capacity_and_no_times(rate: float) -> None:
    """From the workers' capacity on the throughput stays there, all are busy, times are none."""
    assert mmc(replace(WAITING, rate_per_s=rate)) == Predicted(500.0, None, None, None, 10.0)


def test_mmc_takes_cores_for_no_limit() -> None:
    """CPU and wait are one service to it: only their sum counts, and cores do not."""
    mixed = replace(WAITING, cpu_s_mean=0.015, wait_s_mean=0.005, cores=4)
    assert mmc(mixed) == mmc(WAITING)


# ---- M/G/1/K*PS ----------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 2, 10, 150])
@pytest.mark.parametrize("rho", [0.05, 0.7, 0.99, 1.01, 1.6])
def test_mg1kps_is_the_papers_closed_form(capacity: int, rho: float) -> None:
    """Throughput, mean response and the number inside are Cao's closed forms, in which the mean
    response is (rho^(K+1) (K rho - K - 1) + rho) / (lambda (1 - rho^K) (1 - rho))."""
    rate, k = rho / 0.010, capacity
    got = mg1kps(replace(COMPUTING, rate_per_s=rate), k)
    lost = (1 - rho) * rho**k / (1 - rho ** (k + 1))
    mean_s = (rho ** (k + 1) * (k * rho - k - 1) + rho) / (rate * (1 - rho**k) * (1 - rho))
    assert got.throughput_rps == pytest.approx(rate * (1 - lost))
    assert mean_ms(got) == pytest.approx(1e3 * mean_s)
    assert got.busy_mean == pytest.approx(rate * (1 - lost) * mean_s)
    assert (got.p50_ms, got.p99_ms) == (None, None)


@pytest.mark.parametrize("rho", [0.4, 1.0, 3.0])
def test_mg1kps_loses_what_mm1k_loses(rho: float) -> None:
    """Processor sharing is insensitive, so what is lost is M/M/1/K's, at rho = 1 too, where the
    closed form is 0 / 0."""
    rate = rho / 0.010
    got = mg1kps(replace(COMPUTING, rate_per_s=rate), 8)
    assert got.throughput_rps == pytest.approx(rate * (1 - loss(1, 7, rho)))


def test_mg1kps_at_rho_1_is_evenly_filled() -> None:
    """At rho = 1 every number from 0 to K is as likely: half of K inside, 1 of K + 1 lost."""
    got = mg1kps(replace(COMPUTING, rate_per_s=100.0), 9)
    assert got.busy_mean == pytest.approx(4.5)
    assert got.throughput_rps == pytest.approx(90)


def test_mg1kps_without_limit_is_mg1ps() -> None:
    """As K grows, nothing is lost and the mean is s / (1 - rho), as in M/G/1-PS and M/M/1."""
    got = mg1kps(COMPUTING, 5000)
    assert got.throughput_rps == pytest.approx(70)
    assert mean_ms(got) == pytest.approx(10 / (1 - 0.7))
    assert mean_ms(got) == pytest.approx(mean_ms(mmc(replace(COMPUTING, workers=1))))


@pytest.mark.parametrize("capacity", [1, 50])
def test_mg1kps_of_little_load_is_the_service(capacity: int) -> None:
    """As the rate goes to 0, a request takes its CPU and its wait, on any number of cores."""
    for cores in (1, 2, 16):
        quiet = replace(COMPUTING, rate_per_s=1e-6, cores=cores, wait_s_mean=0.003)
        assert mean_ms(mg1kps(quiet, capacity)) == pytest.approx(13)


def test_mg1kps_overloaded_gives_the_processors_capacity() -> None:
    """Far beyond it, cores / CPU requests are answered in a second and all K places are full,
    however large the powers of rho would be."""
    got = mg1kps(replace(COMPUTING, rate_per_s=1e6, cores=2), 1000)
    assert got.throughput_rps == pytest.approx(200)
    assert mean_ms(got) == pytest.approx(1000 / 200 * 1e3 + 5, rel=1e-3)


def test_mg1kps_is_monotone() -> None:
    """More requests never take less time, nor are fewer answered; a higher limit loses fewer and
    makes those inside slower."""
    by_rate = [mg1kps(replace(COMPUTING, rate_per_s=float(r)), 20) for r in range(10, 250, 10)]
    by_capacity = [mg1kps(COMPUTING, capacity) for capacity in range(1, 40)]
    for series in (by_rate, by_capacity):
        for one, more in pairwise(series):
            assert mean_ms(one) < mean_ms(more)
            assert one.throughput_rps is not None
            assert more.throughput_rps is not None
            assert one.throughput_rps < more.throughput_rps


def test_waiting_does_not_share_the_processor() -> None:
    """A station that only waits is never slowed and loses nothing; its wait holds workers."""
    got = mg1kps(WAITING, 10)
    assert got.throughput_rps == 100
    assert (mean_ms(got), got.busy_mean) == pytest.approx((20, 2))


# ---- both ----------------------------------------------------------------------------------------


def test_baselines_name_both_models() -> None:
    """Tables find the models by name; K is the pool's workers."""
    assert {name: model(COMPUTING) for name, model in BASELINES.items()} == {
        "M/M/c": mmc(COMPUTING),
        "M/G/1/K*PS": mg1kps(COMPUTING, 400),
    }
    small = replace(COMPUTING, workers=2)
    assert BASELINES["M/G/1/K*PS"](small) == mg1kps(small, 2) != mg1kps(small, 400)


def test_neither_depends_on_the_variation() -> None:
    """M/M/c takes the service for exponential, processor sharing is insensitive."""
    for model in BASELINES.values():
        assert model(replace(COMPUTING, service_scv=9.0)) == model(COMPUTING)


def test_requests_that_ask_nothing_take_no_time() -> None:
    """A station of static files has no demand of its own: all is answered, in no time."""
    idle = replace(WAITING, wait_s_mean=0.0, service_scv=0.0)
    assert mmc(idle) == Predicted(100.0, 0.0, 0.0, 0.0, 0.0)
    assert mg1kps(idle, 3) == Predicted(100.0, 0.0, None, None, 0.0)


@pytest.mark.parametrize("value", [0, -1, 2.5])
@pytest.mark.parametrize("name", ["workers", "cores"])
def test_a_count_that_is_none_is_refused(name: str, value: int) -> None:
    """The error names the figure, its value and what is accepted; of K, too."""
    with pytest.raises(ValueError, match=rf"^capacity is {value}; accepted: a whole number from 1"):
        mg1kps(COMPUTING, value)
    with pytest.raises(ValueError, match=rf"^{name} is {value}; accepted: a whole number from 1"):
        Station(**{**vars(COMPUTING), name: value})


@pytest.mark.parametrize("value", [-0.001, math.inf, math.nan])
@pytest.mark.parametrize("name", ["rate_per_s", "cpu_s_mean", "wait_s_mean", "service_scv"])
def test_a_figure_that_is_none_is_refused(name: str, value: float) -> None:
    """The same of rates and times; a rate of nothing is no station either."""
    with pytest.raises(ValueError, match=rf"^{name} is {value}; accepted: a number "):
        Station(**{**vars(WAITING), name: value})
    with pytest.raises(ValueError, match=r"^rate_per_s is 0.0; accepted: a number above 0$"):
        replace(WAITING, rate_per_s=0.0)


# ---- stations of plans ---------------------------------------------------------------------------


def test_station_of_a_waiting_plan() -> None:
    """poisson-wait asks about 100 a second, no CPU and an exponential wait of 20 ms: its 1,600
    requests after the warm-up scatter by 2.5 %, their variation by some 7 %."""
    plan = shipped("poisson-wait")
    got = station_of(plan, 8, 2)
    assert got is not None
    assert got.rate_per_s == plan.offered_rate == pytest.approx(100, rel=0.1)
    assert (got.workers, got.cores, got.cpu_s_mean) == (8, 2, 0.0)
    assert got.wait_s_mean == pytest.approx(0.020, rel=0.1)
    assert got.service_scv == pytest.approx(1, abs=0.3)


def test_station_of_a_computing_plan_counts_the_window_only() -> None:
    """cpu asks 2 ms of CPU and no wait; what is planned in the warm-up counts nowhere."""
    plan = shipped("cpu")
    got = station_of(plan, 8, 1)
    assert got is not None
    assert got.wait_s_mean == 0
    assert got.cpu_s_mean == pytest.approx(0.002, rel=0.1)
    early = plan.earliest_us() < plan.warmup_us
    assert early.any()
    heavy = replace(plan, cpu_us=np.where(early, 10**6, plan.cpu_us))
    assert station_of(heavy, 8, 1) == got
    constant = replace(plan, cpu_us=np.full(plan.requests, 1500))
    assert station_of(constant, 8, 1) == replace(got, cpu_s_mean=0.0015, service_scv=0.0)


def test_station_leaves_out_who_is_not_measured() -> None:
    """abandoning measures its visitors; the impatient, in the window too, count nowhere."""
    plan = shipped("abandoning")
    others = ~plan.request_measured()
    assert np.any(others & (plan.earliest_us() >= plan.warmup_us))
    got = station_of(plan, 8, 1)
    assert got is not None
    assert got.rate_per_s == plan.offered_rate
    heavy = replace(plan, cpu_us=np.where(others, 10**6, plan.cpu_us))
    assert station_of(heavy, 8, 1) == got


def test_station_of_static_files_asks_nothing() -> None:
    """Requests without CPU and wait have no variation either."""
    plan = shipped("cpu")
    got = station_of(replace(plan, cpu_us=np.zeros(plan.requests, np.int64)), 8, 1)
    assert got is not None
    assert (got.service_s_mean, got.service_scv) == (0.0, 0.0)


def test_thinking_sessions_have_the_rate_of_an_immediate_server() -> None:
    """keepalive-sessions has a rate, that of clients who are answered at once."""
    plan = shipped("keepalive-sessions")
    got = station_of(plan, 50, 1)
    assert got is not None
    assert got.rate_per_s == plan.offered_rate
    assert got.cpu_s_mean == pytest.approx(0.0008)


def test_a_closed_plan_has_no_station() -> None:
    """In a closed workload the server sets the rate; there is none to give."""
    assert station_of(shipped("closed"), 8, 1) is None


def test_a_plan_without_requests_in_its_window_has_no_station() -> None:
    """All of its requests come in the warm-up: there is nothing to take a mean of."""
    plan = shipped("cpu")
    early = replace(plan, warmup_us=plan.duration_us - 1)
    assert early.offered_rate == 0
    assert station_of(early, 8, 1) is None


@pytest.mark.parametrize(("workers", "cores"), [(0, 1), (1, 0)])
def test_station_of_no_pool_is_refused(workers: int, cores: int) -> None:
    """Bad counts are told whatever the plan is, a closed one too."""
    with pytest.raises(ValueError, match=r"is 0; accepted: a whole number from 1 on$"):
        station_of(shipped("closed"), workers, cores)
