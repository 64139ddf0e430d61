"""os2 in simulation: a fixed number of children, each with a queue without bounds and as many
threads as it needs, which it looks after twice a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Signal
from tests.mpms.lab import FREE, STUCK, Lab, Seen, ask, crowd
from tests.mpms.native_lab import (
    CUT,
    ask_again,
    cells,
    pool,
    pool_series,
    said,
    server_processes,
    waits,
)

STOPS = pytest.mark.parametrize("signal", [Signal.TERM, Signal.WINCH])
ONE: dict[str, object] = {"StartServers": 1}


def test_start_servers_children_of_min_spare_threads() -> None:
    """Two children by default, each with five idle threads after its first look."""
    lab = Lab("os2")
    lab.run(0.2)
    assert lab.children() == 2
    assert [cells(lab, slot) for slot in range(2)] == ["_____"] * 2
    lab.run(5.2)
    assert lab.children() == 2
    assert [cells(lab, slot) for slot in range(2)] == ["_____"] * 2


def test_a_killed_child_is_replaced() -> None:
    """The parent keeps StartServers children: it sees the death at its next pass."""
    lab = Lab("os2", {"StartServers": 3})
    lab.run(1.5)
    before = [pid for pid in lab.board.pid if pid]
    lab.world.kill(before[0], Signal.KILL)
    lab.run(2.6)
    after = [pid for pid in lab.board.pid if pid]
    assert len(before) == len(after) == 3
    assert before[0] not in after
    assert before[1:] == [pid for pid in after if pid in before]


def test_a_child_accepts_without_an_idle_thread() -> None:
    """Forty connections for five threads: all are accepted at once, and 35 wait in the child."""
    lab = Lab("os2", ONE)
    lab.run(0.6)
    lab.client(crowd, 40, STUCK)
    lab.run(0.7)
    assert cells(lab) == "WWWWW"
    assert lab.listener.accepted == 40
    assert not lab.listener.queue
    assert sum(lab.board.accepted) == 5


@pytest.mark.parametrize(("quirks", "idle"), [("On", 4), ("Off", 5)])
def test_missing_threads_start_all_at_once(quirks: str, idle: int) -> None:
    """The next look, half a second later at most, starts a thread for each connection that waits,
    and MinSpareThreads more. With the quirk a child that has too few also ends one: the difference
    wraps around. The look after that makes up for it."""
    lab = Lab("os2", {**ONE, "Quirks": quirks})
    lab.run(0.6)
    lab.client(crowd, 40, STUCK)
    lab.run(1.2)
    assert cells(lab).count("W") == 40
    assert cells(lab).count("_") == idle
    assert sum(lab.board.accepted) == 40
    lab.run(1.7)
    assert cells(lab).count("W") == 40
    assert cells(lab).count("_") == 5


def test_it_shrinks_by_one_thread_each_half_second() -> None:
    """25 idle threads, MaxSpareThreads 6: two go each second until six are left."""
    lab = Lab("os2", {**ONE, "MaxSpareThreads": 6, "Quirks": "Off"})
    lab.run(0.6)
    lab.client(crowd, 20, waits(2))
    lab.run(1.2)
    assert pool(lab) == 25
    assert pool_series(lab, 3.25, 5) == [22, 20, 18, 16, 14]
    lab.run(15.25)
    assert cells(lab).count("_") == pool(lab) == 6


def test_max_connections_per_child_replaces_gracefully() -> None:
    """The third connection is the child's last: it quiesces, and finishes what it has; the parent
    starts another one beside it, which serves those that come then."""
    lab = Lab("os2", {**ONE, "MaxConnectionsPerChild": 3, "Quirks": "Off"})
    lab.run(0.6)
    busy, others, late = Seen(), [Seen(), Seen()], Seen()
    lab.client(ask, busy, (waits(5),))
    lab.at(0.61, ask, others[0])
    lab.at(0.62, ask, others[1])
    lab.at(0.63, ask, late)
    lab.run(0.9)
    assert [one.whats() for one in others] == [["connected", "200"]] * 2
    assert late.whats() == ["connected"]
    assert lab.board.quiescing[0] == 1
    lab.run(1.7)
    assert lab.children() == 2
    assert late.whats() == ["connected", "200"]
    assert cells(lab).strip(".") == "W"
    assert cells(lab, 1).count("_") >= 5
    lab.run(8)
    assert busy.whats() == ["connected", "200"]
    assert lab.board.pid[0] == 0
    assert lab.children() == 1
    assert lab.board.generation == 0


def test_a_crash_is_caught() -> None:
    """The thread ends (AH00195) and the child quiesces: other connections finish, the crashed one
    is open until the process has ended, in order; another child has taken over by then."""
    lab = Lab("os2", ONE)
    lab.run(0.6)
    old = lab.board.pid[0]
    busy, crashed, late = Seen(), Seen(), Seen()
    lab.client(ask, busy, (waits(4),))
    lab.at(0.7, ask, crashed, (Demand(crash=True),))
    lab.at(2.0, ask, late)
    lab.run(2.5)
    assert len(lab.logged("AH00195")) == 1
    assert lab.board.quiescing[0] == 1
    assert crashed.whats() == ["connected"]
    assert late.whats() == ["connected", "200"]
    lab.run(8)
    assert busy.whats() == ["connected", "200"]
    assert crashed.whats()[-1] in CUT
    assert crashed.when(crashed.whats()[-1]) >= busy.when("200")
    assert lab.world.deaths[old].signal is None
    assert lab.world.exit_code(old) == 0
    assert lab.board.pid[0] == 0
    assert lab.children() == 1


def test_usr1_is_graceful() -> None:
    """The old child finishes its request while one of the next generation serves what comes; then
    it is gone."""
    lab = Lab("os2", ONE)
    lab.run(1)
    busy, late = Seen(), Seen()
    lab.client(ask, busy, (waits(5),))
    lab.run(2.2)
    lab.signal(Signal.USR1)
    lab.at(2.5, ask, late)
    lab.run(4)
    assert lab.board.generation == 1
    assert late.whats() == ["connected", "200"]
    assert server_processes(lab) == 3
    lab.run(10)
    assert busy.whats() == ["connected", "200"]
    assert server_processes(lab) == 2
    live = [slot for slot, pid in enumerate(lab.board.pid) if pid]
    assert [lab.board.generation_of[slot] for slot in live] == [1]


def test_keep_alive_outlives_a_restart() -> None:
    """A child that ends does not say so to its connections: they are kept alive as before, up to
    KeepAliveTimeout."""
    lab = Lab("os2", ONE)
    lab.run(1)
    seen = Seen()
    lab.client(ask_again, seen, 4.0)
    lab.run(2.2)
    lab.signal(Signal.USR1)
    lab.run(8)
    assert seen.whats() == ["200", "200"]
    lab.run(12)
    assert seen.whats() == ["200", "200", "eof"]
    assert seen.when("eof") == pytest.approx(9.0, abs=0.1)


def test_hup_cuts() -> None:
    """The old child ends at once with all its connections; the next one serves what comes."""
    lab = Lab("os2", ONE)
    lab.run(1)
    old = lab.board.pid[0]
    busy, late = Seen(), Seen()
    lab.client(ask, busy, (STUCK,))
    lab.run(2.2)
    lab.signal(Signal.HUP)
    lab.at(2.5, ask, late)
    lab.run(5)
    assert busy.whats()[-1] in CUT
    assert busy.events[-1][0] == pytest.approx(2.2, abs=0.01)
    assert late.whats() == ["connected", "200"]
    assert lab.board.generation == 1
    assert lab.children() == 1
    assert old not in list(lab.board.pid)


@STOPS
def test_a_stop_cuts(signal: Signal) -> None:
    """TERM, and WINCH as well: all children are told to end at once, and the server does."""
    lab = Lab("os2")
    lab.run(1)
    busy = Seen()
    lab.client(ask, busy, (STUCK,))
    lab.run(2.2)
    lab.signal(signal)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now - 2.2 < 0.5
    assert server_processes(lab) == 0
    lab.run(4)
    assert busy.whats()[-1] in CUT


def test_a_stop_reaches_a_child_that_quiesces() -> None:
    """A child that finishes its last request after a graceful restart is ended by TERM, too."""
    lab = Lab("os2", ONE)
    lab.run(1)
    busy = Seen()
    lab.client(ask, busy, (STUCK,))
    lab.run(2.2)
    lab.signal(Signal.USR1)
    lab.run(5)
    assert server_processes(lab) == 3
    lab.signal(Signal.TERM)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now - 5 < 0.5
    assert server_processes(lab) == 0


def test_a_refused_child_is_tried_again_each_second() -> None:
    """Room for one child of two: the parent says so at each pass, and the one serves."""
    lab = Lab("os2", platform=replace(FREE, process_limit=2))
    lab.run(3.5)
    assert lab.children() == 1
    assert len(said(lab, "error spawning child")) == 4
    seen = Seen()
    lab.client(ask, seen)
    lab.run(4)
    assert seen.whats() == ["connected", "200"]
