"""The probe: its sums match the whole, its profile is kept and read back, no process is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from mpmlab.core.platform import Costs, Platform
from mpmlab.core.platform_file import format_platform, parse_platform, provenance
from mpmlab.kernel.interface import KernelError
from mpmlab.real import probe as probe_module
from mpmlab.real.machine import fingerprint
from mpmlab.real.probe import (
    CALIBRATED,
    assemble,
    at_speed,
    code_key,
    local_platform,
    probe,
    profile_path,
    speed_of,
)
from mpmlab.real.probe_whole import REST_S

DATE = "2026-11-23"
FACTS = {
    "request_bytes": 1024,
    "response_bytes": 2048,
    "send_buffer_bytes": 1000,
    "gil_switch_interval_us": 5000.0,
    "somaxconn": 4096,
    "parent_memory_kib": 10.0,
    "process_memory_kib": 5.0,
    "thread_memory_kib": 2.0,
    "connection_memory_kib": 1.0,
}
ROUND = {
    "small_speed": 500.0, "kept_speed": 500.0, "closed_speed": 500.0, "threaded_speed": 500.0,
    "echo_speed": 500.0, "fork_us": 600.0, "child_start_us": 900.0, "thread_us": 80.0,
    "exit_us": 10.0, "lock_us": 2.0, "put_us": 0.25, "get_us": 0.25, "accept_us": 6.0,
    "recv_us": 1.0, "recv_per_kb_us": 0.5, "send_us": 2.0, "send_per_kb_us": 0.25,
    "close_us": 9.0, "connect_us": 22.0, "poll_us": 1.5, "arm_us": 0.5, "signal_us": 4.0,
    "step_us": 0.5, "unblocked_us": 30.0, "timer_slack_us": 80.0, "echo_us": 20.0,
    "trip_us": 100.0,
    "rested_us": 98.0, "burned_us": 90.0,
    "kept_us": 58.0, "kept_blocked": 1.0, "kept_requests": 1000.0, "kept_foreign": 0.0,
    "threaded_us": 52.0, "threaded_blocked": 1.6, "threaded_requests": 900.0,
    "threaded_foreign": 0.05,
    "closed_us": 120.0, "closed_blocked": 0.5, "closed_requests": 800.0, "closed_foreign": 0.0,
}  # fmt: skip
#: Of a round, what no speed of the machine changes.
RAW = ("blocked", "requests", "foreign", "slack_us")


def kept_us(c: Costs, waits: int) -> float:
    """What the simulation charges for a keep-alive request that waits so often (sim/costs.py):
    recv of 1 KiB, work, send of 2 KiB."""
    ops = c.recv_us + c.recv_per_kb_us + c.request_us + c.send_us + 2 * c.send_per_kb_us
    return ops + 3 * c.step_us + waits * c.switch_us


def closed_us(c: Costs) -> float:
    """The same for a connection with one request: accept, the request, half a close, the end of
    the stream, the close, a look into the pipe of death."""
    ends = c.accept_us + c.connection_us + 2 * c.close_us + c.recv_us + c.get_us + 3 * c.step_us
    return kept_us(c, 0) + ends


def assembled(*rounds: dict[str, float]) -> Platform:
    """The platform of some rounds."""
    return assemble(rounds or (ROUND,), FACTS, fingerprint(), DATE)


# ---- from figures to costs -----------------------------------------------------------------------


def test_the_sum_of_the_costs_is_the_measured_whole() -> None:
    """Charged as the simulation charges, a request costs what it was measured to cost: without a
    wait, with one (of processes 58, of threads 52), on a connection of its own; and so much more
    after a rest (98: half of what a process loses is lost then), or after the application (90)."""
    costs = assembled().costs
    assert kept_us(costs, 0) == pytest.approx(30.0)
    assert kept_us(costs, 1) == pytest.approx(58.0)
    assert kept_us(costs, 0) + costs.thread_switch_us == pytest.approx(52.0)
    assert kept_us(costs, 1) + costs.stale_us / 2 == pytest.approx(98.0)
    assert costs.idle_us == 0
    assert kept_us(costs, 1) + costs.cold_us == pytest.approx(90.0)
    assert closed_us(costs) == pytest.approx(120.0)


def test_latency_is_what_the_server_does_not_use_of_a_round_trip() -> None:
    """100 us there and back, of which recv, send, two steps and a switch are the server's."""
    assert assembled().latency_us == pytest.approx((100 - 1 - 2 - 1 - 28) / 2)


def test_slow_rounds_are_scaled() -> None:
    """A machine that is half as fast for a while gives the same costs, and the timer slack, which
    is no computing, stays as it is."""
    slow = {name: value * (1 if name.endswith(RAW) else 2) for name, value in ROUND.items()}
    steady, bimodal = assembled(), assembled(ROUND, slow, ROUND)
    for name in Costs.__dataclass_fields__:
        assert getattr(bimodal.costs, name) == pytest.approx(getattr(steady.costs, name)), name
    assert bimodal.timer_slack_us == 80.0


def test_slices_that_others_disturbed_are_left_out() -> None:
    """Rounds in which others took more than a tenth of the core do not count for that slice, but
    the three best always do; the source says how many were used."""
    taken = {**ROUND, "kept_us": 90.0, "kept_foreign": 0.4}
    steady, disturbed = assembled(*[ROUND] * 3), assembled(*[ROUND] * 3, *[taken] * 5)
    assert disturbed.costs == steady.costs
    assert "3 of 8 rounds used" in disturbed.sources["switch_us"]
    hopeless = assembled(*[taken] * 4)
    assert hopeless.costs.switch_us == pytest.approx(90 - 30)
    assert "3 of 4 rounds used" in hopeless.sources["switch_us"]


def test_one_bad_round_does_no_harm() -> None:
    """The median holds against a round in which everything went wrong."""
    bad = {name: value * (1 if name.endswith("speed") else 50) for name, value in ROUND.items()}
    assert assembled(ROUND, bad, ROUND, ROUND).costs == assembled().costs


def test_no_cost_is_zero_or_negative() -> None:
    """Where the primitives already cost more than the whole, a rest of nearly nothing is kept."""
    small = {"unblocked_us": 1.0, "kept_us": 0.5, "threaded_us": 0.5, "closed_us": 1.0}
    costs = assembled({**ROUND, **small}).costs
    assert min(costs.request_us, costs.switch_us, costs.connection_us) > 0


def test_costs_follow_the_machine_s_speed() -> None:
    """at_speed scales the costs and says so, there and back; latency, which is no computing here,
    stays."""
    platform = assembled()
    assert speed_of(platform) == 500.0
    slow = at_speed(platform, 900.0)
    assert slow.costs.request_us == pytest.approx(1.8 * platform.costs.request_us)
    assert slow.latency_us == platform.latency_us
    assert speed_of(slow) == 900.0
    back = at_speed(slow, 500.0)
    assert back.costs.fork_us == pytest.approx(platform.costs.fork_us)
    assert back.sources["fork_us"].count("scaled") == 1


def test_nearly_the_same_speed_is_the_same_speed() -> None:
    """Differences that the loop's own scatter explains change nothing; nor does any speed where the
    profile does not say how fast the machine was."""
    platform = assembled()
    assert at_speed(platform, 600.0) is platform
    assert at_speed(platform, 420.0) is platform
    assert at_speed(Platform(), 900.0) == Platform()


def test_half_is_lost_when_the_probe_looks() -> None:
    """The rest of its measurement is as long as a process takes to lose half: what stale_us is
    twice the cost of."""
    assert Platform().stale_after_us == pytest.approx(REST_S * 1e6)


def test_a_core_that_costs_no_more_after_a_rest_is_not_stale() -> None:
    """A measured gain is scatter: no cost is below zero."""
    assert assembled({**ROUND, "rested_us": 50.0}).costs.stale_us == 0


def calibrated_platform() -> Platform:
    """The probed one, as if its cost of a request and its latency had been fitted to runs."""
    platform = assembled()
    told = provenance(f"{CALIBRATED}, real event, 18 runs, speed loop 500.0 us; fitted", DATE)
    sources = {**platform.sources, "request_us": told, "latency_us": told}
    request_us, latency_us = platform.costs.request_us, platform.latency_us
    return replace(
        platform,
        sources=sources,
        intervals={
            "request_us": (0.9 * request_us, 1.1 * request_us),
            "latency_us": (latency_us - 1, latency_us + 1),
        },
    )


@pytest.mark.parametrize("loop_us", [420.0, 510.0, 900.0])
def test_a_calibrated_profile_follows_every_speed(loop_us: float) -> None:
    """Small differences count, too: it was fitted with readings as a run has them. The intervals of
    costs are scaled with them; what is no cost keeps its own."""
    platform = calibrated_platform()
    assert speed_of(platform) == 500.0
    scaled = at_speed(platform, loop_us)
    factor = loop_us / 500
    assert scaled.costs.request_us == pytest.approx(factor * platform.costs.request_us)
    assert scaled.costs.fork_us == pytest.approx(factor * platform.costs.fork_us)
    assert scaled.latency_us == platform.latency_us
    low, high = platform.intervals["request_us"]
    assert scaled.intervals["request_us"] == pytest.approx((factor * low, factor * high))
    assert scaled.intervals["latency_us"] == platform.intervals["latency_us"]
    assert speed_of(scaled) == loop_us
    assert scaled.sources["latency_us"] == platform.sources["latency_us"]


def test_the_code_s_key_changes_with_the_folders_only() -> None:
    """The same folders give the same digits, more of them others."""
    assert code_key(("core", "real")) == code_key(("core", "real"))
    assert len(code_key(("core",))) == 8
    assert len({code_key(one) for one in (("core",), ("core", "real"), ("core", "sim"))}) == 3


# ---- on this machine -----------------------------------------------------------------------------


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    return tmp_path


@pytest.mark.real
def test_probe_measures_this_machine() -> None:
    """Two short rounds give a whole profile with sources, that can be written; progress is told and
    no process is left."""
    told: list[float] = []
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    platform = probe(told.append, rounds=2, slice_s=0.05)
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert parse_platform(format_platform(platform), "probe") == platform
    costs = platform.costs
    # A system call is some hundred nanoseconds at least, parsing some microseconds, a fork more.
    assert costs.recv_us > 0.1
    assert costs.request_us > 3.0
    assert costs.fork_us > 10 * costs.recv_us
    assert costs.connect_us > costs.recv_us
    assert platform.process_memory_kib > 100
    assert platform.parent_memory_kib > 1000
    assert platform.send_buffer_bytes > 4096
    assert platform.sources["fork_us"].count(fingerprint()["kernel"]) == 1  # type: ignore[arg-type]


@pytest.mark.real
def test_a_failing_probe_says_why() -> None:
    """What the measuring process wrote before it died is in the error."""
    with pytest.raises(KernelError, match="No module named 'no_such_module'"):
        probe(preload=("no_such_module",))


def test_local_platform_measures_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call measures and keeps, the second reads; refresh measures again; a file that is
    no profile of this version is measured anew."""
    calls: list[Any] = []

    def fake(progress: object) -> Platform:
        calls.append(progress)
        return replace(assembled(), cores=len(calls))

    monkeypatch.setattr(probe_module, "probe", fake)
    assert local_platform().cores == 1
    assert local_platform().cores == 1
    assert local_platform(refresh=True).cores == 2
    assert local_platform().cores == 2
    path = profile_path()
    assert own_cache in path.parents
    path.write_text("name = 3")
    assert local_platform().cores == 3
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_is_no_error(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands where the folder should be: the profile is measured each time."""
    (own_cache / "mpmlab").write_text("in the way")
    monkeypatch.setattr(probe_module, "probe", lambda _progress: assembled())
    assert local_platform() == assembled()
    assert local_platform() == assembled()
