"""A running httpd, seen from the side that started it: its folder, its process, its end.

httpd has a keeper (keeper.py), which outlives this process if need be and leaves nothing behind.
What it is configured with is configuration.py's, what it says status.py's and error_log.py's.
"""

from __future__ import annotations

import contextlib
import grp
import importlib.resources
import json
import os
import pwd
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Final

import psutil

from mpmlab.core.settings import Settings
from mpmlab.httpd.configuration import Place, Wishes, configuration, missing_modules
from mpmlab.httpd.error_log import read_messages
from mpmlab.httpd.keeper import Spec
from mpmlab.httpd.program import INSTALL, HttpdMissingError, LuaPaths, Program, find_luaposix
from mpmlab.httpd.status import StatusConnection, StatusError
from mpmlab.kernel.interface import KernelError, Signal
from mpmlab.real.error_log import LogLine
from mpmlab.real.handles import Address
from mpmlab.real.netns import in_namespace, inside
from mpmlab.real.process import UNIX

#: From the start of the keeper to the first answer.
START_TIMEOUT_S: Final = 30.0
#: Free ports that may turn out to be taken.
_ATTEMPTS: Final = 5
_LOOK_S: Final = 0.005
_TAKEN: Final = "Address already in use"
#: Whom httpd may become when root starts it: the first of these that there is.
_USERS: Final = ("www-data", "apache", "daemon", "nobody")


class HttpdError(KernelError):
    """httpd did not start, or is not what was started; the text has what it said."""


class HttpdServer:
    """A running httpd. A context manager: leaving it ends it and removes its folder."""

    def __init__(self, keeper: _Keeper, place: Place, text: str) -> None:
        """Made by start_httpd."""
        self._keeper = keeper
        self._place = place
        self.address = Address(place.port, place.host)
        self.port = place.port
        #: The text of httpd.conf.
        self.configuration = text
        #: Its parent process.
        self.pid = keeper.pid
        self.status = StatusConnection(place.host, place.port, place.name)
        self._wall_to_monotonic_s = time.time() - time.monotonic()
        self._started_s = time.monotonic()
        self._left: tuple[str, str, str] | None = None

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


class _Keeper:
    """Our end of the keeper: two pipes and a process."""

    def __init__(
        self, command: list[str], folder: Path, cores: Iterable[int] | None, namespace: int | None
    ) -> None:
        self.folder = folder
        self.code: int | None = None
        self._partial = b""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        control_read, self._control = os.pipe()
        self._report, report_write = os.pipe()
        spec = Spec(
            command, str(folder), control_read, report_write, self._output.fileno(),
            None if cores is None else sorted(cores),
        )  # fmt: skip
        try:
            self._process = _spawn(spec, namespace)
        except BaseException:
            os.close(self._control)
            os.close(self._report)
            self._output.close()
            raise
        finally:
            os.close(control_read)
            os.close(report_write)
        first = self._line(START_TIMEOUT_S)
        if first is None or not first.startswith("started "):
            said = self.output()
            self.close()
            raise HttpdError(f"httpd could not be started:\n{said}")
        self.pid = int(first.removeprefix("started "))

    def signal(self, number: int) -> bool:
        """Have the keeper send it: only it knows that the pid is still httpd's."""
        if self.wait(0) is not None:
            return False
        with contextlib.suppress(BrokenPipeError):
            os.write(self._control, f"signal {int(number)}\n".encode())
            return True
        return False

    def wait(self, timeout_s: float | None) -> int | None:
        """httpd's exit code, once it has ended."""
        if self.code is None and self._report >= 0:
            line = self._line(timeout_s)
            if line is not None:
                # A keeper that was killed says nothing; httpd has had its TERM from the system.
                self.code = int(line.removeprefix("ended ")) if line else -int(UNIX[Signal.KILL])
        return self.code

    def output(self) -> str:
        """What httpd wrote to stdout and stderr."""
        fd = self._output.fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")

    def close(self) -> None:
        """Let it clean up, and wait for that. Idempotent."""
        if self._control < 0:
            return
        os.close(self._control)
        self._control = -1
        self._process.wait()
        os.close(self._report)
        self._report = -1
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _line(self, timeout_s: float | None) -> str | None:
        """The next line of the report; "" at its end; None if none comes in time."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while b"\n" not in self._partial:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            if not select.select([self._report], [], [], left_s)[0]:
                return None
            data = os.read(self._report, 4096)
            if not data:
                return ""
            self._partial += data
        line, _, self._partial = self._partial.partition(b"\n")
        return line.decode()


def _spawn(spec: Spec, namespace: int | None) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(asdict(spec)).encode())
        file.flush()
        command = [sys.executable, "-P", "-m", "mpmlab.httpd.keeper", str(file.fileno())]
        passed = [file.fileno(), spec.control_fd, spec.report_fd, spec.output_fd]
        if namespace is not None:
            passed.append(namespace)
            command = inside(namespace, command)
        path = os.pathsep.join(dict.fromkeys(os.path.abspath(p) for p in sys.path))
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=spec.output_fd,
            stderr=spec.output_fd,
            pass_fds=passed,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )


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
    namespace to run in; static_bytes: sizes of files below /static. Its status connection is left
    open if the wishes are for a sampled one. Raises HttpdMissingError, or HttpdError with what it
    said."""
    wishes = wishes or Wishes()
    lua = find_luaposix()
    if missing := missing_modules(program, settings.mpm):
        raise HttpdMissingError(f"{program.path} has no {', '.join(missing)}; {INSTALL}")
    for _ in range(_ATTEMPTS):
        place = _new_place(host, _free_port(host, namespace))
        try:
            text = configuration(program, settings, place, wishes)
            _furnish(place, text, lua, static_bytes)
            conf = str(place.folder / "httpd.conf")
            command = [str(program.path), "-f", conf, "-D", "FOREGROUND"]
            keeper = _Keeper(command, place.folder, cores, namespace)
        except BaseException:
            shutil.rmtree(place.folder, ignore_errors=True)
            raise
        server = HttpdServer(keeper, place, text)
        try:
            if _await_ours(server, place, namespace, time.monotonic() + start_timeout_s):
                if not wishes.sampled:
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
    folder = Path(tempfile.mkdtemp(prefix="mpmlab-httpd."))
    folder.chmod(0o755)  # children that are not root read the handler
    name = f"mpmlab-{uuid.uuid4().hex}.invalid"
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


def _await_ours(
    server: HttpdServer, place: Place, namespace: int | None, deadline_s: float
) -> bool:
    """True once it answers, False if its port was taken. Raises HttpdError."""
    while time.monotonic() < deadline_s:
        if (code := server.wait(0)) is not None:
            said = server.stderr()
            if _TAKEN in said:
                return False
            raise HttpdError(f"httpd ended with code {code} at its start:\n{said}")
        if place.pid_file.exists() and _answers(server, place, namespace):
            return True
        time.sleep(_LOOK_S)
    raise HttpdError(f"httpd did not answer in time:\n{server.stderr()}")


def _answers(server: HttpdServer, place: Place, namespace: int | None) -> bool:
    """Whether it is there, is ours, and has the handler."""
    if namespace is not None:
        in_namespace(namespace, lambda: server.status.open(1.0))
    try:
        name = server.status.status(1.0).server_name
        if name != place.name:
            raise HttpdError(f"port {place.port} is answered by another server: {name!r}")
        body = server.status.get("/work?cpu_us=0&wait_us=0&bytes=7", 5.0)
    except StatusError as error:
        if str(error).startswith("status "):
            raise HttpdError(f"httpd has no handler: {error}\n{server.stderr()}") from error
        return False
    if len(body) != 7:
        raise HttpdError(f"httpd's handler answers {len(body)} bytes of 7:\n{server.stderr()}")
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
