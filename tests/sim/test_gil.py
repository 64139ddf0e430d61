"""The interpreter lock: whose turn it is, when a holder is asked for it, and that no work is lost.

Where the order of events matters, all times are sums of powers of two, so that none is rounded.
"""

from __future__ import annotations

import random

import pytest

from mpmlab.sim.clock import INF, Clock
from mpmlab.sim.cpu import Cpu, Warmth
from mpmlab.sim.gil import Gil

from .burns import Burn, House, at


def alone(clock: Clock, interval_s: float = 0.005, cores: int = 4, wake_s: float = 0.0) -> Gil:
    """The lock of the only process."""
    return Gil(Cpu(clock, cores), House(), interval_s, wake_s)


def test_it_serves_short_bursts_in_turn() -> None:
    """Bursts below the switch interval are served first come, first served, one at a time."""
    clock = Clock()
    gil = alone(clock)
    burns = [Burn(clock) for _ in range(3)]
    for burn in burns:
        gil.add(burn, 0.001)
    clock.run_until(INF)
    assert [burn.ended[0] for burn in burns] == pytest.approx([0.001, 0.002, 0.003])


def test_it_switches_after_its_interval() -> None:
    """A short burst that comes while a long one computes waits one switch interval, not longer, and
    the long one goes on afterwards: an echo beside a CPU-bound thread."""
    clock = Clock()
    gil = alone(clock)
    long, echo = Burn(clock), Burn(clock)
    gil.add(long, 1.0)
    at(clock, 0.5, lambda: gil.add(echo, 0.0001))
    clock.run_until(INF)
    assert echo.ended == pytest.approx([0.5 + 0.005 + 0.0001])
    assert long.ended == pytest.approx([1.0001])


def test_two_long_bursts_take_turns() -> None:
    """They end within two intervals of one another, after their sum."""
    clock = Clock()
    gil = alone(clock)
    first, second = Burn(clock), Burn(clock)
    gil.add(first, 0.102)
    gil.add(second, 0.102)
    clock.run_until(INF)
    sooner, later = sorted(first.ended + second.ended)
    assert later == pytest.approx(0.204)
    assert later - sooner < 2 * 0.005


def test_the_interval_is_time_and_not_computing() -> None:
    """A holder that shares its core with another process is asked for the lock 5 ms after the other
    thread began to wait, though it has computed but half of that."""
    clock = Clock()
    cpu = Cpu(clock, 1)
    gil = Gil(cpu, House(), 0.005)
    long, echo, other = Burn(clock), Burn(clock), Burn(clock)
    cpu.add(other, 2.0)
    gil.add(long, 1.0)
    at(clock, 0.5, lambda: gil.add(echo, 0.0001))
    clock.run_until(INF)
    assert echo.ended == pytest.approx([0.5 + 0.005 + 2 * 0.0001])
    assert long.ended == pytest.approx([2 * 1.0001])
    assert other.ended == pytest.approx([3.0001])


def test_nobody_waiting_means_no_switch() -> None:
    """A holder alone computes on, with no event but its end."""
    clock = Clock()
    gil = alone(clock)
    long = Burn(clock)
    gil.add(long, 100.0)
    clock.run_until(INF)
    assert long.ended == [100.0]
    assert clock.events < 5


def test_the_longest_waiting_comes_first() -> None:
    """A asks at 1/8, B at 1/4. At 5/8 A's interval is over: the holder lets go, A comes first, then
    B, who was there before the holder's new turn."""
    clock = Clock()
    gil = alone(clock, 0.5)
    holder, a, b = Burn(clock), Burn(clock), Burn(clock)
    gil.add(holder, 8.0)
    at(clock, 0.125, lambda: gil.add(a, 0.125))
    at(clock, 0.25, lambda: gil.add(b, 0.125))
    clock.run_until(INF)
    assert a.ended == [0.75]
    assert b.ended == [0.875]
    assert holder.ended == [8.25]


def test_who_began_to_wait_first_is_next_when_a_burst_ends() -> None:
    """Within one interval that is the order of asking."""
    clock = Clock()
    gil = alone(clock, 0.5)
    holder, a, b = Burn(clock), Burn(clock), Burn(clock)
    gil.add(holder, 0.375)
    at(clock, 0.125, lambda: gil.add(a, 0.0625))
    at(clock, 0.25, lambda: gil.add(b, 0.0625))
    clock.run_until(INF)
    assert (holder.ended, a.ended, b.ended) == ([0.375], [0.4375], [0.5])


def test_it_is_wanted_while_somebody_has_it() -> None:
    """From the first burst to the end of the last, and not before or after."""
    clock = Clock()
    gil = alone(clock, 0.5)
    told: list[bool] = [gil.wanted]
    gil.add(Burn(clock), 0.25)
    told.append(gil.wanted)
    gil.add(Burn(clock), 0.25)
    told.append(gil.wanted)
    at(clock, 0.375, lambda: told.append(gil.wanted))
    clock.run_until(INF)
    at(clock, 0.75, lambda: told.append(gil.wanted))
    clock.run_until(INF)
    assert told == [False, True, True, True, False]


def test_who_waits_takes_a_share_of_the_holders_core() -> None:
    """It wakes at each interval to ask: beside one that waits, 1/4 s takes 1/8 of that longer."""
    clock = Clock()
    cpu = Cpu(clock, 4)
    gil = Gil(cpu, House(), 0.5, wake_s=0.0625)
    holder, other = Burn(clock), Burn(clock)
    gil.add(holder, 1.0)
    gil.add(other, 0.25)
    clock.run_until(INF)
    assert other.ended == [0.5 + 0.25 * 1.125]
    assert holder.ended == [1.0 + 0.25 * 1.125]
    assert cpu.used_s() == pytest.approx(1.0 + 0.25 * 1.125)


def test_no_work_is_lost_or_made_up() -> None:
    """Bursts of all lengths at any time, of two processes on one core: each ends once, and all
    together take what was asked for."""
    random_ = random.Random(7)
    clock = Clock()
    cpu = Cpu(clock, 1)
    gils = [Gil(cpu, House(), 0.005) for _ in range(2)]
    demands = [random_.expovariate(200) for _ in range(100)]
    burns = [Burn(clock) for _ in demands]
    for i, (burn, demand) in enumerate(zip(burns, demands, strict=True)):
        gil = gils[i % 2]
        at(
            clock,
            random_.uniform(0, 0.3),
            lambda gil=gil, burn=burn, demand=demand: gil.add(burn, demand),  # type: ignore[misc]
        )
    clock.run_until(INF)
    assert [len(burn.ended) for burn in burns] == [1] * len(burns)
    assert cpu.used_s() == pytest.approx(sum(demands))
    assert cpu.running == 0
    assert not any(gil.wanted for gil in gils)


def test_it_holds_a_process_to_one_core() -> None:
    """Two processes of four threads each on two cores: each process has a core of its own, and its
    threads take turns, so that they end within one round of one another."""
    clock = Clock()
    cpu = Cpu(clock, 2)
    processes = []
    for _ in range(2):
        gil = Gil(cpu, House(), 0.005)
        burns = [Burn(clock) for _ in range(4)]
        processes.append(burns)
        for burn in burns:
            gil.add(burn, 1.0)
    clock.run_until(INF)
    for burns in processes:
        ends = [burn.ended[0] for burn in burns]
        assert max(ends) == pytest.approx(4.0)
        assert min(ends) > 4.0 - 4 * 0.005


def test_threads_behind_it_count_as_one_on_one_core() -> None:
    """On one core, a process of eight threads behind a GIL gets no more than one of one thread."""
    clock = Clock()
    cpu = Cpu(clock, 1)
    many, single = Gil(cpu, House(), 0.005), Gil(cpu, House(), 0.005)
    burns = [Burn(clock) for _ in range(8)]
    for burn in burns:
        many.add(burn, 1.0)
    lonely = Burn(clock)
    single.add(lonely, 1.0)
    clock.run_until(INF)
    assert lonely.ended == pytest.approx([2.0], abs=1e-6)
    assert max(burn.ended[0] for burn in burns) == pytest.approx(9.0)


def test_what_is_fresh_of_a_thread_counts_behind_it_too() -> None:
    """A thread that has just woken computes before another process that computes already, and is
    as much less fresh afterwards as it has computed."""
    clock = Clock()
    cpu = Cpu(clock, 1)
    gil = Gil(cpu, House(), 0.5)
    old, woken = Burn(clock), Burn(clock, fresh_s=0.25)
    cpu.add(old, 2.0)
    at(clock, 1.0, lambda: gil.add(woken, 0.125))
    clock.run_until(INF)
    assert woken.ended == [1.125]
    assert woken.fresh_s == 0.125
    assert old.ended == [2.125]


def test_a_process_is_warm_while_its_threads_take_turns() -> None:
    """However often the lock changes hands: only the first burst after a pause is of a process that
    was away."""
    clock = Clock()
    cpu = Cpu(clock, 1, Warmth(0.001, 1.0))
    home = House()
    gil = Gil(cpu, home, 0.005)
    burns = [Burn(clock, home=home) for _ in range(3)]
    for burn in burns:
        at(clock, 1.0, lambda burn=burn: gil.add(burn, 0.012))  # type: ignore[misc]
    clock.run_until(INF)
    assert cpu.used_s() == pytest.approx(3 * 0.012 + 0.001 / 2)
    assert home.computing == 0
    assert home.ran_s == max(burn.ended[0] for burn in burns)


def test_a_stopped_one_frees_the_core() -> None:
    """A process that dies leaves the processor, holder and waiting threads alike."""
    clock = Clock()
    cpu = Cpu(clock, 1)
    gil = Gil(cpu, House(), 0.005)
    dead = [Burn(clock) for _ in range(3)]
    for burn in dead:
        gil.add(burn, 1.0)
    other = Burn(clock)
    cpu.add(other, 1.0)
    at(clock, 0.5, gil.stop)
    clock.run_until(INF)
    assert [burn.ended for burn in dead] == [[], [], []]
    assert other.ended == pytest.approx([1.25])
