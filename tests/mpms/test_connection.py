"""What a connection meets, whichever MPM serves it; in simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpmlab.core.count_wire import Blob, CountClient
from mpmlab.core.demand import Demand
from mpmlab.kernel.interface import Kernel, Listener, Signal, Steps
from mpmlab.mpms.catalog import CATALOG
from tests.mpms.lab import FREE, STUCK, Lab, Seen, ask, crowd, serial

#: A peer that does not read stops the server after 8 kB.
SMALL_BUFFERS = replace(FREE, name="small buffers", send_buffer_bytes=8192)

MPMS = pytest.mark.parametrize("mpm", list(CATALOG))
#: Those that know one kind of restart.
GRACEFUL_ONLY = ("winnt", "netware", "beos")


def half_then_wait(k: Kernel, listener: Listener, seen: Seen, part: int) -> Steps[int]:
    """`part` bytes of a request's head, then whatever the server says."""
    conn = yield k.connect(listener, 10)
    data: Any = CountClient("lab").request(Demand(), 0, True)
    yield k.send(conn, data[:part], 10)
    seen.note(k, "sent")
    answer = yield k.recv(conn, 65536, 3600)
    seen.note(k, f"answer {len(answer)}")
    k.close(conn)
    return 0


def pipeline(k: Kernel, listener: Listener, seen: Seen, count: int) -> Steps[int]:
    """So many requests in one send; the answers as they come."""
    conn = yield k.connect(listener, 10)
    data: Any = b""
    for i in range(count):
        data = data + CountClient("lab").request(Demand(), 0, i + 1 < count)
    yield k.send(conn, data, 10)
    total = 0
    while True:
        got = yield k.recv(conn, 65536, 3600)
        if not got:
            break
        total += len(got)
    seen.note(k, f"{total}")
    return 0


def slow_reader(k: Kernel, listener: Listener, seen: Seen, size: int, rest_s: float) -> Steps[int]:
    """Asks for `size` bytes, and only starts to read after `rest_s`."""
    conn = yield k.connect(listener, 10)
    wire = CountClient("lab")
    yield k.send(conn, wire.request(Demand(response_bytes=size), 0, True), 10)
    yield k.sleep(rest_s)
    response = None
    while response is None:
        data = yield k.recv(conn, 65536, 3600)
        if not data:
            seen.note(k, "eof")
            return 0
        response = wire.feed(data)
    seen.note(k, f"{response.body_bytes}")
    yield k.recv(conn, 65536, 3600)
    seen.note(k, "eof")
    k.close(conn)
    return 0


def garbage(k: Kernel, listener: Listener, seen: Seen) -> Steps[int]:
    """Bytes that are no request."""
    conn = yield k.connect(listener, 10)
    yield k.send(conn, Blob(300, 0, "garbage"), 10)
    data = yield k.recv(conn, 65536, 3600)
    seen.note(k, "answered" if data else "silence")
    k.close(conn)
    return 0


@MPMS
def test_half_a_request_times_out_with_an_answer(mpm: str) -> None:
    """Timeout after half a head: 408 is sent, and the worker is free again."""
    lab = Lab(mpm, {"Timeout": 3})
    lab.run(1)
    seen = Seen()
    lab.client(half_then_wait, seen, 20)
    lab.run(10)
    assert seen.whats()[0] == "sent"
    assert seen.events[1][0] - seen.events[0][0] == pytest.approx(3.0, abs=0.01)
    assert int(seen.whats()[1].split()[1]) > 50
    assert set(lab.letters()) <= set("_.")


@MPMS
def test_a_silent_client_gets_no_answer(mpm: str) -> None:
    """Nothing sent within Timeout: the connection is closed without a word."""
    lab = Lab(mpm, {"Timeout": 3})
    lab.run(1)
    seen = Seen()
    lab.client(half_then_wait, seen, 0)
    lab.run(10)
    assert seen.whats() == ["sent", "answer 0"]


@MPMS
def test_max_keep_alive_requests(mpm: str) -> None:
    """With MaxKeepAliveRequests 3 the third answer announces the end."""
    lab = Lab(mpm, {"MaxKeepAliveRequests": 3})
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (Demand(),) * 3, True, 5.0)
    lab.run(10)
    assert seen.whats() == ["connected", "200", "200", "200", "told to close", "eof"]


@MPMS
def test_keep_alive_off(mpm: str) -> None:
    """KeepAlive Off: every answer ends its connection."""
    lab = Lab(mpm, {"KeepAlive": "Off"})
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (Demand(),), True, 5.0)
    lab.run(10)
    assert seen.whats() == ["connected", "200", "told to close", "eof"]


@MPMS
def test_pipelined_requests_are_all_answered(mpm: str) -> None:
    """Five requests in one segment: five answers, whose bytes come to five times one."""
    totals = []
    for count in (1, 5):
        lab = Lab(mpm)
        lab.run(1)
        seen = Seen()
        lab.client(pipeline, seen, count)
        lab.run(5)
        totals.append(int(seen.whats()[0]))
        assert sum(lab.board.served) == count
    # The last answer says "Connection: close", the others do not.
    assert 4 * (totals[0] - len("Connection: close\r\n")) == totals[1] - totals[0]


@MPMS
def test_garbage_is_answered_and_forgotten(mpm: str) -> None:
    """What is no request gets an answer, and the pool is as before."""
    lab = Lab(mpm)
    lab.run(1)
    seen = Seen()
    lab.client(garbage, seen)
    lab.run(5)
    assert seen.whats() == ["answered"]
    assert set(lab.letters()) <= set("_.")


@pytest.mark.parametrize(("mpm", "letter"), [("prefork", "W"), ("worker", "W"), ("event", "")])
def test_a_slow_reader_holds_a_worker_or_not(mpm: str, letter: str) -> None:
    """While a client does not read the last 40 kB, prefork and worker spend a worker on it, event
    none: that is write completion. All get their bytes in the end."""
    lab = Lab(mpm, {"KeepAliveTimeout": 1}, platform=SMALL_BUFFERS)
    lab.run(1)
    seen = Seen()
    lab.client(slow_reader, seen, 40_000, 10.0)
    lab.run(8)
    assert lab.letters().count("W") == (1 if letter else 0)
    lab.run(30)
    assert seen.whats() == ["40000", "eof"]


def test_event_is_blocked_by_a_large_body_in_memory() -> None:
    """FlushMaxThreshold: a body that is no file holds event's worker until less than 64 kB are
    left, as observed in httpd's default configuration."""
    lab = Lab("event", {}, platform=SMALL_BUFFERS)
    lab.run(1)
    lab.client(slow_reader, Seen(), 300_000, 10.0)
    lab.run(8)
    assert lab.letters().count("W") == 1


@MPMS
def test_write_timeout_ends_the_connection(mpm: str) -> None:
    """A client that never reads is dropped after Timeout."""
    lab = Lab(mpm, {"Timeout": 3}, platform=SMALL_BUFFERS)
    lab.run(1)
    lab.client(slow_reader, Seen(), 40_000, 3600.0)
    lab.run(3.5)
    busy = lab.letters()
    lab.run(45)
    assert set(lab.letters()) <= set("_."), (busy, lab.letters())


def test_event_closes_idle_connections_when_workers_are_short() -> None:
    """With every thread busy, a keep-alive client that asks again gets neither an answer nor an end
    of stream until a thread is free; then the end of stream (observed in httpd)."""
    lab = Lab(
        "event",
        {
            "ThreadsPerChild": 4, "MaxRequestWorkers": 4, "ServerLimit": 1, "StartServers": 1,
            "MinSpareThreads": 1, "KeepAliveTimeout": 60,
        },
    )  # fmt: skip
    lab.run(1)
    seen = Seen()
    lab.client(_ask_again_at, seen, 3.0)
    lab.run(2)
    lab.client(crowd, 4, Demand(wait_us=8_000_000))
    lab.run(9.9)
    assert seen.whats() == ["200", "asked again"]
    lab.run(20)
    assert seen.whats() == ["200", "asked again", "eof"]
    assert seen.when("eof") == pytest.approx(10.0, abs=0.1)


def _ask_again_at(k: Kernel, listener: Listener, seen: Seen, at_s: float) -> Steps[int]:
    conn = yield k.connect(listener, 10)
    wire = CountClient("lab")
    yield k.send(conn, wire.request(Demand(), 0, True), 10)
    wire.feed((yield k.recv(conn, 65536, 60)))
    seen.note(k, "200")
    yield k.sleep(at_s - k.now())
    yield k.send(conn, wire.request(Demand(), 0, True), 10)
    seen.note(k, "asked again")
    data = yield k.recv(conn, 65536, 3600)
    seen.note(k, "answer" if data else "eof")
    return 0


def test_event_refuses_connections_while_threads_idle() -> None:
    """ThreadsPerChild 4, factor 2: six idle keep-alives and two busy threads are 8, and 8 is not
    less than 4 + 2 * 2: listening is off with two threads idle, and no idle connection is cut."""
    lab = Lab(
        "event",
        {
            "ThreadsPerChild": 4, "MaxRequestWorkers": 4, "ServerLimit": 1, "StartServers": 1,
            "MinSpareThreads": 1, "KeepAliveTimeout": 60,
        },
    )  # fmt: skip
    lab.run(1)
    idle = [Seen() for _ in range(6)]
    for seen in idle:
        lab.client(ask, seen, (Demand(),), True, 60.0, False)
    lab.run(2)
    lab.client(crowd, 2, STUCK)
    lab.run(3)
    late = Seen()
    lab.client(ask, late)
    lab.run(10)
    assert late.whats() == ["connected"]
    assert lab.board.not_accepting[0] == 1
    assert lab.letters().count("_") == 2
    assert all(seen.whats() == ["connected", "200"] for seen in idle)


@pytest.mark.parametrize("mpm", [name for name in CATALOG if name not in GRACEFUL_ONLY])
def test_hup_cuts_connections_and_starts_afresh(mpm: str) -> None:
    """HUP: the idle connection is cut, the generation goes up, a new pool serves."""
    lab = Lab(mpm, {"KeepAliveTimeout": 60})
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (Demand(),), True, 60.0)
    lab.run(2)
    old = {pid for pid in lab.board.pid if pid}
    lab.signal(Signal.HUP)
    lab.run(15)
    assert seen.whats()[:2] == ["connected", "200"]
    assert seen.whats()[2] in ("eof", "reset")
    assert lab.board.generation == 1
    new = {pid for pid in lab.board.pid if pid}
    assert new
    assert not new & old
    again = Seen()
    lab.client(ask, again)
    lab.run(16)
    assert again.whats() == ["connected", "200"]


@pytest.mark.parametrize(("mpm", "within_s"), [("prefork", 2.1), ("worker", 1.1), ("event", 1.1)])
def test_a_crashed_child_is_replaced(mpm: str, within_s: float) -> None:
    """A crash is logged (AH00052); worker and event replace the child when they reap it, prefork a
    pass later."""
    directives = {"StartServers": 5} if mpm == "prefork" else {"MinSpareThreads": 50}
    lab = Lab(mpm, directives)
    lab.run(1.5)
    before = lab.children()
    lab.client(ask, Seen(), (Demand(crash=True),))
    lab.run(1.5 + within_s)
    assert lab.children() == before
    assert len(lab.logged("AH00052")) == 1


@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_children_killed_in_a_row_are_not_replaced_at_once(mpm: str) -> None:
    """Two successive deaths by signal are answered at once, the third only at a quiet second."""
    lab = Lab(mpm, {"StartServers": 3})
    lab.run(1.5)
    for pid in [pid for pid in lab.board.pid if pid]:
        lab.world.kill(pid, Signal.SEGV)
    lab.run(2.1)
    assert lab.children() == 2
    assert len(lab.logged("AH10393" if mpm == "worker" else "AH10392")) == 1
    lab.run(4.1)
    assert lab.children() == 3


def steady_reader(
    k: Kernel, listener: Listener, seen: Seen, size: int, pause_s: float
) -> Steps[int]:
    """Asks for `size` bytes and reads 8 kB of them after each pause."""
    conn = yield k.connect(listener, 10)
    wire = CountClient("lab")
    yield k.send(conn, wire.request(Demand(response_bytes=size), 0, False), 10)
    response = None
    while response is None:
        yield k.sleep(pause_s)
        data = yield k.recv(conn, 8192, 3600)
        if not data:
            seen.note(k, "cut")
            return 0
        response = wire.feed(data)
    seen.note(k, f"{response.body_bytes}")
    k.close(conn)
    return 0


@MPMS
def test_timeout_limits_a_stall_and_not_an_answer(mpm: str) -> None:
    """A client that reads steadily gets everything, however much longer than Timeout it takes."""
    lab = Lab(mpm, {"Timeout": 3}, platform=SMALL_BUFFERS)
    lab.run(1)
    seen = Seen()
    lab.client(steady_reader, seen, 200_000, 0.3)
    lab.run(60)
    assert seen.whats() == ["200000"]


@MPMS
def test_an_eager_reader_behind_a_small_buffer(mpm: str) -> None:
    """An answer larger than the send buffer, to a client that reads at once, is not held up."""
    lab = Lab(mpm, {"Timeout": 3}, platform=SMALL_BUFFERS)
    lab.run(1)
    seen = Seen()
    lab.client(ask, seen, (Demand(response_bytes=40_000),))
    lab.run(2)
    assert seen.whats() == ["connected", "200"]


def test_event_finishes_a_half_written_answer_at_its_end() -> None:
    """USR1 while an answer waits for room and all workers are busy: it goes on as soon as one is
    free, and is complete."""
    lab = Lab(
        "event",
        {"ThreadsPerChild": 2, "MaxRequestWorkers": 2, "ServerLimit": 2, "StartServers": 1,
         "MinSpareThreads": 1},
        platform=SMALL_BUFFERS,
    )  # fmt: skip
    lab.run(1)
    seen = Seen()
    lab.client(slow_reader, seen, 40_000, 4.0)
    lab.run(2)
    lab.client(crowd, 2, Demand(wait_us=6_000_000))
    lab.run(3)
    lab.signal(Signal.USR1)
    lab.run(30)
    assert seen.whats() == ["40000", "eof"]


@pytest.mark.parametrize("second", [Signal.TERM, Signal.WINCH])
def test_a_stop_during_a_restart_is_obeyed(second: Signal) -> None:
    """HUP, and while its children are being stopped (event, a blocked reader: ten seconds) a stop:
    the server ends."""
    lab = Lab("event")
    lab.run(1)
    lab.client(half_then_wait, Seen(), 20)
    lab.run(2)
    lab.signal(Signal.HUP)
    lab.run(5)
    lab.signal(second)
    lab.world.run(until_exit=lab.pid, until_s=60)
    assert lab.world.exit_code(lab.pid) == 0


def test_event_does_not_go_deaf_after_lost_races() -> None:
    """Four processes of one thread compete for connections: all of them still accept at the end."""
    lab = Lab(
        "event",
        {"ThreadsPerChild": 1, "MaxRequestWorkers": 4, "ServerLimit": 4, "StartServers": 4,
         "MinSpareThreads": 1, "MaxSpareThreads": 4},
    )  # fmt: skip
    lab.run(1)
    for _ in range(40):
        lab.client(serial, 5, Seen())
    lab.run(20)
    assert not any(lab.board.not_accepting)
    assert sum(lab.board.served) == 200


@MPMS
def test_connections_are_counted_once(mpm: str) -> None:
    """Five connections of garbage are five accepted ones."""
    lab = Lab(mpm)
    lab.run(1)
    for _ in range(5):
        lab.client(garbage, Seen())
    lab.run(40)
    assert sum(lab.board.accepted) == 5
