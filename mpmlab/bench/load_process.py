"""The bench's end of a load process: starts it, reads its progress, ends it.

What runs in that process is real/load_process.py; several of them are load_team.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from mpmlab.load.client import REQUEST_TIMEOUT_S
from mpmlab.real.load_process import COMPLETE, START_DELAY_S, STOPPED, Progress


@dataclass(frozen=True)
class Asking:
    """How requests are written. `tagged`: with their number in the plan; `target`: what all ask for
    instead of their demand; `host`: what the Host header says instead of the address."""

    tagged: bool = False
    target: str = ""
    host: str = ""


PLAIN: Final = Asking()


class LoadError(Exception):
    """The load process could not do its work; the text says why."""


class LoadProcess:
    """A load process that has been started. Use as a context manager: at the end of the block it is
    gone, however the block ended. It also dies with the *thread* that made it (PR_SET_PDEATHSIG),
    so make it in one that lives as long as the run.

    Raises LoadError when the process reports a fault."""

    def __init__(
        self,
        plan: str | os.PathLike[str],
        host: str,
        port: int,
        records: str | os.PathLike[str],
        *,
        start_delay_s: float = START_DELAY_S,
        timeout_s: float = REQUEST_TIMEOUT_S,
        cores: Sequence[int] = (),
        part: tuple[int, int] = (0, 1),
        paced: bool = False,
        hold: bool = False,
        namespace: int | None = None,
        asking: Asking = PLAIN,
    ) -> None:
        """`part`, `paced`: see load.client.load. `hold`: the run begins when `begin` is called, not
        by itself. `namespace`: descriptor of the network namespace to run in."""
        self.records_path = Path(records)
        self._partial = b""
        #: A held one has read its plan and waits for `begin`.
        self.ready = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by kill)
        self._fd, theirs = os.pipe()
        os.set_blocking(self._fd, False)
        command = [sys.executable, "-m", "mpmlab.real.load_process",
                   "--plan", os.fspath(plan), "--host", host, "--port", str(port),
                   "--records", os.fspath(records), "--start-delay-s", str(start_delay_s),
                   "--timeout-s", str(timeout_s), "--progress-fd", str(theirs),
                   "--cores", ",".join(map(str, cores)), "--parent", str(os.getpid()),
                   "--part", f"{part[0]}/{part[1]}"]  # fmt: skip
        command += ["--paced"] * paced + ["--hold"] * hold + ["--tagged"] * asking.tagged
        command += ["--target", asking.target] if asking.target else []
        command += ["--host-header", asking.host] if asking.host else []
        passed = [theirs]
        if namespace is not None:
            command += ["--namespace", str(namespace)]
            passed.append(namespace)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if hold else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=passed,
                start_new_session=True,
            )
        except OSError:
            os.close(self._fd)
            self._errors.close()
            raise
        finally:
            os.close(theirs)
        self.pid = self._process.pid

    def progress(self, timeout_s: float = 0.0) -> list[Progress]:
        """The lines that have come since the last call; waits up to timeout_s for the first."""
        if self._fd < 0 or not select.select([self._fd], [], [], timeout_s)[0]:
            return []
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, 65536):
                self._partial += data
            os.close(self._fd)  # the end: it has exited
            self._fd = -1
        *lines, self._partial = self._partial.split(b"\n")
        if lines and lines[0] == b"ready":
            self.ready = True
            del lines[0]
        return [Progress(**json.loads(line)) for line in lines]

    def begin(self, start_s: float) -> None:
        """Let a held one, once `ready`, take that time (of time.monotonic()) as the plan's zero."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: poll() tells
            self._process.stdin.write(f"{start_s!r}\n".encode())
            self._process.stdin.close()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> list[Progress]:
        """Until it ends; the lines that came. Raises TimeoutError if it does not in time, and
        LoadError if it ended otherwise than complete or stopped."""
        lines: list[Progress] = []
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._fd >= 0:
            left_s = 60.0 if deadline_s is None else deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"the load process did not end within {timeout_s} s")
            lines += self.progress(left_s)
        code = self._process.wait()  # the pipe's end was the last thing but exit
        if code not in (COMPLETE, STOPPED):
            raise LoadError(self._fault(code))
        return lines

    def stop(self) -> None:
        """Ask it to end now: it writes what it has, marked as incomplete."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a trace but the records it may have written. Idempotent."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._errors.close()
        for scratch in self.records_path.parent.glob(f".{self.records_path.name}.{self.pid}.part"):
            scratch.unlink(missing_ok=True)

    def __enter__(self) -> LoadProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def _fault(self, code: int) -> str:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return said or f"the load process ended with {ended} and said nothing"
