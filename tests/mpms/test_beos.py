"""beos in simulation: one team whose threads take turns to wait for a connection, and whose pool
grows until it is full."""

from __future__ import annotations

import pytest

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Signal
from mpmlab.sim.poller import SimPoller
from mpmlab.sim.sync import SimMutex
from tests.mpms.lab import STUCK, Lab, Seen, ask, crowd
from tests.mpms.native_lab import CUT, ask_again, cells, pool, pool_series, said, singles, waits

RESTARTS = pytest.mark.parametrize(
    ("signal", "name"), [(Signal.HUP, "SIGHUP"), (Signal.USR1, "SIGUSR1")]
)
STOPS = pytest.mark.parametrize("signal", [Signal.TERM, Signal.WINCH])

#: A pool that stays as it is while somebody is idle.
STILL: dict[str, object] = {"Quirks": "Off", "StartThreads": 3, "MaxClients": 10}


def _waiting(lab: Lab) -> tuple[int, int]:
    """How many threads of the team poll, and how many wait for their turn to."""
    threads = lab.world.processes[lab.pid].threads.values()
    places = [thread.where for thread in threads if not thread.is_main]
    polling = sum(isinstance(place, SimPoller) for place in places)
    return polling, sum(isinstance(place, SimMutex) for place in places)


def test_one_thread_polls_at_a_time() -> None:
    """Of ten idle threads one waits for a connection, the others for the lock; when it has got one
    the next polls."""
    lab = Lab("beos", {"Quirks": "Off"})
    lab.run(0.5)
    assert cells(lab) == "_" * 10
    assert _waiting(lab) == (1, 9)
    lab.client(crowd, 1, STUCK)
    lab.run(0.7)
    assert cells(lab) == "W" + "_" * 9
    assert _waiting(lab) == (1, 8)


def test_threads_take_turns() -> None:
    """Who has served goes to the end of the queue for the lock."""
    lab = Lab("beos", {"Quirks": "Off"})
    lab.run(0.5)
    singles(lab, 20, 0.5)
    lab.run(4.5)
    assert list(lab.board.served[:10]) == [2] * 10


def test_the_pool_grows_though_it_is_idle() -> None:
    """Nobody looks at who is idle: ten threads, and 1, 2, 4, 8, 16 more each second until there are
    MaxClients."""
    lab = Lab("beos")
    lab.run(0.5)
    assert pool(lab) == 10
    assert pool_series(lab, 0.5, 7) == [11, 13, 17, 25, 41, 50, 50]
    assert cells(lab) == "_" * 50
    assert lab.children() == 1


def test_without_quirks_the_pool_grows_when_it_is_short() -> None:
    """With Quirks Off nothing happens while MinSpareThreads are idle. Twelve stuck requests on ten
    threads then bring one more, and two, of which one is idle."""
    lab = Lab("beos", {"Quirks": "Off"})
    lab.run(10.5)
    assert cells(lab) == "_" * 10
    lab.client(crowd, 12, STUCK)
    assert pool_series(lab, 10.5, 4) == [11, 13, 13, 13]
    assert cells(lab).count("W") == 12


def test_max_clients_is_the_limit() -> None:
    """With every thread busy nobody polls: the rest waits in the backlog."""
    lab = Lab("beos", {"MaxClients": 12})
    lab.run(5.5)
    assert pool(lab) == 12
    lab.client(crowd, 15, STUCK)
    lab.run(9.5)
    assert cells(lab) == "W" * 12
    assert lab.listener.accepted == 12
    assert len(lab.listener.queue) == 3
    assert _waiting(lab) == (0, 0)


def test_max_requests_per_thread() -> None:
    """A thread that has had its connections is replaced at once, in its cell."""
    lab = Lab("beos", {**STILL, "StartThreads": 2, "MaxRequestsPerThread": 3})
    lab.run(0.5)
    assert lab.world.processes[lab.pid].next_tid == 3
    seen = singles(lab, 12, 0.5)
    lab.run(2.5)
    assert [one.whats() for one in seen] == [["connected", "200"]] * 12
    assert cells(lab) == "__"
    assert list(lab.board.served[:2]) == [6, 6]
    # The main thread, two to begin with, and two for each of those.
    assert lab.world.processes[lab.pid].next_tid == 7


@RESTARTS
def test_a_restart_is_graceful(signal: Signal, name: str) -> None:
    """Idle threads end; two seconds later StartThreads of the next generation are there,
    and serve who has waited. Who is busy finishes, and is replaced in its cell."""
    lab = Lab("beos", STILL)
    lab.run(1)
    busy, late = Seen(), Seen()
    lab.client(ask, busy, (waits(5),))
    lab.run(2.2)
    lab.signal(signal)
    lab.run(2.5)
    assert cells(lab) == "W"
    assert lab.board.generation == 1
    lab.client(ask, late)
    lab.run(4.0)
    assert late.whats() == ["connected"]
    assert len(said(lab, f"{name} received")) == 1
    lab.run(4.5)
    assert late.whats() == ["connected", "200"]
    assert cells(lab) == "W___"
    assert lab.board.generation_of[0] == 1
    started = lab.world.processes[lab.pid].next_tid
    lab.run(7.5)
    assert busy.whats() == ["connected", "200"]
    assert cells(lab) == "____"
    assert lab.world.processes[lab.pid].next_tid == started + 1


def test_keep_alive_outlives_a_restart() -> None:
    """A thread tests its generation after a connection, not after a request."""
    lab = Lab("beos", STILL)
    lab.run(1)
    seen = Seen()
    lab.client(ask_again, seen, 4.0)
    lab.run(2.2)
    lab.signal(Signal.USR1)
    lab.run(12)
    assert seen.whats() == ["200", "200", "eof"]
    assert seen.when("eof") == pytest.approx(9.0, abs=0.1)


def test_growth_is_slow_after_a_restart() -> None:
    """For ten passes that start threads the rate is not doubled."""
    lab = Lab("beos", {"StartThreads": 5})
    lab.run(0.5)
    lab.signal(Signal.USR1)
    lab.run(2.75)
    assert pool(lab) == 5
    assert pool_series(lab, 2.75, 12) == [*range(6, 17), 18]


@STOPS
def test_a_stop_cuts_what_takes_longer_than_a_second(signal: Signal) -> None:
    """A request that is over within the second that threads are given is answered, and its
    connection is not kept; what is busy then is cut. Code 0."""
    lab = Lab("beos", STILL)
    lab.run(1)
    stuck, short = Seen(), Seen()
    lab.client(ask, stuck, (STUCK,))
    lab.at(1.5, ask, short, (waits(1.2),))
    lab.run(2.2)
    lab.signal(signal)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now == pytest.approx(3.2, abs=0.1)
    assert short.whats() == ["connected", "200"]
    lab.run(5)
    assert stuck.whats()[-1] in CUT
    assert stuck.events[-1][0] == pytest.approx(3.2, abs=0.1)


@STOPS
def test_a_stop_during_a_restart(signal: Signal) -> None:
    """While the threads are given their second a stop comes: the server ends, and is not started
    again."""
    lab = Lab("beos", STILL)
    lab.run(2.2)
    lab.signal(Signal.USR1)
    lab.run(2.7)
    lab.signal(signal)
    lab.world.run(until_exit=lab.pid, until_s=20)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now < 5
    assert len(said(lab, "resuming normal operations")) == 1


def test_a_crash_takes_the_server_down() -> None:
    """There is one team: all connections are cut, and nobody listens any more."""
    lab = Lab("beos")
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
