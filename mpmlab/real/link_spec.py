"""What is asked of a link, and what can be wrong with that. Values only."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from mpmlab.kernel.interface import KernelError
from mpmlab.real.link_pipe import UNPACED_BYTES, Way

#: Ethernet's. A larger one makes bulk transfers cheaper, but a TCP connection begins with ten
#: packets (RFC 6928), so with 64 KiB ones hardly an answer would ever wait for a round trip.
DEFAULT_MTU: Final = 1500
#: What every IPv4 host must take whole (RFC 791, 3.1), and the most that an IPv4 packet holds.
MTU_RANGE: Final = (576, 65535)
#: Round trips beyond that are taken for slips of the pen (by geostationary satellite: 0.6 s).
MAX_RTT_S: Final = 10.0
#: A queue holds at least so many packets by default: as many as a home router's driver.
MIN_QUEUE_PACKETS: Final = 64

#: TEST-NET-2 (RFC 5737): routed nowhere. (TEST-NET-1 is what some virtual machines have outside.)
SERVER_ADDRESS: Final = "198.51.100.1"
CLIENT_ADDRESS: Final = "198.51.100.2"
NETMASK: Final = "255.255.255.252"
#: The name of the one device in each namespace.
DEVICE: Final = "mpmlab0"


class LinkError(KernelError):
    """This machine, or this user, cannot have that link; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """The link that is asked for. Bytes are those of IP packets: of 1,500 a TCP connection carries
    1,448 of its own."""

    rtt_s: float
    #: Bandwidth from the server to the clients; 0: as fast as it goes.
    down_bytes_per_s: float = 0.0
    #: Bandwidth from the clients to the server.
    up_bytes_per_s: float = 0.0
    #: Share of packets lost, in either direction.
    loss: float = 0.0
    #: What each direction's queue holds; None: one round trip of its bandwidth, and at least
    #: MIN_QUEUE_PACKETS.
    queue_bytes: int | None = None
    mtu: int = DEFAULT_MTU

    def check(self) -> None:
        """Raises LinkError that names what is wrong and what is accepted."""
        for name, value, least, most in (
            ("rtt_s", self.rtt_s, 0.0, MAX_RTT_S),
            ("mtu", self.mtu, *MTU_RANGE),
        ):
            if not least <= value <= most:
                raise LinkError(f"link: {name} = {value!r}; expected {least:g} to {most:g}")
        for name in ("down_bytes_per_s", "up_bytes_per_s"):
            rate = getattr(self, name)
            if not (rate == 0 or (rate >= self.mtu and math.isfinite(rate))):
                raise LinkError(
                    f"link: {name} = {rate!r}; expected 0 (no limit) or at least {self.mtu}, "
                    "a packet a second"
                )
        if not 0 <= self.loss < 1:
            raise LinkError(f"link: loss = {self.loss!r}; expected a share from 0 to below 1")
        if self.queue_bytes is not None and self.queue_bytes < 2 * self.mtu:
            raise LinkError(
                f"link: queue_bytes = {self.queue_bytes!r}; expected at least {2 * self.mtu}, "
                "two packets"
            )

    @property
    def down(self) -> Way:
        """From the server to the clients."""
        return self._way(self.down_bytes_per_s)

    @property
    def up(self) -> Way:
        """From the clients to the server."""
        return self._way(self.up_bytes_per_s)

    def _way(self, bytes_per_s: float) -> Way:
        queue = self.queue_bytes
        if not bytes_per_s:
            queue = UNPACED_BYTES
        elif queue is None:
            # The rule of thumb for routers' buffers (Villamizar and Song 1994).
            queue = max(MIN_QUEUE_PACKETS * self.mtu, round(bytes_per_s * self.rtt_s))
        return Way(self.rtt_s / 2, bytes_per_s, queue, self.loss)

    def figures(self) -> dict[str, Any]:
        """For a run's metadata."""
        return asdict(self)
