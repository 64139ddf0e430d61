"""Simulations over the ranges of what a platform assumes: which platforms they are on, and that an
interval is told and no number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mpmlab import cli
from mpmlab.bench.interruption import Interruption
from mpmlab.bench.platform_range import (
    BETWEEN,
    FILE,
    assumed_values,
    over_range,
    save_range,
    variants,
)
from mpmlab.bench.prepare import RequestError, prepare
from mpmlab.bench.sim import run_sim
from mpmlab.bench.summary import Summary, summarise
from mpmlab.bench.task import Task, Watch
from mpmlab.core.platform import Costs, Platform
from mpmlab.core.platform_file import provenance, write_platform
from tests.bench.bench_data import asked

DATE = "2026-11-28"


def made_up(**ranges: tuple[float, float]) -> Platform:
    """A platform of which these values are assumed, each in the middle of its range; its switch is
    published, with an interval that does not matter."""
    costs = Costs(switch_us=5.0)
    values = {name: (low + high) / 2 for name, (low, high) in ranges.items()}
    known = {name: value for name, value in values.items() if hasattr(costs, name)}
    platform = Platform(name="made up", costs=replace(costs, **known))
    facts = {name: int(value) for name, value in values.items() if name not in known}
    every = (*Costs.__dataclass_fields__, *Platform.__dataclass_fields__)
    sources = dict.fromkeys(every, provenance("published: somebody, 1999", DATE))
    sources |= {name: provenance("assumed: nobody knows", DATE) for name in ranges}
    return replace(
        platform,
        **facts,  # type: ignore[arg-type]
        sources=sources,
        intervals={**ranges, "switch_us": (4.0, 6.0)},
    )


PLATFORM = made_up(request_us=(100.0, 400.0), fork_us=(1000.0, 9000.0), somaxconn=(5.0, 200.0))


def test_only_what_is_assumed_is_varied() -> None:
    """Not what is published, although it has an interval."""
    assert set(assumed_values(PLATFORM)) == {"request_us", "fork_us", "somaxconn"}
    for variant in variants(PLATFORM):
        assert variant.costs.switch_us == 5.0
        assert variant.costs.recv_us == PLATFORM.costs.recv_us


def test_the_ends_are_there_and_everything_else_is_between() -> None:
    """Everything low, everything high, then one of each stratum of every range, in whole numbers
    where things are counted."""
    low, high, *rest = variants(PLATFORM)
    assert (low.costs.request_us, low.costs.fork_us, low.somaxconn) == (100.0, 1000.0, 5)
    assert high.costs.request_us == pytest.approx(400.0)
    assert high.costs.fork_us == pytest.approx(9000.0)
    assert high.somaxconn == 200
    assert len(rest) == BETWEEN
    shares = sorted((one.costs.request_us / 100.0) for one in rest)
    for stratum, value in enumerate(shares):  # of the logarithm: 100 * 4 ** share
        assert 4 ** (stratum / BETWEEN) <= value <= 4 ** ((stratum + 1) / BETWEEN)
    assert all(isinstance(one.somaxconn, int) and 5 <= one.somaxconn <= 200 for one in rest)


def test_variants_are_the_same_every_time() -> None:
    """And others under another seed."""
    assert variants(PLATFORM) == variants(PLATFORM)
    assert variants(PLATFORM, 1)[2:] != variants(PLATFORM)[2:]


def test_a_platform_that_assumes_nothing_has_no_variants() -> None:
    """Its number is a number."""
    assert variants(made_up()) == []


def tiny() -> Task:
    """Half a second of the default scenario on worker."""
    (task,) = prepare(asked(duration_s=4.0)).tasks
    return task


def summary_of(task: Task, platform: Platform) -> Summary:
    """Simulated."""
    run = run_sim(task, platform, 1, Watch(Interruption(), lambda _: None))
    return summarise(run, task.warmup_s, task.duration_s, task.timeout_s, task.plan)


def test_the_range_holds_all_simulations_and_the_nominal_one(tmp_path: Path) -> None:
    """Dearer requests take longer: the least is that of the cheap end, the most that of the dear
    one; what does not depend on costs has ends that are equal. It is stored as it is."""
    task = tiny()
    nominal = summary_of(task, PLATFORM)
    said: list[str] = []
    found = over_range(task, PLATFORM, nominal, Watch(Interruption(), lambda _: None), said.append)
    assert found is not None
    assert found.simulations == BETWEEN + 3
    assert len(said) == BETWEEN + 2
    low, high, *_ = variants(PLATFORM)
    for figure in ("mean_ms", "p50_ms", "cpu_per_request_us"):
        ends = found.figures[figure]
        assert ends[0] == getattr(summary_of(task, low), figure)
        assert ends[1] == getattr(summary_of(task, high), figure)
        assert ends[0] < getattr(nominal, figure) < ends[1]
    assert found.figures["errors"] == (0.0, 0.0)
    save_range(tmp_path, found)
    stored = json.loads((tmp_path / FILE).read_text())
    assert stored["assumed"] == ["fork_us", "request_us", "somaxconn"]
    assert stored["figures"]["mean_ms"] == list(found.figures["mean_ms"])


def test_another_platform_is_simulated_only() -> None:
    """A real run is on this machine; without --engine the simulation is what there is."""
    assert prepare(asked(platform="windows", engines=None)).engines == ("sim",)
    with pytest.raises(RequestError, match="only a simulation can be on another platform"):
        prepare(asked(platform="windows", engines="real,sim"))


def test_the_command_prints_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the least to the most, with what they are below the table; an unknown platform is one
    clear line."""
    path = tmp_path / "made-up.toml"
    write_platform(PLATFORM, path)
    out = tmp_path / "out"
    command = ["bench", "--mpm", "worker", "--platform", str(path), "--duration", "4", "--out",
               str(out), "--quiet"]  # fmt: skip
    assert cli.run(command) in (0, 3)
    text = " ".join(capsys.readouterr().out.split())
    (line,) = [one for one in text.split("│") if one.strip().startswith("response p50")] or [""]
    assert line
    assert " to " in text
    assert f"of {BETWEEN + 3} simulations over the ranges of the 3 values" in text
    (folder,) = out.iterdir()
    assert (folder / FILE).exists()
    command[2] = "worker,event,threadpool"
    assert cli.run([*command[:-3], "--out", str(tmp_path / "three"), "--quiet"]) in (0, 3)
    assert "ranks" not in capsys.readouterr().out  # of numbers that are assumed there are none
    assert cli.run(["bench", "--platform", "nowhere", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "no profile is called 'nowhere'" in said.err
    assert said.out == ""
