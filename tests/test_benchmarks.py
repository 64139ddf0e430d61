"""What the benchmarks tell is sound: intervals, which slices count, and that every program that
they compare ours with is read rightly. (Long runs are their own affair: `make benchmarks`.)"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest

from benchmarks import gate_quality, jobs, load_generator, load_peers, parsers, peers, programs
from benchmarks.common import CORES, estimate
from benchmarks.gate_quality import CLEAN, DISTURBANCES, Finding, Trial
from benchmarks.programs import Served
from benchmarks.server_cpu import Slice, undisturbed
from benchmarks.slices import (
    Conditions,
    Pair,
    Watch,
    in_pairs,
    ratio_of,
    ratio_text,
    states,
    used_text,
)
from benchmarks.slices import undisturbed as undisturbed_slices
from mpmlab.bench.conduct import EXIT_INVALID
from mpmlab.core.demand import Demand
from mpmlab.workload.compile import compile_plan
from mpmlab.workload.scenario import load_scenario

ROOT = Path(__file__).resolve().parent.parent


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip without these programs."""
    lacking = programs.missing(names)
    return pytest.mark.skipif(bool(lacking), reason=lacking)


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


# ---- slices and pairs ----------------------------------------------------------------------------


class Measured(NamedTuple):
    """A slice that was not measured."""

    value: float
    conditions: Conditions


def measured(value: float, foreign: float = 0.0, us: tuple[float, float] = (500, 500)) -> Measured:
    """With these readings of the client's core."""
    return Measured(value, Conditions(us, (500.0, 500.0), foreign, 0.0))


def test_disturbed_slices_are_told() -> None:
    """A slice in which others had either core is left out as long as three remain, and the text
    says how many of all are used and whether that had to include disturbed ones."""
    quiet, noisy = measured(1.0), measured(2.0, foreign=0.2)
    assert undisturbed_slices([noisy, quiet, quiet, quiet]) == [quiet] * 3
    assert used_text([quiet] * 3, [noisy, quiet, quiet, quiet]) == "3/4"
    few = undisturbed_slices([noisy, quiet, noisy])
    assert used_text(few, few) == "3/3, 2 of them disturbed"
    beside = Conditions((500, 500), (500, 500), 0.0, 0.2)
    assert beside.disturbed


def test_slices_are_placed_by_the_speed_of_the_core() -> None:
    """Within a quarter of the fastest reading before and after is fast, beyond it at both ends
    slow, and a change between them is told as one."""
    slices = [measured(1, us=us) for us in ((500, 600), (500, 900), (900, 930), (510, 505))]
    assert states(slices, 500) == "2 fast, 1 changing, 1 slow"


def test_pairs_alternate_and_ratios_are_of_second_to_first() -> None:
    """ABBA: the second goes first in every other pair; a ratio is the second's value to the
    first's, whichever came first, and pairs without both values do not count."""
    order: list[str] = []

    def run(name: str, value: float) -> Callable[[], Measured]:
        def carry_out() -> Measured:
            order.append(name)
            return measured(value)

        return carry_out

    pairs = in_pairs(4, run("A", 2.0), run("B", 3.0))
    assert "".join(order) == "ABBAABBA"
    ratio, count = ratio_of(pairs, lambda one: one.value)
    assert ratio is not None
    assert ratio.value == pytest.approx(1.5)
    assert (count, ratio_text(ratio, count)) == (4, "1.500 (1.500 to 1.500), n=4")
    assert ratio_of([Pair(measured(0.0), measured(1.0))], lambda one: one.value) == (None, 0)


def test_a_pair_has_one_speed_only_if_all_its_readings_have() -> None:
    """One reading in the slow state is enough to tell a pair as changing, and a pair is as
    disturbed as its worse slice."""
    steady, changed = measured(1, us=(500, 520)), measured(1, foreign=0.2, us=(520, 900))
    assert Pair(steady, steady).same_speed
    assert not Pair(steady, changed).same_speed
    assert Pair(steady, changed).conditions.disturbed


# ---- what the clients are told -------------------------------------------------------------------


def test_plans_of_the_benchmarks_offer_what_they_say() -> None:
    """A constant plan has exactly its rate and gap, a Poisson one its rate within four standard
    errors and exponential gaps, and a closed one cycles."""
    demand = Demand(response_bytes=40)
    constant = jobs.open_plan(jobs.constant_us(3000, 2.0), 2.0, demand, pool=64)
    assert constant.offered_rate == 3000
    assert set(np.diff(constant.planned_us)) == {333, 334}
    times_us = jobs.poisson_us(10_000, 4.0, seed=1)
    assert abs(len(times_us) - 40_000) < 4 * 200
    assert np.diff(times_us).std() == pytest.approx(100, rel=0.05)
    assert jobs.open_plan(times_us, 4.0, demand, pool=0).groups[0].client.keep_alive is False
    closed = jobs.closed_plan(16, 2.0, demand)
    assert (closed.sessions, closed.offered_rate, closed.cycle) == (16, None, True)


def test_a_replay_has_the_times_that_were_told() -> None:
    """Send times of another program become planned times, to the microsecond, in a plan that goes
    on for a second after the last."""
    told = peers.Told(3, 0.3, 0.005, 0.005, 0, 0.0, np.array([0.0, 0.1000004, 0.2]))
    plan = load_peers.replay(told)
    assert plan.planned_us.tolist() == [0, 100_000, 200_000]
    assert plan.duration_us == 1_200_000


# ---- other programs ------------------------------------------------------------------------------


def test_a_missing_program_is_named_with_its_package() -> None:
    """Without wrk and nginx the exit code is 2, and stderr says what to install."""
    paths = {"PATH": os.devnull}
    command = [sys.executable, "-m", "benchmarks.load_peers", "--peers", "wrk,h2load"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **paths}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == programs.MISSING
    assert "apt-get install --no-install-recommends wrk nghttp2-client" in done.stderr
    assert not done.stdout


@pytest.fixture
def fast_server() -> Iterator[Served]:
    """nginx on the first core."""
    with programs.nginx(CORES[:1]) as served:
        yield served


@pytest.fixture(scope="module")
def slow_server() -> Iterator[Served]:
    """Our own, whose answers to load_peers.DEMAND take 5 ms at least."""
    with load_generator.our_server("prefork", list(CORES[:1]), load_peers.CONNECTIONS) as served:
        yield served


@needs("nginx")
def test_nginx_answers_and_leaves_nothing() -> None:
    """It serves on a port of its own, and afterwards neither a process nor the port is there."""
    with programs.nginx(CORES[:1]) as served:
        pids = served.pids()
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
            sock.sendall(b"GET /work HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"x" * programs.SMALL_BYTES)
    assert len(pids) == 2  # master and worker
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port), timeout=10)


@needs("nginx")
@pytest.mark.parametrize("pool", [load_generator.POOL, 0])
def test_lateness_is_measured_without_losing_a_request(fast_server: Served, pool: int) -> None:
    """A slice of half a second at 400/s loses nothing, and its figures are in order."""
    job = load_generator.Job(400, poisson=True, pool=pool)
    watch = Watch(fast_server.pids)
    one = load_generator.lateness_slice(job, fast_server.port, watch, 0.5, seed=1)
    assert one.lost == 0
    assert 0 <= one.p50_us <= one.p99_us <= one.p999_us
    assert one.sent_p99_us >= one.p50_us
    assert 0 < one.busy < 1
    assert min(one.conditions.client_us + one.conditions.server_us) > 0


@needs("wrk", "nginx")
def test_closed_loops_of_wrk_and_ours_are_of_one_kind(fast_server: Served) -> None:
    """On the same server each does thousands of requests per second and loses none, at a CPU
    price of each that fits a core."""
    watch = Watch(fast_server.pids)
    for measure in (load_generator.wrk_rate, load_generator.our_rate):
        one = measure(fast_server, 16, 1, watch, 1)
        assert one.lost == 0
        assert one.per_s > 1000
        assert 0 < one.client_us * one.per_s / 1e6 < 1.5  # wrk's start and end count, too


@needs("wrk")
def test_wrk_and_ours_measure_the_injected_delay(slow_server: Served) -> None:
    """In both the fastest half takes its 5 ms and not ten times that, and so throughput follows."""
    url = jobs.url(slow_server.port, load_peers.DEMAND)
    watch = Watch(slow_server.pids)
    closed = jobs.closed_plan(load_peers.CONNECTIONS, 1.0, load_peers.DEMAND)
    theirs = load_peers.peer_figures(
        lambda: peers.wrk(url, load_peers.CONNECTIONS, 1, watch.client_cores), watch
    )
    ours = load_peers.our_figures(closed, slow_server.port, watch)
    for one in (theirs, ours):
        assert 5 <= one.p50_ms <= min(50, one.p99_ms)
        assert 1000 * load_peers.CONNECTIONS / 50 < one.per_s < 1000 * load_peers.CONNECTIONS / 5
        assert one.lost == 0


@needs("h2load", "hey")
@pytest.mark.parametrize("run", [peers.h2load, peers.hey])
def test_programs_with_a_rate_tell_every_request(
    slow_server: Served, run: Callable[..., peers.Told]
) -> None:
    """A second at 200/s is 200 requests with the time at which each was sent, over about a second,
    none faster than the injected delay."""
    url = jobs.url(slow_server.port, load_peers.DEMAND)
    told = run(url, load_peers.CONNECTIONS, 1, 200, CORES[-1:])
    assert told.requests == len(told.sent_s) == 200
    assert told.lost == 0
    assert 0.8 < told.seconds < 2
    assert 0.005 <= told.p50_s <= told.p99_s
    assert told.sent_s[0] == 0
    assert (np.diff(told.sent_s) >= 0).all()


def test_what_wrk_adds_is_added() -> None:
    """19 answers of 1.1 ms and one of 50.1 on one connection, 3.55 ms on average: wrk prints p50
    1.16, p75 21.6, p90 39.5 for such a server (seen with Debian's 4.1.0), and so does this."""
    latency_s = np.tile(np.array([1.1] * 19 + [50.1]) / 1000, 100)
    found = peers.corrected_as_wrk(latency_s, float(latency_s.sum()), 1)
    p50, p75, p90 = 1000 * np.quantile(found, (0.5, 0.75, 0.9))
    assert (p50, p75, p90) == pytest.approx((1.16, 21.6, 39.5), rel=0.06)
    even_s = np.full(100, 0.005)
    assert len(peers.corrected_as_wrk(even_s, 0.5, 1)) == 100


# ---- parsers -------------------------------------------------------------------------------------


def test_parsers_are_compared_on_the_same_finding() -> None:
    """All three find the same in every kind of answer, and each gets a time; one that finds
    something else is refused."""
    times = parsers.measure(parsers.PARSERS, parsers.MESSAGES, rounds=1)
    assert len(times) == len(parsers.PARSERS) * len(parsers.MESSAGES)
    assert min(us for slices in times.values() for us in slices) > 0

    def wrong() -> parsers.Parser:
        return lambda _message: parsers.Answer(200, 41, True, "1.1")

    with pytest.raises(AssertionError, match="do not agree"):
        parsers.measure({**parsers.PARSERS, "wrong": wrong}, parsers.MESSAGES, rounds=1)


# ---- gates ---------------------------------------------------------------------------------------


def finding(kind: str, code: int) -> Finding:
    """Of a run that was not made."""
    return Finding(Trial(kind, "pool", "worker", 1), code, (), "")


def test_gate_quality_makes_as_many_clean_runs_as_disturbed_ones() -> None:
    """In turn; 20 of each have every disturbance and every MPM, and the clean ones every load."""
    made = gate_quality.trials(20)
    clean, disturbed = made[::2], made[1::2]
    assert {trial.kind for trial in clean} == {CLEAN}
    assert {(trial.kind, trial.mpm) for trial in disturbed} == {
        (kind, mpm) for kind in DISTURBANCES for mpm in gate_quality.MPMS
    }
    assert {trial.scenario for trial in clean} == set(gate_quality.SCENARIOS)


@pytest.mark.parametrize("name", gate_quality.SCENARIOS)
def test_loads_of_gate_quality_are_scenarios(name: str, tmp_path: Path) -> None:
    """Each compiles, measures after its warm-up, and a clean one asks for at most 200/s."""
    path = tmp_path / "scenario.toml"
    path.write_text(gate_quality.scenario_text(name, 4.0))
    plan = compile_plan(load_scenario(path), seed=1)
    assert (plan.warmup_us, plan.duration_us) == (1_000_000, 4_000_000)
    assert plan.offered_rate is None or plan.offered_rate < 200


def test_one_in_twenty_may_be_wrong() -> None:
    """Of either sort, and no more; a run that failed was not judged, so that is wrong, too."""
    clean, bad = finding(CLEAN, 0), finding(DISTURBANCES[0], EXIT_INVALID)
    flagged, missed = finding(CLEAN, EXIT_INVALID), finding(DISTURBANCES[0], 0)
    assert gate_quality.good_enough([clean] * 19 + [flagged] + [bad] * 19 + [missed])
    assert not gate_quality.good_enough([clean] * 18 + [flagged] * 2 + [bad] * 20)
    assert not gate_quality.good_enough(
        [clean] * 20 + [bad] * 18 + [finding(DISTURBANCES[1], 4)] * 2
    )
    assert not gate_quality.good_enough([clean] * 4 + [bad] * 3 + [missed])


@pytest.mark.real
def test_a_disturbed_run_is_made_and_its_gates_are_read() -> None:
    """Two connections for sixteen: the run is invalid because requests waited for connections."""
    found = gate_quality.carry_out(Trial(DISTURBANCES[1], "pool", "worker", 1), 2.0)
    assert found.code == EXIT_INVALID, found.said
    assert "connect-queue" in {gate.name for gate in found.failed}
