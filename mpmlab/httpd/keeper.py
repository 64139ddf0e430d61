"""The process between mpmlab and httpd: starts it, passes signals on, and cleans up behind it.

`python -m mpmlab.httpd.keeper SPEC_FD`, started by server.py and nothing else. Whatever becomes of
mpmlab (killed outright, too), this process sees the end of its control pipe, stops httpd, kills
what is left of its session, and removes the run folder, which is made once this process is there.
Were the keeper itself killed, httpd is told to stop by the system (PR_SET_PDEATHSIG).

On the control pipe comes the line `begin`, then lines `signal N`; its end means: stop, clean up,
go. On the report pipe go `started PID` and `ended CODE`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

from mpmlab.real.launch import sweep_session

#: httpd gives its children 10 s (ap_reclaim_child_processes), then it ends.
STOP_S: Final = 15.0
#: Pause between two looks where the end of a process cannot be waited for.
_LOOK_S: Final = 0.02
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True)
class Spec:
    """What server.py tells, as JSON in an unlinked file. `*_fd` are inherited descriptors."""

    command: list[str]
    folder: str
    control_fd: int
    report_fd: int
    output_fd: int
    cores: list[int] | None = None


def main(argv: list[str]) -> None:
    """Keep one httpd from its start to its end."""
    spec_fd = int(argv[1])
    spec = Spec(**json.loads(os.pread(spec_fd, os.fstat(spec_fd).st_size, 0)))
    os.close(spec_fd)
    try:
        _keep(spec)
    finally:
        shutil.rmtree(spec.folder, ignore_errors=True)


def _keep(spec: Spec) -> None:
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans of httpd become ours
    if spec.cores is not None:
        os.sched_setaffinity(0, spec.cores)
    control = _Control(spec.control_fd)
    while not control.lines() and not control.closed:
        control.wait(None)
    if control.closed:
        return
    httpd = subprocess.Popen(
        spec.command,
        stdin=subprocess.DEVNULL,
        stdout=spec.output_fd,
        stderr=spec.output_fd,
        start_new_session=True,
        preexec_fn=_before_exec,
    )
    _report(spec, f"started {httpd.pid}")
    while not _ended(httpd.pid, control):
        for line in control.lines():
            os.kill(httpd.pid, int(line.removeprefix("signal ")))
        if control.closed:
            _stop(httpd.pid)
            break
    sweep_session(httpd.pid)
    code = httpd.wait()
    _reap_orphans()
    _report(spec, f"ended {code}")
    while not control.closed:
        control.wait(None)
        control.lines()


def _before_exec() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    for default in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(default, signal.SIG_DFL)
    # A crash is an answer here, not something to leave files behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _report(spec: Spec, line: str) -> None:
    """mpmlab may be gone: then nobody wants to know."""
    with contextlib.suppress(BrokenPipeError):
        os.write(spec.report_fd, f"{line}\n".encode())


class _Control:
    """The pipe from mpmlab: lines, and its end."""

    def __init__(self, fd: int) -> None:
        self.fd, self.closed, self._partial = fd, False, b""
        os.set_blocking(fd, False)

    def wait(self, timeout_s: float | None, *fds: int) -> None:
        """Until something comes on it, or on one of the others."""
        select.select([*([] if self.closed else [self.fd]), *fds], [], [], timeout_s)

    def lines(self) -> list[str]:
        """What has come."""
        try:
            while data := os.read(self.fd, 4096):
                self._partial += data
            self.closed = True
        except BlockingIOError:
            pass
        *lines, self._partial = self._partial.split(b"\n")
        return [line.decode() for line in lines]


def _ended(pid: int, control: _Control) -> bool:
    """Wait for the end of httpd, or for news on the control pipe. It is not reaped: its number,
    which is its session's too, stays its own."""
    if hasattr(os, "pidfd_open"):
        fd = os.pidfd_open(pid)
        try:
            control.wait(None, fd)
        finally:
            os.close(fd)
    else:
        control.wait(_LOOK_S)
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _stop(pid: int) -> None:
    """TERM, time to end, KILL."""
    os.kill(pid, signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_S
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline_s:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            return
        time.sleep(_LOOK_S)


def _reap_orphans() -> None:
    """Children of httpd that ended as ours."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main(sys.argv)
