"""The killer, and the checkers: a server that recovers passes them, planted faults do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpmlab.core.demand import Demand
from mpmlab.core.scoreboard import DEAD, READY, Scoreboard
from mpmlab.kernel.interface import Kernel, Listener, Mutex, Signal, Steps
from mpmlab.sim.checkers import attention, connections, mutexes, processors, slots
from mpmlab.sim.faults import Killer
from mpmlab.sim.world import World

from .worlds import FREE, sleeps

SLOTS = 6


def _child(k: Kernel, listener: Listener, mutex: Mutex, board: Scoreboard, slot: int) -> Steps[int]:
    board.set(slot, READY)
    while True:
        yield k.lock(mutex)
        yield k.work(Demand(cpu_us=2000))  # so that the mutex is worth attacking
        conn = yield k.accept(listener, None)
        k.unlock(mutex)
        data = yield k.recv(conn, 100, None)
        if data:
            yield k.work(Demand(cpu_us=1000))
            yield k.send(conn, b"answer", None)
        k.close(conn)


def _parent(k: Kernel, listener: Listener, board: Scoreboard) -> Steps[int]:
    """Keeps every slot filled."""
    mutex = k.mutex(shared=True)
    while True:
        for slot in range(SLOTS):
            if board.status[slot] == DEAD:
                pid = yield k.fork(_child, listener, mutex, board, slot)
                board.pid[slot] = pid
        dead = yield k.wait(1.0)
        if dead is not None:
            board.clear_slot(list(board.pid).index(dead.pid))


def _client(k: Kernel, listener: Listener, until_s: float, ends: list[str]) -> Steps[int]:
    while k.now() < until_s:
        conn = yield k.connect(listener, 1)
        if conn is None:
            ends.append("refused")
            continue
        yield k.send(conn, b"question", 1)
        data = yield k.recv(conn, 100, 5)
        ends.append("none" if data is None else "answer" if data else "cut")
        k.close(conn)
    return 0


def attacked(seed: int, per_s: float) -> tuple[World, Scoreboard, Killer, list[str]]:
    """Ten seconds under attack, five without."""
    world = World(replace(FREE, cores=2), seed=seed)
    listener = world.listener(100)
    board = Scoreboard(SLOTS, 1)
    ends: list[str] = []
    found: list[str] = []
    world.spawn(_parent, listener, board)
    for _ in range(8):
        world.spawn(_client, listener, 12.0, ends, machine="client")
    killer = Killer(world, per_s, until_s=10.0)
    looker = attention.Attention(world, limit_s=2.0)
    world.every(0.1, lambda _now: found.extend(mutexes.breaches(world)))
    world.run(until_s=15.0)
    assert found == []
    assert looker.found == []
    return world, board, killer, ends


@pytest.mark.parametrize("seed", range(5))
def test_a_server_that_refills_its_pool_survives(seed: int) -> None:
    """With twenty kills a second: clients see cut connections, but none hangs; and once the attack
    is over the pool is whole, nothing is leaked, and every connection is accounted for."""
    world, board, killer, ends = attacked(seed, 20.0)
    assert 120 < len(killer.kills) < 290
    assert all(kill.time_s < 10.0 for kill in killer.kills)
    assert {kill.signal for kill in killer.kills} == {Signal.KILL, Signal.SEGV}
    assert "none" not in ends
    assert "cut" in ends
    assert list(board.status) == [READY] * SLOTS
    assert slots.breaches(world, board) == []
    assert connections.breaches(world) == []
    assert connections.open_ends(world) == []
    assert processors.breaches(world) == []


def test_the_killer_aims_at_mutex_holders() -> None:
    """One of six holds the mutex: it is hit ten times as often as each of the others."""
    hits = [kill.held_mutex for seed in range(4) for kill in attacked(seed, 20.0)[2].kills]
    share = sum(hits) / len(hits)
    assert share == pytest.approx(10 / 15, abs=0.08)


def test_kills_repeat_with_the_seed() -> None:
    """Same seed, same deaths and the same digest; another seed, others."""
    first, again, other = attacked(1, 5.0), attacked(1, 5.0), attacked(2, 5.0)
    assert first[2].kills == again[2].kills
    assert first[0].digest == again[0].digest
    assert first[2].kills != other[2].kills


def test_killer_wants_a_rate() -> None:
    """No rate, no killer."""
    with pytest.raises(ValueError, match="above 0"):
        Killer(World(FREE), 0.0, 1.0)


# ---- planted faults ------------------------------------------------------------------------------


def _forgets(k: Kernel, mutex: Mutex) -> Steps[None]:
    yield k.lock(mutex)


def test_a_mutex_left_locked_by_a_thread_is_found() -> None:
    """A thread that returns with a mutex held leaves it locked for ever; one that lives does not,
    and what a process keeps to itself ends with it."""
    kept: list[Any] = []

    def main(k: Kernel) -> Steps[int]:
        kept.extend([k.mutex(), k.mutex()])
        yield k.lock(kept[0])
        yield k.thread(_forgets, kept[1])
        yield k.sleep(10)
        return 0

    world = World(FREE)
    world.spawn(main)
    world.run(until_s=1.0)
    assert mutexes.breaches(world) == [
        "mutex 2 is owned by thread 1 of process 1 (main), which has ended"
    ]
    world.run()
    assert mutexes.breaches(world) == []


def test_slots_of_the_dead_are_found() -> None:
    """A slot that names nobody alive, and one process in two slots."""
    world = World(FREE)
    pid = world.spawn(sleeps, 10)
    board = Scoreboard(4, 1)
    board.pid[0] = board.pid[2] = pid
    board.pid[3] = 77
    assert slots.breaches(world, board) == [
        f"process {pid} stands in slots 0 and 2",
        "slot 3 names process 77, which is not alive",
    ]


def _accepts_and_forgets(k: Kernel, listener: Listener) -> Steps[int]:
    conn = yield k.accept(listener, None)
    yield k.sleep(100)
    k.close(conn)
    return 0


def _asks(k: Kernel, listener: Listener) -> Steps[int]:
    conn = yield k.connect(listener, None)
    yield k.send(conn, b"anybody?", None)
    yield k.recv(conn, 10, 50)
    return 0


def test_a_forgotten_connection_is_found() -> None:
    """Data that nobody reads for longer than the limit are reported, once; and the open end too."""
    world = World(FREE)
    listener = world.listener(10)
    world.spawn(_accepts_and_forgets, listener)
    client = world.spawn(_asks, listener, machine="client")
    looker = attention.Attention(world, limit_s=5.0)
    world.run(until_exit=client)
    assert len(looker.found) == 1
    assert "has not read 8 bytes on a connection since 1.0 s" in looker.found[0]
    assert len(connections.open_ends(world)) == 1


def test_a_lost_connection_is_found() -> None:
    """Conservation: a connection that vanishes from the accept queue is missed."""
    world = World(FREE)
    listener = world.listener(10)
    world.spawn(sleeps, 10)
    world.spawn(_asks, listener, machine="client")
    world.run(until_s=1.0)
    assert connections.breaches(world) == []
    listener.queue.clear()
    assert connections.breaches(world) == [
        "1 connections were established, but 0 accepted, 0 waiting and 0 discarded"
    ]


def test_too_much_cpu_is_found() -> None:
    """A machine that has computed more than its cores can."""
    world = World(FREE)
    world.spawn(sleeps, 1)
    world.run()
    assert processors.breaches(world) == []
    world.machines["client"].cpu._used = 1e9
    assert len(processors.breaches(world)) == 1
