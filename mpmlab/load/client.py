"""The load clients: one text for the simulated and the real world.

`load` is the main thread of the load process, `session` one client of the plan in a thread of its
own. No sockets, no real clock, no HTTP text, no random numbers: the kernel, the wire and the plan
have those. Only `yield k.op(...)` waits.

Vocabulary. A request's turn comes when its planned time has come *and* its session's previous
request is over; only then can the client be late. Times here are seconds since the run's start.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final, Protocol

from mpmlab.core.demand import Demand
from mpmlab.core.wire import BadResponse, ClientWire, Response
from mpmlab.kernel.interface import Address, Conn, Queue, Steps
from mpmlab.load.recorder import RECONNECT_PAUSE_US, Outcome, Recorder
from mpmlab.workload.plan import Plan

#: How long a client waits for a connection and the complete answer together, unless told.
REQUEST_TIMEOUT_S: Final = 30.0
#: How much longer than the last request's timeout the run waits for its sessions.
GRACE_S: Final = 1.0
#: How often `progress` is called.
PROGRESS_INTERVAL_S: Final = 0.5
#: What is left of a wait below this is rounding, not time.
ROUNDING_S: Final = 1e-9
#: Most that is taken from a connection at once.
RECV_BYTES: Final = 65536

_NAN: Final = float("nan")


class ClientKernel(Protocol):
    """The part of kernel.interface.Kernel that clients need; contracts are stated there."""

    def thread(self, fn: Callable[..., Steps[Any]], *args: Any) -> Any: ...
    def sleep(self, seconds: float) -> Any: ...
    def put(self, queue: Queue, item: Any) -> Any: ...
    def get(self, queue: Queue, timeout_s: float | None) -> Any: ...
    def recv(self, conn: Conn, n: int, timeout_s: float | None) -> Any: ...
    def send(self, conn: Conn, data: Any, timeout_s: float | None) -> Any: ...
    def connect(self, address: Address, timeout_s: float | None) -> Any: ...
    def now(self) -> float: ...
    def signals(self) -> Any: ...
    def close(self, handle: Any, half: bool = False) -> None: ...
    def queue(self, order: str = "fifo", shared: bool = False) -> Queue: ...


#: Called now and then with the seconds since the start and how many requests that follow a
#: response, and so have no planned time in the plan, have come due so far.
Progress = Callable[[float, int], None]


class Run:
    """What all sessions of a run share: the plan's columns, the recorder, who is alive."""

    def __init__(
        self,
        k: ClientKernel,
        plan: Plan,
        address: Address,
        make_wire: Callable[[], ClientWire],
        recorder: Recorder,
        start_s: float,
        timeout_s: float,
    ) -> None:
        self.address = address
        self.make_wire = make_wire
        self.recorder = recorder
        self.start_s = start_s
        self.timeout_s = timeout_s
        self.duration_s = plan.duration_us / 1e6
        self.cycles = plan.cycle
        # array.array gives Python's own integers, at a quarter of the price of numpy's scalars.
        self.first = array("q", plan.session_first.astype("q").tobytes())
        self.count = array("q", plan.session_requests.astype("q").tobytes())
        self.reuse = array("b", plan.session_reuse.astype("b").tobytes())
        self.planned_us = array("q", plan.planned_us.astype("q").tobytes())
        self.think_us = array("q", plan.think_us.astype("q").tobytes())
        self.cpu_us = array("q", plan.cpu_us.astype("q").tobytes())
        self.wait_us = array("q", plan.wait_us.astype("q").tobytes())
        self.request_bytes = array("q", plan.request_bytes.astype("q").tobytes())
        self.response_bytes = array("q", plan.response_bytes.astype("q").tobytes())
        #: Number of a session -> its client, from its start to its end.
        self.live: dict[int, Client] = {}
        self.connections = 0
        #: How many requests with a time relative to a response have come due.
        self.followed = 0
        #: Each session leaves a token here when it ends.
        self.ended = k.queue()

    def now(self, k: ClientKernel) -> float:
        """Seconds since the start of the run."""
        return k.now() - self.start_s


class Client:
    """One session: its place in the plan, its connection, and the request that it is at."""

    __slots__ = (
        "begun",
        "conn",
        "connection",
        "ended_s",
        "error",
        "first_byte_s",
        "last_byte_s",
        "lateness_s",
        "number",
        "planned_s",
        "position",
        "response",
        "retried",
        "run",
        "sent_s",
        "used",
        "wire",
    )

    def __init__(self, run: Run, number: int) -> None:
        self.run = run
        self.number = number
        self.position = 0  # how many requests it has behind it, all rounds
        self.conn: Any = None
        self.wire: Any = None
        self.connection = 0
        self.used = False  # the connection has carried an answer before
        self.ended_s = 0.0  # of the previous request
        self.error = Outcome.OK
        self.reset(_NAN)

    def reset(self, planned_s: float) -> None:
        """A new request: nothing has happened to it yet."""
        self.planned_s = planned_s
        self.begun = False
        self.lateness_s = self.sent_s = self.first_byte_s = self.last_byte_s = _NAN
        self.response: Response | None = None
        self.retried = 0

    def index(self) -> int:
        """The request's place in the plan."""
        run, number = self.run, self.number
        return run.first[number] + self.position % run.count[number]

    def next(self) -> None:
        """Turn to the next request: when is it planned?"""
        run, index = self.run, self.index()
        planned_us = run.planned_us[index] if self.position < run.count[self.number] else -1
        if planned_us >= 0:
            self.reset(planned_us / 1e6)
            return
        think_us = run.think_us[index]
        if self.error == Outcome.CONNECT_REFUSED:
            think_us = max(think_us, RECONNECT_PAUSE_US)
        self.reset(self.ended_s + think_us / 1e6)

    def record(self, error: Outcome, ended_s: float) -> None:
        """The request is over: write its row and step on."""
        run, response = self.run, self.response
        run.recorder.add(
            self.index(), self.position // run.count[self.number], self.number,
            self.planned_s, self.lateness_s, self.sent_s, self.first_byte_s, self.last_byte_s,
            ended_s,
            0 if response is None else response.status,
            0 if response is None else response.body_bytes,
            self.connection if self.begun else 0,
            error, self.retried,
        )  # fmt: skip
        self.ended_s = ended_s
        self.error = error
        self.position += 1
        self.reset(_NAN)

    def drop(self, k: ClientKernel) -> None:
        """Close the connection, if there is one."""
        if self.conn is not None:
            k.close(self.conn)
            self.conn = self.wire = None
            self.connection = 0

    def account(self, end_s: float, now_s: float) -> None:
        """The run ended at end_s, and it is now_s: rows for what was due and is not done.

        A request that follows a response that never came has no planned time; it gets a row only
        if one with a planned time stands after it."""
        if self.begun:
            sent = self.sent_s == self.sent_s  # not NaN
            self.record(Outcome.UNFINISHED if sent else Outcome.NOT_SENT, now_s)
        run, count = self.run, self.run.count[self.number]
        first = run.first[self.number]
        due = self.position + (self.planned_s < end_s)
        for position in range(self.position, count):
            if 0 <= run.planned_us[first + position] / 1e6 < end_s:
                due = position + 1
        while self.position < due:
            planned_us = run.planned_us[self.index()] if self.position < count else -1
            if planned_us >= 0:
                self.planned_s = planned_us / 1e6
            self.record(Outcome.NOT_SENT, now_s)


def load(
    k: ClientKernel,
    plan: Plan,
    address: Address,
    make_wire: Callable[[], ClientWire],
    recorder: Recorder,
    start_s: float,
    progress: Progress | None = None,
    timeout_s: float = REQUEST_TIMEOUT_S,
) -> Steps[None]:
    """The main thread of the load process: starts each session in time, waits for all of them.

    `start_s` is the plan's zero on k.now()'s clock. `make_wire` gives a wire for each connection.
    Ends at once when a signal is pending; then, and when sessions outlive the duration by more than
    the request timeout, what they were at is recorded as NOT_SENT or UNFINISHED."""
    run = Run(k, plan, address, make_wire, recorder, start_s, timeout_s)
    if progress is not None:
        yield k.thread(report, run, progress)
    reached = started = 0
    for number, start_us in enumerate(plan.session_start_us.tolist()):
        due_s = start_s + start_us / 1e6
        while not k.signals() and (left_s := due_s - k.now()) > ROUNDING_S:
            yield k.sleep(left_s)
        if k.signals():
            break
        reached = number + 1
        run.live[number] = Client(run, number)
        if (yield k.thread(session, run, number)) is None:
            run.live.pop(number).account(run.duration_s, run.now(k))
        else:
            started += 1
    ended = 0
    last_s = start_s + run.duration_s + timeout_s + GRACE_S
    while ended < started and not k.signals() and (left_s := last_s - k.now()) > 0:
        if (yield k.get(run.ended, left_s)):
            ended += 1
    stopped = bool(k.signals())
    now_s = run.now(k)
    end_s = min(max(0.0, now_s), run.duration_s) if stopped else run.duration_s
    for client in run.live.values():
        client.account(end_s, now_s)
    for number in range(reached, plan.sessions):
        Client(run, number).account(end_s, now_s)
    recorder.finish(complete=not stopped, end_s=end_s)


def report(k: ClientKernel, run: Run, progress: Progress) -> Steps[None]:
    """A thread that calls `progress` for as long as the load runs."""
    while True:
        yield k.sleep(PROGRESS_INTERVAL_S)
        progress(run.now(k), run.followed)


def session(k: ClientKernel, run: Run, number: int) -> Steps[None]:
    """One client of the plan: its requests one after the other, each when its turn comes."""
    client = run.live[number]
    last = run.count[number]
    while run.cycles or client.position < last:
        client.next()
        turn_s = max(client.planned_s, client.ended_s)
        if turn_s >= run.duration_s:
            break
        while (left_s := run.start_s + turn_s - k.now()) > ROUNDING_S:
            yield k.sleep(left_s)
        # Not asked again whether the run is over: that the client itself is some microseconds late
        # must not lose the last request.
        begun_s = run.now(k)
        if client.position >= last or run.planned_us[client.index()] < 0:
            run.followed += 1
        client.begun = True
        client.lateness_s = max(0.0, begun_s - turn_s)
        error = yield from exchange(k, client, run.start_s + begun_s + run.timeout_s)
        keeps = client.response is not None and client.response.keep_alive and run.reuse[number]
        client.record(error, run.now(k) if client.response is None else client.last_byte_s)
        if not keeps:
            client.drop(k)
    client.account(run.duration_s, run.now(k))
    client.drop(k)
    del run.live[number]
    yield k.put(run.ended, number + 1)


def exchange(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """One request, on the session's connection or on a new one.

    If a connection that has been used before is found closed without a byte of the answer, the
    request is sent once more on a new one, as browsers do: the server closed an idle connection at
    the moment at which the request was on its way (RFC 9112 section 9.3.1)."""
    while True:
        if client.conn is None:
            error = yield from connect(k, client, deadline_s)
            if error != Outcome.OK:
                return error
        error = yield from attempt(k, client, deadline_s)
        if client.response is not None:
            return error
        again = (
            client.used
            and not client.wire.received
            and error in (Outcome.SEND_FAILED, Outcome.RESET, Outcome.CLOSED_EARLY)
        )
        if not again:
            return error
        client.drop(k)
        client.retried = 1


def connect(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """A new connection for the session."""
    run = client.run
    conn = yield k.connect(run.address, max(0.0, deadline_s - k.now()))
    if conn is None:
        late = deadline_s - k.now() <= ROUNDING_S
        return Outcome.CONNECT_TIMEOUT if late else Outcome.CONNECT_REFUSED
    run.connections += 1
    client.conn = conn
    client.connection = run.connections
    client.used = False
    client.wire = run.make_wire()
    return Outcome.OK


def attempt(k: ClientKernel, client: Client, deadline_s: float) -> Steps[Outcome]:
    """Send the request and read its answer, on the connection that is there."""
    run, conn, wire, index = client.run, client.conn, client.wire, client.index()
    demand = Demand(run.cpu_us[index], run.wait_us[index], run.response_bytes[index])
    request = wire.request(demand, run.request_bytes[index], bool(run.reuse[client.number]))
    now_s = k.now()
    client.sent_s = now_s - run.start_s
    taken = yield k.send(conn, request, max(0.0, deadline_s - now_s))
    if taken is None:
        return Outcome.SEND_FAILED
    if taken < len(request):
        return Outcome.TIMEOUT
    while True:
        data = yield k.recv(conn, RECV_BYTES, max(0.0, deadline_s - now_s))
        now_s = k.now()
        if data is None:
            if deadline_s - now_s <= ROUNDING_S:
                return Outcome.TIMEOUT
            continue
        if data:
            if not wire.received:
                client.first_byte_s = now_s - run.start_s
            try:
                response = wire.feed(data)
            except BadResponse:
                return Outcome.BAD_RESPONSE
        else:
            response = wire.eof()
            if response is None:
                return Outcome.RESET if conn.reset else Outcome.CLOSED_EARLY
        if response is not None:
            client.last_byte_s = now_s - run.start_s
            client.response = response
            client.used = True
            return Outcome.HTTP_ERROR if response.status >= 400 else Outcome.OK
        if deadline_s - now_s <= ROUNDING_S:
            return Outcome.TIMEOUT
