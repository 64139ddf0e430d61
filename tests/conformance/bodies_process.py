"""Bodies about processes: fork, wait, death, signals. Rules: table.py."""

from __future__ import annotations

from typing import Any

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Kernel, Listener, Queue, Signal, Steps

from .table import LATE_S, LONG_S, SHORT_S, conforms, end_of, lasted

USR1, HUP, TERM, KILL, SEGV = (
    Signal.USR1, Signal.HUP, Signal.TERM, Signal.KILL, Signal.SEGV,
)  # fmt: skip


def names(signals: Any) -> tuple[str, ...]:
    """Signals as JSON."""
    return tuple(s.value for s in signals)


def exits(k: Kernel, code: int, after_s: float = 0.0) -> Steps[int]:
    """A child that ends with that code."""
    yield k.sleep(after_s)
    return code


def stays(k: Kernel, queue: Queue) -> Steps[int]:
    """A child that says "r" and then only ends by a signal: 0 if one is pending."""
    yield k.put(queue, "r")
    yield k.sleep(LONG_S)
    return 0 if k.signals() else 1


@conforms((True, (0, 7, 255)))
def exit_codes(k: Kernel, _listener: Listener) -> Steps[Any]:
    """wait tells of each child once: its pid and its exit code."""
    forked = {}
    for code in (0, 7, 255):
        pid = yield k.fork(exits, code)
        forked[pid] = code
    reaped = {}
    for _ in forked:
        dead = yield k.wait(LONG_S)
        assert dead.signal is None
        reaped[dead.pid] = dead.code
    return reaped == forked, tuple(sorted(reaped.values()))


def tells_pid(k: Kernel, queue: Queue) -> Steps[int]:
    """A child that puts its own pid, digit by digit."""
    for digit in f"{k.pid()}.":
        yield k.put(queue, digit)
    return 0


@conforms((True, True))
def pids(k: Kernel, _listener: Listener) -> Steps[Any]:
    """fork gives the pid that the child itself sees, another than the parent's."""
    queue = k.queue(shared=True)
    pid = yield k.fork(tells_pid, queue)
    text = ""
    while not text.endswith("."):
        text += yield k.get(queue, LONG_S)
    yield k.wait(LONG_S)
    return text == f"{pid}.", pid != k.pid()


@conforms((None, "ok", None))
def wait_without_children(k: Kernel, _listener: Listener) -> Steps[Any]:
    """wait with no children is a quiet timeout; a try gives None."""
    start = k.now()
    dead = yield k.wait(SHORT_S)
    how = lasted(k, start, SHORT_S)
    return dead, how, (yield k.wait(0))


@conforms((None, "ok", 5, "ok"))
def wait_with_live_child(k: Kernel, _listener: Listener) -> Steps[Any]:
    """wait on a living child times out; it ends as soon as the child does."""
    start = k.now()
    yield k.fork(exits, 5, 4 * SHORT_S)
    dead = yield k.wait(SHORT_S)
    first = lasted(k, start, SHORT_S)
    code = yield from end_of(k)
    return dead, first, code, lasted(k, start, 4 * SHORT_S)


@conforms(("KILL", "SEGV"))
def deadly_signals(k: Kernel, _listener: Listener) -> Steps[Any]:
    """KILL and SEGV end a process unseen, and wait tells the signal."""
    queue = k.queue(shared=True)
    ends = []
    for signal in (KILL, SEGV):
        pid = yield k.fork(stays, queue)
        yield k.get(queue, LONG_S)
        assert k.kill(pid, signal)
        ends.append((yield from end_of(k)))
    return tuple(ends)


@conforms((0, 0, 0, 0))
def caught_signals(k: Kernel, _listener: Listener) -> Steps[Any]:
    """TERM, WINCH, HUP and USR1 do not kill: they are pending, and end the main thread's sleep."""
    queue = k.queue(shared=True)
    ends = []
    for signal in (TERM, Signal.WINCH, HUP, USR1):
        pid = yield k.fork(stays, queue)
        yield k.get(queue, LONG_S)
        assert k.kill(pid, signal)
        ends.append((yield from end_of(k)))
    return tuple(ends)


@conforms((0, 0))
def early_signal(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A signal sent to a child right after fork is not lost."""
    queue = k.queue(shared=True)
    ends = []
    for _ in range(2):
        pid = yield k.fork(stays, queue)
        assert k.kill(pid, USR1)
        ends.append((yield from end_of(k)))
    return tuple(ends)


def dies_of_term(k: Kernel, queue: Queue, pending_first: bool) -> Steps[int]:
    """A child with TERM's and HUP's default disposition."""
    if pending_first:
        k.kill(k.pid(), HUP)
    k.dies_of(TERM)
    k.dies_of(HUP)
    yield k.put(queue, "r")
    yield k.sleep(LONG_S)
    return 1


@conforms(("TERM", "HUP"))
def dies_of(k: Kernel, _listener: Listener) -> Steps[Any]:
    """After dies_of the process dies of the signal when it comes, or at once if it is pending."""
    queue = k.queue(shared=True)
    pid = yield k.fork(dies_of_term, queue, False)
    yield k.get(queue, LONG_S)
    k.kill(pid, TERM)
    first = yield from end_of(k)
    yield k.fork(dies_of_term, queue, True)
    return first, (yield from end_of(k))


def counts_signals(k: Kernel, queue: Queue) -> Steps[int]:
    """A child that ends with how many signals are pending at its start, or with 9 if it lives
    through TERM and sees that one."""
    at_start = len(k.signals())
    yield k.put(queue, "r")
    yield k.sleep(LONG_S)
    return 9 if not at_start and names(k.signals()) == ("TERM",) else at_start


@conforms((9, ("USR1",)))
def child_starts_afresh(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A child has no pending signals and its parent's dies_of is undone; the parent keeps its."""
    queue = k.queue(shared=True)
    k.dies_of(TERM)
    k.kill(k.pid(), USR1)
    pid = yield k.fork(counts_signals, queue)
    pending = k.take_signals()
    yield k.get(queue, LONG_S)
    k.kill(pid, TERM)
    return (yield from end_of(k)), names(pending)


def has_no_children(k: Kernel) -> Steps[int]:
    """A child that waits for its siblings in vain, then for its own child."""
    none = yield k.wait(SHORT_S)
    yield k.fork(exits, 3)
    dead = yield k.wait(LONG_S)
    return 0 if none is None and dead.code == 3 else 1


@conforms((0, 6))
def siblings(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A child starts without children: those of its parent are not its own. Children may fork."""
    sibling = yield k.fork(exits, 6)
    yield k.fork(has_no_children)
    codes = {}
    for _ in range(2):
        dead = yield k.wait(LONG_S)
        codes[dead.pid == sibling] = dead.code
    return codes[False], codes[True]


@conforms(("ok", (None, None, None, None, None), "ok"))
def level_triggered(k: Kernel, listener: Listener) -> Steps[Any]:
    """While a signal is pending the main thread's waits return falsy at once, again and again;
    once it is taken they wait as before."""
    k.kill(k.pid(), USR1)
    start = k.now()
    found = (
        (yield k.sleep(LONG_S)),
        (yield k.wait(LONG_S)),
        (yield k.accept(listener, LONG_S)),
        (yield k.get(k.queue(), LONG_S)),
        (yield k.get(k.queue(shared=True), LONG_S)),
    )
    yield k.sleep(LONG_S)
    first = lasted(k, start, 0)
    k.take_signals()
    start = k.now()
    yield k.sleep(SHORT_S)
    return first, found, lasted(k, start, SHORT_S)


@conforms((None, None, None, None, 3, True, "a", "b"))
def signal_comes_first(k: Kernel, listener: Listener) -> Steps[Any]:
    """A pending signal comes before what wait, accept and get would find; nothing is lost."""
    local, shared = k.queue(), k.queue(shared=True)
    pid = yield k.fork(exits, 3)
    while k.kill(pid, USR1):  # until it is a zombie
        yield k.sleep(0.005)
    yield k.connect(listener, LONG_S)
    yield k.put(local, "a")
    yield k.put(shared, "b")
    k.kill(k.pid(), HUP)
    found = (
        (yield k.wait(LONG_S)),
        (yield k.accept(listener, LONG_S)),
        (yield k.get(local, LONG_S)),
        (yield k.get(shared, LONG_S)),
    )
    k.take_signals()
    dead = yield k.wait(LONG_S)
    conn = yield k.accept(listener, LONG_S)
    local_item = yield k.get(local, LONG_S)
    return *found, dead.code, conn is not None, local_item, (yield k.get(shared, LONG_S))


@conforms((("USR1", "HUP"), ("USR1", "HUP"), ("USR1", "HUP"), ()))
def order_of_signals(k: Kernel, _listener: Listener) -> Steps[Any]:
    """Signals are pending in order of arrival, each once, until they are taken."""
    for signal in (USR1, HUP, USR1):
        assert k.kill(k.pid(), signal)
        yield k.sleep(0)
    looked = names(k.signals()), names(k.signals())
    return *looked, names(k.take_signals()), names(k.signals())


@conforms((True, False, 0, False, False))
def whom_kill_reaches(k: Kernel, _listener: Listener) -> Steps[Any]:
    """kill reaches a living child, not a zombie, not one that was reaped, not a stranger."""
    pid = yield k.fork(exits, 0, SHORT_S)
    alive = k.kill(pid, Signal.WINCH)
    deadline = k.now() + LATE_S
    zombie = True
    while zombie and k.now() < deadline:
        yield k.sleep(0.005)
        zombie = k.kill(pid, Signal.WINCH)
    code = yield from end_of(k)
    return alive, zombie, code, k.kill(pid, KILL), k.kill(2_000_000_000, KILL)


def crashes(k: Kernel) -> Steps[int]:
    """A child whose application crashes."""
    yield k.work(Demand(response_bytes=1, crash=True))
    return 0


@conforms("SEGV")
def crash(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A demand to crash kills the process, which the parent sees as SEGV."""
    yield k.fork(crashes)
    return (yield from end_of(k))


@conforms(("ok", 1000, 0, "ok"))
def work(k: Kernel, _listener: Listener) -> Steps[Any]:
    """work takes at least the demanded CPU and wait, and answers the demanded bytes. It is deaf."""
    start = k.now()
    k.kill(k.pid(), USR1)
    body = yield k.work(Demand(cpu_us=20_000, wait_us=30_000, response_bytes=1000))
    first = lasted(k, start, 0.05)
    empty = yield k.work(Demand())
    start = k.now()
    yield k.work(Demand(wait_us=20_000))
    return first, len(body), len(empty), lasted(k, start, 0.02)


def compares_clock(k: Kernel, parents: float) -> Steps[int]:
    """A child that knows its parent's time of the fork."""
    yield k.sleep(0)
    return 0 if parents <= k.now() < parents + LATE_S else 1


@conforms((0, True, True))
def clock(k: Kernel, _listener: Listener) -> Steps[Any]:
    """now only goes forward, and is one clock for all processes."""
    times = [k.now()]
    for _ in range(50):
        yield k.sleep(0)
        times.append(k.now())
    yield k.fork(compares_clock, k.now())
    code = yield from end_of(k)
    return code, times == sorted(times), k.now() > times[-1]


@conforms((None, None, "ok", "ok"))
def sleep(k: Kernel, _listener: Listener) -> Steps[Any]:
    """sleep lasts as long as it says, whether a child dies meanwhile or not; 0 is no wait."""
    start = k.now()
    nothing = yield k.sleep(0)
    first = lasted(k, start, 0)
    yield k.fork(exits, 0)
    start = k.now()
    slept = yield k.sleep(2 * SHORT_S)
    how = lasted(k, start, 2 * SHORT_S)
    yield k.wait(LONG_S)
    return nothing, slept, first, how
