"""The world as a whole: determinism, deadlocks and livelocks, errors, samplers, accounts."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from mpmlab.core.demand import Demand
from mpmlab.core.platform import Costs, Platform
from mpmlab.kernel.interface import Kernel, Listener, Mutex, Queue, Steps
from mpmlab.sim import Deadlock, Livelock, World, run_function
from mpmlab.sim.trace import parts_of, tag_of

from .worlds import FREE, NOTHING, sleeps


def _child(k: Kernel, listener: Listener, mutex: Mutex) -> Steps[int]:
    while True:
        yield k.lock(mutex)
        conn = yield k.accept(listener, None)
        k.unlock(mutex)
        while data := (yield k.recv(conn, 1000, 5)):
            yield k.work(Demand(cpu_us=200 + len(data), response_bytes=100))
            yield k.send(conn, b"answer", None)
        k.close(conn)


def _parent(k: Kernel, listener: Listener, children: int) -> Steps[int]:
    mutex = k.mutex(shared=True)
    for _ in range(children):
        yield k.fork(_child, listener, mutex)
    while True:
        yield k.wait(1.0)


def _clients(k: Kernel, listener: Listener, random: Random, count: int) -> Steps[int]:
    done = k.queue()
    for _ in range(count):
        yield k.sleep(random.expovariate(1000))
        yield k.thread(_client, listener, done)
    for _ in range(count):
        yield k.get(done, None)
    return 0


def _client(k: Kernel, listener: Listener, done: Queue) -> Steps[None]:
    conn = yield k.connect(listener, None)
    yield k.send(conn, b"question", None)
    yield k.recv(conn, 100, None)
    k.close(conn)
    yield k.put(done, 1)


def busy(seed: int, trace: bool = True, gil: bool = False) -> World:
    """A run of some thousand operations."""
    world = World(Platform(costs=Costs(), cores=2, latency_us=30, gil=gil), seed=seed, trace=trace)
    listener = world.listener(100)
    world.spawn(_parent, listener, 4)
    world.run(until_exit=world.spawn(_clients, listener, Random(seed), 500, machine="client"))
    return world


def test_same_seed_same_digest() -> None:
    """Two runs do the same operations at the same times; another load, or another platform, does
    not."""
    first = busy(1)
    assert busy(1).digest == first.digest
    assert busy(1).now == first.now
    assert busy(2).digest != first.digest
    assert busy(1, gil=True).digest == busy(1, gil=True).digest


def test_trace_is_optional() -> None:
    """Without trace there is no digest, and nothing else changes."""
    first, second = busy(1), busy(1, trace=False)
    assert second.digest == ""
    assert (second.now, second.events) == (first.now, first.events)


def test_digest_covers_each_operation() -> None:
    """One operation more changes the digest, even at the same times."""

    def main(k: Kernel, times: int) -> Steps[int]:
        queue = k.queue()
        for _ in range(times):
            yield k.get(queue, 0)
        return 0

    digests = set()
    for times in (3, 4):
        world = World(Platform(costs=NOTHING))
        world.run(until_exit=world.spawn(main, times))
        assert world.trace.operations == times + 1  # and the exit
        digests.add(world.digest)
    assert len(digests) == 2


def test_codes_tell_who_did_what() -> None:
    """A trace code is a process, a thread and an operation."""
    assert parts_of(tag_of(1234, 56) + 9) == (1234, 56, "accept")


def test_deadlock_lists_who_waits_for_what() -> None:
    """When nothing can happen any more, the error names every thread and its place."""

    def waits(k: Kernel, mutex: Mutex) -> Steps[None]:
        yield k.lock(mutex)

    def main(k: Kernel) -> Steps[int]:
        mutex = k.mutex()
        yield k.lock(mutex)
        yield k.thread(waits, mutex)
        yield k.get(k.queue(), None)
        return 0

    world = World(FREE)
    world.every(1.0, lambda _now: None)  # a sampler is no sign of life
    world.spawn(main)
    with pytest.raises(Deadlock) as caught:
        world.run()
    text = str(caught.value)
    assert "thread 0 of process 1 (main) waits for queue 1" in text
    assert "thread 1 of process 1 (main) waits for mutex 1" in text


def test_livelock_of_free_operations() -> None:
    """A retry loop of operations that cost nothing is stopped, and named."""

    def main(k: Kernel) -> Steps[int]:
        queue = k.queue()
        while True:
            yield k.get(queue, 0)

    with pytest.raises(Livelock, match=r"get of thread 0 in process 1"):
        run_function(main, platform=Platform(costs=NOTHING))


def test_livelock_of_events() -> None:
    """So is one that goes through the clock."""

    def main(k: Kernel) -> Steps[int]:
        while True:
            yield k.sleep(0)

    with pytest.raises(Livelock):
        run_function(main, platform=Platform(costs=NOTHING))


def test_busy_waiting_at_a_cost_is_no_livelock() -> None:
    """The same loop at a microsecond a turn passes time and ends."""

    def main(k: Kernel) -> Steps[float]:
        queue = k.queue()
        while k.now() < 0.2:
            yield k.get(queue, 0)
        return k.now()

    assert run_function(main) == pytest.approx(0.2, abs=1e-5)


def test_an_exception_fails_the_run_and_says_where() -> None:
    """What escapes a generator comes out of run() as it is, with process, thread and time."""

    def main(k: Kernel) -> Steps[int]:
        yield k.sleep(2.5)
        raise ZeroDivisionError("on purpose")

    world = World(Platform(costs=NOTHING))
    world.spawn(main, name="victim")
    with pytest.raises(ZeroDivisionError, match="on purpose") as caught:
        world.run()
    assert caught.value.__notes__ == ["in simulated thread 0 of process 1 (victim) at 2.5 s"]


def test_yielding_something_else_is_an_error() -> None:
    """A generator that yields what is no operation of its kernel is named."""

    def main(k: Kernel) -> Steps[int]:
        yield k.sleep(0)
        yield 42
        return 0

    with pytest.raises(TypeError, match=r"thread 0 of process 1 \(main\) yielded 42"):
        run_function(main)


def test_run_until_a_time() -> None:
    """The clock stands where it was told, nothing later has happened, and the run goes on."""
    world = World(Platform(costs=NOTHING))
    seen: list[float] = []
    world.spawn(sleeps, 2.5)
    world.every(1.0, seen.append)
    world.run(until_s=1.5)
    assert (world.now, seen) == (1.5, [1.0])
    world.run(until_s=2.0)
    assert (world.now, seen) == (2.0, [1.0, 2.0])
    world.run()
    assert world.exit_code(1) == 0
    world.run(until_s=10.0)
    assert world.now == 10.0


def test_at_and_its_limits() -> None:
    """Callbacks come at their time; the past cannot be changed; unknown processes not awaited."""
    world = World(FREE)
    seen: list[float] = []
    world.at(1.0, seen.append)
    world.spawn(sleeps, 2)
    world.run()
    assert seen == [1.0]
    with pytest.raises(ValueError, match="stands at 2"):
        world.at(1.0, seen.append)
    with pytest.raises(ValueError, match="no such process"):
        world.run(until_exit=99)
    world.run(until_exit=1)  # has ended: nothing to do


def test_log_lines() -> None:
    """log notes time, process, level, ident and text."""
    world = World(Platform(costs=NOTHING))

    def main(k: Kernel) -> Steps[int]:
        yield k.sleep(1)
        k.log("notice", "AH00163", "resuming normal operations")
        return 0

    world.run(until_exit=world.spawn(main))
    line = world.log[0]
    assert (line.time_s, line.pid, line.level, line.ident) == (1.0, 1, "notice", "AH00163")
    assert line.text == "resuming normal operations"


def test_memory_follows_processes_threads_and_connections() -> None:
    """parent + children + their threads + connections, by the platform's figures."""
    platform = replace(
        FREE,
        parent_memory_kib=1000,
        process_memory_kib=100,
        thread_memory_kib=10,
        connection_memory_kib=1,
    )
    world = World(platform)
    listener = world.listener(10)
    world.spawn(_one_of_each, listener)
    world.spawn(_connects_twice, listener, machine="client")
    world.run(until_s=1.0)
    assert world.memory_kib() == 1000 + 100 + 2 * 10 + 2
    world.run(until_s=20.0)
    assert world.memory_kib() == 1000


def _one_of_each(k: Kernel, listener: Listener) -> Steps[int]:
    yield k.fork(_takes_two, listener)
    yield k.sleep(100)
    return 0


def _takes_two(k: Kernel, listener: Listener) -> Steps[int]:
    for _ in range(2):
        yield k.thread(sleeps, 100)
        yield k.accept(listener, None)
    yield k.sleep(10)
    return 0


def _connects_twice(k: Kernel, listener: Listener) -> Steps[int]:
    kept: list[Any] = []
    for _ in range(2):
        kept.append((yield k.connect(listener, None)))
    yield k.sleep(100)
    return 0
