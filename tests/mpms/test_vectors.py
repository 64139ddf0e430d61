"""The observed behaviour of httpd 2.4.71 (the reference's test vectors), held in simulation:
exactly, to the second and to the child."""

from __future__ import annotations

import itertools

import pytest

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Signal
from tests.mpms.lab import STUCK, Lab, Seen, ask, crowd, serial

THREADED = {
    "ThreadsPerChild": 4,
    "MaxRequestWorkers": 160,
    "ServerLimit": 40,
    "MinSpareThreads": 20,
    "MaxSpareThreads": 40,
    "StartServers": 1,
}


def settle(lab: Lab, until_s: float) -> float:
    """Let the pool start, and stop just after a maintenance pass (passes are 1 s apart, each a
    hair later than a whole second)."""
    lab.run(until_s + 0.5)
    return until_s + 0.5


def test_vector_1_prefork_grows_by_doubling_and_shrinks_by_one() -> None:
    """100 stuck requests on 5 idle children: 6, 8, 12, 20, 36, 68, 100, 120 children, one pass a
    second; the +8 pass is the first to say AH00162; at the limit AH00161 is said once."""
    lab = Lab(
        "prefork",
        {
            "StartServers": 2,
            "MinSpareServers": 5,
            "MaxSpareServers": 10,
            "MaxRequestWorkers": 120,
            "ServerLimit": 120,
        },
    )
    start = settle(lab, 4)
    assert lab.children() == 5
    lab.client(crowd, 100, Demand(wait_us=30_000_000))
    assert lab.series(start, 9) == [6, 8, 12, 20, 36, 68, 100, 120, 120]
    assert len(lab.logged("AH00162")) == 5
    lab.run(36)
    before = lab.children()
    assert lab.series(36, 10) == [before - i for i in range(1, 11)]


@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_vectors_2_and_3_threaded_growth(mpm: str) -> None:
    """Start-up 1, 2, 4, 8 children until 20 threads are idle; 150 stuck requests then take the pool
    through 9, 11, 15, 23, 39, 40."""
    lab = Lab(mpm, THREADED)
    # Passes at 1, 2, 3 s; the first of them finds 4 idle threads of 20.
    assert lab.series(-0.5, 5) == [1, 2, 4, 8, 8]
    lab.client(crowd, 150, STUCK)
    assert lab.series(4.5, 7) == [9, 11, 15, 23, 39, 40, 40]


@pytest.mark.parametrize(("mpm", "pace_s"), [("worker", 1.0), ("event", 2.0)])
def test_vector_3_shrinking(mpm: str, pace_s: float) -> None:
    """After the load worker ends one process a second, event one every two: a pass that still sees
    the last victim unreaped kills nobody (ServerLimit == MaxRequestWorkers / ThreadsPerChild)."""
    lab = Lab(mpm, THREADED)
    lab.run(4.5)
    lab.client(crowd, 150, Demand(wait_us=15_000_000))
    lab.run(28.5)
    seen = lab.series(28.5, 8, pace_s)
    assert [a - b for a, b in itertools.pairwise(seen)] == [1] * 7


@pytest.mark.parametrize(("factor", "accepted"), [("2", 12), ("1", 8), ("1.9", 8), ("3", 16)])
def test_vector_4_event_limits_its_connections(factor: str, accepted: int) -> None:
    """ThreadsPerChild 4, one process: (floor(factor) + 1) * 4 idle keep-alive connections are
    taken; the next one gets no answer until one of them is over."""
    lab = Lab(
        "event",
        {
            "ThreadsPerChild": 4,
            "MaxRequestWorkers": 4,
            "ServerLimit": 1,
            "StartServers": 1,
            "MinSpareThreads": 1,
            "AsyncRequestWorkerFactor": factor,
            "KeepAliveTimeout": 60,
        },
    )
    lab.run(1)
    seen = [Seen() for _ in range(accepted + 1)]
    for i, s in enumerate(seen):
        lab.at(1.0 + i * 0.01, ask, s, (Demand(),), True, 40.0, False)
    lab.run(30)
    assert [s.whats() for s in seen[:-1]] == [["connected", "200"]] * accepted
    assert seen[-1].whats() == ["connected"]  # by the system's backlog, not by the server
    assert lab.board.not_accepting[0] == 1


@pytest.mark.parametrize(
    ("mpm", "exactly"), [("prefork", True), ("event", True), ("worker", False)]
)
def test_vector_6_max_connections_per_child(mpm: str, exactly: bool) -> None:
    """MaxConnectionsPerChild 10, a serial client: 10 connections for each child of prefork and
    event, 10 to 12 of worker (it counts them when they end)."""
    directives: dict[str, object] = {"MaxConnectionsPerChild": 10, "StartServers": 1}
    if mpm != "prefork":
        directives |= {"ThreadsPerChild": 4, "MinSpareThreads": 1, "MaxRequestWorkers": 40}
    else:
        directives |= {"MinSpareServers": 1}
    lab = Lab(mpm, directives)
    lab.run(1.2)
    base: dict[int, int] = {}
    per_child: dict[int, int] = {}
    _tally(lab, base, per_child)  # before the first connection
    first = next(pid for pid in lab.board.pid if pid)
    lab.client(serial, 60, Seen())
    lab.world.every(0.001, lambda _now: _tally(lab, base, per_child))
    lab.run(30)
    if exactly:
        assert per_child[first] == 10
    else:
        assert 10 <= per_child[first] <= 12
    assert len(per_child) > 1


def _tally(lab: Lab, base: dict[int, int], per_child: dict[int, int]) -> None:
    """The most connections that each pid has shown; counters of a slot outlive its process, so
    differences are taken."""
    limit = lab.board.thread_limit
    for slot, pid in enumerate(lab.board.pid):
        if pid:
            row = lab.board.accepted[slot * limit : (slot + 1) * limit]
            first = base.setdefault(pid, sum(row))
            per_child[pid] = max(per_child.get(pid, 0), sum(row) - first)


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_vector_7_keep_alive_timeout(mpm: str) -> None:
    """An idle keep-alive connection is closed 5.0 s after its answer. A client that keeps its side
    open then costs prefork and worker a worker in C for 2 s, event none."""
    lab = Lab(mpm)
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (Demand(),), True, 60.0, False)
    lab.run(5.9)
    assert lab.letters().count("K") == (0 if mpm == "event" else 1)
    lab.run(7.5)
    assert seen.whats() == ["connected", "200", "eof"]
    assert seen.when("eof") - seen.when("200") == pytest.approx(5.0, abs=0.01)
    assert lab.letters().count("C") == (0 if mpm == "event" else 1)
    lab.run(8.2)
    assert "C" not in lab.letters()


@pytest.mark.parametrize(("mpm", "seconds"), [("prefork", 0.1), ("worker", 0.1), ("event", 10.4)])
def test_vector_8_term_with_a_blocked_reader(mpm: str, seconds: float) -> None:
    """TERM while a worker waits for the rest of a header: prefork and worker stop at once; event
    warns three times, kills at 9 s, and is gone after about 10 s."""
    lab = Lab(mpm)
    lab.run(1)
    lab.client(_half_a_header)
    lab.run(2)
    assert "R" in lab.letters()
    lab.signal(Signal.TERM)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0
    if seconds < 1:
        assert lab.world.now - 2 < seconds
        assert not lab.logged("AH00045")
    else:
        assert 9 < lab.world.now - 2 <= seconds
        assert len(lab.logged("AH00045")) == 3
        assert len(lab.logged("AH00046")) == 1


def _half_a_header(k, listener):  # type: ignore[no-untyped-def]
    """Half of a request's head, and then nothing."""
    from mpmlab.core.count_wire import CountClient

    conn = yield k.connect(listener, 10)
    data = CountClient("lab").request(Demand(), 0, True)
    yield k.send(conn, data[:20], 10)
    yield k.sleep(3600)
    return 0


@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_vector_9_graceful_restart_and_idle_keep_alive(mpm: str) -> None:
    """USR1: prefork and worker leave an idle keep-alive connection open until its time is over,
    event closes it within 1.5 s. The scoreboard shows G for prefork, K for worker."""
    lab = Lab(mpm, {"KeepAliveTimeout": 20})
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (Demand(),), True, 60.0, True)
    lab.run(2.2)
    lab.signal(Signal.USR1)
    lab.run(4)
    assert lab.board.generation == 1
    if mpm == "event":
        assert seen.when("eof") - 2.2 < 1.5
    else:
        assert seen.whats() == ["connected", "200"]
        assert ("G" if mpm == "prefork" else "K") in lab.letters()
        lab.run(30)
        assert seen.when("eof") - seen.when("200") == pytest.approx(20.0, abs=0.01)
    lab.run(40)
    live = [slot for slot, pid in enumerate(lab.board.pid) if pid]
    assert live
    assert all(lab.board.generation_of[slot] == 1 for slot in live)


@pytest.mark.parametrize(
    ("mpm", "full", "reached"),
    [
        ("worker", "AH00288", ("AH00286", "AH00287")),
        ("event", "AH03490", ("AH00484", "AH10159")),
    ],
)
def test_vector_14_scoreboard_full(mpm: str, full: str, reached: tuple[str, ...]) -> None:
    """ServerLimit 2, ThreadsPerChild 4, MaxRequestWorkers 100, 14 stuck clients: two children, and
    "scoreboard is full" once a second for as long as it lasts; never the reached-limit message."""
    lab = Lab(
        mpm,
        {
            "ServerLimit": 2,
            "ThreadsPerChild": 4,
            "MaxRequestWorkers": 100,
            "StartServers": 1,
            "MinSpareThreads": 4,
            "MaxSpareThreads": 8,
        },
    )
    lab.run(1)
    lab.client(crowd, 14, STUCK)
    lab.run(20.5)
    assert lab.children() == 2
    times = [t for t in lab.logged(full) if t >= 10]
    assert len(times) == 11
    assert all(b - a == pytest.approx(1, abs=0.01) for a, b in itertools.pairwise(times))
    assert not any(lab.logged(ident) for ident in reached)
