"""Spare threads in the MPMs of other systems than Unix: how many to start, which of them to end.

Pure, as spare.py's rules are: they read the scoreboard and a small state and answer with data.
winnt has no such rule: its pool is fixed. With `quirks` a rule has the mistakes of its source, each
of which is named where it is made. Sources: perform_idle_server_maintenance() in
server/mpm/netware/mpm_netware.c and, of httpd 2.2, server/mpm/beos/beos.c; server_maintenance() in
server/mpm/mpmt_os2/mpmt_os2_child.c, and the parent's loop in mpmt_os2.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mpmlab.core.scoreboard import DEAD, IDLE_KILL, READY, STARTING, Scoreboard
from mpmlab.core.settings import Message, Settings

#: MAX_SPAWN_RATE of netware and of beos.
NETWARE_SPAWN_RATE: Final = 64
BEOS_SPAWN_RATE: Final = 32
#: From this rate on a pass of netware says that the server seems busy.
_BUSY_SPAWN_RATE: Final = 8
_IDLE: Final = (STARTING, READY)


@dataclass(frozen=True)
class ThreadDecision:
    """What one pass wants: threads started in these cells, in this order; the thread of one cell
    asked to end; these lines logged."""

    start: tuple[int, ...] = ()
    end: int | None = None
    messages: tuple[Message, ...] = ()


@dataclass
class ThreadState:
    """What the server remembers from pass to pass."""

    rate: int = 1  # threads that the next pass may start
    hold_off: int = 0  # passes left that do not double the rate
    watermark: int = 0  # one more than the highest cell in use at the last pass
    reported: set[str] = field(default_factory=set)  # ids of messages that are logged once

    def started(self, cells: Sequence[int], most: int) -> None:
        """So many were started now; next time it may be twice as many, `most` at most."""
        self.watermark = max(self.watermark, *(cell + 1 for cell in cells), 0)
        if self.hold_off:
            self.hold_off -= 1
        elif self.rate < most:
            self.rate *= 2


def netware_spares(board: Scoreboard, settings: Settings, state: ThreadState) -> ThreadDecision:
    """One pass of netware, each second."""
    statuses = bytes(board.row(0, settings.max_threads))
    top = len(statuses.rstrip(bytes((DEAD,))))
    free = _free_cells(statuses, max(top, state.watermark), state.rate)
    living = [cell for cell in range(top) if statuses[cell] not in (DEAD, IDLE_KILL)]
    idle = [cell for cell in living if statuses[cell] in _IDLE]
    state.watermark = living[-1] + 1 if living else 0
    if len(idle) > settings.max_spare_threads:
        state.rate = 1
        # A quirk: it means to end an idle one, and takes the last of all. A busy one overwrites the
        # order with its next status, and stays.
        return ThreadDecision(end=living[-1] if settings.quirks else idle[-1])
    if len(idle) >= settings.min_spare_threads:
        state.rate = 1
        return ThreadDecision()
    if not free:
        state.rate = 1
        return ThreadDecision(messages=_once(state, "AH00220", "MaxThreads is reached"))
    messages: tuple[Message, ...] = ()
    if state.rate >= _BUSY_SPAWN_RATE:
        text = (
            f"the server seems busy (consider raising StartThreads or Min/MaxSpareThreads): "
            f"starting {state.rate} threads; {len(idle)} idle, {len(living)} in all"
        )
        messages = (Message("info", "AH00221", text),)
    state.started(free, NETWARE_SPAWN_RATE)
    return ThreadDecision(tuple(free), messages=messages)


def beos_spares(board: Scoreboard, settings: Settings, state: ThreadState) -> ThreadDecision:
    """One pass of beos, each second in which no thread ended. A cell that is not DEAD has one."""
    statuses = bytes(board.row(0, settings.threads_per_child))
    top = len(statuses.rstrip(bytes((DEAD,))))
    free = _free_cells(statuses, max(top, state.watermark), state.rate)
    state.watermark = top
    idle = sum(statuses.count(status) for status in _IDLE)
    # A quirk: nobody looks at who is idle, so that the pool grows until it is full.
    if not free or not (settings.quirks or idle < settings.min_spare_threads):
        state.rate = 1
        return ThreadDecision()
    state.started(free, BEOS_SPAWN_RATE)
    return ThreadDecision(tuple(free))


def os2_spares(idle: int, pending: int, settings: Settings) -> tuple[int, bool]:
    """(how many threads to start, whether to end one): one pass of an os2 child, each half second,
    with so many threads READY and so many connections waiting in its queue."""
    needed = max(0, settings.min_spare_threads - idle + pending)
    spare = idle - pending
    if spare < 0 and settings.quirks:
        # A quirk: the length of the queue is an unsigned long, and so is the difference. Below zero
        # it is a very large number, so that a child without enough threads ends one, too.
        return needed, True
    return needed, spare > settings.max_spare_threads


def os2_missing(board: Scoreboard, settings: Settings) -> tuple[int, ...]:
    """The slots into which the parent puts children, so that StartServers do not quiesce."""
    slots = range(board.server_limit)
    active = sum(bool(board.pid[slot]) and not board.quiescing[slot] for slot in slots)
    empty = [slot for slot in slots if not board.pid[slot]]
    return tuple(empty[: max(0, settings.start_servers - active)])


def _free_cells(statuses: bytes, top: int, most: int) -> list[int]:
    """The first `most` DEAD ones; above `top` the search ends as soon as there are enough."""
    free: list[int] = []
    for cell, status in enumerate(statuses):
        if cell >= top and len(free) == most:
            break
        if status == DEAD and len(free) < most:
            free.append(cell)
    return free


def _once(state: ThreadState, ident: str, text: str) -> tuple[Message, ...]:
    if ident in state.reported:
        return ()
    state.reported.add(ident)
    return (Message("error", ident, f"{text}: consider raising it"),)
