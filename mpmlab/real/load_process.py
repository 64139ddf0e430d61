"""The load process: the clients of a plan in a process of their own.

`python -m mpmlab.real.load_process` joins load.client, the plan and loop.py (so this file stands on
the bench's floor, not on real's). bench/load_process.py starts it, reads its progress and ends it.
What is measured, and what for, is decided elsewhere.

During the run the garbage collector is off: everything that lives is frozen first, and the clients
make no cycles; a collection of a grown heap would stop the clock hand for milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mpmlab.core.client_wire import BytesClient
from mpmlab.kernel.interface import KernelError
from mpmlab.load.client import REQUEST_TIMEOUT_S, load
from mpmlab.load.parts import sessions_of
from mpmlab.load.recorder import Outcome, Recorder, Records
from mpmlab.real.handles import Address
from mpmlab.real.loop import LoopKernel
from mpmlab.real.netns import enter
from mpmlab.workload.errors import PlanError
from mpmlab.workload.plan import Plan

#: Exit codes of the load process.
COMPLETE: Final = 0
BAD_INPUT: Final = 2
STOPPED: Final = 3

#: Long enough to start the interpreter's clocks and the kernel's loop, from reading the plan on.
START_DELAY_S: Final = 0.2
#: Percentiles of a progress line look at this many of the last requests at most: at 4,096 making
#: one took a millisecond, twice a second, and was the p99.9 of the lateness.
_RECENT: Final = 512
_RECENT_S: Final = 1.0
#: How long the last progress line waits for a reader.
_LAST_LINE_S: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_PR_SET_TIMERSLACK: Final = 29


@dataclass(frozen=True)
class Progress:
    """One progress line. Counts since the start; percentiles of requests that ended in the last
    second, None if there are none."""

    #: time.monotonic() at the plan's zero.
    start_s: float
    #: Seconds since then; negative in the first line, which comes before the start.
    time_s: float
    #: Requests of this process's sessions that have come due.
    planned: int
    ok: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    #: Share of one core that the clients took since the start, spinning included.
    client_cpu: float
    #: The same without spinning: above 0.9 or so it is the client that is measured.
    client_busy: float
    #: How late the clients took requests in hand, up to now.
    lateness_p50_us: float | None
    lateness_p99_us: float | None
    #: In the last line only: whether the run reached its end.
    complete: bool | None = None


class Meter:
    """Progress of a run that is going on: reads the recorder's columns, writes lines to a pipe."""

    def __init__(
        self,
        plan: Plan,
        recorder: Recorder,
        kernel: LoopKernel,
        fd: int | None,
        part: tuple[int, int],
    ) -> None:
        self._recorder = recorder
        self._kernel = kernel
        self._start_s = 0.0
        self._fd = fd
        mine = np.zeros(plan.sessions, dtype=bool)
        mine[sessions_of(plan, part)] = True
        listed = np.repeat(mine, plan.session_requests) & (plan.planned_us >= 0)
        self._planned_us = np.sort(plan.planned_us[listed])
        self._counted = self._ok = self._not_sent = 0
        self._cpu_s, self._since_s, self._idle_s = time.thread_time(), time.monotonic(), 0.0
        if fd is not None:
            os.set_blocking(fd, False)

    def begin(self, start_s: float) -> None:
        """The first line: when the run starts. CPU and work count from then: until then there is
        nothing to do."""
        now_s = time.monotonic()
        self._start_s = start_s
        self._cpu_s, self._since_s = time.thread_time(), max(now_s, start_s)
        self._idle_s = self._kernel.idle_s + max(0.0, start_s - now_s)
        self._write(self.line(now_s - start_s, 0))

    def __call__(self, now_s: float, followed: int) -> None:
        """A line now; load.client's `progress`. Dropped if the reader is that far behind."""
        self._write(self.line(now_s, followed))

    def end(self, complete: bool) -> Progress:
        """The last line, for which a reader gets a little time."""
        now_s = time.monotonic() - self._start_s
        line = self.line(now_s, 0, complete)
        if self._fd is not None:
            select.select([], [self._fd], [], _LAST_LINE_S)
        self._write(line)
        return line

    def line(self, now_s: float, followed: int, complete: bool | None = None) -> Progress:
        """How things stand."""
        count, ok = self._recorder.tally(self._counted, Outcome.OK)
        self._counted += count
        self._ok += ok
        # A line on the way looks at the last requests, the last line at all of them.
        rows = self._recorder.rows(0 if complete is not None else -_RECENT)
        recent = rows[-_RECENT:]
        latency = (recent["ended_s"] - recent["planned_s"])[recent["ended_s"] >= now_s - _RECENT_S]
        lateness = rows["lateness_s"]
        elapsed_s = max(1e-9, time.monotonic() - self._since_s)
        planned = int(np.searchsorted(self._planned_us, now_s * 1e6, side="right")) + followed
        return Progress(
            start_s=self._start_s,
            time_s=now_s,
            planned=self._counted if complete is not None else planned,
            ok=self._ok,
            errors=self._counted - self._ok,
            p50_ms=quantile(latency, 0.5, 1e3),
            p99_ms=quantile(latency, 0.99, 1e3),
            client_cpu=(time.thread_time() - self._cpu_s) / elapsed_s,
            client_busy=min(1.0, max(0.0, 1 - (self._kernel.idle_s - self._idle_s) / elapsed_s)),
            lateness_p50_us=quantile(lateness, 0.5, 1e6),
            lateness_p99_us=quantile(lateness, 0.99, 1e6),
            complete=complete,
        )

    def _write(self, line: Progress) -> None:
        if self._fd is not None:
            # Full: nobody reads just now. Broken: nobody ever will. The run goes on in both cases.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._fd, json.dumps(asdict(line)).encode() + b"\n")


def quantile(values: npt.NDArray[Any], p: float, scale: float) -> float | None:
    """The p-quantile of what is not NaN (an order statistic), times scale; None of nothing."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    return scale * float(np.quantile(values, p, method="inverted_cdf"))


# ---- the process ---------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the plan; the exit code."""
    options = parser().parse_args(argv)
    if options.hold and options.progress_fd is None:
        parser().error("--hold needs --progress-fd: somebody to tell that it is ready")
    for number in (signal.SIGTERM, signal.SIGINT):  # until the run there is nothing to write
        signal.signal(number, lambda *_: sys.exit(STOPPED))
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != options.parent:
        return STOPPED  # it died before it could be followed
    prctl(_PR_SET_TIMERSLACK, 1)  # nanosecond; select() is up to 50 us late by default
    try:
        if options.namespace is not None:
            enter(options.namespace)
        raise_descriptor_limit()
        pin(options.cores)
        records = run(LoopKernel(), Plan.load(options.plan), options)
        records.save(options.records)
    except (PlanError, KernelError, OSError) as error:
        print(f"load process: {error}", file=sys.stderr)
        return BAD_INPUT
    return COMPLETE if records.complete else STOPPED


def run(kernel: LoopKernel, plan: Plan, options: argparse.Namespace) -> Records:
    """The run itself; its records."""
    recorder = Recorder()
    host = options.host_header or f"{options.host}:{options.port}"
    meter = Meter(plan, recorder, kernel, options.progress_fd, options.part)
    gc.collect()
    gc.freeze()
    start_s = agreed_start_s(options)
    kernel.listen_to_signals()
    started_at = time.time() + start_s - time.monotonic()
    gc.disable()
    meter.begin(start_s)
    try:
        kernel.run(
            partial(
                load, ahead=True, paced=options.paced, part=options.part, tagged=options.tagged
            ),
            plan, Address(options.port, options.host), partial(BytesClient, host, options.target),
            recorder, start_s, meter, options.timeout_s,
        )  # fmt: skip
    finally:
        gc.enable()
        gc.unfreeze()
    last = meter.end(recorder.complete)
    records = recorder.records({
        "plan": plan.hash,
        "scenario": plan.scenario,
        "server": host,
        "timeout_s": options.timeout_s,
        "part": list(options.part),
        "paced": options.paced,
        "max_connections": kernel.max_connections,
        "started_at": started_at,
        "shortages": kernel.shortages,
        "queued_connects": kernel.queued_connects,
        **asdict(last),
    })  # fmt: skip
    for breach in records.breaches(plan) if options.part[1] == 1 else ():
        raise AssertionError(f"the account does not balance: {breach}")
    return records


def agreed_start_s(options: argparse.Namespace) -> float:
    """The plan's zero: so many seconds from now, or, with --hold, what standard input says once all
    load processes of a run have said that they are ready."""
    if not options.hold:
        return time.monotonic() + float(options.start_delay_s)
    os.write(options.progress_fd, b"ready\n")
    said = sys.stdin.readline()
    if not said:
        sys.exit(STOPPED)
    return float(said)


def raise_descriptor_limit() -> None:
    """As many descriptors as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def parser() -> argparse.ArgumentParser:
    """The command line; written by LoadProcess, not by people."""
    made = argparse.ArgumentParser(prog="load process", description=__doc__.splitlines()[0])
    made.add_argument("--plan", type=Path, required=True)
    made.add_argument("--host", type=_ipv4, required=True)
    made.add_argument("--port", type=int, required=True)
    made.add_argument("--records", type=Path, required=True)
    made.add_argument("--start-delay-s", type=float, default=START_DELAY_S)
    made.add_argument("--timeout-s", type=float, default=REQUEST_TIMEOUT_S)
    made.add_argument("--progress-fd", type=int)
    made.add_argument("--cores", type=_cores, default=())
    made.add_argument("--part", type=_part, default=(0, 1))
    made.add_argument("--paced", action="store_true")
    made.add_argument("--hold", action="store_true")
    made.add_argument("--namespace", type=int)
    made.add_argument("--tagged", action="store_true")
    made.add_argument("--target", default="")
    made.add_argument("--host-header", default="")
    made.add_argument("--parent", type=int, default=os.getppid())
    return made


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IPv4 address") from error


def _cores(text: str) -> tuple[int, ...]:
    return tuple(int(core) for core in text.split(",") if core)


def _part(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    part = int(index), int(count)
    if not 0 <= part[0] < part[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not i/n with i from 0 to n - 1")
    return part


def pin(cores: Sequence[int]) -> None:
    """Run on these cores only; anywhere if there are none. Raises OSError."""
    if cores:
        try:
            os.sched_setaffinity(0, cores)
        except OSError as error:
            allowed = ",".join(map(str, sorted(os.sched_getaffinity(0))))
            raise OSError(
                f"--cores {cores}: {error.strerror}; this machine has {allowed}"
            ) from None


def prctl(option: int, value: int) -> None:
    """prctl(2) of this process. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    sys.exit(main())
