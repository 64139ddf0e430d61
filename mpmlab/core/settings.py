"""The effective settings of one MPM, and the log lines that finding them produced.

Values only: parsing lives in directives.py, clamping in clamping.py. A Settings is what the server
runs with *after* httpd's rules were applied, not what the user wrote (that is kept in `given`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final

#: httpd keeps most values in a C int.
INT_MAX: Final = 2**31 - 1
#: Those that Apache httpd has on Unix, and those of other systems.
UNIX_MPMS: Final = ("prefork", "worker", "event")
NATIVE_MPMS: Final = ("winnt", "netware", "os2", "beos")
#: The MPMs whose settings this package knows.
MPMS: Final = (*UNIX_MPMS, *NATIVE_MPMS)

#: Fields that only some MPMs have a directive for (the command table in its .c file).
ONLY_OF: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "start_servers": (*UNIX_MPMS, "os2"),
        "start_threads": ("netware", "beos"),
        "min_spare_servers": ("prefork",),
        "max_spare_servers": ("prefork",),
        "min_spare_threads": ("worker", "event", "netware", "os2", "beos"),
        "max_spare_threads": ("worker", "event", "netware", "os2", "beos"),
        "threads_per_child": ("worker", "event", "winnt"),
        "thread_limit": ("worker", "event", "winnt"),
        "max_threads": ("netware",),
        "server_limit": UNIX_MPMS,
        "max_request_workers": (*UNIX_MPMS, "beos"),
        "max_connections_per_child": (*UNIX_MPMS, "winnt", "netware", "os2"),
        "max_requests_per_thread": ("beos",),
        "graceful_shutdown_timeout_s": UNIX_MPMS,
        "async_request_worker_factor": ("event",),
        "quirks": ("netware", "os2", "beos"),
    }
)

#: Fields that no directive sets.
_DERIVED: Final = ("mpm", "daemons_limit", "async_factor_floor", "buckets", "given", "messages")


@dataclass(frozen=True, slots=True)
class Message:
    """A line of the error log: `level` as LogLevel spells it, `ident` ("AH00161", or "" where the
    reference states none), and our wording of the text."""

    level: str
    ident: str
    text: str


@dataclass(frozen=True)
class Settings:
    """What one MPM runs with. A field without meaning for the MPM is 0, except for what says how
    large it can become, in any MPM: at most `daemons_limit` processes of `threads_per_child`
    workers each, on a scoreboard of `server_limit` rows of `thread_limit` cells. A prefork child
    counts as one thread; netware's threads are MaxThreads, beos's MaxRequestWorkers, and os2's
    processes have 256 each.

    Made by `mpmlab.core.directives.effective`; the constructor checks nothing."""

    mpm: str
    start_servers: int
    min_spare_servers: int
    max_spare_servers: int
    min_spare_threads: int
    max_spare_threads: int
    threads_per_child: int
    thread_limit: int
    server_limit: int
    #: As stored. In worker and event it may exceed server_limit * threads_per_child: httpd then
    #: caps daemons_limit and leaves this value alone, although its warning says otherwise.
    max_request_workers: int
    #: The most processes wanted at a time (prefork.c and worker.c ap_daemons_limit, event.c
    #: active_daemons_limit). For prefork it is max_request_workers.
    daemons_limit: int
    max_connections_per_child: int  # 0: for ever
    async_request_worker_factor: float
    #: What the factor acts as: httpd keeps it in sixteenths and divides by sixteen as integers.
    async_factor_floor: int
    graceful_shutdown_timeout_s: int  # 0: for ever
    listen_backlog: int
    send_buffer_size: int  # bytes, as SO_SNDBUF; 0: the system's
    timeout_s: int
    keep_alive: bool
    keep_alive_timeout_s: float
    max_keep_alive_requests: int  # 0: no limit
    limit_request_line: int  # bytes
    limit_request_field_size: int  # bytes
    limit_request_fields: int  # 0: no limit
    limit_request_body: int  # bytes; 0: no limit
    flush_max_threshold: int  # bytes
    thread_stack_size: int  # bytes; 0: the system's default
    start_threads: int = 0
    max_threads: int = 0
    max_requests_per_thread: int = 0  # 0: for ever
    quirks: bool = True
    buckets: int = 1
    given: tuple[tuple[str, str], ...] = ()
    messages: tuple[Message, ...] = ()

    @property
    def workers_limit(self) -> int:
        """The most connections that are served at a time by a worker each."""
        return self.daemons_limit * self.threads_per_child

    @property
    def first_workers(self) -> int:
        """How many workers there are once the server has started, before any load."""
        if self.mpm in ("netware", "beos"):
            return self.start_threads
        threads = self.threads_per_child
        if self.mpm == "os2":
            threads = min(threads, self.min_spare_threads)
        return self.start_servers * threads

    def as_directives(self) -> dict[str, int | float | str | bool]:
        """The effective value of each directive that the MPM has, by httpd's name.

        A KeepAliveTimeout that is not whole seconds is written as httpd reads it ("500ms")."""
        written: dict[str, int | float | str | bool] = {}
        for field in fields(self):
            name = field.name
            if name in _DERIVED or self.mpm not in ONLY_OF.get(name, MPMS):
                continue
            value = getattr(self, name)
            if name == "keep_alive_timeout_s":
                milliseconds = round(value * 1000)
                whole = milliseconds % 1000 == 0
                value = milliseconds // 1000 if whole else f"{milliseconds}ms"
            written[directive_name(name)] = value
        return written


def directive_name(field: str) -> str:
    """httpd's name of the directive that sets a field: "start_servers" -> "StartServers"."""
    return "".join(word.capitalize() for word in field.removesuffix("_s").split("_"))
