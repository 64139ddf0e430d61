"""Connections: two directions with buffers, a link's latency and rate, half-close and resets.

State and attempts of recv and send; costs are charged by kernel.py, listeners and the handshake are
in listener.py. What is sent is readable at the peer's one latency (plus its bytes over the rate)
later, in order; with neither it is there at once, without an event. Limits of the model: no
congestion control, no loss, acknowledgements take no time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mpmlab.core.platform import Platform
from mpmlab.kernel.interface import Dial, KernelError
from mpmlab.sim.clock import Clock, Timer
from mpmlab.sim.costs import US

if TYPE_CHECKING:
    from mpmlab.sim.kernel import SimKernel
    from mpmlab.sim.poller import SimPoller
    from mpmlab.sim.process import SimProcess


#: How much of a send buffer's asked size a peer that does not read lets us fill, how much of its
#: receive buffer's (the system doubles what is asked, socket(7)), and what that is by default:
#: measured on the loopback of Linux 6.18, 4 KiB to 256 KiB asked, and right within a quarter.
#: Without an asked size of the send buffer the platform's figure counts, whatever the receive
#: buffer: the system lets the send buffer grow to megabytes there.
SEND_BUFFER_USE: Final = 1.5
RECEIVE_BUFFER_USE: Final = 2
RECEIVE_BUFFER_BYTES: Final = 174_760


class _Mark:
    """What travels in a direction besides data."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


FIN: Final = _Mark("FIN")
RST: Final = _Mark("RST")


class Link:
    """One direction of a way between two ends. `buffer_bytes` is how much a peer that does not read
    lets us send: both systems' buffers together."""

    __slots__ = ("buffer_bytes", "byte_s", "instant", "latency_s")

    def __init__(self, latency_s: float, byte_s: float, buffer_bytes: int) -> None:
        self.latency_s = latency_s
        self.byte_s = byte_s
        self.buffer_bytes = buffer_bytes
        self.instant = not latency_s and not byte_s

    def via(self, rtt_s: float, bytes_per_s: float, buffer_bytes: int) -> Link:
        """This link with a slower one behind it: delays add up, the narrower one sets the rate."""
        byte_s = max(self.byte_s, 1 / bytes_per_s) if bytes_per_s else self.byte_s
        return Link(self.latency_s + rtt_s / 2, byte_s, buffer_bytes)


class Network:
    """The link between the machines, by the server's platform. Counts what happens on it."""

    __slots__ = (
        "clock", "connected", "link", "links", "overflows", "resets",
        "send_buffer_bytes",
    )  # fmt: skip

    def __init__(self, clock: Clock, platform: Platform) -> None:
        self.clock = clock
        rate = platform.bandwidth_mbit_s
        byte_s = 8.0 / (rate * 1e6) if rate else 0.0
        self.link = Link(platform.latency_us * US, byte_s, platform.send_buffer_bytes)
        self.send_buffer_bytes = 0  # of the server's sockets; 0: the system's
        #: To and from a client that dials in its own way, made once for each way.
        self.links: dict[Dial | None, tuple[Link, Link]] = {}
        self.connected = 0  # handshakes that succeeded
        self.overflows = 0  # SYNs dropped on a full backlog
        self.resets = 0  # RSTs sent

    def ways(self, dial: Dial | None) -> tuple[Link, Link]:
        """The links up to the server, and down from it."""
        found = self.links.get(dial)
        if found is None:
            asked = dial or Dial()
            link = self.link
            down_bytes = link.buffer_bytes
            if self.send_buffer_bytes:
                receive_bytes = RECEIVE_BUFFER_USE * asked.receive_buffer_bytes
                receive_bytes = receive_bytes or RECEIVE_BUFFER_BYTES
                down_bytes = int(SEND_BUFFER_USE * self.send_buffer_bytes) + receive_bytes
            found = (
                link.via(asked.rtt_s, asked.up_bytes_per_s, link.buffer_bytes),
                link.via(asked.rtt_s, asked.down_bytes_per_s, down_bytes),
            )
            self.links[dial] = found
        return found


class SimConn:
    """One end of a connection. `inbox` is what has arrived and is not read."""

    __slots__ = (
        "_flight", "_link_free_s", "closed", "eof", "inbox", "link", "network", "notes",
        "outstanding", "peer", "poller", "process", "reader", "reset", "shut", "unread",
        "watch_write", "writer",
    )  # fmt: skip

    def __init__(self, network: Network, process: SimProcess | None, link: Link) -> None:
        self.notes: Any = None
        self.reset = False
        self.network = network
        self.link = link  # for what we send
        self.process = process  # None: in a listener's queue
        self.peer: SimConn | None = None
        self.inbox: list[Any] = []
        self.unread = 0  # bytes in inbox
        self.outstanding = 0  # bytes we sent that the peer has not read
        self.eof = False  # nothing more will come
        self.shut = False  # we have ended our direction
        self.closed = False
        self.reader: SimKernel | None = None
        self.writer: SimKernel | None = None
        self.poller: SimPoller | None = None
        self.watch_write = False
        self._flight: deque[Any] | None = None  # on its way to us
        self._link_free_s = 0.0  # when our direction has sent all it was given

    def __repr__(self) -> str:
        return f"a connection of process {self.process.pid if self.process else 'nobody'}"

    # ---- sending -------------------------------------------------------------------------------

    def transmit(self, data: Any, size: int) -> None:
        """Data (or a mark of size 0) leaves for the peer, by a thread that is running."""
        self.outstanding += size
        peer = self.peer
        if peer is None:
            return
        link = self.link
        if link.instant:
            peer.arrive(data, size, False)
            return
        clock = self.network.clock
        start = clock._now
        if size and link.byte_s:
            if start < self._link_free_s:
                start = self._link_free_s
            self._link_free_s = start = start + size * link.byte_s
        elif start < self._link_free_s:
            start = self._link_free_s  # a mark goes behind the data
        if peer._flight is None:
            peer._flight = deque()
        peer._flight.append(data)
        clock.at(Timer(_ON_ARRIVAL, peer), start + link.latency_s)

    def space(self) -> int:
        """Bytes that the send buffer takes now."""
        free = self.link.buffer_bytes - self.outstanding
        return free if free > 0 else 0

    def push(self) -> None:
        """The peer has read: a blocked send goes on, and a poller that waits for space hears."""
        thread = self.writer
        if thread is None:
            if self.poller is not None and self.watch_write:
                self.poller.mark(self, False)
            return
        data = thread.y
        room = self.space()
        size = len(data)
        part = room if room < size else size
        thread.owed += part * thread.cost.send_per_byte
        if part == size:
            self.writer = None
            thread.y = None
            total = thread.fallback + size
            self.transmit(data, size)
            thread.rouse(total)
        elif part:
            thread.y = data[part:]
            thread.fallback += part
            self.transmit(data[:part], part)

    # ---- receiving -----------------------------------------------------------------------------

    def arrive(self, data: Any, size: int, direct: bool) -> None:
        """Data or a mark has come. `direct`: by a timer, so that a waiting thread may be resumed at
        once."""
        if self.closed:
            if data is not FIN and data is not RST:
                self.send_reset()
            return
        if data is FIN:
            self.eof = True
        elif data is RST:
            self.cut()
        else:
            self.inbox.append(data)
            self.unread += size
        reader = self.reader
        if reader is not None:
            self.reader = None
            value = self.take(reader.y) if self.unread else b""
            reader.owed += len(value) * reader.cost.recv_per_byte
            if direct:
                reader.resume(value)
            else:
                reader.rouse(value)
        elif self.poller is not None:
            self.poller.mark(self, direct)

    def cut(self) -> None:
        """The peer has reset the connection. What had arrived can still be read (Linux)."""
        self.reset = True
        self.eof = True
        self.shut = True
        writer = self.writer
        if writer is not None:
            self.writer = None
            writer.y = None
            writer.rouse(None)

    def take(self, n: int) -> Any:
        """Up to n of the bytes that are there, at least one."""
        inbox = self.inbox
        data = inbox[0]
        size = len(data)
        if size > n:
            inbox[0] = data[n:]
            data = data[:n]
            size = n
        elif len(inbox) == 1:
            inbox.clear()
        else:
            whole = 1  # items that are taken as they are
            for more in inbox[1:]:
                room = n - size
                if len(more) > room:
                    if room:
                        inbox[whole] = more[room:]
                        data = data + more[:room]
                        size = n
                    break
                data = data + more
                size += len(more)
                whole += 1
            del inbox[:whole]
        self.unread -= size
        peer = self.peer
        if peer is not None:
            peer.outstanding -= size
            if peer.writer is not None or peer.watch_write:
                peer.push()
        return data

    # ---- closing -------------------------------------------------------------------------------

    def half_close(self) -> None:
        """shutdown(SHUT_WR)"""
        if not self.shut:
            self.shut = True
            self.transmit(FIN, 0)

    def close(self) -> None:
        """Close both directions: with unread data by a reset, else in order. Idempotent."""
        if self.closed:
            return
        self.closed = True
        process = self.process
        if process is not None:
            process.conns.pop(self, None)
        if self.poller is not None:
            self.poller.disarm(self)
        if self.unread:
            self.send_reset()
            self.inbox.clear()
            self.unread = 0
        elif not self.shut:
            self.transmit(FIN, 0)
        self.shut = True
        peer = self.peer
        if peer is not None and peer.closed:
            self.peer = peer.peer = None  # a cycle less for the garbage collector

    def abort(self) -> None:
        """Close both directions by a reset, whatever is unread."""
        if not self.closed:
            self.send_reset()
            self.inbox.clear()
            self.unread = 0
            self.shut = True
            self.close()

    def send_reset(self) -> None:
        """Tell the peer that what it sent found nobody."""
        if self.reset:
            return  # it has cut us first
        self.network.resets += 1
        self.transmit(RST, 0)

    def forget(self, thread: SimKernel) -> None:
        """See thread.Place."""
        if self.reader is thread:
            self.reader = None
        if self.writer is thread:
            self.writer = None
            thread.y = None

    # ---- readiness -----------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether a poller that has it armed would return it now."""
        if self.watch_write:
            return self.reset or self.space() > 0
        return bool(self.unread) or self.eof


def _arrival(event: Timer) -> None:
    conn: SimConn = event.owner
    flight = conn._flight
    assert flight is not None
    data = flight.popleft()
    conn.arrive(data, 0 if data is FIN or data is RST else len(data), True)


_ON_ARRIVAL: Final[list[Any]] = [_arrival]


def try_recv(thread: SimKernel) -> bool:
    """Attempt of k.recv(): x is the connection, y how many bytes."""
    conn: SimConn = thread.x
    done = thread.done
    if conn.closed:
        done._value = b""
        return True
    if conn.unread:
        data = conn.take(thread.y)
        thread.owed += len(data) * thread.cost.recv_per_byte
        done._value = data
        return True
    if conn.eof:
        done._value = b""
        return True
    if thread.timeout_s == 0 or (thread.process.interrupted and not thread.is_main):
        done._value = None
        return True
    if conn.reader is not None:
        raise KernelError("two threads recv on one connection")
    conn.reader = thread
    thread.interruptible = not thread.is_main
    thread.fallback = None
    return thread.block(conn)


def try_send(thread: SimKernel) -> bool:
    """Attempt of k.send(): x is the connection, y the data."""
    conn: SimConn = thread.x
    data = thread.y
    done = thread.done
    if conn.shut or conn.peer is None:
        thread.y = None
        done._value = None
        return True
    size = len(data)
    room = conn.space()
    if size <= room:
        thread.y = None
        conn.transmit(data, size)
        done._value = size
        return True
    sent = 0
    while room:  # without latency an eager reader takes each part at once, and makes room
        conn.transmit(data[sent : sent + room], room)
        sent += room
        room = min(conn.space(), size - sent)
    if sent == size:
        thread.y = None
        done._value = size
        return True
    if thread.timeout_s == 0 or (thread.process.interrupted and not thread.is_main):
        thread.y = None
        done._value = sent
        return True
    if conn.writer is not None:
        raise KernelError("two threads send on one connection")
    thread.y = data[sent:]
    conn.writer = thread
    thread.interruptible = not thread.is_main
    thread.fallback = sent
    return thread.block(conn)
