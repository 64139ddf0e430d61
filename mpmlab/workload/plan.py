"""A plan: every session and every request of a run, as arrays of whole numbers.

Only the data, its invariants, its hash and its file live here; where the numbers come from is
compile.py, and carrying them out is the load client's. No random numbers, no clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mpmlab.workload.clients import Group
from mpmlab.workload.errors import PlanError

Int64s = npt.NDArray[np.int64]

#: Part of the hash: a change of what the arrays mean must change every hash.
FORMAT: Final = "mpmlab-plan-2"

_SESSION_COLUMNS: Final = {
    "session_start_us": "<i8",
    "session_first": "<i8",
    "session_requests": "<i4",
    "session_group": "<i2",
    "session_cycle": "|b1",
}
_REQUEST_COLUMNS: Final = {
    "planned_us": "<i8",
    "think_us": "<i8",
    "klass": "<i2",
    "cpu_us": "<i8",
    "wait_us": "<i8",
    "request_bytes": "<i8",
    "response_bytes": "<i8",
}
_COLUMNS: Final = {**_SESSION_COLUMNS, **_REQUEST_COLUMNS}
#: What reading a file that is no plan, or half of one, may raise.
_DAMAGE: Final = (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
_METADATA: Final = ("classes", "arrivals", "duration_us", "warmup_us", "seed", "scenario")


@dataclass(frozen=True, eq=False)
class Plan:
    """What the clients do, in microseconds since the start of the run. Arrays are read-only.

    A *session* is one client: one user with at most one connection and one request at a time. How
    it behaves is its group's. Requests are grouped by session, in order; sessions are sorted by
    start over all groups. Two plans are equal when their hashes are.
    Raises PlanError when the arrays contradict one another."""

    # ---- sessions, by start ----
    #: Planned start relative to the start of the run, non-decreasing.
    session_start_us: Int64s
    #: Index of the session's first request.
    session_first: Int64s
    #: How many requests it has, at least one.
    session_requests: npt.NDArray[np.int32]
    #: Index into `groups`.
    session_group: npt.NDArray[np.int16]
    #: Closed workloads: the session repeats its list of requests until the duration is over; then
    #: its first request, too, follows `think_us` after the response before it.
    session_cycle: npt.NDArray[np.bool_]

    # ---- requests ----
    #: Absolute planned time, or -1: `think_us` after the previous response of the session ended.
    #: A session's first is always absolute and equal to session_start_us. A planned time that
    #: passes while the previous response is still awaited means "at once when it ends"; latency
    #: counts from the planned time all the same.
    planned_us: Int64s
    #: See planned_us. The first request's counts only when a cycle comes round again.
    think_us: Int64s
    #: Index into `classes`.
    klass: npt.NDArray[np.int16]
    cpu_us: Int64s
    wait_us: Int64s
    #: Size of the request's body.
    request_bytes: Int64s
    #: Size of the response's body.
    response_bytes: Int64s

    classes: tuple[str, ...]
    #: The kinds of clients; at least one group is measured.
    groups: tuple[Group, ...]
    #: The kind of the first measured group's arrivals: "poisson", "constant" ...
    arrivals: str
    #: Nothing is started at or after it.
    duration_us: int
    #: Requests planned in [warmup_us, duration_us) count in the summary.
    warmup_us: int
    seed: int
    #: The scenario's name.
    scenario: str
    #: Those of the classes whose requests are for static files.
    static_classes: tuple[str, ...] = ()
    #: And those whose requests crash whoever serves them.
    crash_classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, dtype in _COLUMNS.items():
            object.__setattr__(self, name, _frozen(name, getattr(self, name), dtype))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "groups", tuple(self.groups))
        object.__setattr__(self, "static_classes", tuple(self.static_classes))
        object.__setattr__(self, "crash_classes", tuple(self.crash_classes))
        for complaint in _complaints(self):
            raise PlanError(f"plan of {self.scenario!r}: {complaint}")

    def __eq__(self, other: object) -> bool:
        return self.hash == other.hash if isinstance(other, Plan) else NotImplemented

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    @property
    def sessions(self) -> int:
        """How many sessions."""
        return len(self.session_start_us)

    @property
    def requests(self) -> int:
        """How many requests are listed (a cycle sends each of them as often as it comes round)."""
        return len(self.planned_us)

    @property
    def cycle(self) -> bool:
        """Whether any session cycles: then `requests` is what is listed, not what is sent."""
        return bool(self.session_cycle.any())

    def measured_sessions(self) -> npt.NDArray[np.bool_]:
        """For each session whether its group is measured."""
        measured = np.array([group.measured for group in self.groups])
        return np.asarray(measured[self.session_group])

    def request_measured(self) -> npt.NDArray[np.bool_]:
        """For each request whether its session's group is measured."""
        return np.repeat(self.measured_sessions(), self.session_requests)

    def request_static(self) -> npt.NDArray[np.bool_]:
        """For each request whether it is for a static file."""
        static = np.array([name in self.static_classes for name in self.classes])
        return np.asarray(static[self.klass])

    def request_crash(self) -> npt.NDArray[np.bool_]:
        """For each request whether it crashes whoever serves it."""
        crash = np.array([name in self.crash_classes for name in self.classes])
        return np.asarray(crash[self.klass])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the canonical bytes (little-endian arrays and metadata), 64 hex digits."""
        digest = hashlib.sha256(FORMAT.encode())
        digest.update(self._metadata().encode())
        for name, dtype in _COLUMNS.items():
            column = getattr(self, name)
            digest.update(f"{name}:{dtype}:{len(column)};".encode())
            digest.update(column.astype(dtype).tobytes())
        return digest.hexdigest()

    def earliest_us(self) -> Int64s:
        """When each request would be sent if every response took no time: planned times, and think
        times added up. The first round only, where a session cycles."""
        absolute = self.planned_us >= 0
        thought = np.cumsum(np.where(absolute, 0, self.think_us))
        anchor = np.maximum.accumulate(np.where(absolute, np.arange(self.requests), 0))
        return np.asarray(self.planned_us[anchor] + thought - thought[anchor], dtype=np.int64)

    @property
    def offered_rate(self) -> float | None:
        """Requests per second of the measured groups between warm-up and end, by `earliest_us`:
        exact where every time is absolute, and what an infinitely fast server would see where
        clients think. None if a measured group is closed: there the server sets the rate."""
        if np.any(self.session_cycle & self.measured_sessions()):
            return None
        at = self.earliest_us()[self.request_measured()]
        counted = int(np.count_nonzero((at >= self.warmup_us) & (at < self.duration_us)))
        return counted / ((self.duration_us - self.warmup_us) / 1e6)

    def describe(self) -> str:
        """One paragraph for people: size, rate, mean demands, identity."""
        rate = self.offered_rate
        offered = "closed loop" if rate is None else f"{rate:.1f} requests/s offered"
        return (
            f"{self.scenario}: {self.requests} requests{' listed' if self.cycle else ''} in "
            f"{self.sessions} sessions ({self._clients()}) over {self.duration_us / 1e6:g} s, of "
            f"which {self.warmup_us / 1e6:g} s warm-up; {offered}; on average "
            f"{np.mean(self.cpu_us) / 1e3:.2f} ms CPU, {np.mean(self.wait_us) / 1e3:.2f} ms wait, "
            f"{np.mean(self.request_bytes):.0f} B up, {np.mean(self.response_bytes):.0f} B down; "
            f"classes {', '.join(self.classes)}; seed {self.seed}, plan {self.hash[:12]}."
        )

    def _clients(self) -> str:
        if len(self.groups) == 1:
            return self.groups[0].client.describe()
        counts = np.bincount(self.session_group, minlength=len(self.groups))
        return "; ".join(
            f"{count} of {group.name}{'' if group.measured else ', not measured'}: "
            f"{group.client.describe()}"
            for count, group in zip(counts, self.groups, strict=True)
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .npz file, atomically: a reader sees the old file or the whole new one."""
        target = Path(path)
        scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
        columns: dict[str, Any] = {name: getattr(self, name) for name in _COLUMNS}
        header = json.dumps({"format": FORMAT, "hash": self.hash})
        try:
            with scratch.open("wb") as out:
                np.savez_compressed(
                    out, header=np.array(header), metadata=np.array(self._metadata()), **columns
                )
                out.flush()
                os.fsync(out.fileno())
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Plan:
        """Read what `save` wrote. Raises PlanError if the file is damaged or of another format, and
        OSError if it cannot be opened."""
        try:
            # Opened here: np.load leaves a file open that turns out to be no archive.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                header = json.loads(str(stored["header"][()]))
                if header["format"] != FORMAT:
                    raise PlanError(f"{path}: format {header['format']!r}; this reads {FORMAT!r}")
                metadata = json.loads(str(stored["metadata"][()]))
                columns = {name: stored[name] for name in _COLUMNS}
            groups = tuple(Group.from_dict(group) for group in metadata["groups"])
            plan = Plan(
                **columns, groups=groups, **{name: metadata[name] for name in _METADATA},
                static_classes=tuple(metadata.get("static_classes", ())),
                crash_classes=tuple(metadata.get("crash_classes", ())),
            )  # fmt: skip
        except PlanError:
            raise
        except _DAMAGE as error:
            raise PlanError(f"{path}: not a plan file: {error}") from error
        if plan.hash != header["hash"]:
            raise PlanError(f"{path}: damaged: the hash of its contents is not the one it states")
        return plan

    def _metadata(self) -> str:
        facts: dict[str, Any] = {name: getattr(self, name) for name in _METADATA}
        facts["groups"] = [group.as_dict() for group in self.groups]
        if self.static_classes:  # plans without any keep the hash that they had before there were
            facts["static_classes"] = list(self.static_classes)
        if self.crash_classes:
            facts["crash_classes"] = list(self.crash_classes)
        return json.dumps(facts, sort_keys=True)


def _frozen(name: str, values: Any, dtype: str) -> npt.NDArray[Any]:
    """A read-only copy of exactly this type; whole numbers only, and none that does not fit."""
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in ("b" if dtype == "|b1" else "iu"):
        raise PlanError(f"{name} must be one row of {dtype}, not {given.ndim}-D {given.dtype}")
    column = given.astype(np.dtype(dtype).newbyteorder("="))
    if not np.array_equal(column, given):
        raise PlanError(f"{name} holds values that do not fit {dtype}")
    column.flags.writeable = False
    return column


def _complaints(plan: Plan) -> Iterator[str]:
    """What is wrong with the arrays, the first first: later tests rest on the earlier ones."""
    for columns in (_SESSION_COLUMNS, _REQUEST_COLUMNS):
        if len({len(getattr(plan, name)) for name in columns}) != 1:
            yield f"{', '.join(columns)} must be equally long"
    if not 0 <= plan.warmup_us < plan.duration_us:
        yield f"warm-up of {plan.warmup_us} us must be below the duration of {plan.duration_us} us"
    if not plan.sessions:
        yield "there is not one request"
    counts = plan.session_requests.astype(np.int64)
    if counts.min() < 1 or counts.sum() != plan.requests:
        yield "session_requests must be at least 1 each and add up to the number of requests"
    if not np.array_equal(plan.session_first, np.cumsum(counts) - counts):
        yield "session_first must be the running sum of session_requests"
    if plan.session_start_us[0] < 0 or np.any(np.diff(plan.session_start_us) < 0):
        yield "session_start_us must not be negative and must not decrease"
    if not np.array_equal(plan.planned_us[plan.session_first], plan.session_start_us):
        yield "the first request of each session must be planned at the session's start"
    if plan.planned_us.min() < -1 or plan.planned_us.max() >= plan.duration_us:
        yield "planned_us must be -1, or from 0 to below the duration"
    for name in ("think_us", "klass", "cpu_us", "wait_us", "request_bytes", "response_bytes"):
        if getattr(plan, name).min() < 0:
            yield f"{name} must not be negative"
    if plan.klass.max() >= len(plan.classes):
        yield f"klass names class {plan.klass.max()}, but there are {len(plan.classes)}"
    yield from _group_complaints(plan)
    if not set(plan.static_classes) <= set(plan.classes):
        yield f"static_classes names {plan.static_classes}, of which some are no classes"
    if not set(plan.crash_classes) <= set(plan.classes):
        yield f"crash_classes names {plan.crash_classes}, of which some are no classes"
    static = plan.request_static()
    if np.any((plan.cpu_us + plan.wait_us + plan.request_bytes)[static]):
        yield "a request for a static file has no CPU, no wait and no body"
    owner = np.repeat(np.arange(plan.sessions), counts)
    absolute = plan.planned_us >= 0
    cycling = plan.session_cycle[owner]
    if np.count_nonzero(absolute & cycling) != np.count_nonzero(plan.session_cycle):
        yield "in a cycle only the first request of a session has an absolute time"
    same = np.diff(owner[absolute]) == 0
    if np.any(np.diff(plan.planned_us[absolute])[same] < 0):
        yield "the absolute times of a session must not decrease"


def _group_complaints(plan: Plan) -> Iterator[str]:
    if not any(group.measured for group in plan.groups):
        yield "no group is measured"
    if len({group.name for group in plan.groups}) != len(plan.groups):
        yield "two groups have one name"
    if plan.session_group.min() < 0 or plan.session_group.max() >= len(plan.groups):
        yield f"session_group must be from 0 to {len(plan.groups) - 1}"
