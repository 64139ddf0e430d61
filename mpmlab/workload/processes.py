"""Point processes: the moments at which requests or sessions come by themselves.

Formulas only; reading them from a scenario is process_table.py, making sessions of the moments is
arrivals.py. Whatever is added up is added up in whole numbers (nanoseconds, or billionths of a
request), never in floating point, so that a plan is the same on every platform. One uniform number
per gap, dwell or choice, each kind from a stream of its own name: a longer run only adds moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np

from mpmlab.workload.distributions import Distribution, Exponential, choose, whole
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.rates import NANO, Rates
from mpmlab.workload.skeleton import LONGEST_US, MAX_REQUESTS, Int64s
from mpmlab.workload.streams import Floats, Stream, Streams

#: The first block drawn overshoots the expected count by so many standard deviations, so that a
#: second block is rare. It has no influence on the numbers.
_SIGMAS: Final = 4
_LATER_BLOCK: Final = 1024
#: Most changes of rate in one run: as many as there may be requests would be of no use.
MAX_CHANGES: Final = 1_000_000


class Process(Protocol):
    """Moments in microseconds since the start of the run."""

    @property
    def kind(self) -> str:
        """As it is called in a scenario."""

    @property
    def rate_text(self) -> str:
        """The keys that the rate comes from, for complaints."""

    def expected(self, duration_us: int) -> float:
        """How many moments are expected below the duration."""

    def times_us(self, streams: Streams, duration_us: int) -> Int64s:
        """The moments below the duration, in order. Raises ScenarioError where chance gave more
        than a plan may hold."""


@dataclass(frozen=True)
class ConstantProcess:
    """Evenly spaced, from the start of the run on."""

    rate_per_s: float
    kind: ClassVar[str] = "constant"
    rate_text: ClassVar[str] = "rate_per_s"

    def expected(self, duration_us: int) -> float:
        return self.rate_per_s * duration_us / 1e6

    def times_us(self, streams: Streams, duration_us: int) -> Int64s:  # noqa: ARG002
        return constant_times_us(self.rate_per_s, duration_us)


@dataclass(frozen=True)
class PoissonProcess:
    """Memoryless: gaps are exponential."""

    rate_per_s: float
    kind: ClassVar[str] = "poisson"
    rate_text: ClassVar[str] = "rate_per_s"

    def expected(self, duration_us: int) -> float:
        return self.rate_per_s * duration_us / 1e6

    def times_us(self, streams: Streams, duration_us: int) -> Int64s:
        return poisson_times_us(self.rate_per_s, duration_us, streams.open("arrivals"))


@dataclass(frozen=True)
class RenewalProcess:
    """Independent gaps of any distribution, stretched so that their mean is 1 / rate_per_s. The
    first moment comes one whole gap after the start, as if one had been at the start."""

    rate_per_s: float
    #: The form of the gaps; its own mean does not matter.
    gap: Distribution
    kind: ClassVar[str] = "renewal"
    rate_text: ClassVar[str] = "rate_per_s"

    def expected(self, duration_us: int) -> float:
        return self.rate_per_s * duration_us / 1e6

    def times_us(self, streams: Streams, duration_us: int) -> Int64s:
        stretch = NANO / self.rate_per_s / self.gap.mean
        sums_ns = _running_sums(
            lambda u: self.gap.values(u) * stretch,
            streams.open("arrivals"),
            duration_us * 1000,
            self.expected(duration_us),
        )
        return sums_ns // 1000


@dataclass(frozen=True)
class State:
    """One state of an MMPP: its rate, and how long it lasts on average (exponential)."""

    rate_per_s: float
    mean_s: float


@dataclass(frozen=True)
class MmppProcess:
    """A Markov-modulated Poisson process: Poisson arrivals at the rate of the state in force. The
    states follow one another in order (`cyclic`), or after each any other with equal chance. The
    first is drawn by the share of time that each has: the process is stationary from the start."""

    states: tuple[State, ...]
    cyclic: bool
    kind: ClassVar[str] = "mmpp"
    rate_text: ClassVar[str] = "the mean rate of the states"

    @property
    def rate_per_s(self) -> float:
        """The mean rate, over time."""
        total_s = sum(state.mean_s for state in self.states)
        return sum(state.rate_per_s * state.mean_s for state in self.states) / total_s

    def expected(self, duration_us: int) -> float:
        return self.rate_per_s * duration_us / 1e6

    def times_us(self, streams: Streams, duration_us: int) -> Int64s:
        return _random_times_us(self._rates(streams, duration_us), streams, duration_us)

    def _rates(self, streams: Streams, duration_us: int) -> Rates:
        means_us = np.array([state.mean_s * 1e6 for state in self.states])
        # Each state is visited equally often, so that a visit lasts the plain average of the means.
        changes = duration_us / float(means_us.mean())
        if changes > MAX_CHANGES:
            raise ScenarioError(
                f"arrivals.states: mean_s gives {changes:.4g} changes of state within the "
                f"duration; accepted: at most {MAX_CHANGES:,}"
            )
        dwells, choices = streams.open("arrivals/dwell"), streams.open("arrivals/state")
        first = int(choose(tuple(means_us.tolist()), choices.uniforms(1))[0])
        state, length_us = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        block = int(changes + _SIGMAS * changes**0.5) + 16
        while int(length_us.sum()) < duration_us:
            others = np.floor(choices.uniforms(block) * (len(self.states) - 1)).astype(np.int64)
            steps = np.ones(block, dtype=np.int64) if self.cyclic else 1 + others
            before = int(state[-1]) if len(state) else first - int(steps[0])
            more = (before + np.cumsum(steps)) % len(self.states)
            drawn_us = Exponential(1.0).values(dwells.uniforms(block)) * means_us[more]
            state = np.concatenate([state, more])
            length_us = np.concatenate([length_us, np.maximum(whole(drawn_us, LONGEST_US), 1)])
            block = _LATER_BLOCK
        rates = np.array([one.rate_per_s for one in self.states])[state]
        return Rates(length_us, rates, rates).before(duration_us)


@dataclass(frozen=True)
class Stage:
    """A part of a piecewise rate, which goes in a straight line from its begin to its end."""

    length_us: int
    begin_per_s: float
    end_per_s: float


@dataclass(frozen=True)
class PiecewiseProcess:
    """A rate that changes by stages: steps, ramps and spikes. Poisson arrivals at that rate, or,
    with `even`, one whenever the rate has added up to another whole number, the first at the start.
    After the last stage come the stages again (`repeat`), or nothing."""

    stages: tuple[Stage, ...]
    even: bool
    repeat: bool
    kind: ClassVar[str] = "piecewise"
    rate_text: ClassVar[str] = "the rate of the stages"

    def expected(self, duration_us: int) -> float:
        return self._rates(duration_us).requests_until(duration_us)

    def times_us(self, streams: Streams, duration_us: int) -> Int64s:
        rates = self._rates(duration_us)
        if not self.even:
            return _random_times_us(rates, streams, duration_us)
        count = int(rates.requests_until(duration_us)) + 2
        times = rates.when_us(np.arange(count, dtype=np.int64) * NANO)
        return times[times < duration_us]

    def _rates(self, duration_us: int) -> Rates:
        rounds = 1
        if self.repeat:
            rounds = -(-duration_us // sum(stage.length_us for stage in self.stages))
        if rounds * len(self.stages) > MAX_CHANGES:
            raise ScenarioError(
                f"arrivals.stages: repeated, they give {rounds * len(self.stages):,} within the "
                f"duration; accepted: at most {MAX_CHANGES:,}"
            )
        return Rates(
            np.tile(np.array([stage.length_us for stage in self.stages], np.int64), rounds),
            np.tile(np.array([stage.begin_per_s for stage in self.stages]), rounds),
            np.tile(np.array([stage.end_per_s for stage in self.stages]), rounds),
        ).before(duration_us)


def constant_times_us(rate_per_s: float, duration_us: int) -> Int64s:
    """0, 1/rate, 2/rate ... below the duration, each rounded by itself: no drift."""
    steps = np.arange(int(rate_per_s * duration_us / 1e6) + 2, dtype=np.float64)
    times = np.rint(steps * (1e6 / rate_per_s)).astype(np.int64)
    return np.asarray(times[times < duration_us])


def poisson_times_us(rate_per_s: float, duration_us: int, stream: Stream) -> Int64s:
    """The times below the duration of a Poisson process. A longer duration only adds to them."""
    gap_ns = Exponential(NANO / rate_per_s)
    expected = rate_per_s * duration_us / 1e6
    return _running_sums(gap_ns.values, stream, duration_us * 1000, expected) // 1000


def _random_times_us(rates: Rates, streams: Streams, duration_us: int) -> Int64s:
    """Poisson arrivals at a rate that changes: exponential amounts of rate lie between them."""
    expected = rates.requests_until(duration_us)
    if expected > MAX_REQUESTS:
        raise ScenarioError(_too_many(expected))
    # One request more than is due, for what rounding took.
    end_nano = int((expected + 1) * NANO)
    amount = Exponential(float(NANO))
    times = rates.when_us(
        _running_sums(amount.values, streams.open("arrivals"), end_nano, expected)
    )
    return np.asarray(times[times < duration_us])


def _running_sums(
    values: Callable[[Floats], Floats], stream: Stream, end: int, expected: float
) -> Int64s:
    """The sums of 1, 2, 3 ... values, each rounded to a whole number, below `end`; about `expected`
    of them will be."""
    block = int(expected + _SIGMAS * expected**0.5) + 16
    blocks, last, count = [], 0, 0
    while last < end:
        # Cut so that no single value of a heavy tail can make the sums overflow.
        sums = last + np.cumsum(whole(values(stream.uniforms(block)), 2**53))
        last, count = int(sums[-1]), count + block
        blocks.append(sums[sums < end])
        if count > 2 * MAX_REQUESTS:
            raise ScenarioError(_too_many(count))
        block = max(_LATER_BLOCK, count // 4)
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int64)


def _too_many(requests: float) -> str:
    return f"arrivals: chance gives {requests:.4g} requests; accepted: at most {MAX_REQUESTS:,}"
