"""docs/results.md tells what the files hold: every name that a reader meets is explained there."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mpmlab.bench import compare, export, request_table, search
from mpmlab.bench.gates import Gate, Strictness, Verdict, gates
from mpmlab.bench.knee import Answer, Knee, Trial
from mpmlab.bench.measured import measured
from mpmlab.bench.prepare import prepare
from mpmlab.bench.samples import Samples
from mpmlab.bench.search import save_search
from mpmlab.bench.slo import Finding, judge, parse
from mpmlab.bench.speed import Speed
from mpmlab.cli_compare import compare_command
from mpmlab.load.recorder import Outcome, Records
from tests.bench.bench_data import asked
from tests.bench.export_data import exported, run_of, stored
from tests.bench.gate_data import QUIET, made_up

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text()
FLAT = " ".join(TEXT.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A results folder with two engines."""
    return stored(tmp_path / "run")


def unexplained(names: Iterable[str]) -> list[str]:
    """The names that do not stand in the page as code."""
    return [name for name in names if f"`{name}`" not in TEXT]


def test_run_json_is_explained(folder: Path) -> None:
    """Version, and every key of the experiment, of an engine, of its summary and of its speed."""
    document = json.loads((folder / "run.json").read_text())
    engine = document["engines"]["real"]
    assert f"`schema` is {document['schema']}." in FLAT
    assert unexplained([*document, *document["experiment"], *engine, *engine["summary"]]) == []
    assert unexplained(field.name for field in dataclasses.fields(Speed)) == []


def test_validity_is_explained() -> None:
    """Every gate by its name, what a gate holds, its verdicts; the account; the objectives; and
    what a run keeps of its link."""
    link = {"asked": {"rtt_s": 0.02}, "measured": {"rtt_s": 0.02}, "without_netem": "none here",
            "forwarder_share": 0.1}  # fmt: skip
    seen = made_up(1, facts=dataclasses.replace(QUIET, link=link))
    found = gates(seen)
    assert unexplained([gate.name for gate in found]) == []
    assert unexplained(field.name for field in dataclasses.fields(Gate)) == []
    assert unexplained(verdict.value for verdict in Verdict) == []
    assert unexplained(seen.account.to_dict()) == []
    objectives = judge(parse("p99<50ms"), measured(run_of().records, 2.0, 10.0, 3.0))
    assert unexplained(objectives[0].to_dict()) == []
    assert unexplained(finding.value for finding in Finding) == []
    assert unexplained([*link, "mechanism", "traffic"]) == []
    assert unexplained(strictness.value for strictness in Strictness) == []


def test_searches_are_explained(tmp_path: Path) -> None:
    """Layout, and every key of the document, of a search and of a run on the way."""
    trial = Trial(1.0, Answer.GOOD, "well")
    knee = Knee(1.0, None, (trial,), False, "why")
    save_search(tmp_path, prepare(asked(slo="p99<50ms")), {"worker, sim": knee})
    document = json.loads((tmp_path / search.FILE).read_text())
    assert f"`{search.FILE}`" in TEXT
    assert f"`{document['schema']}`" in TEXT
    (found,) = document["searches"].values()
    assert unexplained([*document, *found, *found["trials"][0]]) == []
    assert unexplained(answer.name.lower() for answer in Answer) == []


def test_the_arrays_are_explained() -> None:
    """Columns of records and samples, and every outcome."""
    for kind in (Records, Samples):
        assert unexplained(field.name for field in dataclasses.fields(kind)) == []
    assert unexplained(outcome.name.lower() for outcome in Outcome) == []


def test_the_table_of_requests_is_explained() -> None:
    """Layout, and each column in its order with the meaning that the files carry."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", TEXT, re.MULTILINE)
    assert [(name, meaning) for name, _, meaning in rows] == [
        (column.name, column.meaning) for column in request_table.COLUMNS
    ]
    types = {
        column.name: str(column.type).replace("double", "float64")
        for column in request_table.COLUMNS
    }
    assert {name: kind for name, kind, _ in rows if kind != "text"} == {
        name: kind for name, kind in types.items() if "dictionary" not in kind
    }
    assert f"Layout `{request_table.SCHEMA}`" in TEXT


def test_the_exports_are_explained(folder: Path) -> None:
    """Formats, views, facts of a run, and the keys of the summary."""
    assert unexplained([*export.FORMATS, *export.VIEWS]) == []
    document = json.loads(exported(folder, "json").read_text())
    assert f"Layout `{document['schema']}`" in TEXT
    assert unexplained([*document, *document["percentiles"]]) == []
    assert unexplained(document["percentiles"]["response_ms"][0]) == []
    exported(folder, "csv")
    described = json.loads((folder / "real-requests.csv-metadata.json").read_text())
    (facts,) = described["notes"]
    names = [name if "." in name else f"mpmlab.{name}" for name in facts]
    assert unexplained(names) == []


def test_the_comparison_is_explained(folder: Path) -> None:
    """Every key of the document, of a variant, of a run and of a line."""
    done = CliRunner().invoke(compare_command, ["--json", "--allow-invalid", str(folder)])
    document: dict[str, Any] = json.loads(done.stdout)
    assert f"Layout `{compare.SCHEMA}`" in TEXT
    variant = document["variants"][0]
    assert unexplained([*document, *variant, *variant["runs"][0], *document["lines"][0]]) == []
