"""A link with a round trip and a bandwidth between two network namespaces of our own.

For benchmark runs on one machine: the server lives in one namespace, the clients in the other, and
all that they say to one another goes through the link. Nothing can leave: neither namespace has any
other way out. How packets are held up is link_netem.py's or link_tun.py's affair.

A server's listening socket is made by `in_namespace(link.server_namespace, ...)`; a process that
connects enters `link.client_namespace` first (netns.py has both).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

from mpmlab.real.link_account import Traffic
from mpmlab.real.link_check import LinkCheck, check_link
from mpmlab.real.link_netem import NetemLink, missing_netem
from mpmlab.real.link_spec import CLIENT_ADDRESS, DEFAULT_MTU, SERVER_ADDRESS, LinkError, LinkSpec
from mpmlab.real.link_tun import TunLink
from mpmlab.real.netns import NamespaceError, new_namespace

__all__ = ["Link", "LinkError", "LinkSpec", "Mechanism", "emulated_link"]

Mechanism = Literal["netem", "tun"]

#: What to do where there can be no link.
_INSTEAD: Final = "use the client's own pacing instead (no link)"
_NEEDS: Final = "it needs Linux, root (CAP_SYS_ADMIN and CAP_NET_ADMIN) and netem or /dev/net/tun"


class Link:
    """A link that works. Its namespaces are descriptors, valid as long as it is; a child process
    inherits one by `pass_fds`."""

    server_address: Final = SERVER_ADDRESS
    #: Clients should bind their sockets to it: that fails outside the namespace, where a packet
    #: to server_address would go to wherever the machine's default route leads.
    client_address: Final = CLIENT_ADDRESS

    def __init__(
        self, spec: LinkSpec, namespaces: tuple[int, int], means: NetemLink | TunLink,
        check: LinkCheck, without_netem: str | None,
    ) -> None:  # fmt: skip
        """Made by emulated_link."""
        self.spec = spec
        self.server_namespace, self.client_namespace = namespaces
        #: What was measured on it before it was handed out.
        self.check = check
        #: "netem on veth" or "user-space forwarder between two TUN devices".
        self.mechanism: str = means.name
        #: The processes that carry the packets; none where the kernel does.
        self.pids: tuple[int, ...] = means.pids
        self._means = means
        self._without_netem = without_netem

    def describe(self) -> str:
        """One line for people: by what means, and what was measured against what was asked."""
        spec, check = self.spec, self.check
        why = f" (not netem: {self._without_netem})" if self._without_netem else ""
        rate = _rate_text
        return (
            f"{self.mechanism}{why}: round trip {check.rtt_s * 1e3:.2f} ms for {spec.rtt_s * 1e3:g}"
            f" asked, down {rate(check.down_bytes_per_s, spec.down_bytes_per_s)}, "
            f"up {rate(check.up_bytes_per_s, spec.up_bytes_per_s)}, loss {spec.loss:.2%} each way"
        )

    def figures(self) -> dict[str, Any]:
        """The same for a run's metadata: JSON-able, with what went through until now."""
        down, up = self.traffic()
        return {
            "mechanism": self.mechanism,
            "without_netem": self._without_netem,
            "asked": self.spec.figures(),
            "measured": self.check.figures(),
            "traffic": {"down": asdict(down), "up": asdict(up)},
        }

    def fault(self) -> str | None:
        """Why nothing flows any more, or None while it does. To be asked during a run."""
        return self._means.fault()

    def cpu_s(self) -> float:
        """CPU seconds that the forwarder has used; 0 with netem, whose work the kernel books on
        whoever sends. Raises LinkError once it has ended."""
        return self._means.cpu_s()

    def traffic(self) -> tuple[Traffic, Traffic]:
        """What went down and what went up since the link was handed out."""
        return self._means.traffic()


@contextlib.contextmanager
def emulated_link(
    rtt_s: float,
    down_bytes_per_s: float = 0.0,
    up_bytes_per_s: float = 0.0,
    loss: float = 0.0,
    *,
    queue_bytes: int | None = None,
    mtu: int = DEFAULT_MTU,
    cores: Sequence[int] = (),
    seed: int = 0,
    mechanism: Mechanism | None = None,
) -> Iterator[Link]:
    """A link for as long as the block lasts. It takes about a second to make and to measure.

    What is asked, to `mtu`: LinkSpec. cores: those of the forwarder, any by default; seed: of the
    losses (netem has its own); mechanism: netem where the kernel has it, or else the forwarder,
    unless one is named. Make it in a thread that lives as long as the run: the forwarder dies with
    that. Afterwards, and even when this process is killed, nothing is left of it, but that a
    namespace lasts as long as anybody is in it.

    Raises LinkError."""
    spec = LinkSpec(rtt_s, down_bytes_per_s, up_bytes_per_s, loss, queue_bytes, mtu)
    spec.check()
    with contextlib.ExitStack() as ours:
        try:
            link = _make(spec, tuple(cores), seed, mechanism, ours)
        except (NamespaceError, OSError) as error:
            raise LinkError(f"no link: {error}; {_NEEDS}; {_INSTEAD}") from error
        yield link


def _make(
    spec: LinkSpec, cores: tuple[int, ...], seed: int, mechanism: Mechanism | None,
    ours: contextlib.ExitStack,
) -> Link:  # fmt: skip
    """The link; what ends it is put on `ours`."""
    _reserve_address()
    made = []
    for _ in range(2):
        made.append(new_namespace())
        ours.callback(os.close, made[-1])
    namespaces = made[0], made[1]
    without = None if mechanism == "tun" else missing_netem(namespaces[0])
    if without is not None and mechanism == "netem":
        raise LinkError(f"no link by netem: {without}; {_INSTEAD}")
    means: NetemLink | TunLink
    if without is None and mechanism != "tun":
        means = NetemLink(namespaces, spec)
    else:
        means = TunLink(namespaces, spec, cores, seed)
    ours.callback(means.close)
    check = check_link(namespaces, spec)
    means.begin()
    return Link(spec, namespaces, means, check, without)


def _reserve_address() -> None:
    """Make sure that a client's socket that is bound to its address can be so inside only."""
    with contextlib.suppress(OSError), socket.socket() as outside:
        outside.bind((CLIENT_ADDRESS, 0))
        raise LinkError(f"no link: this machine has {CLIENT_ADDRESS} itself; {_INSTEAD}")


def _rate_text(measured: float | None, asked: float) -> str:
    """ "1,249.8 kB/s for 1,250 asked", or what a train without limit ran at."""
    found = "unknown" if measured is None else f"{measured / 1e3:,.1f} kB/s"
    return f"{found} for {asked / 1e3:,g} asked" if asked else f"unlimited (a train: {found})"
