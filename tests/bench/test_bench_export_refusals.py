"""What `mpmlab export` refuses, what it marks, and what it leaves behind."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from mpmlab import cli_export
from mpmlab.bench import export
from tests.bench.bench_data import make_records, make_run, ok
from tests.bench.export_data import command, exported, plan_of, run_of, stored
from tests.bench.stored_data import gated, make_plan, store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A results folder with the run of export_data."""
    return stored(tmp_path / "run")


@pytest.mark.parametrize("format_name", cli_export.FORMATS)
def test_nothing_is_overwritten_unasked(folder: Path, format_name: str) -> None:
    """The second time is refused with exit code 2 and one line that names the file; --force
    replaces it. No scratch file is left."""
    path = exported(folder, format_name)
    path.write_text("mine")
    done = command(folder, "--format", format_name)
    assert done.exit_code == 2
    assert f"{path}: is there already; --force replaces it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert path.read_text() == "mine"
    assert exported(folder, format_name, "--force") == path
    assert path.read_bytes() != b"mine"
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "xml"], ["'xml'", "hgrm", "parquet"]),
        ([], ["--format"]),
        (["--format", "hgrm", "--engine", "dream"], ["'dream'", "real, sim"]),
        (["--format", "hgrm", "--view", "nice"], ["'nice'", "service"]),
        (["--format", "csv", "--out", "/no/such/folder/x.csv"], ["/no/such/folder/x.csv"]),
        (["--format", "csv", "--out", "/"], ["is a folder"]),
    ],
)
def test_wrong_input_is_told(folder: Path, arguments: list[str], words: list[str]) -> None:
    """Exit code 2, what is wrong and what is accepted; nothing is written."""
    before = sorted(folder.iterdir())
    done = command(folder, *arguments)
    assert done.exit_code == 2
    for word in words:
        assert word in done.stderr
    assert sorted(folder.iterdir()) == before


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    """And so are a plan that is missing, and one that is another's."""
    done = command(tmp_path, "--format", "hgrm")
    assert done.exit_code == 2
    assert f"{tmp_path / 'run.json'}: no such file" in done.stderr
    run = store(tmp_path / "run", plan_of(), {"real": run_of()})
    make_plan([1.0]).save(run / "plan.npz")
    assert "is not the plan of this run" in command(run, "--format", "hgrm").stderr
    (run / "plan.npz").unlink()
    assert "plan.npz: cannot be read" in command(run, "--format", "hgrm").stderr


def test_one_of_several_repetitions_must_be_named(tmp_path: Path) -> None:
    """A folder of repetitions is not one run; a single repetition is."""
    store(tmp_path / "rep-1", plan_of(), {"real": run_of()})
    assert exported(tmp_path, "hgrm").parent == tmp_path / "rep-1"
    store(tmp_path / "rep-2", plan_of(), {"real": run_of()})
    done = command(tmp_path, "--format", "hgrm")
    assert done.exit_code == 2
    assert "holds 2 repetitions" in done.stderr


def test_a_failed_write_leaves_nothing(folder: Path) -> None:
    """A time that no histogram holds: exit code 2, no file, no scratch file."""
    rows = [ok(3.0, 100_000.0)]
    run = store(folder.parent / "long", plan_of(rows, ()), {"real": run_of(rows)})
    before = sorted(run.iterdir())
    done = command(run, "--format", "hgrm")
    assert done.exit_code == 2
    assert "a time of 100000 s" in done.stderr
    assert sorted(run.iterdir()) == before


def test_an_invalid_run_is_marked(tmp_path: Path) -> None:
    """A late client: exported all the same, with a warning, and each format says INVALID."""
    rows = [ok(3 + 0.1 * i, 0.01, late_s=0.005) for i in range(20)]
    plan = plan_of(rows, ())
    run = store(tmp_path, plan, {"real": gated(run_of(rows), plan)})
    done = command(run, "--format", "hgrm")
    assert done.exit_code == 0
    assert "INVALID: p99 of the client's own delay is 5 ms" in done.stderr
    text = (run / "real-response.hgrm").read_text()
    assert "# INVALID: p99 of the client's own delay is 5 ms" in text
    assert "# INVALID: " in exported(run, "hlog").read_text()
    facts = pa.parquet.read_schema(exported(run, "parquet")).metadata
    assert facts[b"mpmlab.valid"] == b"false"
    assert b"own delay" in facts[b"mpmlab.invalid_because"]
    document = json.loads(exported(run, "json").read_text())
    assert document["valid"] is False
    assert "own delay" in document["invalid_because"][0]


def test_a_run_cut_short_has_fewer_intervals(tmp_path: Path) -> None:
    """Stopped at 4.25 s: intervals up to there, and marked as incomplete."""
    rows = [ok(2.5, 0.1), ok(4.0, 0.1)]
    records = make_records(rows, complete=False, end_s=4.25)
    run = dataclasses.replace(make_run("real", records), faults=("interrupted by SIGINT",))
    text = exported(store(tmp_path, plan_of(rows, ()), {"real": run}), "hlog").read_text()
    assert [line.split(",")[:2] for line in text.splitlines() if line[0] not in '#"'] == [
        ["2.000", "1.000"],
        ["3.000", "1.000"],
        ["4.000", "0.250"],
    ]
    assert "# INVALID: incomplete: interrupted by SIGINT" in text


def test_a_run_without_a_row_is_exported(tmp_path: Path) -> None:
    """Nothing was recorded: every format is written, and is empty."""
    plan = make_plan([1.0])
    records = make_records([], complete=False, end_s=0.5)
    run = store(tmp_path, plan, {"real": make_run("real", records)})
    for format_name in cli_export.FORMATS:
        exported(run, format_name)
    assert (run / "real-requests.csv").read_text().startswith("request,cycle,session,class,")
    assert pa.parquet.read_table(run / "real-requests.parquet").num_rows == 0
    with pa.ipc.open_file(run / "real-requests.arrow") as file:
        assert file.read_all().num_rows == 0


def test_the_command_knows_the_formats_and_views() -> None:
    """What it offers without importing them is what there is."""
    assert tuple(export.FORMATS) == cli_export.FORMATS
    assert tuple(export.VIEWS) == cli_export.VIEWS
