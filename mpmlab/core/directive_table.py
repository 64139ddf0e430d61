"""Every directive that is known here, with its default for each MPM.

A table: reading values is directive_kinds.py's, what they come to together directives.py's.
Defaults are those of httpd 2.4's code (not of its sample configuration); of beos, which 2.4 has no
more, those of 2.2. Sources: the command tables and mpm_default.h of server/mpm/*, server/core.c,
modules/http/http_core.c, include/ap_listen.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mpmlab.core.directive_kinds import FACTOR_MAX, INT_MIN, Directive, Value
from mpmlab.core.settings import INT_MAX, MPMS, ONLY_OF, UNIX_MPMS, directive_name


def _directive(
    field: str,
    doc: str,
    default: Value | Mapping[str, Value],
    kind: str = "int",
    low: int = INT_MIN,
    high: int = INT_MAX,
) -> Directive:
    if not isinstance(default, Mapping):
        default = dict.fromkeys(ONLY_OF.get(field, MPMS), default)
    return Directive(
        directive_name(field), field, kind, MappingProxyType(dict(default)), doc, low, high
    )


# The constants that httpd multiplies (3 * 25, 10 * 25, 16 * 25) are multiplied by the default
# ThreadsPerChild, not by the configured one.
_POOL: Final = (
    _directive(
        "start_servers",
        "child processes created at start (os2: at all times)",
        {"prefork": 5, "worker": 3, "event": 3, "os2": 2},
    ),
    _directive("start_threads", "worker threads created at start", {"netware": 50, "beos": 10}),
    _directive("min_spare_servers", "least idle child processes", 5),
    _directive("max_spare_servers", "most idle child processes", 10),
    _directive(
        "min_spare_threads",
        "least idle threads, over all processes (os2: of each process)",
        {"worker": 75, "event": 75, "netware": 10, "os2": 5, "beos": 1},
    ),
    _directive(
        "max_spare_threads",
        "most idle threads, over all processes (os2: of each process)",
        {"worker": 250, "event": 250, "netware": 100, "os2": 10, "beos": 50},
    ),
    _directive(
        "threads_per_child",
        "worker threads of each child process",
        {"worker": 25, "event": 25, "winnt": 64},
    ),
    _directive(
        "thread_limit",
        "upper limit of ThreadsPerChild",
        {"worker": 64, "event": 64, "winnt": 1920},
    ),
    _directive("max_threads", "most worker threads", 2048),
    _directive(
        "server_limit",
        "upper limit of the number of processes",
        {"prefork": 256, "worker": 16, "event": 16},
    ),
    _directive(
        "max_request_workers",
        "most simultaneous requests",
        {"prefork": 256, "worker": 400, "event": 400, "beos": 50},
    ),
    _directive(
        "max_connections_per_child",
        "connections until a child (netware: a thread) ends; 0: for ever",
        0,
        low=0,
    ),
    _directive("max_requests_per_thread", "connections until a thread ends; 0: for ever", 0),
    _directive(
        "async_request_worker_factor",
        "connections beyond its threads that a process takes, per idle worker",
        2.0,
        "factor",
        0,
        FACTOR_MAX,
    ),
    _directive(
        "thread_stack_size",
        "bytes of a thread's stack; 0: the system's default",
        {mpm: 65_536 if mpm == "netware" else 0 for mpm in MPMS},
        low=0,
    ),
    _directive(
        "graceful_shutdown_timeout_s", "longest graceful stop in seconds; 0: for ever", 0, low=0
    ),
)

#: Not httpd's: whether an MPM does what its source does by mistake, as its text here says where.
_QUIRKS: Final = _directive("quirks", "the MPM's known mistakes are kept", True, "flag", 0)

_CONNECTION: Final = (
    _directive("listen_backlog", "connections that wait to be accepted, at most", 511, low=1),
    _directive(
        "send_buffer_size", "bytes of a connection's send buffer; 0: the system's", 0, "buffer", 0
    ),
    _directive("timeout_s", "seconds that a read or write may wait", 60, low=1),
    _directive("keep_alive", "more than one request per connection", True, "flag", 0),
    _directive("keep_alive_timeout_s", "longest wait for the next request", 5.0, "timeout", 0),
    _directive("max_keep_alive_requests", "requests per connection; 0: no limit", 100, low=0),
    _directive("limit_request_line", "bytes of the request line, at most", 8190, low=0),
    _directive("limit_request_field_size", "bytes of one header field, at most", 8190, low=0),
    _directive("limit_request_fields", "header fields, at most; 0: no limit", 100, low=0),
    _directive(
        "limit_request_body",
        "bytes of a request body, at most; 0: no limit",
        1 << 30,
        low=0,
        high=2**63 - 1,
    ),
    _directive(
        "flush_max_threshold",
        "bytes of pending output in memory above which a worker waits",
        65_535,
        low=0,
        high=2**32 - 1,
    ),
)

#: Every directive, in the order of the documentation here.
DIRECTIVES: Final[tuple[Directive, ...]] = (*_POOL, *_CONNECTION, _QUIRKS)

#: Versions of httpd whose defaults are known; beos's are of the older one in both.
OLDER: Final = "2.2"
CURRENT: Final = "2.4"
VERSIONS: Final = (OLDER, CURRENT)

#: What 2.2 has otherwise: by field, for all MPMs or by MPM.
_OLDER: Final[Mapping[str, Value | Mapping[str, Value]]] = MappingProxyType(
    {
        "timeout_s": 300,
        "limit_request_body": 0,
        "max_connections_per_child": dict.fromkeys((*UNIX_MPMS, "os2"), 10_000),
    }
)
#: What 2.2 does not have.
_NEWER: Final = ("async_request_worker_factor", "flush_max_threshold")
#: What 2.2 calls otherwise.
OLDER_NAMES: Final = MappingProxyType(
    {"MaxRequestWorkers": "MaxClients", "MaxConnectionsPerChild": "MaxRequestsPerChild"}
)


def default_in(directive: Directive, mpm: str, version: str) -> Value | None:
    """The default of a directive that the MPM accepts; None: that version does not have it."""
    if version == CURRENT:
        return directive.default[mpm]
    if directive.field in _NEWER:
        return None
    older = _OLDER.get(directive.field, directive.default)
    if isinstance(older, Mapping):
        return older.get(mpm, directive.default[mpm])
    return older


def older_defaults(mpm: str, version: str) -> tuple[tuple[str, str], ...]:
    """The directives that make a server of today one with that version's defaults."""
    return tuple(
        (directive.name, str(value))
        for directive in DIRECTIVES
        if mpm in directive.mpms
        and (value := default_in(directive, mpm, version)) not in (None, directive.default[mpm])
    )
