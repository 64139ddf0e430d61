"""The configuration that httpd gets: one MPM, the directives as they were given, and the place of
the status connection. Where httpd is here, it judges the text, too."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mpmlab.core.directives import accepted_by, effective
from mpmlab.core.settings import UNIX_MPMS
from mpmlab.httpd.configuration import (
    MODULES,
    Place,
    Wishes,
    configuration,
    mpm_lines,
)
from mpmlab.httpd.program import Program
from tests.httpd.httpd_lab import needs_httpd, program

#: A value of each kind that no default is, and that httpd would clamp where it can.
ODD = {"int": "3", "factor": "1.5", "flag": "Off", "timeout": "500ms", "buffer": "4096"}


@pytest.fixture
def modular(tmp_path: Path) -> Program:
    """An httpd with every module as a file."""
    for name in (*MODULES, *(f"mpm_{mpm}" for mpm in UNIX_MPMS)):
        (tmp_path / f"mod_{name}.so").touch()
    return Program(Path("/usr/sbin/httpd"), tmp_path, "Apache/2.4.99", frozenset({"core"}))


def place(folder: Path, user: str | None = None) -> Place:
    """Somewhere."""
    return Place(folder, "127.0.0.1", 8099, "mpmlab-test.invalid", user, user)


def text(program: Program, mpm: str, wishes: Wishes | None = None, **directives: str) -> list[str]:
    """The lines of httpd.conf."""
    settings = effective(mpm, directives)
    where = place(Path("/run/here"))
    return configuration(program, settings, where, wishes or Wishes()).splitlines()


@pytest.mark.parametrize("mpm", UNIX_MPMS)
def test_exactly_one_mpm_is_loaded(modular: Program, mpm: str) -> None:
    """And each other module once."""
    loaded = [line.split()[1] for line in text(modular, mpm) if line.startswith("LoadModule")]
    assert loaded == [f"mpm_{mpm}_module", *(f"{name}_module" for name in MODULES)]


def test_what_is_compiled_in_is_not_loaded(modular: Program) -> None:
    """Whether listed as mod_name or, as MPMs are, by its bare name; a file of the same name does
    not matter."""
    static = frozenset({"core", "mod_unixd", "mod_log_config", "event"})
    loaded = [
        line.split()[1]
        for line in text(replace(modular, static=static), "event")
        if line.startswith("LoadModule")
    ]
    assert loaded == [f"{name}_module" for name in MODULES if name not in ("unixd", "log_config")]


@pytest.mark.parametrize("mpm", UNIX_MPMS)
def test_every_directive_is_written_as_given(mpm: str) -> None:
    """Each that `effective` accepts, whatever clamping makes of it; one line each, and the others
    with their defaults."""
    for directive in accepted_by(mpm):
        given = ODD[directive.kind]
        lines = mpm_lines(effective(mpm, {directive.name: given}), sampled=False)
        assert f"{directive.name} {given}" in lines
        names = [line.split()[0] for line in lines]
        assert len(set(names)) == len(names)
        unset = {"ThreadStackSize", "SendBufferSize"} - {directive.name}
        assert set(names) == {known.name for known in accepted_by(mpm)} - unset


def test_numbers_are_not_clamped_here() -> None:
    """httpd clamps by itself and says so: MaxRequestWorkers above the limits stays."""
    settings = effective("worker", {"MaxRequestWorkers": "5000", "StartServers": "-3"})
    assert settings.start_servers != -3
    lines = mpm_lines(settings, sampled=False)
    assert {"MaxRequestWorkers 5000", "StartServers -3"} <= set(lines)


def test_a_repeated_directive_and_an_old_name_are_kept_in_order() -> None:
    """httpd lets the later one win; neither has its default written beside it."""
    pairs = [("maxclients", "7"), ("MaxRequestWorkers", "9"), ("MaxRequestsPerChild", "4")]
    lines = mpm_lines(effective("prefork", pairs), sampled=False)
    of_these = [line for line in lines if line.startswith(("MaxC", "MaxR"))]
    assert of_these == ["MaxClients 7", "MaxRequestWorkers 9", "MaxRequestsPerChild 4"]


def test_zero_that_stands_for_the_systems_value_is_left_out() -> None:
    """httpd reads 0 of these two as a size."""
    lines = mpm_lines(effective("event", {"ThreadStackSize": "0", "SendBufferSize": "0"}), False)
    assert not [line for line in lines if line.startswith(("ThreadStackSize", "SendBufferSize"))]


def changes(mpm: str, **directives: str) -> dict[str, tuple[str, str]]:
    """name -> (as asked, with the status connection's place), of those that differ."""
    settings = effective(mpm, directives)
    plain, sampled = (
        dict(line.split(maxsplit=1) for line in mpm_lines(settings, sampled))
        for sampled in (False, True)
    )
    assert plain.keys() == sampled.keys()
    return {n: (plain[n], sampled[n]) for n in plain if plain[n] != sampled[n]}


def test_prefork_gets_a_process_more_for_the_status_connection() -> None:
    """Started, limited and allowed; its spare servers are the load's."""
    assert changes("prefork", StartServers="4", ServerLimit="20", MaxRequestWorkers="10") == {
        "StartServers": ("4", "5"),
        "ServerLimit": ("20", "21"),
        "MaxRequestWorkers": ("10", "11"),
    }
    assert changes("prefork", MaxClients="10")["MaxClients"] == ("10", "11")


@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_threaded_ones_want_a_thread_less_idle_for_the_status_connection(mpm: str) -> None:
    """Which is what is idle of the pool that was asked for; what is at its least stays, and so do
    processes, which come with all their threads."""
    pool = {"StartServers": "2", "MaxRequestWorkers": "100"}
    assert changes(mpm, **pool, MinSpareThreads="10", MaxSpareThreads="40") == {
        "MinSpareThreads": ("10", "9"),
        "MaxSpareThreads": ("40", "39"),
    }
    assert "MinSpareThreads" not in changes(mpm, MinSpareThreads="1")


@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_a_single_process_gets_a_thread_more_for_the_status_connection(mpm: str) -> None:
    """So that the load finds all that were asked for, and no second process; what is to be idle is
    the load's alone."""
    pool = {"ThreadsPerChild": "10", "MinSpareThreads": "5", "MaxSpareThreads": "40"}
    for name in ("MaxRequestWorkers", "MaxClients"):
        for asked in ("10", "15", "19"):  # the last two are lowered to 10
            settings = effective(mpm, {**pool, name: asked})
            assert settings.daemons_limit == 1
            changed = changes(mpm, **pool, **{name: asked})
            assert changed.pop(name) == (asked, str(int(asked) + 1))
            assert changed.pop("ThreadsPerChild") == ("10", "11")
            assert changed == {"ThreadLimit": ("64", "65")}
            more = {"ThreadsPerChild": "11", name: str(int(asked) + 1)}
            assert effective(mpm, {**pool, **more}).daemons_limit == 1


def test_a_timeout_of_milliseconds_is_written_with_its_unit() -> None:
    """As given, and the default in whole seconds."""
    assert "KeepAliveTimeout 500ms" in mpm_lines(
        effective("event", {"KeepAliveTimeout": "500ms"}), False
    )
    assert "KeepAliveTimeout 5" in mpm_lines(effective("event"), False)


def test_everything_is_inside_the_run_folder(modular: Program, tmp_path: Path) -> None:
    """Every path but those of modules; the access log only if wished for; users only as root."""
    lines = text(modular, "event")
    paths = [part.strip('"') for line in lines for part in line.split() if "/run/" in part]
    assert paths
    assert all(path.removeprefix("default:").startswith("/run/here") for path in paths)
    assert not [line for line in lines if line.startswith(("User ", "CustomLog", "LogFormat"))]
    logged = text(modular, "event", Wishes(access_log=True))
    assert 'CustomLog "/run/here/access.log" mpmlab' in logged
    rooted = configuration(modular, effective("event"), place(tmp_path, "www"), Wishes())
    assert "\nUser www\nGroup www\n" in rooted


def test_wishes_are_followed(modular: Program) -> None:
    """LogLevel of the MPM, and lines as they are, at the end where they override."""
    lines = text(modular, "worker", Wishes(log_level="trace1", lines=("Timeout 3", "# last")))
    assert "LogLevel notice mpm_worker:trace1" in lines
    assert lines[-2:] == ["Timeout 3", "# last"]


@needs_httpd
@pytest.mark.real
@pytest.mark.parametrize("mpm", UNIX_MPMS)
def test_httpd_accepts_every_directive(mpm: str, tmp_path: Path) -> None:
    """`httpd -t`: the syntax is right with every directive given and all that can be wished."""
    pairs = {directive.name: ODD[directive.kind] for directive in accepted_by(mpm)}
    pairs["SendBufferSize"] = "4096"  # httpd takes none below 512
    (tmp_path / "htdocs").mkdir()
    here = place(tmp_path)
    wishes = Wishes(access_log=True, log_level="trace4")
    conf = tmp_path / "httpd.conf"
    conf.write_text(configuration(program(), effective(mpm, pairs), here, wishes))
    done = subprocess.run(
        [program().path, "-t", "-f", conf], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    assert "Syntax OK" in done.stderr
