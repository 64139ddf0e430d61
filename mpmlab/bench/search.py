"""`--find-knee`: the search of knee.py over real or simulated runs, each kept like any other.

How a run's gates and objectives become an answer stands here; engines and storing are conduct.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from mpmlab.bench.conduct import EXIT_INVALID, EXIT_MISSED, Draw, conduct, keep
from mpmlab.bench.gates import failures, overloaded
from mpmlab.bench.knee import TOLERANCE, Answer, Knee, OutOfReachError, Trial, find_knee
from mpmlab.bench.prepare import Bench, RequestError
from mpmlab.bench.results import Results, write_json
from mpmlab.bench.slo import all_met
from mpmlab.bench.task import Watch
from mpmlab.core.platform import Platform
from mpmlab.workload.errors import ScenarioError

#: Name and version of the JSON document of a search, and its file.
SCHEMA: Final = "mpmlab-knee-1"
FILE: Final = "knee.json"


class SearchEnded(Exception):  # noqa: N818 - the end of a search, by the user or by an engine
    """A run was cut short; the search ends with it. `results` are that run's."""

    def __init__(self, results: Results):
        super().__init__()
        self.results = results


def check_search(bench: Bench) -> float:
    """The rate to begin with: the scenario's own. Raises RequestError if there is nothing to search
    for, or the rate is not ours to choose."""
    if not bench.objectives:
        raise RequestError("--find-knee needs an objective, for example --slo 'p99<50ms'")
    if bench.repetitions > 1:
        raise RequestError("--find-knee makes its own runs: leave out --repeat and --publish")
    offered = bench.plan.offered_rate
    if not offered:
        raise RequestError(
            "--find-knee: the measured clients of this scenario are closed, so that the server "
            "sets the rate; choose one whose clients come by themselves (see: mpmlab scenarios)"
        )
    return offered


def search_knee(
    bench: Bench,
    position: int,
    engine: str,
    platform: Platform,
    watch: Watch,
    phase: Callable[[str], None],
    out: Path,
    draw: Draw,
    tell: Callable[[Trial], None],
) -> Knee:
    """Search for the highest rate at which the task at `position` meets the objectives on `engine`,
    in folders below `out`; `tell` hears of each run. Raises SearchEnded."""

    def evaluate(rate_per_s: float) -> Trial:
        try:
            there = bench.at_rate(rate_per_s)
        except ScenarioError as error:
            raise OutOfReachError(str(error)) from error
        task = there.tasks[position]
        folder, results = conduct(there.with_engine(engine), task, platform, watch, phase, out)
        keep(folder, results, draw)
        if results.runs[engine].faults:
            raise SearchEnded(results)
        trial = answer_of(results, engine, there.plan.offered_rate or rate_per_s)
        tell(trial)
        return trial

    return find_knee(evaluate, check_search(bench))


def search_exit_code(knees: Iterable[Knee]) -> int:
    """0 if all were found; 1 if somewhere no rate met the objectives; 3 if a search came to no end
    for another reason (invalid runs, a server that met them at every rate)."""
    left = [knee for knee in knees if not knee.found]
    if not left:
        return 0
    missed = any(knee.good_per_s is None and knee.bad_per_s is not None for knee in left)
    return EXIT_MISSED if missed else EXIT_INVALID


def save_search(folder: Path, bench: Bench, knees: Mapping[str, Knee]) -> None:
    """Write what was found, and each run on the way, to a file in the search's folder."""
    document = {
        "schema": SCHEMA,
        "scenario": bench.scenario.name,
        "seed": bench.plan.seed,
        "slo": ",".join(objective.text for objective in bench.objectives),
        "tolerance": TOLERANCE,
        "searches": {
            name: {
                **vars(knee),
                "trials": [{**vars(t), "answer": t.answer.name.lower()} for t in knee.trials],
            }
            for name, knee in knees.items()
        },
    }
    write_json(folder / FILE, document)


def answer_of(results: Results, engine: str, rate_per_s: float) -> Trial:
    """What a complete run says of its rate: too much if the server could not carry it or missed an
    objective; nothing if it is invalid for any other reason."""
    run = results.runs[engine]
    judgements = results.judgements()[engine]
    said = ", ".join(judgement.describe() for judgement in judgements)
    failed = failures(run.gates)
    nothing_asked = results.summaries()[engine].requests == 0
    if failed and (nothing_asked or not overloaded(run.gates)):
        return Trial(rate_per_s, Answer.NOTHING, "INVALID: " + "; ".join(g.text for g in failed))
    if failed:
        return Trial(rate_per_s, Answer.BAD, f"{said}; overloaded: {failed[0].text}")
    return Trial(rate_per_s, Answer.GOOD if all_met(judgements) else Answer.BAD, said)
