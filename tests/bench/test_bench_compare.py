"""`mpmlab compare`: which runs are repetitions, which are refused, and what the table says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mpmlab.bench.compare import in_turn, load_members, variants_of
from mpmlab.bench.compare_figures import FIGURES
from mpmlab.bench.run import Run
from mpmlab.bench.stored import run_folders, validity_of
from mpmlab.cli_compare import compare_command
from tests.bench.bench_data import make_records, make_run, ok
from tests.bench.stored_data import arrivals, gated, make_plan, served, store

AT_S = arrivals(1)
PLAN = make_plan(AT_S.tolist())


def at(minute: int) -> str:
    """A moment of creation."""
    return f"2026-07-23T10:{minute:02d}:00+00:00"


def put(folder: Path, slower: float = 1.0, seed: int = 1, **changes: Any) -> Path:
    """A valid real run of PLAN in that folder."""
    return store(folder, PLAN, {"real": served(AT_S, slower, seed)}, **changes)


def late() -> Run:
    """A run that its own client spoilt."""
    return gated(make_run("real", make_records([ok(float(p), 0.01, 0.005) for p in AT_S])), PLAN)


def command(*arguments: object) -> Result:
    """The command's outcome."""
    return CliRunner().invoke(compare_command, [str(argument) for argument in arguments])


def document(*arguments: object) -> dict[str, Any]:
    """What --json gives."""
    done = command("--json", *arguments)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def labels(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Variants with the names of their folders."""
    return {
        variant.label: [member.folder.name for member in variant.members]
        for variant in variants_of(load_members(paths))
    }


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """worker, and an event that is 30 % slower."""
    return [put(tmp_path / "w"), put(tmp_path / "e", 1.3, 2, mpm="event")]


# ---- repetitions and variants --------------------------------------------------------------------


def test_runs_of_one_kind_are_repetitions_in_order_of_time(tmp_path: Path) -> None:
    """Whatever the order in which they are named; variants stand in order of first appearance."""
    paths = [
        put(tmp_path / "b", created=at(3)),
        put(tmp_path / "x", mpm="event", created=at(1)),
        put(tmp_path / "a", created=at(0)),
    ]
    assert labels(paths) == {"worker/real": ["a", "b"], "event/real": ["x"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": {"cpu": "slide rule"}},
        {"versions": {"python": "3.13.0"}},
        {"directives_effective": (("ThreadsPerChild", "25"), ("ServerLimit", "16"))},
        {"timeout_s": 5.0},
        {"scenario_text": "name = 'made-up'\n# edited\n"},
    ],
    ids=["machine", "versions", "directives", "time-out", "scenario"],
)
def test_what_differs_makes_variants_and_is_told(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Another machine, interpreter, directive, time-out or scenario file is no repetition: two
    variants, told apart by letters, and a remark says what differs and who has it."""
    paths = [put(tmp_path / "1"), put(tmp_path / "2", **changes)]
    assert labels(paths) == {"worker/real a": ["1"], "worker/real b": ["2"]}
    (remark,) = [r for r in document(*paths)["remarks"] if "differs" in r]
    assert "(worker/real a)" in remark
    assert "(worker/real b)" in remark
    if "machine" in changes:
        assert remark.startswith("machine: cpu differs: abacus")
    if "directives_effective" in changes:
        assert remark.startswith("directive: ThreadsPerChild differs: 8 (")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (
            {"rate_per_s": 200.0},
            "rate (requests/s) differs: the scenario's (worker/real a, worker/sim a); 200",
        ),
        ({"clients": 2}, "load processes differs: 1 (worker/real a); 2 (worker/real b)"),
        ({"network": "namespace"}, "network differs: pacing (worker/real a); namespace"),
    ],
)
def test_how_the_load_was_made_tells_variants_apart(
    tmp_path: Path, changes: dict[str, Any], word: str
) -> None:
    """Another rate, number of clients or network is no repetition; a simulation has only the rate
    of these."""
    paths = []
    for number, more in enumerate(({}, changes)):
        runs = {"real": served(AT_S, 1, 1), "sim": served(AT_S, 1, number, "sim")}
        runs["sim"] = dataclasses.replace(runs["sim"], digest=str(number))
        paths.append(store(tmp_path / str(number), PLAN, runs, **more))
    assert word in "\n".join(document(*paths)["remarks"])
    kinds = list(labels(paths))
    assert ("worker/sim" in kinds) == ("rate_per_s" not in changes)


def test_the_cost_profile_is_the_simulations_machine(tmp_path: Path) -> None:
    """Two profiles: two simulated variants, but the real runs are repetitions."""
    paths = []
    for number in (1, 2):
        runs = {"real": served(AT_S, 1, number), "sim": served(AT_S, 1, 9, "sim")}
        paths.append(store(tmp_path / str(number), PLAN, runs, platform=f"profile {number}"))
    assert labels(paths) == {
        "worker/real": ["1", "2"],
        "worker/sim a": ["1"],
        "worker/sim b": ["2"],
    }


def test_a_simulation_carried_out_again_is_no_repetition(tmp_path: Path) -> None:
    """Equal digests: counted once, and said."""
    paths = []
    for number in (1, 2):
        runs = {"real": served(AT_S, 1, number), "sim": served(AT_S, 1, 9, "sim")}
        paths.append(store(tmp_path / str(number), PLAN, runs, created=at(number)))
    assert labels(paths) == {"worker/real": ["1", "2"], "worker/sim": ["1"]}
    assert any("2, sim: left out" in remark for remark in document(*paths)["remarks"])


def test_folders_of_repetitions_are_opened(tmp_path: Path) -> None:
    """A folder without a run.json stands for the rep* folders in it, in order of name."""
    for name in ("rep-2", "rep-1", "other"):
        put(tmp_path / "w" / name)
    assert [folder.name for folder in run_folders(tmp_path / "w")] == ["rep-1", "rep-2"]
    assert labels([tmp_path / "w"]) == {"worker/real": ["rep-1", "rep-2"]}
    assert run_folders(tmp_path / "nowhere") == [tmp_path / "nowhere"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("ABBA", True), ("ABAB", True), ("BAAB", True), ("AABB", False), ("ABBBAA", False)],
)
def test_runs_in_turn_are_told_from_those_that_are_not(
    tmp_path: Path, order: str, expected: bool
) -> None:
    """Unless each pair was over before the next began, a change of the machine would count as a
    difference, and a remark says so."""
    paths = [
        put(tmp_path / str(i), seed=i + 1, mpm={"A": "worker", "B": "event"}[who], created=at(i))
        for i, who in enumerate(order)
    ]
    first, second = variants_of(load_members(paths))
    assert in_turn(first, second) is expected
    told = [r for r in document(*paths)["remarks"] if "did not run in turn" in r]
    assert len(told) == (0 if expected else 1)


# ---- refusals ------------------------------------------------------------------------------------


def refused(*arguments: object) -> str:
    """The one line of a refusal with exit code 2."""
    done = command(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.strip().count("\n") == 0
    return done.stderr


def test_different_plans_are_refused_unless_told(tmp_path: Path, pair: list[Path]) -> None:
    """Both folders and both hashes are named; with --different-plans it is done, and said first."""
    other = make_plan(AT_S.tolist(), seed=8)
    runs = {"real": served(AT_S, 1, 3)}
    paths = [pair[0], store(tmp_path / "other", other, runs, mpm="prefork")]
    text = refused(*paths)
    for word in (*map(str, paths), PLAN.hash[:12], other.hash[:12], "--different-plans"):
        assert word in text
    found = document(*paths, "--different-plans")
    assert found["remarks"][0].startswith("DIFFERENT PLANS")
    assert len(found["variants"]) == 2


def test_repetitions_of_different_plans_are_not_pooled_either(tmp_path: Path) -> None:
    """Another seed is another plan, also within a variant."""
    other = make_plan(AT_S.tolist(), seed=8)
    paths = [
        put(tmp_path / "1"),
        store(tmp_path / "2", other, {"real": served(AT_S, 1, 3)}),
        put(tmp_path / "3", mpm="event"),
    ]
    assert "--different-plans" in refused(*paths)
    runs = [v["runs"] for v in document(*paths, "--different-plans")["variants"]]
    assert [run["seed"] for run in runs[0]] == [7, 8]


def test_an_invalid_run_is_refused_unless_told(tmp_path: Path, pair: list[Path]) -> None:
    """By name and with its reason; with --allow-invalid its rows are marked, and no others."""
    bad = store(tmp_path / "bad", PLAN, {"real": late()}, mpm="prefork")
    text = refused(*pair, bad)
    for word in (f"{bad}, real: INVALID", "p99 of the client's own delay", "--allow-invalid"):
        assert word in text
    found = document(*pair, bad, "--allow-invalid")
    assert {line["variant"] for line in found["lines"] if line["invalid"]} == {"prefork/real"}
    assert any(remark.startswith(f"INVALID: {bad}, real") for remark in found["remarks"])
    table = command(*pair, bad, "--allow-invalid").stdout
    rows = [line for line in table.splitlines() if "│" in line]
    assert all(("INVALID" in row) == ("prefork" in row) for row in rows)
    assert "INVALID" not in command(*pair).stdout


def test_an_invalid_baseline_marks_every_row(tmp_path: Path, pair: list[Path]) -> None:
    """A ratio to an invalid run is no better than it."""
    bad = store(tmp_path / "bad", PLAN, {"real": late()}, mpm="prefork")
    lines = document(bad, *pair, "--allow-invalid")["lines"]
    assert all(line["invalid"] for line in lines)


def test_an_incomplete_run_is_invalid(tmp_path: Path, pair: list[Path]) -> None:
    """What was cut short is refused with the reason, and can be used when told."""
    run = dataclasses.replace(served(AT_S, 1, 5), faults=("interrupted by SIGINT",))
    cut = store(tmp_path / "cut", PLAN, {"real": run}, mpm="prefork")
    assert "INVALID: incomplete: interrupted by SIGINT" in refused(pair[0], cut)
    assert command(pair[0], cut, "--allow-invalid").exit_code == 0


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        ({"complete": True, "valid": True}, ()),
        ({"complete": True, "valid": True, "faults": [], "gates": []}, ()),
        ({"complete": False, "valid": False, "faults": ["killed"]}, ("incomplete: killed",)),
        (
            {
                "complete": False,
                "valid": False,
                "faults": ["killed"],
                "gates": [{"name": "completed", "verdict": "fail", "text": "killed"}],
            },
            ("incomplete: killed",),
        ),
        ({"complete": True, "valid": False}, ("marked as not valid, without a reason",)),
        ({"complete": False, "valid": True}, ("incomplete",)),
        ({"complete": True}, ("marked as not valid, without a reason",)),
        ({}, ("incomplete",)),
        (
            {
                "complete": True,
                "valid": True,
                "gates": [
                    {"name": "rate", "verdict": "pass", "text": "fine"},
                    {"name": "speed", "verdict": "note", "text": "noted"},
                    {"name": "arrivals", "verdict": "skip", "text": "skipped"},
                    {"name": "lateness", "verdict": "fail", "text": "late"},
                    {"name": "client-core", "verdict": "fail", "text": "hog"},
                    {"name": "server-core", "verdict": "fail", "text": "hog"},
                ],
            },
            ("late", "hog"),
        ),
    ],
)
def test_validity_is_read_and_never_made_milder(
    facts: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    """Faults and failed gates are reasons, each once, whatever `valid` says; a run that does not
    say that it is complete and valid is neither."""
    assert validity_of(facts).reasons == reasons
    assert validity_of(facts).valid is (not reasons)


def test_other_wrong_input_is_told(tmp_path: Path, pair: list[Path]) -> None:
    """One line with exit code 2: nothing to compare, a run given twice, an unknown engine or
    baseline, a folder that is none."""
    again = put(tmp_path / "w2", created=at(5))
    assert "nothing to compare: all runs are worker/real" in refused(pair[0], again)
    assert "given twice" in refused(pair[0], pair[1], pair[0].parent / "e" / ".." / "w")
    assert "no run of engine sim; it has real" in refused(*pair, "--engine", "sim")
    text = refused(*pair, "--baseline", "prefork/real")
    assert "'prefork/real': no such variant; accepted: worker/real, event/real" in text
    assert "run.json: no such file" in refused(pair[0], tmp_path / "nowhere")
    assert command().exit_code == 2


# ---- what is said --------------------------------------------------------------------------------


def test_the_document_holds_every_figure_of_every_variant(pair: list[Path]) -> None:
    """Schema, baseline, runs with plan and summary, and lines with ratio, interval and basis."""
    found = document(*pair)
    assert found["schema"] == "mpmlab-compare-1"
    assert found["baseline"] == "worker/real"
    assert found["confidence"] == 0.95
    (run,) = found["variants"][1]["runs"]
    stored = json.loads((pair[1] / "run.json").read_text())
    assert run["summary"] == stored["engines"]["real"]["summary"]
    assert run["plan_hash"] == PLAN.hash
    assert [(line["figure"], line["variant"]) for line in found["lines"]] == [
        (figure.name, label) for figure in FIGURES for label in ("worker/real", "event/real")
    ]
    lines = {line["figure"]: line for line in found["lines"] if line["variant"] == "event/real"}
    low, high = lines["mean_ms"]["interval"]
    assert 1 < low < lines["mean_ms"]["ratio"] < high
    assert lines["mean_ms"]["difference_shown"] is True
    assert lines["throughput_rps"]["difference_shown"] is False
    assert lines["memory_mib"]["interval"] is None
    assert lines["memory_mib"]["difference_shown"] is None


def cells(text: str, title: str, variant: str) -> list[str]:
    """The cells after the variant of one row of the table."""
    rows = [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines()]
    start = next(i for i, row in enumerate(rows) if row[0] == title)
    (found,) = [row for row in rows[start : start + 2] if len(row) > 1 and row[1] == variant]
    return found[2:]


def test_the_table_says_what_is_shown_and_what_is_not(pair: list[Path]) -> None:
    """30 % slower is "higher" and the other way round "lower"; where the interval contains 1 it is
    "no difference shown"; without an interval nothing is said. Nothing is called significant."""
    text = command(*pair).stdout
    assert "ratios to worker/real" in text
    value, ratio, interval, says, basis = cells(text, "response mean (ms)", "event/real")
    assert says == "higher"
    assert basis == "blocks of one run"
    low, high = map(float, interval.split(" to "))
    assert low < float(ratio) < high
    assert float(value) == pytest.approx(13, rel=0.05)
    assert cells(text, "throughput (answers/s)", "event/real")[3] == "no difference shown"
    assert cells(text, "memory, all processes (MiB)", "event/real")[2:4] == ["-", ""]
    assert cells(text, "response mean (ms)", "worker/real")[1:] == ["-", "-", "", "baseline"]
    back = command(*pair, "--baseline", "event/real").stdout
    assert cells(back, "response mean (ms)", "worker/real")[3] == "lower"
    assert "significant" not in text + back


def test_the_table_says_what_its_intervals_do_not_cover(tmp_path: Path, pair: list[Path]) -> None:
    """Of single runs: not what changes between runs. Of repetitions there is no such note; how many
    intervals miss by chance is said of both, and that simulations are not validated."""
    single = command(*pair).stdout
    assert "do not cover what changes from one run to the next" in single
    assert "of the 7 here about 0.4 are expected to miss it" in single
    more = [put(tmp_path / "w2", 1.0, 3, created=at(30))]
    more += [put(tmp_path / "e2", 1.3, 4, mpm="event", created=at(31))]
    repeated = command(*pair, *more).stdout
    assert "from one run to the next" not in repeated
    assert "expected to miss it" in repeated
    assert cells(repeated, "response p99 (ms)", "event/real")[4] == "2 pairs"
    runs = {"real": served(AT_S, 1, 1), "sim": served(AT_S, 1.1, 2, "sim")}
    both = command(store(tmp_path / "both", PLAN, runs)).stdout
    assert "worker/sim*" in both
    assert "* not validated" in both
    assert "not validated" not in single


@pytest.mark.parametrize("by_folder", [True, False])
def test_the_baseline_can_be_chosen(pair: list[Path], by_folder: bool) -> None:
    """By the variant's name, or by a folder of its; the others keep their order."""
    found = document(*pair, "--baseline", f"{pair[1]}/" if by_folder else "event/real")
    assert [variant["label"] for variant in found["variants"]] == ["event/real", "worker/real"]


def test_an_engine_can_be_chosen(tmp_path: Path, pair: list[Path]) -> None:
    """An invalid simulation does not stand in the way of comparing what is real."""
    sim = dataclasses.replace(served(AT_S, 1, 2, "sim"), faults=("interrupted",))
    mixed = store(tmp_path / "m", PLAN, {"real": served(AT_S, 1, 3), "sim": sim}, mpm="prefork")
    assert "prefork" not in refused(pair[0], mixed, "--engine", "dream")
    assert "INVALID" in refused(pair[0], mixed)
    found = document(pair[0], mixed, "--engine", "real")
    assert [variant["label"] for variant in found["variants"]] == ["worker/real", "prefork/real"]


def test_notes_of_the_runs_are_passed_on(tmp_path: Path, pair: list[Path]) -> None:
    """What a run says of itself is said again, with its folder."""
    run = dataclasses.replace(served(AT_S, 1, 3), notes=("the machine changed its speed",))
    noted = store(tmp_path / "n", PLAN, {"real": run}, mpm="prefork")
    assert f"note: {noted}, real: the machine changed its speed" in command(pair[0], noted).stdout


def test_the_seed_of_the_bootstrap_is_the_users(pair: list[Path]) -> None:
    """The same seed gives the same intervals, another one others that are close."""
    first, again, other = (document(*pair, "--seed", seed)["lines"] for seed in (1, 1, 2))
    assert first == again
    moved = [
        (line["interval"][0], two["interval"][0])
        for line, two in zip(first, other, strict=True)
        if line["figure"] == "p90_ms" and line["interval"]
    ]
    assert moved[0][0] != moved[0][1]
    assert moved[0][0] == pytest.approx(moved[0][1], rel=0.03)
