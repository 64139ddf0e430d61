"""The launcher: a server in a clean process of its own session, seen from the side that started it.

Nothing of the server runs here. The other side is launched.py. A server gets its listening socket,
its scoreboard memory and its error log as inherited descriptors, so no port is guessed and no file
is left. It dies with the thread that launched it (PR_SET_PDEATHSIG follows the thread): launch from
one that outlives the measurement.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import psutil

from mpmlab.kernel.interface import KernelError, Signal
from mpmlab.real.handles import DEFAULT_BACKLOG, Address, Listener
from mpmlab.real.launched import LaunchContext, Spec
from mpmlab.real.netns import in_namespace, inside
from mpmlab.real.process import UNIX

__all__ = [
    "LaunchContext",
    "LaunchError",
    "Server",
    "session_members",
    "start_server",
    "sweep_session",
    "wait_until_dead",
]

#: How long a server may take from its start to its entry point (imports on a busy machine).
START_TIMEOUT_S: Final = 30.0
#: How long processes may take to vanish after SIGKILL.
SWEEP_TIMEOUT_S: Final = 5.0
#: Pause between two looks where nothing can be waited for.
_LOOK_S: Final = 0.005


class LaunchError(KernelError):
    """The server did not start; the message carries what it wrote to stderr."""


class Server:
    """A running server. A context manager: leaving it ends whatever still runs."""

    def __init__(
        self, popen: subprocess.Popen[bytes], address: Address, board: mmap.mmap | None,
        output_fd: int, run_folder: str | None,
    ):  # fmt: skip
        """Made by start_server."""
        self.pid = popen.pid
        self.address = address
        self.port = address.port
        #: The memory that the server has as `context.board_buffer`.
        self.buffer = None if board is None else memoryview(board)
        self._board = board
        self._popen = popen
        self._output_fd = output_fd
        self._run_folder = run_folder
        self._code: int | None = None
        self._output: str | None = None

    def signal(self, sign: Signal) -> bool:
        """Send it to the server's main process. False if that has ended."""
        if self._code is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, UNIX[sign])  # not reaped yet, so the number is still its own
            return True
        return False

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Its exit code (negative: the signal that killed it), or None if it still runs then.
        Whatever its end left of its session is killed."""
        if self._code is None and self._ended(timeout_s):
            self._finish()
        return self._code

    def children(self) -> list[int]:
        """The pids of all processes below it, now."""
        if self._code is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [p.pid for p in psutil.Process(self.pid).children(recursive=True)]
        return []

    def stop(self, timeout_s: float) -> int:
        """TERM, and after that long KILL for all of its session; the exit code."""
        self.signal(Signal.TERM)
        code = self.wait(timeout_s)
        return self.kill() if code is None else code

    def kill(self) -> int:
        """KILL for all of its session; the exit code (-9, unless it had ended already)."""
        self.signal(Signal.KILL)
        code = self.wait()
        assert code is not None
        return code

    def stderr(self) -> str:
        """What it and its children wrote to stdout and stderr so far."""
        if self._output is not None:
            return self._output
        size = os.fstat(self._output_fd).st_size
        return os.pread(self._output_fd, size, 0).decode(errors="replace")  # the offset is theirs

    def close(self) -> None:
        """Kill what runs, release what is held. Idempotent. `buffer` and views of it stay valid as
        long as somebody has them; `stderr()` still answers."""
        self.kill()
        if self._output is None:
            self._output = self.stderr()
            os.close(self._output_fd)
        if self._run_folder is not None:
            shutil.rmtree(self._run_folder, ignore_errors=True)
        self.buffer = None
        if self._board is not None:
            with contextlib.suppress(BufferError):  # somebody still looks at it
                self._board.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    # ---- its end -------------------------------------------------------------------------------

    def _ended(self, timeout_s: float | None) -> bool:
        """Wait for the end of the main process without reaping it: while it is a zombie, its
        number, which is its session's too, cannot become anybody else's."""
        return wait_until_dead(self.pid, timeout_s)

    def _finish(self) -> None:
        """Kill the rest of the session, wait until it is gone, and only then reap."""
        sweep_session(self.pid)
        self._code = self._popen.wait()


def sweep_session(leader: int) -> None:
    """Kill all processes of a session but its leader, which has ended and is not reaped yet, and
    wait until they are gone. Raises KernelError if they will not."""
    deadline = time.monotonic() + SWEEP_TIMEOUT_S
    while members := session_members(leader):
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in members:
            wait_until_dead(pid, max(0.0, deadline - time.monotonic()))
        if time.monotonic() > deadline:
            raise KernelError(f"processes {members} of server {leader} survive SIGKILL")


def start_server(
    entry: str,
    payload: Mapping[str, Any],
    board_size: int | None = None,
    backlog: int = DEFAULT_BACKLOG,
    cores: Iterable[int] | None = None,
    log_path: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    start_timeout_s: float = START_TIMEOUT_S,
    send_buffer_bytes: int = 0,
    host: str = "127.0.0.1",
    namespace: int | None = None,
    port: int = 0,
) -> Server:
    """Start `entry` ("package.module:function") as the server's main thread, in a new process
    that is bound to `host` and `port` (0: a free one), and return once it begins.

    payload: JSON-able; board_size: bytes of shared memory, or None; cores: those it may run on, all
    of ours by default; log_path: its error log, appended to (by default it goes to stderr);
    env: added to this process's environment; namespace: descriptor of the network namespace that it
    and its socket live in; send_buffer_bytes: SO_SNDBUF of its connections, 0
    for the system's. Raises LaunchError with the server's stderr."""
    with contextlib.ExitStack() as ours:  # what only the server needs, and all of it on failure
        # Our copy goes too: when the server stops listening, nobody may be left who does.
        bind = partial(Listener.bind, host, port, backlog, send_buffer_bytes)
        listener = bind() if namespace is None else in_namespace(namespace, bind)
        ours.callback(listener.close)
        address = Address(listener.port, listener.host)
        output_fd = _unlinked_file("output")
        kept = ours.enter_context(contextlib.ExitStack())  # what Server keeps on success
        kept.callback(os.close, output_fd)
        log_fd = _open_log(log_path, output_fd, ours)
        board_fd, board = _shared_memory(board_size, ours)
        run_folder = None if os.path.isdir("/proc/self/fd") else tempfile.mkdtemp("", "mpmlab.")
        if run_folder is not None:
            kept.callback(shutil.rmtree, run_folder, ignore_errors=True)
        ready_read, ready_write = os.pipe()
        ours.callback(os.close, ready_read)
        spec = Spec(
            os.getpid(), entry, payload, listener.fd, log_fd, ready_write, board_fd,
            board_size or 0, None if cores is None else sorted(cores), run_folder,
        )  # fmt: skip
        try:
            popen = _spawn(spec, output_fd, env, ours, namespace)
        finally:
            os.close(ready_write)
        server = Server(popen, address, board, output_fd, run_folder)
        kept.pop_all()
        try:
            _await_start(server, entry, ready_read, start_timeout_s)
        except BaseException:  # Ctrl-C too
            server.close()
            raise
    return server


def _await_start(server: Server, entry: str, ready_fd: int, timeout_s: float) -> None:
    """Return when the server's entry point begins, else raise."""
    poll = select.poll()
    poll.register(ready_fd, select.POLLIN)
    told = poll.poll(timeout_s * 1000)
    if told and os.read(ready_fd, 1):
        return
    code = server.wait(SWEEP_TIMEOUT_S if told else 0)
    how = f"did not start in {timeout_s} s" if code is None else f"ended with code {code}"
    raise LaunchError(f"server {entry} {how}:\n{server.stderr()}")


def _spawn(
    spec: Spec,
    output_fd: int,
    env: Mapping[str, str] | None,
    ours: contextlib.ExitStack,
    namespace: int | None,
) -> subprocess.Popen[bytes]:
    """The process itself. It finds modules where we do."""
    spec_fd = _unlinked_file("spec")
    ours.callback(os.close, spec_fd)
    os.write(spec_fd, json.dumps(asdict(spec)).encode())
    passed = [spec_fd, spec.listener_fd, spec.log_fd, spec.ready_fd]
    if spec.board_fd is not None:
        passed.append(spec.board_fd)
    command = [sys.executable, "-P", "-m", "mpmlab.real.launched", str(spec_fd)]
    if namespace is not None:
        passed.append(namespace)
        command = inside(namespace, command)
    path = os.pathsep.join(dict.fromkeys(os.path.abspath(p) for p in sys.path))
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output_fd,
        stderr=output_fd,
        pass_fds=passed,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
    )


def _open_log(path: str | Path | None, default_fd: int, ours: contextlib.ExitStack) -> int:
    if path is None:
        return default_fd
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    ours.callback(os.close, fd)
    return fd


def _shared_memory(
    size: int | None, ours: contextlib.ExitStack
) -> tuple[int | None, mmap.mmap | None]:
    """(descriptor for the server, our mapping) of that many zero bytes."""
    if size is None:
        return None, None
    fd = _unlinked_file("board")
    ours.callback(os.close, fd)
    os.ftruncate(fd, size)
    return fd, mmap.mmap(fd, size)


def _unlinked_file(name: str) -> int:
    """A file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(f"mpmlab {name}")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def session_members(session: int) -> list[int]:
    """The live processes of a session, without its leader."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if (
                pid != session
                and os.getsid(pid) == session
                and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
            ):
                found.append(pid)
    return found


def wait_until_dead(pid: int, timeout_s: float | None) -> bool:
    """Wait until a process has ended, reaped or not. Ours or another's."""
    if hasattr(os, "pidfd_open"):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
        finally:
            os.close(fd)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:  # no system call waits for a process without reaping it here
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                time.sleep(_LOOK_S)
                continue
        return True
