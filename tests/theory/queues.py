"""A closed form of queueing theory, and servers and loads that are queues. Helpers only.

The servers are written directly on the kernel: processes that accept, work, answer. Their own costs
are next to nothing, so that only the modelled resource makes requests wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import factorial, sqrt
from random import Random
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

from mpmlab.core.count_wire import Blob
from mpmlab.core.demand import Demand
from mpmlab.core.platform import NEARLY_FREE, Platform
from mpmlab.kernel.interface import Kernel, Listener, Steps
from mpmlab.sim.world import World

#: A test fails by chance once in a thousand seeds; the seeds are fixed.
CONFIDENCE = 0.999


def loss(servers: int, room: int, load: float) -> float:
    """Probability that an arrival finds M/M/c/K full, K = servers + room."""
    weights = [load**n / factorial(min(n, servers)) for n in range(servers + room + 1)]
    weights = [w / servers ** (n - servers) if n > servers else w for n, w in enumerate(weights)]
    return weights[-1] / sum(weights)


def interval(values: list[float]) -> tuple[float, float]:
    """Student's confidence interval of the mean of independent replications."""
    half = student.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * stdev(values) / sqrt(len(values))
    return mean(values) - half, mean(values) + half


@dataclass
class Outcome:
    """What the clients of one replication saw, without its warm-up."""

    sojourns_s: list[float]
    demands_s: list[float]
    lost: int = 0

    @property
    def loss(self) -> float:
        """The fraction of arrivals that were turned away."""
        return self.lost / (self.lost + len(self.sojourns_s))


def _child(k: Kernel, listener: Listener) -> Steps[int]:
    """One connection at a time; a request carries its demand."""
    while True:
        conn = yield k.accept(listener, None)
        request = yield k.recv(conn, 100, None)
        yield k.work(request.meta)
        yield k.send(conn, request, None)
        k.close(conn)


def _parent(k: Kernel, listener: Listener, children: int) -> Steps[int]:
    for _ in range(children):
        yield k.fork(_child, listener)
    while True:
        yield k.wait(3600.0)


def _client(
    k: Kernel, listener: Listener, demand: Demand, counts: bool, out: Outcome
) -> Steps[Any]:
    start = k.now()
    conn = yield k.connect(listener, 0)
    if conn is None:
        out.lost += counts
        return
    yield k.send(conn, Blob(1, 0, demand), None)
    yield k.recv(conn, 100, None)
    k.close(conn)
    if counts:
        out.sojourns_s.append(k.now() - start)
        out.demands_s.append((demand.cpu_us + demand.wait_us) / 1e6)


def _arrivals(
    k: Kernel, listener: Listener, load: Iterator[tuple[float, Demand]], warmup: int, out: Outcome
) -> Steps[int]:
    yield k.sleep(0.001)  # until all children wait in accept
    for i, (gap_s, demand) in enumerate(load):
        yield k.sleep(gap_s)
        yield k.thread(_client, listener, demand, i >= warmup, out)
    yield k.sleep(100.0)
    return 0


def simulate(
    seed: int,
    rate: float,
    draw: Callable[[Random], Demand],
    requests: int,
    children: int,
    backlog: int = 4096,
    cores: int = 10_000,
) -> Outcome:
    """One replication: Poisson arrivals of `rate` a second, demands drawn from a stream of their
    own, a fifth of the requests as warm-up."""
    world = World(Platform(costs=NEARLY_FREE, cores=cores), seed=seed, trace=False)
    listener = world.listener(backlog)
    out = Outcome([], [])
    gaps, demands = Random(f"{seed}/arrivals"), Random(f"{seed}/demands")
    load = ((gaps.expovariate(rate), draw(demands)) for _ in range(requests))
    world.spawn(_parent, listener, children)
    world.run(
        until_exit=world.spawn(_arrivals, listener, load, requests // 5, out, machine="client")
    )
    return out
