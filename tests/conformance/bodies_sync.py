"""Bodies about mutexes, queues and threads. Rules: table.py."""

from __future__ import annotations

from typing import Any

from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Kernel, Listener, Mutex, Queue, Signal, Steps

from .bodies_process import USR1, names
from .table import LONG_S, SHORT_S, conforms, end_of, lasted

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


@conforms(0)
def mutex_between_threads(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A mutex lets in one thread at a time."""
    mutex, trace = k.mutex(), k.queue()
    for letter in "abc":
        yield k.thread(enters, mutex, trace, letter)
    return (yield from overlaps(k, trace, 3))


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
    yield k.sleep(LONG_S)
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
    for queue in (k.queue(), k.queue(shared=True)):
        done = k.queue()
        k.kill(k.pid(), USR1)
        yield k.thread(gets_for, queue, done)
        yield k.work(Demand(wait_us=200_000))  # deaf too: the signal stays pending
        k.take_signals()
        results.append((yield k.get(done, LONG_S)))
    return tuple(results)


def takes(k: Kernel, items: Queue, done: Queue) -> Steps[None]:
    """A thread that moves items until it gets a stop."""
    while True:
        item = yield k.get(items, None)
        yield k.put(done, item)
        if item == "stop":
            return


@conforms(tuple(range(1, 101)))
def each_item_once(k: Kernel, _listener: Listener) -> Steps[Any]:
    """Each item goes to exactly one of the threads that wait, and none is lost."""
    items, done = k.queue(), k.queue()
    for _ in range(4):
        yield k.thread(takes, items, done)
    for item in range(1, 101):
        yield k.put(items, item)
    for _ in range(4):
        yield k.put(items, "stop")
    got: list[int] = []
    stops = 0
    while stops < 4:
        item = yield k.get(done, LONG_S)
        if item == "stop":
            stops += 1
        else:
            got.append(item)
    return tuple(sorted(got))


# ---- threads -------------------------------------------------------------------------------------


def appends(k: Kernel, shared_list: list[int], number: int, done: Queue) -> Steps[None]:
    """A thread that changes an object of its process."""
    yield k.sleep(0)
    shared_list.append(number)
    yield k.put(done, k.pid())


@conforms((True, 3, True, [0, 1, 2]))
def threads(k: Kernel, _listener: Listener) -> Steps[Any]:
    """Threads have small positive ids of their own, their process's pid, and share its objects."""
    numbers: list[int] = []
    done = k.queue()
    tids, pids = [], set()
    for number in range(3):
        tids.append((yield k.thread(appends, numbers, number, done)))
    for _ in range(3):
        pids.add((yield k.get(done, LONG_S)))
    small = all(isinstance(tid, int) and 0 < tid < 100 for tid in tids)
    return small, len(set(tids)), pids == {k.pid()}, sorted(numbers)


def leaves_thread(k: Kernel, queue: Queue) -> Steps[int]:
    """A child that ends while its thread still has something to say."""
    yield k.thread(puts_later, queue, "x")
    return 4


@conforms((4, None))
def threads_die_with_process(k: Kernel, _listener: Listener) -> Steps[Any]:
    """When the main thread's function returns the process ends, and its threads with it."""
    queue = k.queue(shared=True)
    yield k.fork(leaves_thread, queue)
    code = yield from end_of(k)
    return code, (yield k.get(queue, 4 * SHORT_S))


def ends_at_once(k: Kernel, done: Queue) -> Steps[None]:
    """A thread that is soon over."""
    yield k.put(done, 1)


@conforms((1, 2))
def threads_end_alone(k: Kernel, _listener: Listener) -> Steps[Any]:
    """The end of a thread ends nothing else; ids are not used again at once."""
    done = k.queue()
    first = yield k.thread(ends_at_once, done)
    yield k.get(done, LONG_S)
    yield k.sleep(SHORT_S)
    second = yield k.thread(ends_at_once, done)
    return (yield k.get(done, LONG_S)), len({first, second})


def crashing_thread(k: Kernel, listener: Listener) -> Steps[int]:
    """A child one of whose threads crashes."""
    yield k.thread(crash_now)
    yield k.accept(listener, LONG_S)
    return 0


def crash_now(k: Kernel) -> Steps[None]:
    """A thread whose application crashes."""
    yield k.work(Demand(crash=True))


@conforms("SEGV")
def crash_in_thread(k: Kernel, listener: Listener) -> Steps[Any]:
    """A crash in any thread kills the whole process."""
    yield k.fork(crashing_thread, listener)
    return (yield from end_of(k))
