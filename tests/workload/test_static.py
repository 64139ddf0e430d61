"""Static classes: how a scenario says them, what they make of a plan, who answers them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from mpmlab import cli
from mpmlab.bench.results import load_results
from mpmlab.load.recorder import Outcome
from mpmlab.workload.errors import PlanError, ScenarioError
from mpmlab.workload.plan import Plan
from tests.bench.made_up_profile import use_made_up_profile
from tests.mpms.real_lab import read_response, running
from tests.workload.test_workload_har_replay import har_of
from tests.workload.workload_samples import ONE_CLASS, plan_with, scenario_with

POISSON = 'kind = "poisson"\nrate_per_s = 50\n'
FILES = """\
[[class]]
name = "file"
static = true
response_bytes = { dist = "empirical", values = [0, 1, 1024, 70000] }
"""
#: The first [[class]] of `scenario_with` stands in line 7.
FIRST = 7
LOG = '127.0.0.1 - - [01/Jul/2026:00:00:0{} +0000] "GET /{} HTTP/1.0" 200 {}\n'


def mixed(folder: Path, seed: int = 1) -> Plan:
    """Pages and files, half of each."""
    return plan_with(folder, POISSON, ONE_CLASS + FILES, seed=seed)


# ---- scenarios -----------------------------------------------------------------------------------


def test_a_class_is_static_if_it_says_so(tmp_path: Path) -> None:
    """And no other class is."""
    scenario = scenario_with(tmp_path, POISSON, ONE_CLASS + FILES)
    assert [one.static for one in scenario.classes] == [False, True]


@pytest.mark.parametrize("key", ["cpu_us", "wait_us", "request_bytes"])
@pytest.mark.parametrize("value", ["0", "5", '{ dist = "uniform", low = 1, high = 2 }'])
def test_a_file_asks_for_nothing_but_bytes(tmp_path: Path, key: str, value: str) -> None:
    """CPU, waits and bodies are refused, zero or not, at the line that says static."""
    with pytest.raises(ScenarioError) as caught:
        scenario_with(tmp_path, POISSON, f"{FILES}{key} = {value}\n")
    assert str(caught.value) == (
        f"{tmp_path / 'test.toml'}:{FIRST + 2}: class[1].static: a static file has no {key}; "
        "accepted: static without cpu_us, wait_us, request_bytes"
    )


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("static = true", "static = 1", f":{FIRST + 2}: class[1].static: is 1; accepted: true, fa"),
        ("static = true", "statik = true", f":{FIRST + 2}: class[1].statik: unknown key; did you"),
        ("static = true", 'static = "yes"', f":{FIRST + 2}: class[1].static: is 'yes'; accepted:"),
    ],
)
def test_errors(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    """One line with file, line and key."""
    with pytest.raises(ScenarioError, match=re.escape(f"{tmp_path / 'test.toml'}{complaint}")):
        scenario_with(tmp_path, POISSON, FILES.replace(old, new))


def test_not_static_may_ask_for_anything(tmp_path: Path) -> None:
    """static = false is as if it were not said, to the plan's hash."""
    said = plan_with(tmp_path, POISSON, f"{ONE_CLASS}wait_us = 5\nstatic = false\n")
    assert said.hash == plan_with(tmp_path, POISSON, f"{ONE_CLASS}wait_us = 5\n").hash
    assert said.static_classes == ()
    assert not said.request_static().any()


def test_files_of_a_recording(tmp_path: Path) -> None:
    """A replayed log may have static classes, sizes from the log; a HAR file, which says how long
    the server took, may not."""
    (tmp_path / "a.log").write_text(LOG.format(1, "a.png", 300) + LOG.format(2, "cgi", 40))
    classes = '[[class]]\nname = "image"\nmatch = "png$"\nstatic = true\n' + ONE_CLASS
    plan = plan_with(tmp_path, 'kind = "accesslog"\nfile = "a.log"\n', classes)
    assert plan.request_static().tolist() == [True, False]
    assert plan.response_bytes.tolist() == [300, 40]
    assert plan.cpu_us.tolist() == [0, 100]
    (tmp_path / "a.har").write_text(har_of())
    with pytest.raises(ScenarioError, match=r"class\[1\]\.static: a static file has no request_by"):
        plan_with(tmp_path, 'kind = "har"\nfile = "a.har"\n', classes)


# ---- plans ---------------------------------------------------------------------------------------


def test_requests_of_static_classes_are_static(tmp_path: Path) -> None:
    """All of them and no others, with sizes of the class and nothing else."""
    plan = mixed(tmp_path)
    static = plan.request_static()
    assert plan.static_classes == ("file",)
    assert np.array_equal(static, plan.klass == plan.classes.index("file"))
    assert 0 < np.count_nonzero(static) < plan.requests
    assert set(plan.response_bytes[static].tolist()) == {0, 1, 1024, 70000}
    assert not np.any((plan.cpu_us + plan.wait_us + plan.request_bytes)[static])
    assert np.all(plan.cpu_us[~static] == 100)


def test_static_is_part_of_the_hash(tmp_path: Path) -> None:
    """The same numbers, asked of the handler, are another plan."""
    plan = mixed(tmp_path)
    handled = dataclasses.replace(plan, static_classes=())
    assert handled.hash != plan.hash
    dynamic = plan_with(tmp_path, POISSON, (ONE_CLASS + FILES).replace("static = true\n", ""))
    assert handled.hash == dynamic.hash


def test_a_plan_with_files_is_saved_and_loaded(tmp_path: Path) -> None:
    """The round trip keeps the static classes and the hash."""
    plan, path = mixed(tmp_path), tmp_path / "plan.npz"
    plan.save(path)
    back = Plan.load(path)
    assert (back.hash, back.static_classes) == (plan.hash, ("file",))
    assert np.array_equal(back.request_static(), plan.request_static())


@pytest.mark.parametrize("column", ["cpu_us", "wait_us", "request_bytes"])
def test_contradictions_are_refused(tmp_path: Path, column: str) -> None:
    """A file with CPU, a wait or a body, and a static class that there is not."""
    plan = mixed(tmp_path)
    with pytest.raises(PlanError, match="static file has no CPU"):
        dataclasses.replace(plan, **{column: getattr(plan, column) + plan.request_static()})
    with pytest.raises(PlanError, match="static_classes names"):
        dataclasses.replace(plan, static_classes=("file", "flie"))


# ---- answers -------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_real_server_answers_files(tmp_path: Path) -> None:
    """As many zeros as the path says, with the answer's head of all others; and 404 for no file."""
    with running("worker", tmp_path, StartServers=1, ThreadsPerChild=2) as lab:
        sock = lab.connect()
        for size in (0, 1, 1024, 70_000):
            sock.sendall(f"GET /static/{size} HTTP/1.1\r\nHost: lab\r\n\r\n".encode())
            head, _, body = read_response(sock).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert f"Content-Length: {size}".encode() in head
            assert len(body) == size
        sock.sendall(b"GET /static/01 HTTP/1.1\r\nHost: lab\r\n\r\n")
        assert read_response(sock).startswith(b"HTTP/1.1 404 ")


@pytest.mark.real
def test_both_worlds_answer_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each request of a plan with files the real server's answer is as long as the simulated
    one's: as long as the plan says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()
    scenario_with(tmp_path, POISSON, ONE_CLASS + FILES, duration_s=2)
    command = ["bench", "--mpm", "worker", "--scenario", str(tmp_path / "test.toml"),
               "--out", str(tmp_path / "out"), "--quiet",
               "--set", "StartServers=1", "--set", "ThreadsPerChild=8"]  # fmt: skip
    code = cli.run(command)
    assert code in (0, 3), capsys.readouterr()  # 3: on a busy machine the clients may be late
    (folder,) = (tmp_path / "out").iterdir()
    results = load_results(folder)
    assert list(results.runs) == ["real", "sim"]
    for run in results.runs.values():
        order = np.argsort(run.records.index)
        assert np.array_equal(run.records.index[order], np.arange(results.plan.requests))
        assert np.all(run.records.error == Outcome.OK)
        assert np.array_equal(run.records.body_bytes[order], results.plan.response_bytes)
