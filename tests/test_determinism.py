"""One seed, one simulated run, byte for byte: twice in a process, and on every Python version and
platform (the digests below are pinned; CI runs this file under two versions)."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

from mpmlab.mpms.catalog import CATALOG
from tests.mpms.lab import Lab
from tests.mpms.loaded import PYTHONLIKE, plan_of, run_plan

MPMS = tuple(CATALOG)

#: World digest, and hash of the records, of `default` for 3 s with seed 7. They change whenever the
#: simulation's behaviour does; print new ones with: pytest tests/test_determinism.py -k pinned
PINNED: dict[str, tuple[str, str]] = {
    "prefork": ("22a30f822b740b29", "54c6b9a65b63fcab"),
    "worker": ("cfdd1f0e3aec6785", "4601c1754797228d"),
    "event": ("cd0b6420bb14b27c", "55ab61730a43b882"),
    "leader": ("b8205ef9f1c707ad", "f5490816085fbeb2"),
    "threadpool": ("2d507e3954a0c980", "bd3cf5ecd5ebea53"),
    "winnt": ("55269314ef263ac7", "f9bc5187981b1b71"),
    "netware": ("a6f21d1d419b5fbc", "8de4bd62577abd12"),
    "os2": ("5ca867a7dd6ebd1d", "744064b47cc2b00a"),
    "beos": ("e2521c89bc2ab98e", "80859e2393575bab"),
}


def outcome(mpm: str, seed: int) -> tuple[str, str]:
    """Digest of every operation, and of every record, of one run."""
    lab = Lab(mpm, {}, platform=PYTHONLIKE, seed=seed)
    records = run_plan(lab, plan_of("default", seed, 3.0))
    h = hashlib.sha256()
    for column in (records.index, records.sent_s, records.last_byte_s, records.status):
        h.update(np.ascontiguousarray(column).tobytes())
    return lab.world.digest[:16], h.hexdigest()[:16]


@pytest.mark.parametrize("mpm", MPMS)
def test_the_same_seed_gives_the_same_run_twice(mpm: str) -> None:
    """Nothing of a run depends on what ran before it in the process (ids, hashes, caches)."""
    assert outcome(mpm, 3) == outcome(mpm, 3)


@pytest.mark.parametrize("mpm", MPMS)
def test_another_seed_gives_another_run(mpm: str) -> None:
    """The seed reaches the plan, and the plan the run."""
    first, second = outcome(mpm, 3), outcome(mpm, 4)
    assert first[0] != second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize("mpm", MPMS)
def test_pinned_digests(mpm: str) -> None:
    """The run is the same on every platform and Python version."""
    found = outcome(mpm, 7)
    where = f"Python {sys.version.split()[0]}, numpy {np.__version__}"
    assert found == PINNED[mpm], f'"{mpm}": {found}, on {where}'
