"""What the tests of httpd share: whether it is here, a plain client, and what a run leaves behind.

Helpers only. Waiting is on conditions with deadlines, never on time alone. Residue is told by a
mark in the environment (inherited by every process of a run) and by a temporary folder of the
test's own, so that whatever else runs on the machine does not matter.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import pytest

from mpmlab.core.directives import effective
from mpmlab.httpd.configuration import Wishes
from mpmlab.httpd.program import HttpdMissingError, Program, find_httpd, find_luaposix
from mpmlab.httpd.server import HttpdServer, start_httpd
from tests.mpms.real_lab import read_response, until

DEADLINE_S: Final = 20.0
ROOT: Final = Path(__file__).resolve().parents[2]
#: Name of the variable that marks the processes of a test.
MARK: Final = "MPMLAB_TEST_MARK"
MPMS: Final = ("prefork", "worker", "event")
#: Small pools, which start fast.
SMALL: Final[Mapping[str, Mapping[str, str]]] = {
    "prefork": {"StartServers": "2", "MinSpareServers": "1", "MaxSpareServers": "4",
                "MaxRequestWorkers": "8"},
    "worker": {"StartServers": "1", "ThreadsPerChild": "8", "MinSpareThreads": "1",
               "MaxSpareThreads": "24", "MaxRequestWorkers": "16"},
    "event": {"StartServers": "1", "ThreadsPerChild": "8", "MinSpareThreads": "1",
              "MaxSpareThreads": "24", "MaxRequestWorkers": "16"},
}  # fmt: skip


def _look() -> tuple[Program | None, str]:
    try:
        find_luaposix()
        return find_httpd(), ""
    except HttpdMissingError as error:
        return None, str(error)


_PROGRAM, _MISSING = _look()
#: Skips without httpd, with the sentence that says what to install.
needs_httpd: Final = pytest.mark.skipif(_PROGRAM is None, reason=_MISSING)


def program() -> Program:
    """The httpd of this machine, in a test that needs_httpd."""
    assert _PROGRAM is not None, _MISSING
    return _PROGRAM


def start(mpm: str, *static_bytes: int, **directives: object) -> HttpdServer:
    """httpd with a small pool, exactly as asked."""
    pairs = {**SMALL[mpm], **{name: str(value) for name, value in directives.items()}}
    return start_httpd(
        program(), effective(mpm, pairs), Wishes(sampled=False), static_bytes=static_bytes
    )


# ---- a plain client ------------------------------------------------------------------------------


def connect(port: int) -> socket.socket:
    """A client connection."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ask(sock: socket.socket, target: str, more: str = "", method: str = "GET") -> None:
    """Send one request; `more`: header lines, each with its end, and what comes after the head."""
    head, _, body = more.partition("\r\n\r\n")
    head = f"{head}\r\n" if head and not head.endswith("\r\n") else head
    sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: lab\r\n{head}\r\n{body}".encode())


def answer(sock: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer; (0, b"") at the end of the stream."""
    response = read_response(sock)
    if not response:
        return 0, b""
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def get(port: int, target: str) -> tuple[int, bytes]:
    """Status and body, on a connection of its own."""
    with connect(port) as sock:
        ask(sock, target, "Connection: close\r\n")
        return answer(sock)


def refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


# ---- residue -------------------------------------------------------------------------------------


@dataclass
class Residue:
    """A folder for temporary files, and a mark for processes, whose leftovers are told."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    shared: frozenset[str] = field(default_factory=lambda: shared_things())

    def environment(self) -> dict[str, str]:
        """For a process whose residue is looked for."""
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        own = {MARK: self.mark, "TMPDIR": str(self.folder), "PYTHONPATH": path}
        return {**os.environ, **own}

    def processes(self) -> list[psutil.Process]:
        """Living processes that have the mark, ours left out."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                if pid == os.getpid() or wanted not in _environ(pid):
                    continue
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def left(self) -> list[str]:
        """All that is there and was not: processes, files, semaphores and shared memory."""
        processes = [f"process {p.pid} {_command(p)}" for p in self.processes()]
        naming = [
            f"process {p.pid} names {self.folder}"
            for p in psutil.process_iter()
            if p.pid != os.getpid() and str(self.folder) in _command(p)
        ]
        files = [f"file {path}" for path in self.folder.iterdir()]
        return [*processes, *naming, *files, *sorted(shared_things() - self.shared)]

    def check(self, *ports: int) -> None:
        """Nothing is left, and nobody listens on the ports. What ends by itself has time for it."""
        deadline_s = time.monotonic() + DEADLINE_S
        while (left := self.left()) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert not left
        assert [port for port in ports if not refused(port)] == []


def _environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def shared_things() -> frozenset[str]:
    """System V and POSIX semaphores, shared memory and queues of the machine."""
    found = {f"/dev/shm/{path.name}" for path in Path("/dev/shm").glob("*")}
    for kind in ("shm", "sem", "msg"):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
            found |= {f"{kind} {line.split()[1]}" for line in lines}
    return frozenset(found)


@contextmanager
def watched() -> Iterator[Residue]:
    """A folder of the machine's temporary folder, readable by the user that httpd becomes (pytest's
    own is not); its content at the end is a failure."""
    folder = Path(tempfile.mkdtemp(prefix="residue-of-httpd."))
    folder.chmod(0o755)
    try:
        yield Residue(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def residue() -> Iterator[Residue]:
    """For processes that get its environment."""
    with watched() as found:
        yield found


@pytest.fixture
def own_residue(residue: Residue, monkeypatch: pytest.MonkeyPatch) -> Residue:
    """For servers that this process starts: its temporary folder and mark are ours meanwhile."""
    monkeypatch.setattr(tempfile, "tempdir", str(residue.folder))
    monkeypatch.setenv(MARK, residue.mark)
    return residue


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Until it is true. AssertionError after the deadline."""
    until(condition, what, DEADLINE_S)
