"""`mpmlab export`: every format says what the run says; what is refused stands in another file."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from mpmlab.bench import export, hdr, request_table
from mpmlab.bench.measured import measured
from mpmlab.bench.response import responses
from mpmlab.bench.results import load_results
from mpmlab.load.recorder import Outcome
from tests.bench.bench_data import failed, make_records, ok
from tests.bench.export_data import exported, plan_of, run_of, stored
from tests.bench.stored_data import CLASSES, store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A results folder with the run of export_data."""
    return stored(tmp_path / "run")


# ---- what a row counts with ----------------------------------------------------------------------


@pytest.mark.parametrize("complete", [True, False])
def test_rows_count_as_the_summary_counts(complete: bool) -> None:
    """Of every kind of outcome, the response times, service times and lateness of the counted rows
    are those that measured() selects, whether the run was cut short or not."""
    random = np.random.default_rng(1)
    kinds = [Outcome(int(i)) for i in random.integers(0, len(Outcome), 2000)]
    rows = [
        ok(p, t) if kind is Outcome.OK else failed(p, t, kind)
        for kind, p, t in zip(
            kinds, random.uniform(0, 10, 2000), random.exponential(2, 2000), strict=True
        )
    ]
    records = make_records(rows, complete, end_s=10.0 if complete else 7.5)
    want, seen = measured(records, 2.0, 10.0, 3.0), responses(records, 2.0, 10.0, 3.0)
    for mine, theirs in (
        (seen.response_s, want.response_s),
        (seen.service_s, want.service_s),
        (seen.lateness_s, want.lateness_s),
    ):
        known = mine[seen.counted & ~np.isnan(mine)]
        assert np.sort(known) == pytest.approx(np.sort(theirs), abs=0)
    assert np.count_nonzero(seen.counted) == want.requests
    assert np.min(seen.response_s[seen.bound & seen.counted]) == want.censored_from_s


def test_only_measured_clients_count() -> None:
    """With a plan, the requests of a group that is not measured do not count."""
    records = run_of().records
    seen = responses(records, 2.0, 10.0, 3.0, plan_of())
    assert seen.counted.tolist() == [False, True, True, True, True, False, True]


# ---- histograms ----------------------------------------------------------------------------------


def test_hgrm_is_the_table_of_the_measured_window(folder: Path) -> None:
    """Answers of 100 and 300 ms, a time-out of 3 s, 1.5 s of waiting: these four and no others, in
    milliseconds; the time-out counts with at least what it waited, and a comment says so."""
    text = exported(folder, "hgrm").read_text()
    rows = [line.split() for line in text.splitlines() if line and line[0] != "#"][1:]
    assert [float(row[0]) for row in rows if row[1] in ("0.000000000000", "1.000000000000")] == [
        pytest.approx(100, rel=1e-3),
        pytest.approx(3000, rel=1e-3),
    ]
    assert {float(row[0]) for row in rows} == {100.031, 300.031, 1500.159, 3000.319}
    assert "Total count    =            4]" in text
    comments = " ".join(line.strip("# ") for line in text.splitlines() if line.startswith("# "))
    assert "2 of the values are lower bounds" in comments
    assert "timed out (after 3 s)" in comments
    assert "from 1500.000 ms on percentiles are lower bounds" in comments
    assert "1 requests failed otherwise" in comments
    assert "planned from 2 to 10 s" in comments
    assert load_results(folder).experiment.plan_hash in comments
    assert "INVALID" not in comments


@pytest.mark.parametrize(
    ("view", "count", "max_ms"), [("response", 4, 3000), ("service", 2, 300), ("lateness", 4, 20)]
)
def test_each_view_has_its_histogram(folder: Path, view: str, count: int, max_ms: float) -> None:
    """Service time of the two answers, lateness of the four that were sent."""
    path = exported(folder, "hgrm", "--view", view)
    assert path == folder / f"real-{view}.hgrm"
    footer = re.search(r"#\[Max += +([\d.]+), Total count += +(\d+)\]", path.read_text())
    assert footer is not None
    assert float(footer[1]) == pytest.approx(max_ms, rel=1e-3)
    assert int(footer[2]) == count


def test_hlog_has_an_interval_a_second(folder: Path) -> None:
    """Eight seconds, each with what was planned in it; together the histogram of the window."""
    path = exported(folder, "hlog")
    reader = HistogramLogReader(str(path), HdrHistogram(hdr.LOWEST_US, hdr.HIGHEST_US, hdr.DIGITS))
    found = []
    while (made := reader.get_next_interval_histogram()) is not None:
        found.append(made)
    reader.close()
    assert [made.get_total_count() for made in found] == [1, 1, 1, 0, 0, 0, 0, 1]
    whole = hdr.histogram(np.array([0.1, 0.3, 3.0, 1.5]))
    assert hdr.merged(found).equals(whole)
    text = path.read_text()
    assert "packed values in microseconds" in text
    assert "2026-07-23T10:15:00" in text


def test_the_engine_can_be_chosen(folder: Path) -> None:
    """Real without a word, simulated when asked for; the file is named after it."""
    assert exported(folder, "hgrm").name == "real-response.hgrm"
    path = exported(folder, "hgrm", "--engine", "sim")
    assert path.name == "sim-response.hgrm"
    assert " 200.063 " in path.read_text()


# ---- tables of requests --------------------------------------------------------------------------


def columns_of(folder: Path) -> dict[str, list[Any]]:
    """The exported table by column."""
    columns: dict[str, list[Any]] = pa.parquet.read_table(exported(folder, "parquet")).to_pydict()
    return columns


def test_parquet_says_what_the_records_say(folder: Path) -> None:
    """Each row with names in place of numbers, times and null where something did not happen."""
    got = columns_of(folder)
    records = run_of().records
    assert list(got) == [column.name for column in request_table.COLUMNS]
    assert got["request"] == got["session"] == list(range(7))
    assert got["class"] == [CLASSES[i % 2] for i in range(7)]
    assert got["group"] == ["main"] * 5 + ["slow", "main"]
    assert got["measured"] == [False, True, True, True, True, False, True]
    assert got["outcome"] == ["ok", "ok", "ok", "timeout", "reset", "ok", "not_sent"]
    assert got["planned_s"] == records.planned_s.tolist()
    assert got["response_ms"] == [
        *(pytest.approx(ms) for ms in (500, 100, 300, 3000)),
        None,
        *(pytest.approx(ms) for ms in (9000, 1500)),
    ]
    assert got["response_is_bound"] == [False, False, False, True, False, False, True]
    assert got["service_ms"][1] == pytest.approx(80)
    assert got["service_ms"][3:5] == [None, None]
    assert got["lateness_ms"][1] == pytest.approx(20)
    assert got["lateness_ms"][6] is None
    assert got["last_byte_s"][2:4] == [pytest.approx(3.55), None]
    assert got["status"] == [200, 200, 200, None, None, 200, None]
    assert got["body_bytes"][:5] == [1024, 1024, 1024, 0, 0]
    assert got["connection"] == list(range(1, 8))


def test_the_summary_can_be_made_from_the_table(tmp_path: Path) -> None:
    """Order statistics of response_ms and lateness_ms where measured are those of run.json, and so
    are the mean and the outcomes."""
    run = store(tmp_path, plan_of(slow=()), {"real": run_of()})
    got = columns_of(run)
    facts = json.loads((run / "run.json").read_text())["engines"]["real"]["summary"]
    rows = np.flatnonzero(got["measured"])
    times = {
        name: [got[name][row] for row in rows if got[name][row] is not None]
        for name in ("response_ms", "lateness_ms")
    }
    for p, name in ((0.5, "p50_ms"), (0.9, "p90_ms"), (0.99, "p99_ms")):
        found = np.quantile(times["response_ms"], p, method="inverted_cdf")
        assert found == pytest.approx(facts[name])
    assert np.mean(times["response_ms"]) == pytest.approx(facts["mean_ms"])
    assert np.max(times["lateness_ms"]) == pytest.approx(facts["lateness_p99_ms"])
    ended = [got["outcome"][row] for row in rows if got["outcome"][row] != "ok"]
    assert {kind: ended.count(kind) for kind in ended} == facts["errors_by_kind"]


def test_parquet_carries_the_facts_of_the_run(folder: Path) -> None:
    """Schema version, plan hash, engine, MPM and seed stand in the key-value metadata, the meaning
    of each column beside it."""
    layout = pa.parquet.read_schema(exported(folder, "parquet"))
    facts = {key.decode(): value.decode() for key, value in layout.metadata.items()}
    assert facts["mpmlab.schema"] == "mpmlab-requests-1"
    assert facts["mpmlab.plan_hash"] == plan_of().hash
    assert (facts["mpmlab.engine"], facts["mpmlab.mpm"]) == ("real", "worker")
    assert (facts["mpmlab.seed"], facts["mpmlab.valid"]) == ("7", "true")
    assert all(layout.field(name).metadata[b"meaning"] for name in layout.names)


def test_arrow_is_the_same_table(folder: Path) -> None:
    """Types, rows and facts."""
    with pa.ipc.open_file(exported(folder, "arrow")) as file:
        table = file.read_all()
    other = pa.parquet.read_table(exported(folder, "parquet"))
    assert table.to_pydict() == other.to_pydict()
    assert table.schema.metadata == {
        key: value for key, value in other.schema.metadata.items() if key.startswith(b"mpmlab.")
    }


def test_csv_is_plain(folder: Path) -> None:
    """A header and rows, no comments: what Python's csv reads is the table; a class with a quote
    and a comma survives, numbers are exact, null is empty."""
    with exported(folder, "csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    want = columns_of(folder)
    assert list(rows[0]) == list(want)
    for name, column in want.items():
        for row, value in zip(rows, column, strict=True):
            text = row[name]
            if value is None:
                assert text == ""
            elif isinstance(value, bool):
                assert text == str(value).lower()
            else:
                assert type(value)(text) == value


def test_csv_has_its_description_beside_it(folder: Path) -> None:
    """Columns with type and meaning, and the facts of the run, as W3C recommends."""
    path = exported(folder, "csv", "--out", str(folder / "mine.csv"))
    document = json.loads((folder / "mine.csv-metadata.json").read_text())
    assert path.name == document["url"] == "mine.csv"
    described = document["tableSchema"]["columns"]
    assert [c["name"] for c in described] == [c.name for c in request_table.COLUMNS]
    types = {c["name"]: c["datatype"] for c in described}
    assert (types["request"], types["planned_s"], types["class"], types["measured"]) == (
        "long", "double", "string", "boolean",
    )  # fmt: skip
    (facts,) = document["notes"]
    assert facts["mpmlab.schema"] == request_table.SCHEMA
    assert facts["plan_hash"] == plan_of().hash


def test_many_rows_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than a piece holds: all are there, in their order, a row group for each piece."""
    monkeypatch.setattr(request_table, "ROWS", 1000)
    monkeypatch.setattr(export, "ROWS", 1000)
    rows = [ok(0.004 * i, 0.001 * (i % 7 + 1)) for i in range(2500)]
    run = store(tmp_path, plan_of(rows, ()), {"real": run_of(rows)})
    path = exported(run, "parquet")
    assert pa.parquet.ParquetFile(path).num_row_groups == 3
    assert columns_of_file(path)["request"] == list(range(2500))
    with exported(run, "csv").open() as file:
        assert sum(1 for _ in file) == 2501


def columns_of_file(path: Path) -> dict[str, list[Any]]:
    """A Parquet file by column."""
    columns: dict[str, list[Any]] = pa.parquet.read_table(path).to_pydict()
    return columns


# ---- the summary ---------------------------------------------------------------------------------


def test_json_is_the_summary_with_curves(folder: Path) -> None:
    """The engine's summary and the experiment as in run.json, percentiles of the three views, and
    whether it is valid."""
    document = json.loads(exported(folder, "json", "--engine", "sim").read_text())
    stored = json.loads((folder / "run.json").read_text())
    assert document["schema"] == "mpmlab-summary-1"
    assert document["engine"] == "sim"
    assert document["valid"] is True
    assert document["experiment"] == stored["experiment"]
    assert document["summary"] == stored["engines"]["sim"]["summary"]
    curve = document["percentiles"]["response_ms"]
    assert [point["share"] for point in curve][:3] == [0.5, 0.75, 0.9]
    assert curve[0]["value_ms"] == pytest.approx(300)
    assert curve[-1] == {"share": 1.0, "value_ms": pytest.approx(3000)}
    assert set(document["percentiles"]) == {"response_ms", "service_ms", "lateness_ms"}
