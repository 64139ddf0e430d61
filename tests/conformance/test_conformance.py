"""Each body of bodies.py holds in each world: the suite that keeps the two kernels one kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import real_world, sim_world
from .bodies import BODIES, Body

WORLDS = {"real": real_world.run_body, "sim": sim_world.run_body}

CASES = [
    pytest.param(
        world, body, id=f"{world}-{body.function.__name__}",
        marks=[pytest.mark.real] if world == "real" else [],
    )
    for body in BODIES
    for world in WORLDS
]  # fmt: skip


@pytest.mark.parametrize(("world", "body"), CASES)
def test_body(world: str, body: Body) -> None:
    """The body's docstring, in this world."""
    result: Any = WORLDS[world](body.function, body.backlog)
    expected = json.loads(json.dumps(body.expected))
    assert json.loads(json.dumps(result)) == expected, body.function.__doc__


def test_every_body_says_what_it_holds() -> None:
    """Bodies are told apart by name, and each has a property."""
    names = [body.function.__name__ for body in BODIES]
    assert len(set(names)) == len(names)
    assert all(body.function.__doc__ for body in BODIES)
