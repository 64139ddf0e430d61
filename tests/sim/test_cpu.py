"""The processor: processor sharing against closed forms, at any time of the clock."""

from __future__ import annotations

import pytest

from mpmlab.sim.clock import INF, Clock
from mpmlab.sim.cpu import Cpu

from .burns import Burn, at


def shared(cores: int, jobs: list[tuple[float, float]]) -> list[float]:
    """When jobs (arrival, demand) on that many cores end."""
    clock = Clock()
    cpu = Cpu(clock, cores)
    burns = [Burn(clock) for _ in jobs]
    for burn, (arrival, demand) in zip(burns, jobs, strict=True):
        at(clock, arrival, lambda burn=burn, demand=demand: cpu.add(burn, demand))  # type: ignore[misc]
    clock.run_until(INF)
    assert cpu.used_s() == pytest.approx(sum(demand for _, demand in jobs))
    return [end for burn in burns for end in burn.ended]


def test_one_job_runs_at_full_speed() -> None:
    """Alone, a demand takes its own time."""
    assert shared(1, [(2.0, 3.0)]) == [5.0]


def test_equal_jobs_share_one_core() -> None:
    """n equal jobs on one core all end after n times their demand."""
    assert shared(1, [(0.0, 1.0)] * 4) == pytest.approx([4.0] * 4)


def test_no_job_runs_faster_than_a_core() -> None:
    """Fewer jobs than cores: each at full speed."""
    assert shared(4, [(0.0, 1.0), (0.5, 1.0), (0.5, 2.0)]) == pytest.approx([1.0, 1.5, 2.5])


def test_unequal_jobs_on_one_core() -> None:
    """Demands 1, 2, 3 from time 0: the shortest ends at 3, the next 2 later, the last at 6."""
    assert shared(1, [(0.0, 1.0), (0.0, 2.0), (0.0, 3.0)]) == pytest.approx([3.0, 5.0, 6.0])


def test_three_jobs_on_two_cores() -> None:
    """Each has two thirds of a core until the first ends; then two run at full speed."""
    assert shared(2, [(0.0, 1.0), (0.0, 2.0), (0.0, 2.0)]) == pytest.approx([1.5, 2.5, 2.5])


def test_late_arrival_slows_the_others() -> None:
    """A job of 2 that is joined after 1 by one of 0.5: that one ends at 2, the first at 2.5."""
    assert shared(1, [(0.0, 2.0), (1.0, 0.5)]) == pytest.approx([2.5, 2.0])


def test_removed_job_frees_its_share() -> None:
    """A job taken off with half its demand left reports that; the other speeds up at once."""
    clock = Clock()
    cpu = Cpu(clock, 1)
    first, second = Burn(clock), Burn(clock)
    cpu.add(first, 1.0)
    cpu.add(second, 1.0)
    left: list[float] = []
    at(clock, 1.0, lambda: left.append(cpu.remove(first)))
    clock.run_until(INF)
    assert left == pytest.approx([0.5])
    assert first.ended == []
    assert second.ended == pytest.approx([1.5])
    assert cpu.used_s() == pytest.approx(1.5)


def test_one_that_ends_may_remove_another_that_ends_with_it() -> None:
    """Two bursts end in one instant and the first kills the second: that one is not told."""
    clock = Clock()
    cpu = Cpu(clock, 2)
    second = Burn(clock)
    first = Burn(clock, lambda: cpu.remove(second))
    cpu.add(first, 1.0)
    cpu.add(second, 1.0)
    third = Burn(clock)
    at(clock, 2.0, lambda: cpu.add(third, 1.0))
    clock.run_until(INF)
    assert (first.ended, second.ended, third.ended) == ([1.0], [], [3.0])
    assert cpu.running == 0


@pytest.mark.parametrize("start_s", [0.0, 1e4, 1e6, 1e8])
def test_completions_at_any_time_of_the_clock(start_s: float) -> None:
    """Bursts of microseconds end, each with few events, however late the clock: a completion
    tolerance that does not scale with it would loop for ever past 10,000 s."""
    clock = Clock()
    clock.stand_at(start_s)
    cpu = Cpu(clock, 1)
    count = 200
    burns = [Burn(clock) for _ in range(count)]
    for i, burn in enumerate(burns):
        cpu.add(burn, 1e-5 * (1 + i / 7))
    clock.run_until(INF)
    assert all(len(burn.ended) == 1 for burn in burns)
    assert clock.events < 3 * count
    total = sum(1e-5 * (1 + i / 7) for i in range(count))
    assert clock.now - start_s == pytest.approx(total, rel=1e-6, abs=1e-6 * start_s * 1e-7)


def test_timers_are_few() -> None:
    """A chain of bursts beside a long one costs at most two events a burst."""
    clock = Clock()
    cpu = Cpu(clock, 2)
    cpu.add(Burn(clock), 1000.0)
    count = 1000
    left = [count]

    def again() -> None:
        left[0] -= 1
        if left[0]:
            cpu.add(chain, 0.01)

    chain = Burn(clock, again)
    cpu.add(chain, 0.01)
    clock.run_until(INF)
    assert len(chain.ended) == count
    assert clock.events <= 2 * count
