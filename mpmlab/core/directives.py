"""How the directives that a user gave become Settings.

The errors of the user's input live here; the directives themselves are directive_table.py's, the
reading of one value directive_kinds.py's, and what httpd does with numbers that make no sense
together clamping.py's. Names are case-insensitive, and a later directive overrides an earlier one.

Stricter than httpd in one point: httpd reads numbers with atoi(), to which "abc" is 0; here a value
that is not a number is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from mpmlab.core.clamping import PoolSizes, clamp
from mpmlab.core.clamping_native import clamp_native
from mpmlab.core.directive_kinds import FACTOR_SCALE, Directive, Value, parse_int
from mpmlab.core.directive_table import DIRECTIVES, OLDER_NAMES
from mpmlab.core.settings import INT_MAX, MPMS, UNIX_MPMS, Message, Settings


class DirectiveError(ValueError):
    """The user's directive is wrong. The text says where, which directive, and what is accepted."""


_BUCKETS_RATIO: Final = "ListenCoresBucketsRatio"
_BY_NAME: Final = {directive.name.lower(): directive for directive in DIRECTIVES}

#: Names of httpd 2.2, still accepted: what each is called now.
_DEPRECATED: Final = MappingProxyType({old: new for new, old in OLDER_NAMES.items()})

#: Message number of the note on MaxClients.
_MAX_CLIENTS_IDENT: Final = MappingProxyType(
    {"prefork": "AH00188", "worker": "AH00324", "event": "AH00521"}
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


def mpms_with(name: str) -> tuple[str, ...]:
    """The MPMs that accept a directive, by its new or its old name; none: nobody does."""
    lower = name.strip().lower()
    if lower == _BUCKETS_RATIO.lower():
        return MPMS
    _, directive = _known(lower)
    return () if directive is None else directive.mpms


def _known(lower: str) -> tuple[str | None, Directive | None]:
    """The old name that this is, if it is one, and the directive."""
    old = next((old for old in _DEPRECATED if lower == old.lower()), None)
    return old, _BY_NAME.get(_DEPRECATED[old].lower() if old else lower)


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
        if canonical in _DEPRECATED and mpm != "beos":  # which has only these names
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
    old, directive = _known(lower)
    if directive is None or mpm not in directive.mpms:
        raise DirectiveError(
            f"{where}: Invalid command {name!r}: {_why_not(mpm, directive, lower)}"
        )
    return old or directive.name, directive


def _why_not(mpm: str, directive: Directive | None, lower: str) -> str:
    """Why an MPM does not accept a name, and what it accepts."""
    names = [directive.name for directive in accepted_by(mpm)]
    accepts = f"{mpm} accepts: {', '.join(names)}"
    if directive is not None:
        return f"belongs to {', '.join(directive.mpms)}; {accepts}"
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
        ratio = parse_int(text.strip(), 0, INT_MAX)
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
    clamped = clamp if mpm in UNIX_MPMS else clamp_native
    sizes, warnings = clamped(mpm, _sizes(mpm, values))
    factor = float(values.get("async_request_worker_factor", 0.0))
    is_prefork = mpm == "prefork"
    return Settings(
        mpm=mpm,
        start_servers=sizes.start_servers,
        start_threads=sizes.start_threads,
        min_spare_servers=sizes.min_spare if is_prefork else 0,
        max_spare_servers=sizes.max_spare if is_prefork else 0,
        min_spare_threads=0 if is_prefork else sizes.min_spare,
        max_spare_threads=0 if is_prefork else sizes.max_spare,
        threads_per_child=sizes.threads_per_child,
        thread_limit=sizes.thread_limit,
        max_threads=sizes.max_threads,
        server_limit=sizes.server_limit,
        max_request_workers=sizes.max_request_workers,
        daemons_limit=sizes.daemons_limit,
        max_requests_per_thread=sizes.max_requests_per_thread,
        async_request_worker_factor=factor,
        async_factor_floor=int(factor * FACTOR_SCALE) // FACTOR_SCALE,
        keep_alive=bool(values["keep_alive"]),
        keep_alive_timeout_s=float(values["keep_alive_timeout_s"]),
        quirks=bool(values.get("quirks", True)),
        given=given,
        messages=(*messages, *warnings),
        **{name: int(values.get(name, 0)) for name in _PLAIN_INTS},
    )


def _sizes(mpm: str, values: Mapping[str, Value]) -> PoolSizes:
    """What is clamped, as it was asked for."""
    spare = "servers" if mpm == "prefork" else "threads"

    def number(name: str, default: int = 0) -> int:
        return int(values.get(name, default))

    return PoolSizes(
        start_servers=number("start_servers"),
        start_threads=number("start_threads"),
        min_spare=number(f"min_spare_{spare}"),
        max_spare=number(f"max_spare_{spare}"),
        server_limit=number("server_limit"),
        max_request_workers=number("max_request_workers"),
        threads_per_child=number("threads_per_child", 1),
        thread_limit=number("thread_limit", 1),
        max_threads=number("max_threads"),
        max_requests_per_thread=number("max_requests_per_thread"),
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
