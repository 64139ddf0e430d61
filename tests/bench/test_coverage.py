"""Coverage of prediction bands: counting on made-up observations."""

from __future__ import annotations

from typing import Any

import pytest

from mpmlab.bench.coverage import coverage
from mpmlab.bench.validation import BANDS, Observation, Share
from mpmlab.report.validation_targets import coverage_table
from tests.bench.seen import seen, shown


def banded(case: str, low: float, high: float, real_ms: float = 100.0, **more: Any) -> Observation:
    """The mean, and the band that it was predicted in."""
    return seen(case, real_ms=real_ms, band={"mean_ms": (low, high)}, **more)


@pytest.mark.parametrize(
    ("low", "high", "inside"),
    [(90, 110, 1), (100, 110, 1), (90, 100, 1), (101, 110, 0), (90, 99, 0)],
)
def test_the_ends_of_a_band_belong_to_it(low: float, high: float, inside: int) -> None:
    """What lies on either side of it is not inside."""
    assert coverage([banded("a", low, high)], "mean_ms") == Share(inside, 1)


def test_repetitions_count_once_by_their_medians() -> None:
    """Of what was measured and of each end of the band: one run outside does not matter."""
    runs = [
        banded("a", 90, 110),
        banded("a", 95, 115, real_ms=200.0),
        banded("a", 80, 105, real_ms=104.0),
    ]
    assert coverage(runs, "mean_ms") == Share(1, 1)  # 104 in 90 .. 110
    assert coverage([*runs[:1], *runs[1:2] * 2], "mean_ms") == Share(0, 1)  # 200 in 95 .. 115


def test_only_valid_held_out_cases_with_a_band_count() -> None:
    """A case for fitting is no evidence; of an invalid run, or a figure that was not measured or
    has no band, nothing can be said."""
    runs = [
        banded("a", 90, 110),
        banded("b", 90, 110, role="train"),
        banded("c", 90, 110, reasons=("the client was late",)),
        seen("d"),
        seen("e", measured={"mean_ms": None}, band={"mean_ms": (90, 110)}),
    ]
    assert coverage(runs, "mean_ms") == Share(1, 1)
    assert coverage(runs, "p99_ms") == Share(0, 0)
    assert coverage(runs, "p99_ms").percent is None


def test_it_is_told_by_utilisation_and_mpm() -> None:
    """The utilisation is the mean of the repetitions."""
    runs = [
        banded("a", 90, 110, utilisation=0.84),
        banded("a", 90, 110, utilisation=0.90),
        banded("b", 101, 110, utilisation=0.95),
        banded("b", 90, 110, mpm="worker", utilisation=0.3),
    ]
    assert coverage(runs, "mean_ms") == Share(2, 3)
    assert coverage(runs, "mean_ms", band=BANDS[3]) == Share(1, 2)
    assert coverage(runs, "mean_ms", band=BANDS[2]) == Share(0, 0)
    assert coverage(runs, "mean_ms", mpm="worker") == Share(1, 1)
    assert coverage(runs, "mean_ms", mpm="event", band=BANDS[0]) == Share(0, 0)
    assert coverage(runs, "mean_ms", band=BANDS[3]).percent == pytest.approx(50)


def test_the_table_has_a_row_for_each_figure_with_a_band() -> None:
    """... and there is none without any."""
    runs = [banded("a", 90, 110), banded("b", 101, 110, mpm="worker", utilisation=0.9)]
    (row,) = [line for line in shown(coverage_table(runs, "t")).splitlines() if "response" in line]
    cells = [part.strip() for part in row.strip("│").split("│")]
    assert cells == ["mean response", "-", "1 of 1", "-", "0 of 1", "1 of 1", "0 of 1", "1 of 2"]
    assert coverage_table([seen()], "t") is None
