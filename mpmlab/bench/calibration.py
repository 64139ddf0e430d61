"""Fitting a platform's profile to training runs: which costs are free, what is compared, the fit.

Pure but for the simulations that a fit needs; carrying out the runs is calibrate.py's. Everything
is compared at one speed of the machine: what a run cost beyond the demand is divided by the speed
loop's time beside it. A weak prior holds
those that the runs say nothing of (the switch of a threaded server's processes) at their probed
value.

Occupancy and not latency is what is fitted (measurement.md, finding 5): CPU per request of runs
that keep the core busy, over the number of users; response times only where nobody waits, and of
one open run, which tells who comes first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mpmlab.bench.interruption import Interruption
from mpmlab.bench.sim import run_sim
from mpmlab.bench.summary import Summary, summarise
from mpmlab.bench.task import Task, Watch
from mpmlab.core.platform import Costs, Platform, with_costs_times
from mpmlab.core.platform_file import provenance
from mpmlab.real.probe import CALIBRATED

Floats = NDArray[np.float64]

#: What is fitted -> the fields that are multiplied by one factor. Costs of a request that are paid
#: in every run alike cannot be told apart by whole runs: they keep their probed proportions.
PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "request": (
        "request_us", "recv_us", "send_us", "step_us", "poll_us", "arm_us", "put_us", "get_us",
        "lock_us",
    ),
    "switch": ("switch_us", "thread_switch_us"),
    "connection": ("connection_us", "accept_us", "close_us"),
    "kilobyte": ("send_per_kb_us", "recv_per_kb_us"),
    "stale": ("stale_us",),
    "stale after": ("stale_after_us",),
    "cold": ("cold_us",),
    "idle": ("idle_us",),
    "idle after": ("idle_after_us",),
    "fresh": ("fresh_us",),
    "latency": ("latency_us",),
    "timer slack": ("timer_slack_us",),
}  # fmt: skip
#: Where a fit begins if the probe found nothing (a factor of 0 stays 0).
_STARTS: Final = {
    "idle_us": 20.0, "idle_after_us": 500.0, "stale_us": 20.0, "cold_us": 20.0, "fresh_us": 1000.0,
    "latency_us": 5.0, "timer_slack_us": 60.0, "send_per_kb_us": 0.05, "recv_per_kb_us": 0.05,
}  # fmt: skip
#: The prior: that a factor of e squared is as unlikely as an error of one standard deviation.
_PRIOR: Final = 2.0
#: Relative errors that one figure of one run has at least.
_SIGMA: Final = {"overhead": 0.03, "mean_ms": 0.03, "p50_ms": 0.05, "p99_ms": 0.15}
#: Simulated requests of a run with users without thinks, which is the same all the time.
_REQUESTS: Final = 1500
_WARMUP_S: Final = 0.12
#: Gauss-Newton: relative differences, rounds, how far one may go, what is not worth another.
_STEP: Final = 0.15
_ROUNDS: Final = 6
_REACH: Final = 3.0
_FURTHEST: Final = 20.0  # nothing is so much dearer or cheaper than where the fit began
_HALVINGS: Final = 4
_GAIN: Final = 0.02
#: Requests for each worker of a pool of which the memory counts.
_SERVED: Final = 10
#: A user alone, an open run: response times tell of the costs.
_RESPONSES: Final = ("mean_ms", "p50_ms", "p99_ms")


@dataclass(frozen=True)
class Taken:
    """One training run's figures. Times as in Summary."""

    speed_us: float  # of the speed loop, beside the run
    cpu_per_request_us: float
    throughput_rps: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    memory_mib: float | None


@dataclass(frozen=True)
class Trial:
    """One training case: what was asked, and its runs."""

    case: str
    task: Task
    taken: tuple[Taken, ...]

    @property
    def open(self) -> bool:
        """Whether its arrivals do not wait for answers."""
        return self.task.plan.offered_rate is not None

    @property
    def demand_us(self) -> float:
        """CPU that the application was asked for, on average of the measured requests."""
        plan = self.task.plan
        if not self.open:
            return float(plan.cpu_us.mean())
        at = plan.earliest_us()
        counted = (at >= plan.warmup_us) & (at < plan.duration_us)
        return float(plan.cpu_us[counted].mean())

    @property
    def figures(self) -> tuple[str, ...]:
        """What of it is compared. Response times of several users without thinks follow from the
        occupancy."""
        if self.open:
            return ("overhead", "mean_ms", "p50_ms", "p99_ms")
        return ("overhead", "mean_ms") if self.task.plan.sessions == 1 else ("overhead",)


@dataclass(frozen=True)
class Residual:
    """One figure of one case: measured (median of the runs, at the reference speed), as simulated
    with the fitted profile, and with the one that the fit began with."""

    case: str
    figure: str
    measured: float
    spread: float  # half the range of the runs, relative
    fitted: float
    before: float


@dataclass(frozen=True)
class Fit:
    """What came of it. `factors` by PARAMETERS, each with its 95 % interval."""

    platform: Platform
    factors: Mapping[str, tuple[float, float, float]]
    residuals: tuple[Residual, ...]


def fit(
    trials: Sequence[Trial],
    base: Platform,
    base_speed_us: float,
    what: str,
    date: str,
    watch: Watch,
) -> Fit:
    """The profile of which simulations come closest to the trials: least squares of relative
    errors, from `base`, which holds for `base_speed_us`. `what`: the engine and MPM, for people.
    Raises KeyboardInterrupt if the watch is interrupted."""
    speed_us = median(taken.speed_us for trial in trials for taken in trial.taken)
    start = _started(with_costs_times(base, speed_us / base_speed_us))
    problem = _Problem(trials, start, speed_us, watch)
    probed = start
    problem.names = names = [
        name for name in PARAMETERS if any(getattr_of(start, f) for f in PARAMETERS[name])
    ]
    start = problem.start = with_costs_times(start, problem.level())
    best, errors, jacobian = _least_squares(problem, len(names))
    intervals = _intervals(jacobian, errors, best)
    factors = {
        name: (float(x), low, high)
        for name, x, (low, high) in zip(names, best, intervals, strict=True)
    }
    fitted = problem.platform(best)
    residuals = tuple(problem.compared(fitted, probed))
    runs = sum(len(trial.taken) for trial in trials)
    told = f"{CALIBRATED}, {what}, {runs} runs, speed loop {speed_us:.1f} us"
    return Fit(_finished(fitted, start, factors, residuals, trials, told, date), factors, residuals)


def _least_squares(problem: _Problem, count: int) -> tuple[Floats, Floats, Floats]:
    """Factors, errors and Jacobian at the best point found: Gauss-Newton steps with bounds, halved
    while they make it worse.

    Costs enter what a request costs linearly, so that a step from finite differences goes nearly to
    the optimum (scipy.optimize.least_squares, whose trust region takes simulation's small jumps for
    curvature, stopped half way)."""
    from scipy.optimize import lsq_linear

    best = np.ones(count)
    errors = problem.errors(best)
    jacobian = np.zeros((len(errors), count))
    for _ in range(_ROUNDS):
        for i in range(count):
            moved = best.copy()
            moved[i] *= 1 + _STEP
            jacobian[:, i] = (problem.errors(moved) - errors) / (_STEP * best[i])
        ends = (
            np.maximum(best / _REACH, 1 / _FURTHEST) - best,
            np.minimum(best * _REACH, _FURTHEST) - best,
        )
        step = lsq_linear(jacobian, -errors, bounds=ends).x
        before = float(errors @ errors)
        for _half in range(_HALVINGS):
            tried = problem.errors(best + step)
            if float(tried @ tried) < before:
                best, errors = best + step, tried
                break
            step = step / 2
        if before - float(errors @ errors) < _GAIN * before:
            break
    return best, errors, jacobian


def getattr_of(platform: Platform, name: str) -> float:
    """A field of the platform or of its costs."""
    holder = platform.costs if name in Costs.__dataclass_fields__ else platform
    return float(getattr(holder, name))


def with_values(platform: Platform, values: Mapping[str, float]) -> Platform:
    """The platform with these fields of it, or of its costs."""
    costs = {name: value for name, value in values.items() if name in Costs.__dataclass_fields__}
    facts = {name: value for name, value in values.items() if name not in costs}
    facts_of: dict[str, Any] = dict(facts)
    return replace(platform, costs=replace(platform.costs, **costs), **facts_of)


def _started(base: Platform) -> Platform:
    """Where the fit begins: the probed values, but none of them zero."""
    missing = {
        name: value for name, value in _STARTS.items() if getattr_of(base, name) < value / 20
    }
    return with_values(base, missing)


class _Problem:
    """The errors as a function of the factors."""

    def __init__(self, trials: Sequence[Trial], start: Platform, speed_us: float, watch: Watch):
        self.trials, self.start, self.speed_us, self.watch = trials, start, speed_us, watch
        self.names: list[str] = []
        self.simulations = 0

    def platform(self, x: Floats) -> Platform:
        """The profile with these factors."""
        values = {
            field: float(factor) * getattr_of(self.start, field)
            for name, factor in zip(self.names, x, strict=True)
            for field in PARAMETERS[name]
        }
        return with_values(self.start, values)

    def level(self) -> float:
        """How much dearer all is than where we start, by the median of the cases: httpd's requests
        take half of what a Python server's do, and least squares had better begin there."""
        return median(
            measured / simulated
            for trial in self.trials
            for figure, measured, _, simulated in self._figures(trial, self.start)
            if figure == "overhead"
        )

    def errors(self, x: Floats) -> Floats:
        """Errors in units of their standard deviation, and the prior's."""
        platform = self.platform(x)
        found = [
            (simulated / measured - 1) / max(_SIGMA[figure], spread)
            for trial in self.trials
            for figure, measured, spread, simulated in self._figures(trial, platform)
        ]
        return np.array([*found, *(np.log(x) / _PRIOR)])

    def compared(self, fitted: Platform, before: Platform) -> list[Residual]:
        """Every figure, measured and simulated."""
        return [
            Residual(trial.case, figure, measured, spread, simulated, earlier[3])
            for trial in self.trials
            for (figure, measured, spread, simulated), earlier in zip(
                self._figures(trial, fitted), self._figures(trial, before), strict=True
            )
        ]  # fmt: skip

    def _figures(self, trial: Trial, platform: Platform) -> list[tuple[str, float, float, float]]:
        """Figure, measured, relative spread, simulated."""
        if self.watch.interruption:
            raise KeyboardInterrupt
        speed_us = self.speed_us
        if trial.open:  # there response times do not just scale: simulate at the run's own speed
            speed_us = median(taken.speed_us for taken in trial.taken)
        seen = simulate(trial, with_costs_times(platform, speed_us / self.speed_us))
        self.simulations += 1
        per_round = len(self.trials) * (len(self.names) + 1)
        self.watch.advance(self.simulations / (per_round * _ROUNDS))
        return [
            (figure, *_measured(trial, figure, speed_us), _of(seen, figure, trial.demand_us))
            for figure in trial.figures
        ]


def _measured(trial: Trial, figure: str, speed_us: float) -> tuple[float, float]:
    """Median of the runs as if the machine had had that speed, and half their relative range."""
    values = [
        _of(taken, figure, trial.demand_us)
        * (1.0 if trial.open and figure in _RESPONSES else speed_us / taken.speed_us)
        for taken in trial.taken
    ]
    middle = median(values)
    return middle, (max(values) - min(values)) / (2 * middle)


def _of(seen: Taken | Summary, figure: str, demand_us: float) -> float:
    """A figure's value; of what a request costs at least 1 us."""
    if figure == "overhead":
        return max(1.0, (seen.cpu_per_request_us or 0.0) - demand_us)
    return float(getattr(seen, figure) or math.nan)


def simulate(trial: Trial, platform: Platform) -> Summary:
    """The case in simulation. Users without thinks are simulated for so long as they need for some
    thousand requests."""
    task = trial.task
    if not trial.open:
        rate = max(taken.throughput_rps for taken in trial.taken)
        duration_s = _WARMUP_S + max(0.06, _REQUESTS / rate)
        plan = replace(
            task.plan, warmup_us=round(_WARMUP_S * 1e6), duration_us=round(duration_s * 1e6)
        )
        task = replace(task, plan=plan)
    run = run_sim(task, platform, 1, Watch(Interruption(), lambda _: None))
    return summarise(run, task.warmup_s, task.duration_s, task.timeout_s, task.plan)


def _intervals(jacobian: Floats, residuals: Floats, x: Floats) -> list[tuple[float, float]]:
    """95 % intervals of the factors, of which none is below 0, from the curvature at the optimum
    (Seber and Wild, Nonlinear Regression, 1989, 5.1), widened if the residuals are larger than was
    assumed."""
    from scipy.stats import t

    count, free = len(residuals) - len(x), len(x)
    scale = max(1.0, float(residuals @ residuals) / max(1, count))
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * scale
    reach = float(t.ppf(0.975, max(1, count)))
    return [
        (max(0.0, float(x[i] - reach * math.sqrt(covariance[i, i]))),
         float(x[i] + reach * math.sqrt(covariance[i, i])))
        for i in range(free)
    ]  # fmt: skip


def _finished(
    fitted: Platform, start: Platform, factors: Mapping[str, tuple[float, float, float]],
    residuals: Sequence[Residual], trials: Sequence[Trial], told: str, date: str,
) -> Platform:  # fmt: skip
    """The profile with memory, spread, sources and intervals."""
    values = memory(trials, fitted)
    ratios = [r.measured / r.fitted for r in residuals if r.figure == "overhead"]
    ratios += [
        r.measured * (1 + sign * r.spread) / r.fitted
        for r in residuals if r.figure == "overhead" for sign in (-1, 1)
    ]  # fmt: skip
    values["costs_least"] = float(np.quantile(ratios, 0.05))
    values["costs_most"] = float(np.quantile(ratios, 0.95))
    how = {field: "fitted" for name in factors for field in PARAMETERS[name]}
    how |= {field: "PSS of its pools" for field in values if field.endswith("_kib")}
    how |= dict.fromkeys(("costs_least", "costs_most"), "costs of the runs, by those of the fit")
    intervals = {
        field: (low * getattr_of(start, field), high * getattr_of(start, field))
        for name, (_, low, high) in factors.items() for field in PARAMETERS[name]
    }  # fmt: skip
    scaled = {item.name for item in fields(Costs)} - how.keys()
    sources = dict(fitted.sources)
    # What was not fitted is as probed, at the speed of the fit.
    sources |= {f: f"{sources[f]}; {told}" for f in scaled if f in sources}
    sources |= {name: provenance(f"{told}; {text}", date) for name, text in how.items()}
    return replace(with_values(fitted, values), sources=sources, intervals=intervals)


def memory(trials: Sequence[Trial], platform: Platform) -> dict[str, float]:
    """KiB by field, such that pools take what the open runs' pools did, as far as their workers had
    enough to do: the probed shares of parent and processes times one factor, those of threads times
    another. Nothing without such runs."""
    from scipy.optimize import nnls

    rows, totals = [], []
    for trial in trials:
        settings = trial.task.known()
        prefork = trial.task.mpm == "prefork"
        threads = 0 if prefork else settings.daemons_limit * settings.threads_per_child
        processes = platform.process_memory_kib * settings.daemons_limit
        # A worker takes its full share of memory once it has served: few of a quiet pool have.
        worked = trial.task.plan.requests >= _SERVED * settings.workers_limit
        for taken in trial.taken if trial.open and worked else ():
            if taken.memory_mib is not None:
                shares = (
                    platform.parent_memory_kib,
                    processes,
                    threads * platform.thread_memory_kib,
                )
                rows.append((shares[0] + shares[1], shares[2]) if not prefork else shares[:2])
                totals.append(1024 * taken.memory_mib)
    if not rows:
        return {}
    factors, _ = nnls(np.array(rows), np.array(totals))
    if trials[0].task.mpm != "prefork":
        parent, process, thread = factors[0], factors[0], factors[1]
        return {
            "parent_memory_kib": float(parent * platform.parent_memory_kib),
            "process_memory_kib": float(process * platform.process_memory_kib),
            "thread_memory_kib": float(thread * platform.thread_memory_kib),
        }
    return {
        "parent_memory_kib": float(factors[0] * platform.parent_memory_kib),
        "process_memory_kib": float(factors[1] * platform.process_memory_kib),
    }
