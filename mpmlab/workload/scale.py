"""The same scenario at another rate: every measured group that comes by itself comes faster or
slower by one factor, and nothing else changes (not one random number moves).

Pure values; how much faster is the caller's affair.
"""

from __future__ import annotations

from dataclasses import replace

from mpmlab.workload.arrivals import ClosedArrivals, OpenArrivals, SessionArrivals
from mpmlab.workload.arrivals_table import Arrivals
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.processes import (
    ConstantProcess,
    MmppProcess,
    PiecewiseProcess,
    PoissonProcess,
    Process,
    RenewalProcess,
)
from mpmlab.workload.scenario import Scenario


def scaled(scenario: Scenario, factor: float) -> Scenario:
    """`scenario` with its measured arrivals `factor` times as fast; recordings are replayed that
    much faster. Raises ScenarioError for a measured closed group: its rate is the server's."""
    groups = tuple(
        replace(load, arrivals=_arrivals(scenario, load.arrivals, factor))
        if load.group.measured
        else load
        for load in scenario.groups
    )
    return replace(scenario, groups=groups)


def _arrivals(scenario: Scenario, arrivals: Arrivals, factor: float) -> Arrivals:
    if isinstance(arrivals, ClosedArrivals):
        raise ScenarioError(
            f"{scenario.path}: a closed workload has no rate of its own to change; accepted: a "
            "scenario whose measured clients come by themselves (poisson, sessions, ...)"
        )
    if isinstance(arrivals, OpenArrivals):
        return replace(arrivals, process=_process(arrivals.process, factor))
    if isinstance(arrivals, SessionArrivals):
        return replace(arrivals, starts=_process(arrivals.starts, factor))
    return replace(arrivals, speedup=arrivals.speedup * factor)


def _process(process: Process, factor: float) -> Process:
    if isinstance(process, ConstantProcess | PoissonProcess | RenewalProcess):
        return replace(process, rate_per_s=process.rate_per_s * factor)
    if isinstance(process, MmppProcess):
        states = (replace(s, rate_per_s=s.rate_per_s * factor) for s in process.states)
        return replace(process, states=tuple(states))
    if isinstance(process, PiecewiseProcess):
        stages = (
            replace(s, begin_per_s=s.begin_per_s * factor, end_per_s=s.end_per_s * factor)
            for s in process.stages
        )
        return replace(process, stages=tuple(stages))
    raise TypeError(f"no rate is known of {type(process).__name__}")
