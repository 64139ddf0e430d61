"""The eye of the httpd engine against a made-up server, which reports when the test says so."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import cast

import pytest

from mpmlab.bench.httpd import StatusEye
from mpmlab.bench.samples import STATUSES
from mpmlab.core.directives import effective
from mpmlab.core.scoreboard import BUSY_KEEPALIVE, BUSY_WRITE, DEAD, READY
from mpmlab.httpd.server import HttpdServer
from mpmlab.httpd.status import Status
from mpmlab.httpd.stream import StatusStream
from tests.httpd.httpd_lab import DEADLINE_S, wait_for


def report(letters: str, *more: str) -> str:
    """A report with that scoreboard; its own worker is a W."""
    busy, idle = sum(letters.count(one) for one in "RWKDCLI"), letters.count("_")
    lines = ["a.mpmlab.invalid", f"BusyWorkers: {busy}", f"IdleWorkers: {idle}", *more]
    return "\n".join([*lines, f"Scoreboard: {letters}"]) + "\n"


class Noted(StatusStream):
    """The stream, with a hook for when somebody is ready to wait for a report."""

    patient: Callable[[], None] | None = None

    def next(self, timeout_s: float) -> Status | None:
        """See StatusStream.next."""
        if self.patient is not None and timeout_s >= 1:
            self.patient()
        return super().next(timeout_s)


class MadeUp:
    """An HttpdServer as far as the eye knows it: a stream, and three children. Waits are answered
    at once; reports, or the end of the connection, come when the test says so."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answers: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self.connections = self.sent = 0
        self.stream_made: Noted | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def children(self) -> list[int]:
        """Their process ids."""
        return [11, 12, 13]

    def stream(self, interval_s: float) -> StatusStream:
        """See HttpdServer.stream."""
        port = self._listener.getsockname()[1]
        self.stream_made = Noted("127.0.0.1", port, "a.invalid", interval_s)
        return self.stream_made

    def answer(self, text: str, status: int = 200) -> None:
        """The next report."""
        self._answers.put((status, text))

    def hang_up(self) -> None:
        """Close the connection instead."""
        self._answers.put(None)

    def end(self) -> None:
        """No server any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._answers.put(None)
        if self.stream_made is not None:
            self.stream_made.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent is there
            with sock, suppress(OSError):
                self._converse(sock)

    def _converse(self, sock: socket.socket) -> None:
        reader = sock.makefile("rb")
        while line := reader.readline():
            while reader.readline() not in (b"\r\n", b""):
                pass  # the head
            said: tuple[int, str] | None = (200, "")
            if not line.startswith(b"GET /work?"):
                assert line == b"GET /server-status?auto HTTP/1.1\r\n"
                said = self._answers.get()
            if said is None:
                sock.shutdown(socket.SHUT_RDWR)
                return
            status, text = said
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n"
            sock.sendall((head + text).encode())
            self.sent += line.startswith(b"GET /server-status")  # it is on its way
            if status != 200:
                sock.shutdown(socket.SHUT_WR)
                reader.read()  # closing at once would take the answer back
                return


@pytest.fixture
def made_up() -> Iterator[MadeUp]:
    """A server."""
    server = MadeUp()
    yield server
    server.end()


def eye_on(server: MadeUp, mpm: str = "event", **directives: str) -> StatusEye:
    """The engine's eye."""
    return StatusEye(cast(HttpdServer, server), effective(mpm, directives))


def look_until(eye: StatusEye, samples: int, broken: int = 0) -> None:
    """Let the eye look until it has so many samples and breaks."""
    deadline_s = time.monotonic() + DEADLINE_S
    while (len(eye), eye.broken) != (samples, broken):
        assert time.monotonic() < deadline_s, (len(eye), eye.broken)
        eye.pause(0.01)


def test_a_sample_is_in_the_shape_of_all_engines(made_up: MadeUp) -> None:
    """Slots by status, busy and idle without the worker that answers, processes as reported."""
    eye = eye_on(made_up)
    eye.take(0.05)
    made_up.answer(report("_W_WK..", "Processes: 2"))
    look_until(eye, 1)
    samples = eye.samples()
    assert samples.counts.shape == (1, STATUSES)
    counts = samples.counts[0]
    assert [counts[code] for code in (READY, BUSY_WRITE, BUSY_KEEPALIVE, DEAD)] == [2, 1, 1, 2]
    assert counts.sum() == len("_W_WK..") - 1
    assert (samples.busy[0], samples.idle[0], samples.processes[0]) == (2, 2, 2)
    assert 0.05 <= samples.time_s[0] < 0.05 + DEADLINE_S


@pytest.mark.parametrize(("mpm", "processes"), [("prefork", 2), ("worker", 3)])
def test_processes_that_are_not_reported_are_counted(
    made_up: MadeUp, mpm: str, processes: int
) -> None:
    """The server's children; one of prefork's is there for the stream only."""
    eye = eye_on(made_up, mpm)
    eye.take(0.0)
    made_up.answer(report("W__"))
    look_until(eye, 1)
    assert eye.samples().processes.tolist() == [processes]


@pytest.mark.parametrize(
    ("mpm", "letters", "ready"),
    [
        ("prefork", "W__...", 2),  # two of the load's, one of the stream
        ("prefork", "W_KR..", 3),
        ("prefork", "WS_...", 1),  # one is still starting
        ("worker", "W___....", 4),  # the stream has one of the pool's threads
        ("worker", "WRK_SS..", 4),
        ("event", "_W__....", 4),
    ],
)
def test_ready_workers(made_up: MadeUp, mpm: str, letters: str, ready: int) -> None:
    """All that are up: of prefork without the process of the stream, of the others with the thread
    that answers, which is the pool's."""
    made_up.answer(report(letters))
    assert eye_on(made_up, mpm).ready_workers() == ready


def test_of_a_single_process_the_stream_has_a_thread_of_its_own(made_up: MadeUp) -> None:
    """It is not the pool's, and neither is it a process."""
    eye = eye_on(made_up, "worker", ThreadsPerChild="3", MaxRequestWorkers="3")
    made_up.answer(report("W___"))
    assert eye.ready_workers() == 3
    eye.take(0.0)
    made_up.answer(report("W__K", "Processes: 1"))
    look_until(eye, 1)
    samples = eye.samples()
    assert (samples.busy[0], samples.idle[0], samples.processes[0]) == (1, 2, 1)


def test_nobody_is_ready_where_nobody_answers(made_up: MadeUp) -> None:
    """A connection that is closed, an answer that is no report, and no server at all: none, and no
    error. What is up later is seen."""
    eye = eye_on(made_up)
    made_up.hang_up()
    assert eye.ready_workers() == 0
    made_up.answer("no", 503)
    assert eye.ready_workers() == 0
    made_up.answer("It works!")
    assert eye.ready_workers() == 0
    made_up.answer(report("W_"))
    assert eye.ready_workers() == 2
    made_up.end()
    assert eye.ready_workers() == 0


def test_reports_before_the_load_are_no_samples(made_up: MadeUp) -> None:
    """Those that have piled up until the first sample is due are dropped, those after it are
    kept."""
    eye = eye_on(made_up)
    for _ in range(3):
        made_up.answer(report("W_"))
    deadline_s = time.monotonic() + DEADLINE_S
    while made_up.sent < 3 and time.monotonic() < deadline_s:
        eye.pause(0.01)
    eye.pause(0.05)
    assert (made_up.sent, len(eye)) == (3, 0)
    eye.take(0.0)
    made_up.answer(report("W__"))
    look_until(eye, 1)
    assert eye.samples().idle.tolist() == [2]


def test_a_sample_has_the_time_at_which_it_came(made_up: MadeUp) -> None:
    """Not when it was due: a report that is late has a late time, and the gap is told."""
    eye = eye_on(made_up)
    eye.take(0.10)
    eye.pause(0.02)
    assert len(eye) == 0
    made_up.answer(report("W_"))
    look_until(eye, 1)
    assert eye.samples().time_s[0] >= 0.10 + 0.02  # the pause was over before it came
    eye.take(5.0)
    made_up.answer(report("W_"))
    look_until(eye, 2)
    assert eye.samples().time_s[1] >= 5.0
    assert eye.facts()["longest_gap_s"] > 4
    assert made_up.connections == 1


@pytest.mark.parametrize("kind", ["hang up", "other status", "no report"])
def test_a_stream_that_breaks_off_is_opened_again(made_up: MadeUp, kind: str) -> None:
    """A process that is stopping ends its connections; another status and another page are no
    reports: each is counted, none is an error, and the next report is a sample."""
    eye = eye_on(made_up)
    eye.take(0.0)
    if kind == "hang up":
        made_up.hang_up()
    elif kind == "other status":
        made_up.answer("busy", 503)
    else:
        made_up.answer("<html>")
    look_until(eye, 0, 1)
    made_up.answer(report("W_"))
    look_until(eye, 1, 1)
    assert eye.facts()["broken_off"] == 1


def test_a_server_that_is_gone_is_no_error(made_up: MadeUp) -> None:
    """The run itself notices. The facts are there, without counters, and are JSON."""
    eye = eye_on(made_up)
    made_up.end()
    eye.take(0.0)
    began_s = time.monotonic()
    eye.pause(0.05)
    assert time.monotonic() >= began_s + 0.05
    eye.finish()
    facts = eye.facts()
    assert facts["samples"] == 0
    assert facts["broken_off"] >= 1
    assert facts["longest_gap_s"] is None
    assert (facts["counters_before"], facts["counters_after"]) == (None, None)
    json.dumps(facts, allow_nan=False)


def test_the_last_word_is_of_after_the_load(made_up: MadeUp) -> None:
    """While nobody looked reports have piled up: finish() takes none of them for the counters after
    the load, but one that comes when it is ready to wait. Those before are of the first sample."""
    eye = eye_on(made_up)
    eye.take(0.0)
    made_up.answer(report("W_", "Total Accesses: 3"))
    look_until(eye, 1)
    for accesses in (4, 5):
        made_up.answer(report("W_", f"Total Accesses: {accesses}"))
    wait_for(lambda: made_up.sent == 3, "the reports that nobody reads")
    assert made_up.stream_made is not None
    made_up.stream_made.patient = lambda: made_up.answer(report("W_", "Total Accesses: 9"))
    eye.finish()
    facts = eye.facts()
    assert facts["counters_before"]["accesses"] == 3
    assert facts["counters_after"]["accesses"] == 9
    assert facts["samples"] == 1
    json.dumps(facts, allow_nan=False)
