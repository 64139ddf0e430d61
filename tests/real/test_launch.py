"""The launcher: a server gets what it was promised, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mpmlab.kernel.interface import Signal
from mpmlab.real.error_log import read_error_log
from mpmlab.real.launch import LaunchError, Server, start_server

pytestmark = pytest.mark.real

PROGRAMS = "tests.real.programs"
ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 10.0


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """After each test: no descriptor and no process more than before."""
    fds, processes = os.listdir("/proc/self/fd"), alive_children()
    yield
    assert sorted(os.listdir("/proc/self/fd")) == sorted(fds)
    assert alive_children() == processes


def alive_children() -> list[int]:
    """Our descendants that are more than zombies."""
    return [
        p.pid
        for p in psutil.Process().children(recursive=True)
        if p.status() != psutil.STATUS_ZOMBIE
    ]


def start(name: str, **options: object) -> Server:
    """A server of programs.py."""
    payload = options.pop("payload", {})
    return start_server(f"{PROGRAMS}:{name}", payload, **options)  # type: ignore[arg-type]


def ask(port: int, data: bytes) -> bytes:
    """What the server answers to that."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as client:
        client.sendall(data)
        answer = b""
        while piece := client.recv(100):
            answer += piece
    return answer


def until(condition: object, what: str) -> None:
    """Look until it is true; there is no event to wait for across these processes."""
    assert callable(condition)
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def is_alive(pid: int) -> bool:
    """Whether that process runs, zombies not counted."""
    try:
        status: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return status != str(psutil.STATUS_ZOMBIE)


def test_serves_and_stops() -> None:
    """The port is known at once and served; TERM ends the server with its own exit code."""
    with start("echo_server", payload={"code": 3}) as server:
        assert ask(server.port, b"ab") == b"abab"
        assert ask(server.address.port, b"c") == b"cc"
        assert server.wait(0) is None
        assert server.stop(DEADLINE_S) == 3
        assert (server.wait(), server.stop(0), server.kill()) == (3, 3, 3)
        assert server.signal(Signal.TERM) is False
        assert server.children() == []


def test_board_is_shared() -> None:
    """Both sides write into the same memory; it outlives the server."""
    with start("board_echo", board_size=4096) as server:
        buffer = server.buffer
        assert buffer is not None
        assert len(buffer) == 4096
        buffer[0] = 21
        assert server.wait(DEADLINE_S) == 0
    assert buffer[1] == 42


def test_no_board_unless_asked() -> None:
    """Without board_size there is no buffer."""
    with start("echo_server") as server:
        assert server.buffer is None


def test_promises() -> None:
    """The server runs on the cores asked for, in its own session, with the environment given,
    without core files and with one thread."""
    core = min(os.sched_getaffinity(0))
    with start("facts", cores={core}, env={"MPMLAB_TEST": "yes"}) as server:
        assert server.wait(DEADLINE_S) == 0
    assert server.stderr() == f"[{core}] True yes 0 1\n"


def test_error_log(tmp_path: Path) -> None:
    """Lines of all processes come back, with the kernel's times; the log is appended to."""
    log, times = tmp_path / "error_log", tmp_path / "times"
    log.write_text("what was there\n")
    payload = {"text": "child process 1 still did not exit", "times": str(times)}
    with start("logs", payload=payload, log_path=log) as server:
        assert server.wait(DEADLINE_S) == 0, server.stderr()
    before, after, pid = times.read_text().split()
    lines = read_error_log(log)
    assert [(line.level, line.ident) for line in lines] == [
        ("notice", "AH00163"),
        ("warn", "AH00045"),
        ("error", "AH00161"),
    ]
    assert [line.text for line in lines] == [
        "resuming normal operations",
        payload["text"],
        "server reached MaxRequestWorkers setting: [a] b: c",
    ]
    assert lines[0].pid == lines[2].pid == int(pid) == server.pid != lines[1].pid
    moments = [float(before) - 1e-6, *(line.time_s for line in lines), float(after) + 1e-6]
    assert moments == sorted(moments)
    assert log.read_text().startswith("what was there\n")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("no.such.module:run", "No module named 'no'"),
        (f"{PROGRAMS}:no_such_function", "expected 'package.module:function'"),
        (PROGRAMS, "expected 'package.module:function'"),
    ],
)
def test_failed_start_is_told(entry: str, message: str) -> None:
    """A server that does not get to its entry point is an error with its stderr."""
    with pytest.raises(LaunchError, match="ended with code 70") as caught:
        start_server(entry, {}, board_size=100)
    assert message in str(caught.value)


def test_hanging_start_is_ended() -> None:
    """A server that does not begin in time is killed, and told."""
    with pytest.raises(LaunchError, match=r"did not start in 0.5 s"):
        start_server("tests.real.never_imported:run", {}, start_timeout_s=0.5)


@pytest.mark.parametrize("name", ["bug_in_main", "bug_in_thread", "bug_in_child"])
def test_bugs_end_processes(name: str) -> None:
    """An exception in a process's main thread, another thread, or a child ends that process with
    70 and its traceback."""
    with start(name) as server:
        assert server.wait(DEADLINE_S) == 70
        assert "ZeroDivisionError: the child's bug" in server.stderr()


def test_entry_must_be_steps() -> None:
    """An entry point that is no generator function is an error, not a server that does nothing."""
    with start("not_steps") as server:
        assert server.wait(DEADLINE_S) == 70
        assert "AttributeError" in server.stderr()


def wait_for_family(server: Server) -> list[int]:
    """The server's pid, its child's and its grandchild's, all running."""
    until(lambda: len(server.children()) == 2, "a child and a grandchild")
    return [server.pid, *server.children()]


def test_stubborn_servers_are_killed() -> None:
    """Who does not end by TERM is killed after the time given, with all descendants."""
    with start("stubborn") as server:
        family = wait_for_family(server)
        started = time.monotonic()
        assert server.stop(0.2) == -signal.SIGKILL
        assert time.monotonic() - started >= 0.2
        assert not any(map(is_alive, family))


def test_close_kills() -> None:
    """Leaving the context ends everything, without asking."""
    with start("stubborn") as server:
        family = wait_for_family(server)
    assert not any(map(is_alive, family))
    server.close()


def test_death_of_the_main_process_ends_all() -> None:
    """kill -9 of the main process takes its descendants with it, before anybody sweeps."""
    with start("stubborn") as server:
        family = wait_for_family(server)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not any(map(is_alive, family)), "descendants of a dead parent")
        assert server.wait(DEADLINE_S) == -signal.SIGKILL


def test_orphans_do_not_outlive_their_server() -> None:
    """A server that ends before its children takes them along."""
    with start("leaves_child") as server:
        assert server.wait(DEADLINE_S) == 5


def test_strangers_are_swept() -> None:
    """Any process that the server leaves in its session is killed, whoever started it how."""
    with start("leaves_stranger", board_size=4) as server:
        assert server.wait(DEADLINE_S) == 6
        assert server.buffer is not None
        (pid,) = server.buffer.cast("i")
        assert pid > 0
        assert not is_alive(pid)


def test_only_the_server_listens() -> None:
    """Once the server has closed its listener nobody listens: the launcher keeps no copy."""
    with start("stops_listening", board_size=1) as server:
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S).close()
        assert server.signal(Signal.USR1)
        buffer = server.buffer
        assert buffer is not None
        until(lambda: buffer[0], "the listener's end")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
        assert server.stop(DEADLINE_S) == 0


def test_server_dies_with_its_launcher() -> None:
    """kill -9 of the launching process ends the server and its descendants."""
    code = (
        "import sys; from mpmlab.real.launch import start_server\n"
        f"server = start_server('{PROGRAMS}:stubborn', {{}})\n"
        "while len(server.children()) < 2: pass\n"
        "print(server.pid, *server.children(), flush=True); sys.stdin.read()"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with launcher:
        assert launcher.stdout is not None
        family = [int(word) for word in launcher.stdout.readline().split()]
        assert len(family) == 3
        assert all(map(is_alive, family))
        launcher.kill()
    until(lambda: not any(map(is_alive, family)), "processes of a dead launcher")
