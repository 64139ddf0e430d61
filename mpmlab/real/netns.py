"""Network namespaces of our own: made, entered, and the one interface in each set up.

Only system calls live here (unshare, setns and the interface ioctls); what lies between two
namespaces is link.py's affair. Linux, and root, only.

A namespace is a descriptor, and nothing else holds it: no name under /run/netns. It is gone as soon
as the last descriptor is closed and the last thread in it has ended, even after a SIGKILL. A thread
is in one namespace; a socket stays all its life in that of the thread that made it. So a socket can
be made inside by a thread that ends at once (`in_namespace`), and used anywhere.

`python -m mpmlab.real.netns FD COMMAND...` becomes COMMAND inside the namespace of that inherited
descriptor (`inside` writes such a command line).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from mpmlab.kernel.interface import KernelError

_Result = TypeVar("_Result")

_CLONE_NEWNET: Final = 0x40000000  # <linux/sched.h>
# <linux/sockios.h>
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_SIOCSIFNETMASK: Final = 0x891C
_SIOCSIFMTU: Final = 0x8922
_SIOCSIFTXQLEN: Final = 0x8943
_IFF_UP: Final = 0x1  # <linux/if.h>
_NAME_BYTES: Final = 15  # IFNAMSIZ less its zero
_LOOPBACK: Final = "lo"

#: What a new namespace does not take over from the machine, but a server's queue depends on.
_CARRIED: Final = (
    "net/core/somaxconn",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_congestion_control",
)
#: What is different inside. No IPv6: its neighbour discovery would be packets nobody asked for.
#: TIME_WAIT ports are used again, as the kernel does on the loopback by itself (tcp_tw_reuse = 2).
#: No memory of earlier connections (round trips, thresholds): each run starts like the first.
_SET: Final = (
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    ("net/ipv4/tcp_tw_reuse", "1"),
    ("net/ipv4/tcp_no_metrics_save", "1"),
)
_SYSCTL: Final = Path("/proc/sys")


class NamespaceError(KernelError):
    """This machine, or this user, cannot have a network namespace; the text says why."""


def new_namespace() -> int:
    """A descriptor of a new network namespace, empty but for a loopback device that is up. Nothing
    in it has a way out. Close it with os.close. Raises NamespaceError."""
    carried = [(name, text) for name in _CARRIED if (text := _sysctl(name)) is not None]

    def make() -> int:
        _call("unshare", _CLONE_NEWNET)
        set_up(_LOOPBACK)
        for name, text in (*carried, *_SET):
            # Missing (no IPv6), or a container's read-only /proc: the kernel's own value stays.
            with contextlib.suppress(OSError):
                (_SYSCTL / name).write_text(text)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def enter(namespace: int) -> None:
    """Put the calling thread, and all that it will start, into that namespace. In a process's main
    thread before there are others: the whole process. Raises NamespaceError."""
    _call("setns", namespace, _CLONE_NEWNET)


def in_namespace(namespace: int, make: Callable[[], _Result]) -> _Result:
    """The result of `make()`, called by a thread that is in that namespace and then ends. Raises
    NamespaceError and whatever it raises."""

    def visit() -> _Result:
        enter(namespace)
        return make()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(visit).result()


def inside(namespace: int, command: Sequence[str]) -> list[str]:
    """The command line that runs that command in the namespace. For processes that cannot be told
    to enter by themselves; the descriptor must be among those they inherit (`pass_fds`)."""
    return [sys.executable, "-P", "-m", "mpmlab.real.netns", str(namespace), *command]


def set_up(
    device: str,
    address: str | None = None,
    netmask: str | None = None,
    mtu: int | None = None,
    queue_packets: int | None = None,
) -> None:
    """Give a device of the calling thread's namespace what is not None, and bring it up. The
    netmask makes the only route there is. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:

        def tell(request: int, body: bytes) -> bytes:
            return fcntl.ioctl(control, request, interface_request(device, body))

        if mtu is not None:
            tell(_SIOCSIFMTU, struct.pack("i", mtu))
        if queue_packets is not None:
            tell(_SIOCSIFTXQLEN, struct.pack("i", queue_packets))
        if address is not None:
            tell(_SIOCSIFADDR, _internet_address(address))
        if netmask is not None:
            tell(_SIOCSIFNETMASK, _internet_address(netmask))
        (flags,) = struct.unpack_from("h", tell(_SIOCGIFFLAGS, b""), _NAME_BYTES + 1)
        tell(_SIOCSIFFLAGS, struct.pack("h", flags | _IFF_UP))


def interface_request(device: str, body: bytes) -> bytes:
    """A `struct ifreq`: the device's name and what is asked or told of it."""
    return struct.pack(f"{_NAME_BYTES}sx24s", device.encode(), body)


def _internet_address(address: str) -> bytes:
    """A `struct sockaddr_in` with port 0."""
    return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _sysctl(name: str) -> str | None:
    try:
        return (_SYSCTL / name).read_text().strip()
    except OSError:
        return None


def _call(name: str, *numbers: int) -> None:
    """A system call of the C library that gives 0. Raises NamespaceError."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise NamespaceError(f"{sys.platform} has no network namespaces: they need Linux")
    if function(*numbers):
        raise NamespaceError(f"{name}: {os.strerror(ctypes.get_errno())}")


def main(argv: Sequence[str]) -> NoReturn:
    """Enter, and become the command."""
    namespace, command = int(argv[1]), argv[2:]
    enter(namespace)
    os.close(namespace)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    main(sys.argv)
