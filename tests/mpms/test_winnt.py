"""winnt in simulation: one child with a fixed pool behind a completion port; restarts that overlap.

Its own costs are nearly nothing, so that times are exact.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpmlab.core.demand import Demand
from mpmlab.core.platform import NEARLY_FREE
from mpmlab.kernel.interface import Signal
from mpmlab.mpms.site import EXIT_CHILDFATAL
from tests.mpms.lab import FREE, STUCK, Lab, Seen, ask, crowd, serial
from tests.mpms.native_lab import CUT, ask_again, cells, server_processes, singles, waits

RESTARTS = pytest.mark.parametrize("signal", [Signal.HUP, Signal.USR1])
STOPS = pytest.mark.parametrize("signal", [Signal.TERM, Signal.WINCH])

#: Half a second for the parent to create a process, so that its absence can be seen.
SLOW_FORK = replace(FREE, name="slow fork", costs=replace(NEARLY_FREE, fork_us=500_000.0))


def test_the_pool_is_fixed() -> None:
    """ThreadsPerChild threads, an accept thread and two main threads, idle or busy."""
    lab = Lab("winnt", {"ThreadsPerChild": 4})
    lab.run(1)
    assert cells(lab) == "____"
    assert lab.world.thread_count() == 7
    lab.client(crowd, 4, STUCK)
    lab.run(20)
    assert cells(lab) == "WWWW"
    assert lab.world.thread_count() == 7
    assert lab.children() == 1


def test_one_thread_serves_single_requests() -> None:
    """Who went to wait last is woken first: requests that come one at a time have one thread."""
    lab = Lab("winnt", {"ThreadsPerChild": 4})
    lab.run(1)
    singles(lab, 10, 1.0)
    lab.run(3)
    assert sorted(lab.board.served[:4]) == [0, 0, 0, 10]


def test_the_last_to_wait_is_woken_first() -> None:
    """Two threads are busy at a time; the next request goes to the one that finished later, though
    the other one started first."""
    lab = Lab("winnt", {"ThreadsPerChild": 4})
    lab.run(1)
    lab.at(1.0, ask, Seen(), (waits(0.2),))
    lab.at(1.1, ask, Seen(), (waits(1.0),))
    lab.at(3.0, ask, Seen())
    lab.run(4)
    assert list(lab.board.served[:4]) == [0, 0, 2, 1]


def test_one_connection_more_than_threads_is_accepted() -> None:
    """Two threads and five connections: two are served, one waits in the accept thread's hand, two
    in the backlog; each is answered in its turn."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(1)
    seen = [Seen() for _ in range(5)]
    for i, one in enumerate(seen):
        lab.at(1.0 + i * 0.01, ask, one, (waits(10),))
    lab.run(5)
    assert cells(lab) == "WW"
    assert sum(lab.board.accepted) == 2
    assert lab.listener.accepted == 3
    assert len(lab.listener.queue) == 2
    lab.run(11.5)
    assert sum(lab.board.accepted) == 4
    assert lab.listener.accepted == 5
    lab.run(40)
    assert [one.whats() for one in seen] == [["connected", "200"]] * 5
    answered = [one.when("200") for one in seen]
    assert answered == sorted(answered)


def test_out_of_threads_is_said_once_per_child() -> None:
    """AH00326 at the first connection without a thread, not at the next; the next child says it
    again. Each second without a thread brings AH00327."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(1)
    lab.client(crowd, 3, waits(3))
    lab.run(8)
    assert lab.logged("AH00326") == [pytest.approx(1.0, abs=0.01)]
    assert lab.logged("AH00327")
    lab.client(crowd, 3, waits(3))
    lab.run(15)
    assert len(lab.logged("AH00326")) == 1
    lab.signal(Signal.USR1)
    lab.run(18.5)
    lab.client(crowd, 3, STUCK)
    lab.run(20)
    lines = [line for line in lab.world.log if line.ident == "AH00326"]
    assert len(lines) == 2
    assert lines[0].pid != lines[1].pid


def test_max_connections_per_child() -> None:
    """MaxConnectionsPerChild 3: the fourth connection, not the third, ends the child, and is
    answered. Another one takes over with the next generation; nobody is lost meanwhile."""
    lab = Lab("winnt", {"ThreadsPerChild": 2, "MaxConnectionsPerChild": 3})
    lab.run(1)
    first = lab.board.pid[0]
    seen = Seen()
    lab.client(serial, 3, seen)
    lab.run(1.5)
    assert seen.whats().count("200") == 3
    assert not lab.logged("AH00360")
    lab.client(serial, 5, seen)
    lab.run(12)
    assert seen.whats().count("200") == 8
    assert len(lab.logged("AH00360")) == 2
    assert lab.board.generation == 2
    assert lab.board.pid[0] not in (0, first)


def test_max_connections_per_child_is_a_restart() -> None:
    """The child tells the parent, which restarts as if it were told to: the next child serves while
    a thread of the old one is still busy."""
    lab = Lab("winnt", {"ThreadsPerChild": 4, "MaxConnectionsPerChild": 1})
    lab.run(1)
    busy, late = Seen(), Seen()
    lab.client(ask, busy, (waits(20),))
    lab.at(1.5, ask, Seen())
    lab.at(2.0, ask, late)
    lab.run(6)
    assert lab.logged("AH00360") == [pytest.approx(1.5, abs=0.01)]
    assert lab.logged("AH00424") == [pytest.approx(2.0, abs=0.51)]  # the parent looks each second
    assert busy.whats() == ["connected"]
    assert late.whats() == ["connected", "200"]
    lab.run(25)
    assert busy.whats() == ["connected", "200"]


@RESTARTS
def test_a_restart_overlaps(signal: Signal) -> None:
    """The next child serves with the threads whose cells are free while a thread of the old one is
    busy; when that has finished, its cell is taken over and the old child is gone."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(1)
    old = lab.board.pid[0]
    busy, late = Seen(), Seen()
    lab.client(ask, busy, (waits(8),))
    lab.run(2)
    lab.signal(signal)
    lab.run(4.5)
    assert lab.board.generation == 1
    assert lab.board.pid[0] not in (0, old)
    assert server_processes(lab) == 3
    assert cells(lab) == "_W"
    lab.client(ask, late)
    lab.run(5)
    assert late.whats() == ["connected", "200"]
    lab.run(11.5)
    assert busy.whats() == ["connected", "200"]
    assert cells(lab) == "__"
    assert server_processes(lab) == 2


def test_connections_wait_for_the_next_child() -> None:
    """Who connects during a restart waits until the old child has let go of the start mutex, a
    second after its exit event, and is answered by the next one."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(2)
    lab.signal(Signal.HUP)
    late = Seen()
    lab.at(2.5, ask, late)
    lab.run(2.9)
    assert late.whats() == ["connected"]
    lab.run(6)
    assert late.whats() == ["connected", "200"]
    assert lab.logged("AH00352") == [pytest.approx(0.0, abs=0.01), pytest.approx(3.0, abs=0.01)]


def test_two_restarts_in_a_row() -> None:
    """A restart of a child that has not begun yet: it ends without having served, and the third
    child has the pool to itself."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(2)
    lab.signal(Signal.HUP)
    lab.run(2.5)
    lab.signal(Signal.HUP)
    lab.run(8)
    assert lab.board.generation == 2
    assert server_processes(lab) == 2
    assert cells(lab) == "__"
    seen = Seen()
    lab.client(ask, seen)
    lab.run(9)
    assert seen.whats() == ["connected", "200"]


def test_keep_alive_ends_at_the_shutdown() -> None:
    """A request on an idle connection of a child that ends is answered, and is the last one."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(1)
    seen = Seen()
    lab.client(ask_again, seen, 2.5)
    lab.run(2)
    lab.signal(Signal.USR1)
    lab.run(6)
    assert seen.whats() == ["200", "200", "told to close", "eof"]


def test_what_exceeds_timeout_is_terminated() -> None:
    """A thread of the old child that is still busy after Timeout ends with its process; its cell is
    taken over as any other."""
    lab = Lab("winnt", {"ThreadsPerChild": 2, "Timeout": 3})
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (STUCK,))
    lab.run(2)
    lab.signal(Signal.USR1)
    lab.run(5.5)
    assert cells(lab) == "_W"
    lab.run(10)
    assert lab.logged("AH00362") == [pytest.approx(6.0, abs=0.2)]
    assert seen.whats()[-1] in CUT
    assert server_processes(lab) == 2
    assert cells(lab) == "__"


def test_a_crash_takes_the_child_and_the_next_one_comes_at_once() -> None:
    """All connections of the child are lost; its cells are dead, and READY as soon as the system
    has made another child, which has the next generation and serves who has waited."""
    lab = Lab("winnt", {"ThreadsPerChild": 4}, platform=SLOW_FORK)
    lab.run(1)
    old = lab.board.pid[0]
    assert cells(lab) == "____"
    busy, crashed, late = Seen(), Seen(), Seen()
    lab.client(ask, busy, (STUCK,))
    lab.at(1.5, ask, crashed, (Demand(crash=True),))
    lab.at(1.6, ask, late)
    lab.run(1.7)
    assert lab.world.deaths[old].signal is Signal.SEGV
    assert busy.whats()[-1] in CUT
    assert crashed.whats()[-1] in CUT
    assert cells(lab) == ""
    assert len(lab.logged("AH00428")) == 1
    lab.run(2.2)
    assert cells(lab) == "____"
    assert lab.board.pid[0] not in (0, old)
    assert lab.board.generation == 1
    assert late.whats() == ["connected", "200"]


@STOPS
def test_a_stop_of_an_idle_server(signal: Signal) -> None:
    """The child has its exit event, and ends after the second in which it hands over; code 0."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(2)
    lab.signal(signal)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now == pytest.approx(3.0, abs=0.2)
    assert len(lab.logged("AH00430")) == 1
    assert not lab.logged("AH00431")


def test_a_stop_waits_for_a_busy_thread() -> None:
    """A request that is under way at the stop is answered."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (waits(5),))
    lab.run(2)
    lab.signal(Signal.TERM)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now == pytest.approx(6.0, abs=0.2)
    assert seen.whats() == ["connected", "200"]


@STOPS
def test_a_stop_waits_thirty_seconds_at_most(signal: Signal) -> None:
    """A child that does not end is terminated after 30 s (AH00431); the code is 0 all the same."""
    lab = Lab("winnt", {"ThreadsPerChild": 2})
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (STUCK,))
    lab.run(2)
    lab.signal(signal)
    lab.world.run(until_exit=lab.pid, until_s=100)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now == pytest.approx(32.0, abs=0.1)
    assert len(lab.logged("AH00431")) == 1
    assert server_processes(lab) == 0


def test_no_child_is_no_server() -> None:
    """The system refuses the child: AH00419, and the parent gives up."""
    lab = Lab("winnt", platform=replace(FREE, process_limit=1))
    lab.run(1)
    assert lab.world.exit_code(lab.pid) == EXIT_CHILDFATAL
    assert len(lab.logged("AH00419")) == 1
