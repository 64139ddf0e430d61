"""Spare servers: how many children to start, into which slots, when to end one, and how to kill.

Idle-server maintenance of prefork, worker and event, the respawn of crashed children, the kill
ladder, and event's limit of connections. All pure: they read the scoreboard and a small state, and
answer with data. Only event's pass writes to the board, as event.c does (a quiescing process is
marked as counted). One bucket of listeners throughout.

Sources (httpd 2.4): perform_idle_server_maintenance and server_main_loop in
server/mpm/{prefork/prefork,worker/worker,event/event}.c.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mpmlab.core.scoreboard import DEAD, GRACEFUL, READY, STARTING, Scoreboard
from mpmlab.core.settings import Message, Settings

#: Most children started by one pass (MAX_SPAWN_RATE in all three MPMs).
MAX_SPAWN_RATE: Final = 32
#: From this rate on a pass says that the server seems busy.
BUSY_SPAWN_RATE: Final = 8

# Counting is done on a process's row of status bytes at once: what is left after deleting them.
# A starting child counts as idle on purpose, or a slow start would bring a flood of forks.
_IDLE: Final = bytes((DEAD, STARTING, READY))
_ACTIVE: Final = bytes(range(READY, GRACEFUL))
_ALL_DEAD: Final = bytes((DEAD, GRACEFUL))


@dataclass(frozen=True)
class Decision:
    """What one pass wants: children forked into these slots, in this order; one idle child asked to
    end, through the pipe of death; these lines logged; or, `fatal`, the server shut down."""

    fork_slots: tuple[int, ...] = ()
    kill_one: bool = False
    messages: tuple[Message, ...] = ()
    fatal: bool = False


@dataclass
class SpareState:
    """What the parent remembers from pass to pass, for its whole life (httpd: retained data)."""

    rate: int = 1  # children that the next spawning pass may start
    hold_off: int = 0  # spawning passes left that do not double the rate; 10 after a graceful
    #: One more than the highest slot in use at the last pass, its forks included
    #: (max_daemons_limit, event: max_daemon_used).
    watermark: int = 0
    #: Ids of messages that are logged once in the parent's life.
    reported: set[str] = field(default_factory=set)
    sick_child_detected: bool = False  # set by the parent when a child ends with CHILDSICK
    had_healthy_child: bool = False  # in this configuration: False again at each restart
    # Of event, kept by the parent as it forks and reaps; a pass takes quiescing ones off `active`.
    active_daemons: int = 0
    total_daemons: int = 0

    def spawn(self, slots: tuple[int, ...], messages: tuple[Message, ...]) -> Decision:
        """Fork into the slots, and start twice as many next time if that was not enough."""
        self.watermark = max(self.watermark, *(slot + 1 for slot in slots), 0)
        if self.hold_off:
            self.hold_off -= 1
        elif self.rate < MAX_SPAWN_RATE:
            self.rate *= 2
        return Decision(slots, messages=messages)

    def once(self, message: Message) -> tuple[Message, ...]:
        """The message, the first time; nothing from then on."""
        if message.ident in self.reported:
            return ()
        self.reported.add(message.ident)
        return (message,)


# ---- prefork ----


def prefork_spares(board: Scoreboard, settings: Settings, state: SpareState) -> Decision:
    """One maintenance pass of prefork (prefork.c: perform_idle_server_maintenance)."""
    limit, rate = settings.daemons_limit, state.rate
    statuses = bytes(board.status[: limit * board.thread_limit : board.thread_limit])
    top = len(statuses.rstrip(b"\0"))
    free: list[int] = []
    slot = statuses.find(DEAD)
    while slot >= 0 and len(free) < rate:
        free.append(slot)
        slot = statuses.find(DEAD, slot + 1)
    total = top - statuses[:top].count(DEAD)
    idle = statuses.count(STARTING) + statuses.count(READY)
    state.watermark = top
    if idle > settings.max_spare_servers:
        state.rate = 1
        return Decision(kill_one=True)
    if idle >= settings.min_spare_servers:
        state.rate = 1
        return Decision()
    if not free:
        state.rate = 1
        return Decision(messages=state.once(_at_maximum("AH00161")))
    advice = "StartServers or Min/MaxSpareServers)"  # httpd tells the rate, not how many it starts
    text = f"{advice}: starting {rate} children; {idle} idle, {total} in all"
    return state.spawn(tuple(free), _seems_busy("AH00162", rate, text))


# ---- worker ----


@dataclass
class _Count:
    """What a pass over the board of a threaded MPM finds."""

    idle: int = 0
    active: int = 0
    watermark: int = 0
    not_dying: int = 0  # worker: rows without a gracefully finishing thread, empty ones included
    free: list[int] = field(default_factory=list)


def worker_spares(board: Scoreboard, settings: Settings, state: SpareState) -> Decision:
    """One maintenance pass of worker (worker.c: perform_idle_server_maintenance)."""
    count = _count_worker(board, settings, state)
    state.watermark = count.watermark
    if _is_basket_case(state):
        return _give_up("AH02325")
    if count.idle > settings.max_spare_threads:
        state.rate = 1
        return Decision(kill_one=True)
    if count.idle >= settings.min_spare_threads:
        state.rate = 1
        return Decision()
    if not count.free:
        state.rate = 1
        if count.active >= settings.max_request_workers:
            return Decision(messages=_at_or_near_maximum(state, count.idle, "AH00286", "AH00287"))
        return Decision(messages=(Message("error", "AH00288", _SCOREBOARD_FULL),))
    fork = tuple(count.free[: state.rate])
    messages = _seems_busy(
        "AH00289",
        state.rate,
        f"{_THREADED_ADVICE}: starting {len(fork)} children; about {count.idle} idle threads, "
        f"{count.not_dying} children in all",
    )
    return state.spawn(fork, messages)


def _count_worker(board: Scoreboard, settings: Settings, state: SpareState) -> _Count:
    """Scan MaxRequestWorkers / ThreadsPerChild slots. Slots whose process is on its way out may be
    squatted; those with no thread left in them come first, as all threads can start there."""
    count, empty = _Count(), 0
    threads, top = settings.threads_per_child, max(state.watermark, _top(board))
    for slot in range(settings.daemons_limit):
        if slot >= top and empty == state.rate:
            break
        row = bytes(board.row(slot, threads))
        has_process = board.pid[slot] != 0
        quiescing = board.quiescing[slot] != 0
        active = 0
        if has_process:
            if not quiescing and board.generation_of[slot] == board.generation:
                count.idle += _how_many(row, _IDLE)
            active = _how_many(row, _ACTIVE)
            count.active += active
            count.watermark = slot + 1
        if (
            DEAD in row
            and empty < state.rate
            and len(count.free) < MAX_SPAWN_RATE
            and (quiescing or not has_process)
        ):
            count.free.append(slot)
            if not row.translate(None, _ALL_DEAD):
                count.free[empty], count.free[-1] = slot, count.free[empty]
                empty += 1
        elif active == threads:
            state.had_healthy_child = True
        count.not_dying += GRACEFUL not in row
    return count


# ---- event ----


def event_spares(board: Scoreboard, settings: Settings, state: SpareState) -> Decision:
    """One maintenance pass of event (event.c: perform_idle_server_maintenance).

    Processes that began to quiesce are counted out: their board.quiescing goes from 1 to 2."""
    count = _count_event(board, settings, state)
    state.watermark = count.watermark
    if _is_basket_case(state):
        return _give_up("AH02324")
    if count.idle > settings.max_spare_threads:
        state.rate = 1
        # A process that was asked to end may take long. Unless the board has slack for a whole
        # graceful restart, wait for it before asking the next.
        slack = settings.server_limit - state.total_daemons
        gone = state.active_daemons == state.total_daemons
        return Decision(kill_one=gone or slack > settings.daemons_limit)
    if count.idle >= settings.min_spare_threads:
        state.rate = 1
        return Decision()
    if count.active >= settings.max_request_workers:
        state.rate = 1
        return Decision(messages=_at_or_near_maximum(state, count.idle, "AH00484", "AH10159"))
    if not count.free:
        state.rate = 1
        full = Message("error", "AH03490", f"{_SCOREBOARD_FULL}: raise ServerLimit")
        return Decision(messages=(full,))
    return _event_spawn(settings, state, count)


def _event_spawn(settings: Settings, state: SpareState, count: _Count) -> Decision:
    """Start children, but no more than MaxRequestWorkers / ThreadsPerChild active ones."""
    room = max(0, settings.daemons_limit - state.active_daemons)
    wanted = min(len(count.free), state.rate, room)
    if not room:
        state.rate = 1
        state.hold_off += 1  # taken back at once by spawn(): the rate does not grow this time
    messages = _seems_busy(
        "AH00486",
        state.rate,
        f"{_THREADED_ADVICE}: starting {wanted} children; about {count.idle} idle threads, "
        f"{state.active_daemons} active children of {state.total_daemons}",
    )
    return state.spawn(tuple(count.free[:wanted]), messages)


def _count_event(board: Scoreboard, settings: Settings, state: SpareState) -> _Count:
    """Scan ServerLimit slots. Only empty slots are free: no squatting since 2.4.25."""
    count = _Count()
    threads, top = settings.threads_per_child, _top(board)
    for slot in range(settings.server_limit):
        if slot >= top and len(count.free) == state.rate:
            break
        if board.pid[slot] == 0:
            if len(count.free) < state.rate:
                count.free.append(slot)
            continue
        if board.quiescing[slot] == 1:
            board.quiescing[slot] = 2
            state.active_daemons -= 1
        row = bytes(board.row(slot, threads))
        if not (
            board.quiescing[slot]
            or board.not_accepting[slot]
            or board.generation_of[slot] != board.generation
        ):
            count.idle += _how_many(row, _IDLE)
        active = _how_many(row, _ACTIVE)
        count.active += active
        if active == threads:
            state.had_healthy_child = True
        count.watermark = slot + 1
    return count


# ---- crashes, stop, and the limit of connections ----


@dataclass(frozen=True)
class Respawn:
    """Whether to replace a killed child at once, and what to log (a warning) if anything."""

    start_now: bool
    message: str = ""


class RespawnRule:
    """Whether a child of worker or event that a signal killed is replaced at once.

    The first two in a row are; from the third on only maintenance does it, so that children that
    die young do not become a flood of forks (server_main_loop; AH10393 worker, AH10392 event)."""

    def __init__(self) -> None:
        self._kills = 0

    def killed(self) -> Respawn:
        """A child that has a slot died of a signal."""
        self._kills += 1
        if self._kills % 10 == 3:
            return Respawn(False, f"{self._kills} children in a row were killed by a signal")
        return Respawn(self._kills < 3)

    def quiet(self) -> None:
        """A second went by in which no child was reaped: the row of kills ends."""
        self._kills = 0


@dataclass(frozen=True)
class Action:
    """A step of the kill ladder. `kind` is what to do to each child that still lives: "wait" (that
    is, nothing), "term", "kill", "give_up". `message` is logged for each, after its name."""

    kind: str
    wait_s: float  # how long to sleep after it
    message: Message | None = None


_SLOW: Final = Message("warn", "AH00045", "still did not exit: SIGTERM again")
#: (seconds since the start, kind, message); the first step only if the ladder terminates.
_LADDER: Final[tuple[tuple[float, str, Message | None], ...]] = (
    (0.0, "term", None),
    (3.0, "term", _SLOW),
    (5.0, "term", _SLOW),
    (7.0, "term", _SLOW),
    (9.0, "kill", Message("error", "AH00046", "still did not exit: SIGKILL")),
    (10.0, "give_up", Message("error", "AH00047", "could not be made to exit: giving up")),
)
_FIRST_WAIT_S: Final = 0.016384
_LONGEST_WAIT_S: Final = 1.0


class Reclaim:
    """The kill ladder of a stop or restart (server/mpm_unix.c: ap_reclaim_child_processes).

    Round the loop: reap; if any child lives, take `next(elapsed_s)` and do it; unless that was
    "give_up", sleep its `wait_s`. The waits are 16 ms, 66 ms, 0.26 s and then 1 s, so a step comes
    up to a second after its time: a deaf child is killed at 9.3 s and given up at 10.3 s."""

    def __init__(self, terminate: bool) -> None:
        self._rest = list(_LADDER if terminate else _LADDER[1:])
        self._wait_s = _FIRST_WAIT_S

    def next(self, elapsed_s: float) -> Action:
        """What to do now, so many seconds after the start: one step at most. After "give_up" there
        is nothing but waiting."""
        wait_s = self._wait_s
        self._wait_s = min(_LONGEST_WAIT_S, 4 * wait_s)
        if self._rest and self._rest[0][0] <= elapsed_s:
            _, kind, message = self._rest.pop(0)
            return Action(kind, wait_s, message)
        return Action("wait", wait_s)


def connections_above_limit(
    idle_workers: int,
    connections: int,
    lingering: int,
    threads_per_child: int,
    factor_floor: int,
    listening_disabled: bool,
) -> tuple[bool, bool]:
    """(above, busy): whether an event process holds too many connections to accept another, and
    whether that is for want of an idle worker (event.c: connections_above_limit, since 2.4.30).

    While listening is disabled one idle worker is discounted, so that it does not flip-flop."""
    if idle_workers <= 0:
        return True, True
    allowed = threads_per_child + (idle_workers - listening_disabled) * factor_floor
    return connections - lingering >= allowed, False


# ---- shared ----

_THREADED_ADVICE: Final = "StartServers, ThreadsPerChild or Min/MaxSpareThreads)"
_SCOREBOARD_FULL: Final = "the scoreboard is full, although MaxRequestWorkers is not reached"


def _top(board: Scoreboard) -> int:
    """One more than the highest slot with a process: above it a scan may end early. (httpd raises
    its watermark at each fork; looking needs no help from whoever forks.)"""
    return -(-len(bytes(board.pid).rstrip(b"\0")) // board.pid.itemsize)


def _how_many(row: bytes, statuses: bytes) -> int:
    """How many of the row's cells have one of the statuses."""
    return len(row) - len(row.translate(None, statuses))


def _is_basket_case(state: SpareState) -> bool:
    """A child was short of resources, and none ever got all its threads going: hopeless."""
    if state.sick_child_detected and state.had_healthy_child:
        state.sick_child_detected = False
    return state.sick_child_detected


def _give_up(ident: str) -> Decision:
    text = "no child process ever started completely, for want of resources: shutting down"
    return Decision(messages=(Message("alert", ident, text),), fatal=True)


def _at_maximum(ident: str) -> Message:
    return Message("error", ident, "MaxRequestWorkers is reached: consider raising it")


def _at_or_near_maximum(
    state: SpareState, idle: int, at_ident: str, near_ident: str
) -> tuple[Message, ...]:
    """Either is logged once in the parent's life."""
    if not idle:
        return state.once(_at_maximum(at_ident))
    text = "less than MinSpareThreads below MaxRequestWorkers: consider raising it"
    return state.once(Message("error", near_ident, text))


def _seems_busy(ident: str, rate: int, text: str) -> tuple[Message, ...]:
    if rate < BUSY_SPAWN_RATE:
        return ()
    return (Message("info", ident, f"the server seems busy (consider raising {text}"),)
