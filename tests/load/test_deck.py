"""When sessions are made ready: pure decisions, driven by a clock of the test's own."""

from __future__ import annotations

import numpy as np
import pytest

from mpmlab.load.deck import AFTER_S, CLEAR_S, DEPTH, FEW, Deck
from mpmlab.load.way import ROUNDING_S


def readied(due_s: list[float], ahead: bool, making_s: float = 0.0) -> list[float]:
    """When each session is made ready, if making one takes so long."""
    deck, now_s, when = Deck(ahead), 0.0, list[float]()
    for due in due_s:
        while (wait_s := deck.wait_s(due, now_s)) > ROUNDING_S:
            now_s += wait_s
        deck.put(due)
        when.append(now_s)
        now_s += making_s
    return when


def beats(kind: str, count: int = 2000, per_s: float = 5000.0) -> list[float]:
    """Times at which sessions are due."""
    rng = np.random.default_rng(11)
    gaps = {
        "regular": np.full(count, 1 / per_s),
        "poisson": rng.exponential(1 / per_s, count),
        "bursts": np.where(np.arange(count) % 50 == 0, 50 / per_s, 0.0),
        "slow": np.full(count, 0.5),
    }[kind]
    return np.cumsum(gaps).tolist()  # type: ignore[no-any-return]


KINDS = pytest.mark.parametrize("kind", ["regular", "poisson", "bursts", "slow"])


@KINDS
def test_without_ahead_each_is_made_at_its_time(kind: str) -> None:
    """No earlier, no later."""
    due_s = beats(kind)
    assert readied(due_s, ahead=False) == pytest.approx(due_s, abs=1e-9)


@KINDS
def test_ahead_none_is_late_and_few_are_ready(kind: str) -> None:
    """Each is ready at its time, but for the moment after one that is due with it; and never are
    more than DEPTH ready that are not due."""
    due_s = beats(kind)
    ready_s = readied(due_s, ahead=True)
    assert np.all(np.diff(ready_s) >= 0)
    assert np.max(np.array(ready_s) - due_s) <= AFTER_S + 1e-9
    waiting = [
        sum(ready <= at < due for ready, due in zip(ready_s[max(0, i - 20) : i + 1],
                                                     due_s[max(0, i - 20) : i + 1], strict=True))
        for i, at in enumerate(ready_s)
    ]  # fmt: skip
    assert max(waiting) <= DEPTH


def test_nothing_is_made_just_before_another_is_due() -> None:
    """Where sessions are far enough apart, none is made within CLEAR_S before one is due, except
    that FEW are always ready."""
    due_s = beats("poisson", per_s=1000.0)
    ready_s = readied(due_s, ahead=True, making_s=5e-6)
    close = 0
    for number, at in enumerate(ready_s):
        ready = [due for due in due_s[max(0, number - DEPTH) : number] if due > at]
        if len(ready) >= FEW and min(ready) - at <= CLEAR_S:
            close += 1
    assert close == 0


def test_a_maker_that_falls_behind_catches_up_without_waiting() -> None:
    """Sessions that are overdue are made one after the other."""
    due_s = [0.001 * i for i in range(10)] + [1.0]
    deck = Deck(ahead=True)
    for due in due_s[:10]:
        assert deck.wait_s(due, 0.5) <= 0
        deck.put(due)
    assert deck.wait_s(1.0, 0.5) <= 0
