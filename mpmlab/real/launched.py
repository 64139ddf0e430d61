"""The server's side of the launcher: what runs in the clean process that launch.py starts.

It takes over the process, builds the kernel and the shared handles, and drives the entry point as
the main thread. The launcher's side, and how the two talk, is launch.py.
"""

from __future__ import annotations

import gc
import importlib
import json
import mmap
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from mpmlab.kernel.interface import KernelError
from mpmlab.real.drive import drive
from mpmlab.real.handles import Listener
from mpmlab.real.kernel import MainKernel
from mpmlab.real.process import EXIT_BUG, Process, leave


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """What an entry point `fn(k, context)` gets: the launcher's payload (JSON), the listening
    socket, and the memory for a scoreboard, shared with the launcher (None if none was asked)."""

    payload: Mapping[str, Any]
    listener: Listener
    board_buffer: memoryview | None


@dataclass(frozen=True, slots=True)
class Spec:
    """What the launcher tells its process, as JSON in an unlinked file. `*_fd` are descriptors
    that it inherits under the same number."""

    parent_pid: int
    entry: str  # "package.module:function"
    payload: Mapping[str, Any]
    listener_fd: int
    log_fd: int
    ready_fd: int
    board_fd: int | None = None
    board_size: int = 0
    cores: list[int] | None = None
    run_folder: str | None = None


def main(argv: list[str]) -> NoReturn:
    """`python -m mpmlab.real.launched SPEC_FD`"""
    code: int | None = EXIT_BUG
    try:
        spec_fd = int(argv[1])
        spec = Spec(**json.loads(os.pread(spec_fd, os.fstat(spec_fd).st_size, 0)))
        os.close(spec_fd)
        code = run(spec)
    except BaseException:  # noqa: BLE001 - the launcher shows it; threads must not outlive it
        traceback.print_exc()
    finally:
        leave(code)


def run(spec: Spec) -> int | None:
    """Become the server and run it to its end; its exit code."""
    if spec.cores is not None:
        if not hasattr(os, "sched_setaffinity"):
            raise KernelError("this system cannot pin a process to cores: ask for none")
        os.sched_setaffinity(0, spec.cores)
    # A crash is an answer here, not something to leave files behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    process = Process(spec.parent_pid, spec.log_fd, spec.run_folder)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    board = None
    if spec.board_fd is not None:
        board = memoryview(mmap.mmap(spec.board_fd, spec.board_size))
        os.close(spec.board_fd)
    listener = Listener(socket.socket(fileno=spec.listener_fd))
    steps = find(spec.entry)(MainKernel(process), LaunchContext(spec.payload, listener, board))
    # Children share these pages only while the collector does not write into them.
    gc.collect()
    gc.freeze()
    os.write(spec.ready_fd, b"\0")
    os.close(spec.ready_fd)
    code: int | None = drive(steps)
    return code


def find(entry: str) -> Any:
    """The function that "package.module:function" names."""
    module, colon, name = entry.partition(":")
    function = getattr(importlib.import_module(module), name, None) if colon else None
    if not callable(function):
        raise KernelError(f"entry {entry!r}: expected 'package.module:function' that exists")
    return function


if __name__ == "__main__":
    # By its canonical name, so that entry points which import it find the same classes.
    importlib.import_module("mpmlab.real.launched").main(sys.argv)
