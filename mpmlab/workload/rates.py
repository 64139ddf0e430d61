"""A rate that changes over time, and when its requests come: added up, and turned round.

No chance here: processes.py draws how much rate lies between two requests, this says when so much
has gone by (a Poisson process whose rate changes, by the inversion of its cumulative rate). Areas
are added up in whole billionths of a request; inside a segment only additions, products, quotients
and square roots are used, which IEEE 754 defines to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from mpmlab.workload.skeleton import LONGEST_US, Int64s
from mpmlab.workload.streams import Floats

#: Whole units per request, and nanoseconds per second.
NANO: Final = 1_000_000_000
#: An area beyond every plan's (MAX_REQUESTS is 10**7): a larger one counts as this.
_MOST_NANO: Final = 2.0**56


@dataclass(frozen=True, eq=False)
class Rates:
    """Segments of time one after the other, from the start of the run; in each the rate goes in a
    straight line from `begin_per_s` to `end_per_s`. After the last it is zero."""

    length_us: Int64s
    begin_per_s: Floats
    end_per_s: Floats

    @cached_property
    def _start_us(self) -> Int64s:
        return np.asarray(np.cumsum(self.length_us) - self.length_us)

    @cached_property
    def _area_nano(self) -> Int64s:
        """Billionths of a request that come before each segment."""
        area = (self.begin_per_s + self.end_per_s) / 2 * self.length_us * (NANO / 1e6)
        whole = np.rint(np.minimum(area, _MOST_NANO)).astype(np.int64)
        return np.asarray(np.cumsum(whole) - whole)

    def before(self, when_us: int) -> Rates:
        """Without the segments that begin at or after this moment: what they would add up to need
        not fit."""
        kept = self._start_us < when_us
        return Rates(self.length_us[kept], self.begin_per_s[kept], self.end_per_s[kept])

    def requests_until(self, when_us: int) -> float:
        """How many requests are expected before this moment."""
        inside = np.clip(when_us - self._start_us, 0, self.length_us)
        slope = (self.end_per_s - self.begin_per_s) / self.length_us
        return float(np.sum((self.begin_per_s + slope * inside / 2) * inside)) / 1e6

    def when_us(self, nano: Int64s) -> Int64s:
        """When so many billionths of a request have gone by, rounded to the microsecond: for each
        of these amounts, which do not decrease. Of what never comes, LONGEST_US."""
        before = self._area_nano
        # The last of the segments that begin with so much: those without any rate are passed over.
        at = np.searchsorted(before, nano, side="right") - 1
        rest = (nano - before[at]) / NANO
        length = self.length_us[at].astype(np.float64)
        begin, end = self.begin_per_s[at] / 1e6, self.end_per_s[at] / 1e6
        square = begin * begin + 2 * ((end - begin) / length) * rest
        speed = begin + np.sqrt(np.maximum(square, 0))
        inside = np.divide(2 * rest, speed, out=np.zeros_like(rest), where=speed > 0)
        times = self._start_us[at] + np.rint(np.minimum(inside, length)).astype(np.int64)
        total = (begin + end) / 2 * length
        return np.where((at == len(before) - 1) & (rest >= total), LONGEST_US, times)
