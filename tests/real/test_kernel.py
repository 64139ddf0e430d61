"""The real kernel beyond the conformance suite: errors, descriptors, wake-ups, log, accuracy."""

from __future__ import annotations

import inspect
import os
import time
from pathlib import Path
from typing import Any

import pytest

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.real.application import answer, burn, response_body
from mpmlab.real.drive import drive
from mpmlab.real.error_log import LogLine, format_line, read_error_log
from mpmlab.real.handles import Listener
from mpmlab.real.kernel import MainKernel, ThreadKernel
from mpmlab.real.sync import LocalQueue, SharedMutex, SharedQueue
from tests.conformance.real_world import BodyError, run_body

from . import programs

OPERATIONS = [n for n, member in vars(Kernel).items() if inspect.isfunction(member) and n[0] != "_"]


@pytest.mark.parametrize("kind", [MainKernel, ThreadKernel])
@pytest.mark.parametrize("name", OPERATIONS)
def test_signatures_are_the_interfaces(kind: type, name: str) -> None:
    """Both kernels offer every operation of the interface, with its parameters and defaults."""
    own = inspect.signature(getattr(kind, name)).parameters
    wanted = inspect.signature(getattr(Kernel, name)).parameters
    assert [(p.name, p.default, p.kind) for p in own.values()] == [
        (p.name, p.default, p.kind) for p in wanted.values()
    ]


# ---- drive ---------------------------------------------------------------------------------------


def test_drive_hands_values_round() -> None:
    """What is yielded comes back, what is returned comes out."""

    def steps() -> Steps[list[Any]]:
        return [(yield 1), (yield "a"), (yield None)]

    assert drive(steps()) == [1, "a", None]


def test_drive_lets_errors_through() -> None:
    """An error of the function is the caller's to see, a stray StopIteration too."""

    def steps() -> Steps[None]:
        yield next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        drive(steps())


# ---- the application -----------------------------------------------------------------------------


@pytest.mark.parametrize("cpu_us", [200, 2000, 20_000])
def test_burn_is_accurate(cpu_us: int) -> None:
    """The CPU time burnt is what was asked for, to 2 %: the median of many, at the best of several
    times, since a machine that is slow just then reads its clock late."""
    medians = []
    for _ in range(5):
        errors = []
        for _ in range(15):
            start = time.thread_time_ns()
            burn(cpu_us)
            errors.append((time.thread_time_ns() - start) / 1000 / cpu_us - 1)
        medians.append(abs(sorted(errors)[7]))
    assert min(medians) < 0.02


def test_bodies_have_their_size() -> None:
    """Any size, also beyond the pattern's, and the same object while it is in use."""
    for size in (0, 1, 1045, 1046, 1047, 100_000):
        assert len(response_body(size)) == size
    assert response_body(1000) is response_body(1000)
    assert answer(Demand(response_bytes=10)) == response_body(10)


def test_wait_costs_no_cpu() -> None:
    """The demanded wait passes on the clock and not on the CPU."""
    start, cpu = time.monotonic(), time.thread_time()
    answer(Demand(wait_us=50_000))
    assert time.monotonic() - start >= 0.05
    assert time.thread_time() - cpu < 0.02


# ---- the error log -------------------------------------------------------------------------------


def test_log_lines_come_back(tmp_path: Path) -> None:
    """What is written is read, in order; other lines are skipped; newlines do not split a line."""
    lines = [
        LogLine(12.345678, 42, "error", "AH00161", "server reached [x] MaxRequestWorkers: y"),
        LogLine(99999999.5, 7, "notice", "AH00163", ""),
    ]
    path = tmp_path / "error_log"
    texts = [format_line(line, 1.7e9 + 0.25) for line in lines]
    path.write_text(texts[0] + "Traceback (most recent call last):\n" + texts[1])
    assert read_error_log(path) == lines
    assert ":20.250000 2023] [mpm:error] [pid 42] [monotonic 12.345678] AH00161: " in texts[0]
    broken = format_line(LogLine(1.0, 1, "info", "AH1", "a\nb"), 0)
    assert broken.count("\n") == 1
    assert broken.endswith("a b\n")


def test_log_must_exist(tmp_path: Path) -> None:
    """A missing log is the caller's error, not an empty one."""
    with pytest.raises(FileNotFoundError):
        read_error_log(tmp_path / "none")


# ---- handles -------------------------------------------------------------------------------------


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def test_handles_leave_no_descriptors() -> None:
    """Queues and mutexes that nobody has any more are closed; a listener when it is told to."""
    before = descriptors()
    queue, mutex, listener = SharedQueue(), SharedMutex(), Listener.bind()
    mutex.acquire()
    mutex.release()
    assert descriptors() > before
    assert queue.take() is None
    listener.close()
    listener.close()
    del queue, mutex
    assert descriptors() == before


def test_listener_keeps_its_port() -> None:
    """The port is chosen by the system, on the loopback, and is known after close."""
    listener = Listener.bind()
    port = listener.port
    listener.close()
    assert (listener.host, listener.port, listener.take()) == ("127.0.0.1", port, None)
    assert port > 1023


def test_sockets_never_block() -> None:
    """Non-blocking from birth, both ends and the listener; and without Nagle's delay."""
    listener = Listener.bind()
    assert listener.take() is None
    assert not os.get_blocking(listener.fd)
    listener.close()


def test_local_queue_counts() -> None:
    """size is what is in."""
    queue = LocalQueue("lifo")
    queue.push(1)
    queue.push(2)
    assert queue.size() == 2
    assert queue.take(False) == 2


# ---- in a process of their own -------------------------------------------------------------------


@pytest.mark.real
def test_misuse_is_named() -> None:
    """What only the caller can have caused is a KernelError that says what is accepted."""
    messages = run_body(programs.misuses)
    wanted = [
        "only the main thread waits in accept",
        "only the main thread waits for children",
        "fork needs a process with one thread",
        "a shared queue is a pipe: order 'fifo'",
        "queue order 'stack'; accepted: 'fifo', 'lifo'",
        "single ASCII characters, not 'ab'",
        "dies_of(WINCH)",
        "does not hold",
        "cannot listen on 127.0.0.1:",
        "fork needs a process with one thread; there are: MainThread, tid 1",
    ]
    assert len(messages) == len(wanted)
    for message, start in zip(messages, wanted, strict=True):
        assert start in message


@pytest.mark.real
def test_deaths_disturb_no_wait() -> None:
    """SIGCHLD ends no wait but `wait`, and no death is forgotten meanwhile."""
    assert run_body(programs.deaths_disturb_no_wait) == [["ok"] * 4, 40]


@pytest.mark.real
def test_full_wakeup_pipe() -> None:
    """A wake-up pipe that is full loses no signal."""
    assert run_body(programs.full_wakeup_pipe) == ["ok", "ok"]


@pytest.mark.real
def test_shortage() -> None:
    """EMFILE is a ResourceShortage, and the connection is still there afterwards."""
    found, accepted = run_body(programs.shortage)
    assert found == ["accept: Too many open files", "socket: Too many open files"]
    assert accepted


@pytest.mark.real
def test_named_mutex() -> None:
    """The fallback of the shared mutex excludes as well, and leaves one file, in its folder."""
    assert run_body(programs.named_mutex) == [0, [0, 0], 1]


@pytest.mark.real
def test_without_death_signal() -> None:
    """Elsewhere than on Linux: orphans end by themselves, and inherit no lock."""
    assert run_body(programs.without_death_signal) == [True, "ok"]


@pytest.mark.real
def test_shared_mutex_excludes_threads() -> None:
    """A shared mutex excludes the owner's own other threads."""
    assert run_body(programs.shared_mutex_and_threads) == 0


@pytest.mark.real
def test_no_wakeup_is_lost() -> None:
    """The main thread hears each of 12,000 puts of four threads."""
    assert run_body(programs.no_wakeup_is_lost) is True


@pytest.mark.real
def test_close_under_poll() -> None:
    """A connection closed under another thread's poll: end of stream at once, nothing ready."""
    assert run_body(programs.close_under_poll) == [0, ["over", 0], 0, []]


@pytest.mark.real
def test_echo_over_a_poller() -> None:
    """One-shot readiness under real threads: 1,600 messages, each answered once."""
    assert run_body(programs.echo_over_a_poller) == 1600


@pytest.mark.real
def test_operations_cost_little() -> None:
    """recv and send on ready sockets cost at most a microsecond over the bare calls."""
    assert run_body(programs.overhead) < 1000


@pytest.mark.real
def test_a_failing_body_is_told() -> None:
    """The conformance suite can fail: the error carries the traceback."""
    with pytest.raises(BodyError, match="ended with code 70") as caught:
        run_body(programs.child_with_bug_as_body)
    assert "ZeroDivisionError: the child's bug" in str(caught.value)
