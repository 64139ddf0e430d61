"""Made-up runs for the tests of summaries, results and pictures: records of known numbers.

Only builders live here; each number a test relies on is stated in the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpmlab.bench.experiment import Experiment
from mpmlab.bench.prepare import Asked
from mpmlab.bench.run import Run
from mpmlab.bench.samples import STATUSES, Samples
from mpmlab.core.scoreboard import BUSY_WRITE, READY
from mpmlab.load.recorder import Outcome, Recorder, Records

NAN = float("nan")
#: planned_s, sent_s, ended_s, outcome, lateness_s
Row = tuple[float, float, float, Outcome, float]


def ok(planned_s: float, took_s: float, late_s: float = 0.0) -> Row:
    """An answered request that took that long from its planned send."""
    return planned_s, planned_s + late_s, planned_s + took_s, Outcome.OK, late_s


def failed(planned_s: float, took_s: float, outcome: Outcome) -> Row:
    """A request that ended badly after that long."""
    return planned_s, planned_s, planned_s + took_s, outcome, 0.0


def make_records(rows: Sequence[Row], complete: bool = True, end_s: float = 10.0) -> Records:
    """Records of one request a session, in the order given."""
    recorder = Recorder()
    for number, (planned_s, sent_s, ended_s, outcome, late_s) in enumerate(rows):
        good = outcome is Outcome.OK
        recorder.add(
            *(number, 0, number),
            *(planned_s, late_s, sent_s),
            *((ended_s - 0.0001, ended_s) if good else (NAN, NAN)),
            *(ended_s, 200 if good else 0, 1024 if good else 0, number + 1, int(outcome), 0),
        )
    recorder.finish(complete, end_s)
    return recorder.records({"client": "made up"})


def make_samples(busy: Sequence[int], workers: int = 10, every_s: float = 1.0) -> Samples:
    """One sample each `every_s` with that many of `workers` in W and the rest in _."""
    counts = np.zeros((len(busy), STATUSES), dtype=np.int64)
    counts[:, BUSY_WRITE] = busy
    counts[:, READY] = workers - np.array(busy, dtype=np.int64)
    return Samples(
        time_s=np.arange(len(busy), dtype=np.float64) * every_s,
        counts=counts,
        busy=counts[:, BUSY_WRITE].copy(),
        idle=counts[:, READY].copy(),
        processes=np.full(len(busy), 2),
    )


def make_run(engine: str, records: Records, samples: Samples | None = None) -> Run:
    """A run of 4 s of CPU on one core and 64 MiB."""
    return Run(
        engine=engine,
        records=records,
        samples=make_samples([5] * 10) if samples is None else samples,
        wall_s=12.5,
        server_cores=1,
        cpu_s=4.0,
        memory_kib=65_536.0,
        log=("[now] AH00163: made up -- resuming normal operations",),
        digest="00ff" if engine == "sim" else None,
        events=1234 if engine == "sim" else None,
    )


def make_experiment(**changes: object) -> Experiment:
    """10 s of which 2 are warm-up."""
    values: dict[str, object] = {
        "mpm": "worker",
        "scenario": "made-up",
        "scenario_text": "name = 'made-up'\n",
        "seed": 7,
        "plan_hash": "ab" * 32,
        "plan_text": "made-up: a plan.",
        "duration_s": 10.0,
        "warmup_s": 2.0,
        "timeout_s": 3.0,
        "rate_per_s": None,
        "clients": 1,
        "network": "pacing",
        "url": None,
        "strictness": "default",
        "slo": "",
        "repetition": 1,
        "repetitions": 1,
        "directives_given": (("ThreadsPerChild", "8"),),
        "directives_effective": (("ThreadsPerChild", "8"), ("ServerLimit", "16")),
        "messages": (),
        "machine": {"cpu": "abacus"},
        "versions": {"python": "3.11.7"},
        "platform": "made up",
        "command": ("mpmlab", "bench"),
        "created": "2026-07-23T10:15:00+00:00",
    }
    return Experiment(**{**values, **changes})  # type: ignore[arg-type]


def busy_experiment(seed: int, slower: float = 1.0, n: int = 6000) -> Run:
    """A run that looks like one: Poisson sends, exponential service, a pool that grows."""
    random = np.random.default_rng(seed)
    planned_s = np.sort(random.uniform(0, 10, n))
    took_s = slower * (0.004 + random.exponential(0.006, n))
    rows = [
        ok(float(p), float(t), float(late))
        for p, t, late in zip(planned_s, took_s, random.exponential(5e-5, n), strict=True)
    ]
    times_s = np.arange(0, 10, 0.05)
    busy = np.minimum(random.poisson(6 * slower, len(times_s)), 50)
    samples = make_samples(busy.tolist(), workers=50, every_s=0.05)
    return make_run("sim" if slower != 1.0 else "real", make_records(rows), samples)


def asked(**typed: Any) -> Asked:
    """A simulation of worker under the default scenario, but for what is typed."""
    plain: dict[str, Any] = {
        "mpms": "worker", "scenario": "default", "duration_s": None, "seed": 1, "sets": (),
        "engines": "sim", "timeout_s": 5.0,
    }  # fmt: skip
    return Asked(**{**plain, **typed})
