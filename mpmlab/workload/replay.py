"""Replaying an access log: a part of it, faster, grouped into sessions.

From columns (accesslog.py) to a skeleton of a plan; no reading of files. The log's stamps are whole
seconds, at which nothing real arrives: the seed spreads the requests of one second inside it, in
the order of their lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from mpmlab.core.demand import MAX_RESPONSE_BYTES
from mpmlab.workload.accesslog import LogRequests
from mpmlab.workload.classes import RequestClass, class_of
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.skeleton import MAX_REQUESTS, Int64s, RecordedFacts, Skeleton
from mpmlab.workload.streams import Stream, Streams

_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True)
class LogArrivals:
    """An access log sent again, `speedup` times faster, from `start` (included) to `end` (not).
    Those are seconds after the log's first request, or times; a time without a zone is read on
    the log's own clock. Requests of one host less than `session_gap_s` (of the log's time) apart
    are one session."""

    file: Path
    speedup: float
    start: float | datetime | None
    end: float | datetime | None
    session_gap_s: float
    kind: ClassVar[str] = "accesslog"
    #: What its classes do not say.
    recorded: ClassVar[tuple[str, ...]] = ("response_bytes",)


def replay_skeleton(
    arrivals: LogArrivals,
    classes: tuple[RequestClass, ...],
    log: LogRequests,
    streams: Streams,
    duration_us: int,
) -> Skeleton:
    """The selected requests, by session, at their planned times: their distances in the log from
    the second of the first, divided by the speedup. Those at or after the duration are left out.
    Raises ScenarioError if nothing is selected."""
    chosen = _select(arrivals, log)
    log_us = spread_seconds(log.time_s[chosen], streams.open("log/second"))
    at_us = faster(log_us - log_us[0] // 1_000_000 * 1_000_000, arrivals.speedup)
    within = at_us < duration_us
    chosen, log_us, at_us = chosen[within], log_us[within], at_us[within]
    if len(chosen) > MAX_REQUESTS:
        raise ScenarioError(
            f"arrivals.file: {len(chosen):,} requests of {arrivals.file} are selected; accepted: "
            f"at most {MAX_REQUESTS:,} (choose a part by from and to)"
        )
    if not len(chosen):
        raise ScenarioError("arrivals.speedup: no request falls into the duration")
    session = group_sessions(log.host[chosen], log_us, arrivals.session_gap_s)
    order, starts, counts = grouped(session, at_us)
    facts = _facts(log, chosen[order], classes, order)
    planned = at_us[order]
    return Skeleton(starts, counts, planned, np.zeros_like(planned), recorded=facts)


def faster(offset_us: Int64s, speedup: float) -> Int64s:
    """Distances from the start of a recording as they are in its replay, to the microsecond."""
    return offset_us if speedup == 1 else np.rint(offset_us / speedup).astype(np.int64)


def grouped(session: Int64s, at_us: Int64s) -> tuple[npt.NDArray[np.intp], Int64s, Int64s]:
    """From the session of each request, both by time: the order of the requests by session, the
    sessions' starts and their numbers of requests. Sessions are numbered by their first requests,
    so that they come out sorted by start."""
    order = np.argsort(session, kind="stable")
    counts = np.bincount(session).astype(np.int64)
    return order, at_us[order[np.cumsum(counts) - counts]], counts


def spread_seconds(time_s: Int64s, stream: Stream) -> Int64s:
    """Whole seconds, sorted, become microseconds: the n requests of a second get n random moments
    of it, in order."""
    moments = np.floor(stream.uniforms(len(time_s)) * 1e6).astype(np.int64)
    # Sorting by (second, moment) sorts the moments within each second and moves none to another.
    return np.asarray(time_s * 1_000_000 + moments[np.lexsort((moments, time_s))])


def group_sessions(host: npt.NDArray[np.int32], at_us: Int64s, gap_s: float) -> Int64s:
    """The session's number of each request (sorted by time): a host's request opens a new one when
    its last was `gap_s` or longer ago. Numbered in order of their first requests."""
    by_host = np.argsort(host, kind="stable")
    hosts, times = host[by_host], at_us[by_host]
    opens = np.ones(len(host), dtype=np.bool_)
    opens[1:] = (hosts[1:] != hosts[:-1]) | (np.diff(times) >= gap_s * 1e6)
    opener = by_host[np.flatnonzero(opens)]  # the index of each session's first request
    rank = np.empty(len(opener), dtype=np.int64)
    rank[np.argsort(opener)] = np.arange(len(opener))
    session = np.empty(len(host), dtype=np.int64)
    session[by_host] = rank[np.cumsum(opens) - 1]
    return session


def _select(arrivals: LogArrivals, log: LogRequests) -> npt.NDArray[np.intp]:
    """Indices of the requests from `start` to `end`, by time, then by line."""
    begin = int(log.time_s.min())
    start = _seconds(arrivals.start, begin, log.zone_s)
    end = _seconds(arrivals.end, begin, log.zone_s)
    wanted = np.ones(len(log), dtype=np.bool_)
    if start is not None:
        wanted &= log.time_s >= start
    if end is not None:
        wanted &= log.time_s < end
    chosen = np.flatnonzero(wanted)
    if not len(chosen):
        zone = timezone(timedelta(seconds=log.zone_s))
        ends = (datetime.fromtimestamp(t, zone).isoformat() for t in (begin, log.time_s.max()))
        raise ScenarioError(
            f"arrivals.from, arrivals.to: no request of {arrivals.file} lies between them; "
            f"the log runs from {' to '.join(ends)}"
        )
    return chosen[np.argsort(log.time_s[chosen], kind="stable")]


def _seconds(instant: float | datetime | None, begin: int, zone_s: int) -> float | None:
    """Seconds since 1970 UTC of `from` or `to`."""
    if instant is None:
        return None
    if isinstance(instant, datetime):
        zone = timezone(timedelta(seconds=zone_s))
        return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).timestamp()
    return begin + instant


def _facts(
    log: LogRequests,
    chosen: npt.NDArray[np.intp],
    classes: tuple[RequestClass, ...],
    place: npt.NDArray[np.intp],
) -> RecordedFacts:
    sizes = log.response_bytes[chosen]
    if sizes.max() > MAX_RESPONSE_BYTES:
        line = log.line[chosen[np.argmax(sizes)]]
        raise ScenarioError(
            f"arrivals.file: line {line} of the log has {sizes.max():,} bytes; accepted: at most "
            f"{MAX_RESPONSE_BYTES:,} (leave it out by from and to)"
        )
    by_target = np.array(
        [class_of(target.partition("?")[0], classes) for target in log.targets], dtype=np.int16
    )
    by_method = np.array([method.upper() in _METHODS_WITH_BODY for method in log.methods])
    has_body = by_method[log.method[chosen]]
    return RecordedFacts(by_target[log.target[chosen]], sizes, place, has_body=has_body)
