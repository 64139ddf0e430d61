"""Targets: what came of each on made-up observations, and a validation that rejects a profile into
which wrong values were planted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpmlab import cli_validate
from mpmlab.bench import standing
from mpmlab.bench.conduct import EXIT_MISSED, describe_platform
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.judge import judged
from mpmlab.bench.prepare import experiment_of
from mpmlab.bench.profile import Profiles
from mpmlab.bench.results import Results
from mpmlab.bench.sim import run_sim
from mpmlab.bench.standing import find_standing
from mpmlab.bench.suite import Target, load_suite
from mpmlab.bench.targets import MET, MISSED, UNDECIDED, Verdict, any_missed, verdicts
from mpmlab.bench.task import Watch
from mpmlab.bench.validate import Wanted, observe, wanted
from mpmlab.bench.validation import ALL, BANDS, FILE, SIM, Observation, errors
from mpmlab.cli import run
from mpmlab.core.platform import Costs, Platform
from mpmlab.report.validation_targets import target_table
from tests.bench.seen import apart, seen, shown


def verdict(target: Target, *observations: Observation) -> Verdict:
    """The only one."""
    (found,) = verdicts([target], errors(observations), observations)
    return found


def off(*percents: float, **more: Any) -> list[Observation]:
    """A case for each, whose simulated mean is off by so much."""
    return [seen(f"case {i}", mean_ms=100.0 + p, **more) for i, p in enumerate(percents)]


@pytest.mark.parametrize(
    ("median", "p90", "state"),
    [(4, None, MET), (3.9, None, MISSED), (4, 8, MET), (4, 7.9, MISSED), (3.9, 8, MISSED)],
)
def test_median_and_90th_percentile_must_both_be_met(
    median: float, p90: float | None, state: str
) -> None:
    """Of absolute errors; what is just as large as is asked for is met. The verdict says what it
    came to, of a target that asks for it."""
    found = verdict(Target("mean_ms", (), median, p90), *off(-4, 2, 8))
    assert (found.state, found.cases) == (state, 3)
    assert found.percent == pytest.approx(4)
    assert found.p90_percent == (None if p90 is None else pytest.approx(8))


def test_a_target_holds_for_its_bands_only() -> None:
    """All of them together; without any, for every utilisation and where it is unknown."""
    runs = [
        *off(1, utilisation=0.3),
        *(replace(one, mpm="worker") for one in off(3, utilisation=0.6)),
        *(replace(one, mpm="prefork") for one in off(50, utilisation=0.9)),
        *(replace(one, case="unknown") for one in off(60, utilisation=None)),
    ]
    low = verdict(Target("mean_ms", BANDS[:2], 5.0), *runs)
    assert (low.state, low.cases) == (MET, 2)
    assert low.percent == pytest.approx(2)
    everywhere = verdict(Target("mean_ms", (), 5.0), *runs)
    assert (everywhere.state, everywhere.cases) == (MISSED, 4)


def test_one_case_decides_nothing() -> None:
    """Nor do cases for fitting, invalid runs, or another figure; no target is missed by what was
    not seen."""
    target = Target("mean_ms", (), 5.0)
    assert verdict(target, *off(50)).state == UNDECIDED
    assert verdict(target, *off(50), *off(50, 50, role="train")[1:]).state == UNDECIDED
    assert verdict(target, *off(50), *off(50, 50, reasons=("late",))[1:]).state == UNDECIDED
    found = verdict(Target("p99_ms", (), 5.0), *off(50, 50))
    assert found == Verdict(found.target, UNDECIDED, 0, None)
    assert not any_missed([found, verdict(target, *off(50))])
    assert any_missed([found, verdict(target, *off(50, 50))])


@pytest.mark.parametrize(("asked", "state"), [(75, MET), (75.1, MISSED)])
def test_so_many_must_be_inside_the_prediction_band(asked: float, state: str) -> None:
    """Three of four, over both bands of utilisation that the target names; the fifth is of
    another."""
    inside, outside = {"mean_ms": (99.0, 101.0)}, {"mean_ms": (101.0, 102.0)}
    runs = [
        seen("a", band=inside, utilisation=0.8),
        seen("b", band=inside, utilisation=0.9),
        seen("c", band=inside, utilisation=0.9),
        seen("d", band=outside, utilisation=0.9),
        seen("e", band=outside, utilisation=0.2),
    ]
    found = verdict(Target("mean_ms", BANDS[2:], inside_percent=asked), *runs)
    assert (found.state, found.cases, found.percent) == (state, 4, 75)
    alone = verdict(Target("mean_ms", (BANDS[2],), inside_percent=asked), *runs)
    assert (alone.state, alone.cases) == (UNDECIDED, 1)
    assert verdict(Target("mean_ms", inside_percent=asked), *runs).cases == 5


def test_so_many_pairs_must_be_in_order() -> None:
    """Of all figures together, or of one; two of three pairs are right."""
    runs = [
        apart("a", "event", 10, 11, {SIM: 1}),
        apart("a", "worker", 20, 21, {SIM: 3}),
        apart("a", "prefork", 30, 31, {SIM: 2}),
    ]
    for figure in (ALL, "mean_ms"):
        met = verdict(Target(figure, right_percent=66), *runs)
        assert (met.state, met.cases) == (MET, 3)
        assert met.percent == pytest.approx(200 / 3)
        assert verdict(Target(figure, right_percent=67), *runs).state == MISSED
    none = verdict(Target("p99_ms", right_percent=67), *runs)
    assert (none.state, none.cases, none.percent) == (UNDECIDED, 0, None)


def test_the_table_says_what_was_asked_and_what_it_came_to() -> None:
    """A row for each target; no table without targets."""
    runs = off(-4, 2, 8)
    targets = [
        Target("mean_ms", BANDS[:2], 5.0, 7.0),
        Target("mean_ms", (BANDS[3],), inside_percent=85.0),
        Target(ALL, right_percent=95.0),
    ]
    text = shown(target_table(verdicts(targets, errors(runs), runs), "t"))
    rows = [
        [part.strip() for part in line.strip("│").split("│")]
        for line in text.splitlines()
        if line.startswith("│")
    ]
    assert rows == [
        ["mean response", "to .5, .5 to .7", "median up to 5 %, p90 up to 7 %",
         "4.0 %, p90 8.0 %", "3", "missed"],
        ["mean response", "above .85", "85 % inside the band", "-", "0", "undecided"],
        ["order", "any", "95 % right", "-", "0", "undecided"],
    ]  # fmt: skip
    assert target_table([], "t") is None


# ---- planted values ------------------------------------------------------------------------------

#: The platform that stands for the machine. What is "measured" is simulated on it.
MACHINE = Platform(
    "made up",
    Costs(request_us=250, connection_us=60, recv_us=5, send_us=8, accept_us=10),
    gil=True,
    parent_memory_kib=9000,
    process_memory_kib=6000,
)
#: Seconds from the server's first word to the load, measured and simulated: two runs of one machine
#: are not the same to the last bit.
LEADS_S = (0.5, 0.85)
CASES = """
[[case]]
name = "slow"
scenario = "cpu"
rate_per_s = 120
pool = 10
duration_s = 5
role = "held-out"

[[case]]
name = "fast"
scenario = "cpu"
rate_per_s = 160
pool = 10
duration_s = 5
role = "held-out"
"""


def planted_suite(tmp_path: Path) -> str:
    """Two short cases, and the targets of the reference."""
    text = load_suite("reference").path.read_text()
    targets = text[text.index("[[target]]") : text.index("[[case]]")]
    path = tmp_path / "planted.toml"
    path.write_text(f'name = "planted"\n{targets}{CASES}')
    return str(path)


def observations(asked: Wanted, profile: Platform) -> Iterator[Observation]:
    """Each case run on MACHINE and simulated with `profile`, as validate() gives them."""
    watch = Watch(Interruption(), lambda _: None)
    for repetition, case, bench in asked.turns():
        (task,) = bench.tasks
        runs = {
            "real": replace(run_sim(task, MACHINE, 1, watch, LEADS_S[0]), engine="real"),
            SIM: run_sim(task, profile, 1, watch, LEADS_S[1]),
        }
        # Judged as simulations: that a short run is no evidence of this machine is no matter here.
        runs = {
            name: replace(judged(one, task, bench.strictness), gates=())
            for name, one in runs.items()
        }
        results = Results(experiment_of(bench, task, "made up"), runs, task.plan)
        yield observe(case, task, results, asked.engine, repetition, "nowhere")


def missed_with(profile: Platform, suite_path: str) -> dict[str, str]:
    """State of each target by its figure; those undecided left out."""
    suite = load_suite(suite_path)
    asked = wanted(suite, suite.cases, ["prefork"], "real", 1, 1, None)
    runs = list(observations(asked, profile))
    assert all(one.valid for one in runs)
    found = verdicts(suite.targets, errors(runs), runs)
    return {one.target.figure: one.state for one in found if one.state != UNDECIDED}


def test_the_right_profile_meets_its_targets(tmp_path: Path) -> None:
    """Simulated with what the machine is, throughput, mean, p99 and memory are as measured."""
    assert missed_with(MACHINE, planted_suite(tmp_path)) == {
        "throughput_rps": MET, "mean_ms": MET, "p99_ms": MET, "memory_mib": MET,
    }  # fmt: skip


def test_wrong_costs_are_rejected(tmp_path: Path) -> None:
    """Five times the CPU of a request: response times are far off. At these rates the throughput is
    what is offered, whatever a request costs; memory is not touched."""
    wrong = replace(MACHINE, costs=replace(MACHINE.costs, request_us=1250))
    assert missed_with(wrong, planted_suite(tmp_path)) == {
        "throughput_rps": MET, "mean_ms": MISSED, "p99_ms": MISSED, "memory_mib": MET,
    }  # fmt: skip


def test_wrong_memory_is_rejected(tmp_path: Path) -> None:
    """A tenth more for each process, and nothing else: that target alone is missed."""
    wrong = replace(MACHINE, process_memory_kib=6600)
    assert missed_with(wrong, planted_suite(tmp_path)) == {
        "throughput_rps": MET, "mean_ms": MET, "p99_ms": MET, "memory_mib": MISSED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_us", "code", "said"),
    [(250, 0, "suite planted"), (1250, EXIT_MISSED, "rejected: 2 of 11 targets missed, 7 undec")],
)
def test_the_command_rejects_a_planted_profile(
    request_us: float,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1, a table of targets, their verdicts in the document; and wherever this profile's
    numbers are printed from then on, it is said. With the right value, none of it."""
    profile = replace(MACHINE, costs=replace(MACHINE.costs, request_us=request_us))
    monkeypatch.setattr(standing, "profile_path", lambda: tmp_path / "cache" / "profiles" / "p")
    monkeypatch.setattr(cli_validate, "profile_for", lambda *_: Profiles(profile))
    monkeypatch.setattr(
        cli_validate, "validate", lambda asked, own, *_: observations(asked, own.of("prefork"))
    )
    suite = planted_suite(tmp_path)
    out = tmp_path / "results"
    assert code == run(["validate", "--suite", suite, "--mpm", "prefork", "--out", str(out),
                        "--quiet"])  # fmt: skip
    printed = capsys.readouterr().out
    assert "held-out cases: targets" in printed
    assert ("missed" in printed) == (code == EXIT_MISSED)
    assert "undecided" in printed
    (folder,) = out.glob("*validate-real-planted*")
    states = [one["state"] for one in json.loads((folder / FILE).read_text())["targets"]]
    assert states.count(MISSED) == (2 if code else 0)
    kept = find_standing(describe_platform(profile), "real")
    assert kept is not None
    assert said in kept.describe()
    assert ("rejected" in kept.describe()) == (code == EXIT_MISSED)
