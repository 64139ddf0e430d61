"""netware in simulation: one process whose threads all wait for connections themselves, and whose
main thread keeps their number, one pass a second."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from mpmlab.core.demand import Demand
from mpmlab.core.platform import NEARLY_FREE
from mpmlab.kernel.interface import Signal
from tests.mpms.lab import FREE, STUCK, Lab, Seen, ask, crowd
from tests.mpms.native_lab import CUT, cells, pool, pool_series, singles, waits

RESTARTS = pytest.mark.parametrize("signal", [Signal.HUP, Signal.USR1])
STOPS = pytest.mark.parametrize("signal", [Signal.TERM, Signal.WINCH])

GROWTH = {"StartThreads": 5, "MinSpareThreads": 5, "MaxSpareThreads": 10, "MaxThreads": 40}
SMALL = {"StartThreads": 3, "MinSpareThreads": 1, "MaxSpareThreads": 5, "MaxThreads": 10}

#: Nothing costs anything but that a thread gets going again.
WAKING = replace(FREE, name="waking", costs=replace(NEARLY_FREE, thread_switch_us=10.0))


def test_it_starts_with_start_threads() -> None:
    """Fifty threads by default, in one process, and no more and no less while nothing happens."""
    lab = Lab("netware")
    lab.run(0.5)
    assert cells(lab) == "_" * 50
    lab.run(5.5)
    assert cells(lab) == "_" * 50
    assert lab.world.thread_count() == 51
    assert lab.children() == 1


def _cpu_s(threads: int, connections: int) -> float:
    """What the server computes in some seconds with that many idle threads."""
    directives = {"StartThreads": threads, "MinSpareThreads": 1, "MaxSpareThreads": 100}
    lab = Lab("netware", directives, platform=WAKING)
    lab.run(0.2)
    singles(lab, connections, 0.2, 0.05)
    lab.run(5.5)
    assert sum(lab.board.served) == connections
    return lab.world.cpu_seconds()


def test_a_connection_wakes_all_idle_threads() -> None:
    """What a connection costs grows with the number of threads that wait for one."""
    few = _cpu_s(2, 20) - _cpu_s(2, 0)
    many = _cpu_s(50, 20) - _cpu_s(50, 0)
    assert many > 4 * few > 0


def test_growth_doubles_each_second() -> None:
    """Thirty stuck requests on five threads: 1, 2, 4, 8, 16 more, until MinSpareThreads idle; the
    passes from eight threads on say AH00221."""
    lab = Lab("netware", GROWTH)
    lab.run(1.5)
    lab.client(crowd, 30, STUCK)
    assert pool_series(lab, 1.5, 6) == [6, 8, 12, 20, 36, 36]
    assert cells(lab).count("W") == 30
    assert len(lab.logged("AH00221")) == 2
    assert not lab.logged("AH00220")


def test_growth_ends_at_max_threads() -> None:
    """Sixty stuck requests: the pool stops at MaxThreads, which is said once (AH00220); the rest
    waits in the backlog."""
    lab = Lab("netware", GROWTH)
    lab.run(1.5)
    lab.client(crowd, 60, STUCK)
    assert pool_series(lab, 1.5, 7) == [6, 8, 12, 20, 36, 40, 40]
    lab.run(15.5)
    assert cells(lab) == "W" * 40
    assert len(lab.listener.queue) == 20
    assert lab.logged("AH00220") == [pytest.approx(8.0, abs=0.1)]


def test_it_shrinks_by_one_thread_a_second() -> None:
    """Twenty idle threads, ten more than MaxSpareThreads: the highest one goes, once a second."""
    lab = Lab(
        "netware",
        {"StartThreads": 20, "MinSpareThreads": 2, "MaxSpareThreads": 10, "MaxThreads": 40},
    )
    seen = pool_series(lab, 0.5, 14)
    assert [a - b for a, b in itertools.pairwise(seen)][:9] == [1] * 9
    assert seen[-2:] == [10, 10]
    assert cells(lab) == "_" * 10


@pytest.mark.parametrize(("quirks", "during"), [("On", "___..I"), ("Off", "___..W")])
def test_who_is_told_to_end(quirks: str, during: str) -> None:
    """The sixth thread is busy, the highest of all, and five below it are idle, two too many. With
    the quirk the order goes to the busy one, which overwrites it when its request is over; each
    pass after that takes the highest other one. Without, the highest idle ones go."""
    lab = Lab(
        "netware",
        {
            "StartThreads": 6,
            "MinSpareThreads": 1,
            "MaxSpareThreads": 3,
            "MaxThreads": 40,
            "Quirks": quirks,
        },
    )
    lab.run(0.1)
    seen = [Seen() for _ in range(6)]
    for i, one in enumerate(seen):
        lab.at(0.1 + i * 0.01, ask, one, (waits(3 if i < 5 else 12),))
    lab.run(0.5)
    assert cells(lab) == "WWWWWW"
    lab.run(1.5)
    assert cells(lab) == "WWWWWW_"  # MinSpareThreads
    lab.run(10.5)
    assert cells(lab) == during
    lab.run(12.5)
    assert cells(lab) == "___.._"
    assert [one.whats() for one in seen] == [["connected", "200"]] * 6


def test_max_connections_per_child_is_a_threads() -> None:
    """Each thread ends after MaxConnectionsPerChild connections of its own. Nobody replaces it but
    maintenance, for which a connection has to wait if there is no other thread."""
    lab = Lab(
        "netware",
        {
            "StartThreads": 2,
            "MinSpareThreads": 2,
            "MaxSpareThreads": 5,
            "MaxThreads": 10,
            "MaxConnectionsPerChild": 2,
        },
    )
    singles(lab, 4, 0.1)
    lab.run(0.5)
    assert pool(lab) == 0
    assert list(lab.board.accepted[:2]) == [2, 2]
    late = Seen()
    lab.client(ask, late)
    lab.run(0.9)
    assert late.whats() == ["connected"]
    lab.run(1.5)
    assert late.whats() == ["connected", "200"]
    lab.run(4.5)
    assert pool(lab) >= 2


@RESTARTS
def test_a_restart_waits_for_all_threads(signal: Signal) -> None:
    """Idle threads end, the busy one finishes, and only then the next generation starts; who
    connects meanwhile waits for it."""
    lab = Lab("netware", SMALL)
    lab.run(1)
    busy, late = Seen(), Seen()
    lab.client(ask, busy, (waits(5),))
    lab.run(2.2)
    lab.signal(signal)
    lab.run(4.5)
    assert cells(lab).strip(".") == "W"
    lab.client(ask, late)
    lab.run(5.9)
    assert late.whats() == ["connected"]
    assert len(lab.logged("AH00224")) == 1
    lab.run(6.5)
    assert busy.whats() == ["connected", "200"]
    assert late.whats() == ["connected", "200"]
    assert len(lab.logged("AH00224")) == 2
    assert lab.board.generation == 1
    assert lab.board.generation_of[0] == 1
    assert cells(lab) == "___"


def test_growth_is_slow_after_a_restart() -> None:
    """For ten passes that start threads the rate is not doubled."""
    lab = Lab(
        "netware",
        {"StartThreads": 2, "MinSpareThreads": 2, "MaxSpareThreads": 5, "MaxThreads": 60},
    )
    lab.run(1.2)
    lab.signal(Signal.USR1)
    lab.run(3.5)
    assert cells(lab) == "__"
    lab.client(crowd, 30, STUCK)
    assert pool_series(lab, 3.5, 12) == [*range(3, 14), 15]


@STOPS
def test_a_stop_waits_for_a_busy_thread(signal: Signal) -> None:
    """The request that is under way is answered; then the server ends with code 0."""
    lab = Lab("netware", SMALL)
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (waits(5),))
    lab.run(2.2)
    lab.signal(signal)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now == pytest.approx(6.0, abs=0.2)
    assert seen.whats() == ["connected", "200"]
    assert len(lab.logged("AH00226")) == 1


@STOPS
def test_a_stop_while_a_restart_waits(signal: Signal) -> None:
    """It is obeyed as soon as the last thread has ended: no new generation starts."""
    lab = Lab("netware", SMALL)
    lab.run(1)
    lab.client(ask, Seen(), (waits(5),))
    lab.run(2.2)
    lab.signal(Signal.USR1)
    lab.run(3.5)
    lab.signal(signal)
    lab.world.run(until_exit=lab.pid, until_s=20)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now == pytest.approx(6.0, abs=0.2)
    assert len(lab.logged("AH00224")) == 1


def test_a_crash_takes_the_server_down() -> None:
    """There is no parent: all connections are cut, and nobody listens any more."""
    lab = Lab("netware", SMALL)
    lab.run(1)
    busy, crashed, late = Seen(), Seen(), Seen()
    lab.client(ask, busy, (STUCK,))
    lab.at(1.5, ask, crashed, (Demand(crash=True),))
    lab.at(2.0, ask, late)
    lab.run(3)
    assert lab.world.deaths[lab.pid].signal is Signal.SEGV
    assert busy.whats()[-1] in CUT
    assert crashed.whats()[-1] in CUT
    assert late.whats() == ["refused"]
