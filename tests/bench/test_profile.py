"""Which profile a simulation is given: the calibrated one of engine and MPM, or the probed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mpmlab.bench.profile import Profiles, calibrated_path, profile_for
from mpmlab.core.platform import Platform
from mpmlab.core.platform_file import read_platform, write_platform
from mpmlab.real import probe
from mpmlab.real.probe import profile_path
from tests.bench.calibration_data import PLANTED
from tests.bench.made_up_profile import use_made_up_profile


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of our own, with a probed profile; and whoever starts a probe fails."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()

    def started(*_: object, **__: object) -> None:
        pytest.fail("a probe was started")

    monkeypatch.setattr(probe, "start_server", started)


def keep(engine: str, mpm: str) -> Platform:
    """A calibrated profile, kept where it belongs."""
    platform = replace(PLANTED, name=f"{engine} {mpm}")
    write_platform(platform, calibrated_path(engine, mpm))
    return platform


def found(engines: Sequence[str]) -> Profiles:
    """Without progress."""
    return profile_for(engines, False, lambda _: None, lambda _: None)


def test_without_any_the_probed_one_is_used() -> None:
    """For every MPM, and nothing is called calibrated."""
    profiles = found(("real", "sim"))
    assert profiles.probed == read_platform(profile_path())
    assert profiles.of("event") is profiles.probed
    assert not profiles.calibrated("event")
    assert dict(profiles.by_mpm) == {}


def test_a_calibrated_one_holds_for_its_mpm() -> None:
    """The others are simulated with the probed one."""
    kept = keep("real", "worker")
    profiles = found(("real", "sim"))
    assert profiles.of("worker") == kept
    assert profiles.calibrated("worker")
    assert profiles.of("event") == profiles.of("prefork") == profiles.probed
    assert not profiles.calibrated("event")


@pytest.mark.parametrize(
    ("engines", "engine"),
    [
        (("real", "sim"), "real"),
        (("sim",), "real"),
        (("httpd", "sim"), "httpd"),
        (("httpd", "real", "sim"), "real"),
    ],
)
def test_it_is_that_of_the_engine_beside_it(engines: tuple[str, ...], engine: str) -> None:
    """Apache httpd's only if that is run and our own servers are not."""
    kept = {name: keep(name, "event") for name in ("real", "httpd")}
    profiles = found(engines)
    assert profiles.engine == engine
    assert profiles.of("event") == kept[engine]


@pytest.mark.parametrize("text", ["", "name = 3\n", 'name = "half', "\xff"])
def test_a_damaged_file_counts_for_nothing(text: str) -> None:
    """It is a cache: the probed one stands in, as for a file of another version."""
    keep("real", "worker")
    kept = keep("real", "event")
    calibrated_path("real", "worker").write_bytes(text.encode("latin-1"))
    profiles = found(("real", "sim"))
    assert not profiles.calibrated("worker")
    assert profiles.of("worker") == profiles.probed
    assert profiles.of("event") == kept


def test_real_runs_alone_need_no_profile() -> None:
    """Nothing is read, so nothing would be measured."""
    profile_path().unlink()
    keep("real", "worker")
    profiles = found(("real",))
    assert profiles.of("worker").name == "not needed"
    assert not profiles.calibrated("worker")


def test_every_engine_and_mpm_has_a_place_of_its_own() -> None:
    """Beside the probed profiles, where `mpmlab profile list` does not look."""
    pairs = [(engine, mpm) for engine in ("real", "httpd") for mpm in ("worker", "event")]
    paths = {calibrated_path(*pair) for pair in pairs}
    assert len(paths) == 4
    assert {path.parent for path in paths} == {profile_path().parent.parent / "calibrated"}
