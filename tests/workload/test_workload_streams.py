"""Named streams: stable, independent, uniform."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mpmlab.workload.streams import Stream


def test_the_first_numbers_never_change() -> None:
    """Pinned: a change of key, generator or conversion would change every plan there is."""
    raw = [round(u * 2**53) for u in Stream(1, "arrivals").uniforms(3)]
    assert raw == [4_640_532_601_746_216, 1_695_331_059_561_066, 4_351_808_996_019_930]


def test_blocks_do_not_matter() -> None:
    """Ten numbers are ten numbers, drawn at once or in pieces, whatever else is opened between."""
    whole = Stream(7, "a").uniforms(10)
    pieces = Stream(7, "a")
    first = pieces.uniforms(3)
    Stream(7, "b").uniforms(100)
    assert np.array_equal(whole, np.concatenate([first, pieces.uniforms(7)]))


@pytest.mark.parametrize(("seed", "name"), [(2, "a"), (1, "b"), (-1, "a"), (10**30, "a")])
def test_seed_and_name_both_matter(seed: int, name: str) -> None:
    """Another seed or another name is another stream, uncorrelated with the first."""
    n = 10_000
    one, other = Stream(1, "a").uniforms(n), Stream(seed, name).uniforms(n)
    correlation = float(np.corrcoef(one, other)[0, 1])
    assert abs(correlation) < 5 / math.sqrt(n)
    assert not np.array_equal(one, other)


def test_seed_and_name_do_not_run_together() -> None:
    """Seed 1 with name "2/x" is not seed "1/2" with name "x": seeds are whole numbers."""
    assert not np.array_equal(Stream(1, "1/x").uniforms(4), Stream(11, "x").uniforms(4))


def test_uniform_and_below_one() -> None:
    """Kolmogorov-Smirnov at 1e-6: 20,000 numbers are uniform over [0, 1)."""
    n = 20_000
    u = np.sort(Stream(3, "u").uniforms(n))
    distance = max(float(np.max(np.arange(1, n + 1) / n - u)), float(np.max(u - np.arange(n) / n)))
    assert u[0] >= 0
    assert u[-1] < 1
    assert distance < math.sqrt(math.log(2 / 1e-6) / 2 / n)
