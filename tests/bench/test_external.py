"""`mpmlab bench --url`: a server that is not ours, under our plans, clients and gates.

The server is this test's: it writes down each request as it comes.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mpmlab import cli
from mpmlab.bench.gates import Verdict
from mpmlab.bench.results import Results, load_results
from mpmlab.core.demand import Demand, demand_of, target_of
from mpmlab.load.recorder import Outcome

SCENARIO = """\
name = "tiny"
duration_s = 1.5
warmup_s = 0.2

[arrivals]
kind = "poisson"
rate_per_s = 100

[[class]]
name = "page"
weight = 3
cpu_us = { dist = "uniform", low = 0, high = 9 }
response_bytes = { dist = "uniform", low = 0, high = 5000 }

[[class]]
name = "upload"
request_bytes = 2000
response_bytes = 100

[[class]]
name = "file"
static = true
response_bytes = 1024
"""
#: What all get that is asked for by a target of the URL.
FIXED = b"as it is\n"
#: How much later than the others one request may come, half of the time, on a busy machine.
SLACK_S = 0.05


@dataclass(frozen=True)
class Heard:
    """One request as it came, and when on time.monotonic()."""

    at_s: float
    method: str
    target: str
    host: str
    ident: str | None
    body_bytes: int


@dataclass
class Somebody:
    """A server that is not mpmlab's."""

    port: int
    heard: list[Heard] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving() -> Iterator[Somebody]:
    """It answers /work and /static as asked, and everything else with FIXED."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one segment

        def do_GET(self) -> None:
            at_s = time.monotonic()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            somebody.heard.append(
                Heard(at_s, self.command, self.path, self.headers["Host"],
                      self.headers["X-Request-Id"], len(body))
            )  # fmt: skip
            demand = demand_of(self.path)[1]
            answer = bytes(demand.response_bytes) if isinstance(demand, Demand) else FIXED
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # server_close() waits for them
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        somebody = Somebody(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield somebody
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A second and a half of 100 requests/s."""
    path = tmp_path / "tiny.toml"
    path.write_text(SCENARIO)
    return path


def bench(scenario: Path, out: Path, url: str, *more: str) -> int:
    """The exit code of a quiet run against the URL."""
    return cli.run(["bench", "--url", url, "--scenario", str(scenario), "--out", str(out),
                    "--quiet", *more])  # fmt: skip


def the_only(out: Path) -> tuple[Path, Results]:
    """The folder there is, read back."""
    (folder,) = out.iterdir()
    return folder, load_results(folder)


def verdicts(results: Results) -> dict[str, Verdict]:
    """The gates' by their names."""
    return {gate.name: gate.verdict for gate in results.runs["external"].gates}


# ---- runs ----------------------------------------------------------------------------------------


@pytest.mark.real
def test_every_request_asks_for_the_urls_target(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The URL's path and query, its words in the Host header, the plan's methods, bodies, count and
    times; results that know the answers and nothing of the server, and that say so."""
    out = tmp_path / "out"
    with serving() as somebody:
        url = f"{somebody.url}/x?y=1"
        code = bench(scenario, out, url)
        said = capsys.readouterr()
        assert code in (0, 3), said.err  # 3: on a busy machine the clients may be late
    folder, results = the_only(out)
    plan, run = results.plan, results.runs["external"]
    assert len(somebody.heard) == plan.requests > 100
    assert {one.target for one in somebody.heard} == {"/x?y=1"}
    assert {one.host for one in somebody.heard} == {f"127.0.0.1:{somebody.port}"}
    assert {one.ident for one in somebody.heard} == {None}
    sent = sorted((one.method, one.body_bytes) for one in somebody.heard)
    assert sent == sorted(("POST" if n else "GET", n) for n in plan.request_bytes.tolist())

    planned_s = np.sort(plan.planned_us) / 1e6
    late_s = np.sort([one.at_s for one in somebody.heard]) - planned_s
    assert np.median(np.abs(late_s - np.median(late_s))) < SLACK_S

    assert list(results.runs) == ["external"]
    assert results.experiment.url == url
    assert results.experiment.mpm == f"127.0.0.1-{somebody.port}"
    assert results.experiment.directives_effective == ()
    assert run.complete
    assert run.breaches == ()
    assert np.all(run.records.error == Outcome.OK)
    assert np.all(run.records.body_bytes == len(FIXED))
    assert (len(run.samples), run.cpu_s, run.memory_kib) == (0, None, None)
    assert f"the server at {url} is not ours" in said.out
    assert str(folder) in said.out


@pytest.mark.real
def test_the_gates_judge_what_is_known(scenario: Path, tmp_path: Path) -> None:
    """Everything about answers and clients is judged; the server's cores are not."""
    with serving() as somebody:
        bench(scenario, tmp_path / "out", somebody.url)
    found = verdicts(the_only(tmp_path / "out")[1])
    assert found["server-core"] is Verdict.SKIP
    for name in ("completed", "account", "answers"):
        assert found[name] is Verdict.PASS
    judged = {"lateness", "rate", "client", "client-core", "speed", "descriptors", "connect-queue"}
    assert all(found[name] is not Verdict.SKIP for name in judged)


@pytest.mark.real
@pytest.mark.parametrize("slash", ["", "/"])
def test_without_a_path_each_asks_for_its_own(scenario: Path, tmp_path: Path, slash: str) -> None:
    """/work?... and /static/... as the plan demands, by number with --access-log, whichever load
    process sends it, and answered with as many bytes."""
    with serving() as somebody:
        code = bench(scenario, tmp_path / "out", somebody.url + slash, "--access-log",
                     "--clients", "2")  # fmt: skip
        assert code in (0, 3)
    _, results = the_only(tmp_path / "out")
    plan, run = results.plan, results.runs["external"]
    assert sorted(int(one.ident or -1) for one in somebody.heard) == list(range(plan.requests))
    static = plan.request_static()
    assert 0 < np.count_nonzero(static) < plan.requests
    for one in somebody.heard:
        i = int(one.ident or -1)
        demand = Demand(
            int(plan.cpu_us[i]), int(plan.wait_us[i]), int(plan.response_bytes[i]),
            static=bool(static[i]),
        )  # fmt: skip
        assert one.target == target_of(demand)
        assert one.body_bytes == plan.request_bytes[i]
    order = np.argsort(run.records.index)
    assert np.array_equal(run.records.body_bytes[order], plan.response_bytes)


@pytest.mark.real
def test_a_server_that_is_not_there(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every request is refused: an invalid run, exit code 3, which says why; and no process of ours
    and no scratch file is left."""
    with socket.socket() as placeholder:  # bound, so nobody else gets it, but not listening
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
        assert bench(scenario, tmp_path / "out", f"http://127.0.0.1:{port}/") == 3
    said = capsys.readouterr()
    folder, results = the_only(tmp_path / "out")
    run = results.runs["external"]
    assert run.faults == ()
    assert not run.valid
    assert np.all(run.records.error == Outcome.CONNECT_REFUSED)
    assert len(run.records) == results.plan.requests
    assert verdicts(results)["answers"] is Verdict.FAIL
    assert "requests ended as connect_refused" in said.out
    assert "INVALID" in said.out
    assert said.err == ""
    assert psutil.Process().children(recursive=True) == []
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.real
def test_repetitions_are_compared_and_exported(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--repeat 2 makes a series of one variant; compare reads it, and holds it against another
    server; export writes a row for each request."""
    with serving() as somebody, serving() as other:
        for one, out in ((somebody, "a"), (other, "b")):
            code = bench(scenario, tmp_path / out, f"{one.url}/{out}", "--repeat", "2")
            assert code in (0, 3), capsys.readouterr().err
    (first,) = (tmp_path / "a").iterdir()
    (second,) = (tmp_path / "b").iterdir()
    names = [f"rep0{n}-127.0.0.1-{somebody.port}" for n in (1, 2)]
    assert sorted(folder.name for folder in first.iterdir()) == names
    capsys.readouterr()
    assert cli.run(["compare", "--allow-invalid", "--json", str(first), str(second)]) == 0
    variants = json.loads(capsys.readouterr().out)["variants"]
    assert [len(variant["runs"]) for variant in variants] == [2, 2]
    assert cli.run(["compare", "--allow-invalid", str(first), str(second)]) == 0
    said = capsys.readouterr().out
    assert str(somebody.port) in said
    assert str(other.port) in said
    folder = first / names[0]
    for form in ("hgrm", "csv"):
        assert cli.run(["export", "--format", form, str(folder)]) == 0
    rows = (folder / "external-requests.csv").read_text().splitlines()
    assert len(rows) == 1 + load_results(folder).plan.requests


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mpm", "event"], ["--mpm with --url", "configured by whoever runs it"]),
        (["--engine", "httpd"], ["--engine with --url"]),
        (["--set", "ThreadsPerChild=4"], ["--set with --url"]),
        (["--httpd", "/usr/sbin/apache2"], ["--httpd with --url"]),
        (["--httpd-conf", "/etc/apache2"], ["--httpd-conf with --url"]),
        (["--network", "namespace"], ["--network namespace with --url", "another namespace"]),
    ],
)
def test_what_configures_a_server_is_refused(
    scenario: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: list[str],
) -> None:
    """Exit code 2, one line that names the option, and nothing is run or written."""
    assert bench(scenario, tmp_path / "out", "http://127.0.0.1:9/", *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("mpmlab: error: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_wrong_url_is_one_line(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, what was typed and what is accepted (test_url.py has them all)."""
    for url in ("", "https://127.0.0.1/"):
        assert bench(scenario, tmp_path / "out", url) == 2
        said = capsys.readouterr()
        assert said.err.startswith(f"mpmlab: error: --url {url!r}: accepted: http://HOST")
        assert not (tmp_path / "out").exists()


def test_only_measured_load_has_a_knee(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--find-knee asks for its objective with --url as without."""
    assert bench(scenario, tmp_path / "out", "http://127.0.0.1:9/", "--find-knee") == 2
    assert "--slo" in capsys.readouterr().err
