"""Bodies about pollers. Rules: table.py."""

from __future__ import annotations

from typing import Any

from mpmlab.kernel.interface import Kernel, Listener, Poller, Queue, Signal, Steps

from .table import LONG_S, SHORT_S, bytes_of, conforms, lasted, pair


def send_one(k: Kernel, conn: Any) -> Steps[None]:
    """One byte on its way."""
    yield k.send(conn, (yield from bytes_of(k, 1)), LONG_S)


@conforms((0, "ok", 0, "ok"))
def poll_times_out(k: Kernel, listener: Listener) -> Steps[Any]:
    """poll gives an empty list after its timeout, never early, signals or not; 0 is a try."""
    poller = k.poller()
    _client, server = yield from pair(k, listener)
    k.arm(poller, server)
    k.arm(poller, listener)
    start = k.now()
    tried = yield k.poll(poller, 0)
    first = lasted(k, start, 0)
    k.kill(k.pid(), Signal.USR1)
    start = k.now()
    waited = yield k.poll(poller, SHORT_S)
    return len(tried), first, len(waited), lasted(k, start, SHORT_S)


@conforms((True, 0, True, 0))
def one_shot(k: Kernel, listener: Listener) -> Steps[Any]:
    """A source that was returned is disarmed; armed again it is returned again, as long as there
    is something to read."""
    poller = k.poller()
    client, server = yield from pair(k, listener)
    k.arm(poller, server)
    yield from send_one(k, client)
    first = yield k.poll(poller, LONG_S)
    second = yield k.poll(poller, SHORT_S)
    k.arm(poller, server)
    third = yield k.poll(poller, LONG_S)
    yield k.recv(server, 10, 0)
    k.arm(poller, server)
    return first == [server], len(second), third == [server], len((yield k.poll(poller, SHORT_S)))


@conforms((True, 0, True))
def end_is_ready(k: Kernel, listener: Listener) -> Steps[Any]:
    """The end of the stream makes a connection ready to read."""
    poller = k.poller()
    client, server = yield from pair(k, listener)
    k.arm(poller, server)
    k.close(client)
    ready = yield k.poll(poller, LONG_S)
    data = yield k.recv(server, 10, 0)
    k.arm(poller, server)
    return ready == [server], len(data), (yield k.poll(poller, LONG_S)) == [server]


@conforms((True, True, 2))
def several_sources(k: Kernel, listener: Listener) -> Steps[Any]:
    """Connections and listeners in one set; all that are ready come, each once."""
    poller = k.poller()
    client, server = yield from pair(k, listener)
    _idle, quiet = yield from pair(k, listener)
    for source in (listener, server, quiet):
        k.arm(poller, source)
    yield k.connect(listener, LONG_S)
    yield from send_one(k, client)
    found: list[Any] = []
    while len(found) < 2:
        found += yield k.poll(poller, LONG_S)
    return listener in found, server in found, len(found)


@conforms((True, True))
def poll_listener(k: Kernel, listener: Listener) -> Steps[Any]:
    """A listener is ready when a connection waits; then a try of accept gives it."""
    poller = k.poller()
    k.arm(poller, listener)
    yield k.connect(listener, LONG_S)
    ready = yield k.poll(poller, LONG_S)
    return ready == [listener], (yield k.accept(listener, 0)) is not None


@conforms((True, 0, True))
def poll_writable(k: Kernel, listener: Listener) -> Steps[Any]:
    """Armed for writing, a connection is ready when it can take data, and not before."""
    poller = k.poller()
    client, server = yield from pair(k, listener)
    k.arm(poller, server, write=True)
    fresh = yield k.poll(poller, LONG_S)
    total = 0
    data = yield from bytes_of(k, 4_000_000)
    while sent := (yield k.send(server, data, 0)):
        total += sent
    k.arm(poller, server, write=True)
    full = yield k.poll(poller, SHORT_S)
    while total > 0:
        total -= len((yield k.recv(client, 1_000_000, LONG_S)))
    return fresh == [server], len(full), (yield k.poll(poller, LONG_S)) == [server]


@conforms((0, 0, True))
def disarm(k: Kernel, listener: Listener) -> Steps[Any]:
    """A source that is taken out is not returned; taking out what is not in does nothing."""
    poller = k.poller()
    client, server = yield from pair(k, listener)
    k.arm(poller, server, on=False)
    k.arm(poller, server)
    k.arm(poller, server, on=False)
    yield from send_one(k, client)
    tried = yield k.poll(poller, 0)
    waited = yield k.poll(poller, SHORT_S)
    k.arm(poller, server)
    return len(tried), len(waited), (yield k.poll(poller, LONG_S)) == [server]


@conforms((0, "ok", 0, True, True))
def closed_sources(k: Kernel, listener: Listener) -> Steps[Any]:
    """A source closed while armed is no longer in the set, nor is one that is armed after close;
    a new connection (perhaps with its number) is not taken for it."""
    poller = k.poller()
    client, server = yield from pair(k, listener)
    k.arm(poller, server)
    yield from send_one(k, client)
    k.close(server)
    k.arm(poller, server)
    start = k.now()
    first = yield k.poll(poller, SHORT_S)
    how = lasted(k, start, SHORT_S)
    other, fresh = yield from pair(k, listener)
    second = yield k.poll(poller, SHORT_S)
    k.arm(poller, fresh)
    yield from send_one(k, other)
    third = yield k.poll(poller, LONG_S)
    k.arm(poller, listener)
    k.close(listener)
    return len(first), how, len(second), third == [fresh], (yield k.poll(poller, SHORT_S)) == []


def holds_listener(k: Kernel, listener: Listener) -> Steps[int]:
    """A child that keeps its copy of the listener open."""
    yield k.sleep(LONG_S)
    k.close(listener)
    return 0


@conforms((True, 0, "ok"))
def closed_here_open_there(k: Kernel, listener: Listener) -> Steps[Any]:
    """A listener closed here is out of the set here, though another process goes on listening and
    connections come to it."""
    pid = yield k.fork(holds_listener, listener)
    poller = k.poller()
    k.arm(poller, listener)
    k.close(listener)
    conn = yield k.connect(listener, LONG_S)
    start = k.now()
    ready = yield k.poll(poller, SHORT_S)
    how = lasted(k, start, SHORT_S)
    k.kill(pid, Signal.KILL)
    return conn is not None, len(ready), how


@conforms((0, "ok", "ok", 0, "ok"))
def wake_before_poll(k: Kernel, _listener: Listener) -> Steps[Any]:
    """wake, however often, ends the next poll, and only that one."""
    poller = k.poller()
    k.wake(poller)
    k.wake(poller)
    start = k.now()
    first = yield k.poll(poller, LONG_S)
    how = lasted(k, start, 0)
    start = k.now()
    second = yield k.poll(poller, SHORT_S)
    then = lasted(k, start, SHORT_S)
    k.wake(poller)
    start = k.now()
    yield k.poll(poller, None)
    return len(first), how, then, len(second), lasted(k, start, 0)


def polls(k: Kernel, poller: Poller, done: Queue) -> Steps[None]:
    """A thread that polls three times and tells what came and when."""
    for _ in range(3):
        ready = yield k.poll(poller, None)
        yield k.put(done, (len(ready), k.now()))


@conforms((0, "ok", 1, "ok", 1, "ok"))
def others_act_on_a_poll(k: Kernel, listener: Listener) -> Steps[Any]:
    """While a thread polls, others wake it, and arm sources in its set, which it then returns."""
    poller, done = k.poller(), k.queue()
    client, server = yield from pair(k, listener)
    yield from send_one(k, client)
    yield k.thread(polls, poller, done)
    results: list[Any] = []
    for source in (None, server, listener):
        if source is listener:
            yield k.connect(listener, LONG_S)
        yield k.sleep(SHORT_S)
        start = k.now()
        if source is None:
            k.wake(poller)
        else:
            k.arm(poller, source)
        size, _when = yield k.get(done, LONG_S)
        results += [size, lasted(k, start, 0)]
    return tuple(results)


def polls_after_interrupt(k: Kernel, poller: Poller, done: Queue) -> Steps[None]:
    """A thread of an interrupted process."""
    start = k.now()
    ready = yield k.poll(poller, SHORT_S)
    yield k.put(done, (len(ready), lasted(k, start, SHORT_S)))


@conforms((0, "ok"))
def poll_ignores_interrupt(k: Kernel, _listener: Listener) -> Steps[Any]:
    """interrupt does not end poll: that is what wake is for."""
    poller, done = k.poller(), k.queue()
    k.interrupt()
    yield k.thread(polls_after_interrupt, poller, done)
    return (yield k.get(done, LONG_S))


@conforms(True)
def close_poller(k: Kernel, listener: Listener) -> Steps[Any]:
    """Closing a poller is idempotent and leaves its sources alone; waking it does nothing."""
    poller = k.poller()
    client, server = yield from pair(k, listener)
    k.arm(poller, server)
    k.close(poller)
    k.close(poller)
    k.wake(poller)
    k.arm(poller, server)
    yield from send_one(k, client)
    data = yield k.recv(server, 10, LONG_S)
    return len(data) == 1
