"""Processes: signals, deaths and what the system does about them."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from mpmlab.core.demand import Demand
from mpmlab.core.platform import Platform
from mpmlab.kernel.interface import Dead, Kernel, KernelError, Mutex, Queue, Signal, Steps
from mpmlab.sim.world import World, run_function

from .worlds import FREE, NOTHING, sleeps

TERM, HUP, USR1, KILL, SEGV = Signal.TERM, Signal.HUP, Signal.USR1, Signal.KILL, Signal.SEGV


def _crashes(k: Kernel) -> Steps[int]:
    yield k.work(Demand(cpu_us=1000, crash=True))
    return 0


def _dies_of_term(k: Kernel) -> Steps[int]:
    k.dies_of(TERM)
    yield k.sleep(100)
    return 0


def test_ways_to_die() -> None:
    """The parent reaps each child once, with its code or the signal that ended it."""

    def parent(k: Kernel) -> Steps[list[tuple[int, Signal | None]]]:
        pids = []
        for fn, args in ((sleeps, (1,)), (sleeps, (100,)), (_crashes, ()), (_dies_of_term, ())):
            pids.append((yield k.fork(fn, *args)))
        yield k.sleep(2)
        k.kill(pids[1], KILL)
        k.kill(pids[3], TERM)
        ends: dict[int, Dead] = {}
        while len(ends) < 4:
            dead = yield k.wait(None)
            ends[dead.pid] = dead
        assert (yield k.wait(0)) is None
        return [(ends[pid].code, ends[pid].signal) for pid in pids]

    assert run_function(parent, platform=FREE) == [(0, None), (-9, KILL), (-11, SEGV), (-15, TERM)]


def test_signals_are_facts_to_look_at() -> None:
    """A signal without dies_of is seen, in order, once each, until taken; it ends the main thread's
    wait at once; the next wait ends at once while it is pending."""
    seen: list[Any] = []

    def main(k: Kernel) -> Steps[int]:
        yield k.sleep(100)
        seen.append((k.now(), list(k.signals())))
        yield k.sleep(100)
        seen.append((k.now(), list(k.take_signals())))
        yield k.sleep(100)
        seen.append((k.now(), list(k.take_signals())))
        return 0

    world = World(Platform(costs=NOTHING))
    pid = world.spawn(main)
    world.at(1.0, lambda _now: [world.kill(pid, s) for s in (USR1, TERM, USR1)])
    world.at(5.0, lambda _now: world.kill(pid, HUP))
    world.run()
    assert seen == [(1.0, [USR1, TERM]), (1.0, [USR1, TERM]), (5.0, [HUP])]


def test_dies_of_a_pending_signal() -> None:
    """dies_of takes effect at once if the signal has come already: nothing after it is done."""
    seen: list[str] = []

    def main(k: Kernel) -> Steps[int]:
        yield k.sleep(10)
        k.dies_of(TERM)
        yield k.sleep(0)
        seen.append("alive")
        return 0

    world = World(FREE)
    pid = world.spawn(main)
    world.at(1.0, lambda _now: world.kill(pid, TERM))
    world.run()
    assert seen == []
    assert world.deaths[pid].signal is TERM


def test_the_deaf() -> None:
    """A thread in lock, and one in recv or poll, do not hear a signal; it is pending afterwards."""
    seen: list[Any] = []

    def holder(k: Kernel, mutex: Mutex) -> Steps[None]:
        yield k.lock(mutex)
        yield k.sleep(5)
        k.unlock(mutex)

    def main(k: Kernel) -> Steps[int]:
        mutex = k.mutex()
        yield k.thread(holder, mutex)
        yield k.sleep(1)
        yield k.lock(mutex)
        seen.append((k.now(), list(k.signals())))
        poller = k.poller()
        yield k.poll(poller, 2)
        seen.append((k.now(), list(k.signals())))
        return 0

    world = World(Platform(costs=NOTHING))
    pid = world.spawn(main)
    world.at(2.0, lambda _now: world.kill(pid, TERM))
    world.run()
    assert seen == [(5.0, [TERM]), (7.0, [TERM])]


def test_kill_runs_no_finally() -> None:
    """A killed process never runs again: not its code, not its finally blocks, not even when the
    garbage collector passes; nor do its threads."""
    ran: list[str] = []

    def thread(k: Kernel, name: str) -> Steps[None]:
        try:
            yield k.sleep(2)
            ran.append(name)
        finally:
            ran.append(f"finally of {name}")

    def main(k: Kernel) -> Steps[int]:
        for name in ("one", "two"):
            yield k.thread(thread, name)
        try:
            yield k.work(Demand(cpu_us=10_000_000))
        finally:
            ran.append("finally of main")
        return 0

    world = World(FREE)
    pid = world.spawn(main)
    world.at(1.0, lambda _now: world.kill(pid, KILL))
    world.spawn(sleeps, 10)
    world.run()
    gc.collect()
    assert ran == []
    assert world.cpu_seconds() == pytest.approx(1.0, rel=1e-6)  # its burst ended with it


def test_a_process_that_kills_itself() -> None:
    """The call returns, what follows until the next operation has no effect on others, and that
    operation never ends. A generator that returns instead is dead all the same."""
    effects: list[str] = []

    def child(k: Kernel, mutex: Mutex, then: bool) -> Steps[int]:
        yield k.lock(mutex)
        k.kill(k.pid(), KILL)
        k.unlock(mutex)
        if then:
            yield k.sleep(0)
            effects.append("alive")
        return 3

    world = World(FREE)
    mutex_of: list[Any] = []

    def parent(k: Kernel) -> Steps[int]:
        mutex_of.append(k.mutex(shared=True))
        yield k.sleep(5)
        return 0

    world.spawn(parent)
    world.at(1.0, lambda _now: world.spawn(child, mutex_of[0], True))
    world.at(2.0, lambda _now: world.spawn(child, mutex_of[0], False))
    world.run()
    assert effects == []
    assert [world.deaths[pid].signal for pid in (2, 3)] == [KILL, KILL]
    assert mutex_of[0].owner is None
    assert world.live_threads == 0


def _holds(k: Kernel, mutex: Mutex, got: Queue) -> Steps[int]:
    yield k.lock(mutex)
    yield k.put(got, "l")
    yield k.sleep(100)
    return 0


def test_shared_mutex_is_freed_by_death() -> None:
    """The next in line has the mutex of a dead owner at once; a dead waiter is passed over."""

    def parent(k: Kernel) -> Steps[tuple[str, str | None, str | None]]:
        mutex, got = k.mutex(shared=True), k.queue(shared=True)
        pids = []
        for _ in range(3):
            pids.append((yield k.fork(_holds, mutex, got)))
            yield k.sleep(1)
        first = yield k.get(got, 0)
        second = yield k.get(got, 0)
        k.kill(pids[1], KILL)  # waits
        yield k.sleep(1)
        k.kill(pids[0], KILL)  # holds
        third = yield k.get(got, 1)
        assert mutex.owner.pid == pids[2]  # type: ignore[attr-defined]
        return first, second, third

    assert run_function(parent, platform=FREE) == ("l", None, "l")


def test_main_returning_ends_the_threads() -> None:
    """The process ends with its main thread, whatever the others are doing."""
    ran: list[str] = []

    def thread(k: Kernel) -> Steps[None]:
        yield k.sleep(5)
        ran.append("late")

    def main(k: Kernel) -> Steps[int]:
        yield k.thread(thread)
        return 7

    world = World(FREE)
    pid = world.spawn(main)
    world.spawn(sleeps, 10)
    world.run()
    assert ran == []
    assert world.exit_code(pid) == 7


def test_orphans_live_on() -> None:
    """A child whose parent has died goes on, and its end troubles nobody."""
    world = World(FREE)

    def parent(k: Kernel) -> Steps[int]:
        yield k.fork(sleeps, 10)
        return 0

    pid = world.spawn(parent)
    world.run(until_exit=pid)
    assert [p.name for p in world.processes.values()] == ["sleeps"]
    world.run()
    assert world.now == pytest.approx(10.0)
    assert world.exit_code(2) == 0


def test_fork_wants_a_single_thread() -> None:
    """A process with a second thread may not fork."""

    def main(k: Kernel) -> Steps[int]:
        yield k.thread(sleeps, 1)
        yield k.fork(sleeps, 1)
        return 0

    with pytest.raises(KernelError, match="one thread"):
        run_function(main, platform=FREE)


def test_process_limit() -> None:
    """fork is refused, not an error, at the platform's process limit; and works again after a
    death."""

    def main(k: Kernel) -> Steps[list[bool]]:
        made = []
        for _ in range(3):
            made.append((yield k.fork(sleeps, 5)) is not None)
        yield k.wait(None)
        made.append((yield k.fork(sleeps, 5)) is not None)
        return made

    assert run_function(main, platform=Platform(process_limit=3)) == [True, True, False, True]


def test_interrupt_ends_socket_waits_of_threads() -> None:
    """After interrupt, waits of recv and connect in threads end, present and future; the main
    thread's and those on queues do not."""
    seen: list[Any] = []

    def reads(k: Kernel, conn: Any) -> Steps[None]:
        for _ in range(2):
            seen.append(((yield k.recv(conn, 10, 50)), k.now()))

    def gets(k: Kernel, queue: Queue) -> Steps[None]:
        seen.append(((yield k.get(queue, 3)), k.now()))

    def main(k: Kernel, listener: Any) -> Steps[int]:
        conn = yield k.connect(listener, None)
        yield k.thread(reads, conn)
        yield k.thread(gets, k.queue())
        yield k.sleep(1)
        k.interrupt()
        server = yield k.accept(listener, None)
        seen.append(((yield k.recv(server, 10, 4)), k.now()))
        return 0

    world = World(Platform(costs=NOTHING))
    world.spawn(main, world.listener(1))
    world.run()
    assert seen == [(None, 1.0), (None, 1.0), (None, 3.0), (None, 5.0)]
