"""A link by the kernel: a veth pair between the namespaces, netem on both ends.

By iproute2's `ip` and `tc`: wherever there is netem it is configured with them, they say in words
what they do not like, and a link takes a handful of commands. (A netlink library, pyroute2, would
be one more dependency for a path that many kernels do not have; the TUN path needs neither.)
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import Final

from mpmlab.real.link_account import Traffic
from mpmlab.real.link_pipe import Way
from mpmlab.real.link_spec import (
    CLIENT_ADDRESS,
    DEVICE,
    NETMASK,
    SERVER_ADDRESS,
    LinkError,
    LinkSpec,
)
from mpmlab.real.netns import in_namespace, set_up

#: Both ends have it, so that neither needs to ask for the other's (ARP would delay, and on a link
#: with loss lose, the first packet of a run). Locally administered.
_MAC: Final = "02:00:00:00:00:01"
#: What netem counts of a packet and LinkSpec does not.
_ETHERNET_BYTES: Final = 14
#: A command that hangs is a fault.
_COMMAND_TIMEOUT_S: Final = 30.0


class NetemLink:
    """The pair of devices. It dies with the namespaces: there is nothing to end."""

    name: Final = "netem on veth"
    pids: Final[tuple[int, ...]] = ()

    def __init__(self, namespaces: tuple[int, int], spec: LinkSpec) -> None:
        """namespaces: the server's and the client's, which stay the caller's. Raises LinkError and
        OSError."""
        self._namespaces = namespaces
        server, client = namespaces
        in_namespace(server, partial(_make_pair, client))
        for namespace, address, way in (
            (server, SERVER_ADDRESS, spec.down),
            (client, CLIENT_ADDRESS, spec.up),
        ):
            in_namespace(namespace, partial(_set_up_end, address, way, spec.mtu))
        self.begin()

    def fault(self) -> str | None:
        """Nothing can happen to it."""
        return None

    def cpu_s(self) -> float:
        """The kernel accounts for it with whoever it interrupts."""
        return 0.0

    def traffic(self) -> tuple[Traffic, Traffic]:
        """Down and up. netem counts what it lost as dropped. Raises LinkError."""
        down, up = (
            Traffic(now[0] - before[0], now[1] - before[1], now[2] - before[2], lost=0)
            for before, now in zip(self._before, self._counts(), strict=True)
        )
        return down, up

    def begin(self) -> None:
        """Count traffic from here on. Raises LinkError."""
        self._before = self._counts()

    def _counts(self) -> list[tuple[int, int, int]]:
        return [in_namespace(namespace, _count) for namespace in self._namespaces]

    def close(self) -> None:
        """The devices go when the namespaces do."""


def missing_netem(namespace: int) -> str | None:
    """Why this machine cannot have such a link, or None if it can. Looks in that namespace."""
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"there is no {program} command (iproute2)"
    try:
        for verb in ("add", "del"):
            in_namespace(namespace, partial(_run, "tc", "qdisc", verb, "dev", "lo", *_PROBE))
    except LinkError as error:
        return str(error)
    return None


_PROBE: Final = ("root", "netem")


def _make_pair(client: int) -> None:
    """One end in the calling thread's namespace, one in the client's."""
    there = ("netns", f"/proc/self/fd/{client}")
    _run(
        "ip", "link", "add", DEVICE, "address", _MAC, "type", "veth",
        "peer", "name", DEVICE, "address", _MAC, *there, fds=(client,),
    )  # fmt: skip


def _set_up_end(address: str, way: Way, mtu: int) -> None:
    # One segment at a time, or 64 KiB of them would count as one packet.
    _run("ip", "link", "set", "dev", DEVICE, "arp", "off", "gso_max_segs", "1")
    set_up(DEVICE, address, NETMASK, mtu)
    _run("tc", "qdisc", "add", "dev", DEVICE, "root", "netem", *netem_options(way, mtu))


def netem_options(way: Way, mtu: int) -> tuple[str, ...]:
    """netem's words for a direction (tc-netem(8)). Its limit counts packets, delayed ones, too."""
    under_way = way.queue_bytes + way.delay_s * way.bytes_per_s
    words = ["limit", str(-(-int(under_way) // mtu)), "delay", f"{way.delay_s * 1e6:.0f}us"]
    if way.bytes_per_s:
        words += ["rate", f"{way.bytes_per_s * 8:.0f}bit", str(-_ETHERNET_BYTES)]
    if way.loss:
        words += ["loss", "random", f"{way.loss * 100:.6f}%"]
    return tuple(words)


def _count() -> tuple[int, int, int]:
    """Packets and bytes that left the device of the calling thread's namespace, and the drops."""
    (qdisc,) = json.loads(_run("tc", "-s", "-j", "qdisc", "show", "dev", DEVICE, "root"))
    packets = int(qdisc["packets"])
    return packets, int(qdisc["bytes"]) - packets * _ETHERNET_BYTES, int(qdisc["drops"])


def _run(*command: str, fds: Sequence[int] = ()) -> str:
    """What the command prints. Raises LinkError with what it says if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, pass_fds=fds, timeout=_COMMAND_TIMEOUT_S
    )
    if done.returncode:
        raise LinkError(f"{' '.join(command[:4])}: {done.stderr.strip()}")
    return done.stdout
