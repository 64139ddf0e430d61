"""A running httpd, seen from the side that started it: its folder, its process, its end.

httpd has a keeper (keeper.py), which outlives this process if need be and leaves nothing behind.
What it is configured with is configuration.py's, what it says status.py's and error_log.py's.
"""

from __future__ import annotations

import contextlib
import grp
import importlib.resources
import os
import pwd
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import psutil

from mpmlab.core.settings import Settings
from mpmlab.httpd.configuration import Place, Wishes, configuration, missing_modules
from mpmlab.httpd.error_log import read_messages
from mpmlab.httpd.kept import START_TIMEOUT_S, HttpdError, Keeper
from mpmlab.httpd.program import INSTALL, HttpdMissingError, LuaPaths, Program, find_luaposix
from mpmlab.httpd.status import StatusConnection, StatusError
from mpmlab.httpd.stream import StatusStream
from mpmlab.kernel.interface import KernelError, Signal
from mpmlab.real.error_log import LogLine
from mpmlab.real.handles import Address
from mpmlab.real.netns import in_namespace
from mpmlab.real.process import UNIX

__all__ = ["START_TIMEOUT_S", "HttpdError", "HttpdServer", "start_httpd"]

#: Free ports that may turn out to be taken.
_ATTEMPTS: Final = 5
_LOOK_S: Final = 0.005
_TAKEN: Final = "Address already in use"
#: Whom httpd may become when root starts it: the first of these that there is.
_USERS: Final = ("www-data", "apache", "daemon", "nobody")


class HttpdServer:
    """A running httpd. A context manager: leaving it ends it and removes its folder."""

    def __init__(
        self, keeper: Keeper, place: Place, text: str, namespace: int | None = None
    ) -> None:
        """Made by start_httpd."""
        self._keeper = keeper
        self._place = place
        self.address = Address(place.port, place.host)
        self.port = place.port
        #: The text of httpd.conf.
        self.configuration = text
        #: Its parent process.
        self.pid = keeper.pid
        self._namespace = namespace
        #: For questions now and then; closed until the first.
        self.status = StatusConnection(place.host, place.port, place.name, namespace)
        self._wall_to_monotonic_s = time.time() - time.monotonic()
        self._started_s = time.monotonic()
        self._left: tuple[str, str, str] | None = None

    def stream(self, interval_s: float) -> StatusStream:
        """Reports every `interval_s` or so, from when it is first read; it holds a worker."""
        place = self._place
        return StatusStream(place.host, place.port, place.name, interval_s, self._namespace)

    def signal(self, sign: Signal) -> bool:
        """Send it to the parent. False if that has ended."""
        return self._keeper.signal(UNIX[sign])

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The parent's exit code (negative: the signal that killed it), or None if it still runs
        then. What its end left of its session has been killed."""
        return self._keeper.wait(timeout_s)

    def children(self) -> list[int]:
        """The pids of all processes below the parent, now."""
        if self._keeper.code is not None:
            return []
        task = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in task.read_text().split()]
        with contextlib.suppress(psutil.NoSuchProcess):
            return [p.pid for p in psutil.Process(self.pid).children(recursive=True)]
        return []

    def stop(self, timeout_s: float) -> int:
        """TERM, and after that long KILL for all of its session; the exit code."""
        self.status.close()
        self.signal(Signal.TERM)
        code = self.wait(timeout_s)
        return self.kill() if code is None else code

    def kill(self) -> int:
        """KILL for the parent, and what is left of its session; the exit code."""
        self.signal(Signal.KILL)
        code = self.wait()
        assert code is not None
        return code

    def messages(self) -> list[LogLine]:
        """What it said so far, in the order of the files: before the configuration was read, then
        the error log."""
        startup, errors, _ = self._written()
        lines = [*startup.splitlines(), *errors.splitlines()]
        return read_messages(lines, self._wall_to_monotonic_s, self._started_s)

    def stderr(self) -> str:
        """The same as it stands."""
        startup, errors, _ = self._written()
        return startup + errors

    def access_log(self) -> str:
        """Its lines so far; buffered ones only once the children have ended."""
        return self._written()[2]

    def close(self) -> None:
        """End it, keep what it wrote, remove its folder. Idempotent."""
        self.status.close()
        if self._left is None:
            with contextlib.suppress(KernelError):
                self.stop(START_TIMEOUT_S)
            self._left = self._written()
        self._keeper.close()

    def __enter__(self) -> HttpdServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _written(self) -> tuple[str, str, str]:
        if self._left is not None:
            return self._left
        files = (self._place.error_log, self._place.access_log)
        return (self._keeper.output(), *(_text(path) for path in files))  # type: ignore[return-value]


def start_httpd(
    program: Program,
    settings: Settings,
    wishes: Wishes | None = None,
    cores: Iterable[int] | None = None,
    host: str = "127.0.0.1",
    namespace: int | None = None,
    static_bytes: Sequence[int] = (),
    start_timeout_s: float = START_TIMEOUT_S,
) -> HttpdServer:
    """Start httpd with one MPM on a free port of `host`, and return once it answers, as ours.

    cores: those it may run on, all of ours by default; namespace: descriptor of the network
    namespace to run in; static_bytes: sizes of files below /static. Raises HttpdMissingError, or
    HttpdError with what it said."""
    wishes = wishes or Wishes()
    lua = find_luaposix()
    if missing := missing_modules(program, settings.mpm):
        raise HttpdMissingError(f"{program.path} has no {', '.join(missing)}; {INSTALL}")
    for _ in range(_ATTEMPTS):
        place = _new_place(host, _free_port(host, namespace))
        text = configuration(program, settings, place, wishes)
        conf = str(place.folder / "httpd.conf")
        command = [str(program.path), "-f", conf, "-D", "FOREGROUND"]
        keeper = Keeper(command, place.folder, cores, namespace)
        try:
            _furnish(place, text, lua, static_bytes)
            keeper.begin()
        except BaseException:
            keeper.close()
            raise
        server = HttpdServer(keeper, place, text, namespace)
        try:
            if _await_ours(server, place, time.monotonic() + start_timeout_s):
                server.status.close()
                return server
            server.close()
        except BaseException:  # Ctrl-C too
            server.close()
            raise
    raise HttpdError(f"{_ATTEMPTS} free ports of {host} were taken before httpd had them")


def _free_port(host: str, namespace: int | None) -> int:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])

    return find() if namespace is None else in_namespace(namespace, find)


def _new_place(host: str, port: int) -> Place:
    unique = uuid.uuid4().hex
    folder = Path(tempfile.gettempdir(), f"mpmlab-httpd.{unique[:12]}")
    name = f"mpmlab-{unique}.invalid"
    user, group = _other_user() if os.geteuid() == 0 else (None, None)
    return Place(folder, host, port, name, user, group)


def _other_user() -> tuple[str, str]:
    for name in _USERS:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return name, grp.getgrgid(user.pw_gid).gr_name
    raise HttpdError(f"httpd does not serve as root, and there is none of: {', '.join(_USERS)}")


def _furnish(place: Place, text: str, lua: LuaPaths, static_bytes: Sequence[int]) -> None:
    """The files of a run. Those that are served have no content on the disk, only a size."""
    place.folder.mkdir(mode=0o700)
    place.folder.chmod(0o755)  # children that are not root read the handler
    handler = importlib.resources.files("mpmlab.httpd").joinpath("work.lua").read_text()
    # A state's first request looks for libraries in no other place.
    found = f"package.path, package.cpath = {lua.scripts!r}, {lua.libraries!r}\n"
    place.handler.write_text(found + handler)
    static = place.documents / "static"
    static.mkdir(parents=True)
    (place.documents / "work").touch()
    for size in sorted(set(static_bytes)):
        with open(static / str(size), "wb") as file:
            file.truncate(size)
    (place.folder / "httpd.conf").write_text(text)
    for path in (place.handler, place.documents, *place.documents.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # whatever our umask is


def _await_ours(server: HttpdServer, place: Place, deadline_s: float) -> bool:
    """True once it answers, False if its port was taken. Raises HttpdError."""
    while time.monotonic() < deadline_s:
        if (code := server.wait(0)) is not None:
            said = server.stderr()
            if _TAKEN in said:
                return False
            raise HttpdError(f"httpd ended with code {code} at its start:\n{said}")
        if place.pid_file.exists() and _answers(server, place):
            return True
        time.sleep(_LOOK_S)
    raise HttpdError(f"httpd did not answer in time:\n{server.stderr()}")


def _answers(server: HttpdServer, place: Place) -> bool:
    """Whether it is there, is ours, and has the handler."""
    what = f"port {place.port} is answered by another server"
    try:
        name = server.status.status(1.0).server_name
        if name != place.name:
            raise HttpdError(f"{what}: {name!r}")
        what = "httpd has no handler"
        body = server.status.get("/work?cpu_us=0&wait_us=0&bytes=7", 5.0)
    except StatusError as error:
        if str(error).startswith(("status ", "not a report")):
            raise HttpdError(f"{what}: {error}\n{server.stderr()}") from error
        return False
    if len(body) != 7:
        raise HttpdError(f"httpd's handler answers {len(body)} bytes of 7:\n{server.stderr()}")
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
