"""The parts of a link that need no network: queueing arithmetic, accounts, what may be asked."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from random import Random

import pytest

from mpmlab.real.link_account import ACCOUNT_BYTES, LATEST_US, STEP_US, STEPS, Account, since
from mpmlab.real.link_check import train
from mpmlab.real.link_forwarder import BATCH, Direction, Order
from mpmlab.real.link_netem import netem_options
from mpmlab.real.link_pipe import UNPACED_BYTES, Pipe, Way
from mpmlab.real.link_spec import DEFAULT_MTU, LinkError, LinkSpec

pytestmark = pytest.mark.real


def no_chance() -> float:
    """For links that lose nothing: nobody may ask."""
    raise AssertionError("a direction without loss asked for chance")


def dues(pipe: Pipe) -> list[float]:
    return [due_s for due_s, _packet in pipe.packets]


# ---- one direction -------------------------------------------------------------------------------


def test_without_a_rate_every_packet_is_late_by_the_delay() -> None:
    """Arrival plus delay, whatever the size, in the order of arrival."""
    pipe = Pipe(Way(0.25, 0.0, UNPACED_BYTES), no_chance)
    for at_s, packet in ((1.0, b"a"), (1.0, b"b" * 1500), (1.5, b"c")):
        pipe.take(at_s, packet)
    assert dues(pipe) == [1.25, 1.25, 1.75]
    assert [pipe.give() for _ in range(3)] == [b"a", b"b" * 1500, b"c"]
    assert not pipe.packets


def test_a_rate_spaces_packets_by_their_size() -> None:
    """Packets that come together leave size/rate apart; after a pause the line is free again."""
    pipe = Pipe(Way(0.5, 1000.0, 10_000), no_chance)
    for size in (500, 250, 125):
        pipe.take(2.0, bytes(size))
    assert dues(pipe) == [3.0, 3.25, 3.375]
    pipe.take(10.0, bytes(1000))
    assert dues(pipe)[-1] == 11.5


def test_the_queue_drops_the_tail_and_only_that() -> None:
    """What waits is bounded by queue_bytes, as the line drains there is room again, and a dropped
    packet delays nobody."""
    pipe = Pipe(Way(0.0, 1000.0, 1000), no_chance)
    for _ in range(6):
        pipe.take(0.0, bytes(250))
    assert (len(pipe.packets), pipe.dropped) == (4, 2)
    pipe.take(0.125, bytes(250))  # 125 bytes have left, 250 do not fit
    assert pipe.dropped == 3
    pipe.take(0.125, bytes(125))
    pipe.take(0.25, bytes(125))
    assert dues(pipe) == [0.25, 0.5, 0.75, 1.0, 1.125, 1.25]
    assert pipe.dropped == 3


def test_without_a_rate_there_is_a_limit_too() -> None:
    """UNPACED_BYTES under way, and room again for what was given out."""
    pipe = Pipe(Way(1.0, 0.0, UNPACED_BYTES), no_chance)
    half = bytes(UNPACED_BYTES // 2)
    for _ in range(3):
        pipe.take(0.0, half)
    assert (len(pipe.packets), pipe.dropped) == (2, 1)
    pipe.give()
    pipe.take(0.0, half)
    assert (len(pipe.packets), pipe.dropped) == (2, 1)


def test_loss_is_the_share_asked_for_and_takes_no_bandwidth() -> None:
    """A seed gives the same losses again; each packet is lost, dropped or under way."""
    runs = []
    for _ in range(2):
        pipe = Pipe(Way(0.0, 1e6, 2_000_000, loss=0.1), Random(7).random)
        for number in range(10_000):
            pipe.take(0.0, number.to_bytes(100, "big"))
        runs.append([packet for _due, packet in pipe.packets])
        assert len(pipe.packets) + pipe.lost == 10_000
        assert 900 < pipe.lost < 1100  # 3.3 standard deviations of 30
        assert dues(pipe)[-1] == pytest.approx(len(pipe.packets) * 100 / 1e6)
    assert runs[0] == runs[1]


# ---- the forwarder's directions ------------------------------------------------------------------


class Line:
    """A direction over two socket pairs instead of TUN devices: each message is a packet."""

    def __init__(self, ours: contextlib.ExitStack, way: Way) -> None:
        kind = socket.SOCK_SEQPACKET
        self.sender, source = socket.socketpair(socket.AF_UNIX, kind)
        sink, self.receiver = socket.socketpair(socket.AF_UNIX, kind)
        for end in (self.sender, source, sink, self.receiver):
            ours.enter_context(end)
            end.setblocking(False)
        self.account = Account(memoryview(bytearray(ACCOUNT_BYTES)), 0)
        self.pipe = Pipe(way, no_chance)
        self.direction = Direction(
            source.fileno(), sink.fileno(), DEFAULT_MTU, self.pipe, self.account
        )

    def received(self) -> list[bytes]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.receiver.recv(DEFAULT_MTU))
        return found


@pytest.fixture
def ours() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_a_direction_holds_packets_until_they_are_due(ours: contextlib.ExitStack) -> None:
    """Nothing comes out early, everything comes out whole and in order, and all of it is counted
    with its lateness."""
    line = Line(ours, Way(0.02, 0.0, UNPACED_BYTES))
    packets = [bytes([number]) * (number + 1) for number in range(5)]
    before_s = time.monotonic()
    for packet in packets:
        line.sender.send(packet)
    line.direction.fetch()
    due_s = line.direction.deliver()
    assert line.received() == []
    assert due_s >= before_s + 0.02
    while due_s < float("inf"):
        due_s = line.direction.deliver()
    assert time.monotonic() >= before_s + 0.02
    assert line.received() == packets
    traffic = line.account.traffic()
    assert (traffic.packets, traffic.bytes, traffic.dropped, traffic.lost) == (5, 15, 0, 0)
    assert sum(line.account.lateness) == 5


def test_a_direction_takes_and_gives_by_the_batch(ours: contextlib.ExitStack) -> None:
    """However much has come, the other direction gets its turn after BATCH packets."""
    line = Line(ours, Way(0.0, 0.0, UNPACED_BYTES))
    for _ in range(BATCH + 3):
        line.sender.send(b"x")
    line.direction.fetch()
    assert len(line.pipe.packets) == BATCH
    line.direction.fetch()
    assert len(line.pipe.packets) == BATCH + 3
    assert line.direction.deliver() <= time.monotonic()
    assert len(line.pipe.packets) == 3
    assert line.direction.deliver() == float("inf")
    assert len(line.received()) == BATCH + 3


def test_drops_reach_the_account(ours: contextlib.ExitStack) -> None:
    """What the queue had no room for is told at once."""
    line = Line(ours, Way(0.0, 1000.0, 3000))
    for _ in range(5):
        line.sender.send(bytes(1000))
    line.direction.fetch()
    assert line.account.traffic().dropped == 2


def test_a_forwarder_whose_maker_is_gone_does_not_begin() -> None:
    """It could not be told any more that it is not wanted."""
    way = asdict(Way(0.0, 0.0, UNPACED_BYTES))
    order = Order(1 << 30, 0, 0, 0, 0, way, way, DEFAULT_MTU, 0, [])
    done = subprocess.run(
        [sys.executable, "-m", "mpmlab.real.link_forwarder", json.dumps(asdict(order))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "is gone" in done.stderr


# ---- accounts ------------------------------------------------------------------------------------


def test_lateness_is_told_to_the_next_step_above() -> None:
    """Quantiles are the upper ends of steps; the last step takes the rest; nothing gives None."""
    account = Account(memoryview(bytearray(ACCOUNT_BYTES)), 1)
    assert account.traffic().late_p50_us is None
    account.lateness[0] = 50
    account.lateness[3] = 49
    assert account.traffic().late_p50_us == STEP_US
    assert account.traffic().late_p99_us == 4 * STEP_US
    account.lateness[STEPS - 1] = 10
    assert account.traffic().late_p99_us == LATEST_US


def test_counts_can_be_taken_from_some_moment_on() -> None:
    """The difference of two copies, lateness included."""
    memory = memoryview(bytearray(ACCOUNT_BYTES))
    down, up = Account(memory, 0), Account(memory, 1)
    down.delivered(10, 1000)
    down.lateness[STEPS - 1] = 10
    before = bytes(memory)
    down.delivered(2, 300)
    down.lateness[1] = 2
    up.missed(4, 5)
    went_down, went_up = since(before, bytes(memory))
    assert (went_down.packets, went_down.bytes) == (2, 300)
    assert went_down.late_p99_us == 2 * STEP_US
    assert (went_up.dropped, went_up.lost, went_up.late_p50_us) == (4, 5, None)


def test_the_two_directions_have_accounts_of_their_own() -> None:
    """In the same memory, seen by whoever maps it, and one does not write into the other's."""
    memory = memoryview(bytearray(ACCOUNT_BYTES))
    down, up = Account(memory, 0), Account(memory, 1)
    down.delivered(3, 4500)
    down.missed(2, 1)
    down.lateness[STEPS - 1] += 3
    assert up.traffic() == Account(memoryview(bytearray(ACCOUNT_BYTES)), 1).traffic()
    seen = Account(memory, 0).traffic()
    assert (seen.packets, seen.bytes, seen.dropped, seen.lost) == (3, 4500, 2, 1)


# ---- what may be asked ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"rtt_s": -0.001}, "rtt_s"),
        ({"rtt_s": 20.0}, "rtt_s"),
        ({"rtt_s": float("nan")}, "rtt_s"),
        ({"down_bytes_per_s": -1.0}, "down_bytes_per_s"),
        ({"up_bytes_per_s": 10.0}, "up_bytes_per_s"),
        ({"up_bytes_per_s": float("inf")}, "up_bytes_per_s"),
        ({"down_bytes_per_s": float("nan")}, "down_bytes_per_s"),
        ({"loss": 1.0}, "loss"),
        ({"loss": -0.1}, "loss"),
        ({"loss": float("nan")}, "loss"),
        ({"mtu": 100}, "mtu"),
        ({"queue_bytes": 2999}, "queue_bytes"),
    ],
)
def test_what_makes_no_link_is_named(wrong: dict[str, float], name: str) -> None:
    """The error names the figure, its value, and what is accepted."""
    with pytest.raises(LinkError, match=f"{name} = .*expected"):
        LinkSpec(**{"rtt_s": 0.02, **wrong}).check()  # type: ignore[arg-type]


def test_what_makes_a_link_is_accepted() -> None:
    """The limits themselves are inside."""
    for spec in (
        LinkSpec(0.0),
        LinkSpec(10.0, 1500.0, 1500.0, 0.99, 3000),
        LinkSpec(0.02, mtu=576),
        LinkSpec(0.02, mtu=65535),
    ):
        spec.check()
        assert LinkSpec(**json.loads(json.dumps(spec.figures()))) == spec


def test_a_queue_holds_a_round_trip_or_64_packets() -> None:
    """By default the larger of both; each direction by its own bandwidth; as asked if asked."""
    spec = LinkSpec(0.1, down_bytes_per_s=2e6, up_bytes_per_s=1e5, loss=0.25)
    assert spec.down == Way(0.05, 2e6, 200_000, 0.25)
    assert spec.up == Way(0.05, 1e5, 64 * 1500, 0.25)
    assert LinkSpec(0.1, down_bytes_per_s=2e6, queue_bytes=5000).down.queue_bytes == 5000
    assert LinkSpec(0.1, queue_bytes=5000).down.queue_bytes == UNPACED_BYTES


@pytest.mark.parametrize("rate", [1500.0, 7e3, 1.25e6, 12.5e6, 1e9])
@pytest.mark.parametrize("queue", [None, 3000, 10_000_000])
def test_the_train_that_measures_fits_the_queue(rate: float, queue: int | None) -> None:
    """Not one packet of it is dropped, and it takes no longer than 0.2 s or 2 packets."""
    way = LinkSpec(0.02, down_bytes_per_s=rate, queue_bytes=queue).down
    count, size = train(way, DEFAULT_MTU)
    pipe = Pipe(way, no_chance)
    for _ in range(count):
        pipe.take(0.0, bytes(size))
    assert pipe.dropped == 0
    assert count >= 2
    assert size <= DEFAULT_MTU
    assert count * size / rate <= 0.2 or count == 2


def test_netem_is_told_the_same() -> None:
    """Its delay is half the round trip, its rate counts what ours does, and its limit, which counts
    delayed packets, too, holds queue and delay line."""
    way = LinkSpec(0.02, down_bytes_per_s=1.25e6, loss=0.015).down
    assert " ".join(netem_options(way, 1500)) == (
        "limit 73 delay 10000us rate 10000000bit -14 loss random 1.500000%"
    )
    free = netem_options(LinkSpec(0.0).down, 1500)
    assert " ".join(free) == f"limit {-(-UNPACED_BYTES // 1500)} delay 0us"
