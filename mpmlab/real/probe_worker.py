"""The probe's own process: all measurements, round by round, and what they gave as JSON on stdout.

Started by probe.py through the launcher, so that it is a server's process in all that matters:
clean, pinned to the server's core, with the server's modules loaded and frozen. What the figures
mean is assembled in probe.py.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.real.launched import LaunchContext
from mpmlab.real.probe_memory import memory_kib
from mpmlab.real.probe_primitives import Bench, gil_switch_interval_us, small_costs, speed_us
from mpmlab.real.probe_whole import (
    BURN_US,
    CHILDREN,
    RESPONSE_BYTES,
    Whole,
    child,
    closed_loop,
    echo,
    ping,
    request_bytes,
    single,
    slice_of,
    threads,
    unblocked_us,
)

#: How the launcher names `measure`.
ENTRY: Final = "mpmlab.real.probe_worker:measure"


def measure(k: Kernel, context: LaunchContext) -> Steps[int]:
    """Payload: rounds, slice_s, client_core, preload (modules of the server), budget_s (no new
    round begins after that)."""
    yield k.sleep(0)
    told = context.payload
    for module in told["preload"]:
        importlib.import_module(module)
    began = time.monotonic()
    bench = Bench(k)
    rounds: list[dict[str, float]] = []
    for number in range(told["rounds"]):
        if rounds and time.monotonic() - began > told["budget_s"]:
            break
        rounds.append(one_round(bench, told["slice_s"], told["client_core"]))
        _say({"progress": (number + 1) / (told["rounds"] + 1)})
    facts: dict[str, Any] = memory_kib(k, told["client_core"])
    facts |= {
        "send_buffer_bytes": bench.send_buffer(),
        "gil_switch_interval_us": gil_switch_interval_us(),
        "request_bytes": len(request_bytes(keep_alive=True)),
        "response_bytes": RESPONSE_BYTES,
        "somaxconn": _somaxconn(),
    }
    bench.close()
    _say({"rounds": rounds, "facts": facts})
    return 0


def one_round(bench: Bench, slice_s: float, client_core: int | None) -> dict[str, float]:
    """Every quantity once, with the machine's speed beside each group (`*_speed` names the reading
    that belongs to a quantity, see probe.GROUPS)."""
    k = bench.k
    found = {"small_speed": speed_us()}
    found |= small_costs(bench)
    found["unblocked_us"] = unblocked_us(bench)
    found["timer_slack_us"] = bench.slack()
    found["thread_us"] = thread_us(k)
    before = speed_us()
    kept = slice_of(k, CHILDREN, child, closed_loop, client_core, CHILDREN, slice_s, True)
    between = speed_us()
    # Twice as many users: somebody always waits to be accepted, as in a server at its limit.
    closed = slice_of(k, CHILDREN, child, closed_loop, client_core, 2 * CHILDREN, slice_s, False)
    after = speed_us()
    threaded = slice_of(k, 1, threads, closed_loop, client_core, CHILDREN, slice_s, True)
    later = speed_us()
    rested = slice_of(k, 1, child, single, client_core)
    burned = slice_of(k, CHILDREN, child, closed_loop, client_core, CHILDREN, 0.0, True, BURN_US)
    echoed = slice_of(k, 1, echo, ping, client_core)
    found |= _named("kept", kept) | _named("closed", closed) | _named("threaded", threaded)
    found |= {
        "kept_speed": (before + between) / 2,
        "closed_speed": (between + after) / 2,
        "threaded_speed": (after + later) / 2,
        "echo_speed": (later + speed_us()) / 2,
        "fork_us": (kept.fork_us + closed.fork_us) / 2,
        "child_start_us": (kept.child_start_us + closed.child_start_us) / 2,
        "exit_us": (kept.exit_us + closed.exit_us) / 2,
        "rested_us": rested.request_us,
        "burned_us": burned.request_us - BURN_US,
        "echo_us": echoed.request_us,
        "trip_us": echoed.trip_us,
    }
    return found


def _somaxconn() -> int:
    """The longest accept queue that the system allows (Linux), or what the C library promises."""
    path = Path("/proc/sys/net/core/somaxconn")
    return int(path.read_text()) if path.exists() else socket.SOMAXCONN


def _named(name: str, whole: Whole) -> dict[str, float]:
    return {
        f"{name}_us": whole.request_us,
        f"{name}_blocked": whole.blocked_per_request,
        f"{name}_requests": whole.requests,
        f"{name}_foreign": whole.foreign,
    }


def thread_us(k: Kernel, n: int = 16) -> float:
    """CPU of creating a thread and of its start, in a child, for only a process with one thread
    may fork later."""
    read_file, write_file = os.pipe()
    pid = k.fork(_threads, n, write_file)
    os.close(write_file)
    with open(read_file, encoding="ascii") as report:
        spent_us = float(report.read())
    while (dead := k.wait(None)) is None or dead.pid != pid:
        pass
    return spent_us


def _threads(k: Kernel, n: int, file: int) -> Steps[int]:
    ready = k.queue()
    began = time.process_time_ns()
    for _ in range(n):
        yield k.thread(_hello, ready)
    for _ in range(n):
        yield k.get(ready, 5.0)
    os.write(file, str((time.process_time_ns() - began) / 1000 / n).encode())
    return 0


def _hello(k: Kernel, ready: Any) -> Steps[None]:
    yield k.put(ready, "!")


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
