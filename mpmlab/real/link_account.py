"""What a link's forwarder counts, in memory that it shares with whoever made the link.

The forwarder writes (link_forwarder.py), the link reads at any time (link_tun.py). Counters only
grow; who wants them from some moment on keeps a copy of the memory and takes the difference.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

#: Lateness is counted in steps of so many microseconds ...
STEP_US: Final = 25
#: ... up to 10 ms; the last step takes the rest.
STEPS: Final = 400
LATEST_US: Final = STEPS * STEP_US
_PACKETS, _BYTES, _DROPPED, _LOST, _HEAD = range(5)
_WORD: Final = 8  # bytes of a counter
#: Counters of one direction.
_WORDS: Final = _HEAD + STEPS
#: What the memory must have for both.
ACCOUNT_BYTES: Final = 2 * _WORDS * _WORD


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went one way since the link was handed out (its own check is not included)."""

    #: Packets delivered.
    packets: int
    #: Their bytes, IP headers included.
    bytes: int
    #: Packets that the link's queue had no room for.
    dropped: int
    #: Packets lost as asked (netem: counted in `dropped`).
    lost: int
    #: How late packets were delivered, to the next STEP_US above; LATEST_US stands for that and
    #: more. None where nobody counts (netem) or nothing was delivered.
    late_p50_us: float | None = None
    late_p99_us: float | None = None


def since(before: bytes, now: bytes) -> tuple[Traffic, Traffic]:
    """What both directions, 0 and 1, counted between two copies of the memory."""
    counts = zip(memoryview(before).cast("Q"), memoryview(now).cast("Q"), strict=True)
    grown = memoryview(array("Q", (late - early for early, late in counts))).cast("B")
    return Account(grown, 0).traffic(), Account(grown, 1).traffic()


class Account:
    """The counters of one direction."""

    __slots__ = ("_head", "lateness")

    def __init__(self, memory: memoryview, number: int) -> None:
        """memory: ACCOUNT_BYTES of them, zero at first; number: 0 or 1."""
        words = memory.cast("Q")[number * _WORDS : (number + 1) * _WORDS]
        self._head = words[:_HEAD]
        #: For the writer: packets by lateness // STEP_US.
        self.lateness = words[_HEAD:]

    def delivered(self, packets: int, size: int) -> None:
        """So many more packets with so many bytes together."""
        self._head[_PACKETS] += packets
        self._head[_BYTES] += size

    def missed(self, dropped: int, lost: int) -> None:
        """So many until now."""
        self._head[_DROPPED], self._head[_LOST] = dropped, lost

    def traffic(self) -> Traffic:
        """How things stand."""
        return Traffic(
            packets=self._head[_PACKETS],
            bytes=self._head[_BYTES],
            dropped=self._head[_DROPPED],
            lost=self._head[_LOST],
            late_p50_us=self._late_us(0.5),
            late_p99_us=self._late_us(0.99),
        )

    def _late_us(self, share: float) -> float | None:
        """That quantile of the lateness: the upper end of its step."""
        counts = self.lateness.tolist()
        wanted, seen = share * sum(counts), 0
        for step, count in enumerate(counts):
            seen += count
            if count and seen >= wanted:
                return float((step + 1) * STEP_US)
        return None
