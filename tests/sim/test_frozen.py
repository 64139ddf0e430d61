"""What may be handed to a forked process."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mpmlab.core.demand import Demand
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.kernel.interface import Kernel, Signal, Steps
from mpmlab.sim.frozen import check_frozen, check_function
from mpmlab.sim.world import run_function

from .worlds import FREE


@dataclass(frozen=True)
class Box:
    """A frozen dataclass around anything."""

    inside: Any


@dataclass
class Open:
    """One that is not frozen."""

    inside: int = 0


def _closure(value: Any) -> Callable[[], Any]:
    return lambda: value


@pytest.mark.parametrize(
    "value",
    [
        None, 1, 2.5, "text", b"bytes", True, Signal.TERM, (1, ("a", None)), frozenset({1}),
        Box(Box((1, 2))), Demand(), Scoreboard(2, 2), memoryview(bytearray(3)), Box, len,
        Signal, _closure(1), functools.partial(Demand, 1, wait_us=2),
        types.MappingProxyType({"a": 1}),
    ],
    ids=repr,
)  # fmt: skip
def test_frozen_values_pass(value: Any) -> None:
    """Values that nobody can change, and what is shared on purpose."""
    check_frozen(value, "it", set())


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ([], "it is a list"),
        ({}, "it is a dict"),
        (bytearray(1), "it is a bytearray"),
        (Open(), "it is a Open"),
        ((1, [2]), r"it\[1\] is a list"),
        (Box(Box({})), "it.inside.inside is a dict"),
        (_closure([]), "it's value is a list"),
        (functools.partial(print, []), "is a list"),
        ([].append, "it"),
        (Open().__eq__, "it"),
        (types.MappingProxyType({"a": set()}), r"it\['a'\] is a set"),
    ],
    ids=repr,
)
def test_what_can_change_is_refused_and_named(value: Any, part: str) -> None:
    """The error names the part that a process could change behind another's back."""
    with pytest.raises(TypeError, match=part):
        check_frozen(value, "it", set())


def _nothing(k: Kernel, *_args: Any) -> Steps[int]:
    yield k.sleep(0)
    return 0


class _Holder:
    def method(self, k: Kernel) -> Steps[int]:
        yield k.sleep(0)
        return 0


def test_functions_of_a_module_only() -> None:
    """No local function, closure, lambda or method."""

    def local(k: Kernel) -> Steps[int]:
        yield k.sleep(0)
        return 0

    check_function(_nothing)
    for fn in (local, _closure(1), _Holder().method, functools.partial(_nothing)):
        with pytest.raises(TypeError, match="module-level"):
            check_function(fn)


def test_fork_checks() -> None:
    """fork refuses both, and takes handles of the kernel."""

    def main(k: Kernel, *args: Any) -> Steps[bool]:
        handles = (k.queue(shared=True), k.mutex(shared=True))
        return (yield k.fork(_nothing, handles, *args)) is not None

    assert run_function(main, Box(1), platform=FREE)
    with pytest.raises(TypeError, match="argument 2 of _nothing is a list"):
        run_function(main, [1], platform=FREE)
