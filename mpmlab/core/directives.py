"""The directives that each MPM accepts, and how their text becomes Settings.

The table, the parsing of one value, and the errors of the user's input live here; what httpd does
with numbers that make no sense together is clamping.py. Names are case-insensitive, a later
directive overrides an earlier one, and defaults are those of httpd 2.4's code (not of its sample
configuration). Sources: the command tables of server/mpm/*/*.c, server/core.c,
modules/http/http_core.c, include/ap_listen.h.

Stricter than httpd in one point: httpd reads numbers with atoi(), to which "abc" is 0; here a value
that is not a number is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from mpmlab.core.clamping import PoolSizes, clamp
from mpmlab.core.settings import MPMS, ONLY_OF, Message, Settings, directive_name

#: httpd keeps most values in a C int.
_INT_MAX: Final = 2**31 - 1
_INT_MIN: Final = -(2**31)

#: AsyncRequestWorkerFactor is kept in sixteenths (event.c: WORKER_FACTOR_SCALE).
FACTOR_SCALE: Final = 16
_FACTOR_MAX: Final = _INT_MAX // FACTOR_SCALE

Value = int | float | bool


class DirectiveError(ValueError):
    """The user's directive is wrong. The text says where, which directive, and what is accepted."""


@dataclass(frozen=True)
class Directive:
    """One directive: which MPMs accept it, how its text is read, and what it is by default.

    `kind` is "int", "factor", "flag" or "timeout". Numbers outside low..high are errors;
    where httpd clamps, the range is that of a C int."""

    name: str
    field: str  # of Settings
    kind: str
    default: Mapping[str, Value]  # by MPM
    doc: str
    low: int = 0
    high: int = _INT_MAX

    @property
    def mpms(self) -> tuple[str, ...]:
        """The MPMs that accept it."""
        return ONLY_OF.get(self.field, MPMS)

    def accepted(self) -> str:
        """What a value may be, for an error message."""
        if self.kind == "flag":
            return "On, Off"
        if self.kind == "timeout":
            return "whole seconds as 5, or 500ms, 2s, 1min, 1h"
        if self.kind == "buffer":
            return f"0, or a whole number from {_LEAST_BUFFER} to {self.high}"
        if self.kind == "factor":
            return f"a number above 0, at most {_FACTOR_MAX}"
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, text: str) -> Value:
        """The value of the text. ValueError if it is not one of `accepted()`."""
        return _PARSERS[self.kind](text.strip(), self.low, self.high)


def _parse_int(text: str, low: int, high: int) -> int:
    # int() alone would take "1_000" and other alphabets' digits.
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not low <= int(text) <= high:
        raise ValueError(text)
    return int(text)


#: server/listen.c: ap_set_send_buffer_size refuses what is smaller.
_LEAST_BUFFER: Final = 512


def _parse_buffer(text: str, low: int, high: int) -> int:
    size = _parse_int(text, low, high)
    if 0 < size < _LEAST_BUFFER:
        raise ValueError(text)
    return size


def _parse_factor(text: str, _low: int, high: int) -> float:
    if not re.fullmatch(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text, re.IGNORECASE):
        raise ValueError(text)
    value = float(text)
    if not math.isfinite(value) or not 0 < value <= high:
        raise ValueError(text)
    return max(value, 1.0)  # event.c: set_worker_factor raises what is below 1, silently


def _parse_flag(text: str, _low: int, _high: int) -> bool:
    if text.lower() not in ("on", "off"):
        raise ValueError(text)
    return text.lower() == "on"


_UNIT_MS: Final = MappingProxyType(
    {"": 1000, "s": 1000, "ms": 1, "mi": 60_000, "min": 60_000, "h": 3_600_000}
)


def _parse_timeout(text: str, low: int, high: int) -> float:
    """server/util.c: ap_timeout_parameter_parse, in seconds when no unit is given."""
    found = re.fullmatch(r"\+?([0-9]{1,20})([a-z]*)", text)
    if not found or found[2] not in _UNIT_MS:
        raise ValueError(text)
    seconds = int(found[1]) * _UNIT_MS[found[2]] / 1000
    if not low <= seconds <= high:
        raise ValueError(text)
    return seconds


_PARSERS: Final = MappingProxyType(
    {
        "int": _parse_int,
        "buffer": _parse_buffer,
        "factor": _parse_factor,
        "flag": _parse_flag,
        "timeout": _parse_timeout,
    }
)


def _directive(
    field: str,
    doc: str,
    default: Value | Mapping[str, Value],
    kind: str = "int",
    low: int = _INT_MIN,
    high: int = _INT_MAX,
) -> Directive:
    if not isinstance(default, Mapping):
        default = dict.fromkeys(ONLY_OF.get(field, MPMS), default)
    return Directive(
        directive_name(field), field, kind, MappingProxyType(dict(default)), doc, low, high
    )


def _by_mpm(prefork: Value, threaded: Value) -> Mapping[str, Value]:
    return {"prefork": prefork, "worker": threaded, "event": threaded}


# The constants that httpd multiplies (3 * 25, 10 * 25, 16 * 25) are multiplied by the default
# ThreadsPerChild, not by the configured one.
_POOL: Final = (
    _directive("start_servers", "child processes created at start", _by_mpm(5, 3)),
    _directive("min_spare_servers", "least idle child processes", 5),
    _directive("max_spare_servers", "most idle child processes", 10),
    _directive("min_spare_threads", "least idle threads, over all processes", 75),
    _directive("max_spare_threads", "most idle threads, over all processes", 250),
    _directive("threads_per_child", "worker threads of each child process", 25),
    _directive("thread_limit", "upper limit of ThreadsPerChild", 64),
    _directive("server_limit", "upper limit of the number of processes", _by_mpm(256, 16)),
    _directive("max_request_workers", "most simultaneous requests", _by_mpm(256, 400)),
    _directive(
        "max_connections_per_child", "connections until a child ends; 0: for ever", 0, low=0
    ),
    _directive(
        "async_request_worker_factor",
        "connections beyond its threads that a process takes, per idle worker",
        2.0,
        "factor",
        0,
        _FACTOR_MAX,
    ),
    _directive("thread_stack_size", "bytes of a thread's stack; 0: the system's default", 0, low=0),
    _directive(
        "graceful_shutdown_timeout_s", "longest graceful stop in seconds; 0: for ever", 0, low=0
    ),
)

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
DIRECTIVES: Final[tuple[Directive, ...]] = _POOL + _CONNECTION

_BUCKETS_RATIO: Final = "ListenCoresBucketsRatio"
_BY_NAME: Final = {directive.name.lower(): directive for directive in DIRECTIVES}

#: Names of httpd 2.2, still accepted: what each is called now.
_DEPRECATED: Final = MappingProxyType(
    {"MaxClients": "MaxRequestWorkers", "MaxRequestsPerChild": "MaxConnectionsPerChild"}
)

#: Message number of the note on MaxClients.
_MAX_CLIENTS_IDENT: Final = MappingProxyType(
    {"prefork": "AH00188", "worker": "AH00324", "event": "AH00521"}
)

#: Directives of MPMs whose settings are not kept here.
_ELSEWHERE: Final = MappingProxyType(
    {"StartThreads": "netware, beos", "MaxThreads": "netware", "MaxRequestsPerThread": "beos"}
)

#: Directives that httpd accepts and that have nothing to act on here.
_NOT_MODELLED: Final = (
    "AcceptFilter",
    "CoreDumpDirectory",
    "EnableSendfile",
    "Group",
    "Listen",
    "MaxMemFree",
    "Mutex",
    "PidFile",
    "ReceiveBufferSize",
    "ScoreBoardFile",
    "User",
)


def accepted_by(mpm: str) -> tuple[Directive, ...]:
    """The directives that an MPM accepts, in the order of DIRECTIVES."""
    return tuple(directive for directive in DIRECTIVES if mpm in directive.mpms)


def effective(
    mpm: str,
    given: Iterable[tuple[str, str]] | Mapping[str, str] = (),
    where: str = "--set",
) -> Settings:
    """The settings that `mpm` runs with when configured with the `given` directives.

    `where` says in errors where they were given ("--set", "demo.toml:12"). Raises DirectiveError
    for an unknown MPM or directive, one of another MPM, or a value that cannot be read. Numbers
    that httpd would warn about are clamped, with the warning in `Settings.messages`."""
    if mpm not in MPMS:
        raise DirectiveError(f"{where}: unknown MPM {mpm!r}; known here: {', '.join(MPMS)}")
    values: dict[str, Value] = {
        directive.field: directive.default[mpm] for directive in accepted_by(mpm)
    }
    messages: list[Message] = []
    written: list[tuple[str, str]] = []
    for name, text in given.items() if isinstance(given, Mapping) else given:
        canonical, directive = _find(mpm, name, where)
        if canonical in _DEPRECATED:
            messages.append(_deprecation(mpm, canonical))
        written.append((canonical, text))
        if directive is None:
            _check_buckets(text, where)
            continue
        try:
            values[directive.field] = directive.parse(text)
        except ValueError:
            raise DirectiveError(
                f"{where}: {canonical} {text!r}: accepted: {directive.accepted()}"
            ) from None
    return _settings(mpm, values, messages, tuple(written))


def _find(mpm: str, name: str, where: str) -> tuple[str, Directive | None]:
    """The name in httpd's spelling and its directive (None: ListenCoresBucketsRatio)."""
    lower = name.strip().lower()
    if lower == _BUCKETS_RATIO.lower():
        return _BUCKETS_RATIO, None
    for old, new in _DEPRECATED.items():
        if lower == old.lower():
            return old, _BY_NAME[new.lower()]
    directive = _BY_NAME.get(lower)
    if directive is None or mpm not in directive.mpms:
        raise DirectiveError(f"{where}: Invalid command {name!r}: {_why_not(mpm, lower)}")
    return directive.name, directive


def _why_not(mpm: str, lower: str) -> str:
    """Why an MPM does not accept a name, and what it accepts."""
    names = [directive.name for directive in accepted_by(mpm)]
    accepts = f"{mpm} accepts: {', '.join(names)}"
    if lower in _BY_NAME:
        return f"belongs to {', '.join(_BY_NAME[lower].mpms)}; {accepts}"
    for name, mpms in _ELSEWHERE.items():
        if lower == name.lower():
            return f"belongs to {mpms}; {accepts}"
    if lower in [name.lower() for name in _NOT_MODELLED]:
        return f"httpd has it, but it is not modelled here; {accepts}"
    spelling = {known.lower(): known for known in (*names, *_DEPRECATED)}
    close = get_close_matches(lower, spelling, n=1)
    guess = f"did you mean {spelling[close[0]]}? " if close else ""
    return f"unknown directive; {guess}{accepts}"


def _deprecation(mpm: str, name: str) -> Message:
    """The note that a name of 2.2 brings (prefork.c and others: set_max_clients; mpm_common.c for
    the other name)."""
    ident = _MAX_CLIENTS_IDENT[mpm] if name == "MaxClients" else "AH00545"
    return Message("info", ident, f"{name} is deprecated: it is now called {_DEPRECATED[name]}")


def _check_buckets(text: str, where: str) -> None:
    """ListenCoresBucketsRatio: 0, which is httpd's default, is all that is modelled."""
    try:
        ratio = _parse_int(text.strip(), 0, _INT_MAX)
    except ValueError:
        raise DirectiveError(f"{where}: {_BUCKETS_RATIO} {text!r}: accepted: 0") from None
    if ratio:
        raise DirectiveError(
            f"{where}: {_BUCKETS_RATIO} {text!r}: buckets of listeners are not modelled yet; "
            "accepted: 0"
        )


def _settings(
    mpm: str,
    values: Mapping[str, Value],
    messages: list[Message],
    given: tuple[tuple[str, str], ...],
) -> Settings:
    """Clamp the values and fill in what this MPM has no directive for."""
    spare = "servers" if mpm == "prefork" else "threads"
    sizes, warnings = clamp(
        mpm,
        PoolSizes(
            start_servers=int(values["start_servers"]),
            min_spare=int(values[f"min_spare_{spare}"]),
            max_spare=int(values[f"max_spare_{spare}"]),
            server_limit=int(values["server_limit"]),
            max_request_workers=int(values["max_request_workers"]),
            threads_per_child=int(values.get("threads_per_child", 1)),
            thread_limit=int(values.get("thread_limit", 1)),
        ),
    )
    factor = float(values.get("async_request_worker_factor", 0.0))
    is_prefork = mpm == "prefork"
    return Settings(
        mpm=mpm,
        start_servers=sizes.start_servers,
        min_spare_servers=sizes.min_spare if is_prefork else 0,
        max_spare_servers=sizes.max_spare if is_prefork else 0,
        min_spare_threads=0 if is_prefork else sizes.min_spare,
        max_spare_threads=0 if is_prefork else sizes.max_spare,
        threads_per_child=sizes.threads_per_child,
        thread_limit=sizes.thread_limit,
        server_limit=sizes.server_limit,
        max_request_workers=sizes.max_request_workers,
        daemons_limit=sizes.daemons_limit,
        async_request_worker_factor=factor,
        async_factor_floor=int(factor * FACTOR_SCALE) // FACTOR_SCALE,
        keep_alive=bool(values["keep_alive"]),
        keep_alive_timeout_s=float(values["keep_alive_timeout_s"]),
        given=given,
        messages=(*messages, *warnings),
        **{name: int(values[name]) for name in _PLAIN_INTS},
    )


#: Fields that go from the directive into Settings as they are.
_PLAIN_INTS: Final = (
    "max_connections_per_child",
    "graceful_shutdown_timeout_s",
    "listen_backlog",
    "send_buffer_size",
    "timeout_s",
    "max_keep_alive_requests",
    "limit_request_line",
    "limit_request_field_size",
    "limit_request_fields",
    "limit_request_body",
    "flush_max_threshold",
    "thread_stack_size",
)
