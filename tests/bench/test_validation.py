"""Errors of a validation: arithmetic on made-up observations, what is kept of them for later
numbers, and one validation of a server for real."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpmlab.bench import standing as standing_module
from mpmlab.bench.standing import find_standing, keep_standing, standing_of
from mpmlab.bench.validation import (
    BANDS,
    FIGURES,
    SIM,
    Error,
    Observation,
    band_of,
    cell,
    document,
    errors,
)
from mpmlab.cli import run
from mpmlab.report.validation_plot import error_plot, quantile_plot
from mpmlab.report.validation_table import band_table, baseline_table, held_out, lines, mpm_table
from tests.bench.seen import seen, shown


def one(found: list[Error], predictor: str = SIM) -> Error:
    """The only error of the mean."""
    (error,) = [e for e in found if e.figure == "mean_ms" and e.predictor == predictor]
    return error


def test_an_error_is_in_percent_of_what_was_measured() -> None:
    """With its sign; a figure that either side lacks has none, and so has one measured as zero."""
    found = errors([seen()])
    assert one(found).percent == pytest.approx(10.0)
    assert one(found, "M/M/c").percent == pytest.approx(-50.0)
    assert not [error for error in found if error.figure == "p99_ms"]
    assert errors([seen(mean_ms=None)]) == [one(found, "M/M/c")]
    assert not [e for e in errors([seen(real_ms=0.0)]) if e.predictor == SIM]


def test_repetitions_count_once() -> None:
    """The median of their errors, the mean of their utilisations, and half the range of what was
    measured as its repeatability; of a single run that is unknown."""
    found = errors([
        seen(mean_ms=105.0, utilisation=0.5),
        seen(mean_ms=112.0, real_ms=100.0, utilisation=0.6),
        seen(mean_ms=132.0, real_ms=110.0, utilisation=0.7),
    ])  # fmt: skip
    error = one(found)
    assert error.percent == pytest.approx(12.0)
    assert error.utilisation == pytest.approx(0.6)
    assert error.repeatability_percent == pytest.approx(100 * 5 / (310 / 3))
    assert one(errors([seen()])).repeatability_percent is None


def test_invalid_runs_have_no_error() -> None:
    """They are not dropped in silence: the lines below the tables name each with its reason."""
    runs = [seen(), seen(case="b", reasons=("the client was late",))]
    assert {error.case for error in errors(runs)} == {"a"}
    said = list(lines(runs))
    assert said[0].startswith("1 of 2 runs are valid")
    assert "not counted: b, event: the client was late" in said


@pytest.mark.parametrize(
    ("utilisation", "band"),
    [(0.0, 0), (0.5, 0), (0.501, 1), (0.7, 1), (0.71, 2), (0.85, 2), (0.86, 3), (1.0, 3)],
)
def test_bands_end_where_they_say(utilisation: float, band: int) -> None:
    """The upper end belongs to the band."""
    assert band_of(utilisation) == BANDS[band]
    assert band_of(None) is None


def test_a_cell_is_of_absolute_errors() -> None:
    """Median and 90th percentile (an order statistic) of what is off either way, and the median
    with its sign; selected by MPM, band, role and predictor."""
    runs = [
        seen(case=str(i), mean_ms=100.0 + off, mpm="worker" if i % 2 else "event")
        for i, off in enumerate((-8, -4, -2, 1, 2, 3, 4, 5, 6, 40))
    ]
    found = errors(runs)
    overall = cell(found, "mean_ms")
    assert overall is not None
    assert overall.cases == 10
    assert overall.median_percent == pytest.approx(4.0)
    assert overall.p90_percent == pytest.approx(8.0)
    assert overall.bias_percent == pytest.approx(2.5)
    halves = [cell(found, "mean_ms", mpm=mpm) for mpm in ("event", "worker")]
    assert [half.cases for half in halves if half is not None] == [5, 5]
    assert cell(found, "mean_ms", band=BANDS[0]) is None
    assert cell(found, "mean_ms", role="train") is None
    baseline = cell(found, "mean_ms", "M/M/c")
    assert baseline is not None
    assert baseline.median_percent == pytest.approx(50.0)


def test_tables_show_every_figure_and_what_is_missing() -> None:
    """Errors by band and MPM, and of the baselines on the cases that they answer."""
    found = errors([seen(), seen(case="b", mpm="worker", mean_ms=90.0, utilisation=0.9)])
    text = shown(band_table(found, "t"), mpm_table(found, "t"), baseline_table(found, "t"))
    for label in FIGURES.values():
        assert label in text
    (row,) = [line for line in text.splitlines() if "mean response" in line and "+0.0" in line]
    cells = [part.strip() for part in row.strip("│").split("│")]
    assert cells[1:] == ["-", "10.0 / 10.0 (1)", "-", "10.0 / 10.0 (1)", "10.0 / 10.0 (2)", "+0.0",
                         "-"]  # fmt: skip
    assert "M/M/c" in text


def test_pictures_draw_every_run() -> None:
    """Errors against utilisation, held-out cases filled; quantiles of valid runs only. Without data
    there is no picture."""
    runs = [seen(), seen(case="b", mpm="prefork", role="train"), seen(case="c", reasons=("x",))]
    plot = error_plot(errors(runs), "real")
    assert plot is not None
    drawn = [len(np.asarray(dots.get_offsets())) for dots in plot.axes[0].collections]
    assert sum(drawn) == 2
    quantiles = quantile_plot(runs, "real")
    assert quantiles is not None
    assert len([line for line in quantiles.axes[0].lines if line.get_marker() != "None"]) == 2
    assert error_plot([], "real") is None
    assert quantile_plot([seen(reasons=("x",))], "real") is None


# ---- what is kept --------------------------------------------------------------------------------

ABOUT = {
    "suite": "reference", "whole": True, "engine": "real",
    "platforms": {"event": "here (abc)", "worker": "here (abc)"},
    "created": "2026-11-24T10:00:00+00:00",
}  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder."""
    monkeypatch.setattr(standing_module, "profile_path", lambda: tmp_path / "profiles" / "p.toml")
    return tmp_path


def kept_document(*more: Observation, complete: bool = True) -> dict[str, Any]:
    """Of two held-out cases, and whatever else."""
    runs = (seen(), seen(case="b", mean_ms=104.0), *more)
    found: dict[str, Any] = json.loads(json.dumps(document(runs, ABOUT, complete)))
    return found


def test_a_validation_is_found_again_for_its_profile_only(cache: Path) -> None:
    """By name and hash of the profile, and by engine; another profile has none."""
    keep_standing(kept_document())
    standing = find_standing("here (abc)", "real")
    assert standing is not None
    assert standing.describe() == (
        "validated on 2026-11-24 against real: 2 held-out cases of the suite reference"
    )
    assert find_standing("here (abd)", "real") is None
    assert find_standing("here (abc)", "httpd") is None
    assert list(cache.glob("validations/*"))


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["met", "met"], ""),
        (["met", "undecided"], ""),
        (["met", "missed", "missed"], "; rejected: 2 of 3 targets missed"),
        (["missed", "undecided"], "; rejected: 1 of 2 targets missed, 1 undecided"),
    ],
)
def test_a_simulation_that_missed_targets_is_rejected(states: list[str], said: str) -> None:
    """Wherever its errors are told; one that nothing can be said of is not missed."""
    states_told = [{"state": state} for state in states]
    kept = {**kept_document(), "platform": "here (abc)", "targets": states_told}
    sentence = standing_of(kept).describe()
    assert sentence.partition("suite reference")[2] == said


def test_each_profile_has_its_own_mpms_errors(cache: Path) -> None:
    """One calibrated for worker, one for the others: two files, and neither knows the other's
    errors. An MPM without held-out cases leaves nothing."""
    names = {"event": "for event (a)", "worker": "for worker (b)", "prefork": "for prefork (c)"}
    more = [seen(case=case, mpm="worker", mean_ms=150.0) for case in ("c", "d")]
    trained = seen(case="e", mpm="prefork", role="train")
    paths = keep_standing({**kept_document(*more, trained), "platforms": names})
    assert sorted(paths) == sorted(cache.glob("validations/*"))
    assert len(paths) == 2
    event, worker = (find_standing(names[mpm], "real") for mpm in ("event", "worker"))
    assert event is not None
    assert worker is not None
    assert {error.mpm for error in event.errors} == {"event"}
    assert {error.mpm for error in worker.errors} == {"worker"}
    found = worker.cell("worker", 0.6, "mean_ms")
    assert found is not None
    assert found.median_percent == pytest.approx(50.0)
    assert event.cell("worker", 0.6, "mean_ms") is None
    assert find_standing(names["prefork"], "real") is None


@pytest.mark.usefixtures("cache")
def test_an_error_is_told_for_its_mpm_and_band_only() -> None:
    """Where at least two held-out cases were; cases for fitting are no evidence."""
    keep_standing(kept_document(
        seen(case="c", mpm="worker"), seen(case="d", mpm="worker", role="train"),
    ))  # fmt: skip
    standing = find_standing("here (abc)", "real")
    assert standing is not None
    found = standing.cell("event", 0.65, "mean_ms")
    assert found is not None
    assert found.median_percent == pytest.approx(7.0)
    assert standing.cell("event", 0.8, "mean_ms") is None
    assert standing.cell("event", None, "mean_ms") is None
    assert standing.cell("worker", 0.65, "mean_ms") is None
    assert standing.cell("event", 0.65, "p99_ms") is None


def test_half_a_validation_is_not_kept(cache: Path) -> None:
    """Nor one of some cases of a suite, nor one without held-out cases."""
    assert keep_standing({**kept_document(), "whole": False}) == []
    assert keep_standing(kept_document(complete=False)) == []
    trained = document([seen(role="train")], ABOUT, True)
    assert keep_standing(trained) == []
    assert find_standing("here (abc)", "real") is None
    assert not list(cache.glob("validations/*"))


@pytest.mark.usefixtures("cache")
def test_a_damaged_file_counts_for_nothing() -> None:
    """It is a cache: another schema, half a file, and none are the same."""
    (path,) = keep_standing(kept_document())
    path.write_text(path.read_text()[:100])
    assert find_standing("here (abc)", "real") is None
    other = copy.deepcopy(kept_document())
    other["schema"] = "mpmlab-validation-0"
    with pytest.raises(ValueError, match="mpmlab-validation-0"):
        standing_of(other)


def test_held_out_errors_are_those_of_no_fit() -> None:
    """Roles come from the suite."""
    found = errors([seen(), seen(case="b", role="train")])
    assert {error.case for error in held_out(found)} == {"a"}


# ---- for real ------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.usefixtures("cache")
def test_a_validation_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One case of two MPMs: an observation of each with measured and simulated figures, a document
    with its errors where runs are valid, and pictures; each run is stored as any other."""
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'name = "tiny"\n[[case]]\nname = "waits"\nscenario = "poisson-wait"\npool = 5\n'
        'rate_per_s = 60\nduration_s = 5\nrole = "held-out"\n'
    )
    out = tmp_path / "results"
    code = run(["validate", "--suite", str(suite), "--mpm", "worker,event", "--out", str(out),
                "--quiet"])  # fmt: skip
    printed = capsys.readouterr().out
    assert code in (0, 3), printed  # 3: this machine disturbed both
    (folder,) = out.glob("*validate-real-tiny*")
    found = json.loads((folder / "validation.json").read_text())
    assert found["complete"]
    assert found["targets"] == []
    assert [o["mpm"] for o in found["observations"]] == ["worker", "event"]
    for observation in found["observations"]:
        assert (folder / observation["folder"] / "run.json").exists()
        assert observation["measured"]["throughput_rps"] == pytest.approx(60, rel=0.3)
        for figure, (low, high) in observation["intervals"].items():
            assert low < high, figure
        assert {"throughput_rps", "mean_ms"} <= set(observation["intervals"])
        assert observation["predicted"]["sim"]["p50_ms"] > 10
        assert observation["predicted"]["M/M/c"]["mean_ms"] == pytest.approx(20, rel=0.3)
        assert observation["utilisation"] == pytest.approx(60 * 0.02 / 5, rel=0.5)
    assert "of 2 runs are valid" in printed
    valid = [o for o in found["observations"] if o["valid"]]
    assert {e["mpm"] for e in found["errors"]} == {o["mpm"] for o in valid}
    if valid:
        assert (folder / "errors.png").exists()
        assert (folder / "quantiles.png").exists()


@pytest.mark.real
@pytest.mark.usefixtures("cache")
def test_runs_are_simulated_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--measured: nothing is measured; what was is the same, and as the profile is, so are the
    simulations. A folder without a validation is refused."""
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'name = "tiny"\n[[case]]\nname = "waits"\nscenario = "poisson-wait"\npool = 5\n'
        'rate_per_s = 60\nduration_s = 4\nrole = "held-out"\n'
    )
    command = ["validate", "--suite", str(suite), "--mpm", "worker", "--quiet"]
    assert run([*command, "--out", str(tmp_path / "first")]) in (0, 3)
    (first,) = (tmp_path / "first").glob("*validate-real-tiny*")
    assert run([*command, "--out", str(tmp_path / "second"), "--measured", str(first)]) in (0, 3)
    (second,) = (tmp_path / "second").glob("*validate-real-tiny*")
    assert not list(second.glob("*/run.json"))
    documents = [json.loads((one / "validation.json").read_text()) for one in (first, second)]
    (before,), (after,) = (one["observations"] for one in documents)
    for key in ("case", "mpm", "repetition", "folder", "utilisation", "measured", "intervals"):
        assert before[key] == after[key], key
    assert before["predicted"]["sim"] == after["predicted"]["sim"]
    assert documents[1]["complete"]
    capsys.readouterr()
    assert run([*command, "--measured", str(tmp_path)]) == 2
    assert "validation.json: cannot be read" in capsys.readouterr().err


def test_wrong_options_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Another case, suite or engine: exit code 2 and what is accepted, before anything is run."""
    assert run(["validate", "--case", "nonesuch"]) == 2
    assert "sleep-0.5" in capsys.readouterr().err
    assert run(["validate", "--suite", "nonesuch"]) == 2
    assert run(["validate", "--engine", "sim"]) == 2
    assert run(["validate", "--mpm", "winnt"]) == 2
