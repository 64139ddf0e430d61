"""Spare threads of netware, os2 and beos: each rule on its own, with and without the quirks, and
random boards against a direct transcription of mpm-reference.md sections 6.2 and 8.2.

Boards are written in mod_status' letters: "_" is READY, "W" busy, "I" asked to end, "." DEAD. The
rules of the MPMs of Unix are test_spare.py's.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from mpmlab.core.directives import effective
from mpmlab.core.scoreboard import DEAD, IDLE_KILL, LETTERS, READY, Scoreboard
from mpmlab.core.settings import Settings
from mpmlab.core.spare_native import (
    ThreadDecision,
    ThreadState,
    beos_spares,
    netware_spares,
    os2_missing,
    os2_spares,
)

Rule = Callable[[Scoreboard, Settings, ThreadState], ThreadDecision]
RULES: dict[str, Rule] = {"netware": netware_spares, "beos": beos_spares}
NOTHING = ThreadDecision()


class Pool:
    """A server whose threads start at once: what decisions are applied to, one pass a second."""

    def __init__(self, mpm: str, cells: str = "", **directives: int | str) -> None:
        self.settings = effective(mpm, {name: str(value) for name, value in directives.items()})
        self.board = Scoreboard(self.settings.server_limit, self.settings.thread_limit)
        self.state = ThreadState()
        self.log: list[str] = []
        self.put(cells)

    def put(self, cells: str) -> None:
        """The first cells get these statuses."""
        for cell, letter in enumerate(cells):
            self.board.set(cell, LETTERS.index(letter))

    def second(self) -> ThreadDecision:
        """One pass, and what it wants."""
        decision = RULES[self.settings.mpm](self.board, self.settings, self.state)
        self.log += [message.ident for message in decision.messages]
        for cell in decision.start:
            assert self.board.status[cell] == DEAD
            self.board.set(cell, READY)
        if decision.end is not None:
            self.board.set(decision.end, IDLE_KILL)
        return decision

    def starts(self, passes: int) -> list[int]:
        """How many threads each of so many passes starts."""
        return [len(self.second().start) for _ in range(passes)]


# ---- netware and beos: the rate ----


def test_netware_doubles_to_64() -> None:
    """1, 2, 4 ... 64, 64, then what is left; busy from the +8 step on; then there are enough."""
    pool = Pool("netware", MaxThreads=200, MinSpareThreads=200)
    assert pool.starts(10) == [1, 2, 4, 8, 16, 32, 64, 64, 9, 0]
    assert pool.log == ["AH00221"] * 6
    assert pool.state.rate == 1


def test_beos_doubles_to_32() -> None:
    """1, 2, 4 ... 32 and no more than that; the rate is reset when no cell is free."""
    pool = Pool("beos")
    assert pool.starts(6) == [1, 2, 4, 8, 16, 19]
    assert pool.state.rate == 32
    assert pool.second() == NOTHING
    assert pool.state.rate == 1
    pool = Pool("beos")
    pool.state.rate = 32
    assert pool.starts(2) == [32, 18]
    assert pool.state.rate == 32


@pytest.mark.parametrize("mpm", RULES)
def test_hold_off_keeps_the_rate(mpm: str) -> None:
    """After a graceful restart the rate does not double until ten passes have started threads."""
    pool = Pool(mpm, MinSpareThreads=200)
    pool.state.hold_off = 10
    assert pool.starts(14) == [1] * 11 + [2, 4, 8]
    assert pool.state.hold_off == 0


@pytest.mark.parametrize(
    ("mpm", "cells"),
    [
        ("netware", "__"),  # enough
        ("netware", "____"),  # too many
        ("netware", "WWWWWW"),  # no free cell
        ("beos", "WWWWWW"),
        ("beos", "___"),  # enough
    ],
)
def test_a_pass_that_starts_nothing_resets_the_rate(mpm: str, cells: str) -> None:
    """Doubling begins again from 1; the hold-off is for passes that start threads. A full beos
    does so in any case, one with enough idle threads without the quirk only."""
    size = {"MaxThreads": 6} if mpm == "netware" else {"MaxClients": 6}
    pool = Pool(mpm, cells, MinSpareThreads=2, MaxSpareThreads=3, Quirks="Off", **size)
    pool.state.rate, pool.state.hold_off = 16, 3
    assert pool.second().start == ()
    assert (pool.state.rate, pool.state.hold_off) == (1, 3)


@pytest.mark.parametrize("mpm", RULES)
def test_the_lowest_free_cells_are_filled(mpm: str) -> None:
    """Holes first, in order; the watermark is one more than the highest cell in use."""
    pool = Pool(mpm, "W.W..W", MinSpareThreads=9)
    pool.state.rate = 2
    assert pool.second().start == (1, 3)
    assert pool.state.watermark == 6
    assert pool.second().start == (4, 6, 7, 8)
    assert pool.state.watermark == 9


@pytest.mark.parametrize("mpm", RULES)
def test_threads_above_the_watermark_are_seen(mpm: str) -> None:
    """The search for free cells may end early, but not below a thread that lives."""
    pool = Pool(mpm, "......_", MinSpareThreads=1, Quirks="Off")
    assert pool.second() == NOTHING
    assert pool.state.watermark == 7


@pytest.mark.parametrize(("mpm", "left"), [("netware", 2), ("beos", 4)])
def test_the_watermark_comes_down(mpm: str, left: int) -> None:
    """It follows the threads that live; to netware one that was asked to end does not count."""
    pool = Pool(mpm, "W_.I", MinSpareThreads=1, Quirks="Off")
    pool.state.watermark = 30
    assert pool.second() == NOTHING
    assert pool.state.watermark == left


# ---- netware ----


@pytest.mark.parametrize(
    ("cells", "started"),
    [
        ("", (0,)),
        ("_", (1,)),
        ("_S", ()),
        ("_W", (2,)),
        ("RWKLDCG", (7,)),  # none of these is idle
        ("_I", (2,)),  # asked to end: not idle, and its cell is not free
        ("I.", (1,)),
        ("__W", ()),
    ],
)
def test_netware_wants_its_least_spares(cells: str, started: tuple[int, ...]) -> None:
    """STARTING and READY are idle; what was asked to end is neither idle nor free."""
    pool = Pool("netware", cells, MinSpareThreads=2)
    assert pool.second() == ThreadDecision(started)


@pytest.mark.parametrize(
    ("cells", "with_quirks", "without"),
    [
        ("___", 2, 2),
        ("__S", 2, 2),
        ("___W", 3, 2),  # the busy one
        ("_W__RK", 5, 3),
        ("___G", 3, 2),  # a thread that ends by itself is not dead yet
        ("___I", 2, 2),
        ("___WI", 3, 2),
        ("I_I_I_I", 5, 5),
        ("___.W.", 4, 2),
        ("__", None, None),  # as many as are allowed
        ("__WW", None, None),
        ("__I", None, None),
        ("_IIII_", None, None),
    ],
)
def test_whom_netware_ends(cells: str, with_quirks: int | None, without: int | None) -> None:
    """With more idle threads than MaxSpareThreads the last of all that live is asked to end, even
    if it is busy; without quirks the last idle one. Those already asked are not counted."""
    for quirks, end in (("On", with_quirks), ("Off", without)):
        pool = Pool("netware", cells, MinSpareThreads=1, MaxSpareThreads=2, Quirks=quirks)
        assert pool.second() == ThreadDecision(end=end)


@pytest.mark.parametrize("quirks", ["On", "Off"])
def test_netware_shrinks_by_one_a_pass(quirks: str) -> None:
    """One thread a second, from the top, down to the most spares allowed."""
    pool = Pool("netware", "______", MinSpareThreads=1, MaxSpareThreads=2, Quirks=quirks)
    assert [pool.second().end for _ in range(6)] == [5, 4, 3, 2, None, None]
    assert pool.board.letters()[:6] == "__IIII"


def test_a_busy_thread_can_be_asked_in_vain() -> None:
    """It overwrites the order with its next status, and is then asked again, pass after pass,
    while the idle ones stay."""
    pool = Pool("netware", "___W", MinSpareThreads=1, MaxSpareThreads=2)
    for _ in range(3):
        assert pool.second().end == 3
        pool.put("___W")


def test_the_maximum_is_reported_once() -> None:
    """No idle thread and no free cell: one error in the server's life, not one per pass; a thread
    that was asked to end has its cell still."""
    pool = Pool("netware", "WWWI", MaxThreads=4, MinSpareThreads=1)
    decision = pool.second()
    assert [(m.level, m.ident) for m in decision.messages] == [("error", "AH00220")]
    assert "MaxThreads is reached" in decision.messages[0].text
    assert (decision.start, decision.end) == ((), None)
    for cells in ("WWWI", "W_WW", "WWWW"):
        pool.put(cells)
        assert pool.second() == NOTHING


@pytest.mark.parametrize(("rate", "says"), [(4, False), (8, True), (64, True)])
def test_netware_says_when_it_seems_busy(rate: int, says: bool) -> None:
    """From a rate of 8 on, at each pass that starts threads; it tells the rate, who is idle, and
    how many there are without those asked to end."""
    pool = Pool("netware", "____WI", MaxThreads=100)
    pool.state.rate = rate
    messages = pool.second().messages
    assert [(m.level, m.ident) for m in messages] == [("info", "AH00221")] * says
    if says:
        assert f"starting {rate} threads; 4 idle, 5 in all" in messages[0].text


# ---- beos ----


def test_beos_ignores_who_is_idle() -> None:
    """A quirk: ten idle threads are far more than MinSpareThreads and MaxSpareThreads, and the pool
    grows until it is full all the same. Nobody is asked to end then, and nothing is said."""
    pool = Pool("beos", "_" * 10, MinSpareThreads=1, MaxSpareThreads=2)
    assert pool.starts(8) == [1, 2, 4, 8, 16, 9, 0, 0]
    assert pool.second() == NOTHING
    assert pool.log == []


@pytest.mark.parametrize(
    ("cells", "started"),
    [
        ("", (0,)),
        ("__", (2,)),
        ("_S", (2,)),
        ("__W", (3,)),
        ("__RWKLDCG", (9,)),
        ("___", ()),
        ("_W_W_", ()),
        ("_" * 30, ()),  # above MaxSpareThreads: nobody is asked to end
    ],
)
def test_beos_without_quirks(cells: str, started: tuple[int, ...]) -> None:
    """Threads are started while fewer than MinSpareThreads are idle, as its documentation says."""
    pool = Pool("beos", cells, MinSpareThreads=3, MaxSpareThreads=5, Quirks="Off")
    assert pool.second() == ThreadDecision(started)
    assert pool.state.rate == (2 if started else 1)


# ---- os2 ----


@pytest.mark.parametrize(
    ("idle", "pending", "needed", "with_quirks", "without"),
    [
        (0, 0, 5, False, False),  # all at once: no doubling
        (2, 0, 3, False, False),
        (5, 0, 0, False, False),
        (10, 0, 0, False, False),
        (11, 0, 0, True, True),
        (13, 3, 0, False, False),  # those that wait will be served by three of them
        (14, 3, 0, True, True),
        (5, 5, 5, False, False),  # zero is not below zero
        (3, 5, 7, True, False),  # an unsigned difference below zero is large
        (0, 100, 105, True, False),
    ],
)
def test_os2(idle: int, pending: int, needed: int, with_quirks: bool, without: bool) -> None:
    """MinSpareThreads 5 beyond the queue, at once; above MaxSpareThreads 10 one is to end, and with
    the quirk also when more wait than are idle."""
    for quirks, end_one in (("On", with_quirks), ("Off", without)):
        settings = effective("os2", {"Quirks": quirks})
        assert os2_spares(idle, pending, settings) == (needed, end_one)


def test_os2_may_start_and_end_in_one_pass() -> None:
    """Its spares are not compared with one another: a least above the most does both."""
    settings = effective("os2", {"MinSpareThreads": "5", "MaxSpareThreads": "2"})
    assert os2_spares(3, 0, settings) == (2, True)


@pytest.mark.parametrize(
    ("children", "start_servers", "slots"),
    [
        ("", 0, ()),
        ("", 2, (0, 1)),
        ("", 10, tuple(range(10))),
        ("AA", 2, ()),
        ("A", 3, (1, 2)),
        (".A", 2, (0,)),
        ("A.A.", 4, (1, 3)),
        ("QA", 2, (2,)),  # the one that quiesces is replaced, elsewhere
        ("AAA", 2, ()),  # StartServers was lowered
        ("QQQQQQQQQA", 2, ()),  # no slot is empty
        ("QQQQQQQQ.A", 5, (8,)),
    ],
)
def test_os2_missing(children: str, start_servers: int, slots: tuple[int, ...]) -> None:
    """So many as do not quiesce ("A"); those that do ("Q") keep their slots until they are gone."""
    settings = effective("os2", {"StartServers": str(start_servers)})
    board = Scoreboard(settings.server_limit, settings.thread_limit)
    for slot, kind in enumerate(children):
        board.pid[slot] = 0 if kind == "." else 100 + slot
        board.quiescing[slot] = kind == "Q"
    assert os2_missing(board, settings) == slots


# ---- against a direct transcription ----


def grow(st: ThreadState, most: int, free: list[int]) -> tuple[int, ...]:
    """make_worker raises the watermark; the end of a pass that starts threads."""
    st.watermark = max(st.watermark, free[-1] + 1)
    if st.hold_off > 0:
        st.hold_off -= 1
    elif st.rate < most:
        st.rate *= 2
    return tuple(free)


def naive(board: Scoreboard, s: Settings, st: ThreadState) -> tuple[tuple[int, ...], int | None]:
    """Sections 6.2 and 8.2, line by line: (cells, whom to end)."""
    netware = s.mpm == "netware"
    free: list[int] = []
    idle, last, last_idle = 0, -1, -1
    for i in range(s.threads_per_child):
        if i >= st.watermark and len(free) == st.rate:
            break
        status = board.status[i]
        if status == DEAD:
            if len(free) < st.rate:
                free.append(i)
        elif not (netware and status == IDLE_KILL):
            last = i
            if status <= READY:
                idle, last_idle = idle + 1, i
    st.watermark = last + 1
    if netware and idle > s.max_spare_threads:
        st.rate = 1
        return (), last if s.quirks else last_idle
    if not free or (idle >= s.min_spare_threads and (netware or not s.quirks)):
        st.rate = 1
        return (), None
    return grow(st, 64 if netware else 32, free), None


def random_pool(rng: random.Random, mpm: str) -> Pool:
    """Threads of all kinds, and a state that goes with them."""
    kinds = (4, 1, 4, 1, 1, 1, 1, 1, 1, 1, 1)  # how often each status is there
    size = rng.choice((1, 2, 5, 20, 50))
    limit = {"MaxThreads": size} if mpm == "netware" else {"MaxClients": size}
    pool = Pool(
        mpm,
        "".join(rng.choices(LETTERS, kinds, k=rng.randint(0, size))),
        MinSpareThreads=rng.choice((1, 2, rng.randint(1, size))),
        MaxSpareThreads=rng.choice((1, 5, rng.randint(1, size))),
        Quirks=rng.choice(("On", "Off")),
        **limit,
    )
    top = len(bytes(pool.board.status).rstrip(bytes((DEAD,))))
    pool.state.rate = rng.choice((1, 1, 2, 4, 8, 32))
    pool.state.hold_off = rng.choice((0, 0, 1, 10))
    pool.state.watermark = rng.randint(top, size)  # never below a thread: each start raises it
    return pool


@pytest.mark.parametrize("mpm", RULES)
def test_random_boards_against_the_transcription(mpm: str) -> None:
    """Each pass decides as the transcription does, leaves the same state, and only reads."""
    rng = random.Random(f"spare threads {mpm}")
    seen: set[str] = set()
    for _ in range(600):
        pool = random_pool(rng, mpm)
        before, state = pool.board.letters(), pool.state
        other = ThreadState(state.rate, state.hold_off, state.watermark)
        decision = RULES[mpm](pool.board, pool.settings, state)
        assert (decision.start, decision.end) == naive(pool.board, pool.settings, other), before
        assert pool.board.letters() == before
        for name in ("rate", "hold_off", "watermark"):
            assert getattr(state, name) == getattr(other, name), (name, before)
        seen.add("start" if decision.start else "nothing" if decision.end is None else "end")
    assert seen == ({"start", "nothing", "end"} if mpm == "netware" else {"start", "nothing"})
