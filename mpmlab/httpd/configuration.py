"""The configuration that httpd is given: text out of settings, nothing read or written.

One MPM, the directives of the other engines, and a server that does no needless work for a request:
no .htaccess (which costs five failing opens for each), no checks of symbolic links, no MIME types,
no access log unless asked for. `python -m benchmarks.httpd_trace` counts its system calls.

The status connection. Whoever samples /server-status all the time holds a worker (stream.py). Its
place is added, so that the load finds the pool that was asked for: a process of prefork, a thread
of worker and event where there is one process. Where there are more, threads come by the process,
so there is one less for the load; a spare thread is left out instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mpmlab.core.directives import accepted_by
from mpmlab.core.settings import Settings
from mpmlab.httpd.program import INSTALL, HttpdMissingError, Program

#: What is loaded besides the MPM, where it is not compiled in.
MODULES: Final = ("unixd", "authz_core", "authz_host", "log_config", "status", "lua")
STATUS_PATH: Final = "/server-status"
#: Files of so many bytes each: /static/1024.
STATIC_PATH: Final = "/static"
#: The number of a request in the plan, if clients are told to say it.
REQUEST_ID: Final = "X-Request-Id"
#: id, method, path, query, status, body bytes, time taken in us, requests on the connection before.
LOG_FORMAT: Final = f"%{{{REQUEST_ID}}}i %m %U %q %>s %B %D %k"
#: Wall time with microseconds, module and level, process, text.
ERROR_FORMAT: Final = "[%{cu}t] [%-m:%l] [pid %P] %M"

#: With the status connection: what is one more, of processes or of the threads of a single one, and
#: what is one less idle.
_ONE_MORE: Final = ("StartServers", "ServerLimit", "MaxRequestWorkers", "MaxClients")
_ONE_THREAD_MORE: Final = ("ThreadsPerChild", "ThreadLimit", "MaxRequestWorkers", "MaxClients")
_ONE_LESS_IDLE: Final = ("MinSpareThreads", "MaxSpareThreads")
#: Directives whose 0 means "the system's", which httpd has by leaving them out.
_UNSET_IF_ZERO: Final = ("ThreadStackSize", "SendBufferSize")


@dataclass(frozen=True)
class Place:
    """Where a server runs: its folder, its address, its name (which it shows in its status, so that
    an answer tells whose it is), and the user that it becomes if it is started by root."""

    folder: Path
    host: str
    port: int
    name: str
    user: str | None = None
    group: str | None = None

    @property
    def pid_file(self) -> Path:
        """Written by the parent when it runs."""
        return self.folder / "httpd.pid"

    @property
    def error_log(self) -> Path:
        """Messages, once the configuration is read; before that they go to stderr."""
        return self.folder / "error.log"

    @property
    def access_log(self) -> Path:
        """Written if asked for."""
        return self.folder / "access.log"

    @property
    def handler(self) -> Path:
        """The Lua script."""
        return self.folder / "work.lua"

    @property
    def documents(self) -> Path:
        """Root of the static files, and of an empty one for each path that the handler answers: for
        a path that is not there httpd looks at every folder above it."""
        return self.folder / "htdocs"


@dataclass(frozen=True)
class Wishes:
    """What a configuration may have besides the MPM's directives."""

    #: A connection that asks for the status all the time is allowed for.
    sampled: bool = True
    access_log: bool = False
    #: LogLevel of the MPM's own messages.
    log_level: str = "info"
    #: More lines, as they are.
    lines: tuple[str, ...] = ()


def configuration(program: Program, settings: Settings, place: Place, wishes: Wishes) -> str:
    """The text of httpd.conf."""
    modules = [f"mpm_{settings.mpm}", *MODULES]
    lines = [
        f"# Made by mpmlab for {program.version}: {settings.mpm}",
        f'ServerRoot "{place.folder}"',
        f'DefaultRuntimeDir "{place.folder}"',
        f'PidFile "{place.pid_file}"',
        f"ServerName {place.name}",
        "UseCanonicalName On",
        f'Mutex "default:{place.folder}"',
        f"Listen {place.host}:{place.port} http",
        # Connections without data are seen, as the other engines see them.
        "AcceptFilter http none",
        *_load(program, modules),
        *([f"User {place.user}", f"Group {place.group}"] if place.user else []),
        f'ErrorLog "{place.error_log}"',
        f'ErrorLogFormat "{ERROR_FORMAT}"',
        f"LogLevel notice mpm_{settings.mpm}:{wishes.log_level}",
        *mpm_lines(settings, wishes.sampled),
        *_CONTENT,
        f'DocumentRoot "{place.documents}"',
        f'<Directory "{place.documents}">\n  Require all granted\n</Directory>',
        *_hosts(place),
        "LuaScope thread",
        "LuaCodeCache forever",
        f'LuaMapHandler "^/(work)?$" "{place.handler}" handle',
    ]
    if wishes.access_log:
        lines += [f'LogFormat "{LOG_FORMAT}" mpmlab', "BufferedLogs On",
                  f'CustomLog "{place.access_log}" mpmlab']  # fmt: skip
    return "\n".join([*lines, *wishes.lines]) + "\n"


#: No names looked up, no files mapped (mod_lua and files of this size are faster read), no folder's
#: own configuration looked for, no link checked for being one.
_CONTENT: Final = (
    "HostnameLookups Off",
    "EnableSendfile Off",
    "EnableMMAP Off",
    "ExtendedStatus On",
    # Each answer leaves at once, for clients too that ask for more before it is there.
    "FlushMaxPipelined 0",
    '<Directory "/">\n  AllowOverride None\n  Options FollowSymLinks\n  Require all denied\n'
    "</Directory>",
)


def _hosts(place: Place) -> list[str]:
    """A virtual host for everybody, and one by our name with the status, whose connection stays
    open whatever the directives say about the others'."""
    address = f"{place.host}:{place.port}"
    return [
        f"<VirtualHost {address}>\n  ServerName everybody.invalid\n</VirtualHost>",
        f"<VirtualHost {address}>\n  ServerName {place.name}",
        "  KeepAlive On\n  MaxKeepAliveRequests 0\n  KeepAliveTimeout 60",
        f'  <Location "{STATUS_PATH}">\n    SetHandler server-status\n'
        "    Require all granted\n  </Location>\n</VirtualHost>",
    ]


def _load(program: Program, modules: Iterable[str]) -> list[str]:
    """LoadModule lines. What is compiled in needs none."""
    lines = []
    for name in modules:
        path = program.loadable(f"mod_{name}")
        static = {f"mod_{name}", name, name.removeprefix("mpm_")} & program.static
        if path is not None and not static:
            lines.append(f'LoadModule {name}_module "{path}"')
    return lines


def missing_modules(program: Program, mpm: str) -> list[str]:
    """Modules that are neither compiled in nor there as files."""
    return [
        f"mod_{name}"
        for name in (f"mpm_{mpm}", *MODULES)
        if program.loadable(f"mod_{name}") is None
        and not {f"mod_{name}", name.removeprefix("mpm_")} & program.static
    ]


def mpm_lines(settings: Settings, sampled: bool) -> list[str]:
    """Every directive of the other engines, as given and not yet clamped (httpd clamps by itself
    and says so), else with its default."""
    given = {name.lower() for name, _ in settings.given}
    lines = [
        (directive.name, _text(directive.default[settings.mpm], directive.kind))
        for directive in accepted_by(settings.mpm)
        if not _names(directive.name) & given
    ]
    lines += settings.given
    if sampled:
        lines = [(name, _with_place(settings, name, text)) for name, text in lines]
    return [
        f"{name} {text}"
        for name, text in lines
        if not (name in _UNSET_IF_ZERO and text.strip() == "0")
    ]


def _names(name: str) -> set[str]:
    """In lower case, with what it was called before."""
    older = {"MaxRequestWorkers": "maxclients", "MaxConnectionsPerChild": "maxrequestsperchild"}
    return {name.lower(), older.get(name, name.lower())}


def _text(value: float | str | bool, kind: str) -> str:
    if isinstance(value, bool):
        return "On" if value else "Off"
    if kind == "timeout" and float(value) != int(value):
        return f"{float(value) * 1000:.0f}ms"
    return f"{value:g}" if isinstance(value, float) else str(value)


def place_added(settings: Settings) -> bool:
    """Whether the status connection's worker comes on top of the pool that was asked for."""
    return settings.mpm == "prefork" or settings.daemons_limit == 1


def _with_place(settings: Settings, name: str, text: str) -> str:
    """The number with the status connection's place in it."""
    try:
        number = int(text)
    except ValueError:
        return text
    if place_added(settings):
        more = _ONE_MORE if settings.mpm == "prefork" else _ONE_THREAD_MORE
        return str(number + 1) if name in more and number > 0 else text
    if name in _ONE_LESS_IDLE and number > 1:
        return str(number - 1)
    return text


def check_modules(program: Program, mpm: str) -> None:
    """Raises HttpdMissingError if it cannot run with that MPM."""
    if missing := missing_modules(program, mpm):
        raise HttpdMissingError(f"{program.path} has no {', '.join(missing)}; {INSTALL}")
