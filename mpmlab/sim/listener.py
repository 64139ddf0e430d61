"""Listeners: backlog, who is woken, the handshake with its retries. Attempts of accept and connect.

Costs are charged by kernel.py. A connection counts against the backlog from its SYN on. It is the
client's as soon as the server's answer is back, the server's once the client's acknowledgement has
come; without latency all that is one instant.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mpmlab.kernel.interface import Dial, KernelError
from mpmlab.sim.clock import Timer
from mpmlab.sim.network import Network, SimConn

if TYPE_CHECKING:
    from mpmlab.sim.kernel import SimKernel
    from mpmlab.sim.poller import SimPoller

#: When a SYN that got no answer is sent again, seconds after the first: Linux, tcp_syn_retries = 6
#: doubling from TCP_TIMEOUT_INIT = 1 s; at the last of them connect() gives up.
SYN_RETRY_S: Final = (1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 127.0)


class LostRace:
    """What a thread computes that was woken for a connection which another one gets: the switch,
    and an accept() in vain. It goes on waiting meanwhile."""

    __slots__ = ("burst", "finish", "fresh_s", "home", "later_s", "level")

    def __init__(self, thread: SimKernel) -> None:
        self.burst = self.level = 0
        self.finish = self.later_s = 0.0
        self.home = thread.home
        self.fresh_s = thread.cores.fresh_s
        thread.cores.add(self, thread.cost.switch + thread.cost.accept)

    def burst_done(self) -> None:
        """There is nothing to do then."""


class SimListener:
    """A bound, listening socket, of which several processes may have copies."""

    __slots__ = (
        "accepted", "backlog", "discarded", "handshakes", "herd", "holders", "lifo", "network",
        "pollers", "port", "queue", "refusing", "waiters",
    )  # fmt: skip

    def __init__(self, network: Network, port: int, backlog: int, wake_policy: str) -> None:
        if wake_policy not in ("fifo", "lifo", "herd"):
            raise ValueError(f"wake_policy {wake_policy!r}; accepted: 'fifo', 'lifo', 'herd'")
        self.network = network
        self.port = port
        self.backlog = backlog
        self.lifo = wake_policy == "lifo"
        self.herd = wake_policy == "herd"  # all are woken; who waits longest has it
        self.queue: deque[SimConn] = deque()
        self.handshakes = 0  # that will end in the queue
        self.waiters: deque[SimKernel] = deque()
        self.pollers: dict[SimPoller, None] = {}
        self.holders = 0
        self.refusing = False  # the last copy was closed
        self.accepted = 0
        self.discarded = 0  # connections that died with the last copy

    def __repr__(self) -> str:
        return f"a connection on port {self.port}"

    def opened(self) -> None:
        """One more process has a copy."""
        self.holders += 1
        self.refusing = False

    def closed_by_one(self) -> None:
        """One process less; with the last copy go the connections that nobody accepted."""
        self.holders -= 1
        if not self.holders:
            self.refusing = True
            while self.queue:
                self.discard(self.queue.popleft())

    def discard(self, conn: SimConn) -> None:
        """Nobody will accept that one any more."""
        self.discarded += 1
        conn.abort()

    def full(self) -> bool:
        """Linux lets one more in than the backlog says (sk_acceptq_is_full)."""
        return len(self.queue) + self.handshakes > self.backlog

    def established(self, conn: SimConn, direct: bool) -> None:
        """A connection is complete: for one waiter by the wake policy, or for the queue."""
        if self.refusing:
            self.discard(conn)
            return
        waiters = self.waiters
        if waiters:
            thread = waiters.pop() if self.lifo else waiters.popleft()
            self.hand_over(conn, thread)
            if self.herd:
                for other in waiters:
                    LostRace(other)
            if direct:
                thread.resume(conn)
            else:
                thread.rouse(conn)
            return
        self.queue.append(conn)
        for poller in list(self.pollers):  # the herd: every armed poller hears
            poller.mark(self, False)

    def hand_over(self, conn: SimConn, thread: SimKernel) -> None:
        """The connection is that thread's process's."""
        self.accepted += 1
        process = thread.process
        conn.process = process
        process.conns[conn] = None
        thread.owed += thread.cost.connection

    def is_ready(self) -> bool:
        """Whether a poller that has it armed would return it now."""
        return bool(self.queue)

    def forget(self, thread: SimKernel) -> None:
        """See thread.Place."""
        self.waiters.remove(thread)


def try_accept(thread: SimKernel) -> bool:
    """Attempt of k.accept(). The main thread hears signals before it takes a connection."""
    listener: SimListener = thread.x
    done = thread.done
    process = thread.process
    if listener not in process.listeners or (thread.is_main and process.pending):
        done._value = None
        return True
    if listener.queue:
        conn = listener.queue.popleft()
        listener.hand_over(conn, thread)
        done._value = conn
        return True
    if thread.timeout_s == 0:
        done._value = None
        return True
    if not thread.is_main:
        raise KernelError("only the main thread waits in accept: others poll, then try")
    listener.waiters.append(thread)
    thread.interruptible = True
    thread.fallback = None
    return thread.block(listener)


class Handshake:
    """A connection attempt that takes time: latency, or retries against a full backlog. Also the
    place where its thread waits."""

    __slots__ = ("conn", "dial", "latency_s", "listener", "started_s", "thread", "tries")

    def __init__(self, thread: SimKernel, listener: SimListener, dial: Dial | None) -> None:
        self.thread: SimKernel | None = thread
        self.listener = listener
        self.dial = dial
        self.latency_s = listener.network.ways(dial)[0].latency_s
        self.started_s = thread.clock._now
        self.tries = 0
        self.conn: SimConn | None = None  # the client's end

    def __repr__(self) -> str:
        return f"the handshake with port {self.listener.port}"

    def forget(self, _thread: SimKernel) -> None:
        """See thread.Place: it gave up connecting."""
        self.thread = None
        if self.conn is not None:
            self.conn.close()

    def later(self, callbacks: list[Any], time_s: float) -> None:
        """Go on at that time."""
        clock = self.listener.network.clock
        clock.at(Timer(callbacks, self), time_s)

    def syn(self) -> None:
        """A SYN sets out."""
        self.later(_ON_SYN, self.listener.network.clock._now + self.latency_s)

    def syn_arrives(self) -> None:
        """The server's system answers it, or drops it."""
        thread = self.thread
        if thread is None:
            return
        listener = self.listener
        network = listener.network
        if listener.refusing:
            self.later(_ON_REFUSED, network.clock._now + self.latency_s)
            return
        if listener.full():
            self.dropped()
            return
        listener.handshakes += 1
        self.conn, _server = pair(network, thread, self.dial)
        self.later(_ON_ANSWER, network.clock._now + self.latency_s)

    def dropped(self) -> None:
        """No answer: the next SYN goes out when its time has come."""
        self.listener.network.overflows += 1
        again_s = self.started_s + SYN_RETRY_S[self.tries]
        self.tries += 1
        last = self.tries == len(SYN_RETRY_S)
        self.later(_ON_REFUSED if last else _ON_RETRY, again_s)

    def answered(self) -> None:
        """The client has its connection; its acknowledgement sets out."""
        network = self.listener.network
        if self.latency_s:
            self.later(_ON_ESTABLISHED, network.clock._now + self.latency_s)
        else:
            self.established()
        thread = self.thread
        if thread is not None:
            self.thread = None
            thread.resume(self.conn)

    def established(self) -> None:
        """The acknowledgement has come: the connection can be accepted."""
        self.listener.handshakes -= 1
        assert self.conn is not None
        server = self.conn.peer
        if server is None:
            return
        self.listener.established(server, False)

    def refused(self) -> None:
        """Nobody listens, or nobody ever answered."""
        thread = self.thread
        if thread is not None:
            self.thread = None
            thread.resume(None)


_ON_SYN: Final[list[Any]] = [lambda event: event.owner.syn_arrives()]
_ON_RETRY: Final[list[Any]] = [lambda event: event.owner.syn()]
_ON_REFUSED: Final[list[Any]] = [lambda event: event.owner.refused()]
_ON_ANSWER: Final[list[Any]] = [lambda event: event.owner.answered()]
_ON_ESTABLISHED: Final[list[Any]] = [lambda event: event.owner.established()]


def pair(network: Network, thread: SimKernel, dial: Dial | None) -> tuple[SimConn, SimConn]:
    """Both ends of a new connection: the client's, of that thread's process, and the server's."""
    process = thread.process
    up, down = network.ways(dial)
    client = SimConn(network, process, up)
    server = SimConn(network, None, down)
    client.peer = server
    server.peer = client
    process.conns[client] = None
    network.connected += 1
    return client, server


def try_connect(thread: SimKernel) -> bool:
    """Attempt of k.connect()."""
    listener: SimListener = thread.x
    dial: Dial | None = thread.y
    thread.y = None
    network = listener.network
    done = thread.done
    latency_s = network.ways(dial)[0].latency_s
    if not latency_s:
        if listener.refusing:
            done._value = None
            return True
        if not listener.full():
            client, server = pair(network, thread, dial)
            listener.established(server, False)
            done._value = client
            return True
    if thread.timeout_s == 0 or (thread.process.interrupted and not thread.is_main):
        done._value = None
        return True
    handshake = Handshake(thread, listener, dial)
    thread.interruptible = not thread.is_main
    thread.fallback = None
    thread.block(handshake)
    if latency_s:
        handshake.syn()
    else:
        handshake.dropped()
    return False
