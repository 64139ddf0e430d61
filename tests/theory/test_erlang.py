"""Pools as multi-server queues: waiting in M/M/c by Erlang C, loss in M/M/c/K.

Service is a wait, not CPU: the pool is the only limit. c processes accept, the backlog queues.
"""

from __future__ import annotations

from random import Random
from statistics import mean

import pytest

from mpmlab.bench.baselines import erlang_c
from mpmlab.core.demand import Demand

from .queues import interval, loss, simulate

MEAN_US = 20_000
REPLICATIONS = 12


def _service(random: Random) -> Demand:
    return Demand(wait_us=round(random.expovariate(1 / MEAN_US)))


def test_closed_forms_know_their_textbook_values() -> None:
    """Erlang C of one server is its utilisation; M/M/1/K's loss is a geometric series' last term;
    Erlang B of two servers at load 1 is 1/5."""
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert loss(1, 2, 0.5) == pytest.approx(0.5**3 * 0.5 / (1 - 0.5**4))
    assert loss(2, 0, 1.0) == pytest.approx(0.2)


@pytest.mark.parametrize(("servers", "utilisation"), [(1, 0.6), (4, 0.8), (16, 0.9)])
def test_waiting_in_mmc(servers: int, utilisation: float) -> None:
    """The mean time that c processes' clients wait is Erlang's C / (c mu - lambda)."""
    rate = utilisation * servers / (MEAN_US / 1e6)
    waits = []
    for seed in range(REPLICATIONS):
        out = simulate(seed, rate, _service, 4000, servers)
        assert out.lost == 0
        waits.append(mean(out.sojourns_s) - mean(out.demands_s))
    expected = erlang_c(servers, utilisation * servers) / (servers * 1e6 / MEAN_US - rate)
    low, high = interval(waits)
    assert low < expected < high
    assert high - low < expected  # an interval that says something


@pytest.mark.parametrize(("servers", "backlog", "load"), [(4, 0, 3.6), (4, 7, 4.4), (8, 3, 7.0)])
def test_loss_of_mmck(servers: int, backlog: int, load: float) -> None:
    """With K = c + backlog + 1 places (Linux lets one more in than the backlog says), the fraction
    of connects that find no room is the loss formula's."""
    rate = load / (MEAN_US / 1e6)
    losses = [
        simulate(seed, rate, _service, 4000, servers, backlog).loss for seed in range(REPLICATIONS)
    ]
    low, high = interval(losses)
    assert low < loss(servers, backlog + 1, load) < high
    assert high - low < 0.5 * loss(servers, backlog + 1, load)
