"""[client] as it is written in a scenario: the fields of ClientKind by their names.

Reading and range checks only; what the fields mean is clients.py.
"""

from __future__ import annotations

from typing import Any, Final

from mpmlab.workload.arrivals import ClosedArrivals, OpenArrivals
from mpmlab.workload.arrivals_table import Arrivals
from mpmlab.workload.clients import ClientKind
from mpmlab.workload.limits import MAX_DURATION_S
from mpmlab.workload.toml_table import Table

#: Ports of one address pair.
MAX_POOL: Final = 60_000
MAX_REQUESTS_PER_CONNECTION: Final = 1_000_000
MAX_BYTES: Final = 1 << 30
#: A link of 100 Gbit/s is 1.25e10.
MAX_BYTES_PER_S: Final = 1e11
#: Light takes half a second to a geostationary satellite and back, twice.
MAX_RTT_S: Final = 10.0

_COUNTS: Final = {
    "pool": MAX_POOL,
    "requests_per_connection": MAX_REQUESTS_PER_CONNECTION,
    "send_bytes": MAX_BYTES,
    "receive_buffer_bytes": MAX_BYTES,
}
_NUMBERS: Final = {
    "connection_s": MAX_DURATION_S,
    "send_interval_s": MAX_DURATION_S,
    "read_bytes_per_s": MAX_BYTES_PER_S,
    "stall_s": MAX_DURATION_S,
    "abandon_s": MAX_DURATION_S,
    "hold_s": MAX_DURATION_S,
    "rtt_s": MAX_RTT_S,
    "down_bytes_per_s": MAX_BYTES_PER_S,
    "up_bytes_per_s": MAX_BYTES_PER_S,
}
_KEYS: Final = ("keep_alive", "stall_after_bytes", *_COUNTS, *_NUMBERS)
#: What makes no sense without a connection that is kept.
_OF_KEEP_ALIVE: Final = ("pool", "requests_per_connection", "connection_s", "hold_s")


def read_client(arrivals_table: Table, arrivals: Arrivals, table: Table) -> ClientKind:
    """The clients of a group, from its [client] (empty if it is not there) and the `keep_alive` of
    its [arrivals]. By default single requests have a connection each, and sessions one for all of
    theirs. Raises ScenarioError."""
    table.only(sorted(_KEYS))
    usual = not isinstance(arrivals, OpenArrivals)
    if table.has("keep_alive") and arrivals_table.has("keep_alive"):
        raise table.wrong("keep_alive", "is in [arrivals] too; accepted: in one of them")
    teller = table if table.has("keep_alive") else arrivals_table
    fields: dict[str, Any] = {"keep_alive": teller.boolean("keep_alive", default=usual)}
    if table.has("stall_after_bytes"):
        fields["stall_after_bytes"] = table.integer("stall_after_bytes", 0, MAX_BYTES)
    fields |= {key: table.integer(key, 0, most, default=0) for key, most in _COUNTS.items()}
    fields |= {key: table.number(key, 0, most, default=0) for key, most in _NUMBERS.items()}
    kind = ClientKind(**fields)
    _check(table, kind, isinstance(arrivals, ClosedArrivals))
    return kind


def _check(table: Table, kind: ClientKind, closed: bool) -> None:
    """What does not go together."""
    for key in _OF_KEEP_ALIVE:
        if getattr(kind, key) and not kind.keep_alive:
            raise table.wrong(key, "needs keep_alive = true")
    if bool(kind.send_bytes) != bool(kind.send_interval_s):
        given, lacking = ("send_bytes", "send_interval_s")[:: 1 if kind.send_bytes else -1]
        raise table.wrong(given, f"needs {lacking} above 0 beside it")
    if kind.stall_s and kind.stall_after_bytes < 0:
        raise table.wrong("stall_s", "needs stall_after_bytes beside it (0: nothing is sent)")
    if kind.stall_after_bytes >= 0 and not kind.stall_s:
        raise table.wrong("stall_after_bytes", "needs stall_s above 0 beside it")
    if kind.hold_s and kind.pool:
        raise table.wrong("hold_s", "not accepted beside pool, which keeps its connections anyway")
    for key in ("hold_s", "pool"):
        if closed and getattr(kind, key):
            raise table.wrong(key, "not accepted in closed arrivals, whose sessions never end")
