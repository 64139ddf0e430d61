"""Bodies about listeners and connections. Rules: table.py."""

from __future__ import annotations

from typing import Any

from mpmlab.kernel.interface import Conn, Dial, Kernel, Listener, Queue, Signal, Steps

from .table import LONG_S, SHORT_S, bytes_of, conforms, end_of, lasted, pair, read_all

#: More than any socket buffer takes (Linux: tcp_wmem and tcp_rmem allow some 10 MB).
HUGE = 64_000_000

# ---- accept and connect --------------------------------------------------------------------------


@conforms((None, None, "ok"))
def accept_times_out(k: Kernel, listener: Listener) -> Steps[Any]:
    """accept gives None after its timeout, never earlier, and at once if that is 0."""
    start = k.now()
    tried = yield k.accept(listener, 0)
    waited = yield k.accept(listener, SHORT_S)
    return tried, waited, lasted(k, start, SHORT_S)


@conforms((None, None, "ok", None, "ok"))
def closed_listener(k: Kernel, listener: Listener) -> Steps[Any]:
    """On a closed listener accept gives None, and connect is refused, both at once."""
    k.close(listener)
    k.close(listener)
    start = k.now()
    found = (yield k.accept(listener, 0)), (yield k.accept(listener, LONG_S))
    first = lasted(k, start, 0)
    start = k.now()
    return *found, first, (yield k.connect(listener, LONG_S)), lasted(k, start, 0)


def connects_later(k: Kernel, listener: Listener, size: int) -> Steps[int]:
    """A client in another process or thread: connects, sends, reads to the end."""
    yield k.sleep(SHORT_S)
    conn = yield k.connect(listener, LONG_S)
    yield k.send(conn, (yield from bytes_of(k, size)), LONG_S)
    k.close(conn, half=True)
    return (yield from read_all(k, conn))


@conforms((True, "ok", 5, 11))
def accept_waits(k: Kernel, listener: Listener) -> Steps[Any]:
    """accept ends when a client comes; both ends talk."""
    start = k.now()
    yield k.fork(connects_later, listener, 5)
    conn = yield k.accept(listener, LONG_S)
    how = lasted(k, start, SHORT_S)
    size = yield from read_all(k, conn)
    yield k.send(conn, (yield from bytes_of(k, 11)), LONG_S)
    k.close(conn)
    return conn is not None, how, size, (yield from end_of(k))


@conforms((1, 2, 3))
def accept_in_order(k: Kernel, listener: Listener) -> Steps[Any]:
    """Connections are established, and take data, before they are accepted; in order of arrival."""
    for size in (1, 2, 3):
        conn = yield k.connect(listener, LONG_S)
        assert (yield k.send(conn, (yield from bytes_of(k, size)), LONG_S)) == size
        k.close(conn)
    sizes = []
    for _ in range(3):
        conn = yield k.accept(listener, LONG_S)
        sizes.append((yield from read_all(k, conn)))
    return tuple(sizes)


def tries_accept(k: Kernel, listener: Listener, done: Queue) -> Steps[None]:
    """A thread that tries twice."""
    first = yield k.accept(listener, 0)
    second = yield k.accept(listener, 0)
    yield k.put(done, (first is not None, second is None))


@conforms((True, True))
def threads_try_accept(k: Kernel, listener: Listener) -> Steps[Any]:
    """A thread other than the main one tries to accept, without waiting."""
    done = k.queue()
    yield k.connect(listener, LONG_S)
    yield k.thread(tries_accept, listener, done)
    return (yield k.get(done, LONG_S))


@conforms((True, None, "ok", True), backlog=2)
def full_backlog(k: Kernel, listener: Listener) -> Steps[Any]:
    """Beyond the backlog a handshake does not end; after an accept there is room again."""
    established = 0
    while established < 8:
        start = k.now()
        conn = yield k.connect(listener, SHORT_S)
        if conn is None:
            break
        established += 1
    how = lasted(k, start, SHORT_S)
    for _ in range(2):
        yield k.accept(listener, LONG_S)
    again = yield k.connect(listener, LONG_S)
    return established in (2, 3), conn, how, again is not None


def drains(k: Kernel, listener: Listener) -> Steps[int]:
    """A child that makes room in the backlog after a while."""
    yield k.sleep(4 * SHORT_S)
    while (yield k.accept(listener, 0)) is not None:
        pass
    yield k.sleep(LONG_S)
    return 0


@conforms((True, "ok"), backlog=1)
def syn_is_retried(k: Kernel, listener: Listener) -> Steps[Any]:
    """A connect against a full backlog succeeds at its first retry, a second later, if there is
    room by then."""
    while (yield k.connect(listener, SHORT_S)) is not None:
        pass
    pid = yield k.fork(drains, listener)
    start = k.now()
    conn = yield k.connect(listener, LONG_S)
    how = lasted(k, start, 0.9)  # Linux counts its second in ticks
    k.kill(pid, Signal.KILL)
    return conn is not None, how


def dials(k: Kernel, listener: Listener, size: int) -> Steps[int]:
    """A client with a small receive buffer: 0 if so many bytes came, and then the end."""
    conn = yield k.connect(listener, LONG_S, Dial(receive_buffer_bytes=4096))
    return 0 if (yield from read_all(k, conn)) == size else 1


@conforms((True, 0, None))
def dialled(k: Kernel, listener: Listener) -> Steps[Any]:
    """A Dial changes how the client's end is set up, and nothing of what connect, send and recv
    promise: all of an answer arrives, and where nobody listens it is refused."""
    size = 200_000
    yield k.fork(dials, listener, size)
    conn = yield k.accept(listener, LONG_S)
    sent = yield k.send(conn, (yield from bytes_of(k, size)), LONG_S)
    k.close(conn)
    code = yield from end_of(k)
    k.close(listener)
    return sent == size, code, (yield k.connect(listener, LONG_S, Dial(receive_buffer_bytes=4096)))


# ---- copies of a listener ------------------------------------------------------------------------


def accepts_one(k: Kernel, listener: Listener, size: int) -> Steps[int]:
    """A child that serves one connection on its own copy of the listener."""
    conn = yield k.accept(listener, LONG_S)
    if conn is None:
        return 1
    yield k.send(conn, (yield from bytes_of(k, size)), LONG_S)
    k.close(conn)
    return 0


@conforms((12, 0, None))
def copies_of_a_listener(k: Kernel, listener: Listener) -> Steps[Any]:
    """Closing a listener here leaves another process's copy open; with its end the last is gone."""
    yield k.fork(accepts_one, listener, 12)
    k.close(listener)
    conn = yield k.connect(listener, LONG_S)
    size = yield from read_all(k, conn)
    code = yield from end_of(k)
    return size, code, (yield k.connect(listener, LONG_S))


@conforms((None, 0))
def last_copy(k: Kernel, listener: Listener) -> Steps[Any]:
    """A connection that nobody accepted lives as long as a copy of its listener, and no longer."""
    yield k.fork(sleeps, 4 * SHORT_S)
    conn = yield k.connect(listener, LONG_S)
    k.close(listener)
    early = yield k.recv(conn, 1, SHORT_S)
    return early, len((yield k.recv(conn, 1, LONG_S)))


def sleeps(k: Kernel, seconds: float) -> Steps[int]:
    """A child that holds what it inherited."""
    yield k.sleep(seconds)
    return 0


def accepts_and_stays(k: Kernel, listener: Listener, queue: Queue) -> Steps[int]:
    """A child that holds a connection."""
    conn = yield k.accept(listener, LONG_S)
    yield k.put(queue, "a")
    yield k.recv(conn, 1, None)
    return 0


@conforms((0, False))
def death_closes(k: Kernel, listener: Listener) -> Steps[Any]:
    """The connections of a killed process are closed: their peers read the end of the stream."""
    queue = k.queue(shared=True)
    pid = yield k.fork(accepts_and_stays, listener, queue)
    conn = yield k.connect(listener, LONG_S)
    yield k.get(queue, LONG_S)
    k.kill(pid, Signal.KILL)
    return len((yield k.recv(conn, 1, LONG_S))), conn.reset


# ---- recv ----------------------------------------------------------------------------------------


@conforms((None, None, "ok", 3, 4, 3, 0, 0, False))
def recv_outcomes(k: Kernel, listener: Listener) -> Steps[Any]:
    """recv: None after its timeout, never early; 1 to n bytes; the end of the stream is empty data,
    again and again, and no reset."""
    client, server = yield from pair(k, listener)
    start = k.now()
    tried = yield k.recv(server, 100, 0)
    waited = yield k.recv(server, 100, SHORT_S)
    how = lasted(k, start, SHORT_S)
    yield k.send(client, (yield from bytes_of(k, 10)), LONG_S)
    sizes = []
    for n in (3, 4, 100):
        sizes.append(len((yield k.recv(server, n, LONG_S))))
    k.close(client)
    for _ in range(2):
        sizes.append(len((yield k.recv(server, 100, LONG_S))))
    return tried, waited, how, *sizes, server.reset


def sends_later(k: Kernel, conn: Conn, size: int) -> Steps[None]:
    """A thread that sends after a while."""
    yield k.sleep(SHORT_S)
    yield k.send(conn, (yield from bytes_of(k, size)), LONG_S)


@conforms((7, "ok"))
def recv_waits(k: Kernel, listener: Listener) -> Steps[Any]:
    """recv ends when data comes, and does not wait for more."""
    client, server = yield from pair(k, listener)
    start = k.now()
    yield k.thread(sends_later, client, 7)
    data = yield k.recv(server, 100, None)
    return len(data), lasted(k, start, SHORT_S)


@conforms((None, "ok", ["USR1"]))
def recv_is_deaf(k: Kernel, listener: Listener) -> Steps[Any]:
    """A pending signal does not end recv, not even the main thread's."""
    _client, server = yield from pair(k, listener)
    k.kill(k.pid(), Signal.USR1)
    start = k.now()
    data = yield k.recv(server, 100, SHORT_S)
    return data, lasted(k, start, SHORT_S), [s.value for s in k.signals()]


@conforms((4, 9, 0, False))
def half_close(k: Kernel, listener: Listener) -> Steps[Any]:
    """Who closed the sending side still reads the answer."""
    client, server = yield from pair(k, listener)
    yield k.send(client, (yield from bytes_of(k, 4)), LONG_S)
    k.close(client, half=True)
    asked = yield from read_all(k, server)
    yield k.send(server, (yield from bytes_of(k, 9)), LONG_S)
    k.close(server)
    answered = len((yield k.recv(client, 100, LONG_S)))
    return asked, answered, len((yield k.recv(client, 100, LONG_S))), client.reset


@conforms((0, True))
def unread_data_resets(k: Kernel, listener: Listener) -> Steps[Any]:
    """Closing with unread data resets the connection: the peer's recv is empty, and it knows."""
    client, server = yield from pair(k, listener)
    yield k.send(client, (yield from bytes_of(k, 10)), LONG_S)
    assert len((yield k.recv(server, 1, LONG_S))) == 1
    k.close(server)
    k.close(server)
    return len((yield k.recv(client, 100, LONG_S))), client.reset


# ---- send ----------------------------------------------------------------------------------------


@conforms((None, True))
def send_to_the_gone(k: Kernel, listener: Listener) -> Steps[Any]:
    """send gives None once the peer is gone (the first may still be taken), again and again."""
    client, server = yield from pair(k, listener)
    yield k.send(client, (yield from bytes_of(k, 10)), LONG_S)
    k.close(server)
    data = yield from bytes_of(k, 10)
    sent: Any = 0
    deadline = k.now() + LONG_S
    while sent is not None and k.now() < deadline:
        sent = yield k.send(client, data, LONG_S)
        yield k.sleep(0.001)
    return sent, (yield k.send(client, data, LONG_S)) is None


@conforms((True, True, "ok", True))
def partial_send(k: Kernel, listener: Listener) -> Steps[Any]:
    """send with timeout 0 takes what fits, in the end nothing; with a timeout it waits that long;
    once the peer has read there is room again."""
    client, server = yield from pair(k, listener)
    data = yield from bytes_of(k, HUGE)
    taken = yield k.send(server, data, 0)
    total = taken
    while sent := (yield k.send(server, data, 0)):  # Linux's buffers grow on the way
        total += sent
    start = k.now()
    waited = yield k.send(server, data, SHORT_S)
    how = lasted(k, start, SHORT_S)
    total += waited
    read = 0
    while read < total:
        read += len((yield k.recv(client, 1_000_000, LONG_S)))
    after = yield k.send(server, data, 0)
    return 0 < taken < HUGE, waited < HUGE, how, after > 0


def reads_all(k: Kernel, listener: Listener) -> Steps[int]:
    """A child that accepts one connection and reads it: 0 if it was all of HUGE."""
    conn = yield k.accept(listener, LONG_S)
    yield k.sleep(SHORT_S)
    return 0 if (yield from read_all(k, conn)) == HUGE else 1


@conforms((True, "ok", 0))
def large_send(k: Kernel, listener: Listener) -> Steps[Any]:
    """send waits until the system has taken all bytes, while the peer reads."""
    yield k.fork(reads_all, listener)
    conn = yield k.connect(listener, LONG_S)
    start = k.now()
    sent = yield k.send(conn, (yield from bytes_of(k, HUGE)), None)
    how = lasted(k, start, 0)
    k.close(conn)
    return sent == HUGE, how, (yield from end_of(k))


# ---- interrupt -----------------------------------------------------------------------------------


def interrupted_waits(k: Kernel, conn: Conn, ready: Queue, done: Queue) -> Steps[None]:
    """A thread that waits for data that never comes, twice, and for room that never comes."""
    yield k.put(ready, 1)
    first = yield k.recv(conn, 1, None)
    second = yield k.recv(conn, 1, None)
    data = yield from bytes_of(k, HUGE)
    sent = yield k.send(conn, data, None)
    while (yield k.send(conn, data, 0)):
        pass
    yield k.put(done, (first, second, sent < HUGE, (yield k.send(conn, data, None))))


@conforms(((None, None, True, 0), "ok", None, "ok"))
def interrupt(k: Kernel, listener: Listener) -> Steps[Any]:
    """interrupt ends the socket waits of the other threads, those to come too, and no wait of the
    main thread."""
    ready, done = k.queue(), k.queue()
    client, server = yield from pair(k, listener)
    yield k.thread(interrupted_waits, server, ready, done)
    yield k.get(ready, LONG_S)
    start = k.now()
    yield k.sleep(SHORT_S)  # by now it most likely waits; if not, it will be its next wait
    k.interrupt()
    k.interrupt()
    result = yield k.get(done, LONG_S)
    how = lasted(k, start, SHORT_S)
    start = k.now()
    _other, mine = yield from pair(k, listener)
    data = yield k.recv(mine, 1, SHORT_S)
    k.close(client)
    return result, how, data, lasted(k, start, SHORT_S)
