"""The trace: every operation's (time, process, thread, kind), rolled into a digest.

Recording and hashing only; nothing is decided here but that operations without end in no time are a
livelock. Two runs with the same digest did the same things at the same times.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import Final

from mpmlab.sim.clock import LIVELOCK_LIMIT, Livelock

# Kinds of operations. A code is thread tag + kind; the tag is (pid << 20 | tid) << 5.
FORK: Final = 1
THREAD: Final = 2
WAIT: Final = 3
SLEEP: Final = 4
WORK: Final = 5
LOCK: Final = 6
PUT: Final = 7
GET: Final = 8
ACCEPT: Final = 9
POLL: Final = 10
RECV: Final = 11
SEND: Final = 12
CONNECT: Final = 13
EXIT: Final = 14
KILL: Final = 15
CLOSE: Final = 16

#: Operation names by kind, for people.
NAMES: Final = (
    "", "fork", "thread", "wait", "sleep", "work", "lock", "put", "get", "accept", "poll", "recv",
    "send", "connect", "exit", "kill", "close",
)  # fmt: skip

_TID_BITS: Final = 20
_KIND_BITS: Final = 5


def tag_of(pid: int, tid: int) -> int:
    """What a thread adds to the kind of an operation."""
    return (pid << _TID_BITS | tid) << _KIND_BITS


def parts_of(code: int) -> tuple[int, int, str]:
    """A code back to (pid, tid, name of the operation)."""
    tid = code >> _KIND_BITS & (1 << _TID_BITS) - 1
    return code >> (_TID_BITS + _KIND_BITS), tid, NAMES[code & (1 << _KIND_BITS) - 1]


class Trace:
    """Times and codes of the operations since the last full block, and the hash of those before.

    The kernels append to `times` and `codes` themselves, and call `roll` once `times` is full."""

    __slots__ = ("_hash", "codes", "hashing", "rolled", "times")

    def __init__(self, hashing: bool = True) -> None:
        """Without `hashing` there is no digest, only the watch for livelocks."""
        self.times: list[float] = []
        self.codes: list[int] = []
        self.hashing = hashing
        self.rolled = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def roll(self) -> None:
        """Hash what has been recorded and forget it. Raises Livelock if a whole block of
        operations took no time."""
        times, codes = self.times, self.codes
        if len(times) >= LIVELOCK_LIMIT and times[0] == times[-1]:
            pid, tid, name = parts_of(codes[-1])
            raise Livelock(
                f"{len(times)} operations at {times[0]} s and no time passes; "
                f"the last was {name} of thread {tid} in process {pid}"
            )
        if self.hashing:
            self._hash.update(array("d", times).tobytes())
            self._hash.update(array("q", codes).tobytes())
        self.rolled += len(times)
        times.clear()
        codes.clear()

    @property
    def operations(self) -> int:
        """How many operations were recorded."""
        return self.rolled + len(self.times)

    @property
    def digest(self) -> str:
        """The hash of the whole trace so far, as hexadecimal digits; "" without hashing."""
        if not self.hashing:
            return ""
        total = self._hash.copy()
        total.update(array("d", self.times).tobytes())
        total.update(array("q", self.codes).tobytes())
        return total.hexdigest()
