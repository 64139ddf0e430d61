"""[arrivals] as it is written in a scenario: kind = "poisson", "closed", "har" ... and its keys.

Reading and range checks only. What the kinds mean: processes.py (single requests that come by
themselves), arrivals.py (sessions, closed), replay.py (accesslog), har_replay.py (har).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mpmlab.workload.accesslog import parse_time
from mpmlab.workload.arrivals import ClosedArrivals, OpenArrivals, SessionArrivals
from mpmlab.workload.dist_table import read_distribution
from mpmlab.workload.har_replay import HarArrivals
from mpmlab.workload.limits import MAX_DURATION_S, MAX_SPEEDUP
from mpmlab.workload.process_table import PROCESSES, read_process, read_rate
from mpmlab.workload.processes import PoissonProcess
from mpmlab.workload.replay import LogArrivals
from mpmlab.workload.toml_table import Table

MAX_USERS: Final = 1_000_000
MAX_LISTED: Final = 1_000_000
MAX_THINK_S: Final = 86_400
#: A browser's habit of 1995 to today: connections idle for 15 s are given up (httpd's
#: KeepAliveTimeout had this default up to 2.0).
DEFAULT_SESSION_GAP_S: Final = 15

Arrivals = OpenArrivals | ClosedArrivals | SessionArrivals | LogArrivals | HarArrivals


def read_arrivals(table: Table) -> Arrivals:
    """Validate [arrivals]. Raises ScenarioError. By `kind`:

    poisson, constant, renewal, mmpp, piecewise: single requests that come by themselves
    (process_table.py).
    sessions: rate_per_s, or starts = { kind = ... } as above; requests_per_session, think_s.
    closed: users, requests_listed, think_s, ramp_s.
    accesslog: file, speedup, from, to, session_gap_s.
    har: file, speedup, host (a pattern), recorded_wait (true: the server waits as in the file).

    Each may have `keep_alive`, which is the client's (client_table.py)."""
    return _ARRIVALS[table.choice("kind", _ARRIVALS)](table)


def _open(table: Table) -> OpenArrivals:
    return OpenArrivals(read_process(table, ("keep_alive",)))


def _sessions(table: Table) -> SessionArrivals:
    """`rate_per_s` for a Poisson stream of sessions, or `starts` for any other process."""
    own = ("requests_per_session", "think_s", "keep_alive")
    if table.has("starts"):
        if table.has("rate_per_s"):
            raise table.wrong("rate_per_s", "not accepted beside starts, which says the rate")
        table.only(("kind", "starts", *own))
        starts = read_process(table.table("starts"))
    else:
        table.only(("kind", "rate_per_s", "starts", *own))
        starts = PoissonProcess(read_rate(table))
    return SessionArrivals(
        starts=starts,
        requests_per_session=read_distribution(table, "requests_per_session", 1, MAX_LISTED),
        think_s=read_distribution(table, "think_s", 0, MAX_THINK_S, default=0),
    )


def _closed(table: Table) -> ClosedArrivals:
    table.only(("kind", "users", "requests_listed", "think_s", "ramp_s", "keep_alive"))
    return ClosedArrivals(
        users=table.integer("users", 1, MAX_USERS),
        requests_listed=table.integer("requests_listed", 1, MAX_LISTED, default=200),
        think_s=read_distribution(table, "think_s", 0, MAX_THINK_S, default=0),
        ramp_s=table.number("ramp_s", 0, MAX_DURATION_S, default=0),
    )


def _log(table: Table) -> LogArrivals:
    table.only(("kind", "file", "speedup", "from", "to", "session_gap_s", "keep_alive"))
    return LogArrivals(
        file=_file(table, "an access log, plain or .gz"),
        speedup=table.number("speedup", 0, MAX_SPEEDUP, above=True, default=1),
        start=_read_instant(table, "from"),
        end=_read_instant(table, "to"),
        session_gap_s=table.number(
            "session_gap_s", 0, MAX_DURATION_S, default=DEFAULT_SESSION_GAP_S
        ),
    )


def _har(table: Table) -> HarArrivals:
    table.only(("kind", "file", "speedup", "host", "recorded_wait", "keep_alive"))
    return HarArrivals(
        file=_file(table, "a HAR file, plain or .gz"),
        speedup=table.number("speedup", 0, MAX_SPEEDUP, above=True, default=1),
        host=read_pattern(table, "host") if table.has("host") else None,
        recorded_wait=table.boolean("recorded_wait", default=False),
    )


_ARRIVALS: Final[dict[str, Callable[[Table], Arrivals]]] = {
    **dict.fromkeys(PROCESSES, _open),
    "closed": _closed,
    "sessions": _sessions,
    "accesslog": _log,
    "har": _har,
}


def read_pattern(table: Table, key: str) -> re.Pattern[str]:
    """A regular expression that must be there."""
    try:
        return re.compile(table.text(key))
    except re.error as error:
        raise table.wrong(key, f"{error}; accepted: a Python regular expression") from error


def _file(table: Table, accepted: str) -> Path:
    """A file that must be there, found beside the scenario."""
    file = table.file.parent / table.text("file")
    if not file.is_file():
        raise table.wrong("file", f"there is no file {file}; accepted: {accepted}")
    return file


def _read_instant(table: Table, key: str) -> float | datetime | None:
    """An offset in seconds, or a time as the log writes it, or in ISO 8601."""
    value: Any = table.value(key, "", None)
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, str):
        readers: tuple[Callable[[str], float | datetime], ...] = (
            float,
            datetime.fromisoformat,
            lambda text: datetime.fromtimestamp(parse_time(text)[0], UTC),
        )
        for reader in readers:
            try:
                value = reader(value)
            except (ValueError, IndexError, KeyError):
                continue
            break
    if isinstance(value, datetime):
        return value
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value < float("inf"):
        raise table.wrong(
            key,
            f"is {value!r}; accepted: seconds after the log's first request, "
            f'"01/Jul/1995:00:00:01 -0400", "1995-07-01T00:00:01-04:00"',
        )
    return float(value)
