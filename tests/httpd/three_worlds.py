"""What a test vector asks of a server, whichever world it runs in: httpd, real or sim.

The interface and what can be said in its terms: waiting for a condition, the sizes that a pool goes
through. The worlds themselves are three_httpd.py, three_real.py and three_sim.py. In httpd and real
the time is this machine's, in sim the simulation's; in all three it only passes in `rest`.
"""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from mpmlab.core.scoreboard import Scoreboard
from mpmlab.kernel.interface import Signal

WORLDS: Final = ("httpd", "real", "sim")
#: Longer than any test: a request that is stuck.
STUCK_US: Final = 600_000_000
DEADLINE_S: Final = 30.0
#: The parent's heartbeat (mpms/supervisor.py; httpd: ap_wait_or_timeout).
PASS_S: Final = 1.0
#: How late a look may notice something, on a machine that others use.
GRAIN_S: Final = 0.2
#: A pool that has had one size for so long is at rest until the next pass, which comes 1 s after
#: the last; so that the sizes while a pass forks are not taken for its outcome.
REST_S: Final = 0.4


@dataclass
class Caller:
    """One client connection with one request, and what became of it: (when, what) pairs, where what
    is "connected", a status such as "200", "eof" or "reset"."""

    events: list[tuple[float, str]] = field(default_factory=list)

    def whats(self) -> list[str]:
        """The events without their times."""
        return [what for _, what in self.events]

    def when(self, what: str) -> float | None:
        """The time of the first event of that name; None if there was none yet."""
        return next((t for t, w in self.events if w == what), None)

    def saw(self, what: str) -> bool:
        """Whether it has happened."""
        return self.when(what) is not None

    def hang_up(self) -> None:
        """Close the connection from the client's side."""
        raise NotImplementedError


class Engine(ABC):
    """A running server."""

    #: What may be lost for want of a core from one event to the next: almost a pass, so that a
    #: pass that was left out is never excused.
    slack_s: ClassVar[float] = 0.9
    #: Nothing depends on who is quicker.
    exact: ClassVar[bool] = False

    @abstractmethod
    def now(self) -> float:
        """Seconds on this world's clock."""

    @abstractmethod
    def rest(self) -> None:
        """Let a few milliseconds pass, in which callers' events are noted as they come."""

    @abstractmethod
    def pids(self) -> list[int]:
        """The children that have not been reaped."""

    @abstractmethod
    def letters(self) -> str:
        """The scoreboard's letters. In httpd a look needs a worker, which is not among them, and
        keeps a connection, until `hush`."""

    @abstractmethod
    def closing(self) -> int:
        """event: connections in lingering close without a worker, as last counted."""

    @abstractmethod
    def first_made(self) -> int:
        """How many connections the first child has taken; in a pool of one process."""

    @abstractmethod
    def told(self, ident: str) -> list[float]:
        """When the error log had a message of that number."""

    @abstractmethod
    def signal(self, sign: Signal) -> None:
        """To the parent."""

    @abstractmethod
    def crash(self, pid: int) -> None:
        """SEGV for a child."""

    @abstractmethod
    def code(self) -> int | None:
        """The parent's exit code, once it has ended."""

    @abstractmethod
    def call(
        self,
        wait_us: int = 0,
        keep: bool = True,
        crash: bool = False,
        half: bool = False,
        polite: bool = False,
    ) -> Caller:
        """A connection with one request, whose handler waits or crashes. `keep`: it asks for a
        persistent connection; `half`: half of its head is sent, and then nothing; `polite`: it
        closes when the server has, instead of holding its side open."""

    def hush(self) -> None:  # noqa: B027 - most have nothing to do
        """Give back what looks cost."""

    def children(self) -> int:
        """How many."""
        return len(self.pids())

    def until(
        self, condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S
    ) -> float:
        """Wait for a condition; the time when it held. AssertionError after the deadline."""
        start_s = self.now()
        while not condition():
            assert self.now() - start_s < deadline_s, f"not within {deadline_s:g} s: {what}"
            self.rest()
        return self.now()

    def rest_for(self, seconds: float) -> None:
        """Watch for so long that nothing happens; the test says what."""
        until_s = self.now() + seconds
        self.until(lambda: self.now() >= until_s, "time passes")

    def sizes(
        self, last: int, rest_s: float = REST_S, deadline_s: float = DEADLINE_S
    ) -> list[tuple[float, int]]:
        """The sizes at rest of the pool until it has come to `last`, or past it, from below or
        above; with the time when each was reached."""
        seen: list[tuple[float, int]] = []
        start_s = since_s = self.now()
        size = self.children()
        way = 1 if size <= last else -1
        while not seen or way * seen[-1][1] < way * last:
            now_s, found = self.now(), self.children()
            assert now_s - start_s < deadline_s, f"sizes so far: {seen}, then {size}"
            if found != size:
                size, since_s = found, now_s
            elif now_s - since_s >= rest_s and (not seen or seen[-1][1] != size):
                seen.append((since_s, size))
            self.rest()
        return seen

    def settled(self, size: int) -> list[tuple[float, int]]:
        """The sizes of the start, until the pool has had this one for two passes: a pass that finds
        enough spares puts the rate of spawning back to one."""
        seen = self.sizes(size)
        self.sizes(size, rest_s=2.3)
        return seen


class BoardEngine(Engine):
    """One of ours, whose scoreboard can be read directly."""

    def __init__(self, board: Scoreboard) -> None:
        self.board = board
        self._first, self._made = 0, 0

    def pids(self) -> list[int]:
        """See Engine."""
        return [pid for pid in self.board.pid if pid]

    def letters(self) -> str:
        """See Engine."""
        return self.board.letters().rstrip(".")

    def closing(self) -> int:
        """See Engine."""
        return sum(self.board.lingering_close)

    def first_made(self) -> int:
        """See Engine."""
        return self._made

    def note(self) -> None:
        """Called while time passes: a slot's counters outlive its process, so they are the first
        child's only as long as the slot is."""
        pid = self.board.pid[0]
        self._first = self._first or pid
        if pid == self._first:
            self._made = sum(self.board.accepted[: self.board.thread_limit])


class Begin(Protocol):
    """Starts a server of this world. `debug`: messages of that level too; `lines`: more of
    httpd.conf, for httpd only."""

    def __call__(
        self,
        mpm: str,
        directives: dict[str, object] | None = None,
        debug: bool = False,
        lines: Sequence[str] = (),
    ) -> AbstractContextManager[Engine]: ...


def sizes_of(seen: Sequence[tuple[float, int]]) -> list[int]:
    """Without the times."""
    return [size for _, size in seen]


def gaps_s(times_s: Sequence[float]) -> list[float]:
    """Between neighbours."""
    return [b - a for a, b in itertools.pairwise(times_s)]


def hold_pace(engine: Engine, times_s: Sequence[float]) -> None:
    """Each comes one pass after the one before: not earlier than the second that the parent sleeps
    (but for the grain of looks), and later by less than another pass."""
    gaps = gaps_s(times_s)
    assert gaps
    assert all(PASS_S - GRAIN_S <= gap <= PASS_S + engine.slack_s for gap in gaps), gaps


def hold_shrinking(
    engine: Engine, seen: Sequence[tuple[float, int]], exactly: int, least: int, most: int
) -> None:
    """From the first burial of a child to the last of `seen` it takes so many passes: `exactly` in
    simulation, `least` to `most` where processes take time to die.

    The cause: a pass asks one child to end, and then the parent looks for dead children, once. A
    victim that takes longer than the parent takes to look is buried a second later, after the next
    pass. That is the rule; but now and then the victim is quicker (the parent has lost its core to
    it), in httpd as in ours, and then a second has two burials, or the next one none, or event,
    which waits for the burial, is a second ahead: on a single core often enough for any pace
    between the two."""
    buried_s = [
        at for (_, before), (at, size) in itertools.pairwise(seen) for _ in range(before - size)
    ]
    if engine.exact:
        least = most = exactly
    elif _cores() == 1:
        least = min(least, len(buried_s) - 1)
    took_s = buried_s[-1] - buried_s[0]
    assert least * PASS_S - GRAIN_S <= took_s <= most * PASS_S + engine.slack_s, gaps_s(buried_s)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
