"""Conducting one MPM's task over the engines asked for, and keeping what came of it.

Order and clean-up only: engines run (real.py, sim.py), results are stored (results.py), and what is
printed is the CLI's affair. An engine that was cut short ends the series: its part is kept.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mpmlab.bench.experiment import Experiment
from mpmlab.bench.prepare import Bench, experiment_of
from mpmlab.bench.real import plan_path, run_real
from mpmlab.bench.results import Results, new_folder, save_results
from mpmlab.bench.run import Run
from mpmlab.bench.sim import run_sim
from mpmlab.bench.task import Task, Watch
from mpmlab.core.platform import Platform
from mpmlab.real.probe import at_speed

#: Who draws the pictures of an experiment (report/, which this floor may not know).
Draw = Callable[[Path, Experiment, dict[str, Run]], object]

_DOING: Final = {"real": "{mpm}: real run", "sim": "{mpm}: simulation"}


def conduct(
    bench: Bench,
    task: Task,
    platform: Platform,
    watch: Watch,
    phase: Callable[[str], None],
    out: Path,
) -> tuple[Path, Results]:
    """Run the task on each engine in turn, in a new folder below `out`; `phase` is told what
    begins. If an engine cannot run at all, the folder is removed again."""
    experiment = experiment_of(bench, task, describe_platform(platform))
    folder = new_folder(out, experiment)
    try:
        task.plan.save(plan_path(folder))
        return folder, Results(
            experiment, _run_engines(bench, task, platform, watch, phase, folder)
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _run_engines(
    bench: Bench,
    task: Task,
    platform: Platform,
    watch: Watch,
    phase: Callable[[str], None],
    folder: Path,
) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for engine in bench.engines:
        phase(_DOING[engine].format(mpm=task.mpm))
        if engine == "real":
            runs[engine] = run_real(task, platform, watch, folder)
        else:
            runs[engine] = run_sim(task, *_world_of(runs, platform), watch)
        if runs[engine].faults:
            break
    return runs


def _world_of(runs: dict[str, Run], platform: Platform) -> tuple[Platform, int]:
    """The platform and cores to simulate. Beside a real run both are asked the same question: as
    many cores, and costs at the speed that the machine had then, not when it was probed."""
    real = runs.get("real")
    if real is None:
        return platform, platform.cores
    if real.speed is not None:
        platform = at_speed(platform, real.speed.mean_us)
    return platform, real.server_cores


def keep(folder: Path, results: Results, draw: Draw) -> None:
    """Store results and pictures. run.json comes last: it says that the folder is complete."""
    draw(folder, results.experiment, results.runs)
    save_results(folder, results)


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
