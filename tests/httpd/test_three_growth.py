"""Vectors 1, 2, 3 and 14: how the pool grows and shrinks, the same in httpd, real and sim.

Sizes are those between two passes, in their order, which a busy machine does not change; the time
between two of them is held to be one pass's."""

from __future__ import annotations

from tests.httpd.three_ahead import in_three_worlds
from tests.httpd.three_worlds import STUCK_US, Begin, Engine, hold_pace, hold_shrinking, sizes_of

THREADED: dict[str, object] = {
    "ThreadsPerChild": 4,
    "MaxRequestWorkers": 160,
    "ServerLimit": 40,
    "MinSpareThreads": 20,
    "MaxSpareThreads": 40,
    "StartServers": 1,
}


def crowd(engine: Engine, count: int) -> None:
    """So many requests that are stuck."""
    for _ in range(count):
        engine.call(wait_us=STUCK_US, keep=False)


def hold_start(seen: list[tuple[float, int]], expected: list[int]) -> None:
    """The start's sizes: the first ones may be over when we come to look."""
    sizes = sizes_of(seen)
    assert sizes == expected[-len(sizes) :]
    assert len(sizes) >= 2


@in_three_worlds({"mpm": "prefork"})
def test_three_vector_1_prefork_grows_by_doubling_and_shrinks_by_one(
    begin: Begin, mpm: str
) -> None:
    """100 stuck requests on 5 idle children: 6, 8, 12, 20, 36, 68, 100, 120 children, a pass a
    second, the +8 pass the first of five to say AH00162. 20 are idle then, which is too many: one
    child less a second."""
    directives: dict[str, object] = {
        "StartServers": 2,
        "MinSpareServers": 5,
        "MaxSpareServers": 10,
        "MaxRequestWorkers": 120,
        "ServerLimit": 120,
    }
    with begin(mpm, directives) as engine:
        hold_start(engine.settled(5), [2, 3, 5])
        crowd(engine, 100)
        grown = [step for step in engine.sizes(120) if step[1] > 5]
        assert sizes_of(grown) == [6, 8, 12, 20, 36, 68, 100, 120]
        hold_pace(engine, [at for at, _ in grown])
        busy = engine.told("AH00162")
        assert len(busy) == 5
        assert abs(busy[0] - grown[3][0]) < engine.slack_s
        shrunk = engine.sizes(113)
        hold_shrinking(engine, shrunk, exactly=6, least=5, most=7)


@in_three_worlds({"mpm": "worker"}, {"mpm": "event"})
def test_three_vectors_2_and_3_threaded_growth(begin: Begin, mpm: str) -> None:
    """Start-up 1, 2, 4, 8 children until 20 threads are idle; 150 stuck requests then take the pool
    through 9, 11, 15, 23, 39, 40."""
    with begin(mpm, THREADED) as engine:
        hold_start(engine.settled(8), [1, 2, 4, 8])
        crowd(engine, 150)
        grown = [step for step in engine.sizes(40) if step[1] > 8]
        assert sizes_of(grown) == [9, 11, 15, 23, 39, 40]
        hold_pace(engine, [at for at, _ in grown])


@in_three_worlds(
    {"mpm": "worker", "server_limit": 16, "passes": (6, 5, 7)},
    {"mpm": "event", "server_limit": 16, "passes": (12, 8, 12)},
    {"mpm": "event", "server_limit": 40, "passes": (6, 5, 7)},
)
def test_three_vector_3_shrinking(
    begin: Begin, mpm: str, server_limit: int, passes: tuple[int, int, int]
) -> None:
    """Too many idle threads: worker ends one process a second, event one every two, as the pass
    after a kill still counts the victim, unless the scoreboard has slack for a whole pool more."""
    directives: dict[str, object] = {
        "ThreadsPerChild": 4,
        "MaxRequestWorkers": 64,
        "ServerLimit": server_limit,
        "MinSpareThreads": 4,
        "MaxSpareThreads": 28,
        "StartServers": 16,
    }
    with begin(mpm, directives) as engine:
        shrunk = [*engine.sizes(16), *engine.sizes(9)]
        hold_shrinking(engine, shrunk, *passes)


@in_three_worlds(
    {"mpm": "worker", "full": "AH00288", "reached": ("AH00286", "AH00287")},
    {"mpm": "event", "full": "AH03490", "reached": ("AH00484", "AH10159")},
)
def test_three_vector_14_scoreboard_full(
    begin: Begin, mpm: str, full: str, reached: tuple[str, ...]
) -> None:
    """ServerLimit 2, ThreadsPerChild 4, MaxRequestWorkers 100, 14 stuck clients: two children, and
    "scoreboard is full" once a second for as long as it lasts; never the reached-limit message."""
    directives: dict[str, object] = {
        "ServerLimit": 2,
        "ThreadsPerChild": 4,
        "MaxRequestWorkers": 100,
        "StartServers": 1,
        "MinSpareThreads": 4,
        "MaxSpareThreads": 8,
    }
    with begin(mpm, directives) as engine:
        crowd(engine, 14)
        engine.until(lambda: len(engine.told(full)) >= 5, "five messages")
        hold_pace(engine, engine.told(full))
        assert engine.children() == 2
        assert not any(engine.told(ident) for ident in reached)
