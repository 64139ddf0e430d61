"""What operations cost, and when it is paid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpmlab.core.demand import Demand
from mpmlab.core.platform import Costs, Platform
from mpmlab.kernel.interface import Kernel, Listener, Steps
from mpmlab.sim.costs import DEBT_CARRY_S
from mpmlab.sim.world import World, run_function

from .worlds import NOTHING, sleeps

US = 1e-6


def platform(cores: int = 4, **costs: float) -> Platform:
    """A platform on which only these operations cost something."""
    return Platform(costs=replace(NOTHING, **costs), cores=cores)


def test_a_cost_is_paid_before_the_operation_takes_effect() -> None:
    """put at 100 us: the waiting thread has the item after 100 us, the putter its result too."""
    seen: list[Any] = []

    def gets(k: Kernel, queue: Any) -> Steps[None]:
        yield k.get(queue, None)
        seen.append(("got", k.now()))

    def main(k: Kernel) -> Steps[int]:
        queue = k.queue()
        yield k.thread(gets, queue)
        yield k.sleep(0)
        yield k.put(queue, "x")
        seen.append(("put", k.now()))
        yield k.sleep(1)
        return 0

    run_function(main, platform=platform(put_us=100))
    assert sorted(seen) == [("got", 100 * US), ("put", 100 * US)]


def test_small_debts_are_carried_and_none_is_lost() -> None:
    """Operations below DEBT_CARRY_S pass no time until they have added up; in the end all of it is
    CPU of the machine."""
    world = World(platform(get_us=2))
    times: list[float] = []

    def main(k: Kernel) -> Steps[int]:
        queue = k.queue()
        for _ in range(6):
            yield k.get(queue, 0)
            times.append(k.now())
        return 0

    world.run(until_exit=world.spawn(main))
    assert pytest.approx(5 * US) == DEBT_CARRY_S
    assert times == pytest.approx([0, 0, 6 * US, 6 * US, 6 * US, 12 * US])
    assert world.cpu_seconds() == pytest.approx(12 * US)


def test_exact_worlds_carry_nothing() -> None:
    """With debt_carry_s=0 every operation takes its time."""
    world = World(platform(get_us=2), debt_carry_s=0.0)
    times: list[float] = []

    def main(k: Kernel) -> Steps[int]:
        queue = k.queue()
        for _ in range(3):
            yield k.get(queue, 0)
            times.append(k.now())
        return 0

    world.run(until_exit=world.spawn(main))
    assert times == pytest.approx([2 * US, 4 * US, 6 * US])


def test_carrying_changes_no_total() -> None:
    """The CPU of a run with carried debts is that of the exact one, to within what each thread may
    still owe at the end."""
    used = []
    for carry_s in (0.0, DEBT_CARRY_S):
        world = World(
            platform(get_us=1.7, put_us=0.9, switch_us=0.4, thread_switch_us=0.4),
            debt_carry_s=carry_s,
        )

        def main(k: Kernel) -> Steps[int]:
            queue = k.queue()
            for i in range(1, 1000):
                yield k.put(queue, i)
                yield k.get(queue, None)
                yield k.sleep(1e-5)
            return 0

        world.run(until_exit=world.spawn(main))
        used.append(world.cpu_seconds())
    assert used[0] == pytest.approx(999 * 3.0 * US, abs=1 * US)  # the last switch is not paid
    assert used[1] == pytest.approx(used[0], abs=DEBT_CARRY_S)


def test_work_is_one_burst_and_pays_for_its_send() -> None:
    """request + application + send + bytes, in one burst; then the wait with the timer's slack;
    then the send is free."""
    p = replace(
        platform(request_us=10, send_us=20, send_per_kb_us=5, switch_us=3, thread_switch_us=3),
        timer_slack_us=50,
    )
    world = World(p)
    seen: list[float] = []

    def server(k: Kernel, listener: Listener) -> Steps[int]:
        conn = yield k.accept(listener, None)
        start = k.now()
        body = yield k.work(Demand(cpu_us=1000, wait_us=500, response_bytes=4096))
        seen.append(k.now() - start)
        before = world.cpu_seconds()
        yield k.send(conn, body, None)
        seen.append(k.now() - start)
        seen.append(world.cpu_seconds() - before)
        yield k.send(conn, b"x" * 1024, None)
        seen.append(k.now() - start)
        return 0

    def client(k: Kernel, listener: Listener) -> Steps[int]:
        yield k.connect(listener, None)
        yield k.sleep(1)
        return 0

    listener = world.listener(1)
    pid = world.spawn(server, listener)
    world.spawn(client, listener, machine="client")
    world.run(until_exit=pid)
    burst = 10 + 1000 + 20 + 4 * 5 + 3  # and the switch after accept
    assert seen[0] == pytest.approx((burst + 550) * US)
    assert seen[1] == seen[0]
    assert seen[2] == 0
    assert seen[3] - seen[1] == pytest.approx((3 + 20 + 5) * US)


def test_waking_costs_a_switch() -> None:
    """A thread that blocked owes switch_us afterwards; one that did not owes nothing."""
    world = World(platform(switch_us=100))

    def main(k: Kernel) -> Steps[float]:
        queue = k.queue()
        yield k.put(queue, "x")
        yield k.get(queue, None)
        yield k.sleep(1)
        yield k.get(queue, 0)
        return k.now()

    assert run_function(main, platform=platform(switch_us=100)) == pytest.approx(1 + 100 * US)
    assert world.now == 0


def _first_step(k: Kernel, seen: Any) -> Steps[int]:
    yield k.put(seen, "s")
    return 0


def test_fork_costs_the_parent_and_the_start_the_child() -> None:
    """The parent goes on after fork_us; the child takes its first step child_start_us later."""

    def main(k: Kernel) -> Steps[tuple[float, float]]:
        seen = k.queue(shared=True)
        yield k.fork(_first_step, seen)
        forked = k.now()
        yield k.get(seen, None)
        return forked, k.now()

    times = run_function(main, platform=platform(fork_us=200, child_start_us=300))
    assert times == pytest.approx((200 * US, 500 * US))


def test_reaping_costs() -> None:
    """exit_us is charged to the parent for each child that it reaps, waiting or not."""

    def main(k: Kernel) -> Steps[float]:
        yield k.fork(sleeps, 1)
        yield k.fork(sleeps, 1)
        yield k.wait(None)
        yield k.wait(None)
        yield k.sleep(0)
        return k.now()

    assert run_function(main, platform=platform(exit_us=100)) == pytest.approx(1 + 200 * US)


def test_threads_of_a_process_with_a_gil_compute_in_turn() -> None:
    """Two threads, one core second each, on four cores: a second without a GIL, two with."""

    def burns(k: Kernel, done: Any) -> Steps[None]:
        yield k.work(Demand(cpu_us=1_000_000))
        yield k.put(done, 1)

    def main(k: Kernel) -> Steps[float]:
        done = k.queue()
        for _ in range(2):
            yield k.thread(burns, done)
        for _ in range(2):
            yield k.get(done, None)
        return k.now()

    assert run_function(main, platform=platform()) == pytest.approx(1.0)
    assert run_function(main, platform=replace(platform(), gil=True)) == pytest.approx(2.0)


def test_the_clients_machine_has_its_own_cores_and_costs() -> None:
    """Work on one machine does not slow the other."""
    slow = Platform(costs=Costs(), cores=1)
    world = World(slow, client=replace(slow, cores=2))

    def burns(k: Kernel) -> Steps[int]:
        yield k.work(Demand(cpu_us=1_000_000))
        return 0

    for machine in ("server", "client", "client"):
        world.spawn(burns, machine=machine)
    world.run()
    assert world.now == pytest.approx(1.0, abs=1e-4)
    assert world.cpu_seconds("client") == pytest.approx(2 * world.cpu_seconds("server"))


def _wakes_and_works(k: Kernel, rest_s: float, requests: int, took_s: list[float]) -> Steps[int]:
    """Notes how long so many requests take after a rest."""
    yield k.sleep(rest_s)
    woken_s = k.now()
    for _ in range(requests):
        yield k.work(Demand())
    took_s.append(k.now() - woken_s)
    return 0


def took_us(rest_s: float, requests: int = 1, beside: bool = False, **costs: float) -> float:
    """What requests of 10 us each take after a rest, perhaps while another process computes."""
    took_s: list[float] = []
    world = World(platform(4, request_us=10, **costs))
    pid = world.spawn(_wakes_and_works, rest_s, requests, took_s)
    if beside:
        world.spawn(_burns_for_2_s)
    world.run(until_exit=pid)
    (found_s,) = took_s
    return found_s / US


def _burns_for_2_s(k: Kernel) -> Steps[int]:
    yield k.work(Demand(cpu_us=2_000_000))
    return 0


def test_a_core_that_rested_costs_more_to_wake() -> None:
    """idle_us once, after a short rest as after a long one; not for the request that follows, nor
    while another process computes."""
    for rest_s in (0.001, 1.0):
        assert took_us(rest_s) == pytest.approx(10)
        assert took_us(rest_s, idle_us=90) == pytest.approx(100)
        assert took_us(rest_s, requests=3, idle_us=90) == pytest.approx(120)
        assert took_us(rest_s, beside=True, idle_us=90) == pytest.approx(10)


def test_a_process_that_was_away_is_cold() -> None:
    """Half of stale_us after 3 ms of absence, more after more; not for the request that follows.
    Other processes do not keep it warm."""
    assert took_us(0.003, stale_us=80) == pytest.approx(10 + 40)
    assert took_us(0.001, stale_us=80) == pytest.approx(10 + 20)
    assert took_us(1.0, stale_us=80) == pytest.approx(10 + 80 / 1.003)
    assert took_us(0.003, requests=3, stale_us=80) == pytest.approx(30 + 40)
    assert took_us(0.003, beside=True, stale_us=80) > 10 + 40


def test_how_long_half_takes_is_the_platforms() -> None:
    """stale_after_us."""

    def works(k: Kernel) -> Steps[float]:
        yield k.sleep(0.5)
        woken_s = k.now()
        yield k.work(Demand())
        return k.now() - woken_s

    slow = replace(platform(request_us=10, stale_us=80), stale_after_us=500_000)
    assert run_function(works, platform=slow) / US == pytest.approx(10 + 40)


def test_a_thread_that_woke_goes_before_one_that_computes() -> None:
    """With fresh_us, on one core, a request is answered at once beside a long one; without, they
    share."""

    def wakes(k: Kernel, took_s: list[float]) -> Steps[int]:
        yield k.sleep(1.0)
        yield k.work(Demand(cpu_us=400))
        took_s.append(k.now() - 1.0)
        return 0

    for fresh_us, wanted_us in ((0.0, 800), (1000.0, 400), (100.0, 700)):
        took_s: list[float] = []
        world = World(replace(platform(cores=1), fresh_us=fresh_us))
        world.spawn(_burns_for_2_s)
        world.run(until_exit=world.spawn(wakes, took_s))
        assert took_s[0] / US == pytest.approx(wanted_us)


def test_a_demand_leaves_the_core_cold() -> None:
    """cold_us is charged in full for a demand of a millisecond, in proportion for less."""

    def works(k: Kernel, cpu_us: int) -> Steps[float]:
        yield k.work(Demand(cpu_us=cpu_us))
        return k.now()

    def time_us(cpu_us: int, cold_us: float) -> float:
        return float(run_function(works, cpu_us, platform=platform(cold_us=cold_us)) / US)

    assert time_us(2000, 80) - time_us(2000, 0) == pytest.approx(80)
    assert time_us(500, 80) - time_us(500, 0) == pytest.approx(40)
