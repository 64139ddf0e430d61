"""Spare servers: the vectors observed on httpd, and each rule on its own.

Random boards against a direct transcription of the rules are in test_scoreboard.py, the kill ladder
and the respawn rule in test_timeouts.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from mpmlab.core.directives import effective
from mpmlab.core.scoreboard import BUSY_WRITE, DEAD, GRACEFUL, READY, STARTING, Scoreboard
from mpmlab.core.settings import Settings
from mpmlab.core.spare import (
    Decision,
    SpareState,
    connections_above_limit,
    event_spares,
    prefork_spares,
    worker_spares,
)

Spares = Callable[[Scoreboard, Settings, SpareState], Decision]
RULES: dict[str, Spares] = {
    "prefork": prefork_spares,
    "worker": worker_spares,
    "event": event_spares,
}
THREADED = ("worker", "event")


class Pool:
    """A server whose children start at once and take the stuck requests there are: what the
    decisions are applied to, one pass a second."""

    def __init__(self, mpm: str, **directives: int) -> None:
        self.settings = effective(mpm, {name: str(n) for name, n in directives.items()})
        self.board = Scoreboard(self.settings.server_limit, self.settings.thread_limit)
        self.state = SpareState()
        self.stuck = 0
        self.pids = itertools.count(100)
        self.log: list[str] = []
        self.fork(*range(self.settings.start_servers))

    def fork(self, *slots: int) -> None:
        """Children with all their threads ready."""
        for slot in slots:
            assert not self.board.pid[slot]
            self.board.pid[slot] = next(self.pids)
            self.board.generation_of[slot] = self.board.generation
            self.state.active_daemons += 1
            self.state.total_daemons += 1
            self.fill(slot, READY)

    def fill(self, slot: int, status: int) -> None:
        """All threads of a child get a status."""
        threads = self.settings.threads_per_child
        self.board.row(slot, threads)[:] = bytes([status]) * threads

    def reap(self, slot: int) -> None:
        """The child is gone."""
        self.state.active_daemons -= self.board.quiescing[slot] != 2
        self.state.total_daemons -= 1
        self.board.clear_slot(slot)

    def serve(self) -> None:
        """Stuck requests occupy ready threads, lowest slot first."""
        busy = bytes(self.board.status).count(BUSY_WRITE)
        for cell in range(self.board.cells):
            if busy < self.stuck and self.board.status[cell] == READY:
                self.board.set(cell, BUSY_WRITE)
                busy += 1

    def second(self) -> Decision:
        """One pass, and its forks."""
        self.serve()
        decision = RULES[self.settings.mpm](self.board, self.settings, self.state)
        self.log += [message.ident for message in decision.messages]
        self.fork(*decision.fork_slots)
        return decision

    @property
    def children(self) -> int:
        """How many there are."""
        return sum(pid != 0 for pid in self.board.pid)

    def seconds(self, count: int) -> list[int]:
        """The number of children after each of so many passes."""
        numbers = []
        for _ in range(count):
            self.second()
            numbers.append(self.children)
        return numbers


def threaded(mpm: str, **directives: int) -> Pool:
    """The pool of section 21's vectors 2 and 3, with changes."""
    given = {
        "StartServers": 1,
        "ServerLimit": 40,
        "ThreadsPerChild": 4,
        "MaxRequestWorkers": 160,
        "MinSpareThreads": 20,
        "MaxSpareThreads": 40,
    }
    return Pool(mpm, **{**given, **directives})


# ---- the vectors observed on httpd 2.4.71 (section 21) ----


def test_prefork_burst() -> None:
    """Vector 1: 5 idle children, 100 stuck requests: 6, 8, 12, 20, 36, 68, 100, 120 children; busy
    from the +8 step on; at the maximum it says so once, if no child is idle."""
    pool = Pool("prefork", StartServers=5, ServerLimit=120, MaxRequestWorkers=120)
    assert pool.second() == Decision()
    pool.stuck = 100
    # five are busy at t=0, and the burst's requests are taken by whoever is there
    assert pool.seconds(8) == [6, 8, 12, 20, 36, 68, 100, 120]
    assert pool.log == ["AH00162"] * 5
    pool.stuck = 120
    assert pool.seconds(3) == [120] * 3
    assert pool.log == ["AH00162"] * 5 + ["AH00161"]


@pytest.mark.parametrize(("mpm", "near"), [("worker", "AH00287"), ("event", "AH10159")])
def test_threaded_start_and_burst(mpm: str, near: str) -> None:
    """Vectors 2 and 3: 1, 2, 4, 8 children until 20 threads are idle, then 150 stuck requests bring
    9, 11, 15, 23, 39, 40; being near the maximum is said once."""
    pool = threaded(mpm)
    assert [pool.children, *pool.seconds(5)] == [1, 2, 4, 8, 8, 8]
    pool.stuck = 150
    assert pool.seconds(6) == [9, 11, 15, 23, 39, 40]
    assert pool.seconds(5) == [40] * 5
    busy = {"worker": "AH00289", "event": "AH00486"}[mpm]
    assert pool.log == [busy] * 3 + [near]


def test_what_the_busy_lines_count() -> None:
    """prefork tells its rate, worker and event how many they start; event calls all its children
    shutting down, httpd's own slip, and we say what they are: all of them."""
    pool = Pool("prefork", StartServers=4, ServerLimit=10, MinSpareServers=9)
    pool.stuck, pool.state.rate = 3, 8
    assert "starting 8 children; 1 idle, 4 in all" in pool.second().messages[0].text
    for mpm, text in (("worker", ", 6 children in all"), ("event", "4 active children of 5")):
        crew = threaded(mpm, StartServers=5, ServerLimit=7, MaxRequestWorkers=28)
        crew.board.quiescing[4] = 1
        crew.board.set(crew.board.thread_limit * 4, GRACEFUL)  # that row is dying
        crew.stuck, crew.state.rate = 16, 8
        found = crew.second().messages[0].text
        assert "starting 2 children; about 0 idle threads, " in found
        assert text in found


@pytest.mark.parametrize(("mpm", "full"), [("worker", "AH00288"), ("event", "AH03490")])
def test_a_low_server_limit_is_reported_every_pass(mpm: str, full: str) -> None:
    """Vector 14: ServerLimit 2, ThreadsPerChild 4, MaxRequestWorkers 100, 14 stuck: 2 children, and
    "scoreboard is full" at each pass, never that MaxRequestWorkers is reached."""
    pool = threaded(mpm, StartServers=2, ServerLimit=2, MaxRequestWorkers=100)
    pool.stuck = 14
    assert pool.seconds(7) == [2] * 7
    assert pool.log == [full] * 7


@pytest.mark.parametrize(("mpm", "reached"), [("worker", "AH00286"), ("event", "AH00484")])
def test_the_maximum_is_reported_once(mpm: str, reached: str) -> None:
    """All threads busy at MaxRequestWorkers: one line in the parent's life, not one per burst."""
    pool = threaded(mpm, StartServers=40)
    pool.stuck = 160
    pool.seconds(3)
    for slot in range(40):
        pool.fill(slot, READY)
    pool.stuck = 0
    pool.second()
    pool.stuck = 160
    pool.seconds(3)
    assert pool.log == [reached]


def test_prefork_and_worker_shrink_by_one_a_pass() -> None:
    """Section 1.1: one child a second, down to the most spares allowed."""
    pool = Pool("prefork", StartServers=20)
    for left in range(19, 9, -1):
        assert pool.second() == Decision(kill_one=True)
        pool.reap(left)
    assert pool.second() == Decision()
    crew = threaded("worker", StartServers=12)
    assert crew.second().kill_one
    crew.reap(11)
    assert crew.second().kill_one
    crew.reap(10)
    assert crew.second() == Decision()


def shrink(pool: Pool, passes: int) -> list[bool]:
    """Which passes kill; a victim is quiescing at the next pass, and reaped right after it."""
    kills, victim = [], 0
    for _ in range(passes):
        kills.append(pool.second().kill_one)
        if victim:
            pool.reap(victim)
        victim = 0
        if kills[-1]:
            victim = max(slot for slot in range(pool.settings.server_limit) if pool.board.pid[slot])
            pool.board.quiescing[victim] = 1
            pool.fill(victim, GRACEFUL)
    return kills


def test_event_shrinks_every_other_pass_at_the_default_server_limit() -> None:
    """Vector 3: with ServerLimit = MaxRequestWorkers / ThreadsPerChild the pass after a kill waits
    for the victim; with headroom for a whole restart it does not (4.4)."""
    assert shrink(threaded("event", StartServers=30), 6) == [True, False] * 3
    assert shrink(threaded("event", StartServers=30, ServerLimit=90), 6) == [True] * 6
    # just enough is not enough: 70 - 30 children is not more than the 40 that may be active
    assert shrink(threaded("event", StartServers=30, ServerLimit=70), 2) == [True, False]
    assert shrink(threaded("event", StartServers=30, ServerLimit=71), 2) == [True, True]


# ---- rules one by one ----


def test_hold_off_keeps_the_rate_for_ten_spawning_passes() -> None:
    """After a graceful restart the rate does not double until ten passes have spawned."""
    pool = Pool("prefork", StartServers=1, MinSpareServers=200)
    pool.state.hold_off = 10
    assert [len(pool.second().fork_slots) for _ in range(14)] == [1] * 11 + [2, 4, 8]
    assert pool.state.hold_off == 0


@pytest.mark.parametrize("mpm", RULES)
def test_a_pass_with_enough_spares_resets_the_rate(mpm: str) -> None:
    """Doubling starts again from 1 whenever a pass finds the spares in order."""
    pool = Pool("prefork") if mpm == "prefork" else threaded(mpm, StartServers=6)
    pool.state.rate = 16
    assert pool.second() == Decision()
    assert pool.state.rate == 1


def test_the_rate_stops_at_32() -> None:
    """MAX_SPAWN_RATE: +1, +2, ... +32, +32."""
    pool = Pool("prefork", StartServers=1, MinSpareServers=200, MaxSpareServers=250)
    assert [len(pool.second().fork_slots) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 32, 32]


@pytest.mark.parametrize("mpm", THREADED)
def test_starting_children_count_as_idle(mpm: str) -> None:
    """DEAD and STARTING threads of a live process are idle, or a slow start would bring a flood."""
    pool = threaded(mpm, StartServers=6)
    pool.fill(4, STARTING)
    pool.fill(5, DEAD)
    assert pool.second() == Decision()


@pytest.mark.parametrize("mpm", THREADED)
def test_old_and_quiescing_children_are_not_idle(mpm: str) -> None:
    """Only processes of this generation that are not on their way out have idle threads."""
    pool = threaded(mpm, StartServers=6)
    pool.board.generation_of[1] = 7
    assert len(pool.second().fork_slots) == 0  # 20 idle of 20 wanted
    pool.board.quiescing[2] = 1
    assert pool.second().fork_slots == (6,)


def test_children_that_do_not_accept_are_idle_for_worker_only() -> None:
    """event counts no idle thread of a process whose listening is disabled."""
    for mpm, forks in (("worker", ()), ("event", (5,))):
        pool = threaded(mpm, StartServers=5)
        pool.board.not_accepting[0] = 1
        assert pool.second().fork_slots == forks


def test_worker_squats_and_prefers_empty_slots() -> None:
    """A slot whose process is quiescing may be taken over once a thread is dead, but after the
    slots with no thread left in them."""
    pool = threaded("worker", StartServers=4)
    pool.board.quiescing[0] = pool.board.quiescing[1] = pool.board.quiescing[2] = 1
    pool.board.row(0, 4)[:] = bytes((BUSY_WRITE, DEAD, DEAD, GRACEFUL))  # in use, one seat free
    pool.board.row(1, 4)[:] = bytes((DEAD, GRACEFUL, DEAD, DEAD))  # nobody left
    pool.board.row(2, 4)[:] = bytes((BUSY_WRITE,) * 4)  # no seat free
    pool.state.rate = 3
    decision = worker_spares(pool.board, pool.settings, pool.state)
    # the second empty slot sends slot 0 to the end; with rate 3 the third one sends it out
    assert decision.fork_slots == (1, 4, 5)
    pool.state.rate = 1
    assert worker_spares(pool.board, pool.settings, pool.state).fork_slots == (1,)


def test_event_never_squats_and_counts_the_quiescing_once() -> None:
    """quiescing goes from 1 to 2 and takes the child off the active ones, once."""
    pool = threaded("event", StartServers=4)
    pool.board.quiescing[2] = 1
    pool.fill(2, DEAD)
    assert event_spares(pool.board, pool.settings, pool.state).fork_slots == (4,)
    assert (pool.board.quiescing[2], pool.state.active_daemons) == (2, 3)
    event_spares(pool.board, pool.settings, pool.state)
    assert (pool.board.quiescing[2], pool.state.active_daemons, pool.state.total_daemons) == (
        2,
        3,
        4,
    )


def test_event_keeps_to_its_limit_of_active_children() -> None:
    """With slots left over (ServerLimit 50) no more than 40 active children are wanted: forks are
    cut to what is missing, then cancelled with the rate back at 1."""
    pool = threaded("event", StartServers=38, ServerLimit=50, MinSpareThreads=300)
    pool.state.rate = 16
    assert pool.second().fork_slots == (38, 39)
    assert pool.state.rate == 32
    pool.fill(0, STARTING)  # or MaxRequestWorkers would be reached
    assert pool.second() == Decision()
    assert (pool.state.rate, pool.state.hold_off) == (1, 0)
    pool.state.hold_off = 3
    pool.second()
    assert pool.state.hold_off == 3


def test_event_says_the_maximum_before_it_says_full() -> None:
    """event tests MaxRequestWorkers before free slots, worker only without free slots: with room on
    the board and MaxRequestWorkers reached, worker cannot be, event reports."""
    pool = threaded("event", StartServers=40, ServerLimit=60)
    pool.stuck = 160
    assert [m.ident for m in pool.second().messages] == ["AH00484"]


@pytest.mark.parametrize(("mpm", "ident"), [("worker", "AH02325"), ("event", "AH02324")])
def test_sick_children(mpm: str, ident: str) -> None:
    """A sick child is fatal if no child ever had all its threads going, and forgiven otherwise."""
    pool = threaded(mpm)
    pool.fill(0, STARTING)
    pool.state.sick_child_detected = True
    decision = pool.second()
    assert decision.fatal
    assert [(m.level, m.ident) for m in decision.messages] == [("alert", ident)]
    assert decision.fork_slots == ()
    pool.fill(0, READY)
    assert not pool.second().fatal
    assert not pool.state.sick_child_detected
    pool.fill(0, DEAD)  # once healthy is enough
    pool.state.sick_child_detected = True
    assert not pool.second().fatal


def test_prefork_fills_the_lowest_slots() -> None:
    """Dead children leave holes, and the holes are filled first."""
    pool = Pool("prefork", StartServers=8)
    for slot in (1, 3, 4, 6):
        pool.reap(slot)
    pool.state.rate = 2
    assert pool.second().fork_slots == (1, 3)
    assert pool.state.watermark == 8


# ---- event's limit of connections ----


@pytest.mark.parametrize(
    ("factor", "accepted"), [(None, 12), ("2", 12), ("1", 8), ("1.5", 8), ("1.9", 8), ("3", 16)]
)
def test_how_many_idle_connections_a_process_takes(factor: str | None, accepted: int) -> None:
    """Vector 4 and section 4.3: (floor(F) + 1) * ThreadsPerChild, with 4 threads, all idle."""
    given = {"ThreadsPerChild": "4"} | ({"AsyncRequestWorkerFactor": factor} if factor else {})
    floor = effective("event", given).async_factor_floor
    connections = 0
    while not connections_above_limit(4, connections, 0, 4, floor, False)[0]:
        connections += 1
    assert connections == accepted


def test_connections_are_refused_although_threads_are_idle() -> None:
    """6 keep-alives and 2 busy threads are 8 >= 4 + 2 * 2, with 2 idle threads: above, not busy."""
    assert connections_above_limit(2, 8, 0, 4, 2, False) == (True, False)
    assert connections_above_limit(2, 7, 0, 4, 2, False) == (False, False)


def test_no_idle_worker_is_busy() -> None:
    """Then any number of connections is too many."""
    assert connections_above_limit(0, 0, 0, 4, 2, False) == (True, True)
    assert connections_above_limit(0, 9, 9, 4, 2, True) == (True, True)


def test_lingering_connections_do_not_count() -> None:
    """Only those that are not lingering are compared; if all linger there is room in any case."""
    assert connections_above_limit(4, 20, 9, 4, 2, False) == (False, False)
    assert connections_above_limit(4, 20, 8, 4, 2, False) == (True, False)
    assert connections_above_limit(1, 500, 500, 4, 2, True) == (False, False)


def test_listening_comes_back_a_worker_later_than_it_went() -> None:
    """While disabled one idle worker is discounted: no flip-flop at the limit."""
    assert connections_above_limit(3, 9, 0, 4, 2, False) == (False, False)
    assert connections_above_limit(3, 9, 0, 4, 2, True) == (True, False)
    assert connections_above_limit(3, 7, 0, 4, 2, True) == (False, False)
