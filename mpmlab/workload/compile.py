"""Compiling: a scenario and a seed become a plan.

The only place where all random numbers of a load are drawn, each purpose from a stream of its own
name, and rounded to whole microseconds and bytes. The names are part of the plans' hashes.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpmlab.core.demand import MAX_RESPONSE_BYTES, MAX_US
from mpmlab.workload.accesslog import read_log
from mpmlab.workload.arrivals import (
    ClosedArrivals,
    OpenArrivals,
    closed_skeleton,
    open_skeleton,
    session_skeleton,
)
from mpmlab.workload.classes import RequestClass
from mpmlab.workload.distributions import Constant, Distribution, choose, whole
from mpmlab.workload.errors import AccessLogError, HarError, PlanError, ScenarioError
from mpmlab.workload.har import read_har
from mpmlab.workload.har_replay import HarArrivals, har_skeleton
from mpmlab.workload.limits import MAX_DURATION_S, to_us
from mpmlab.workload.plan import Plan
from mpmlab.workload.replay import LogArrivals, replay_skeleton
from mpmlab.workload.scenario import MAIN, GroupLoad, Scenario
from mpmlab.workload.skeleton import MAX_REQUESTS, Int64s, Skeleton
from mpmlab.workload.streams import Stream, Streams

_log = logging.getLogger(__name__)

_DEMANDS = ("cpu_us", "wait_us", "request_bytes", "response_bytes")


@dataclass(frozen=True, eq=False)
class _Part:
    """The load of one group: its skeleton, and what its requests are."""

    bones: Skeleton
    #: "klass", and the demands by name.
    columns: dict[str, npt.NDArray[np.int16] | Int64s]


def compile_plan(scenario: Scenario, seed: int, duration_s: float | None = None) -> Plan:
    """The plan of one run. Another `duration_s` than the scenario's lengthens or cuts it: the
    requests in common stay as they are (where a closed workload loses users who begin too late,
    the demands of the others move). One shorter than the scenario's shortens the warm-up in
    proportion. Lines of an access log that do not parse, and entries of a HAR file that are no
    requests, are reported to the logger of this module. Raises ScenarioError, naming the file."""
    duration_us, warmup_us = scenario.duration_us, scenario.warmup_us
    if duration_s is not None:
        if not (math.isfinite(duration_s) and 1e-3 <= duration_s <= MAX_DURATION_S):
            raise ScenarioError(
                f"duration is {duration_s!r} s; accepted: 0.001 to {MAX_DURATION_S} s"
            )
        duration_us = to_us(duration_s)
        warmup_us = min(warmup_us, warmup_us * duration_us // scenario.duration_us)
    try:
        parts = [_part(scenario, load, seed, duration_us) for load in scenario.groups]
        _check_numbers(scenario, parts, duration_us)
        return _joined(scenario, parts, seed, duration_us, warmup_us)
    except (ScenarioError, PlanError) as error:
        raise ScenarioError(f"{scenario.path}: {error}") from error


def _part(scenario: Scenario, load: GroupLoad, seed: int, duration_us: int) -> _Part:
    streams = Streams(seed, load.stream_prefix)
    classes = tuple(scenario.classes[i] for i in load.classes)
    try:
        bones = _skeleton(load, classes, streams, duration_us)
    except (ScenarioError, AccessLogError, HarError) as error:
        where = "" if load.group.name == MAIN else f"group {load.group.name!r}: "
        raise ScenarioError(f"{where}{error}") from error
    columns = _flesh(bones, classes, streams)
    columns["klass"] = np.array(load.classes, dtype=np.int16)[columns["klass"]]
    return _Part(bones, columns)


def _skeleton(
    load: GroupLoad, classes: tuple[RequestClass, ...], streams: Streams, duration_us: int
) -> Skeleton:
    arrivals = load.arrivals
    if isinstance(arrivals, OpenArrivals):
        return open_skeleton(arrivals, streams, duration_us)
    if isinstance(arrivals, ClosedArrivals):
        return closed_skeleton(arrivals, streams, duration_us)
    if isinstance(arrivals, LogArrivals):
        log = read_log(arrivals.file)
        if log.malformed_count:
            _log.warning("%s: %s", arrivals.file, log.describe_malformed())
        return replay_skeleton(arrivals, classes, log, streams, duration_us)
    if isinstance(arrivals, HarArrivals):
        requests = read_har(arrivals.file)
        if requests.skipped:
            _log.warning("%s: %s", arrivals.file, requests.describe_skipped())
        return har_skeleton(arrivals, classes, requests, duration_us)
    return session_skeleton(arrivals, streams, duration_us)


def _flesh(
    bones: Skeleton, classes: tuple[RequestClass, ...], streams: Streams
) -> dict[str, npt.NDArray[np.int16] | Int64s]:
    """Class (an index into these) and demands of every request of a group."""
    n = len(bones.planned_us)
    facts = bones.recorded
    if facts:
        klass, place = facts.klass, facts.place
    else:
        weights = tuple(one.weight for one in classes)
        klass = choose(weights, streams.open("class").uniforms(n)).astype(np.int16)
        place = np.arange(n)
    columns: dict[str, npt.NDArray[np.int16] | Int64s] = {
        name: np.zeros(n, np.int64) for name in _DEMANDS
    }
    for i, one in enumerate(classes):
        mine = np.flatnonzero(klass == i)
        for name in _DEMANDS:
            wanted: Distribution | None = getattr(one, name)
            if wanted is not None:
                most = MAX_US if name.endswith("_us") else MAX_RESPONSE_BYTES
                stream = streams.open(f"class/{one.name}/{name}")
                columns[name][mine] = _drawn(wanted, stream, place[mine], most)
    if facts:
        if facts.has_body is not None:
            columns["request_bytes"][~facts.has_body] = 0
        for name in ("wait_us", "request_bytes", "response_bytes"):
            recorded = getattr(facts, name)
            if recorded is not None:
                columns[name] = recorded
    columns["klass"] = klass
    return columns


def _drawn(wanted: Distribution, stream: Stream, places: npt.NDArray[np.intp], most: int) -> Int64s:
    """Values for the requests at these places. Every request has a place in every stream, whatever
    its class, so that a request keeps its numbers when others change class."""
    if isinstance(wanted, Constant):
        return whole(np.full(len(places), wanted.value), most)
    n = int(places.max()) + 1 if len(places) else 0
    return whole(wanted.values(stream.uniforms(n)[places]), most)


def _check_numbers(scenario: Scenario, parts: list[_Part], duration_us: int) -> None:
    """Something measured comes, and not more than a plan may hold."""
    pairs = list(zip(scenario.groups, parts, strict=True))
    if not any(len(part.bones.planned_us) for load, part in pairs if load.group.measured):
        raise ScenarioError(
            f"arrivals: not one request comes within {duration_us / 1e6:g} s; accepted: a longer "
            f"duration_s or more of them"
        )
    total = sum(len(part.bones.planned_us) for part in parts)
    if total > MAX_REQUESTS:
        raise ScenarioError(
            f"group: all of them give {total:,} requests; accepted: at most {MAX_REQUESTS:,}"
        )


def _joined(
    scenario: Scenario, parts: list[_Part], seed: int, duration_us: int, warmup_us: int
) -> Plan:
    """The groups' sessions among one another, by start; of those that start together, by group."""
    bones = [part.bones for part in parts]
    starts = np.concatenate([one.session_start_us for one in bones])
    order = np.argsort(starts, kind="stable")
    counts = np.concatenate([one.session_requests for one in bones])
    old_first = (np.cumsum(counts) - counts)[order]
    counts = counts[order]
    first = np.cumsum(counts) - counts
    # Where each request of the plan stands in the groups' columns, one behind the other.
    at = np.arange(int(counts.sum())) + np.repeat(old_first - first, counts)
    sizes = [len(one.session_start_us) for one in bones]
    measured = next(one for one in scenario.groups if one.group.measured)
    return Plan(
        session_start_us=starts[order],
        session_first=first,
        session_requests=counts.astype(np.int32),
        session_group=np.repeat(np.arange(len(parts), dtype=np.int16), sizes)[order],
        session_cycle=np.repeat(np.array([one.cycle for one in bones]), sizes)[order],
        planned_us=np.concatenate([one.planned_us for one in bones])[at],
        think_us=np.concatenate([one.think_us for one in bones])[at],
        **{
            name: np.concatenate([part.columns[name] for part in parts])[at]
            for name in ("klass", *_DEMANDS)
        },
        classes=tuple(one.name for one in scenario.classes),
        groups=tuple(load.group for load in scenario.groups),
        arrivals=measured.arrivals.kind,
        duration_us=duration_us,
        warmup_us=warmup_us,
        seed=seed,
        scenario=scenario.name,
        static_classes=tuple(one.name for one in scenario.classes if one.static),
        crash_classes=tuple(one.name for one in scenario.classes if one.crash),
    )
