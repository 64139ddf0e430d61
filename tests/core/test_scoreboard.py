"""The scoreboard: one layout over a buffer, whose columns and cells do not overlap; and how the
maintenance passes read it: random boards against a direct transcription of the rules of
mpm-reference.md, sections 2.3, 3.3 and 4.4."""

from __future__ import annotations

import copy
import mmap
import random
from collections import Counter

import pytest

from mpmlab.core.directives import effective
from mpmlab.core.scoreboard import (
    BUSY_KEEPALIVE,
    BUSY_READ,
    BUSY_WRITE,
    CLOSING,
    DEAD,
    GRACEFUL,
    IDLE_KILL,
    LETTERS,
    READY,
    STARTING,
    Scoreboard,
)
from mpmlab.core.settings import Settings
from mpmlab.core.spare import SpareState, event_spares, prefork_spares, worker_spares

COLUMNS = (
    "pid",
    "generation_of",
    "quiescing",
    "not_accepting",
    "connections",
    "write_completion",
    "lingering_close",
    "keep_alive",
)


def snapshot(board: Scoreboard) -> dict[str, list[int]]:
    """Every value on the board, by name."""
    values = {name: getattr(board, name).tolist() for name in COLUMNS}
    values["served"] = board.served.tolist()
    values["accepted"] = board.accepted.tolist()
    values["status"] = board.status.tolist()
    values["generation"] = [board.generation]
    return values


def test_a_new_board_is_dead_and_of_generation_0() -> None:
    """Nothing is on it: all zero, which is DEAD, no pid, generation 0."""
    board = Scoreboard(3, 4)
    assert board.letters() == "." * 12
    assert all(not any(values) for values in snapshot(board).values())


def test_the_letters_are_mod_status_ones() -> None:
    """Process by process, thread by thread (mod_status)."""
    board = Scoreboard(2, 4)
    statuses = (
        STARTING,
        READY,
        BUSY_READ,
        BUSY_WRITE,
        BUSY_KEEPALIVE,
        CLOSING,
        GRACEFUL,
        IDLE_KILL,
    )
    for cell, status in enumerate(statuses):
        board.set(cell, status)
    assert board.letters() == "S_RWKCGI"
    assert len(LETTERS) == IDLE_KILL + 1


@pytest.mark.parametrize(("slots", "threads"), [(1, 1), (2, 3), (5, 1), (3, 7), (16, 64)])
def test_no_two_fields_overlap(slots: int, threads: int) -> None:
    """Random writes everywhere, each to one field: reading back gives what a dict would have."""
    rng = random.Random(f"overlap {slots} {threads}")
    board = Scoreboard(slots, threads)
    expected = snapshot(board)
    for _ in range(500):
        name = rng.choice([*COLUMNS, "served", "accepted", "status", "generation"])
        if name == "generation":
            board.generation = value = rng.randrange(1 << 31)
            expected["generation"] = [value]
            continue
        index = rng.randrange(slots if name in COLUMNS else slots * threads)
        value = rng.randrange(11) if name == "status" else rng.randrange(1 << 31)
        if name == "status":
            board.set(index, value)
        else:
            getattr(board, name)[index] = value
        expected[name][index] = value
    assert snapshot(board) == expected


def test_two_boards_over_one_buffer_are_one() -> None:
    """What one process writes another sees: here two views of an anonymous shared mapping."""
    with mmap.mmap(-1, Scoreboard.size_of(4, 5)) as memory:
        view = memoryview(memory)
        ours, theirs = Scoreboard(4, 5, view), Scoreboard(4, 5, view)
        ours.pid[3] = 4711
        ours.set(19, BUSY_WRITE)
        ours.accepted[7] += 1
        ours.generation = 2
        assert snapshot(theirs) == snapshot(ours)
        assert theirs.pid[3] == 4711
        assert theirs.letters().endswith("W")
        for board in (ours, theirs):  # or the mapping could not be closed
            for part in (*(getattr(board, name) for name in COLUMNS), board.served, board.accepted):
                part.release()
            board.status.release()
            board._global.release()
        del ours, theirs
        view.release()


def test_a_buffer_that_is_too_small_is_refused() -> None:
    """One byte short is an error that tells both sizes; a larger one is fine."""
    size = Scoreboard.size_of(2, 2)
    with pytest.raises(ValueError, match=f"needs {size} bytes, the buffer has {size - 1}"):
        Scoreboard(2, 2, memoryview(bytearray(size - 1)))
    assert Scoreboard(2, 2, memoryview(bytearray(size + 100))).letters() == "...."


def test_a_row_is_a_view_of_one_process() -> None:
    """Its first threads, writable, and nobody else's."""
    board = Scoreboard(3, 4)
    board.row(1)[2] = BUSY_READ
    board.row(1, 2)[0] = READY
    assert board.letters() == "...." + "_.R." + "...."
    assert len(board.row(1)) == 4
    assert len(board.row(1, 2)) == 2


def test_clear_slot_clears_one_slot_but_not_the_counters() -> None:
    """The row and the statuses of that process are zero; its cells' counters, and others, stay."""
    board = Scoreboard(3, 2)
    for name in COLUMNS:
        for slot in range(3):
            getattr(board, name)[slot] = slot + 1
    for cell in range(6):
        board.set(cell, READY)
        board.served[cell] = board.accepted[cell] = 9
    board.clear_slot(1)
    after = snapshot(board)
    assert all(after[name] == [1, 0, 3] for name in COLUMNS)
    assert board.letters() == "__..__"
    assert after["served"] == after["accepted"] == [9] * 6


def test_clear_keeps_the_generation() -> None:
    """An ungraceful restart zeroes all but the generation, which the parent counts up."""
    board = Scoreboard(2, 2)
    board.generation = 5
    board.pid[1] = 77
    board.set(3, GRACEFUL)
    board.served[0] = board.accepted[3] = 8
    board.clear()
    after = snapshot(board)
    assert after.pop("generation") == [5]
    assert all(not any(values) for values in after.values())


# ---- against a direct transcription ----


def naive_prefork(board: Scoreboard, s: Settings, st: SpareState) -> tuple[tuple[int, ...], bool]:
    """Section 2.3, line by line: (slots, kill)."""
    free: list[int] = []
    idle, last = 0, -1
    for i in range(s.max_request_workers):
        if i >= st.watermark and len(free) == st.rate:
            break
        status = board.status[i]
        if status == DEAD:
            if len(free) < st.rate:
                free.append(i)
        else:
            idle += status <= READY
            last = i
    st.watermark = last + 1
    if idle > s.max_spare_servers:
        st.rate = 1
        return (), True
    if idle < s.min_spare_servers and free:
        grow(st)
        st.watermark = max(st.watermark, free[-1] + 1)  # make_child raises it
        return tuple(free), False
    st.rate = 1
    return (), False


def grow(st: SpareState) -> None:
    """After spawning."""
    if st.hold_off > 0:
        st.hold_off -= 1
    elif st.rate < 32:
        st.rate *= 2


def counts(board: Scoreboard, s: Settings, i: int) -> tuple[int, int, list[int]]:
    """(threads that look idle, active threads, statuses) of a slot."""
    row = [board.status[i * board.thread_limit + j] for j in range(s.threads_per_child)]
    looks_idle = sum(status <= READY for status in row)
    return looks_idle, sum(READY <= status < GRACEFUL for status in row), row


def naive_worker(board: Scoreboard, s: Settings, st: SpareState) -> tuple[tuple[int, ...], bool]:
    """Section 3.3, line by line: (slots, kill)."""
    empty: list[int] = []
    seats: list[int] = []
    idle = last = 0
    for i in range(s.daemons_limit):
        if i >= st.watermark and len(empty) == st.rate:
            break
        looks_idle, active, row = counts(board, s, i)
        going = bool(board.quiescing[i])
        if board.pid[i]:
            last = i + 1
            if not going and board.generation_of[i] == board.generation:
                idle += looks_idle
        room = len(empty) < st.rate and len(empty) + len(seats) < 32
        if any(status == DEAD for status in row) and room and (not board.pid[i] or going):
            if all(status in (DEAD, GRACEFUL) for status in row):
                empty.append(i)
                # the array's swap: the first seat moves to the end
                seats = seats[1:] + seats[:1]
            else:
                seats.append(i)
        del active
    st.watermark = last
    free = empty + seats
    if idle > s.max_spare_threads:
        st.rate = 1
        return (), True
    if idle < s.min_spare_threads and free:
        slots = tuple(free[: st.rate])
        st.watermark = max(st.watermark, max(slots) + 1)
        grow(st)
        return slots, False
    st.rate = 1
    return (), False


def naive_event(board: Scoreboard, s: Settings, st: SpareState) -> tuple[tuple[int, ...], bool]:
    """Section 4.4, line by line: (slots, kill)."""
    free: list[int] = []
    idle = total_active = last = 0
    for i in range(s.server_limit):
        if i >= st.watermark and len(free) == st.rate:
            break
        if board.pid[i]:
            if board.quiescing[i] == 1:
                board.quiescing[i] = 2
                st.active_daemons -= 1
            looks_idle, active, _ = counts(board, s, i)
            accepting = not board.quiescing[i] and not board.not_accepting[i]
            if accepting and board.generation_of[i] == board.generation:
                idle += looks_idle
            total_active += active
            last = i + 1
        elif len(free) < st.rate:
            free.append(i)
    st.watermark = last
    limit = s.daemons_limit
    if idle > s.max_spare_threads:
        st.rate = 1
        all_active = st.active_daemons == st.total_daemons
        return (), all_active or s.server_limit - st.total_daemons > limit
    if idle >= s.min_spare_threads or total_active >= s.max_request_workers or not free:
        st.rate = 1
        return (), False
    n = min(len(free), st.rate)
    if st.active_daemons + n > limit:
        n = limit - st.active_daemons
        if n <= 0:
            n, st.rate = 0, 1
            st.hold_off += 1
    grow(st)
    st.watermark = max([st.watermark, *(i + 1 for i in free[:n])])
    return tuple(free[:n]), False


NAIVE = {"prefork": naive_prefork, "worker": naive_worker, "event": naive_event}
SPARES = {"prefork": prefork_spares, "worker": worker_spares, "event": event_spares}


def random_case(rng: random.Random, mpm: str) -> tuple[Scoreboard, Settings, SpareState]:
    """A board full of children of all kinds, and a state that goes with it."""
    limit, threads = rng.choice((1, 2, 5, 20, 60)), 1 if mpm == "prefork" else rng.randint(1, 3)
    cells, kind = limit * threads, "Servers" if mpm == "prefork" else "Threads"
    given = {"ServerLimit": limit, "MaxRequestWorkers": rng.randint(1, 2 * cells)}
    given[f"MinSpare{kind}"] = rng.choice((1, 2, rng.randint(1, cells)))
    given[f"MaxSpare{kind}"] = rng.choice((1, 5, rng.randint(1, cells)))
    if mpm != "prefork":
        given |= {"ThreadsPerChild": threads, "ThreadLimit": threads + 1}
    settings = effective(mpm, {name: str(value) for name, value in given.items()})
    board = Scoreboard(limit, settings.thread_limit)
    board.generation = 3
    alive, dying, busy = rng.random(), rng.random() ** 3, rng.random()
    most = settings.server_limit if mpm == "event" else settings.daemons_limit
    for slot in range(most):
        if rng.random() < alive:
            board.pid[slot] = 100 + slot
            board.generation_of[slot] = rng.choice((3, 3, 3, 2))
            board.quiescing[slot] = rng.choice((1, 2)) if rng.random() < dying else 0
            board.not_accepting[slot] = rng.random() < 0.1
            for thread in range(settings.threads_per_child):
                kinds = (
                    (BUSY_WRITE, CLOSING) if rng.random() < busy else (STARTING, READY, GRACEFUL)
                )
                dead = mpm != "prefork" and rng.random() < 0.2
                board.row(slot)[thread] = DEAD if dead else rng.choice(kinds)
    total = sum(pid != 0 for pid in board.pid)
    state = SpareState(rate=rng.choice((1, 2, 4, 8, 16, 32)), hold_off=rng.choice((0, 0, 3)))
    state.active_daemons = total - sum(quiescing == 2 for quiescing in board.quiescing)
    state.total_daemons = total
    top = max((slot + 1 for slot in range(limit) if board.pid[slot]), default=0)
    state.watermark = rng.randint(top, limit)  # never below a child: each fork raises it
    return board, settings, state


@pytest.mark.parametrize("mpm", NAIVE)
def test_random_boards_against_the_transcription(mpm: str) -> None:
    """Each pass decides as the transcription does and leaves the same state and the same board."""
    rng = random.Random(f"spares {mpm}")
    outcomes = Counter[str]()
    for _ in range(3000):
        board, settings, state = random_case(rng, mpm)
        copied_board = Scoreboard(
            board.server_limit, board.thread_limit, memoryview(bytearray(board.buffer))
        )
        copied_state = copy.deepcopy(state)
        expected = NAIVE[mpm](copied_board, settings, copied_state)
        decision = SPARES[mpm](board, settings, state)
        assert (decision.fork_slots, decision.kill_one) == expected
        assert bytes(board.buffer) == bytes(copied_board.buffer)
        for name in ("rate", "hold_off", "watermark", "active_daemons", "total_daemons"):
            assert getattr(state, name) == getattr(copied_state, name), name
        outcomes["kill" if expected[1] else "fork" if expected[0] else "nothing"] += 1
    assert min(outcomes[what] for what in ("kill", "fork", "nothing")) > 100, outcomes
