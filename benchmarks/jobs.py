"""What our client is told to do in a benchmark, and the doing: plans made of plain arrays, and load
processes that carry them out against a port.

No numbers are made of the records here, and no other program is started.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.common import cpu_us
from benchmarks.slices import Conditions, Watch
from mpmlab.bench.load_team import LoadTeam
from mpmlab.core.demand import Demand, target_of
from mpmlab.load.recorder import Records
from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.plan import Plan

LOOPBACK: Final = "127.0.0.1"
#: How long a request may take.
TIMEOUT_S: Final = 10.0
#: How long load processes may take to start, and to end after the plan's end.
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.005
#: Requests that a closed user lists; it goes round them.
_LISTED: Final = 64

Int64s = npt.NDArray[np.int64]


class Done(NamedTuple):
    """What a slice of ours left."""

    records: Records
    conditions: Conditions
    seconds: float
    #: CPU of the load processes from the plan's zero to its end; NaN if one was over before.
    cpu_s: float

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """For each row whether it is a good answer that came before the plan's end."""
        return np.asarray((self.records.error == 0) & (self.records.last_byte_s < self.seconds))

    @property
    def lost(self) -> int:
        """Requests that ended otherwise than with a good answer."""
        return int(np.count_nonzero(self.records.error))

    def fact(self, name: str) -> float:
        """One of the load process's own, such as client_busy."""
        return float(self.records.metadata[name])


def constant_us(rate_per_s: float, seconds: float) -> Int64s:
    """Evenly spaced times."""
    times = np.arange(int(rate_per_s * seconds)) * (1e6 / rate_per_s)
    return np.asarray(np.rint(times), dtype=np.int64)


def poisson_us(rate_per_s: float, seconds: float, seed: int) -> Int64s:
    """The same rate without memory."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(1e6 / rate_per_s, int(1.5 * rate_per_s * seconds) + 100)
    times = np.rint(np.cumsum(gaps)).astype(np.int64)
    return np.asarray(times[times < seconds * 1e6])


def open_plan(
    times_us: Int64s, seconds: float, demand: Demand, pool: int, arrivals: str = "constant"
) -> Plan:
    """One request at each of these times (sorted), over a pool of so many keep-alive connections;
    pool 0: a new connection each."""
    count = len(times_us)
    return _plan(
        session_start_us=times_us,
        session_requests=np.ones(count, dtype=np.int64),
        cycle=False,
        planned_us=times_us,
        demand=demand,
        client=ClientKind(keep_alive=pool > 0, pool=pool),
        arrivals=arrivals,
        seconds=seconds,
    )


def closed_plan(users: int, seconds: float, demand: Demand) -> Plan:
    """So many users with a keep-alive connection each who never think."""
    planned_us = np.full(users * _LISTED, -1, dtype=np.int64)
    planned_us[::_LISTED] = 0
    return _plan(
        session_start_us=np.zeros(users, dtype=np.int64),
        session_requests=np.full(users, _LISTED, dtype=np.int64),
        cycle=True,
        planned_us=planned_us,
        demand=demand,
        client=ClientKind(),
        arrivals="closed",
        seconds=seconds,
    )


def _plan(
    session_start_us: Int64s,
    session_requests: Int64s,
    cycle: bool,
    planned_us: Int64s,
    demand: Demand,
    client: ClientKind,
    arrivals: str,
    seconds: float,
) -> Plan:
    nothing = np.zeros(len(planned_us), dtype=np.int64)
    sessions = len(session_start_us)
    columns: dict[str, Any] = {
        "cpu_us": nothing + int(demand.cpu_us),
        "wait_us": nothing + int(demand.wait_us),
        "request_bytes": nothing,
        "response_bytes": nothing + demand.response_bytes,
    }
    return Plan(
        session_start_us=session_start_us,
        session_first=np.cumsum(session_requests) - session_requests,
        session_requests=session_requests.astype(np.int32),
        session_group=np.zeros(sessions, dtype=np.int16),
        session_cycle=np.full(sessions, cycle),
        planned_us=planned_us,
        think_us=nothing,
        klass=nothing.astype(np.int16),
        **columns,
        classes=("page",),
        groups=(Group("main", True, client),),
        arrivals=arrivals,
        duration_us=round(seconds * 1e6),
        warmup_us=0,
        seed=1,
        scenario="benchmark",
    )


def url(port: int, demand: Demand) -> str:
    """What other programs are to ask for, so that they ask for the same."""
    return f"http://{LOOPBACK}:{port}{target_of(demand)}"


def carry_out(plan: Plan, port: int, watch: Watch, clients: int = 1) -> Done:
    """Let that many load processes carry out the plan on the watched clients' cores."""
    seconds = plan.duration_us / 1e6
    with tempfile.TemporaryDirectory(prefix="mpmlab-load.") as folder:
        plan_path = Path(folder, "plan.npz")
        plan.save(plan_path)
        with LoadTeam(
            plan_path, LOOPBACK, port, Path(folder, "records.npz"),
            count=clients, timeout_s=TIMEOUT_S, cores=watch.client_cores,
        ) as team:  # fmt: skip
            deadline_s = time.monotonic() + _PATIENCE_S
            while not team.ready():
                if team.poll() is not None or time.monotonic() > deadline_s:
                    break  # what is wrong is said by wait()
                time.sleep(_LOOK_S)
            watch.begin(team.pids)
            cpu_s = _cpu_s(team.pids, team.begin(plan.requests), seconds)
            team.wait(seconds + TIMEOUT_S + _PATIENCE_S)
            conditions = watch.end()
            records = team.collect()
    if records is None:
        raise RuntimeError("the load processes left no records")
    return Done(records, conditions, seconds, cpu_s)


def _cpu_s(pids: Iterable[int], start_s: float, seconds: float) -> float:
    """What they use in that time, which is waited for."""
    readings = []
    for at_s in (start_s, start_s + seconds):
        time.sleep(max(0.0, at_s - time.monotonic()))
        with suppress(OSError):  # of one that has ended nobody can tell
            readings.append(cpu_us(pids) / 1e6)
    return readings[1] - readings[0] if len(readings) == 2 else math.nan
