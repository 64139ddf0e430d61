"""How the load process's loop waits: what counts as idle, what it spins for, and its bell."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mpmlab.kernel.interface import Signal, Steps
from mpmlab.real import loop_wait
from mpmlab.real.loop import LoopKernel

pytestmark = pytest.mark.real

K = LoopKernel


def run(body: Any) -> tuple[LoopKernel, Any, float, float]:
    """-> the kernel after driving body, its result, and seconds and CPU seconds that it took."""
    k = LoopKernel()
    cpu_s, began_s = time.thread_time(), time.monotonic()
    result = k.run(body)
    return k, result, time.monotonic() - began_s, time.thread_time() - cpu_s


def works(k: K, seconds: float) -> None:
    """Keep the processor busy so long."""
    until_s = k.now() + seconds
    while k.now() < until_s:
        pass


def test_waiting_is_idle_and_work_is_not() -> None:
    """idle_s is what the loop had nothing to do for: the sleep, but not the work before it."""

    def body(k: K) -> Steps[None]:
        works(k, 0.15)
        yield k.sleep(0.2)
        works(k, 0.05)

    k, _, took_s, _ = run(body)
    assert 0.9 * 0.2 < k.idle_s < took_s - 0.2 + 1e-3


def test_work_in_other_threads_is_not_idle_either() -> None:
    """While one sleeps another works: only what is left of the sleep is idle."""

    def worker(k: K) -> Steps[None]:
        works(k, 0.15)
        yield k.sleep(100)

    def body(k: K) -> Steps[None]:
        yield k.thread(worker)
        yield k.sleep(0.2)

    k, _, took_s, _ = run(body)
    assert k.idle_s < took_s - 0.15 + 1e-3


def test_spinning_is_idle_though_it_costs_cpu() -> None:
    """Sleeps shorter than SPIN_S are spun through: most of that time is idle, and yet it was CPU;
    so idle_s, not the CPU's clock, tells how busy a client was."""

    def body(k: K) -> Steps[None]:
        for _ in range(1000):
            yield k.sleep(loop_wait.SPIN_S * 0.8)

    k, _, took_s, cpu_s = run(body)
    assert k.idle_s > 0.6 * took_s
    assert cpu_s > 0.3 * took_s


def test_a_time_out_is_not_worth_spinning() -> None:
    """Time-outs are waited for in the kernel: never early, and for little CPU."""

    def body(k: K) -> Steps[list[float]]:
        queue, late = k.queue(), []
        for _ in range(100):
            due_s = k.now() + 0.0025
            assert (yield k.get(queue, 0.0025)) is None
            late.append(k.now() - due_s)
        return late

    k, late, took_s, cpu_s = run(body)
    assert min(late) >= 0
    assert sorted(late)[10] < 0.001
    assert k.idle_s > 0.8 * took_s
    assert cpu_s < 100 * loop_wait.SPIN_S * 0.8


def test_a_time_out_just_before_a_sleepers_time_comes_first() -> None:
    """The loop that spins for a sleeper sees to a time-out that falls into that time. Mostly: the
    processor may be taken away for just as long."""

    def getter(k: K, due_s: float, order: list[str]) -> Steps[None]:
        yield k.get(k.queue(), due_s - k.now())
        order.append("time-out")

    def body(k: K) -> Steps[int]:
        in_order = 0
        for _ in range(20):
            order: list[str] = []
            due_s = k.now() + 0.003
            yield k.thread(getter, due_s, order)
            yield k.sleep(due_s + 0.6 * loop_wait.SPIN_S - k.now())
            order.append("sleeper")
            in_order += order == ["time-out", "sleeper"]
        return in_order

    assert run(body)[1] >= 5


@pytest.fixture(name="handlers")
def _handlers() -> Iterator[None]:
    """The process's own signal handlers come back afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("spin_s", [loop_wait.SPIN_S, 30.0])
def test_a_signal_ends_the_wait(monkeypatch: pytest.MonkeyPatch, spin_s: float) -> None:
    """A real SIGTERM wakes the loop at once, be it asleep in the kernel or spinning; and the
    interpreter is not left ringing for a loop that is gone."""
    monkeypatch.setattr(loop_wait, "SPIN_S", spin_s)

    def body(k: K) -> Steps[Any]:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        yield k.sleep(20)
        timer.join()
        return k.take_signals()

    k = LoopKernel()
    k.listen_to_signals()
    began_s = time.monotonic()
    assert list(k.run(body)) == [Signal.TERM]
    assert 0.05 <= time.monotonic() - began_s < 10
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.usefixtures("handlers")
def test_many_signals_are_all_pending() -> None:
    """None is lost while the loop works, and all ring one bell."""

    def body(k: K) -> Steps[Any]:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        yield k.sleep(20)
        os.kill(os.getpid(), signal.SIGINT)
        yield k.sleep(20)
        return k.take_signals()

    k = LoopKernel()
    k.listen_to_signals()
    assert list(k.run(body)) == [Signal.TERM] * 4
