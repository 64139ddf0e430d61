"""Our end of the keeper (keeper.py): two pipes and a process, through which httpd is started,
signalled and waited for. What httpd is, and whether it answers, is server.py's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import psutil

from mpmlab.httpd.keeper import Spec
from mpmlab.kernel.interface import KernelError, Signal
from mpmlab.real.launch import sweep_session, wait_until_dead
from mpmlab.real.netns import inside
from mpmlab.real.process import UNIX

#: From the start of the keeper to the first answer.
START_TIMEOUT_S: Final = 30.0


class HttpdError(KernelError):
    """httpd did not start, or is not what was started; the text has what it said."""


class Keeper:
    """The process that keeps one httpd. It is there before the run folder is, so that nothing is
    left whenever we are killed, and starts httpd when it is told to."""

    def __init__(
        self, command: list[str], folder: Path, cores: Iterable[int] | None, namespace: int | None
    ) -> None:
        """`command` starts httpd, `folder` is what it removes at the end, `cores` and `namespace`
        are where it is to run."""
        self.folder = folder
        self.pid = 0
        self.code: int | None = None
        self._httpd: psutil.Process | None = None
        self._lost = False
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

    def begin(self) -> None:
        """Let it start httpd. Raises HttpdError."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._control, b"begin\n")
        first = self._line(START_TIMEOUT_S)
        if first is None or not first.startswith("started "):
            raise HttpdError(f"httpd could not be started:\n{self.output()}")
        self.pid = int(first.removeprefix("started "))
        with contextlib.suppress(psutil.NoSuchProcess):
            self._httpd = psutil.Process(self.pid)

    def signal(self, number: int) -> bool:
        """Have the keeper send it: only it knows that the pid is still httpd's."""
        if self.wait(0) is not None:
            return False
        if self._lost:
            return self._signal_alone(number)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._control, f"signal {int(number)}\n".encode())
            return True
        return False

    def wait(self, timeout_s: float | None) -> int | None:
        """httpd's exit code, once it has ended; SIGKILL's if the keeper was killed, as nobody knows
        it then."""
        if self.code is None and self._report >= 0:
            line = self._line(timeout_s)
            if line:
                self.code = int(line.removeprefix("ended "))
            elif line is not None and self._ended_alone(timeout_s):
                self.code = -int(UNIX[Signal.KILL])
        return self.code

    def _signal_alone(self, number: int) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._httpd is not None:
                self._httpd.send_signal(number)
                return True
        return False

    def _ended_alone(self, timeout_s: float | None) -> bool:
        """The keeper was killed: httpd has its TERM from the system where there is such a thing,
        and its end and what it leaves is our affair."""
        if not self._lost:
            self._lost = True
            self._signal_alone(UNIX[Signal.TERM])
        if self._httpd is None:
            return True
        if self._httpd.is_running() and not wait_until_dead(self.pid, timeout_s):
            return False
        sweep_session(self.pid)
        return True

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
