"""The load clients: one text for the simulated and the real world.

`load` is the main thread of the load process; `session` is one client of the plan in a thread of
its own, `pool_worker` a connection that serves the sessions of a group that shares some. What a
connection is, is way.py, what happens on it exchange.py and habits.py. No sockets, no real clock,
no HTTP text, no random numbers: the kernel, the wire and the plan have those. Only
`yield k.op(...)` waits.

Vocabulary. A request's turn comes when its planned time has come *and* its session's previous
request is over (and a connection of the pool is free); only then can the client be late. Times here
are seconds since the run's start.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import count
from typing import Any, Final

import numpy as np

from mpmlab.core.demand import Demand
from mpmlab.core.wire import BadResponse, ClientWire, Response
from mpmlab.kernel.interface import Address, Queue, Steps
from mpmlab.load.deck import Deck
from mpmlab.load.exchange import exchange, proceed
from mpmlab.load.parts import pool_share, sessions_of
from mpmlab.load.recorder import RECONNECT_PAUSE_US, Outcome, Recorder
from mpmlab.load.way import OK, RECV_BYTES, ROUNDING_S, ClientKernel, Line, Way
from mpmlab.workload.plan import Plan

#: How long a client waits for a connection and the complete answer together, unless told.
REQUEST_TIMEOUT_S: Final = 30.0
#: How much longer than the last request's timeout the run waits for its sessions.
GRACE_S: Final = 1.0
#: How often `progress` is called.
PROGRESS_INTERVAL_S: Final = 0.5
REFUSED: Final = Outcome.CONNECT_REFUSED
_NAN: Final = float("nan")
_INF: Final = float("inf")

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
        paced: bool,
        tagged: bool = False,
    ) -> None:
        self.recorder = recorder
        self.tagged = tagged
        self.add = recorder.add
        self.start_s = start_s
        self.timeout_s = timeout_s
        self.duration_s = plan.duration_us / 1e6
        # array.array gives Python's own integers, at a quarter of the price of numpy's scalars.
        self.first = array("q", plan.session_first.astype("q").tobytes())
        self.count = array("q", plan.session_requests.astype("q").tobytes())
        self.group = array("h", plan.session_group.astype("h").tobytes())
        self.cycles = array("b", plan.session_cycle.astype("b").tobytes())
        self.planned_us = array("q", plan.planned_us.astype("q").tobytes())
        self.think_us = array("q", plan.think_us.astype("q").tobytes())
        self.cpu_us = array("q", plan.cpu_us.astype("q").tobytes())
        self.wait_us = array("q", plan.wait_us.astype("q").tobytes())
        self.request_bytes = array("q", plan.request_bytes.astype("q").tobytes())
        self.response_bytes = array("q", plan.response_bytes.astype("q").tobytes())
        self.static = array("b", plan.request_static().astype("b").tobytes())
        self.crash = array("b", plan.request_crash().astype("b").tobytes())
        #: Per group: how its clients reach the server and behave.
        serials = count(1)
        group_of = np.repeat(plan.session_group, plan.session_requests)
        self.ways = tuple(
            Way(
                group.client, address, make_wire, start_s, paced,
                int(plan.request_bytes[group_of == number].max(initial=0)), serials,
            )
            for number, group in enumerate(plan.groups)
        )  # fmt: skip
        #: Per group: where its sessions wait for a connection of the pool; None without one.
        self.pools: tuple[Queue | None, ...] = tuple(
            k.queue() if group.client.pool else None for group in plan.groups
        )
        self._compose = make_wire().compose
        self._composed: dict[int, Any] = {}
        #: Number of a session -> its client, from its start to its end.
        self.live: dict[int, Client] = {}
        #: How many requests with a time relative to a response have come due.
        self.followed = 0
        #: Each session leaves a token here when it ends.
        self.ended = k.queue()

    def now(self, k: ClientKernel) -> float:
        """Seconds since the start of the run."""
        return k.now() - self.start_s

    def request(self, index: int, number: int) -> Any:
        """Request `index` of the plan, written out; kept if it comes round again."""
        request = self._composed.get(index)
        if request is None:
            demand = Demand(
                self.cpu_us[index], self.wait_us[index], self.response_bytes[index],
                bool(self.crash[index]), bool(self.static[index]),
            )  # fmt: skip
            keep_alive = self.ways[self.group[number]].kind.keep_alive
            ident = index if self.tagged else -1
            request = self._compose(demand, self.request_bytes[index], keep_alive, ident)
            if self.cycles[number]:
                self._composed[index] = request
        return request


class Client:
    """One session: its place in the plan, its connection, and the request that it is at."""

    __slots__ = (
        "begun", "count", "cycles", "ended_s", "first", "first_byte_s", "follows", "index",
        "last_byte_s", "lateness_s", "line", "number", "offset", "planned_s", "refused", "request",
        "response", "retried", "round", "run", "sent_s", "turn_s", "way",
    )  # fmt: skip

    def __init__(self, run: Run, number: int, line: Line | None = None) -> None:
        self.run = run
        self.number = number
        self.way = run.ways[run.group[number]]
        self.line = line or Line()
        self.first = run.first[number]
        self.count = run.count[number]
        self.cycles = bool(run.cycles[number])
        self.round = 0
        self.offset = 0  # of the request at hand, or the next one, in the session's list
        self.ended_s = 0.0  # of the previous request
        self.refused = False  # the previous request
        self.reset()

    def reset(self) -> None:
        """Nothing has happened yet to the request at hand."""
        self.planned_s = _NAN
        self.turn_s = _INF
        self.begun = self.follows = False
        self.lateness_s = self.sent_s = self.first_byte_s = self.last_byte_s = _NAN
        self.response: Any = None
        self.request: Any = None
        self.retried = 0

    def next(self) -> float:
        """Turn to the next request: when is its turn? Infinity if there is none."""
        run = self.run
        if self.offset == self.count:
            return _INF
        index = self.index = self.first + self.offset
        planned_us = -1 if self.round else run.planned_us[index]
        ended_s = self.ended_s
        if planned_us >= 0:
            self.planned_s = turn_s = planned_us / 1e6
            if turn_s < ended_s:
                turn_s = ended_s
        else:
            self.follows = True
            think_us = run.think_us[index]
            if self.refused and think_us < RECONNECT_PAUSE_US:
                think_us = RECONNECT_PAUSE_US
            self.planned_s = turn_s = ended_s + think_us / 1e6
        self.turn_s = turn_s
        self.request = run.request(index, self.number)
        return turn_s

    def begin(self, begun_s: float) -> None:
        """Its turn has come, and it is now: from here on the request has been taken in hand."""
        self.begun = True
        late_s = begun_s - self.turn_s
        self.lateness_s = late_s if late_s > 0 else 0.0
        if self.follows:
            self.run.followed += 1

    def record(self, error: Outcome, ended_s: float) -> None:
        """The request is over: write its row and step on."""
        response = self.response
        if response is None:
            status = body_bytes = 0
        else:
            status, body_bytes = response.status, response.body_bytes
        self.run.add(
            self.first + self.offset, self.round, self.number,
            self.planned_s, self.lateness_s, self.sent_s, self.first_byte_s, self.last_byte_s,
            ended_s, status, body_bytes, self.line.serial if self.begun else 0, error, self.retried,
        )  # fmt: skip
        self.ended_s = ended_s
        self.refused = error == REFUSED
        self.offset += 1
        if self.offset == self.count and self.cycles:
            self.offset = 0
            self.round += 1
        self.planned_s = self.first_byte_s = self.last_byte_s = self.sent_s = _NAN
        self.begun = self.follows = False
        self.response = self.request = None
        self.retried = 0

    def settle(self, response: Response, ended_s: float) -> None:
        """As `record`, in the usual case: the whole answer came at once, on the first attempt."""
        self.run.add(
            self.first + self.offset, self.round, self.number,
            self.planned_s, self.lateness_s, self.sent_s, ended_s, ended_s, ended_s,
            response.status, response.body_bytes, self.line.serial,
            OK if response.status < 400 else Outcome.HTTP_ERROR, 0,
        )  # fmt: skip
        self.ended_s = ended_s
        self.begun = self.follows = self.refused = False
        self.request = None
        self.sent_s = self.planned_s = _NAN
        self.offset += 1
        if self.offset == self.count and self.cycles:
            self.offset = 0
            self.round += 1

    def account(self, end_s: float, now_s: float) -> None:
        """The run ended at end_s, and it is now_s: rows for what was due and is not done.

        A request that follows a response that never came has no planned time; it gets a row only
        if one with a planned time stands after it."""
        if self.begun:
            sent = self.sent_s == self.sent_s  # not NaN
            self.record(Outcome.UNFINISHED if sent else Outcome.NOT_SENT, now_s)
        planned_us, first = self.run.planned_us, self.first
        listed = range(self.offset, 0 if self.round else self.count)
        due = self.offset + (self.planned_s < end_s)
        for offset in listed:
            if 0 <= planned_us[first + offset] / 1e6 < end_s:
                due = offset + 1
        rest = due - self.offset
        self.lateness_s = _NAN
        for _ in range(rest):
            if not self.round and planned_us[first + self.offset] >= 0:
                self.planned_s = planned_us[first + self.offset] / 1e6
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
    paced: bool = False,
    part: tuple[int, int] = (0, 1),
    ahead: bool = False,
    tagged: bool = False,
) -> Steps[None]:
    """The main thread of the load process: starts each session in time, waits for all of them.

    `start_s` is the plan's zero on k.now()'s clock. `make_wire` gives a wire for each connection.
    `paced`: the clients keep to their links' round trip and rates by themselves (exchange.py).
    `part` (i, n): this is process i of n that make a whole run (`sessions_of`).
    `ahead`: sessions are started, and their first requests written, some before they are due
    (deck.py); they then wait for their own times. On a real machine that is what makes it punctual.
    `tagged`: each request says its number in the plan.
    Ends at once when a signal is pending; then, and when sessions outlive the duration by more than
    the request timeout, what they were at is recorded as NOT_SENT or UNFINISHED."""
    run = Run(k, plan, address, make_wire, recorder, start_s, timeout_s, paced, tagged)
    if progress is not None:
        yield k.thread(report, run, progress)
    for pool, way in zip(run.pools, run.ways, strict=True):
        for _ in range(pool_share(way.kind.pool, part)):
            yield k.thread(pool_worker, run, pool, way)
    mine = sessions_of(plan, part)
    reached = started = 0
    deck = Deck(ahead)
    for number in mine:
        due_s = start_s + run.planned_us[run.first[number]] / 1e6
        while not k.signals() and (left_s := deck.wait_s(due_s, k.now())) > ROUNDING_S:
            yield k.sleep(left_s)
        if k.signals():
            break
        reached += 1
        deck.put(due_s)
        client = run.live[number] = Client(run, number)
        client.next()
        pool = run.pools[run.group[number]]
        if pool is not None:
            yield k.put(pool, client)
        elif (yield k.thread(session, client)) is None:
            continue  # it stays among those who live, and so is accounted for at the end
        started += 1
    ended = 0
    last_s = start_s + run.duration_s + timeout_s + GRACE_S
    while ended < started and not k.signals() and (left_s := last_s - k.now()) > 0:
        if (yield k.get(run.ended, left_s)):
            ended += 1
    stopped = bool(k.signals())
    now_s = run.now(k)
    end_s = min(max(0.0, now_s), run.duration_s) if stopped else run.duration_s
    now_s = max(now_s, end_s)  # nothing is given up before the end
    for client in run.live.values():
        client.account(end_s, now_s)
    for number in mine[reached:]:
        Client(run, number).account(end_s, now_s)
    recorder.finish(complete=not stopped, end_s=end_s)


def report(k: ClientKernel, run: Run, progress: Progress) -> Steps[None]:
    """A thread that calls `progress` for as long as the load runs."""
    while True:
        yield k.sleep(PROGRESS_INTERVAL_S)
        progress(run.now(k), run.followed)


def session(k: ClientKernel, client: Client) -> Steps[None]:
    """One client of the plan, with connections of its own."""
    run, line, way = client.run, client.line, client.way
    yield from serve(k, client)
    if line.conn is not None and way.kind.hold_s:
        hold_s = min(way.kind.hold_s, run.duration_s - run.now(k))
        hold_s = way.nap(k, line, hold_s)
        if hold_s > 0 and line.conn is not None:
            yield k.recv(line.conn, 1, hold_s)  # b"": the server has closed it
    line.drop(k)
    yield k.put(run.ended, client.number + 1)


def pool_worker(k: ClientKernel, run: Run, pool: Queue, way: Way) -> Steps[None]:
    """One connection of a pool: serves the group's sessions that come, one after the other."""
    line = Line()
    free_s = 0.0
    while True:
        idle_s = way.idle_s(line, k.now())
        if idle_s is not None and idle_s <= ROUNDING_S:
            line.drop(k)  # it is too old
            idle_s = None
        client = yield k.get(pool, idle_s)
        if client is None:
            continue
        client.line = line
        client.turn_s = max(client.turn_s, free_s)
        yield from serve(k, client)
        free_s = run.now(k)
        yield k.put(run.ended, client.number + 1)


def serve(k: ClientKernel, client: Client) -> Steps[None]:
    """The session's requests one after the other, each when its turn comes.

    Whether the run is over is not asked again at the turn: that the client itself is some
    microseconds late must not lose the last request. The usual case stands here in full (a whole
    request out, a whole answer in, on the connection that is there), since its cost is what limits
    a client process; everything else is exchange.py."""
    run, line, way = client.run, client.line, client.way
    now = k.now
    start_s, duration_s, timeout_s, direct = run.start_s, run.duration_s, run.timeout_s, way.direct
    turn_s = client.turn_s  # the first is prepared
    while turn_s < duration_s:
        while (left_s := start_s + turn_s - (begun_s := now())) > ROUNDING_S:
            yield k.sleep(way.nap(k, line, left_s))
        sent_s = begun_s - start_s
        client.begin(sent_s)
        conn = line.conn
        if direct and conn is not None:
            wire, request = line.wire, client.request
            wire.ask()
            client.sent_s = sent_s
            data = None
            taken = yield k.send(conn, request, timeout_s)
            if taken == len(request):
                data = yield k.recv(conn, RECV_BYTES, timeout_s)
                ended_s = now() - start_s
            try:
                response = wire.feed(data) if data else None
            except BadResponse:
                response, taken = None, -1
            if response is not None:
                line.requests += 1
                client.settle(response, ended_s)
                if not (response.keep_alive and (way.constant or way.keeps(line, now()))):
                    line.drop(k)
                turn_s = client.next()
                continue
            error = yield from proceed(k, client, taken, data, begun_s + timeout_s)
        else:
            error = yield from exchange(k, client, begun_s + timeout_s)
        if client.response is None:
            ended_s, keeps = now() - start_s, False
        else:
            ended_s = client.last_byte_s
            keeps = client.response.keep_alive and (way.constant or way.keeps(line, now()))
        client.record(error, ended_s)
        if not keeps:
            line.drop(k)
        turn_s = client.next()
    client.account(duration_s, run.now(k))
    del run.live[client.number]
