"""The same plan through httpd, real and sim is the same, request by request.

What was asked: httpd's access log and a recording relay in front of both real servers, by the
number that each request says (X-Request-Id); in simulation the messages that the server reads. What
was answered: the records of all three, by the request's place in the plan.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from mpmlab import cli
from mpmlab.bench import sim
from mpmlab.bench.httpd import ACCESS_LOG, static_sizes
from mpmlab.bench.load_process import Asking, LoadProcess
from mpmlab.bench.results import Results, load_results
from mpmlab.core.count_wire import CountWire
from mpmlab.core.demand import Demand, target_of
from mpmlab.core.http_text import request_head
from mpmlab.core.wire import ClosedType, NeedType, Reply, Request
from mpmlab.load.recorder import Outcome, Records
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import load_scenario
from tests.bench.made_up_profile import use_made_up_profile
from tests.httpd import httpd_lab
from tests.httpd.httpd_lab import DEADLINE_S, SMALL, needs_httpd
from tests.mpms.real_lab import running

pytestmark = [pytest.mark.real, needs_httpd]

#: Visitors whose connections stay open, and requests on connections of their own; pages, uploads
#: and files. The last visitor comes a second before the end, so that none is cut short.
SCENARIO: Final = """\
name = "identity"
duration_s = 2.5
warmup_s = 0.5

[[group]]
name = "visitors"
classes = ["page", "upload", "file"]
[group.arrivals]
kind = "sessions"
requests_per_session = { dist = "uniform", low = 1, high = 6 }
think_s = { dist = "uniform", low = 0, high = 0.1 }
keep_alive = true
[group.arrivals.starts]
kind = "piecewise"
stages = [{ duration_s = 1.5, rate_per_s = 20 }, { duration_s = 1, rate_per_s = 0 }]

[[group]]
name = "robots"
classes = ["page", "file"]
[group.arrivals]
kind = "poisson"
rate_per_s = 25

[[class]]
name = "page"
weight = 3
cpu_us = { dist = "uniform", low = 0, high = 900 }
wait_us = { dist = "exponential", mean = 1000 }
response_bytes = { dist = "uniform", low = 0, high = 9000 }

[[class]]
name = "upload"
weight = 2
cpu_us = 300
request_bytes = { dist = "uniform", low = 1, high = 20000 }
response_bytes = 100

[[class]]
name = "file"
weight = 3
static = true
response_bytes = { dist = "empirical", values = [0, 1, 1024, 70000] }
"""
HOST: Final = "the.same.for.both:80"
_LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)")
_IDENT: Final = re.compile(rb"\r\nX-Request-Id: (\d+)\r\n")
#: As mpmlab.httpd.configuration.LOG_FORMAT has them; a target without a query leaves an empty word.
_LOGGED: Final = re.compile(
    r"(?P<ident>\S+) (?P<method>\S+) (?P<path>\S+) (?P<query>\S*) (?P<status>\d+) (?P<bytes>\S+) .*"
)


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its path; and a cost profile, so that nothing is probed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_made_up_profile()
    path = tmp_path / "identity.toml"
    path.write_text(SCENARIO)
    return path


def demand(plan: Plan, index: int) -> Demand:
    """Of a request of the plan."""
    return Demand(
        int(plan.cpu_us[index]), int(plan.wait_us[index]), int(plan.response_bytes[index]),
        static=bool(plan.request_static()[index]),
    )  # fmt: skip


def method(plan: Plan, index: int) -> str:
    """POST if it has a body."""
    return "POST" if plan.request_bytes[index] else "GET"


def assert_answered(plan: Plan, records: Records) -> None:
    """Every request once, with status 200 and as many bytes as the plan says."""
    order = np.argsort(records.index)
    assert np.array_equal(records.index[order], np.arange(plan.requests))
    assert np.all(records.error == Outcome.OK), Counter(records.error.tolist())
    assert np.all(records.status == 200)
    assert np.all(records.retried == 0)
    assert np.array_equal(records.body_bytes[order], plan.response_bytes)


# ---- the whole bench -----------------------------------------------------------------------------


class Listening(CountWire):
    """The simulated server's wire, which writes down what it reads."""

    heard: list[Request] = []  # noqa: RUF012 (of all of them, emptied by the test)

    __slots__ = ()

    def next(self) -> Request | Reply | NeedType | ClosedType:
        """See CountWire.next."""
        found = super().next()
        if isinstance(found, Request):
            self.heard.append(found)
        return found


def run_all(scenario: Path, mpm: str, *more: str) -> tuple[Path, Results]:
    """The plan through the three engines; the results and their folder."""
    pool = [word for name, value in SMALL[mpm].items() for word in ("--set", f"{name}={value}")]
    code = cli.run(["bench", "--mpm", mpm, "--engine", "httpd,real,sim", "--access-log", "--quiet",
                    "--scenario", str(scenario), "--out", str(scenario.parent / "out"), *pool,
                    *more])  # fmt: skip
    assert code in (0, 3)  # 3: on a busy machine the clients may be late
    (folder,) = (scenario.parent / "out").iterdir()
    return folder, load_results(folder)


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_the_same_requests_and_answers(
    scenario: Path, mpm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpd's access log has every request of the plan exactly once, with its method, target and
    bytes; the simulated server read the same methods, demands and bodies; and by their place in the
    plan the answers of all three engines are the same: status, outcome and bytes."""
    monkeypatch.setattr(Listening, "heard", [])
    monkeypatch.setattr(sim, "CountWire", Listening)
    folder, results = run_all(scenario, mpm)
    plan = results.plan
    assert_worth_comparing(plan)

    logged = access_log(folder / ACCESS_LOG)
    assert [one["ident"] for one in logged] == [str(i) for i in range(plan.requests)]
    for i, one in enumerate(logged):
        assert one["method"] == method(plan, i)
        assert one["path"] + one["query"] == target_of(demand(plan, i))
        assert one["status"] == "200"
        assert int(one["bytes"]) == plan.response_bytes[i]

    asked = Counter(
        (one.method, one.demand, one.body_bytes)
        for one in Listening.heard
        if one.method != "OPTIONS"  # as in httpd, they wake its own children
    )
    listed = range(plan.requests)
    assert asked == Counter(
        (method(plan, i), demand(plan, i), int(plan.request_bytes[i])) for i in listed
    )

    assert list(results.runs) == ["httpd", "real", "sim"]
    for run in results.runs.values():
        assert run.faults == ()
        assert_answered(plan, run.records)


def assert_worth_comparing(plan: Plan) -> None:
    """GET and POST, every class and group, files of every size, connections used again."""
    assert plan.requests > 100
    assert set(plan.klass.tolist()) == set(range(3))
    assert set(plan.session_group.tolist()) == {0, 1}
    assert len(static_sizes(plan)) == 4
    assert 0 < np.count_nonzero(plan.request_bytes) < plan.requests
    assert plan.session_requests.max() > 2


def access_log(path: Path) -> list[dict[str, str]]:
    """Its lines about requests of the plan, by their numbers. The others are mpmlab's questions,
    and those (OPTIONS *) with which httpd wakes its own children."""
    found = []
    for line in path.read_text().splitlines():
        match = _LOGGED.fullmatch(line)
        assert match is not None, line
        if match["ident"] != "-":
            found.append(match.groupdict())
        else:
            assert match["path"] in ("/server-status", "/work", "*"), line
    return sorted(found, key=lambda one: int(one["ident"]))


def test_several_load_processes_say_each_number_once(scenario: Path) -> None:
    """--clients 2: the numbers are those of the plan, not of a process's share of it."""
    folder, results = run_all(scenario, "event", "--clients", "2")
    idents = [int(one["ident"]) for one in access_log(folder / ACCESS_LOG)]
    assert idents == list(range(results.plan.requests))
    assert_answered(results.plan, results.runs["httpd"].records)


# ---- byte by byte --------------------------------------------------------------------------------


class Relay:
    """Stands between clients and a server, and keeps what each client connection sent."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.sent: list[bytearray] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def end(self) -> None:
        """After the clients are gone."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.sent.append(bytearray())
            server = socket.create_connection(self._server)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(server, client, None))
            there = threading.Thread(
                target=self._forward, args=(client, server, self.sent[-1], back)
            )
            back.start()
            there.start()
            self._threads.append(there)

    @staticmethod
    def _forward(
        client: socket.socket, server: socket.socket, kept: bytearray, back: threading.Thread
    ) -> None:
        _pump(client, server, kept)
        back.join()
        client.close()
        server.close()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray | None) -> None:
    """Until the source has said its last, which the sink is told."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            if kept is not None:
                kept += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def relayed(port: int) -> Iterator[Relay]:
    """A relay to that port."""
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.end()


def requests_of(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """The requests on a connection, whole and byte for byte, with their numbers."""
    while stream:
        head, blank, rest = stream.partition(b"\r\n\r\n")
        assert blank, stream[:200]
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        ident = _IDENT.search(head + b"\r\n")
        assert ident is not None, head
        assert len(rest) >= size
        yield int(ident[1]), head + blank + rest[:size]
        stream = rest[size:]


@dataclass(frozen=True)
class Carried:
    """What went to a server: requests by number, and those of each connection in their order."""

    requests: dict[int, bytes]
    connections: list[list[int]]
    records: Records


def carry_out(plan: Plan, folder: Path, port: int, name: str) -> Carried:
    """The plan, by a load process, through a relay, to the server on that port."""
    plan.save(folder / "plan.npz")
    with relayed(port) as relay, LoadProcess(
        folder / "plan.npz", "127.0.0.1", relay.port, folder / f"{name}.npz", timeout_s=10,
        asking=Asking(tagged=True, host=HOST),
    ) as process:  # fmt: skip
        process.wait(DEADLINE_S)
    streams = [list(requests_of(bytes(stream))) for stream in relay.sent]
    pairs = [pair for stream in streams for pair in stream]
    assert len(pairs) == len(dict(pairs)), "a number was said twice"
    return Carried(
        dict(pairs), sorted([ident for ident, _ in stream] for stream in streams),
        Records.load(folder / f"{name}.npz"),
    )  # fmt: skip


def small(mpm: str) -> dict[str, Any]:
    """A small pool's directives."""
    return dict(SMALL[mpm])


def test_both_servers_are_sent_the_same_bytes(scenario: Path, tmp_path: Path) -> None:
    """Byte for byte the requests to httpd and to the real server are those that the plan means, on
    connections with the same requests in the same order; and so are the answers' sizes."""
    plan = compile_plan(load_scenario(str(scenario)), 3)
    assert_worth_comparing(plan)
    sizes: Sequence[int] = static_sizes(plan)
    with httpd_lab.start("event", *sizes) as httpd:
        to_httpd = carry_out(plan, tmp_path, httpd.port, "httpd")
    with running("event", tmp_path, **small("event")) as lab:
        to_real = carry_out(plan, tmp_path, lab.server.port, "real")
    assert to_httpd.requests == to_real.requests
    assert to_httpd.connections == to_real.connections
    group = np.repeat(plan.session_group, plan.session_requests)
    for i in range(plan.requests):
        keep_alive = plan.groups[group[i]].client.keep_alive
        body = int(plan.request_bytes[i])
        head = request_head(HOST, demand(plan, i), body, keep_alive, i)
        assert to_real.requests[i] == head + bytes(body)
    assert len(to_real.requests) == plan.requests
    for carried in (to_httpd, to_real):
        assert_answered(plan, carried.records)
