"""httpd's handler does what ours does: the same answers, the CPU that was asked for by each
request's own thread, waits that are long enough, and a crash that is one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import pytest

from benchmarks.common import cpu_us
from mpmlab.core.demand import Demand, demand_of, target_of
from mpmlab.httpd.server import HttpdServer
from mpmlab.real.application import response_body
from tests.httpd.httpd_lab import (
    DEADLINE_S,
    MPMS,
    SMALL,
    answer,
    ask,
    connect,
    get,
    needs_httpd,
    start,
    wait_for,
)
from tests.mpms.real_lab import running

pytestmark = [pytest.mark.real, needs_httpd]

TARGETS = (
    "/", "/work", "/work?", "/work?&&",
    *(f"/work?bytes={size}" for size in (0, 1, 1045, 1046, 1047, 1055, 1056, 100_000)),
    "/work?cpu_us=1&wait_us=1&bytes=2&crash=0", "/work?bytes=1&bytes=2", "/work?bytes=007",
    "/work?bytes=%31%32", "/?bytes=5",
)  # fmt: skip
WRONG = (
    "/work?byte=5", "/work?a%20b=1", "/work?a+b=1", "/work?=5", "/work?BYTES=5", "/work?bytes",
    "/work?bytes=", "/work?bytes=-1", "/work?bytes=%2B1", "/work?bytes=1.5", "/work?bytes=1e3",
    "/work?bytes=0x10", "/work?bytes=1=2", "/work?bytes=1073741825", "/work?cpu_us=3600000001",
    "/work?wait_us=3600000001", "/work?crash=2", "/work?bytes=0000000000001",
    "/work?bytes=99999999999999999999", "/work?bytes=%C2%B2",
)  # fmt: skip
ELSEWHERE = ("/wor", "/work/", "/works", "/static/none", "/index.html")
#: CPU per request is that much beside what was asked for, at most: of it, and for what the request
#: costs anyhow, which differs when caches are cold (20 to 60 us, seen on a virtual machine).
CPU_SHARE = 0.05
CPU_US = 120
#: Requests of a measurement.
REQUESTS = 20


@pytest.fixture(scope="module")
def httpd() -> Iterator[HttpdServer]:
    """One that only answers."""
    with start("prefork", MaxKeepAliveRequests=0) as server:
        yield server


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of our own prefork."""
    with running("prefork", tmp_path_factory.mktemp("ours"), **SMALL["prefork"]) as lab:
        yield lab.server.port


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_status_and_the_same_bytes(httpd: HttpdServer, ours: int, target: str) -> None:
    """As our own server, and as the demand says."""
    status, demand = demand_of(target)
    assert isinstance(demand, Demand)
    expected = (status, response_body(demand.response_bytes))
    assert get(httpd.port, target) == expected
    assert get(ours, target) == expected


@pytest.mark.parametrize("target", WRONG)
def test_the_same_refusals(httpd: HttpdServer, ours: int, target: str) -> None:
    """Status 400, and the reason in the words of our own code."""
    status, reason = demand_of(target)
    assert status == 400
    assert isinstance(reason, str)
    assert get(httpd.port, target) == (400, reason.encode())
    assert get(ours, target)[0] == 400


@pytest.mark.parametrize("target", ELSEWHERE)
def test_other_paths_are_not_found(httpd: HttpdServer, ours: int, target: str) -> None:
    """404 of both."""
    assert get(httpd.port, target)[0] == get(ours, target)[0] == 404


@pytest.mark.parametrize(
    ("method", "more", "status", "body"),
    [
        ("POST", "Content-Length: 5\r\n\r\nabcde", 200, b' !"#'),
        ("POST", f"Content-Length: 300000\r\n\r\n{'x' * 300_000}", 200, b' !"#'),
        ("POST", "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", 200, b' !"#'),
        ("POST", "Content-Length: 0\r\n", 200, b' !"#'),
        ("OPTIONS", "", 200, b""),
        ("PUT", "", 501, b""),
        ("DELETE", "", 501, b""),
    ],
)
def test_methods(
    httpd: HttpdServer, ours: int, method: str, more: str, status: int, body: bytes
) -> None:
    """A body is read, so that the connection stays usable; what else than work is asked for is
    answered as by ours."""
    for port in (httpd.port, ours):
        with connect(port) as sock:
            ask(sock, "/work?bytes=4", more, method)
            assert answer(sock) == (status, body)
            if status == 200:
                ask(sock, "/work?bytes=2")
                assert answer(sock) == (200, b" !")


def test_connections_are_kept_and_closed_as_asked(httpd: HttpdServer) -> None:
    """Many answers on one; after `Connection: close` it ends; so it does for HTTP/1.0."""
    with connect(httpd.port) as sock:
        for size in (0, 3, 5000, 3, 0):
            ask(sock, target_of(Demand(response_bytes=size)))
            assert answer(sock) == (200, response_body(size))
        ask(sock, "/work?bytes=1", "Connection: close\r\n")
        assert answer(sock) == (200, b" ")
        assert answer(sock) == (0, b"")
    with connect(httpd.port) as sock:
        sock.sendall(b"GET /work?bytes=1 HTTP/1.0\r\n\r\n")
        assert answer(sock) == (200, b" ")
        assert answer(sock) == (0, b"")


def test_static_files_have_their_size() -> None:
    """Those that were asked for, and no others."""
    with start("event", 0, 1, 20_000) as server:
        for size in (0, 1, 20_000):
            assert get(server.port, f"/static/{size}") == (200, bytes(size))
        assert get(server.port, "/static/2")[0] == 404


# ---- CPU and waits -------------------------------------------------------------------------------


@contextmanager
def served(kind: str, mpm: str, folder: Path) -> Iterator[tuple[int, list[int]]]:
    """Port and children of httpd or of our own server."""
    if kind == "httpd":
        with start(mpm, MaxKeepAliveRequests=0) as server:
            yield server.port, server.children()
    else:
        with running(mpm, folder, **SMALL[mpm], MaxKeepAliveRequests=0) as lab:
            yield lab.server.port, lab.server.children()


def used_us(port: int, pids: list[int], demand: Demand) -> float:
    """The servers' CPU for one such request, of many on one connection."""
    with connect(port) as sock:
        before_us = cpu_us(pids)
        for _ in range(REQUESTS):
            ask(sock, target_of(demand))
            assert answer(sock)[0] == 200
        return (cpu_us(pids) - before_us) / REQUESTS


@pytest.mark.parametrize("kind", ["httpd", "ours"])
@pytest.mark.parametrize("mpm", MPMS)
def test_a_request_burns_what_it_asks_for(kind: str, mpm: str, tmp_path: Path) -> None:
    """Seen from outside: CPU time of the processes, less that of requests without work. The same
    bounds for httpd and for ours."""
    with served(kind, mpm, tmp_path) as (port, pids):
        used_us(port, pids, Demand())
        for asked_us in (500, 10_000):
            burned_us = median(
                used_us(port, pids, Demand(cpu_us=asked_us)) - used_us(port, pids, Demand())
                for _ in range(3)
            )
            assert abs(burned_us - asked_us) <= CPU_SHARE * asked_us + CPU_US


@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_requests_of_one_process_burn_each_its_own(mpm: str) -> None:
    """Four at once in four threads: four times the CPU, as each thread has a clock of its own (by
    the process's clock it would be about once)."""
    asked_us = 100_000
    with start(mpm, MaxRequestWorkers=8) as server:
        (child,) = server.children()
        socks = [connect(server.port) for _ in range(4)]
        for target in ("/work", target_of(Demand(cpu_us=asked_us))):
            before_us = cpu_us([child])
            for sock in socks:
                ask(sock, target)
            assert [answer(sock)[0] for sock in socks] == [200] * 4
            burned_us = cpu_us([child]) - before_us
        for sock in socks:
            sock.close()
    assert abs(burned_us - 4 * asked_us) <= CPU_SHARE * 4 * asked_us


@pytest.mark.parametrize("mpm", MPMS)
def test_waits_are_at_least_what_was_asked(mpm: str) -> None:
    """Each of them, several at once too, and they use no CPU to speak of."""
    with start(mpm, StartServers=SMALL[mpm]["StartServers"]) as server:
        for wait_us in (300, 30_000):
            target = target_of(Demand(wait_us=wait_us, response_bytes=1))
            with connect(server.port) as one, connect(server.port) as other:
                ask(one, "/work")
                ask(other, "/work")
                assert answer(one)[0] == answer(other)[0] == 200
                began_s, before_us = time.monotonic(), cpu_us(server.children())
                ask(one, target)
                ask(other, target)
                assert answer(one) == (200, b" ")
                first_s = time.monotonic() - began_s
                assert answer(other) == (200, b" ")
                both_s = time.monotonic() - began_s
                assert first_s >= wait_us / 1e6
                assert both_s < DEADLINE_S
                assert cpu_us(server.children()) - before_us < 10_000


def test_cpu_comes_before_the_wait_and_both_are_done() -> None:
    """A request with both takes their sum at least, and burns the one."""
    demand = Demand(cpu_us=20_000, wait_us=20_000, response_bytes=3)
    with start("event") as server:
        began_s, before_us = time.monotonic(), cpu_us(server.children())
        assert get(server.port, target_of(demand)) == (200, b' !"')
        assert time.monotonic() - began_s >= 0.04
        assert cpu_us(server.children()) - before_us >= 20_000


@pytest.mark.parametrize("mpm", MPMS)
def test_a_crash_is_a_segmentation_fault_of_its_child(mpm: str) -> None:
    """The client's connection ends without an answer, the parent says so by its number, and httpd
    goes on with another child."""
    spare = {"MinSpareServers": 2} if mpm == "prefork" else {}  # so that it wants another
    with start(mpm, **spare) as server:
        before = server.children()
        with connect(server.port) as sock:
            ask(sock, "/work?crash=1&bytes=5")
            with suppress(ConnectionResetError):  # data of ours may not have been read
                assert answer(sock) == (0, b"")
        wait_for(lambda: {one.ident for one in server.messages()} & {"AH00051", "AH00052"}, "told")
        (told,) = [one for one in server.messages() if one.ident in ("AH00051", "AH00052")]
        assert "Segmentation fault" in told.text
        assert any(str(pid) in told.text for pid in before)
        wait_for(lambda: set(server.children()) - set(before), "another child")
        wait_for(lambda: get(server.port, "/work?bytes=1") == (200, b" "), "it answers")
