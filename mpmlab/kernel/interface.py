"""The kernel interface: what an MPM, and a load client, may ask of its world.

Rules of this file: only Protocols, signals, outcomes and errors live here; no implementation, no
clock, no I/O. Both worlds implement `Kernel`: `mpmlab.real` performs the operation on this
machine's operating system, `mpmlab.sim` simulates it at a platform's cost. The conformance suite
(tests/conformance) runs one body in both and holds each sentence below.

Conventions
* `k` is the kernel *as the calling thread sees it*.
* A **wait** is always and visibly `yield k.op(...)`, yielded at once where it is called. A **plain
  call** never waits and is never yielded.
* `timeout_s=None` is for ever, `0` is a try.
* A falsy result means "nothing happened" (timeout, signal, lost race): look at your flags and go
  round again. Expected outcomes are values; an exception means a bug or a machine that is broken.
* Only the *main thread's* `wait`, `sleep`, `accept` and `get` are interruptible: they return early
  (falsy), at once if need be, while a signal is pending, that is seen but not yet taken. `lock` is
  deaf. `recv`, `send`, `connect` and `poll` do not hear signals; in threads other than the main
  one the first three hear `interrupt()`, and `poll` ends by `wake`.
* Handles (Listener, Conn, Queue, Mutex, Poller) are opaque; an MPM may hang notes on a Conn.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

#: What every function that waits returns: a generator driven by a kernel.
Steps = Generator[Any, Any, T]


class Signal(enum.Enum):
    """The signals of httpd's control interface (server/mpm_unix.c), by their Unix names."""

    TERM = "TERM"  # stop, ungraceful
    WINCH = "WINCH"  # graceful stop
    HUP = "HUP"  # restart, ungraceful
    USR1 = "USR1"  # graceful restart
    KILL = "KILL"  # never seen by the process: it is gone
    SEGV = "SEGV"  # what a crash looks like to the parent


@dataclass(frozen=True, slots=True)
class Dead:
    """A child that was reaped by `wait`: `code` is its exit code, or `signal` what killed it."""

    pid: int
    code: int
    signal: Signal | None = None


@dataclass(frozen=True, slots=True)
class Dial:
    """How a client's end of a connection is set up, where it is not as usual. In simulation all of
    it; in the real world the receive buffer only: the link there is what it is."""

    #: SO_RCVBUF; 0: the system's.
    receive_buffer_bytes: int = 0
    #: Round trip of the client's link, on top of the platform's.
    rtt_s: float = 0.0
    #: Rates of the client's link, from and to the server; 0: as fast as it goes.
    down_bytes_per_s: float = 0.0
    up_bytes_per_s: float = 0.0


class KernelError(Exception):
    """Base of what a kernel raises: a bug in the caller or a machine that is broken."""


class ResourceShortage(KernelError):  # noqa: N818 - an outcome that is caught, not a failure
    """accept() failed for want of descriptors or memory (httpd os/unix/unixd.c: general error)."""


class Data(Protocol):
    """What travels on a connection: `bytes` in the real world, counted bytes in simulation.

    Slices with data[a:b], joins with +, has a length, and is falsy when empty (b"" is the end of
    the stream in both worlds)."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...


class Address(Protocol):
    """Where `connect` goes: a Listener, or in the load process the address of one."""

    @property
    def port(self) -> int: ...


class Listener(Address, Protocol):
    """A bound, listening socket with a backlog."""


class Conn(Protocol):
    """One end of a connection. `notes` is free for its owner."""

    notes: Any
    #: True once the peer has cut the connection with a reset instead of closing it.
    reset: bool


class Queue(Protocol):
    """First in first out, or last in first out; within a process or shared (tokens only)."""


class Mutex(Protocol):
    """Mutual exclusion, within a process or shared between processes."""


class Poller(Protocol):
    """A set of armed sources (epoll). One-shot: a source that is returned is disarmed."""


class Kernel(Protocol):
    """The operations. Each docstring gives the contract that holds in both worlds."""

    # ---- waits: always `yield k.op(...)` -------------------------------------------------------

    def fork(self, fn: Callable[..., Steps[int]], *args: Any) -> Any:
        """-> pid, or None when the system refuses. Runs `fn(k, *args)` in a new process whose exit
        code is what fn returns. `fn` is a module-level function, `args` are frozen values or
        kernel handles. The caller must be the only thread of its process. The child starts with no
        pending signals, default dispositions undone, and no children.
        Real: os.fork. Simulated: a new process; the parent pays the platform's fork."""

    def thread(self, fn: Callable[..., Steps[Any]], *args: Any) -> Any:
        """-> tid (small positive int, unique in the process), or None when the system refuses. Runs
        `fn(k, *args)` in a new thread of this process. It dies with the process."""

    def wait(self, timeout_s: float | None) -> Any:
        """-> Dead of one child that ended, or None. With no children it is a quiet timeout."""

    def sleep(self, seconds: float) -> Any:
        """-> None after that long. `sleep(0)` yields the processor. The main thread's ends early on
        a pending signal."""

    def work(self, demand: Any) -> Any:
        """-> the response body (Data of demand.response_bytes). The *application*: burns
        demand.cpu_us of this thread's CPU, then waits demand.wait_us without CPU. With
        demand.crash the process dies of SEGV instead of answering."""

    def lock(self, mutex: Mutex) -> Any:
        """-> True once held. Deaf to signals. A shared mutex is released when its owner dies;
        first come, first served is not promised."""

    def put(self, queue: Queue, item: Any) -> Any:
        """-> True; False if a shared queue is full. Items are truthy; a shared queue carries
        one-character strings only."""

    def get(self, queue: Queue, timeout_s: float | None) -> Any:
        """-> the item, or None."""

    def accept(self, listener: Listener, timeout_s: float | None) -> Any:
        """-> Conn, or None. The main thread may wait; other threads only try (timeout_s=0).
        Raises ResourceShortage. On a closed listener: None."""

    def poll(self, poller: Poller, timeout_s: float | None) -> Any:
        """-> list of ready sources, possibly empty. A Conn is ready when data, the end of the
        stream or an error can be read (or, armed for writing, when it can take data); a
        Listener when a connection waits. Ready sources are disarmed. `wake` ends the wait.
        A connection closed while armed is simply no longer in the set."""

    def recv(self, conn: Conn, n: int, timeout_s: float | None) -> Any:
        """-> Data of 1..n bytes; b"" at the end of the stream or after a reset; None if nothing
        came in time or the thread was interrupted."""

    def send(self, conn: Conn, data: Data, timeout_s: float | None) -> Any:
        """-> how many bytes the system took. All of them unless the time ran out or the thread was
        interrupted; with timeout_s=0 whatever fits now, perhaps 0. None once the peer is gone."""

    def connect(self, address: Address, timeout_s: float | None, dial: Dial | None = None) -> Any:
        """-> Conn, or None (refused at once where nobody listens; or not established in time).
        Against a full backlog the SYN is retried after 1, 3, 7 s, as Linux does."""

    # ---- plain calls: never yielded ------------------------------------------------------------

    def now(self) -> float:
        """Seconds on a clock that only goes forward. One clock for all processes of a world."""

    def pid(self) -> int:
        """This process."""

    def signals(self) -> Sequence[Signal]:
        """The pending signals in order of arrival, left pending. Seen by every thread."""

    def take_signals(self) -> Sequence[Signal]:
        """The pending signals in order of arrival; they are pending no longer."""

    def dies_of(self, signal: Signal) -> None:
        """Restore the default disposition: this process dies at once when `signal` comes, and at
        once now if it is pending (httpd children's just_die handlers)."""

    def kill(self, pid: int, signal: Signal) -> bool:
        """Send a signal. False if there is no such process (a zombie counts as one)."""

    def interrupt(self) -> None:
        """From now on the socket waits (recv, send, connect) of this process's threads other than
        the main one end at once, falsy (worker.c: WORKER_SIGNAL to each thread)."""

    def unlock(self, mutex: Mutex) -> None:
        """Release a mutex that this thread (this process, if shared) holds."""

    def close(self, handle: Conn | Listener | Poller, half: bool = False) -> None:
        """Close; with half=True only the sending side of a Conn (shutdown(SHUT_WR)). Closing with
        unread data resets the connection. Closing a Listener here leaves other processes'
        copies open; connections that nobody accepted die with the last copy. Idempotent.
        A thread of this process that waits on the handle is *not* promised to notice."""

    def arm(
        self, poller: Poller, source: Conn | Listener, on: bool = True, write: bool = False
    ) -> None:
        """Put a source into the set (for reading, or for writing), or take it out."""

    def wake(self, poller: Poller) -> None:
        """End the current, or else the next, `poll` on it. From any thread of the process."""

    def size(self, queue: Queue) -> int:
        """How many items wait in a queue that is not shared."""

    def log(self, level: str, ident: str, text: str) -> None:
        """One line of the error log: level ("error"), message id ("AH00161"), text."""

    # ---- factories -----------------------------------------------------------------------------

    def queue(self, order: str = "fifo", shared: bool = False) -> Queue:
        """order: "fifo" or "lifo". Shared ones are made before the fork."""

    def mutex(self, shared: bool = False) -> Mutex:
        """Shared ones are made before the fork."""

    def poller(self) -> Poller:
        """Made after the fork, used by one process."""
