"""Time-outs: exact, in order, and cheap for those that are never reached."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from mpmlab.core.platform import Platform
from mpmlab.kernel.interface import Kernel, Queue, Steps
from mpmlab.sim.clock import INF, Clock
from mpmlab.sim.deadlines import Deadlines
from mpmlab.sim.world import World

from .worlds import NOTHING

PLATFORM = Platform(costs=NOTHING, cores=1000)


class Waiter:
    """A thread as Deadlines sees it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.entry_s = INF
        self.deadline = INF
        self.cell: list[Any] = [self]
        self.timed_out: list[float] = []

    def wait_until(self, deadlines: Deadlines, deadline: float) -> None:
        """As SimThread.block does."""
        self.deadline = deadline
        if deadline < self.entry_s:
            deadlines.set(self, deadline)

    def time_out(self) -> None:
        self.deadline = INF
        self.timed_out.append(self.clock.now)


def test_each_at_its_own_deadline() -> None:
    """Whatever the order in which they were set, and several at one time."""
    clock = Clock()
    deadlines = Deadlines(clock)
    waiters = [Waiter(clock) for _ in range(5)]
    times = [3.0, 1.0, 2.0, 1.0, 7.5]
    for waiter, time_s in zip(waiters, times, strict=True):
        waiter.wait_until(deadlines, time_s)
    clock.run_until(INF)
    assert [waiter.timed_out for waiter in waiters] == [[time_s] for time_s in times]


def test_an_earlier_wait_and_a_later_one() -> None:
    """A wait that ends leaves nothing behind: neither an early end for the next wait, nor a late
    one."""
    clock = Clock()
    deadlines = Deadlines(clock)
    later, sooner = Waiter(clock), Waiter(clock)
    later.wait_until(deadlines, 1.0)
    later.wait_until(deadlines, 5.0)
    sooner.wait_until(deadlines, 5.0)
    sooner.wait_until(deadlines, 2.0)
    clock.run_until(INF)
    assert later.timed_out == [5.0]
    assert sooner.timed_out == [2.0]


def test_the_ended_are_forgotten() -> None:
    """An entry whose thread has ended neither rings nor keeps its memory."""
    clock = Clock()
    deadlines = Deadlines(clock)
    waiter = Waiter(clock)
    waiter.wait_until(deadlines, 10.0)
    waiter.cell[0] = None
    memory = weakref.ref(waiter)
    del waiter
    gc.collect()
    assert memory() is None
    clock.run_until(INF)
    assert clock.events == 1


def test_a_wait_lasts_exactly_its_time_out() -> None:
    """get with a time-out, three times, each shorter or longer than the one before."""

    def main(k: Kernel) -> Steps[int]:
        queue = k.queue()
        for timeout_s in (2.0, 0.5, 4.0):
            start = k.now()
            assert (yield k.get(queue, timeout_s)) is None
            assert k.now() - start == pytest.approx(timeout_s, abs=1e-12)
        return 0

    world = World(PLATFORM)
    world.run(until_exit=world.spawn(main))
    assert world.now == pytest.approx(6.5)


def test_time_outs_that_are_not_reached_cost_few_events() -> None:
    """A thousand waits of a hundred threads, each with a time-out of 30 s: next to no events more
    than without."""

    def gets(k: Kernel, queue: Queue, timeout_s: float | None) -> Steps[None]:
        for _ in range(10):
            yield k.get(queue, timeout_s)

    def main(k: Kernel, timeout_s: float | None) -> Steps[int]:
        queue = k.queue()
        for _ in range(100):
            yield k.thread(gets, queue, timeout_s)
        for i in range(1000):
            yield k.sleep(0.01)
            yield k.put(queue, i + 1)
        yield k.sleep(0.1)
        return 0

    events = []
    for timeout_s in (None, 30.0):
        world = World(PLATFORM)
        world.run(until_exit=world.spawn(main, timeout_s))
        events.append(world.events)
    assert events[0] <= events[1] < events[0] + 5
