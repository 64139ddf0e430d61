"""What the benchmarks tell is sound: intervals, and which slices count. (That they run is their own
affair: `make benchmarks`.)"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from benchmarks.common import estimate
from benchmarks.server_cpu import Slice, undisturbed

ROOT = Path(__file__).resolve().parent.parent


def test_the_interval_covers_the_true_median() -> None:
    """Of 400 samples of 25 from a skewed distribution, the 95 % interval holds the true median in
    at least 93 % (three standard errors of 400 trials below 0.95 would be 0.917)."""
    draw = random.Random(1)
    truth = 0.6931471805599453  # of an exponential of mean 1: ln 2
    covered = 0
    for _ in range(400):
        found = estimate([draw.expovariate(1) for _ in range(25)])
        assert found.low <= found.median <= found.high
        covered += found.low <= truth <= found.high
    assert covered / 400 >= 0.93


def test_few_values_give_their_range() -> None:
    """Three values promise no more than their minimum and maximum."""
    assert estimate([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


def test_disturbed_slices_do_not_count() -> None:
    """Slices in which others took the core are left out, but three always stay."""
    quiet, noisy = Slice(50.0, 1.0, 500.0, 0.01), Slice(90.0, 1.0, 500.0, 0.5)
    assert undisturbed([quiet, noisy, quiet, quiet, quiet]) == [quiet] * 4
    assert undisturbed([noisy, noisy, quiet, noisy]) == [quiet, noisy, noisy]


def test_kernel_overhead_measures_both_loops() -> None:
    """A short run of the benchmark gives positive times of both loops, and differences of pairs. In
    a process of its own, for a kernel takes over the signals of the one that it is in."""
    program = (
        "import json; from benchmarks.kernel_overhead import measure; print(json.dumps(measure(4)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    kernel, direct, difference = json.loads(done.stdout)
    assert len(kernel) == len(direct) == len(difference) == 4
    assert min(kernel + direct) > 0.5  # two system calls
    assert difference == [a - b for a, b in zip(kernel, direct, strict=True)]
