"""One process of the real world: its signals, its wake-up pipe, its children and its death.

Nothing here knows of sockets or queues. All of it belongs to the process's main thread, except the
lists that others may look at.

How a signal becomes a fact to look at: a Python-level handler appends it to `pending`, and the
interpreter writes a byte to the wake-up pipe (signal.set_wakeup_fd), on which every interruptible
wait polls. The byte is written in the C handler, so a signal that comes between the look at
`pending` and the poll still ends the poll; SIGCHLD has an empty handler for the sake of its byte.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

from mpmlab.kernel.interface import Dead, KernelError, Signal
from mpmlab.real.error_log import LogLine, format_line

UNIX: Final = {
    Signal.TERM: signal.SIGTERM,
    Signal.WINCH: signal.SIGWINCH,
    Signal.HUP: signal.SIGHUP,
    Signal.USR1: signal.SIGUSR1,
    Signal.KILL: signal.SIGKILL,
    Signal.SEGV: signal.SIGSEGV,
}
_BY_NUMBER: Final = {int(number): sign for sign, number in UNIX.items()}
_CAUGHT: Final = (Signal.TERM, Signal.WINCH, Signal.HUP, Signal.USR1)
_MASK: Final = frozenset(UNIX[s] for s in _CAUGHT) | {signal.SIGCHLD}

#: Exit code of a process that ended by a bug (sysexits.h: EX_SOFTWARE).
EXIT_BUG: Final = 70
#: How often a process looks for its parent where the system cannot tie their deaths together.
PARENT_CHECK_S: Final = 1.0

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
# Loaded before any fork: a child must not run the dynamic loader.
_prctl: Any = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class Process:
    """The state of the running process that its threads' kernels share."""

    __slots__ = (
        "children",
        "interrupt_fd",
        "interrupt_write",
        "interrupted",
        "log_fd",
        "parent_pid",
        "pending",
        "pid",
        "run_folder",
        "thread_ids",
        "wake_read",
        "wake_write",
        "watches_parent",
    )

    def __init__(self, parent_pid: int, log_fd: int = 2, run_folder: str | None = None):
        """Take over the calling process: its signals, its wake-up descriptor, and its death, which
        follows that of `parent_pid`. Main thread only. `run_folder` is where a shared mutex keeps
        its file on systems without /proc."""
        self.pid = os.getpid()
        self.parent_pid = parent_pid
        self.log_fd = log_fd
        self.run_folder = run_folder
        self.pending: list[Signal] = []
        self.children: set[int] = set()
        self.thread_ids = itertools.count(1)  # the main thread is 0
        self.interrupted = False
        self.interrupt_fd = self.interrupt_write = -1  # a pipe, made with the first thread
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(self.wake_write, False)
        self._catch_signals()
        self.watches_parent = not self._die_with_parent()

    def _catch_signals(self) -> None:
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        pending = self.pending

        def note(number: int, _frame: object) -> None:
            # As in Unix, a signal that is pending already is not pending twice.
            sign = _BY_NUMBER[number]
            if sign not in pending:
                pending.append(sign)

        for sign in _CAUGHT:
            signal.signal(UNIX[sign], note)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's business
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _die_with_parent(self) -> bool:
        """Ask the system to kill this process when its parent dies. False where it cannot."""
        if _prctl is not None and _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            raise KernelError(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
        self.check_parent()  # it may have died before we asked
        return _prctl is not None

    def check_parent(self) -> None:
        """End this process if the one that started it is gone."""
        if os.getppid() != self.parent_pid:
            os._exit(EXIT_BUG)

    # ---- the wake-up pipe ----------------------------------------------------------------------

    def ring(self) -> None:
        """End the main thread's current interruptible wait, or else its next. From any thread."""
        with contextlib.suppress(BlockingIOError):  # full: it is readable, which is all we want
            os.write(self.wake_write, b"\0")

    def hush(self) -> None:
        """Empty the wake-up pipe. What it announced is in `pending`, or for waitpid to say."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_read, 4096)

    # ---- signals -------------------------------------------------------------------------------

    def kill(self, pid: int, sign: Signal) -> bool:
        """Signal this process or a live child of it. False for any other number: it may be
        somebody else's by now (httpd: ap_mpm_safe_kill)."""
        if pid != self.pid and (pid not in self.children or _is_zombie(pid)):
            return False
        try:
            os.kill(pid, UNIX[sign])
        except ProcessLookupError:
            return False
        return True

    def dies_of(self, sign: Signal) -> None:
        """See the interface. WINCH is refused: its default disposition is to be ignored."""
        if sign is Signal.WINCH:
            raise KernelError("dies_of(WINCH): no process dies of WINCH by default")
        if sign not in _CAUGHT:
            return
        # Blocked meanwhile, or one that comes between the two handlers would be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {UNIX[sign]})
        signal.signal(UNIX[sign], signal.SIG_DFL)
        if sign in self.pending:
            os.kill(self.pid, UNIX[sign])
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    # ---- threads -------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """End the socket waits of all threads but the main one, from now on: `interrupt_fd`, which
        they poll, stays readable for good."""
        if not self.interrupted:
            self.interrupted = True
            if self.interrupt_write >= 0:
                os.write(self.interrupt_write, b"\0")

    def prepare_threads(self) -> None:
        """Make the pipe of `interrupt`. Before the first thread starts; later calls do nothing."""
        if self.interrupt_fd < 0:
            self.interrupt_fd, self.interrupt_write = os.pipe()
            if self.interrupted:
                os.write(self.interrupt_write, b"\0")

    def start_thread(self, run: Callable[[], object]) -> int | None:
        """Run that in a daemon thread -> its id, or None when the system has no more threads. An
        exception in it is a bug and ends the process."""

        def body() -> None:
            try:
                run()
            except BaseException:  # noqa: BLE001 - a thread that dies silently would hang its pool
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(EXIT_BUG)

        tid = next(self.thread_ids)
        try:
            threading.Thread(target=body, name=f"tid {tid}", daemon=True).start()
        except RuntimeError:  # "can't start new thread"
            return None
        return tid

    # ---- children ------------------------------------------------------------------------------

    def fork(self, run: Callable[[Process], int | None]) -> int | None:
        """Fork -> the child's pid, or None when the system refuses. The child takes itself over
        and exits with what `run(process)` returns."""
        if threading.active_count() != 1:
            names = ", ".join(t.name for t in threading.enumerate())
            raise KernelError(f"fork needs a process with one thread; there are: {names}")
        sys.stdout.flush()
        sys.stderr.flush()
        # Blocked until the child has its own handlers: one sent to it early is kept, not lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _MASK)
        try:
            pid = os.fork()
        except OSError:  # EAGAIN, ENOMEM
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return None
        if pid == 0:
            self._be_child(before, run)
        self.children.add(pid)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _be_child(self, mask: set[Any], run: Callable[[Process], int | None]) -> NoReturn:
        code: int | None = EXIT_BUG
        try:
            process = Process(self.pid, self.log_fd, self.run_folder)
            os.close(self.wake_read)
            os.close(self.wake_write)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = run(process)
        except BaseException:  # noqa: BLE001 - nothing may return into the parent's frames
            traceback.print_exc()
        finally:
            leave(code)

    def reap(self) -> Dead | None:
        """One child that has ended, or None. Never waits."""
        if not self.children:
            return None
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return None
        self.children.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return Dead(pid, code)
        # Other deadly signals (ABRT, BUS, FPE...) are crashes too.
        return Dead(pid, code, _BY_NUMBER.get(-code, Signal.SEGV))

    # ---- the error log -------------------------------------------------------------------------

    def log(self, line: LogLine, wall_s: float) -> None:
        """One write: lines of several processes do not mix in a file opened for appending."""
        os.write(self.log_fd, format_line(line, wall_s).encode())


def _is_zombie(pid: int) -> bool:
    """Whether that child has ended and waits to be reaped. False where it cannot be told."""
    if not hasattr(os, "waitid"):
        return False
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended is not None


def leave(code: int | None) -> NoReturn:
    """End this process at once, with what was printed so far. None is exit code 0."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0 if code is None else code)
