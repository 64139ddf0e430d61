"""The processor: what has just woken goes first, and what it costs to be warm again."""

from __future__ import annotations

import pytest

from mpmlab.sim.clock import INF, Clock
from mpmlab.sim.cpu import Cpu, Warmth

from .burns import Burn, House, at


def finished(cores: int, jobs: list[tuple[float, float, float]]) -> list[float]:
    """When jobs (arrival, demand, how long they are fresh) on that many cores end. What they ask
    for is what they get."""
    clock = Clock()
    cpu = Cpu(clock, cores)
    burns = [Burn(clock, fresh_s=fresh) for _, _, fresh in jobs]
    for burn, (arrival, demand, _) in zip(burns, jobs, strict=True):
        at(clock, arrival, lambda burn=burn, demand=demand: cpu.add(burn, demand))  # type: ignore[misc]
    clock.run_until(INF)
    assert cpu.used_s() == pytest.approx(sum(demand for _, demand, _ in jobs))
    assert cpu.running == 0
    for burn, (_, demand, fresh) in zip(burns, jobs, strict=True):
        assert burn.fresh_s == pytest.approx(max(0.0, fresh - demand))
    return [end for burn in burns for end in burn.ended]


# ---- who goes first ------------------------------------------------------------------------------


def test_a_short_fresh_job_overtakes_an_old_long_one() -> None:
    """It ends as if it were alone; the other stands still meanwhile."""
    old, woken = finished(1, [(0.0, 1.0, 0.0), (0.5, 0.0005, 0.001)])
    assert woken == pytest.approx(0.5005)
    assert old == pytest.approx(1.0005)


def test_beyond_being_fresh_cores_are_shared() -> None:
    """3 ms of which 1 ms is fresh: 1 ms alone, then 2 ms at half speed."""
    old, woken = finished(1, [(0.0, 1.0, 0.0), (0.5, 0.003, 0.001)])
    assert woken == pytest.approx(0.505)
    assert old == pytest.approx(1.003)


def test_an_old_job_was_fresh_once() -> None:
    """A, of 2 s, has computed for 1 s when B, of 1 s, comes; both are fresh for 0.5 s. B computes
    for 0.5 s alone, then they share; with nobody fresh they would end together."""
    assert finished(1, [(0.0, 2.0, 0.5), (1.0, 1.0, 0.5)]) == pytest.approx([3.0, 2.5])
    assert finished(1, [(0.0, 2.0, 0.0), (1.0, 1.0, 0.0)]) == pytest.approx([3.0, 3.0])


def test_those_who_come_together_share_evenly() -> None:
    """Demands 1, 2, 3 from time 0 end as without being fresh, whether it is for less than they
    need or for more."""
    for fresh_s in (0.0, 0.5, 1.5, 5.0):
        jobs = [(0.0, demand, fresh_s) for demand in (1.0, 2.0, 3.0)]
        assert finished(1, jobs) == pytest.approx([3.0, 5.0, 6.0])


def test_a_fresh_job_takes_one_of_several_cores() -> None:
    """Two old jobs of 2 s on two cores share one of them while a third, fresh, has the other."""
    jobs = [(0.0, 2.0, 0.0), (0.0, 2.0, 0.0), (1.0, 1.0, 1.0)]
    assert finished(2, jobs) == pytest.approx([2.5, 2.5, 2.0])


def test_a_core_for_each_means_nobody_waits() -> None:
    """With as many cores as jobs each ends after its own demand, fresh or not."""
    jobs = [(0.0, 2.0, 0.0), (0.5, 2.0, 0.1), (1.0, 1.0, 1.0)]
    assert finished(3, jobs) == pytest.approx([2.0, 2.5, 2.0])


def test_more_fresh_jobs_than_cores_share_them_all() -> None:
    """Three on two cores have two thirds of one each; an old one waits until they are done."""
    jobs = [(0.0, 1.0, 0.0), *[(0.0, 1.0, 1.0)] * 3]
    assert finished(2, jobs) == pytest.approx([2.5, 1.5, 1.5, 1.5])


def test_work_is_conserved_whoever_goes_first() -> None:
    """Jobs of all lengths without a gap: one core is done when all that was asked for is done."""
    jobs = [(0.01 * i, 0.1 + (7 * i % 11) / 50, 0.02 * (i % 4)) for i in range(30)]
    ends = finished(1, jobs)
    assert len(ends) == len(jobs)
    assert max(ends) == pytest.approx(sum(demand for _, demand, _ in jobs))


def test_several_bursts_use_up_one_freshness() -> None:
    """Fresh for 10 ms, three bursts of 4 ms beside an old job: two at full speed, of the third one
    half, then the rest at half speed."""
    clock = Clock()
    cpu = Cpu(clock, 1)
    cpu.add(Burn(clock), 1.0)
    left = [3]

    def again() -> None:
        left[0] -= 1
        if left[0]:
            cpu.add(chain, 0.004)

    chain = Burn(clock, again, fresh_s=0.010)
    cpu.add(chain, 0.004)
    clock.run_until(INF)
    assert chain.ended == pytest.approx([0.004, 0.008, 0.010 + 2 * 0.002])
    assert chain.fresh_s == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("at_s", "left_s", "other_s"),
    [(0.7, 0.8, 1.2), (1.1, 0.5, 1.5)],
)
def test_a_removed_fresh_job_tells_all_it_still_needs(
    at_s: float, left_s: float, other_s: float
) -> None:
    """1 s from 0.5 s on, fresh for 0.4 s: what is left of the fresh part and what would have come
    later. The old job goes on at once."""
    clock = Clock()
    cpu = Cpu(clock, 1)
    old, woken = Burn(clock), Burn(clock, fresh_s=0.4)
    cpu.add(old, 1.0)
    at(clock, 0.5, lambda: cpu.add(woken, 1.0))
    left: list[float] = []
    at(clock, at_s, lambda: left.append(cpu.remove(woken)))
    clock.run_until(INF)
    assert left == pytest.approx([left_s])
    assert woken.ended == []
    assert old.ended == pytest.approx([other_s])
    assert cpu.used_s() == pytest.approx(1.0 + 1.0 - left_s)


def beside_a_stream(cores: int, fresh_s: float) -> tuple[float, float]:
    """When a job of 60 ms ends beside jobs that are always fresh and leave no moment idle for 3 s,
    and how much was computed until then."""
    clock = Clock()
    cpu = Cpu(clock, cores, fresh_s=fresh_s)
    old = Burn(clock, fresh_s=fresh_s)
    used: list[float] = []
    at(clock, 3.0, lambda: used.append(cpu.used_s()))

    def stream() -> None:
        if clock.now < 3.0:
            cpu.add(Burn(clock, stream, fresh_s=fresh_s), 0.005)

    cpu.add(old, 0.060)
    for _ in range(cores):
        stream()
    clock.run_until(INF)
    return old.ended[0], used[0]


@pytest.mark.parametrize("cores", [1, 2])
def test_nobody_starves(cores: int) -> None:
    """A job that is no longer fresh is fresh again once it lags a slice and a tick behind its fair
    share: beside one stream for each core it ends within a second instead of at the stream's end,
    and later than if all shared evenly. Nothing is lost: the cores are busy all the time."""
    ended_s, used_s = beside_a_stream(cores, 0.010)
    even_s, _ = beside_a_stream(cores, 0.0)
    assert even_s < ended_s < 1.0
    assert used_s == pytest.approx(3.0 * cores)


def test_what_lags_is_fresh_for_a_slice() -> None:
    """One core, two jobs of 1 s: A, fresh for 10 ms, has used that up when B comes, which is fresh
    for long. A lags half of the time that passes: after 28 ms it lags 14, a slice of 10 and a tick
    of 4, and shares the core with B until it has computed 10 ms more, 20 ms later; and so on."""
    clock = Clock()
    cpu = Cpu(clock, 1, fresh_s=0.010)
    first = Burn(clock, fresh_s=0.010)
    second = Burn(clock, fresh_s=10.0)
    cpu.add(first, 0.010 + 0.020)
    at(clock, 0.010, lambda: cpu.add(second, 1.0))
    clock.run_until(INF)
    # Two rounds of 28 ms of waiting and 20 ms of sharing.
    assert first.ended == pytest.approx([0.010 + 2 * 0.048])
    assert second.ended == pytest.approx([0.010 + 0.020 + 1.0])


# ---- being warm ----------------------------------------------------------------------------------


def test_half_is_lost_after_the_half_time() -> None:
    """Most * t / (t + half): nothing for one that was not away, and never all of it. Waiting for
    those ahead is being away, but only for one that was."""
    warmth = Warmth(100e-6, 3e-3)
    assert warmth.lost_s(0.0, 0.0) == 0
    assert warmth.lost_s(0.0, 1.0) == 0
    assert warmth.lost_s(3e-3, 0.0) == pytest.approx(50e-6)
    assert warmth.lost_s(1e-3, 0.0) == pytest.approx(25e-6)
    assert warmth.lost_s(1e-3, 2e-3) == pytest.approx(50e-6)
    assert 99e-6 < warmth.lost_s(1.0, 0.0) < 100e-6


def test_a_process_pays_for_having_been_away() -> None:
    """3 ms: half of it. A burst that follows at once pays nothing; after another pause, counted
    from the end of the last burst, it pays again."""
    clock = Clock()
    cpu = Cpu(clock, 2, Warmth(100e-6, 3e-3))
    home = House()
    follower = Burn(clock, home=home)
    first = Burn(clock, lambda: cpu.add(follower, 1e-3), home)
    later = Burn(clock, home=home)
    at(clock, 3e-3, lambda: cpu.add(first, 1e-3))
    at(clock, 5.05e-3 + 1e-3, lambda: cpu.add(later, 1e-3))
    clock.run_until(INF)
    assert first.ended == pytest.approx([4.05e-3])
    assert follower.ended == pytest.approx([5.05e-3])
    assert later.ended == pytest.approx([6.05e-3 + 1e-3 + 25e-6])


def test_a_second_job_of_a_process_that_computes_pays_nothing() -> None:
    """Its memory is warm already; another process pays for itself."""
    clock = Clock()
    cpu = Cpu(clock, 4, Warmth(100e-6, 3e-3))
    home = House()
    first, second = Burn(clock, home=home), Burn(clock, home=home)
    stranger = Burn(clock)
    at(clock, 3e-3, lambda: cpu.add(first, 10e-3))
    at(clock, 6e-3, lambda: cpu.add(second, 1e-3))
    at(clock, 6e-3, lambda: cpu.add(stranger, 1e-3))
    clock.run_until(INF)
    assert first.ended == pytest.approx([13.05e-3])
    assert second.ended == pytest.approx([7e-3])
    assert stranger.ended[0] > 7.05e-3
    assert home.computing == 0
    assert home.ran_s == first.ended[0]


@pytest.mark.parametrize(("demand_s", "ahead_s"), [(1e-3, 1e-3), (0.1, 4e-3)])
def test_those_ahead_make_it_colder(demand_s: float, ahead_s: float) -> None:
    """One that is computing is ahead for as long as the burst takes, but for a slice at most."""
    clock = Clock()
    cpu = Cpu(clock, 1, Warmth(100e-6, 3e-3))
    ahead, behind = Burn(clock), Burn(clock)
    cpu.add(ahead, 1.0)
    at(clock, 1e-3, lambda: cpu.add(behind, demand_s))
    clock.run_until(INF)
    away_s = 1e-3 + ahead_s
    lost_s = 100e-6 * away_s / (away_s + 3e-3)
    assert behind.ended == pytest.approx([1e-3 + 2 * (demand_s + lost_s)])
    assert cpu.used_s() == pytest.approx(1.0 + demand_s + lost_s)


def test_a_removed_job_leaves_its_process_away() -> None:
    """From then on it is away, as if the burst had ended."""
    clock = Clock()
    cpu = Cpu(clock, 1, Warmth(100e-6, 3e-3))
    home = House()
    gone, later = Burn(clock, home=home), Burn(clock, home=home)
    cpu.add(gone, 1.0)
    at(clock, 0.5, lambda: cpu.remove(gone))
    at(clock, 0.503, lambda: cpu.add(later, 1e-3))
    clock.run_until(INF)
    assert later.ended == pytest.approx([0.503 + 1.05e-3])
    assert home.computing == 0


def test_waking_a_core_that_rested_costs_the_same_after_any_rest() -> None:
    """Nothing at once after another burst, and nothing while somebody computes."""
    clock = Clock()
    cpu = Cpu(clock, 1, Warmth(0.0, 3e-3, idle_s=10e-6))
    follower = Burn(clock)
    first = Burn(clock, lambda: cpu.add(follower, 1e-3))
    beside, last = Burn(clock), Burn(clock)
    at(clock, 0.1, lambda: cpu.add(first, 1e-3))
    at(clock, 50.0, lambda: cpu.add(last, 4e-3))
    at(clock, 50.001, lambda: cpu.add(beside, 1e-3))
    clock.run_until(INF)
    assert first.ended == pytest.approx([0.1 + 1.01e-3])
    assert follower.ended == pytest.approx([0.1 + 2.01e-3])
    assert beside.ended == pytest.approx([50.001 + 2e-3], abs=1e-9)
    assert last.ended == pytest.approx([50.0 + 5.01e-3], abs=1e-9)
    assert cpu.used_s() == pytest.approx(7.02e-3)


def test_waking_a_core_costs_more_after_a_longer_rest() -> None:
    """Half of the most after the half time, and never all of it."""
    warmth = Warmth(0.0, 3e-3, idle_s=40e-6, idle_half_s=2e-3)
    assert warmth.waking_s(2e-3) == pytest.approx(20e-6)
    assert warmth.waking_s(1e-3) < warmth.waking_s(2e-3) < warmth.waking_s(1.0) < 40e-6
    clock = Clock()
    cpu = Cpu(clock, 1, warmth)
    first, later = Burn(clock), Burn(clock)
    at(clock, 2e-3, lambda: cpu.add(first, 1e-3))
    at(clock, 2e-3 + 1.02e-3 + 6e-3, lambda: cpu.add(later, 1e-3))
    clock.run_until(INF)
    assert first.ended == pytest.approx([2e-3 + 1.02e-3])
    assert later.ended == pytest.approx([9.02e-3 + 1e-3 + 30e-6])
