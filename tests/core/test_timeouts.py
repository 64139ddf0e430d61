"""What is due when: timeout queues against a naive list, the moments at which a listener looks at
them, the kill ladder and the respawn of crashed children."""

from __future__ import annotations

import random
import time

import pytest

from mpmlab.core.spare import Reclaim, RespawnRule
from mpmlab.core.timeouts import TIMEOUT_FUDGE_S, NextExpiry, TimeoutQueue, next_timeout


class Conn:
    """Hashable by identity, as connections are."""


def test_first_in_first_expired() -> None:
    """Items expire in the order of arrival, each its timeout after it came, and not before."""
    queue, a, b, c = TimeoutQueue(5.0), Conn(), Conn(), Conn()
    for item, at in ((a, 1.0), (b, 2.0), (c, 2.0)):
        queue.append(item, at)
    assert queue.next_expiry_s() == 6.0
    assert queue.expired(5.999) == []
    assert queue.expired(6.0) == [a]
    assert queue.expired(100.0) == [b, c]
    assert queue.expired(100.0) == []
    assert queue.next_expiry_s() is None


def test_remove_tells_whether_it_was_there() -> None:
    """False after a removal or an expiry: the race of a readable and an expiring connection."""
    queue, a, b = TimeoutQueue(1.0), Conn(), Conn()
    queue.append(a, 0.0)
    queue.append(b, 0.5)
    assert a in queue
    assert queue.remove(a)
    assert a not in queue
    assert not queue.remove(a)
    assert queue.next_expiry_s() == 1.5
    assert queue.expired(1.5) == [b]
    assert not queue.remove(b)
    assert len(queue) == 0


def test_an_item_is_in_it_once() -> None:
    """A second append is a bug of the caller; after a removal it is a new wait."""
    queue, a = TimeoutQueue(1.0), Conn()
    queue.append(a, 0.0)
    with pytest.raises(ValueError, match="in this timeout queue already"):
        queue.append(a, 0.5)
    queue.remove(a)
    queue.append(a, 0.5)
    assert queue.next_expiry_s() == 1.5


def test_an_item_appended_at_time_zero_can_be_removed() -> None:
    """A clock may start at 0: a falsy time is a time."""
    queue, a = TimeoutQueue(0.0), Conn()
    queue.append(a, 0.0)
    assert queue.next_expiry_s() == 0.0
    assert queue.remove(a)


def test_pop_all_is_in_order_and_leaves_nothing() -> None:
    """Pressure expires all keep-alives, oldest first."""
    queue, items = TimeoutQueue(9.0), [Conn() for _ in range(5)]
    for at, item in enumerate(items):
        queue.append(item, float(at))
    assert queue.pop_all() == items
    assert len(queue) == 0


def test_a_shortened_timeout_holds_for_those_that_wait() -> None:
    """A dying process cuts its lingering closes from 30 to 2 s (event.c, listener_thread)."""
    queue, a = TimeoutQueue(30.0), Conn()
    queue.append(a, 10.0)
    queue.timeout_s = 2.0
    assert queue.next_expiry_s() == 12.0
    assert queue.expired(12.0) == [a]


def test_against_a_naive_list() -> None:
    """Random appends, removals and expiries give what sorting a list by expiry gives."""
    rng = random.Random("timeout queues")
    for _ in range(100):
        queue, naive, now = (
            TimeoutQueue(rng.choice([0.0, 0.25, 2.0])),
            list[tuple[float, Conn]](),
            0.0,
        )
        for _ in range(60):
            now += rng.choice([0.0, 0.125, 0.5])
            draw = rng.random()
            if draw < 0.5:
                item = Conn()
                queue.append(item, now)
                naive.append((now + queue.timeout_s, item))
            elif draw < 0.7 and naive:
                entry = rng.choice(naive)
                naive.remove(entry)
                assert queue.remove(entry[1])
            else:
                due = [entry for entry in naive if entry[0] <= now]
                naive = [entry for entry in naive if entry[0] > now]
                assert queue.expired(now) == [item for _, item in due]
            assert len(queue) == len(naive)
            assert queue.next_expiry_s() == (naive[0][0] if naive else None)


def test_leaving_from_the_front_does_not_slow_it_down() -> None:
    """The oldest leave first, and the first expiry is asked for each time: 200 times the items take
    about 200 times as long (with a plain dict, 12,000 times: hence the limit of 2,000)."""

    def seconds(count: int) -> float:
        queue, items = TimeoutQueue(1.0), list(range(count))
        for item in items:
            queue.append(item, 0.0)
        start = time.process_time()
        for item in items:
            queue.next_expiry_s()
            queue.remove(item)
        return time.process_time() - start

    few = min(seconds(250) for _ in range(7))
    assert seconds(50_000) < 2000 * few


# ---- when to look ----


def queues_expiring(*expiries_s: float | None) -> list[TimeoutQueue]:
    """One queue for each, whose first item expires then (None: empty)."""
    queues = []
    for expiry_s in expiries_s:
        queue = TimeoutQueue(0.0)
        if expiry_s is not None:
            queue.append(Conn(), expiry_s)
        queues.append(queue)
    return queues


def test_nothing_waits_for_ever() -> None:
    """Without items there is no timeout at all."""
    assert next_timeout([], 7.0) is None
    assert next_timeout(queues_expiring(None, None), 7.0) is None


@pytest.mark.parametrize(
    ("expiries_s", "timeout_s"),
    [
        ((12.0,), 2.0),
        ((12.0, 11.0), 1.0),
        ((11.0, 12.0), 1.0),
        ((11.0, 10.95), 1.0),  # not worth it: earlier by less than the fudge
        ((11.0, 10.8), 0.8),
        ((10.0,), 0.0),
        ((3.0, 12.0), 0.0),
    ],
)
def test_the_first_expiry_but_for_the_fudge(
    expiries_s: tuple[float, ...], timeout_s: float
) -> None:
    """The listener sleeps until the first expiry, at most 100 ms more, and not at all if it is over
    (now is 10 s)."""
    found = next_timeout(queues_expiring(*expiries_s), 10.0)
    assert found == pytest.approx(timeout_s, abs=0.0011)


def test_timeouts_are_whole_milliseconds_and_never_too_short() -> None:
    """A sleep of that long reaches the expiry, or leaves a whole millisecond to sleep: a rounding
    error never makes the listener poll for no time."""
    rng = random.Random("milliseconds")
    for _ in range(2000):
        now_s, expiry_s = rng.uniform(0, 1e5), rng.uniform(0, 1e5)
        timeout_s = next_timeout(queues_expiring(expiry_s), now_s)
        assert timeout_s is not None
        if expiry_s <= now_s:
            assert timeout_s == 0
        else:
            assert timeout_s >= 0.001
            assert round(timeout_s * 1000) == pytest.approx(timeout_s * 1000)
            assert now_s + timeout_s == pytest.approx(expiry_s, abs=0.0011)
            assert now_s + timeout_s >= expiry_s - 1e-9


def test_a_new_member_wakes_the_listener_only_if_it_is_sooner() -> None:
    """The first member does; one that expires later, or sooner by less than 100 ms, does not."""
    long, short = TimeoutQueue(5.0), TimeoutQueue(2.0)
    expiry = NextExpiry()
    assert expiry.timeout_s(0.0) is None
    assert not expiry.note(long)
    long.append(Conn(), 0.0)
    assert expiry.note(long)
    long.append(Conn(), 1.0)
    assert not expiry.note(long)
    short.append(Conn(), 3.0 - TIMEOUT_FUDGE_S / 2)
    assert not expiry.note(short)
    assert expiry.at_s == 5.0
    early = TimeoutQueue(1.0)
    early.append(Conn(), 3.0)
    assert expiry.note(early)
    assert expiry.at_s == 4.0


def test_the_look_is_not_put_off_when_its_cause_leaves() -> None:
    """The expiry stays when the item that set it is served, and only a look recomputes it."""
    queue, a, b = TimeoutQueue(5.0), Conn(), Conn()
    expiry = NextExpiry()
    queue.append(a, 0.0)
    expiry.note(queue)
    queue.append(b, 4.0)
    queue.remove(a)
    assert not expiry.has_passed(4.9)
    assert expiry.has_passed(5.0)
    assert queue.expired(5.0) == []
    expiry.recompute([queue])
    assert expiry.at_s == 9.0
    queue.remove(b)
    expiry.recompute([queue])
    assert expiry.at_s is None
    assert not expiry.has_passed(1e9)


# ---- the kill ladder, and crashes in a row (core/spare.py) ----


def test_two_kills_in_a_row_are_replaced_at_once() -> None:
    """From the third on maintenance does it. A warning at the 3rd, 13th, 23rd; quiet ends a row."""
    rule = RespawnRule()
    outcomes = [rule.killed() for _ in range(25)]
    assert [n for n, o in enumerate(outcomes, 1) if o.start_now] == [1, 2]
    assert [n for n, o in enumerate(outcomes, 1) if o.message] == [3, 13, 23]
    rule.quiet()
    assert rule.killed().start_now
    assert rule.killed().start_now
    assert not rule.killed().start_now


def climb(terminate: bool, until_s: float = 30.0) -> list[tuple[float, str, str]]:
    """(time, kind, message id) of each action, for a child that never exits."""
    ladder, now, steps = Reclaim(terminate), 0.0, []
    while now < until_s:
        action = ladder.next(now)
        if action.kind != "wait":
            steps.append(
                (round(now, 3), action.kind, action.message.ident if action.message else "")
            )
        if action.kind == "give_up":
            break
        now += action.wait_s
    return steps


@pytest.mark.parametrize("terminate", [True, False])
def test_the_kill_ladder(terminate: bool) -> None:
    """TERM at once if terminating, again after 3, 5 and 7 s, KILL after 9, give up after 10; as the
    waits end at .344 s it comes that much later (observed: 10.4 s in all)."""
    expected = [
        (0.0, "term", ""),
        (3.344, "term", "AH00045"),
        (5.344, "term", "AH00045"),
        (7.344, "term", "AH00045"),
        (9.344, "kill", "AH00046"),
        (10.344, "give_up", "AH00047"),
    ]
    assert climb(terminate) == expected[not terminate :]


def test_the_ladder_waits_four_times_as_long_up_to_a_second() -> None:
    """16.384 ms first, so that the last child's quick exit is noticed quickly."""
    ladder = Reclaim(True)
    waits = [ladder.next(0.0).wait_s for _ in range(6)]
    assert waits == pytest.approx([0.016384, 0.065536, 0.262144, 1.0, 1.0, 1.0])


def test_a_late_ladder_takes_one_step_at_a_time() -> None:
    """A parent that was held up for a minute still warns thrice before it kills; then it only
    waits."""
    ladder = Reclaim(False)
    kinds = [ladder.next(60.0).kind for _ in range(7)]
    assert kinds == ["term", "term", "term", "kill", "give_up", "wait", "wait"]
