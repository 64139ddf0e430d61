"""`mpmlab bench` with --engine httpd, --httpd and --httpd-conf: where httpd is absent, and what a
user's own configuration does to the engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpmlab import cli
from mpmlab.bench.results import load_results
from mpmlab.httpd import configuration, program
from tests.bench.made_up_profile import use_made_up_profile
from tests.httpd.httpd_lab import needs_httpd

SCENARIO = """\
name = "tiny"
duration_s = 1
warmup_s = 0.2

[arrivals]
kind = "poisson"
rate_per_s = 60

[[class]]
name = "page"
wait_us = 2000
response_bytes = 100

[directives]
StartServers = 1
MaxRequestWorkers = 18
"""
#: A user's, for several MPMs, with lines that are none of ours.
CONF = """\
# ours
ServerName www.example.org
<IfModule mpm_event_module>
    StartServers         2
    ServerLimit          3
    ThreadsPerChild      6
    MinSpareThreads      6
    MaxSpareThreads \\
                        18
</IfModule>
<IfModule mpm_prefork_module>
    StartServers         4
</IfModule>
KeepAliveTimeout 3
LogLevel warn
"""


@pytest.fixture(autouse=True)
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cost profile in a cache of our own, so that nothing is probed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()


@pytest.fixture
def absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without httpd: neither PATH nor the system's folders have one."""
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(program, "_SYSTEM_FOLDERS", ())


def bench(folder: Path, *more: str, mpm: str = "event", engine: str = "sim") -> int:
    """The exit code."""
    path = folder / "tiny.toml"
    path.write_text(SCENARIO)
    return cli.run(["bench", "--mpm", mpm, "--engine", engine, "--scenario", str(path),
                    "--out", str(folder / "out"), *more])  # fmt: skip


def conf(folder: Path, text: str = CONF) -> Path:
    """A configuration's path."""
    path = folder / "x.conf"
    path.write_text(text)
    return path


def runs(folder: Path) -> dict[str, dict[str, Any]]:
    """run.json of each folder of results, by MPM."""
    found = [json.loads(path.read_text()) for path in (folder / "out").glob("*/run.json")]
    return {document["experiment"]["mpm"]: document for document in found}


def effective(document: dict[str, Any]) -> dict[str, str]:
    """The directives that a run had."""
    return dict(document["experiment"]["directives_effective"])


def assert_one_sentence(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> None:
    """One line on stderr that says so, nothing on stdout, and nothing was run."""
    said = capsys.readouterr()
    assert said.err.startswith("mpmlab: error: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err
    assert said.out == ""
    assert not (folder / "out").exists()


# ---- where httpd is absent -----------------------------------------------------------------------


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("engine", ["httpd", "httpd,real,sim", "sim,httpd"])
def test_without_httpd_its_engine_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    """Exit code 4 and one sentence, before anything else is run."""
    assert bench(tmp_path, engine=engine) == 4
    assert_one_sentence(capsys, tmp_path, "Apache httpd is not installed", program.INSTALL,
                        "--httpd")  # fmt: skip


def test_a_program_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--httpd with a path of nothing, and of what cannot be run."""
    for path in ("/nonexistent/httpd", str(conf(tmp_path))):
        assert bench(tmp_path, "--httpd", path, engine="httpd") == 4
        assert_one_sentence(capsys, tmp_path, f"--httpd {path}: no such program")


def test_a_program_that_is_not_httpd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is asked for its version, and answers something else."""
    other = tmp_path / "httpd"
    other.write_text("#!/bin/sh\necho hello\n")
    other.chmod(0o755)
    assert bench(tmp_path, "--httpd", str(other), engine="httpd") == 4
    assert_one_sentence(capsys, tmp_path, f"{other} is not Apache httpd")


@needs_httpd
def test_an_httpd_without_a_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the handler needs is looked for before anything is run, for each MPM."""
    monkeypatch.setattr(configuration, "MODULES", (*configuration.MODULES, "handcraft"))
    assert bench(tmp_path, engine="httpd,sim") == 4
    assert_one_sentence(capsys, tmp_path, "has no mod_handcraft", program.INSTALL)


def test_a_program_for_an_engine_that_is_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--httpd alone would do nothing: exit code 2."""
    assert bench(tmp_path, "--httpd", "/usr/sbin/apache2", engine="real,sim") == 2
    assert_one_sentence(capsys, tmp_path, "--httpd: the httpd engine is not asked for")


@pytest.mark.real
@pytest.mark.usefixtures("absent")
def test_the_other_engines_do_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real and simulated runs are as ever, with a user's httpd.conf, too."""
    code = bench(tmp_path, "--quiet", "--httpd-conf", str(conf(tmp_path)), engine="real,sim")
    assert code in (0, 3), capsys.readouterr().err  # 3: on a busy machine clients may be late
    (document,) = runs(tmp_path).values()
    assert list(document["engines"]) == ["real", "sim"]
    assert all(run["complete"] for run in document["engines"].values())


# ---- a user's own configuration ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (CONF.replace("ThreadsPerChild      6", "ThreadsPerChild many"), 6, "ThreadsPerChild"),
        (CONF.replace("KeepAliveTimeout 3", "KeepAliveTimeuot 3"), 14, "KeepAliveTimeout"),
        (CONF.replace("18\n</IfModule>", "18\n"), 3, "<IfModule"),
        (CONF + "ThreadsPerChild 3\n", 0, ""),
        (CONF + "AcceptMutex flock\nMaxSpareServers 3\n", 17, "MaxSpareServers"),
    ],
)
def test_a_wrong_line_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, line: int, words: str
) -> None:
    """Exit code 2, with file and line; a right one (line 0) is none."""
    path = conf(tmp_path, text)
    code = bench(tmp_path, "--quiet", "--httpd-conf", str(path))
    if line:
        assert code == 2
        assert_one_sentence(capsys, tmp_path, f"{path}:{line}: ", words)
    else:
        assert code == 0
        assert effective(runs(tmp_path)["event"])["ThreadsPerChild"] == "3"


def test_a_configuration_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, with its path."""
    assert bench(tmp_path, "--httpd-conf", str(tmp_path / "none.conf")) == 2
    assert_one_sentence(capsys, tmp_path, f"{tmp_path}/none.conf: there is no such file")


def test_what_overrides_what(tmp_path: Path) -> None:
    """The scenario's directives, over them the user's configuration, over that --set; each MPM
    reads its own part."""
    code = bench(tmp_path, "--quiet", "--httpd-conf", str(conf(tmp_path)),
                 "--set", "KeepAliveTimeout=4", mpm="event,prefork")  # fmt: skip
    assert code == 0
    found = runs(tmp_path)
    event, prefork = effective(found["event"]), effective(found["prefork"])
    assert (event["StartServers"], prefork["StartServers"]) == ("2", "4")
    assert (event["ThreadsPerChild"], event["MaxRequestWorkers"]) == ("6", "18")
    assert event["MaxSpareThreads"] == "18"
    assert float(event["KeepAliveTimeout"]) == float(prefork["KeepAliveTimeout"]) == 4
    given = [tuple(pair) for pair in found["event"]["experiment"]["directives_given"]]
    starts = [value for name, value in given if name == "StartServers"]
    assert starts == ["1", "2"]


def test_ignored_lines_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once each, by file and line, however many MPMs read them; not with --quiet."""
    path = conf(tmp_path)
    assert bench(tmp_path, "--httpd-conf", str(path), mpm="event,worker") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ignored")]
    assert len([line for line in told if "ServerName (2)" in line]) == 1
    assert len([line for line in told if "LogLevel (15)" in line]) == 1
    assert not any("KeepAliveTimeout" in line for line in told)
    assert bench(tmp_path, "--quiet", "--httpd-conf", str(path)) == 0
    assert "\nignored" not in capsys.readouterr().out


@needs_httpd
@pytest.mark.real
def test_it_is_applied_to_all_engines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One set of directives for the three of them: in run.json, in httpd's own configuration, and
    in the workers that each engine's samples show."""
    code = bench(tmp_path, "--quiet", "--httpd-conf", str(conf(tmp_path)), engine="httpd,real,sim")
    assert code in (0, 3), capsys.readouterr().err
    (folder,) = (tmp_path / "out").iterdir()
    results = load_results(folder)
    assert list(results.runs) == ["httpd", "real", "sim"]
    has = dict(results.experiment.directives_effective)
    assert (has["ThreadsPerChild"], has["ServerLimit"], has["StartServers"]) == ("6", "3", "2")
    text = (folder / "httpd.conf").read_text()
    lines = [line.split() for line in text.splitlines() if not line.startswith(" ")]
    last = {words[0]: words[1] for words in lines if len(words) == 2}
    for name in ("ThreadsPerChild", "ServerLimit", "StartServers", "MaxRequestWorkers",
                 "KeepAliveTimeout"):  # fmt: skip
        assert float(last[name]) == float(has[name]), name
    for engine, run in results.runs.items():
        assert run.complete, run.faults
        # Two processes of six threads; the status connection's answer leaves out its own thread.
        slots = run.samples.counts[0, 2:].sum()
        assert slots in ((11,) if engine == "httpd" else (12,)), engine
        assert run.samples.processes[0] == 2
