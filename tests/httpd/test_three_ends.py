"""Vectors 5, 8 and 9: a crash, a stop with a blocked reader, a graceful restart with an idle
connection; the same in httpd, real and sim."""

from __future__ import annotations

from mpmlab.kernel.interface import Signal
from tests.httpd.three_ahead import in_three_worlds
from tests.httpd.three_worlds import GRAIN_S, PASS_S, Begin


def pair(mpm: str) -> dict[str, object]:
    """A pool that has two children, and wants two."""
    if mpm == "prefork":
        return {"StartServers": 2, "MinSpareServers": 2}
    return {"StartServers": 2, "ThreadsPerChild": 4, "MinSpareThreads": 8, "MaxSpareThreads": 40}


@in_three_worlds({"mpm": "prefork"}, {"mpm": "worker"}, {"mpm": "event"})
def test_three_vector_5_an_idle_child_that_crashes(begin: Begin, mpm: str) -> None:
    """An idle child dies of SEGV. From when its parent finds it (AH00052) it takes prefork a second
    to replace it, until the next pass; worker and event do so at once."""
    with begin(mpm, pair(mpm)) as engine:
        engine.settled(2)
        before = engine.pids()
        engine.crash(before[0])
        healed_s = engine.until(
            lambda: before[0] not in engine.pids() and engine.children() == 2, "a replacement"
        )
        (found_s,) = engine.told("AH00052")
        least_s, most_s = (PASS_S, PASS_S + engine.slack_s) if mpm == "prefork" else (0, GRAIN_S)
        assert least_s - GRAIN_S <= healed_s - found_s <= most_s
        assert before[1] in engine.pids()


@in_three_worlds({"mpm": "prefork"}, {"mpm": "worker"}, {"mpm": "event"})
def test_three_vector_5_a_handler_that_crashes(begin: Begin, mpm: str) -> None:
    """A handler that crashes takes its process with it and cuts off its client, without an answer;
    the server goes on."""
    with begin(mpm, pair(mpm)) as engine:
        engine.sizes(2)
        before = set(engine.pids())
        caller = engine.call(crash=True)
        engine.until(lambda: caller.saw("eof") or caller.saw("reset"), "the client is cut off")
        assert not caller.saw("200")
        engine.until(lambda: engine.told("AH00052"), "its parent finds it")
        engine.until(
            lambda: len(before & set(engine.pids())) == 1 and engine.children() >= 2,
            "a replacement",
        )
        again = engine.call()
        engine.until(lambda: again.saw("200"), "it serves as before")


@in_three_worlds({"mpm": "prefork"}, {"mpm": "worker"}, {"mpm": "event"})
def test_three_vector_8_term_with_a_blocked_reader(begin: Begin, mpm: str) -> None:
    """TERM while a worker waits for the rest of a header: prefork and worker stop at once (now and
    then httpd's listener misses its wake-up; it is woken again after 0.5 s, and the parent, which
    looks after 0.02, 0.08, 0.34 and 1.34 s, finds it later); event warns three times, kills at
    9.3 s, and is gone after 10.4 s. The exit code is 0."""
    with begin(mpm) as engine:
        engine.call(half=True)
        engine.until(lambda: "R" in engine.letters(), "a worker reads")
        engine.hush()
        told_s = engine.now()
        engine.signal(Signal.TERM)
        took_s = engine.until(lambda: engine.code() is not None, "it ends") - told_s
        assert engine.code() == 0
        warned, killed, given_up = map(engine.told, ("AH00045", "AH00046", "AH00047"))
        assert not given_up
        if mpm == "event":
            assert 10.2 <= took_s <= 10.4 + engine.slack_s
            assert (len(warned), len(killed)) == (3, 1)
        else:
            assert took_s <= (0.02 if engine.exact else 1.34) + engine.slack_s
            assert not warned
            assert not killed


@in_three_worlds({"mpm": "prefork"}, {"mpm": "worker"}, {"mpm": "event"})
def test_three_vector_9_graceful_restart_and_idle_keep_alive(begin: Begin, mpm: str) -> None:
    """USR1: prefork and worker leave an idle keep-alive connection open until its time is over,
    event closes it within 1.5 s. The scoreboard shows G for prefork and event, K for worker. In the
    end no child of the old generation is left."""
    with begin(mpm, {"KeepAliveTimeout": 5}) as engine:
        caller = engine.call()
        engine.until(lambda: caller.saw("200"), "the answer")
        if mpm != "event":
            engine.until(lambda: "K" in engine.letters(), "a worker waits for the next request")
        engine.hush()
        before = set(engine.pids())
        engine.rest_for(0.5)
        told_s = engine.now()
        engine.signal(Signal.USR1)
        letter = "K" if mpm == "worker" else "G"
        engine.until(lambda: letter in engine.letters(), f"a {letter} in the scoreboard", 1.5)
        engine.hush()
        closed_s = engine.until(lambda: caller.saw("eof"), "the server closes")
        answered_s = caller.when("200")
        assert answered_s is not None
        if mpm == "event":
            assert closed_s - told_s <= 1.5
        else:
            assert 4.95 <= closed_s - answered_s <= 5 + engine.slack_s
        engine.until(lambda: not before & set(engine.pids()), "all of the old generation ended")
        again = engine.call()
        engine.until(lambda: again.saw("200"), "the new one serves")
