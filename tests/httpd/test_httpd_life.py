"""However often httpd is started and stopped, and whoever is killed at whatever moment: no process,
port, semaphore, shared memory or file is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from mpmlab.httpd.server import HttpdServer
from mpmlab.kernel.interface import Signal
from tests.httpd.httpd_lab import (
    DEADLINE_S,
    MPMS,
    SMALL,
    Residue,
    get,
    needs_httpd,
    own_residue,
    residue,
    start,
    wait_for,
)

pytestmark = [pytest.mark.real, needs_httpd]

__all__ = ["own_residue", "residue"]  # fixtures

CYCLES = 50
#: Kills of each victim.
KILLS = 9
#: Moments are chosen from a span in which a start, and some requests, have happened.
SPAN_S = 0.3

#: What starts httpd in a process of its own: says when it begins, and its port when it is there.
STARTER = """
import sys
from mpmlab.core.directives import effective
from mpmlab.httpd.configuration import Wishes
from mpmlab.httpd.program import find_httpd
from mpmlab.httpd.server import start_httpd
program, settings = find_httpd(), effective(sys.argv[1], zip(sys.argv[2::2], sys.argv[3::2]))
print("begins", flush=True)
with start_httpd(program, settings, Wishes(sampled=False)) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


def moment(chance: random.Random) -> None:
    """Let a random time pass. Nothing is waited for: any moment is as good."""
    threading.Event().wait(chance.uniform(0, SPAN_S))


def answers(server: HttpdServer) -> bool:
    """Whether it does: a connection of a dying child ends without."""
    with contextlib.suppress(ConnectionError):
        return get(server.port, "/work?bytes=3") == (200, b' !"')
    return False


@contextmanager
def busy(port: int) -> Iterator[None]:
    """Requests that burn and wait all the time, until the end of the block."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, AssertionError):  # it may have been killed
                get(port, "/work?cpu_us=500&wait_us=5000&bytes=2000")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(DEADLINE_S)


def test_fifty_starts_and_stops_leave_nothing(own_residue: Residue) -> None:
    """In turn of every MPM, ended in every way: by TERM, by WINCH, by leaving the block, by KILL.
    Nor do descriptors or zombies of ours gather."""
    ends: list[Callable[[HttpdServer], object]] = [
        lambda server: server.stop(DEADLINE_S),
        lambda server: (server.signal(Signal.WINCH), server.wait(DEADLINE_S)),
        lambda server: server.close(),
        lambda server: server.kill(),
    ]
    descriptors, ports = sorted(os.listdir("/proc/self/fd")), []
    for number in range(CYCLES):
        with start(MPMS[number % len(MPMS)]) as server:
            assert get(server.port, "/work?bytes=3")[0] == 200
            ports.append(server.port)
            ends[number % len(ends)](server)
        assert own_residue.left() == []
    own_residue.check(*ports)
    assert sorted(os.listdir("/proc/self/fd")) == descriptors
    assert psutil.Process().children() == []


@pytest.mark.parametrize("mpm", MPMS)
def test_the_exit_code_tells_how_it_ended(own_residue: Residue, mpm: str) -> None:
    """0 for TERM and WINCH, the signal for KILL; the messages outlive it."""
    for sign, code in ((Signal.TERM, 0), (Signal.WINCH, 0), (Signal.KILL, -signal.SIGKILL)):
        with start(mpm) as server:
            assert server.signal(sign)
            assert server.wait(DEADLINE_S) == code
            assert server.signal(sign) is False
            assert server.children() == []
        idents = [line.ident for line in server.messages()]
        assert idents[0] in ("AH00163", "AH00292", "AH00489")  # resuming normal operations
    own_residue.check(server.port)


def parent(server: HttpdServer) -> int:
    """httpd's own parent process."""
    return server.pid


def child(server: HttpdServer) -> int:
    """One of its children."""
    return server.children()[0]


def keeper(server: HttpdServer) -> int:
    """The process that watches it."""
    return psutil.Process(server.pid).ppid()


@pytest.mark.parametrize("victim", [parent, child, keeper])
def test_kills_under_load_leave_nothing(
    own_residue: Residue, victim: Callable[[HttpdServer], int]
) -> None:
    """SIGKILL at a random moment for httpd's parent, one of its children, and the keeper. A killed
    child ends nothing: httpd goes on; the others end it by themselves."""
    chance = random.Random(f"kill the {victim.__name__}")
    for number in range(KILLS):
        with start(MPMS[number % len(MPMS)]) as server, busy(server.port):
            pid = victim(server)
            moment(chance)
            os.kill(pid, signal.SIGKILL)
            if victim is child:
                wait_for(lambda: answers(server), "an answer of another child")
                assert server.wait(0) is None
            else:
                assert server.wait(DEADLINE_S) == -signal.SIGKILL
        assert own_residue.left() == []  # at once: who leaves the block has waited for that
        own_residue.check(server.port)


@contextmanager
def starter(found: Residue, mpm: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is about to start httpd, in a process group of its own."""
    pairs = [text for pair in SMALL[mpm].items() for text in pair]
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, mpm, *pairs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=found.environment(),
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begins\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_whoever_starts_it_may_end_at_any_moment(residue: Residue, sign: signal.Signals) -> None:
    """Killed, interrupted with its process group as by Ctrl-C, or terminated, while httpd starts or
    while it runs. An interrupted one has cleaned up before its own end."""
    chance = random.Random(f"{sign!r} for the starter")
    running = 0
    for number in range(KILLS):
        with starter(residue, MPMS[number % len(MPMS)]) as process:
            moment(chance)
            os.killpg(process.pid, sign)
            assert process.wait(DEADLINE_S) == -sign
            assert process.stdout is not None
            port = process.stdout.readline()
            running += bool(port)
            if sign == signal.SIGINT and port:
                assert not list(residue.folder.iterdir())
        residue.check(*([int(port)] if port else []))
    assert running > 0  # some were there already
