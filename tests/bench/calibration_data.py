"""Made-up calibrations: training runs that are simulated with a platform that is known, so that it
is known what a fit must find. Builders only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from mpmlab.bench.calibrate import SUITE
from mpmlab.bench.calibration import Fit, Residual, Taken, Trial, simulate
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.suite import load_suite
from mpmlab.bench.summary import Summary
from mpmlab.bench.task import Watch
from mpmlab.bench.validate import bench_of
from mpmlab.core.platform import Costs, Platform
from mpmlab.core.platform_file import provenance

DATE = "2026-11-24"
#: Of the machine on which the profiles here hold.
SPEED_US = 500.0
_TOLD = provenance("mpmlab probe, speed loop 500.0 us", DATE)

#: What the training runs are made with.
PLANTED = Platform(
    "planted",
    Costs(
        request_us=180, connection_us=60, recv_us=6, send_us=12, accept_us=15, close_us=8,
        switch_us=8, thread_switch_us=6, poll_us=3, arm_us=1, cold_us=40,
    ),
    parent_memory_kib=9000.0,
    process_memory_kib=6000.0,
    thread_memory_kib=40.0,
    sources={
        item.name: _TOLD
        for kind in (Costs, Platform)
        for item in fields(kind)
        if item.name not in ("name", "costs", "sources", "intervals")
    },
)  # fmt: skip
#: A run of which only the speed is told: for what does not look at the rest.
TAKEN = Taken(SPEED_US, 200.0, 3000.0, 5.0, 4.0, 9.0, 64.0)


def watch(told: Callable[[float], None] | None = None) -> Watch:
    """Of somebody who never interrupts."""
    return Watch(Interruption(), (lambda _: None) if told is None else told)


def trial_of(
    case: str, mpm: str = "prefork", duration_s: float | None = None, *taken: Taken
) -> Trial:
    """A case of the shipped calibration, with these runs."""
    (found,) = [one for one in load_suite(SUITE).cases if one.name == case]
    (task,) = bench_of(found, mpm, ("sim",), 1, duration_s, None).tasks
    return Trial(case, task, taken)


def taken_of(seen: Summary, speed_us: float = SPEED_US) -> Taken:
    """What a run says of which that is the summary."""
    values = (seen.cpu_per_request_us, seen.throughput_rps, seen.mean_ms, seen.p50_ms, seen.p99_ms)
    cpu_us, rate, mean, p50, p99 = (float(value) for value in values if value is not None)
    return Taken(speed_us, cpu_us, rate, mean, p50, p99, seen.memory_mib)


def measured_on(
    platform: Platform, case: str, duration_s: float | None = None, speed_us: float = SPEED_US
) -> Trial:
    """The case of prefork, run once by simulation on that platform."""
    trial = trial_of(case, "prefork", duration_s, TAKEN)
    if not trial.open:  # how long it is simulated follows from its throughput
        trial = replace(trial, taken=(taken_of(simulate(trial, platform)),))
    return replace(trial, taken=(taken_of(simulate(trial, platform), speed_us),))


def made_fit(mpm: str = "prefork") -> Fit:
    """A fit whose numbers are stated here."""
    platform = replace(
        PLANTED, name=f"this machine, real {mpm}", intervals={"request_us": (171.0, 189.0)}
    )
    residuals = (
        Residual("users-1", "overhead", measured=250.0, spread=0.04, fitted=255.0, before=500.0),
        Residual("queue", "p99_ms", measured=40.0, spread=0.2, fitted=36.0, before=50.0),
    )
    return Fit(platform, {"request": (0.9, 0.855, 0.945)}, residuals)
