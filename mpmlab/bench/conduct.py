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
from mpmlab.bench.external import run_external
from mpmlab.bench.httpd import run_httpd
from mpmlab.bench.judge import judged
from mpmlab.bench.live import plan_path
from mpmlab.bench.prepare import Bench, experiment_of
from mpmlab.bench.real import run_real
from mpmlab.bench.results import Results, new_folder, save_results
from mpmlab.bench.run import Run
from mpmlab.bench.sim import run_sim
from mpmlab.bench.slo import all_met
from mpmlab.bench.task import Task, Watch
from mpmlab.core.platform import Platform
from mpmlab.real.probe import at_speed
from mpmlab.workload.plan import Plan

#: Who draws the pictures of an experiment (report/, which this floor may not know).
Draw = Callable[[Path, Experiment, dict[str, Run], Plan], object]

#: Exit codes of commands that measure.
EXIT_MISSED: Final = 1
EXIT_INPUT: Final = 2
EXIT_INVALID: Final = 3
EXIT_FAILED: Final = 4
EXIT_INTERRUPTED: Final = 130

_DOING: Final = {
    "real": "{mpm}: real run",
    "sim": "{mpm}: simulation",
    "httpd": "{mpm}: Apache httpd",
    "external": "{mpm}: load",
}


def conduct(
    bench: Bench,
    task: Task,
    platform: Platform,
    watch: Watch,
    phase: Callable[[str], None],
    out: Path,
    repetition: int = 1,
) -> tuple[Path, Results]:
    """Run the task on each engine in turn, in a new folder below `out`; `phase` is told what
    begins. If an engine cannot run at all, the folder is removed again. A simulation is run in the
    first repetition only: further ones would be the same to the last bit."""
    experiment = experiment_of(bench, task, describe_platform(platform), repetition)
    folder = new_folder(out, experiment)
    engines = [name for name in bench.engines if repetition == 1 or name != "sim"]
    if repetition % 2 == 0:  # as the tasks are, against a machine that gets slower
        engines.reverse()
    try:
        task.plan.save(plan_path(folder))
        runs = _run_engines(engines, task, platform, watch, phase, folder)
        judged_runs = {
            name: judged(run, task, bench.strictness, bench.quantiles())
            for name, run in runs.items()
        }
        return folder, Results(experiment, judged_runs, task.plan)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _run_engines(
    engines: Sequence[str],
    task: Task,
    platform: Platform,
    watch: Watch,
    phase: Callable[[str], None],
    folder: Path,
) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for engine in engines:
        phase(_DOING[engine].format(mpm=task.mpm))
        if engine == "real":
            runs[engine] = run_real(task, platform, watch, folder)
        elif engine == "httpd":
            runs[engine] = run_httpd(task, watch, folder)
        elif engine == "external":
            runs[engine] = run_external(task, watch, folder)
        else:
            beside = runs.get("real", runs.get("httpd"))
            lead_s = None if beside is None else beside.lead_s
            runs[engine] = run_sim(task, *world_of(beside, platform), watch, lead_s)
        if runs[engine].faults:
            break
    return runs


def world_of(real: Run | None, platform: Platform) -> tuple[Platform, int]:
    """The platform and cores to simulate. Beside a real run both are asked the same question: as
    many cores, costs at the speed that the machine had then, not when it was probed, and (lead_s)
    a load that meets the parent's housekeeping at the same point of its second."""
    if real is None:
        return platform, platform.cores
    if real.speed is not None:
        platform = at_speed(platform, real.speed.mean_us)
    return platform, real.server_cores


def keep(folder: Path, results: Results, draw: Draw) -> None:
    """Store results and pictures. run.json comes last: it says that the folder is complete."""
    draw(folder, results.experiment, results.runs, results.plan)
    save_results(folder, results)


def describe_platform(platform: Platform) -> str:
    """Name of the cost profile, and a hash that tells two of one name apart."""
    digest = hashlib.sha256(repr((platform.costs, platform)).encode()).hexdigest()[:12]
    return f"{platform.name} ({digest})"


def turns(tasks: Sequence[Task], repetitions: int) -> list[tuple[int, Task]]:
    """Which task is run when: every other repetition backwards (ABBA), so that a machine that gets
    slower meanwhile is not held against the last one."""
    return [
        (repetition, task)
        for repetition in range(1, repetitions + 1)
        for task in (tasks if repetition % 2 else tasks[::-1])
    ]


def exit_code(done: Sequence[Results], interrupted: bool) -> int:
    """130 interrupted by the user, 4 an engine failed, 3 measured but invalid, 1 an objective was
    missed, 0 all well. An objective that cannot be decided counts as missed."""
    runs = [run for results in done for run in results.runs.values()]
    if interrupted:
        return EXIT_INTERRUPTED
    if any(run.faults for run in runs):
        return EXIT_FAILED
    if not all(run.valid for run in runs):
        return EXIT_INVALID
    met = all(
        all_met(judgements) for results in done for judgements in results.judgements().values()
    )
    return 0 if met else EXIT_MISSED
