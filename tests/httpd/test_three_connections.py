"""Vectors 4, 6 and 7: how many connections a child takes, how many in its life, and how long it
keeps an idle one; the same in httpd, real and sim."""

from __future__ import annotations

from tests.httpd.three_ahead import in_three_worlds
from tests.httpd.three_worlds import Begin, Caller, Engine

#: Looked at for so long, a connection that is not answered will not be.
NO_ANSWER_S = 0.7
#: From an answer until the worker that gave it is idle again, and longer.
BACK_S = 0.1


@in_three_worlds(
    {"factor": "2", "accepted": 12},
    {"factor": "1", "accepted": 8},
    {"factor": "1.9", "accepted": 8},
    {"factor": "3", "accepted": 16},
)
def test_three_vector_4_event_limits_its_connections(
    begin: Begin, factor: str, accepted: int
) -> None:
    """ThreadsPerChild 4, one process: (floor(factor) + 1) * 4 idle keep-alive connections are
    taken, the next one waits in the system's backlog. Since one idle worker is discounted while the
    listener is off, it is on again (AH00457) when floor(factor) + 1 of them are over, not before.
    """
    directives: dict[str, object] = {
        "ThreadsPerChild": 4,
        "MaxRequestWorkers": 4,
        "ServerLimit": 1,
        "StartServers": 1,
        "MinSpareThreads": 1,
        "AsyncRequestWorkerFactor": factor,
        "KeepAliveTimeout": 60,
    }
    with begin("event", directives, debug=True) as engine:
        callers: list[Caller] = []
        for i in range(accepted):
            callers.append(engine.call())
            engine.until(lambda: callers[-1].saw("200"), f"connection {i + 1} is answered")
            engine.rest_for(BACK_S)
        last = engine.call()
        engine.rest_for(NO_ANSWER_S)
        for over in callers[: int(float(factor))]:
            over.hang_up()
        engine.rest_for(NO_ANSWER_S)
        assert last.whats() == ["connected"]
        told = len(engine.told("AH00457"))
        callers[int(float(factor))].hang_up()
        engine.until(lambda: last.saw("200"), "the last one is answered")
        assert len(engine.told("AH00457")) == told + 1
        assert [caller.whats() for caller in callers] == [["connected", "200"]] * accepted


@in_three_worlds(
    {"mpm": "prefork", "most": 10}, {"mpm": "event", "most": 10}, {"mpm": "worker", "most": 12}
)
def test_three_vector_6_max_connections_per_child(begin: Begin, mpm: str, most: int) -> None:
    """MaxConnectionsPerChild 10, one process, a serial client: it ends after 10 connections, worker
    after 10 to 12, as it counts them when they end, and looks before it waits for the next. No
    connection is lost."""
    directives: dict[str, object] = {"MaxConnectionsPerChild": 10, "StartServers": 1}
    if mpm == "prefork":
        directives |= {"MinSpareServers": 1, "MaxRequestWorkers": 1}
    else:
        directives |= {"ThreadsPerChild": 4, "MinSpareThreads": 1, "MaxRequestWorkers": 4}
    with begin(mpm, directives) as engine:
        (first,) = engine.pids()
        asked = 0
        while first in engine.pids():
            assert asked < most + 2
            caller = engine.call(wait_us=50_000, keep=False, polite=True)
            asked += 1
            _await_end(engine, caller)
            engine.rest_for(BACK_S)  # for the child to find that it was its last
        assert 10 <= engine.first_made() <= most
        caller = engine.call(keep=False, polite=True)
        _await_end(engine, caller)  # by its successor


def _await_end(engine: Engine, caller: Caller) -> None:
    engine.until(lambda: caller.saw("eof"), "the connection is over")
    assert caller.whats() == ["connected", "200", "eof"]


@in_three_worlds({"mpm": "prefork"}, {"mpm": "worker"}, {"mpm": "event"})
def test_three_vector_7_keep_alive_timeout(begin: Begin, mpm: str) -> None:
    """An idle keep-alive connection is closed 5 s after its answer. A client that keeps its side
    open then costs prefork and worker a worker in C for 2 s; event counts it and needs none."""
    with begin(mpm) as engine:
        caller = engine.call()
        engine.until(lambda: caller.saw("200"), "the answer")
        engine.until(lambda: ("K" in engine.letters()) == (mpm != "event"), "who waits for more")
        assert "K" not in engine.letters() or mpm != "event"
        closed_s = engine.until(lambda: caller.saw("eof"), "the server closes")
        answered_s = caller.when("200")
        assert answered_s is not None
        assert 4.95 <= closed_s - answered_s <= 5.1 + engine.slack_s  # event: up to 0.1 s later
        if mpm == "event":
            assert engine.closing() == 1
            assert "C" not in engine.letters()
        else:
            engine.until(lambda: "C" in engine.letters(), "lingering")
            over_s = engine.until(lambda: "C" not in engine.letters(), "no longer")
            assert 1.9 <= over_s - closed_s <= 2 + engine.slack_s
