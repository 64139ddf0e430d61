"""Conducting one MPM's task over the engines asked for, and keeping what came of it.

Order and clean-up only: engines run (real.py, sim.py), results are stored (results.py), and what is
printed is the CLI's affair. An engine that was cut short ends the series: its part is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mpmlab.bench.experiment import Experiment
from mpmlab.bench.prepare import Bench, experiment_of
from mpmlab.bench.real import run_real
from mpmlab.bench.results import Results, new_folder, save_results
from mpmlab.bench.run import Run
from mpmlab.bench.sim import run_sim
from mpmlab.bench.task import Task, Watch
from mpmlab.core.platform import Platform
from mpmlab.core.platform_file import format_platform

_DOING: Final = {"real": "{mpm}: real run", "sim": "{mpm}: simulation"}


def conduct(
    bench: Bench, task: Task, platform: Platform, watch: Watch, phase: Callable[[str], None]
) -> Results:
    """Run the task on each engine in turn; `phase` is told what begins."""
    runs: dict[str, Run] = {}
    experiment = experiment_of(bench, task, describe_platform(platform))
    for engine in bench.engines:
        phase(_DOING[engine].format(mpm=task.mpm))
        if engine == "real":
            runs[engine] = run_real(task, platform, watch)
        else:
            runs[engine] = run_sim(task, platform, watch, _cores(runs, platform))
        if runs[engine].faults:
            break
    return Results(experiment, runs)


def _cores(runs: dict[str, Run], platform: Platform) -> int:
    """As many as the real server had, so that both are asked the same question."""
    return runs["real"].server_cores if "real" in runs else platform.cores


def keep(out: Path, results: Results, draw: Callable[[Path, Experiment, dict[str, Run]], object]) -> Path:
    """Store results and pictures in a folder of their own; its path."""
    folder = new_folder(out, results.experiment)
    draw(folder, results.experiment, results.runs)
    save_results(folder, results)  # last: run.json says that the folder is complete
    return folder


def describe_platform(platform: Platform) -> str:
    """Name of the cost profile, and a hash that tells two of one name apart."""
    digest = hashlib.sha256(repr((platform.costs, platform)).encode()).hexdigest()[:12]
    return f"{platform.name} ({digest})"


def exit_code(done: Sequence[Results], valid: bool, interrupted: bool) -> int:
    """130 interrupted by the user, 1 a process died, 3 measured but invalid, 0 all well."""
    if interrupted:
        return 130
    if any(run.faults for results in done for run in results.runs.values()):
        return 1
    return 0 if valid else 3
