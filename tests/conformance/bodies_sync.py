"""Bodies about mutexes, queues and threads. Rules: table.py."""

from __future__ import annotations

from typing import Any

from conformance.bodies_process import USR1, exits, names
from conformance.table import LONG_S, SHORT_S, conforms, end_of, lasted

from mpmlab.kernel.interface import Kernel, Listener, Mutex, Queue, Signal, Steps

# ---- mutexes -------------------------------------------------------------------------------------


def enters(k: Kernel, mutex: Mutex, trace: Queue, letter: str) -> Steps[int]:
    """Ten times into the critical section, which is from the small letter to the capital."""
    for _ in range(10):
        assert (yield k.lock(mutex))
        yield k.put(trace, letter)
        yield k.sleep(0.001)
        yield k.put(trace, letter.upper())
        k.unlock(mutex)
    yield k.put(trace, ".")
    return 0


def overlaps(k: Kernel, trace: Queue, enterers: int) -> Steps[int]:
    """How often somebody entered while somebody else was in; -1 if the trace does not end."""
    found, inside = 0, ""
    while enterers:
        letter = yield k.get(trace, LONG_S)
        if letter is None:
            return -1
        if letter == ".":
            enterers -= 1
        elif inside:
            found += letter != inside.upper()
            inside = ""
        else:
            inside = letter
    return found


@conforms((0, 0, 0))
def mutex_between_processes(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A shared mutex lets in one process at a time."""
    mutex, trace = k.mutex(shared=True), k.queue(shared=True)
    for letter in "ab":
        yield k.fork(enters, mutex, trace, letter)
    found = yield from overlaps(k, trace, 2)
    first = yield from end_of(k)
    return found, first, (yield from end_of(k))


@conforms((0, 0))
def mutex_between_threads(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A mutex lets in one thread at a time, a shared one too."""
    results = []
    for shared in (False, True):
        mutex, trace = k.mutex(shared=shared), k.queue()
        for letter in "abc":
            yield k.thread(enters, mutex, trace, letter)
        results.append((yield from overlaps(k, trace, 3)))
    return tuple(results)


def holds(k: Kernel, mutex: Mutex, queue: Queue, ends: bool) -> Steps[int]:
    """A child that takes the mutex, says so, and ends, or stays, without unlocking."""
    yield k.lock(mutex)
    yield k.put(queue, "h")
    if not ends:
        yield k.sleep(LONG_S)
    return 0


@conforms((True, "ok", True, "ok"))
def owner_dies(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A shared mutex is free again when its owner is killed, or ends."""
    mutex, queue = k.mutex(shared=True), k.queue(shared=True)
    results = []
    for ends in (False, True):
        pid = yield k.fork(holds, mutex, queue, ends)
        yield k.get(queue, LONG_S)
        start = k.now()
        if not ends:
            assert k.kill(pid, Signal.KILL)
        results += [(yield k.lock(mutex)), lasted(k, start, 0)]
        k.unlock(mutex)
        yield k.wait(LONG_S)
    return tuple(results)


def holds_and_forks(k: Kernel, mutex: Mutex, queue: Queue) -> Steps[int]:
    """A child that takes the mutex and dies while a child of its own lives on."""
    yield k.lock(mutex)
    yield k.fork(keeps_quiet, queue)
    yield k.get(queue, LONG_S)
    return 0


def keeps_quiet(k: Kernel, queue: Queue) -> Steps[int]:
    """A grandchild that does not touch the mutex."""
    yield k.put(queue, "g")
    yield k.sleep(2 * SHORT_S)
    return 0


@conforms((True, "ok"))
def children_do_not_inherit_locks(k: Kernel, _listener: Listener) -> Steps[Any]:
    """What a process has locked is free when it dies, whatever children it leaves behind."""
    mutex, queue = k.mutex(shared=True), k.queue(shared=True)
    yield k.fork(holds_and_forks, mutex, queue)
    yield k.wait(LONG_S)
    start = k.now()
    return (yield k.lock(mutex)), lasted(k, start, 0)


def locks_deaf(k: Kernel, mutex: Mutex, ready: Queue, unlocked: Queue) -> Steps[int]:
    """0 if the lock came only after the parent's unlock, with the signal pending."""
    yield k.put(ready, "r")
    yield k.lock(mutex)
    pending = names(k.take_signals())
    return 0 if (yield k.get(unlocked, 0)) == "u" and pending == ("USR1",) else 1


@conforms(0)
def lock_is_deaf(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A signal does not end a wait for a mutex; it is pending afterwards."""
    mutex, ready, unlocked = k.mutex(shared=True), k.queue(shared=True), k.queue(shared=True)
    yield k.lock(mutex)
    pid = yield k.fork(locks_deaf, mutex, ready, unlocked)
    yield k.get(ready, LONG_S)
    yield k.sleep(SHORT_S)  # by now it most likely waits; if not, the signal is only earlier
    k.kill(pid, USR1)
    yield k.sleep(SHORT_S)
    yield k.put(unlocked, "u")
    k.unlock(mutex)
    return (yield from end_of(k))


# ---- queues --------------------------------------------------------------------------------------


@conforms(((1, 2, 3), (3, 2, 1), ("a", "b", "c"), 3, 0))
def order_of_queues(k: Kernel, _listener: Listener) -> Steps[Any]:
    """fifo gives the first first, lifo the last; a shared one is fifo. size counts."""
    results: list[Any] = []
    fifo, lifo, shared = k.queue(), k.queue("lifo"), k.queue(shared=True)
    sizes = []
    for queue, items in ((fifo, (1, 2, 3)), (lifo, (1, 2, 3)), (shared, "abc")):
        for item in items:
            assert (yield k.put(queue, item))
        if queue is lifo:
            sizes.append(k.size(queue))
        got = []
        for _ in items:
            got.append((yield k.get(queue, 0)))
        results.append(tuple(got))
    return *results, *sizes, k.size(fifo)


@conforms((None, None, "ok", None, None, "ok", None, None, "ok"))
def get_times_out(k: Kernel, _listener: Listener) -> Steps[Any]:
    """get gives None after its timeout, never earlier, and at once if that is 0."""
    results: list[Any] = []
    for queue in (k.queue(), k.queue("lifo"), k.queue(shared=True)):
        start = k.now()
        results.append((yield k.get(queue, 0)))
        results.append((yield k.get(queue, SHORT_S)))
        results.append(lasted(k, start, SHORT_S))
    return tuple(results)


def puts_later(k: Kernel, queue: Queue, item: Any) -> Steps[int]:
    """A thread or a child that puts after a while."""
    yield k.sleep(SHORT_S)
    yield k.put(queue, item)
    return 0


@conforms(("p", "ok", 5, "ok", 6, "ok", "t", "ok"))
def put_ends_get(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A get that waits ends with the item as soon as it is put, by a process or by a thread."""
    shared = k.queue(shared=True)
    start = k.now()
    yield k.fork(puts_later, shared, "p")
    results = [(yield k.get(shared, LONG_S)), lasted(k, start, SHORT_S)]
    yield k.wait(LONG_S)
    for queue, item in ((k.queue(), 5), (k.queue("lifo"), 6), (shared, "t")):
        start = k.now()
        yield k.thread(puts_later, queue, item)
        results += [(yield k.get(queue, LONG_S)), lasted(k, start, SHORT_S)]
    return tuple(results)


@conforms((True, True, None, True))
def full_queue(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A shared queue is full one day, and then refuses without waiting; what it took is there."""
    queue = k.queue(shared=True)
    taken = 0
    while taken < 1_000_000 and (yield k.put(queue, "x")):
        taken += 1
    got = 0
    while (yield k.get(queue, 0)):
        got += 1
    return 1 < taken < 1_000_000, got == taken, (yield k.get(queue, 0)), (yield k.put(queue, "x"))


def kills_later(k: Kernel, signal: Signal) -> Steps[None]:
    """A thread that signals its own process."""
    yield k.sleep(SHORT_S)
    k.kill(k.pid(), signal)


@conforms((None, "ok", None, "ok", None, "ok", None, "ok", None, "ok", None, "ok"))
def signals_end_waits(k: Kernel, listener: Listener) -> Steps[Any]:
    """A signal that comes while the main thread waits ends its get, accept, sleep and wait."""
    results: list[Any] = []
    queues = k.queue(), k.queue("lifo"), k.queue(shared=True)
    for number in range(6):
        start = k.now()
        yield k.thread(kills_later, USR1)
        if number < 3:
            results.append((yield k.get(queues[number], LONG_S)))
        elif number == 3:
            results.append((yield k.accept(listener, LONG_S)))
        elif number == 4:
            results.append((yield k.sleep(LONG_S)))
        else:
            results.append((yield k.wait(LONG_S)))
        assert names(k.take_signals()) == ("USR1",)
        results.append(lasted(k, start, SHORT_S))
    return tuple(results)


def gets_for(k: Kernel, queue: Queue, done: Queue) -> Steps[None]:
    """A thread whose get waits, whatever is pending."""
    start = k.now()
    seen = names(k.signals())
    item = yield k.get(queue, SHORT_S)
    slept = k.now()
    yield k.sleep(SHORT_S)
    yield k.put(done, (seen, item, lasted(k, start, SHORT_S), lasted(k, slept, SHORT_S)))


@conforms(((("USR1",), None, "ok", "ok"), (("USR1",), None, "ok", "ok")))
def threads_do_not_hear(k: Kernel, _listener: Listener) -> Steps[Any]:
    """Every thread sees the pending signals; only the main thread's waits end by them."""
    results = []
    shared = k.queue(shared=True)
    k.kill(k.pid(), USR1)
    for queue in (k.queue(), shared):
        done = k.queue()
        yield k.thread(gets_for, queue, done)
        result = None
        while result is None:
            yield k.work(NAP)
            result = yield k.get(done, 0)
            if result is None:  # the pending signal comes first: put it away for a moment
                k.take_signals()
                result = yield k.get(done, 0)
                k.kill(k.pid(), USR1)
        results.append(result)
    return tuple(results)
