"""One direction of a link: when a packet that comes now leaves at the other end, if it does.

Pure arithmetic over the caller's clock, no waiting and no descriptors (link_forwarder.py has both).
The packets leave in the order in which they came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: What a direction without a rate holds at most. Everything has a limit; this one is
#: 0.5 s of 1 Gbit/s, and reaching it shows as drops.
UNPACED_BYTES: Final = 64 << 20
#: Seconds times a rate are not quite the bytes that they were made of.
_ROUNDING_BYTES: Final = 0.5


@dataclass(frozen=True, slots=True)
class Way:
    """What one direction does to packets. Bytes are those of IP packets, headers included."""

    #: Seconds from the last bit that leaves the queue to the packet at the other end.
    delay_s: float
    #: Bandwidth; 0: as fast as it goes.
    bytes_per_s: float
    #: What may wait for the bandwidth. A packet that does not fit is dropped (drop-tail).
    queue_bytes: int
    #: Share of packets that vanish before they reach the queue.
    loss: float = 0.0


class Pipe:
    """A direction at work. `packets` holds what is under way as (due, packet); the caller takes
    from its left what is due."""

    __slots__ = ("_chance", "_free_s", "_held", "_way", "dropped", "lost", "packets")

    def __init__(self, way: Way, chance: Callable[[], float]) -> None:
        """chance: a number from 0 to 1 for each packet, asked only where there is loss."""
        self._way = way
        self._chance = chance
        self._free_s = 0.0  # when the last packet taken will have left the queue
        self._held = 0  # bytes under way, counted only where no rate bounds them
        self.packets: deque[tuple[float, bytes]] = deque()
        #: Packets that the queue had no room for.
        self.dropped = 0
        #: Packets that were lost as asked.
        self.lost = 0

    def take(self, now_s: float, packet: bytes) -> None:
        """A packet has come at that time, which never goes back."""
        way, size = self._way, len(packet)
        if way.loss and self._chance() < way.loss:
            self.lost += 1
            return
        if way.bytes_per_s:
            free_s = self._free_s if self._free_s > now_s else now_s
            if (free_s - now_s) * way.bytes_per_s + size > way.queue_bytes + _ROUNDING_BYTES:
                self.dropped += 1
                return
            self._free_s = free_s = free_s + size / way.bytes_per_s
            self.packets.append((free_s + way.delay_s, packet))
        elif self._held + size > UNPACED_BYTES:
            self.dropped += 1
        else:
            self._held += size
            self.packets.append((now_s + way.delay_s, packet))

    def give(self) -> bytes:
        """The packet that is due first, which is under way no longer."""
        packet = self.packets.popleft()[1]
        self._held -= len(packet)  # means nothing, and harms nothing, where there is a rate
        return packet
