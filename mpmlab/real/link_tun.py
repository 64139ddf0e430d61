"""A link by the user-space forwarder: a TUN device in each namespace, a process between them.

For kernels without netem. The devices and the process are made here; what the process does is
link_forwarder.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final

from mpmlab.real.link_account import ACCOUNT_BYTES, Traffic, since
from mpmlab.real.link_forwarder import Order
from mpmlab.real.link_spec import (
    CLIENT_ADDRESS,
    DEVICE,
    NETMASK,
    SERVER_ADDRESS,
    LinkError,
    LinkSpec,
)
from mpmlab.real.netns import in_namespace, interface_request, set_up

#: How long the forwarder may take to its first word (an interpreter's start on a busy machine).
_START_TIMEOUT_S: Final = 30.0
#: Packets that wait for the forwarder in each device, beyond which the kernel drops: 40 ms of work.
_RING_PACKETS: Final = 4096
_TUN: Final = "/dev/net/tun"
# <linux/if_tun.h>. Without IFF_VNET_HDR the kernel hands over no packet above the MTU.
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
#: The clock of a process's CPU time (include/linux/posix-timers.h: (~pid << 3) | which).
_CPUCLOCK_SCHED: Final = 2
#: Column of /proc/net/dev, after the name: packets that the device would have sent but dropped.
_SENT_DROPPED: Final = 11


class TunLink:
    """The devices and the process, until `close`."""

    name: Final = "user-space forwarder between two TUN devices"

    def __init__(
        self, namespaces: tuple[int, int], spec: LinkSpec, cores: tuple[int, ...], seed: int
    ) -> None:
        """namespaces: the server's and the client's, which stay the caller's. Raises LinkError and
        OSError."""
        self._namespaces = namespaces
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as kept:
            fds = []
            for namespace, address in zip(
                namespaces, (SERVER_ADDRESS, CLIENT_ADDRESS), strict=True
            ):
                fds.append(in_namespace(namespace, partial(_device, address, spec.mtu)))
                ours.callback(os.close, fds[-1])
            account_fd = os.memfd_create("mpmlab link")
            ours.callback(os.close, account_fd)
            os.ftruncate(account_fd, ACCOUNT_BYTES)
            self._memory = kept.enter_context(mmap.mmap(account_fd, ACCOUNT_BYTES))
            self._said = kept.enter_context(tempfile.TemporaryFile())
            ready_fd, theirs = os.pipe()
            ours.callback(os.close, ready_fd)
            order = Order(
                os.getpid(), fds[0], fds[1], account_fd, theirs, asdict(spec.down), asdict(spec.up),
                spec.mtu, seed, list(cores),
            )  # fmt: skip
            try:
                self._process = _start(order, self._said.fileno())
            finally:
                os.close(theirs)
            kept.callback(self._process.wait)
            kept.callback(self._process.kill)  # first of all
            self._await(ready_fd)
            self.begin()
            self._kept = kept.pop_all()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that the link consists of."""
        return (self._process.pid,)

    def fault(self) -> str | None:
        """What is wrong with it now, or None: then packets flow."""
        code = self._process.poll()
        if code is None:
            return None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"the link's forwarder {how}: {self._stderr()}".rstrip(": ")

    def cpu_s(self) -> float:
        """CPU seconds of the forwarder so far. Raises LinkError once it has ended."""
        if (fault := self.fault()) is not None:
            raise LinkError(fault)
        return time.clock_gettime((~self._process.pid << 3) | _CPUCLOCK_SCHED)

    def traffic(self) -> tuple[Traffic, Traffic]:
        """Down and up. What the kernel dropped because the forwarder came too late to take it
        counts as dropped, too."""
        down, up = since(self._before, self._memory[:])
        server, client = (
            after - before for before, after in zip(self._overrun, self._overruns(), strict=True)
        )
        return (
            replace(down, dropped=down.dropped + server),
            replace(up, dropped=up.dropped + client),
        )

    def begin(self) -> None:
        """Count traffic from here on."""
        self._before, self._overrun = self._memory[:], self._overruns()

    def _overruns(self) -> list[int]:
        return [in_namespace(namespace, _overrun) for namespace in self._namespaces]

    def close(self) -> None:
        """End the process, and the devices with it. Idempotent."""
        self._kept.close()

    def _await(self, ready_fd: int) -> None:
        poll = select.poll()
        poll.register(ready_fd, select.POLLIN)
        if not poll.poll(_START_TIMEOUT_S * 1000):
            raise LinkError(f"the link's forwarder did not start in {_START_TIMEOUT_S:g} s")
        if not os.read(ready_fd, 1):
            self._process.wait()
            raise LinkError(self.fault() or "")

    def _stderr(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace").strip()


def _device(address: str, mtu: int) -> int:
    """A TUN device in the calling thread's namespace, set up; its descriptor."""
    fd = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = struct.pack("H", _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(fd, _TUNSETIFF, interface_request(DEVICE, flags))
        set_up(DEVICE, address, NETMASK, mtu, _RING_PACKETS)
    except OSError:
        os.close(fd)
        raise
    return fd


def _start(order: Order, output_fd: int) -> subprocess.Popen[bytes]:
    """The process. In a session of its own: a Ctrl-C is for whoever made the link."""
    path = os.pathsep.join(dict.fromkeys(os.path.abspath(p) for p in sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "mpmlab.real.link_forwarder", json.dumps(asdict(order))],
        stdin=subprocess.DEVNULL,
        stdout=output_fd,
        stderr=output_fd,
        pass_fds=(order.server_fd, order.client_fd, order.account_fd, order.ready_fd),
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def _overrun() -> int:
    """Packets that the device of the calling thread's namespace dropped on their way out."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == DEVICE:
            return int(counts.split()[_SENT_DROPPED])
    return 0  # the forwarder has ended, and its devices with it
