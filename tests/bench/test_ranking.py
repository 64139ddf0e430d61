"""Ranks of several MPMs: the best first, equal where no difference is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpmlab import cli
from mpmlab.bench.compare import Member, load_members
from mpmlab.bench.ranking import RANKED, rankings
from tests.bench.made_up_profile import use_made_up_profile

SCENARIO = """\
name = "even"
duration_s = 4
warmup_s = 0.5
[arrivals]
kind = "poisson"
rate_per_s = 100
[[class]]
name = "a"
wait_us = 20000
response_bytes = 100
"""


@pytest.fixture
def members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Member]:
    """One simulated plan on worker, threadpool, and netware with a single thread, which has not
    enough of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()
    scenario = tmp_path / "even.toml"
    scenario.write_text(SCENARIO)
    out = tmp_path / "out"
    for mpm, sets in (
        ("worker,threadpool", []),
        ("netware", ["--set", "StartThreads=1", "--set", "MaxThreads=1"]),
    ):
        command = ["bench", "--mpm", mpm, "--engine", "sim", "--scenario", str(scenario)]
        command += ["--out", str(out), "--quiet", *sets]
        assert cli.run(command) in (0, 3)
    return load_members(sorted(out.iterdir()))


def test_the_best_is_first_and_equal_ones_share_a_rank(members: list[Member]) -> None:
    """worker and threadpool answer alike; one thread answers half of what comes, late."""
    found = {ranking.figure.name: ranking for ranking in rankings(members)}
    assert set(found) == set(RANKED)
    for name in ("mean_ms", "p99_ms", "throughput_rps"):
        places = found[name].places
        assert [place.rank for place in places] == [1, 1, 3], name
        assert places[2].variant.members[0].experiment.mpm == "netware"
        assert places[0].compared.ratio is None
        ratio = places[2].compared.ratio
        assert ratio is not None
        assert ratio < 0.6 if RANKED[name] else ratio > 2


def test_values_without_an_interval_are_in_their_order(members: list[Member]) -> None:
    """Memory of a single run has none: who takes less is before who takes more."""
    (memory,) = [one for one in rankings(members) if one.figure.name == "memory_mib"]
    values = [place.compared.value for place in memory.places]
    assert None not in values
    assert values == sorted(value for value in values if value is not None)
    assert [place.rank for place in memory.places] == [
        1,
        2,
        2,
    ]  # worker and threadpool take the same


def test_one_variant_is_not_ranked(members: list[Member]) -> None:
    """There is nobody to be better than."""
    assert rankings(members[:1]) == []
