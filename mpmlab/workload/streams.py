"""Named streams of random numbers: one seed, one independent stream per purpose.

Only uniform numbers live here; what they become is distributions.py. Each draw of the load has a
stream of its own name, so that changing one thing (another distribution of sizes, one more class)
never moves the numbers of another, and a comparison shares all it can (common random numbers).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Stream:
    """The stream `name` of `seed`: Philox keyed by SHA-256 of both, so neither the order in which
    streams are opened nor the size of the blocks drawn matters.

    Only `random_raw` of the bit generator is used: its output is part of numpy's compatibility
    promise (NEP 19), which the methods of numpy's Generator are not."""

    def __init__(self, seed: int, name: str):
        key = hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16]
        self._bits = np.random.Philox(key=int.from_bytes(key, "little"))

    def uniforms(self, n: int) -> Floats:
        """The next n numbers, each from 0 (possible) to 1 (impossible) in steps of 2**-53."""
        return np.asarray((self._bits.random_raw(n) >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


@dataclass(frozen=True)
class Streams:
    """The streams of a seed for one part of the load; a part has its own by the prefix of their
    names, so that another part added beside it moves nothing."""

    seed: int
    prefix: str = ""

    def open(self, name: str) -> Stream:
        """The stream of this name, from its beginning."""
        return Stream(self.seed, self.prefix + name)
