"""What each primitive costs on this machine: measure once, keep the profile, give it as a Platform.

Here the figures of probe_worker.py become the costs that the simulation charges; measuring is its
business. The sums are made to match the whole: what the primitives leave of a measured request is
`request_us`, what they leave of a measured connection `connection_us`.

Virtual machines change their speed by almost two within seconds, so every figure is taken in many
short rounds with a reading of the machine's speed beside it, scaled to the median speed, and the
median of the rounds is kept.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import platformdirs

from mpmlab.core.platform import Costs, Platform, with_costs_times
from mpmlab.core.platform_file import (
    PlatformFileError,
    provenance,
    read_platform,
    write_platform,
)
from mpmlab.kernel.interface import KernelError
from mpmlab.real.launch import Server, start_server
from mpmlab.real.machine import fingerprint, fingerprint_key, gil_enabled, usable_cores
from mpmlab.real.probe_worker import ENTRY

#: Called with the share that is done, 0 to 1.
Progress = Callable[[float], None]

#: Rounds, their slices, and when no new round begins: 15 s at most, together with start and memory.
ROUNDS: Final = 12
SLICE_S: Final = 0.2
BUDGET_S: Final = 10.0
#: The probe has hung.
TIMEOUT_S: Final = 60.0
#: How often progress is looked for.
LOOK_S: Final = 0.2
#: The modules that make a server's process as large as it is. A name and no import: they stand on
#: a higher floor.
SERVER_MODULES: Final = ("mpmlab.bench.server",)
#: Least cost of anything: simulated time must not stand still.
LEAST_US: Final = 0.01
LEAST_LATENCY_US: Final = 1.0

#: Speeds within this factor are one: the loop's own time differs by up to a quarter from process to
#: process (how warm its caches are, where its code lies), while the machine's jumps are of 1.85.
SAME_SPEED: Final = 1.3
#: Quantities that were measured beside another speed reading than "small_speed".
_SPEED_OF: Final = {
    "kept_us": "kept_speed",
    "closed_us": "closed_speed",
    "threaded_us": "threaded_speed",
    "fork_us": "closed_speed",
    "child_start_us": "closed_speed",
    "exit_us": "closed_speed",
    "rested_us": "echo_speed",
    "burned_us": "echo_speed",
    "echo_us": "echo_speed",
    "trip_us": "echo_speed",
}
#: Quantities that are times of computing; what else a round holds is never scaled.
_PLAIN: Final = ("timer_slack_us",)
#: Share of the core that others may take in a slice whose figures are used. (A foreign process
#: leaves the caches cold: requests then cost a quarter more.)
FOREIGN: Final = 0.1
#: If fewer slices are that good, so many of the best are used.
FEWEST: Final = 3
#: The whole requests, each measured in a slice of its own.
_WHOLES: Final = ("kept_us", "closed_us", "threaded_us")
_SPEEDS: Final = ("small_speed", "kept_speed", "closed_speed", "threaded_speed", "echo_speed")
#: What the source of a calibrated value begins with (bench/calibration.py).
CALIBRATED: Final = "mpmlab calibrate"
_AT_SPEED: Final = re.compile(r"speed loop ([\d.]+) us( \(scaled from [\d.]+ us\))?")

#: Costs that are a median of what the worker measured, and what was measured.
_DIRECT: Final = {
    "fork_us": "CPU of the parent in fork",
    "child_start_us": "CPU of a child before its first step",
    "thread_us": "CPU of creating and starting a thread",
    "exit_us": "CPU of the parent reaping a child",
    "lock_us": "lock and unlock of a shared mutex, alone",
    "put_us": "put into a queue within the process",
    "get_us": "get from a queue within the process",
    "accept_us": "accept of a waiting connection",
    "recv_us": "recv of 128 bytes that are there",
    "recv_per_kb_us": "recv of 64 KiB, less recv of 128 bytes",
    "send_us": "send of 128 bytes over loopback",
    "send_per_kb_us": "send of 64 KiB, less send of 128 bytes",
    "close_us": "close, mean of both ends",
    "connect_us": "connect over loopback",
    "poll_us": "poll with one ready source",
    "arm_us": "arm of a source",
    "signal_us": "kill and take_signals, same process",
    "step_us": "a driven step through two delegations, one look at a flag, two notes on the board",
}  # fmt: skip
_RESIDUAL: Final = {
    "switch_us": "keep-alive request of 6 processes on one core, less one that never waits",
    "thread_switch_us": "keep-alive request of 6 threads on one core, less one that never waits",
    "stale_us": "twice: keep-alive request after 3 ms of rest, less one of 6 busy processes",
    "cold_us": "keep-alive request of 6 processes that burns 1 ms, less one that does not",
    "request_us": "keep-alive request that never waits, less its operations",
    "connection_us": "connection with one request at a prefork's limit, less its operations",
}


def local_platform(refresh: bool = False, progress: Progress | None = None) -> Platform:
    """This machine's profile: from the user's cache if it is there and fits the machine, the
    interpreter and this version of the code, else measured now (at most 15 s) and kept.

    Raises KernelError if it cannot be measured. A cache that cannot be written is no error: the
    profile is measured anew next time."""
    path = profile_path()
    if not refresh:
        with contextlib.suppress(OSError, PlatformFileError):  # not there, or of another version
            return read_platform(path)
    platform = probe(progress)
    with contextlib.suppress(OSError):
        write_platform(platform, path)
    return platform


def profile_path() -> Path:
    """Where the profile of this machine, interpreter and code is kept."""
    key = f"{fingerprint_key()}-{_code_key()}"
    return Path(platformdirs.user_cache_dir("mpmlab")) / "profiles" / f"{key}.toml"


def probe(
    progress: Progress | None = None,
    rounds: int = ROUNDS,
    slice_s: float = SLICE_S,
    preload: Sequence[str] = SERVER_MODULES,
) -> Platform:
    """Measure this machine, on one core for the server and another for the client where there are
    two. Takes at most 15 s. Raises KernelError with what the measuring process said."""
    cores = usable_cores()
    payload = {
        "rounds": rounds,
        "slice_s": slice_s,
        "budget_s": BUDGET_S,
        "client_core": cores[-1] if len(cores) > 1 else None,
        "preload": list(preload),
    }
    with start_server(ENTRY, payload, cores=_server_core(cores)) as server:
        code = _follow(server, progress)
        said = server.stderr()
    if code != 0:
        raise KernelError(f"the probe failed (exit code {code}):\n{said}")
    told = json.loads(said.splitlines()[-1])
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return assemble(told["rounds"], told["facts"], fingerprint(), today)


def _server_core(cores: list[int]) -> list[int] | None:
    """The first core, as the bench gives it to servers; None where processes cannot be pinned."""
    return cores[:1] if hasattr(os, "sched_setaffinity") else None


def _follow(server: Server, progress: Progress | None) -> int | None:
    """Wait for the worker's end, handing on what it says of its progress."""
    code, waited_s = None, 0.0
    while code is None and waited_s < TIMEOUT_S:
        code = server.wait(LOOK_S)
        waited_s += LOOK_S
        done = re.findall(r'^\{"progress": ([\d.]+)\}$', server.stderr(), re.MULTILINE)
        if progress is not None and done:
            progress(1.0 if code == 0 else float(done[-1]))
    return code


def assemble(
    rounds: Sequence[Mapping[str, float]],
    facts: Mapping[str, Any],
    machine: Mapping[str, str | int | bool],
    date: str,
) -> Platform:
    """The platform that the worker's figures describe. Pure. `date` is ISO 8601."""
    speed_us = median([r[name] for r in rounds for name in _SPEEDS])
    names = [name for name in rounds[0] if name.endswith("_us")]
    m = {name: median(_scaled(rounds, name, speed_us)) for name in names}
    costs = _costs(m, facts)
    answered = costs["recv_us"] + costs["send_us"] + 2 * costs["step_us"] + costs["switch_us"]
    latency_us = max((m["trip_us"] - answered) / 2, LEAST_LATENCY_US)
    good = min(len(_undisturbed(rounds, name)) for name in _WHOLES)
    where = (
        f"mpmlab probe, {good} of {len(rounds)} rounds used, speed loop {speed_us:.1f} us, "
        f"{machine['cpu']}, {machine['system']} {machine['kernel']}, {machine['python']}"
    )
    values = {
        "cores": (max(1, int(machine["cores"]) - 1), "usable cores, less one for the client"),
        "gil": (gil_enabled(), "the interpreter that measured"),
        "gil_switch_interval_us": (facts["gil_switch_interval_us"], "sys.getswitchinterval"),
        "wake_policy": ("herd", "our kernel's accept waits in poll(), which wakes all that wait"),
        "timer_slack_us": (m["timer_slack_us"], "a handler's wait of 2 ms"),
        "latency_us": (latency_us, "half of an echo's round trip, less the server's costs"),
        "send_buffer_bytes": (facts["send_buffer_bytes"], "sent to a peer that does not read"),
        "somaxconn": (facts["somaxconn"], "net.core.somaxconn"),
        "parent_memory_kib": (facts["parent_memory_kib"], "PSS of pools of 2 and 8 children"),
        "process_memory_kib": (facts["process_memory_kib"], "PSS of pools of 2 and 8 children"),
        "thread_memory_kib": (facts["thread_memory_kib"], "PSS with 32 waiting threads"),
        "connection_memory_kib": (
            facts["connection_memory_kib"], "PSS with 64 connections, both ends"
        ),
    }  # fmt: skip
    sources = {
        name: provenance(f"{how}; {where}", date) for name, how in (_DIRECT | _RESIDUAL).items()
    }
    sources |= {name: provenance(f"{how}; {where}", date) for name, (_, how) in values.items()}
    platform = Platform(name="this machine", costs=Costs(**costs), sources=sources)
    return replace(platform, **{name: value for name, (value, _) in values.items()})


def _costs(m: Mapping[str, float], facts: Mapping[str, Any]) -> dict[str, float]:
    """The fields of Costs from the medians of what was measured: what is measured as it is, and
    what the whole leaves."""
    costs = {
        name: max(m[name], 0.0 if name.endswith("per_kb_us") else LEAST_US) for name in _DIRECT
    }
    request_kb, response_kb = (facts[f"{name}_bytes"] / 1024 for name in ("request", "response"))
    step = costs["step_us"]
    recv = costs["recv_us"] + step
    exchange = (
        recv + request_kb * costs["recv_per_kb_us"]
        + costs["send_us"] + step + response_kb * costs["send_per_kb_us"]
    )  # fmt: skip
    # A request of a busy server waits once: for its own bytes.
    costs["switch_us"] = max(m["kept_us"] - m["unblocked_us"], LEAST_US)
    costs["thread_switch_us"] = max(m["threaded_us"] - m["unblocked_us"], LEAST_US)
    # After stale_after_us, which is as long, half of it is lost.
    costs["stale_us"] = 2 * max(m["rested_us"] - m["kept_us"], 0.0)
    costs["cold_us"] = max(m["burned_us"] - m["kept_us"], 0.0)
    costs["request_us"] = max(m["unblocked_us"] - exchange - step, LEAST_US)
    # No switch here: in a simulated server at its limit, whose processes share the core and do not
    # take turns, connection, request and end of the stream are there when they are asked for. What
    # waits in reality (for the end of the stream, mostly) is in the measured whole.
    connection = (
        costs["accept_us"] + step
        + exchange + costs["request_us"] + step
        + 2 * costs["close_us"] + recv  # half, the end of the stream, whole
        + costs["get_us"] + step  # the pipe of death
    )  # fmt: skip
    costs["connection_us"] = max(m["closed_us"] - connection, LEAST_US)
    return costs


def _scaled(rounds: Sequence[Mapping[str, float]], name: str, speed_us: float) -> list[float]:
    """A quantity's value in each round that may be used, as if the machine had always had the same
    speed."""
    if name in _PLAIN:
        return [r[name] for r in rounds]
    beside = _SPEED_OF.get(name, "small_speed")
    used = _undisturbed(rounds, name) if name in _WHOLES else rounds
    return [r[name] * speed_us / r[beside] for r in used]


def _undisturbed(rounds: Sequence[Mapping[str, float]], name: str) -> list[Mapping[str, float]]:
    """The rounds in whose slice nobody else took the core; at least FEWEST."""
    share = name.removesuffix("_us") + "_foreign"
    ordered = sorted(rounds, key=lambda r: r[share])
    good = sum(1 for r in rounds if r[share] <= FOREIGN)
    return ordered[: max(good, FEWEST)]


def speed_of(platform: Platform) -> float | None:
    """Microseconds that the speed loop (20,000 turns, as bench/speed.py's) took on the machine at
    the speed to which the costs were scaled; None if the profile does not say."""
    found = _AT_SPEED.search(platform.sources.get("request_us", ""))
    return float(found[1]) if found else None


def at_speed(platform: Platform, loop_us: float) -> Platform:
    """The same platform while the machine is as fast as a speed loop of `loop_us` says. Unchanged
    if the profile does not say for which speed it holds; and a probed one, if that is within
    SAME_SPEED. (A calibrated one was fitted with readings of the very kind that a run has.)"""
    measured_us = speed_of(platform)
    if measured_us is None:
        return platform
    factor = loop_us / measured_us
    probed = CALIBRATED not in platform.sources["request_us"]
    if probed and 1 / SAME_SPEED <= factor <= SAME_SPEED:
        return platform
    now = f"speed loop {loop_us:.1f} us (scaled from {measured_us:.1f} us)"
    costs = {item.name for item in fields(Costs)}
    sources = {
        name: _AT_SPEED.sub(now, text) if name in costs else text
        for name, text in platform.sources.items()
    }
    intervals = {
        name: (factor * ends[0], factor * ends[1]) if name in costs else ends
        for name, ends in platform.intervals.items()
    }
    scaled = with_costs_times(platform, factor)
    return replace(scaled, sources=sources, intervals=intervals)


def code_key(folders: Sequence[str]) -> str:
    """Eight digits that change with the code in these folders of the package."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _code_key() -> str:
    """Eight digits that change with the code whose costs a profile holds."""
    return code_key(("core", "real"))
