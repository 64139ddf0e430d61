"""The vectors that can be had in small numbers on this machine: the same MPM text, real processes.

Growth is compared by the order of pool sizes, not by the clock of a busy machine: a pass may be
late, but never takes the pool elsewhere."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from mpmlab.kernel.interface import Signal
from tests.mpms.real_lab import RealLab, read_response, running, until

pytestmark = pytest.mark.real


def sizes_until(
    lab: RealLab, last: int, hold_s: float = 0.4, deadline_s: float = 20.0
) -> list[int]:
    """The sizes at rest that the pool goes through: each that held for `hold_s`, up to `last`."""
    seen: list[int] = []
    start = time.monotonic()
    size, since = lab.children(), start
    while not seen or seen[-1] != last:
        now = time.monotonic()
        assert now - start < deadline_s, f"pool sizes so far: {seen}, then {size}"
        if lab.children() != size:
            size, since = lab.children(), now
        elif now - since > hold_s and (not seen or seen[-1] != size):
            seen.append(size)
        time.sleep(0.01)
    return seen


def test_vector_1_prefork_growth_and_shrinking(tmp_path: Path) -> None:
    """20 stuck requests on 2 idle children: 2, 3, 5, 9, 17, 22 children, the last step cut by the
    limit; when they end, one child less a second."""
    with running(
        "prefork",
        tmp_path,
        StartServers=2,
        MinSpareServers=2,
        MaxSpareServers=3,
        MaxRequestWorkers=22,
        ServerLimit=22,
    ) as lab:
        lab.burst(20, 7_000_000)
        assert sizes_until(lab, 22) == [2, 3, 5, 9, 17, 22]
        lab.close()
        until(lambda: lab.children() < 22, "shrinking has begun")
        start, low = time.monotonic(), lab.children()
        # A victim that is not reaped in its own second is reaped with the next one's, as in httpd
        # (the pass follows the sleep, not the reaping): by ones or twos, but one a second.
        until(lambda: lab.children() <= low - 4, "four children less")
        assert 2.5 < time.monotonic() - start < 8


def test_vector_2_worker_growth(tmp_path: Path) -> None:
    """Start-up 1, 2, 4 children of 2 threads until 8 are idle; 30 stuck requests: 5, 7, 11, 16."""
    with running(
        "worker",
        tmp_path,
        StartServers=1,
        ThreadsPerChild=2,
        MinSpareThreads=8,
        MaxSpareThreads=20,
        MaxRequestWorkers=32,
        ServerLimit=16,
    ) as lab:
        assert sizes_until(lab, 4) == [1, 2, 4]
        # A quiet pass puts the rate back to one: the size must hold for two of them.
        assert sizes_until(lab, 4, hold_s=2.2) == [4]
        lab.burst(30, 30_000_000)
        assert [size for size in sizes_until(lab, 16) if size > 4] == [5, 7, 11, 16]


@pytest.mark.parametrize(("mpm", "most"), [("prefork", 10), ("event", 10), ("worker", 12)])
def test_vector_6_max_connections_per_child(mpm: str, most: int, tmp_path: Path) -> None:
    """MaxConnectionsPerChild 10 and a serial client: the first child ends after 10 (worker: 10 to
    12) connections, and no request is lost."""
    directives: dict[str, object] = {"MaxConnectionsPerChild": 10, "StartServers": 1}
    if mpm == "prefork":
        directives |= {"MinSpareServers": 1, "MaxSpareServers": 2}
    else:
        directives |= {"ThreadsPerChild": 4, "MinSpareThreads": 1, "MaxRequestWorkers": 16}
    with running(mpm, tmp_path, **directives) as lab:
        first = lab.board.pid[0]
        served = asked = 0
        while lab.board.pid[0] == first and asked < 200:
            with lab.connect() as sock:
                lab.ask(sock, close=True)
                assert read_response(sock).startswith(b"HTTP/1.1 200")
                assert sock.recv(1) == b""
            asked += 1
            total = sum(lab.board.accepted[: lab.board.thread_limit])
            if lab.board.pid[0] == first:  # else the count is already its successor's
                served = total
        until(lambda: lab.board.pid[0] != first, "the first child has ended")
        assert 10 <= served <= most


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_vector_7_keep_alive_timeout(mpm: str, tmp_path: Path) -> None:
    """An idle keep-alive connection is closed after KeepAliveTimeout (here 1 s), never earlier."""
    with running(mpm, tmp_path, KeepAliveTimeout=1) as lab, lab.connect() as sock:
        lab.ask(sock)
        assert read_response(sock).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        if mpm != "event":
            until(lambda: "K" in lab.letters(), "the worker waits in keep-alive")
        assert sock.recv(1) == b""
        assert 0.95 <= time.monotonic() - start < 3
        if mpm != "event":
            until(lambda: "C" in lab.letters(), "we have not closed our side: lingering")


@pytest.mark.parametrize("mpm", ["prefork", "worker"])
def test_vector_8_term_with_a_blocked_reader(mpm: str, tmp_path: Path) -> None:
    """TERM while a worker waits for the rest of a header stops prefork and worker at once."""
    with running(mpm, tmp_path) as lab, lab.connect() as sock:
        sock.sendall(b"GET /work HTT")
        until(lambda: "R" in lab.letters(), "a worker reads")
        lab.server.signal(Signal.TERM)
        start = time.monotonic()
        assert lab.server.wait(10) == 0
        assert time.monotonic() - start < 3  # 0.02 s on a quiet machine; the ladder warns at 3 s
        assert "AH00045" not in lab.log()


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_graceful_restart_loses_nothing(mpm: str, tmp_path: Path) -> None:
    """USR1 in the middle of a request: it is answered, by the old generation; the next by the new;
    in the end every child is of generation 1."""
    with running(mpm, tmp_path) as lab, lab.connect() as sock:
        lab.ask(sock, "?wait_us=1500000", close=True)
        until(lambda: "W" in lab.letters(), "the request is being handled")
        lab.server.signal(Signal.USR1)
        until(lambda: lab.board.generation == 1, "the new generation has begun")
        assert read_response(sock).startswith(b"HTTP/1.1 200")
        with lab.connect() as again:
            lab.ask(again, close=True)
            assert read_response(again).startswith(b"HTTP/1.1 200")
        until(
            lambda: (
                lab.children()
                and all(
                    g == 1
                    for g, pid in zip(lab.board.generation_of, lab.board.pid, strict=True)
                    if pid
                )
            ),
            "only the new generation is left",
        )


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_graceful_stop_finishes_what_is_open(mpm: str, tmp_path: Path) -> None:
    """WINCH: no more connections are taken, the open request is answered, the exit code is 0."""
    with running(mpm, tmp_path) as lab, lab.connect() as sock:
        lab.ask(sock, "?wait_us=700000", close=True)
        until(lambda: "W" in lab.letters(), "the request is being handled")
        lab.server.signal(Signal.WINCH)
        assert read_response(sock).startswith(b"HTTP/1.1 200")
        sock.close()
        assert lab.server.wait(15) == 0


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_a_crash_is_reported_and_healed(mpm: str, tmp_path: Path) -> None:
    """A handler that crashes takes its process with it (AH00052); the pool heals by itself."""
    with running(mpm, tmp_path) as lab:
        pids = set(filter(None, lab.board.pid))
        with lab.connect() as sock:
            lab.ask(sock, "?crash=1", close=True)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        until(lambda: "AH00052" in lab.log(), "the death is logged")
        until(
            lambda: (
                len(set(filter(None, lab.board.pid)) & pids) < len(pids)
                and lab.children() >= len(pids)
            ),
            "the child is replaced",
        )
        with lab.connect() as sock:
            lab.ask(sock, close=True)
            assert read_response(sock).startswith(b"HTTP/1.1 200")
