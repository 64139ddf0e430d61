"""Which network a run goes over, what is refused, and what is kept of a link: once for real."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mpmlab import cli
from mpmlab.bench.network import link_for, network_notes, paced_links, shared_link
from mpmlab.bench.results import load_results
from mpmlab.bench.task import EngineError, Task
from mpmlab.core.directives import effective
from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.plan import Plan
from tests.bench.stored_data import make_plan
from tests.real.test_link_netns import NO_LINKS

NEAR, FAR = ClientKind(), ClientKind(rtt_s=0.1)
SLOW = ClientKind(rtt_s=0.1, down_bytes_per_s=1e6)

SCENARIO = """\
name = "far"
duration_s = 1.5
warmup_s = 0.3

[arrivals]
kind = "constant"
rate_per_s = 40

[client]
rtt_s = 0.03

[[class]]
name = "page"
response_bytes = 1000

[directives]
StartServers = 1
"""


def plan_of(*kinds: ClientKind) -> Plan:
    """A plan whose groups' clients are of these kinds."""
    groups = tuple(Group(f"g{i}", True, kind) for i, kind in enumerate(kinds))
    return dataclasses.replace(make_plan([1.0, 2.0]), groups=groups)


def task_of(*kinds: ClientKind) -> Task:
    """A task with that plan."""
    return Task("event", (), effective("event", (), "test"), plan_of(*kinds), timeout_s=3.0)


def test_all_clients_share_the_one_link() -> None:
    """The same figures in every group make a link; clients without one are on none."""
    assert shared_link(plan_of(FAR, FAR)) == (0.1, 0.0, 0.0)
    assert shared_link(plan_of(SLOW)) == (0.1, 1e6, 0.0)
    assert shared_link(plan_of(NEAR, NEAR)) == (0.0, 0.0, 0.0)
    other = dataclasses.replace(FAR, keep_alive=False, abandon_s=1.0)
    assert shared_link(plan_of(FAR, other)) == (0.1, 0.0, 0.0)


@pytest.mark.parametrize("kinds", [(NEAR, FAR), (FAR, SLOW)])
def test_different_links_are_refused(kinds: tuple[ClientKind, ClientKind]) -> None:
    """Before anything is made, with what is accepted; their own pacing can do it."""
    with pytest.raises(EngineError, match=r"different rtt_s.*--network pacing"):
        link_for(task_of(*kinds))


def test_pacing_is_told_where_there_is_something_to_pace() -> None:
    """Clients without a link are on the loopback, of which nothing need be said."""
    assert paced_links(plan_of(NEAR, FAR, SLOW)) == {(0.1, 0.0, 0.0), (0.1, 1e6, 0.0)}
    (note,) = network_notes(task_of(NEAR, FAR), None)
    assert "pacing" in note
    assert network_notes(task_of(NEAR), None) == ()


@pytest.mark.real
@pytest.mark.skipif(bool(NO_LINKS), reason=NO_LINKS)
def test_a_run_over_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--network namespace: no answer comes sooner than the link's round trip (twice that with the
    connection's own), all are good, the link's figures are in run.json, and it has its gates."""
    path = tmp_path / "far.toml"
    path.write_text(SCENARIO)
    command = ["bench", "--mpm", "prefork", "--engine", "real", "--network", "namespace", "--quiet",
               "--scenario", str(path), "--out", str(tmp_path / "out")]  # fmt: skip
    assert cli.run(command) in (0, 3)
    said = capsys.readouterr().out
    assert "note: prefork, real: network: " in said
    (folder,) = (tmp_path / "out").iterdir()
    results = load_results(folder)
    run, summary = results.runs["real"], results.summaries()["real"]
    assert summary.errors == 0
    assert summary.completed > 40
    took_s = run.records.last_byte_s - run.records.sent_s
    assert took_s.min() >= 0.029
    assert summary.p50_ms is not None
    assert summary.p50_ms >= 2 * 29
    link = json.loads((folder / "run.json").read_text())["engines"]["real"]["link"]
    assert run.link == link
    assert link["asked"]["rtt_s"] == 0.03
    assert link["measured"]["rtt_s"] == pytest.approx(0.03, abs=0.01)
    assert link["traffic"]["down"]["bytes"] > 50 * 1000
    if link["without_netem"]:
        assert 0 < link["forwarder_share"] < 1
    gates = {gate.name: gate for gate in run.gates}
    off_ms = 1000 * abs(link["measured"]["rtt_s"] - 0.03)
    assert gates["link-rtt"].figure == pytest.approx(off_ms)
    assert "link-forwarder" in gates
