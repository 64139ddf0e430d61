"""Compiling: a scenario and a seed become a plan.

The only place where all random numbers of a load are drawn, each purpose from a stream of its own
name, and rounded to whole microseconds and bytes. The names are part of the plans' hashes.
"""

from __future__ import annotations

import logging
import math

import numpy as np
import numpy.typing as npt

from mpmlab.core.demand import MAX_RESPONSE_BYTES, MAX_US
from mpmlab.workload.accesslog import read_log
from mpmlab.workload.arrivals import closed_skeleton, open_skeleton, session_skeleton, whole
from mpmlab.workload.distributions import Constant, Distribution, choose
from mpmlab.workload.errors import AccessLogError, PlanError, ScenarioError
from mpmlab.workload.plan import Plan
from mpmlab.workload.replay import replay_skeleton
from mpmlab.workload.scenario import (
    MAX_DURATION_S,
    ClosedArrivals,
    LogArrivals,
    OpenArrivals,
    Scenario,
    to_us,
)
from mpmlab.workload.skeleton import Int64s, Skeleton
from mpmlab.workload.streams import Stream

_log = logging.getLogger(__name__)


def compile_plan(scenario: Scenario, seed: int, duration_s: float | None = None) -> Plan:
    """The plan of one run. Another `duration_s` than the scenario's lengthens or cuts it: the
    requests in common stay as they are (where a closed workload loses users who begin too late,
    the demands of the others move). One shorter than the scenario's shortens the warm-up in
    proportion. Lines of an access log that do not parse are reported to the logger of this module.
    Raises ScenarioError, naming the file."""
    duration_us, warmup_us = scenario.duration_us, scenario.warmup_us
    if duration_s is not None:
        if not (math.isfinite(duration_s) and 1e-3 <= duration_s <= MAX_DURATION_S):
            raise ScenarioError(
                f"duration is {duration_s!r} s; accepted: 0.001 to {MAX_DURATION_S} s"
            )
        duration_us = to_us(duration_s)
        warmup_us = min(warmup_us, warmup_us * duration_us // scenario.duration_us)
    try:
        bones = _skeleton(scenario, seed, duration_us)
        if not len(bones.session_start_us):
            raise ScenarioError(
                f"arrivals: not one request comes within {duration_us / 1e6:g} s; accepted: a "
                f"longer duration_s or more of them"
            )
        return _flesh_out(scenario, bones, seed, duration_us, warmup_us)
    except (ScenarioError, AccessLogError, PlanError) as error:
        raise ScenarioError(f"{scenario.path}: {error}") from error


def _skeleton(scenario: Scenario, seed: int, duration_us: int) -> Skeleton:
    arrivals = scenario.arrivals
    if isinstance(arrivals, OpenArrivals):
        return open_skeleton(arrivals, seed, duration_us)
    if isinstance(arrivals, ClosedArrivals):
        return closed_skeleton(arrivals, seed, duration_us)
    if isinstance(arrivals, LogArrivals):
        log = read_log(arrivals.file)
        if log.malformed_count:
            _log.warning("%s: %s", arrivals.file, log.describe_malformed())
        return replay_skeleton(arrivals, scenario.classes, log, seed, duration_us)
    return session_skeleton(arrivals, seed, duration_us)


def _flesh_out(
    scenario: Scenario, bones: Skeleton, seed: int, duration_us: int, warmup_us: int
) -> Plan:
    """Classes and demands of every request."""
    n = len(bones.planned_us)
    classes = scenario.classes
    if bones.logged:
        klass = bones.logged.klass
    else:
        weights = tuple(one.weight for one in classes)
        klass = choose(weights, Stream(seed, "class").uniforms(n)).astype(np.int16)
    cpu_us, wait_us, request_bytes, response_bytes = (np.zeros(n, np.int64) for _ in range(4))
    if bones.logged:
        response_bytes = bones.logged.response_bytes
    place = bones.logged.place if bones.logged else np.arange(n)
    for i, one in enumerate(classes):
        mine = np.flatnonzero(klass == i)
        for column, name, wanted, most in (
            (cpu_us, "cpu_us", one.cpu_us, MAX_US),
            (wait_us, "wait_us", one.wait_us, MAX_US),
            (request_bytes, "request_bytes", one.request_bytes, MAX_RESPONSE_BYTES),
            (response_bytes, "response_bytes", one.response_bytes, MAX_RESPONSE_BYTES),
        ):
            if wanted is not None:
                stream = Stream(seed, f"class/{one.name}/{name}")
                column[mine] = _drawn(wanted, stream, place[mine], most)
    if bones.logged:
        request_bytes[~bones.logged.has_body] = 0
    return Plan(
        session_start_us=bones.session_start_us,
        session_first=bones.session_first,
        session_requests=bones.session_requests.astype(np.int32),
        session_reuse=np.full(len(bones.session_start_us), scenario.arrivals.keep_alive),
        planned_us=bones.planned_us,
        think_us=bones.think_us,
        klass=klass,
        cpu_us=cpu_us,
        wait_us=wait_us,
        request_bytes=request_bytes,
        response_bytes=response_bytes,
        classes=tuple(one.name for one in classes),
        cycle=bones.cycle,
        duration_us=duration_us,
        warmup_us=warmup_us,
        seed=seed,
        scenario=scenario.name,
    )


def _drawn(wanted: Distribution, stream: Stream, places: npt.NDArray[np.intp], most: int) -> Int64s:
    """Values for the requests at these places. Every request has a place in every stream, whatever
    its class, so that a request keeps its numbers when others change class."""
    if isinstance(wanted, Constant):
        return whole(np.full(len(places), wanted.value), most)
    n = int(places.max()) + 1 if len(places) else 0
    return whole(wanted.values(stream.uniforms(n)[places]), most)
