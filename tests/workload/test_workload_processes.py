"""Point processes: rates, variation and dispersion by theory, counts by stage, independence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mpmlab.workload.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Hyperexponential,
    Lognormal,
    Pareto,
    Uniform,
)
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.processes import (
    ConstantProcess,
    MmppProcess,
    PiecewiseProcess,
    PoissonProcess,
    Process,
    RenewalProcess,
    Stage,
    State,
    constant_times_us,
    poisson_times_us,
)
from mpmlab.workload.streams import Stream, Streams

SECOND = 1_000_000
BURSTS = MmppProcess((State(50, 0.2), State(1_000, 0.05)), cyclic=True)
THREE = MmppProcess((State(0, 0.1), State(200, 0.3), State(900, 0.1)), cyclic=False)
STEPS = PiecewiseProcess(
    (Stage(2 * SECOND, 500, 500), Stage(SECOND, 0, 0), Stage(4 * SECOND, 100, 900)),
    even=False,
    repeat=False,
)


def test_poisson_counts_and_gaps() -> None:
    """A Poisson process: count within 5 standard deviations, and gaps that pass
    Kolmogorov-Smirnov for the exponential at 1e-6."""
    rate, duration_s = 2_000.0, 10
    times = poisson_times_us(rate, duration_s * SECOND, Stream(1, "arrivals"))
    expected = rate * duration_s
    assert abs(len(times) - expected) < 5 * math.sqrt(expected)
    gaps = np.sort(np.diff(times)) / 1e6
    n = len(gaps)
    distance = np.max(np.abs(1 - np.exp(-rate * gaps) - (np.arange(n) + 0.5) / n))
    rounding = rate * 1e-6  # of the times to whole microseconds
    assert distance < math.sqrt(math.log(2 / 1e-6) / 2 / n) + rounding + 0.5 / n


def test_poisson_gaps_are_independent() -> None:
    """The lag-1 correlation of gaps and the dispersion of counts per second are Poisson's."""
    times = poisson_times_us(500, 100 * SECOND, Stream(2, "arrivals"))
    gaps = np.diff(times).astype(float)
    correlation = float(np.corrcoef(gaps[1:], gaps[:-1])[0, 1])
    assert abs(correlation) < 5 / math.sqrt(len(gaps))
    counts = np.bincount(times // SECOND, minlength=100)
    # (n - 1) * dispersion is chi-squared with n - 1 degrees: 5 standard deviations.
    assert abs(float(counts.var(ddof=1) / counts.mean()) - 1) < 5 * math.sqrt(2 / 99)


@pytest.mark.parametrize("rate", [0.1, 3.0, 7.0, 999.0, 1e6])
def test_constant_times(rate: float) -> None:
    """Exactly the moments k / rate below the duration, each to the microsecond, without drift."""
    times = constant_times_us(rate, 2 * SECOND)
    assert len(times) == math.ceil(rate * 2)
    assert np.max(np.abs(times - np.arange(len(times)) / rate * 1e6)) <= 0.5


@pytest.mark.parametrize(
    ("gap", "square"),
    [
        (Exponential(1), 1.0),
        (Uniform(1, 3), 1 / 12),
        (Lognormal(1, 0.5), 0.25),
        (Hyperexponential(1, 2), 4.0),
        (Empirical((1, 9), (3, 1)), 12 / 9),
        (Constant(5), 0.0),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, float) else f"{value:.2f}",
)
def test_renewal_rate_and_variation(gap: Distribution, square: float) -> None:
    """A renewal process has the rate asked for, whatever the mean of the form, and gaps of the
    form's squared coefficient of variation: both within 5 standard deviations (that of the count is
    sqrt(n) times the coefficient; that of the square is taken from ten independent parts)."""
    rate, duration_s = 1_000.0, 200
    process = RenewalProcess(rate, gap)
    times = process.times_us(Streams(1), duration_s * SECOND)
    n = rate * duration_s
    assert process.expected(duration_s * SECOND) == n
    assert abs(len(times) - n) < 5 * math.sqrt(square * n) + (square + 1) / 2 + 1
    gaps = np.diff(times).astype(float)
    parts = np.array([part.var() / part.mean() ** 2 for part in np.array_split(gaps, 10)])
    error = float(parts.std(ddof=1)) / math.sqrt(10)
    assert float(parts.mean()) == pytest.approx(square, abs=5 * error + 1e-5)


def test_renewal_pareto_gaps() -> None:
    """The gaps of a bounded Pareto renewal process pass Kolmogorov-Smirnov at 1e-6 for that
    distribution, stretched to the mean of the rate."""
    form = Pareto(1, 10_000, 1.4)
    rate = 500.0
    times = RenewalProcess(rate, form).times_us(Streams(3), 100 * SECOND)
    gaps = np.sort(np.diff(times)) / 1e6 * rate * form.mean
    n = len(gaps)
    law = (1 - np.maximum(gaps, 1) ** -1.4) / (1 - 10_000**-1.4)
    distance = np.max(np.abs(law - (np.arange(n) + 0.5) / n))
    rounding = 1.4 * rate * form.mean * 1e-6  # the density is at most alpha / low
    assert distance < math.sqrt(math.log(2 / 1e-6) / 2 / n) + rounding + 0.5 / n


def test_renewal_of_exponential_gaps_is_poisson() -> None:
    """The same stream gives the same moments, to the microsecond."""
    renewal = RenewalProcess(300, Exponential(1)).times_us(Streams(1), 20 * SECOND)
    poisson = PoissonProcess(300).times_us(Streams(1), 20 * SECOND)
    assert np.max(np.abs(renewal - poisson)) <= 1


def mmpp_dispersion(process: MmppProcess, window_s: float) -> float:
    """The index of dispersion of counts of a stationary MMPP of two states (Heffes and Lucantoni,
    IEEE JSAC 4 (1986), with r the rates of leaving the states)."""
    (one, other) = process.states
    r = 1 / one.mean_s + 1 / other.mean_s
    spread = (one.rate_per_s - other.rate_per_s) ** 2 / (one.mean_s * other.mean_s)
    carried = one.rate_per_s / other.mean_s + other.rate_per_s / one.mean_s
    limit = 2 * spread / (r**2 * carried)
    return 1 + limit * (1 - (1 - math.exp(-r * window_s)) / (r * window_s))


@pytest.mark.parametrize("window_s", [0.05, 1.0])
def test_mmpp_rate_and_dispersion(window_s: float) -> None:
    """Over 800 s of a bursty process: the mean rate, and an index of dispersion far above a Poisson
    process's 1, both within 5 standard errors of theory."""
    duration_s = 800
    times = BURSTS.times_us(Streams(5), duration_s * SECOND)
    windows = round(duration_s / window_s)
    counts = np.bincount(times // round(window_s * SECOND), minlength=windows).astype(float)
    limit = mmpp_dispersion(BURSTS, 1e9)
    expected = BURSTS.rate_per_s * duration_s
    assert BURSTS.rate_per_s == pytest.approx((50 * 0.2 + 1_000 * 0.05) / 0.25)
    assert abs(len(times) - expected) < 5 * math.sqrt(limit * expected)
    theory = mmpp_dispersion(BURSTS, window_s)
    assert theory > 10
    parts = np.array([p.var(ddof=1) / p.mean() for p in np.array_split(counts, 20)])
    error = float(parts.std(ddof=1)) / math.sqrt(20)
    assert error < theory / 10
    assert float(parts.mean()) == pytest.approx(theory, abs=5 * error)


def test_mmpp_states() -> None:
    """In the long run each state has its share of time and its rate: with states that random
    choices follow, the mean rate is the time-weighted one, and a state without arrivals leaves gaps
    of its length."""
    duration_s = 1_000
    times = THREE.times_us(Streams(2), duration_s * SECOND)
    # Counts per second: their spread says what the error of the mean is (windows of ten cycles).
    counts = np.bincount(times // (5 * SECOND)).astype(float) / 5
    error = float(counts.std(ddof=1)) / math.sqrt(len(counts))
    assert THREE.rate_per_s == pytest.approx(300)
    assert float(counts.mean()) == pytest.approx(300, abs=5 * error)
    # Of about 2,000 visits to the silent state (0.1 s on average), exp(-3) outlast 0.3 s, and with
    # the gaps that remain on either side (at 200/s at least) up to 11 % more; hardly any gap at
    # 200/s does (exp(-60)). Two silences never touch.
    long = int(np.count_nonzero(np.diff(times) > 0.3 * SECOND))
    expected = duration_s / 0.5 * math.exp(-3)
    assert -5 * math.sqrt(expected) < long - expected < 5 * math.sqrt(expected) + 0.11 * expected


def test_mmpp_begins_stationary() -> None:
    """Over seeds, the state at the start has its share of time: no run begins in the quiet."""
    firsts = [BURSTS.times_us(Streams(seed), 20_000) for seed in range(2_000)]
    mean = BURSTS.rate_per_s * 0.02
    spread = math.sqrt(mmpp_dispersion(BURSTS, 0.02) * mean / 2_000)
    assert np.mean([len(one) for one in firsts]) == pytest.approx(mean, abs=5 * spread)


def test_mmpp_of_equal_states_is_poisson() -> None:
    """With the same rate in every state the changes do not show: the moments are the Poisson
    process's of the same stream, to the rounding of areas and microseconds."""
    same = MmppProcess((State(200, 0.5), State(200, 0.2)), cyclic=True)
    times, poisson = (one.times_us(Streams(4), 30 * SECOND) for one in (same, PoissonProcess(200)))
    assert np.max(np.abs(times - poisson)) <= 1


def test_piecewise_counts_per_stage() -> None:
    """Each stage has its area of requests, within 5 standard deviations; one without rate none; a
    ramp's halves have a quarter and three quarters of what it adds."""
    times = STEPS.times_us(Streams(1), 20 * SECOND)
    parts = [(0, 2, 1_000), (2, 3, 0), (3, 5, 600), (5, 7, 1_400), (7, 20, 0)]
    for begin, end, expected in parts:
        count = np.count_nonzero((times >= begin * SECOND) & (times < end * SECOND))
        assert abs(count - expected) <= 5 * math.sqrt(expected), (begin, end)
    assert STEPS.expected(20 * SECOND) == pytest.approx(3_000)
    assert STEPS.expected(5 * SECOND) == pytest.approx(1_600)


def test_piecewise_poisson_is_unpredictable_within_a_stage() -> None:
    """Turned back by the cumulative rate, the moments of a ramp are a Poisson process of rate 1:
    Kolmogorov-Smirnov of the gaps at 1e-6."""
    ramp = PiecewiseProcess((Stage(20 * SECOND, 0, 2_000),), even=False, repeat=False)
    times = ramp.times_us(Streams(6), 20 * SECOND) / 1e6
    gaps = np.sort(np.diff(50 * times**2))  # the area before t is 50 t^2
    n = len(gaps)
    distance = np.max(np.abs(1 - np.exp(-gaps) - (np.arange(n) + 0.5) / n))
    assert distance < math.sqrt(math.log(2 / 1e-6) / 2 / n) + 2_000e-6 + 0.5 / n


def test_one_stage_is_poisson_or_constant() -> None:
    """A single stage is the process without stages, to the rounding of a microsecond."""
    for rate in (3.0, 70.0, 999.0):
        stage = (Stage(10 * SECOND, rate, rate),)
        for even, plain in ((False, PoissonProcess(rate)), (True, ConstantProcess(rate))):
            staged = PiecewiseProcess(stage, even, repeat=False).times_us(Streams(1), 10 * SECOND)
            assert np.max(np.abs(staged - plain.times_us(Streams(1), 10 * SECOND))) <= 1


def test_even_spacing() -> None:
    """One request whenever the rate has added up to another whole number: on a ramp from 0 to 200/s
    in 2 s, the k-th after the root of k / 50; then steadily, without a jump."""
    ramp = PiecewiseProcess(
        (Stage(2 * SECOND, 0, 200), Stage(SECOND, 100, 100)), even=True, repeat=False
    )
    times = ramp.times_us(Streams(1), 10 * SECOND)
    assert len(times) == 300
    expected = [*np.sqrt(np.arange(200) / 50), *(2 + np.arange(100) / 100)]
    assert np.max(np.abs(times - np.array(expected) * 1e6)) <= 0.5


def test_repeated_stages() -> None:
    """With `repeat` the stages come again to the end of the run; without, nothing more comes."""
    stages = (Stage(SECOND, 100, 100), Stage(SECOND, 0, 0))
    once = PiecewiseProcess(stages, even=True, repeat=False).times_us(Streams(1), 5 * SECOND)
    again = PiecewiseProcess(stages, even=True, repeat=True).times_us(Streams(1), 5 * SECOND)
    assert len(once) == 100
    assert np.array_equal(again, np.concatenate([once, once + 2 * SECOND, once + 4 * SECOND]))


PROCESSES: dict[str, Process] = {
    "poisson": PoissonProcess(300),
    "constant": ConstantProcess(7),
    "renewal": RenewalProcess(300, Pareto(1, 1e6, 1.2)),
    "mmpp": BURSTS,
    "mmpp of three": THREE,
    "piecewise": STEPS,
    "repeated": PiecewiseProcess(STEPS.stages, even=False, repeat=True),
    "even": PiecewiseProcess(STEPS.stages, even=True, repeat=True),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_longer_duration_only_adds(name: str) -> None:
    """The moments of a short run are the beginning of those of a long one, in any blocks; all are
    in order and below the duration."""
    process = PROCESSES[name]
    durations = (1_234, SECOND, 6_500_000, 90 * SECOND)
    runs = [process.times_us(Streams(1), duration) for duration in durations]
    for duration, run in zip(durations, runs, strict=True):
        assert np.array_equal(run, runs[-1][runs[-1] < duration])
        assert np.all(np.diff(run) >= 0)
        assert run.dtype == np.int64
    assert len(runs[-1]) > len(runs[0])


@pytest.mark.parametrize("name", [name for name in PROCESSES if name not in ("constant", "even")])
def test_seed_and_prefix_move_the_moments(name: str) -> None:
    """Another seed, and another group's prefix, is other chance."""
    process = PROCESSES[name]
    runs = [
        process.times_us(streams, 5 * SECOND)
        for streams in (Streams(1), Streams(2), Streams(1, "group/a/"))
    ]
    assert not np.array_equal(runs[0][:100], runs[1][:100])
    assert not np.array_equal(runs[0][:100], runs[2][:100])


def test_the_rates_of_states_do_not_move_their_dwells() -> None:
    """Common random numbers: with another rate in one state, the changes of state stay where they
    are, and with it the silences."""
    more = MmppProcess((State(0, 0.1), State(400, 0.3), State(1_800, 0.1)), cyclic=False)
    sparse, dense = (one.times_us(Streams(2), 60 * SECOND) for one in (THREE, more))
    silent = np.flatnonzero(np.diff(sparse) > 0.2 * SECOND)
    assert len(silent) > 5
    middles = (sparse[silent] + sparse[silent + 1]) // 2
    at = np.searchsorted(dense, middles)
    assert np.all(dense[at] - dense[at - 1] > 0.2 * SECOND * 0.8)


@pytest.mark.parametrize(
    ("process", "complaint"),
    [
        (
            MmppProcess((State(1, 1e-3), State(2, 1e-3)), True),
            "arrivals.states: mean_s gives 6.048",
        ),
        (
            PiecewiseProcess((Stage(1_000, 1, 1),), even=False, repeat=True),
            "arrivals.stages: repeated, they give 604,800,000 within the duration; accepted: at",
        ),
        (MmppProcess((State(1e6, 60), State(1e6, 1)), True), "arrivals: chance gives 6.048e+11"),
    ],
)
def test_more_than_a_plan_may_hold(process: Process, complaint: str) -> None:
    """Too many changes or requests is one error with a number, before memory runs out."""
    with pytest.raises(ScenarioError) as caught:
        process.times_us(Streams(1), 7 * 86_400 * SECOND)
    assert complaint in str(caught.value)
