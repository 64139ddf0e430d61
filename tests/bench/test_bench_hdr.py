"""Histograms and their two texts: the counts are exact, the texts are those that others read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from numpy.typing import NDArray

from mpmlab.bench import hdr

RANGE = (hdr.LOWEST_US, hdr.HIGHEST_US, hdr.DIGITS)
#: As plotFiles.html of HdrHistogram and hdr-plot take a row: four numbers after a space.
ROW = re.compile(r"\s+([0-9.]+)\s+([0-9.]+)\s+([0-9.]+)\s+([0-9.]+)$")


def one_by_one(values_us: NDArray[np.int64]) -> HdrHistogram:
    """What the library makes of the values when told of each."""
    made = HdrHistogram(*RANGE)
    for value in values_us:
        assert made.record_value(int(value))
    return made


def spread(seed: int, n: int) -> NDArray[np.int64]:
    """Values over the whole range, small ones as often as large ones."""
    values = 10 ** np.random.default_rng(seed).uniform(0, np.log10(hdr.HIGHEST_US), n)
    return np.minimum(values.astype(np.int64), hdr.HIGHEST_US)


def rows_of(text: str) -> list[tuple[float, ...]]:
    """The rows of a table as a plotter takes them."""
    found = [ROW.match(line) for line in text.splitlines()]
    return [tuple(map(float, match.groups())) for match in found if match]


# ---- counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values_us",
    [
        np.arange(10_000),
        spread(1, 5000),
        np.array([0]),
        np.array([2047, 2048, 2049, 4095, 4096, 4097]),
        np.array([2**k + d for k in range(1, 36) for d in (-1, 0, 1)]),
        np.array([hdr.HIGHEST_US]),
        np.array([], dtype=np.int64),
    ],
    ids=["small", "spread", "zero", "first bucket's end", "powers of two", "a day", "nothing"],
)
def test_counting_by_bucket_is_counting_one_by_one(values_us: NDArray[np.int64]) -> None:
    """Every count, total, minimum and maximum is the one that the library gets value by value."""
    assert hdr.histogram(values_us / 1e6).equals(one_by_one(values_us))


def test_values_are_rounded_to_the_nearest_microsecond() -> None:
    """0.4 us is 0 and 1.6 us is 2; a time that floating point put just below 3 us is 3."""
    made = hdr.histogram(np.array([0.4e-6, 1.6e-6, 3e-6 - 1e-12]))
    assert made.equals(one_by_one(np.array([0, 2, 3])))


def test_quantiles_are_within_a_thousandth() -> None:
    """Three significant digits: every percentile is the measured value to 0.1 %."""
    values_us = np.sort(spread(2, 20_000))
    made = hdr.histogram(values_us / 1e6)
    for percent in (1, 25, 50, 90, 99, 99.9, 100):
        exact = np.quantile(values_us, percent / 100, method="inverted_cdf")
        assert made.get_value_at_percentile(percent) == pytest.approx(exact, rel=1e-3, abs=1)


def test_what_is_not_known_is_left_out() -> None:
    """NaN stands for no value."""
    assert hdr.histogram(np.array([np.nan, 0.001, np.nan])).get_total_count() == 1


@pytest.mark.parametrize("wrong_s", [-1e-6, 86_400.1, np.inf])
def test_a_value_that_does_not_fit_is_an_error(wrong_s: float) -> None:
    """Nothing is dropped in silence, as the library would."""
    with pytest.raises(hdr.HdrError, match=r"histograms hold 0 to 86400 s"):
        hdr.histogram(np.array([0.001, wrong_s]))


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_merging_is_exact(parts: int) -> None:
    """The histograms of several load processes give, merged, that of all records; the parts are
    left as they were."""
    values_us = spread(3, 4000)
    share = np.random.default_rng(4).integers(0, parts, len(values_us))
    made = [hdr.histogram(values_us[share == part] / 1e6) for part in range(parts)]
    totals = [part.get_total_count() for part in made]
    assert hdr.merged(made).equals(hdr.histogram(values_us / 1e6))
    assert [part.get_total_count() for part in made] == totals


def test_merging_nothing_and_empty_parts() -> None:
    """No process, or one that sent nothing, adds nothing."""
    one = hdr.histogram(np.array([0.5]))
    assert hdr.merged([]).get_total_count() == 0
    assert hdr.merged([hdr.empty(), one, hdr.empty()]).equals(one)


# ---- the percentile table ------------------------------------------------------------------------

#: Written by HdrHistogram itself (Java, outputPercentileDistribution(System.out, 5, 1000.0)) of the
#: values 1, 2, ... 12, 12 and 5000 us, with the range of ours.
REFERENCE = """\
       Value     Percentile TotalCount 1/(1-Percentile)

       0.001 0.000000000000          1           1.00
       0.002 0.100000000000          2           1.11
       0.003 0.200000000000          3           1.25
       0.005 0.300000000000          5           1.43
       0.006 0.400000000000          6           1.67
       0.007 0.500000000000          7           2.00
       0.008 0.550000000000          8           2.22
       0.009 0.600000000000          9           2.50
       0.010 0.650000000000         10           2.86
       0.010 0.700000000000         10           3.33
       0.011 0.750000000000         11           4.00
       0.011 0.775000000000         11           4.44
       0.012 0.800000000000         13           5.00
       0.012 0.825000000000         13           5.71
       0.012 0.850000000000         13           6.67
       0.012 0.875000000000         13           8.00
       0.012 0.887500000000         13           8.89
       0.012 0.900000000000         13          10.00
       0.012 0.912500000000         13          11.43
       0.012 0.925000000000         13          13.33
       5.003 0.937500000000         14          16.00
       5.003 1.000000000000         14
#[Mean    =        0.364, StdDeviation   =        1.286]
#[Max     =        5.003, Total count    =           14]
#[Buckets =           27, SubBuckets     =         2048]
"""


def test_the_table_is_the_one_that_hdrhistogram_writes() -> None:
    """To the letter: header, levels, counts, footer."""
    values_us = np.array([*range(1, 13), 12, 5000])
    assert hdr.percentile_table(hdr.histogram(values_us / 1e6)) == REFERENCE


def test_the_rows_are_true_of_the_values() -> None:
    """At each row at least that share of the values lies at or below its value, and its count is
    how many do; levels rise to 1, and the last row has no 1/(1-Percentile)."""
    values_ms = np.random.default_rng(5).exponential(20, 30_000)
    text = hdr.percentile_table(hdr.histogram(values_ms / 1e3))
    rows = rows_of(text)
    assert len(rows) > 60
    below = [np.count_nonzero(np.rint(values_ms * 1e3) <= round(row[0] * 1e3)) for row in rows]
    assert below == [row[2] for row in rows]
    assert all(count / 30_000 >= row[1] for count, row in zip(below, rows, strict=True))
    assert rows == sorted(rows)
    assert [row[3] for row in rows] == pytest.approx([1 / (1 - row[1]) for row in rows], abs=0.01)
    last = [line for line in text.splitlines() if not line.startswith("#")][-1]
    assert last.split()[1:] == ["1.000000000000", "30000"]


def test_levels_double_their_density_with_each_halving() -> None:
    """0, .1, ... .5, then .55 ...: five lines for each halving of the distance to 1."""
    rows = rows_of(hdr.percentile_table(hdr.histogram(np.arange(1, 100_001) / 1e6)))
    levels = [row[1] for row in rows]
    assert levels[:11] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75])
    for start in range(0, 50, 5):
        assert 1 - levels[start + 5] == pytest.approx((1 - levels[start]) / 2)


def test_the_footer_is_in_the_unit_of_the_rows() -> None:
    """Mean, deviation and maximum in milliseconds, and a "Total count" that plotters find."""
    footer = hdr.percentile_table(hdr.histogram(np.array([0.010, 0.030]))).splitlines()[-3:]
    numbers = [list(map(float, re.findall(r"= +([0-9.]+)", line))) for line in footer]
    assert numbers[0] == pytest.approx([20, 10], rel=1e-3)
    assert numbers[1] == pytest.approx([30, 2], rel=1e-3)
    assert numbers[2] == [27, 2048]
    assert re.match(r"#\[Max +=.*, Total count +=", footer[1])


def test_comments_are_no_rows() -> None:
    """They stand first, begin with #, are short enough for every reader, and lose no word."""
    words = " ".join(f"word{i}" for i in range(60))
    made = hdr.histogram(np.array([0.001]))
    text = hdr.percentile_table(made, [words, "values  in\nms"])
    plain = hdr.percentile_table(made)
    assert text.endswith(plain)
    lines = text.removesuffix(plain).splitlines()
    assert all(line.startswith("# ") and len(line) < 127 for line in lines)
    assert " ".join(line[1:].strip() for line in lines) == words + " values in ms"


def test_the_table_of_nothing_has_no_rows() -> None:
    """Header and footer, with a count of 0."""
    text = hdr.percentile_table(hdr.empty())
    assert rows_of(text) == []
    assert "Total count    =            0]" in text


# ---- the log of intervals ------------------------------------------------------------------------

CREATED = datetime(2026, 7, 23, 10, 15, tzinfo=UTC)


def read_back(path: Path) -> tuple[HistogramLogReader, list[HdrHistogram]]:
    """All that the library's own reader finds."""
    reader = HistogramLogReader(str(path), HdrHistogram(*RANGE))
    found = []
    while (made := reader.get_next_interval_histogram()) is not None:
        found.append(made)
    reader.close()
    return reader, found


def test_a_log_is_read_back_by_the_library(tmp_path: Path) -> None:
    """One interval a second, empty ones too, with its time, its values and nothing else; together
    they are the histogram of all. The start of the load is the start that is told."""
    random = np.random.default_rng(6)
    at_s = random.uniform(2, 10, 3000)
    at_s = at_s[(at_s < 5) | (at_s >= 6)]
    took_s = random.exponential(0.02, len(at_s))
    path = tmp_path / "log.hlog"
    intervals = hdr.by_interval(at_s, took_s, 2.0, 10.0)
    path.write_text("".join(hdr.interval_log(intervals, CREATED, ["a comment", "long " * 100])))
    reader, found = read_back(path)
    assert reader.get_start_time_sec() == CREATED.timestamp()
    assert len(found) == 8
    for second, made in enumerate(found, start=2):
        assert made.get_start_time_stamp() == pytest.approx(1e3 * (CREATED.timestamp() + second))
        assert made.get_end_time_stamp() - made.get_start_time_stamp() == pytest.approx(1000)
        mine = took_s[(at_s >= second) & (at_s < second + 1)]
        assert made.equals(hdr.histogram(mine))
    assert found[3].get_total_count() == 0
    assert hdr.merged(found).equals(hdr.histogram(took_s))


def test_the_maximum_of_a_row_is_in_milliseconds() -> None:
    """The third column is the largest value of the interval, not rounded down to a unit."""
    intervals = [(0.0, 1.0, hdr.histogram(np.array([0.0015, 0.000250])))]
    *_, row = hdr.interval_log(intervals, CREATED)
    assert row.split(",")[:3] == ["0.000", "1.000", "1.500"]


def test_the_last_interval_may_be_shorter() -> None:
    """A run cut short at 4.25 s: two whole seconds and a quarter; a window of nothing has none."""
    at_s, took_s = np.array([2.0, 3.5, 4.2]), np.array([0.1, 0.2, 0.3])
    found = list(hdr.by_interval(at_s, took_s, 2.0, 4.25))
    assert [(start, end) for start, end, _ in found] == [(2, 3), (3, 4), (4, 4.25)]
    assert [made.get_total_count() for _, _, made in found] == [1, 1, 1]
    assert list(hdr.by_interval(at_s, took_s, 2.0, 2.0)) == []


def test_edges_that_floating_point_moved_make_no_extra_interval() -> None:
    """0.1 s, ten times, is one second: no eleventh interval of nothing."""
    end_s = sum([0.1] * 10) + 2.0
    assert len(list(hdr.by_interval(np.array([2.0]), np.array([0.1]), 2.0, end_s))) == 1
