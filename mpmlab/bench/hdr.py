"""HdrHistograms of a run, and the two texts in which such histograms are exchanged: the percentile
table (.hgrm) and the log of intervals (.hlog).

The counting, the merging and the packed form are the library's (hdrhistogram). The two texts are
written here, because its versions (0.10.8) are not what others read: its percentile levels drift
from those of HdrHistogram and wrk2, its standard deviation is not scaled, its "TotalCount" is not
the "Total count" that plotters look for; its log rounds maxima down to whole units. No files.

Values are whole microseconds with three significant digits, up to a day, as in wrk2 (src/wrk.c,
MAX_LATENCY), so that histograms can be merged and compared across tools.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from mpmlab.bench.response import Floats

LOWEST_US: Final = 1
HIGHEST_US: Final = 24 * 60 * 60 * 1_000_000
DIGITS: Final = 3
#: Values up to 2 * 10**DIGITS are kept to the unit: 2048 to a bucket, of which the upper half is
#: new in each further bucket (HdrHistogram, AbstractHistogram.java, init()).
_HALF_BITS: Final = 10
_US_PER_MS: Final = 1000.0
#: Lines of the table for each halving of the distance to 100 %: the default of HdrHistogram and of
#: wrk2.
_TICKS: Final = 5
#: HdrHistogram's C reader takes header lines of a log in pieces of 127 characters.
_COMMENT_WIDTH: Final = 120


class HdrError(ValueError):
    """A value that no histogram of ours can hold."""


# ---- counting ------------------------------------------------------------------------------------


def histogram(values_s: Floats) -> HdrHistogram:
    """The histogram of values in seconds; NaN is left out. Raises HdrError beyond a day.

    Exactly what recording one value after the other gives, at a small part of the price: the
    library needs 1.4 us for a value, and here it is told of each bucket once."""
    made = empty()
    for value, count in zip(*_buckets(_microseconds(values_s)), strict=True):
        made.record_value(int(value), int(count))
    return made


def empty() -> HdrHistogram:
    """A histogram of our range, without a value."""
    return HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)


def merged(parts: Iterable[HdrHistogram]) -> HdrHistogram:
    """One histogram with the counts of all: exactly that of all values together."""
    whole = empty()
    for part in parts:
        if part.get_total_count():  # to the library the least value of an empty histogram is 0
            whole.add(part)
    return whole


def _microseconds(values_s: Floats) -> NDArray[np.int64]:
    known_us = np.rint(values_s[~np.isnan(values_s)] * 1e6)
    if len(known_us) and not (known_us.min() >= 0 and known_us.max() <= HIGHEST_US):
        worst_s = (known_us.min() if known_us.min() < 0 else known_us.max()) / 1e6
        raise HdrError(f"a time of {worst_s:g} s: histograms hold 0 to {HIGHEST_US / 1e6:g} s")
    return known_us.astype(np.int64)


def _buckets(values_us: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lowest value of each bucket that is hit, ascending, and how often it is hit."""
    # frexp's exponent is the length in bits: what exceeds the 11 that a bucket resolves is cut off.
    shift = np.maximum(np.frexp(values_us.astype(np.float64))[1] - (_HALF_BITS + 1), 0)
    index = (shift.astype(np.int64) << _HALF_BITS) + (values_us >> shift)
    counts = np.bincount(index)
    hit = np.flatnonzero(counts)
    bucket = np.maximum((hit >> _HALF_BITS) - 1, 0)
    return (hit - (bucket << _HALF_BITS)) << bucket, counts[hit]


# ---- the percentile table ------------------------------------------------------------------------


def percentile_table(made: HdrHistogram, comments: Iterable[str] = ()) -> str:
    """The text of an .hgrm file, values in milliseconds: that of HdrHistogram's
    outputPercentileDistribution(), which wrk2 prints too and plotters read. Comments come first,
    as lines that begin with #."""
    lines = list(comment_lines(comments))
    lines.append(f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n")
    for value_ms, share, count in _percentiles(made):
        line = f"{value_ms:12.3f} {share:.12f} {count:10d}"
        lines.append(line if share == 1 else f"{line} {1 / (1 - share):14.2f}")
    mean_ms, deviation_ms = made.get_mean_value() / _US_PER_MS, made.get_stddev() / _US_PER_MS
    max_ms, total = made.get_max_value() / _US_PER_MS, made.get_total_count()
    lines.append(f"#[Mean    = {mean_ms:12.3f}, StdDeviation   = {deviation_ms:12.3f}]")
    lines.append(f"#[Max     = {max_ms:12.3f}, Total count    = {total:12d}]")
    lines.append(
        f"#[Buckets = {made.bucket_count:12d}, SubBuckets     = {made.sub_bucket_count:12d}]"
    )
    return "\n".join(lines) + "\n"


def _percentiles(made: HdrHistogram) -> Iterator[tuple[float, float, int]]:
    """Value in ms, percentile as a share, and how many values lie at or below: HdrHistogram's
    PercentileIterator.java. Levels come closer by half whenever the distance to 100 % has halved;
    the last value stands at the level that it reaches first, and at 100 %."""
    total = made.get_total_count()
    if not total:
        return
    counts = np.ctypeslib.as_array(made.counts)
    hit = np.flatnonzero(counts)
    below = np.cumsum(counts[hit].astype(np.int64))
    reached = 100.0 * below / total
    level, at = 0.0, 0
    while True:
        at += int(np.searchsorted(reached[at:], level))
        value = made.get_highest_equivalent_value(made.get_value_from_index(int(hit[at])))
        yield value / _US_PER_MS, level / 100, int(below[at])
        if at == len(hit) - 1:
            yield value / _US_PER_MS, 1.0, total
            return
        halvings = int(math.log(100 / (100 - level)) / math.log(2))
        level += 100.0 / (_TICKS * 2 ** (halvings + 1))


# ---- the log of intervals ------------------------------------------------------------------------


def interval_log(
    intervals: Iterable[tuple[float, float, HdrHistogram]],
    start: datetime,
    comments: Iterable[str] = (),
) -> Iterator[str]:
    """The lines of an .hlog file (format 1.3): `intervals` are start and end in seconds after
    `start`, and what fell between them. The column Interval_Max is in milliseconds, the packed
    values are microseconds."""
    epoch_s = start.timestamp()
    yield "#[Histogram log format version 1.3]\n"
    for line in comment_lines(comments):
        yield line + "\n"
    yield f"#[BaseTime: {epoch_s:.3f} (seconds since epoch)]\n"
    yield f"#[StartTime: {epoch_s:.3f} (seconds since epoch), {start.isoformat()}]\n"
    yield '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    for start_s, end_s, made in intervals:
        max_ms = made.get_max_value() / _US_PER_MS
        yield f"{start_s:.3f},{end_s - start_s:.3f},{max_ms:.3f},{made.encode().decode()}\n"


def by_interval(
    at_s: Floats, values_s: Floats, start_s: float, end_s: float, length_s: float = 1.0
) -> Iterator[tuple[float, float, HdrHistogram]]:
    """One histogram for each `length_s` of [start_s, end_s), also where nothing happened: the
    values of what belongs there by `at_s`. The last interval may be shorter."""
    order = np.argsort(at_s, kind="stable")
    at_s, values_s = at_s[order], values_s[order]
    pieces = math.ceil((end_s - start_s) / length_s - 1e-9)
    edges_s = [min(start_s + i * length_s, end_s) for i in range(pieces + 1)]
    cuts = np.searchsorted(at_s, edges_s)
    for i in range(pieces):
        yield edges_s[i], edges_s[i + 1], histogram(values_s[cuts[i] : cuts[i + 1]])


def comment_lines(comments: Iterable[str]) -> Iterator[str]:
    """Comments as lines that begin with "# ", folded so that every reader takes them whole."""
    for comment in comments:
        line = "#"
        for word in comment.split():
            if len(line) + 1 + len(word) > _COMMENT_WIDTH:
                yield line
                line = "#  "
            line += " " + word
        yield line
