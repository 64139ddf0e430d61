"""A system that refuses processes, in simulation: what the parent does, and that it recovers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Signal
from tests.mpms.lab import FREE, STUCK, Lab, Seen, ask, crowd

MPMS = pytest.mark.parametrize(
    ("mpm", "failed", "resuming"),
    [("prefork", "AH00159", "AH00163"), ("worker", "AH00283", "AH00292"),
     ("event", "AH00481", "AH00489")],
)  # fmt: skip


@MPMS
def test_start_up_ends_at_the_first_refused_fork(mpm: str, failed: str, resuming: str) -> None:
    """Room for two children of three or five: one refusal, ten seconds of rest, then the server
    runs with what it has, and serves."""
    lab = Lab(mpm, platform=replace(FREE, process_limit=3))
    lab.run(9.9)
    assert len(lab.logged(failed)) == 1
    assert not lab.logged(resuming)
    lab.run(10.5)
    assert lab.logged(resuming) == [pytest.approx(10.0, abs=0.1)]
    seen = Seen()
    lab.client(ask, seen)
    lab.run(11)
    assert seen.whats() == ["connected", "200"]
    assert lab.children() == 2


@MPMS
def test_term_is_heard_while_the_parent_rests(mpm: str, failed: str, resuming: str) -> None:
    """The rest after a refused fork does not delay a stop."""
    del failed, resuming
    lab = Lab(mpm, platform=replace(FREE, process_limit=3))
    lab.run(2)
    lab.signal(Signal.TERM)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0
    assert lab.world.now < 3


def test_a_refused_take_over_leaves_the_quiescing_child_alone() -> None:
    """worker: a slot whose child is quiescing may be taken over; if that fork is refused, the old
    child keeps its cells and its requests, and in the end no slot is lost."""
    lab = Lab(
        "worker",
        {"ThreadsPerChild": 4, "ServerLimit": 1, "MaxRequestWorkers": 4, "StartServers": 1,
         "MinSpareThreads": 1, "MaxConnectionsPerChild": 2},
        platform=replace(FREE, process_limit=2),
    )  # fmt: skip
    lab.run(1)
    lab.client(crowd, 2, Demand(wait_us=8_000_000))
    for at_s in (1.5, 2.0, 2.5):  # the listener counts when it has accepted the next one
        lab.at(at_s, ask, Seen())
    lab.run(6)
    assert lab.board.quiescing[0] == 1
    assert lab.letters().count("W") == 2
    lab.run(60)
    seen = Seen()
    lab.client(ask, seen)
    lab.run(61)
    assert seen.whats() == ["connected", "200"]


def test_the_limit_is_said_once() -> None:
    """prefork at MaxRequestWorkers: AH00161 once in the parent's life, however long it lasts and
    however often it restarts."""
    lab = Lab("prefork", {"MaxRequestWorkers": 8, "ServerLimit": 8})
    lab.run(1)
    lab.client(crowd, 20, STUCK)
    lab.run(10)
    lab.signal(Signal.HUP)
    lab.run(12)
    lab.client(crowd, 20, STUCK)
    lab.run(30)
    assert len(lab.logged("AH00161")) == 1
