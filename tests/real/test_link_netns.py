"""Network namespaces of our own: empty, entered by a thread or a process, gone when released."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from mpmlab.real.netns import NamespaceError, enter, in_namespace, inside, new_namespace, set_up


def _why_no_links() -> str:
    if sys.platform != "linux":
        return "links need Linux's network namespaces"
    if os.geteuid() != 0:
        return "links need root"
    if not os.path.exists("/dev/net/tun"):
        return "links need /dev/net/tun"
    return ""


#: Why tests of links are skipped, or "".
NO_LINKS: Final = _why_no_links()


def holders(inode: int) -> set[int]:
    """The processes that have a thread in, or a descriptor of, the network namespace that is named
    by that inode. While there is one it exists; the kernel keeps it for nobody else."""
    name, found = f"net:[{inode}]", set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            links = [*process.glob("task/*/ns/net"), *process.glob("fd/*")]
            for link in links:
                with contextlib.suppress(OSError):
                    if os.readlink(link) == name:
                        found.add(int(process.name))
    return found


pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(NO_LINKS), reason=NO_LINKS)]


@pytest.fixture
def namespace() -> Iterator[int]:
    fd = new_namespace()
    yield fd
    os.close(fd)


def here() -> int:
    """The inode that names the calling thread's network namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_a_namespace_is_new_and_empty(namespace: int) -> None:
    """It has a loopback device and nothing else: no other device, no route, not ours."""
    assert os.fstat(namespace).st_ino != here()
    assert in_namespace(namespace, here) == os.fstat(namespace).st_ino
    assert in_namespace(namespace, socket.if_nameindex) == [(1, "lo")]
    table = in_namespace(namespace, lambda: Path("/proc/thread-self/net/route").read_text())
    assert len(table.splitlines()) == 1  # the heading


def test_nothing_leaves_a_namespace(namespace: int) -> None:
    """A packet to any address but its own has nowhere to go (198.51.100.0/24 exists nowhere)."""

    def dial() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            return sock.connect_ex(("198.51.100.77", 9))

    assert in_namespace(namespace, dial) == errno.ENETUNREACH


def test_the_caller_stays_where_it_is(namespace: int) -> None:
    """in_namespace leaves the calling thread alone, and gives what was made or raised inside."""
    before = here()
    assert in_namespace(namespace, lambda: "made") == "made"
    with pytest.raises(ZeroDivisionError):
        in_namespace(namespace, lambda: 1 // 0)
    assert here() == before


def test_a_socket_stays_in_the_namespace_of_its_maker(namespace: int) -> None:
    """A listener made inside hears who connects inside, and nobody outside."""
    listener = in_namespace(namespace, lambda: socket.create_server(("127.0.0.1", 0)))
    with listener:
        where = listener.getsockname()
        with in_namespace(namespace, lambda: socket.create_connection(where, timeout=5)) as client:
            server, _ = listener.accept()
            with server:
                client.send(b"inside")
                assert server.recv(10) == b"inside"
        with socket.socket() as outside:
            outside.bind(("127.0.0.1", 0))
            assert outside.connect_ex(where) == errno.ECONNREFUSED


def test_a_thread_enters_alone(namespace: int) -> None:
    """enter() is for the calling thread: others of the process stay."""
    before, seen = here(), []

    def body() -> None:
        enter(namespace)
        seen.append(here())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [os.fstat(namespace).st_ino]
    assert here() == before


def test_a_command_runs_inside(namespace: int) -> None:
    """`inside` is the command itself in the namespace, with its arguments and its exit code; it
    keeps no descriptor of the namespace."""
    program = (
        "import os, sys; print(os.stat('/proc/self/ns/net').st_ino, sys.argv[1:], "
        f"os.path.exists('/proc/self/fd/{namespace}')); sys.exit(7)"
    )
    done = subprocess.run(
        inside(namespace, [sys.executable, "-c", program, "an argument"]),
        pass_fds=(namespace,),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.split(maxsplit=1) == [
        str(os.fstat(namespace).st_ino), "['an argument'] False\n"
    ]  # fmt: skip


def test_the_machine_s_settings_are_carried_over(namespace: int) -> None:
    """What a server's backlog and a sender's pace depend on is as outside; TIME_WAIT is reused."""
    for name in ("net/core/somaxconn", "net/ipv4/tcp_congestion_control"):
        path = Path("/proc/sys") / name
        assert in_namespace(namespace, path.read_text) == path.read_text()
    reuse = Path("/proc/sys/net/ipv4/tcp_tw_reuse")
    assert in_namespace(namespace, reuse.read_text) == "1\n"


def test_a_namespace_is_gone_with_its_descriptor() -> None:
    """Nobody holds it but the descriptor: no file, no process, no thread."""
    fd = new_namespace()
    inode = os.fstat(fd).st_ino
    assert holders(inode) == {os.getpid()}
    os.close(fd)
    assert holders(inode) == set()


def test_what_is_no_namespace_is_refused(namespace: int) -> None:
    """With the system's own words, and without a change of place."""
    before = here()
    with open("/dev/null", "rb") as file, pytest.raises(NamespaceError, match="setns: "):
        in_namespace(file.fileno(), here)
    with pytest.raises(OSError, match="No such device"):
        in_namespace(namespace, lambda: set_up("absent0", mtu=1500))
    assert here() == before
