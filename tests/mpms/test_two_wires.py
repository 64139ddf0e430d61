"""The simulation on counted bytes and on real bytes through h11 is one and the same trajectory."""

from __future__ import annotations

from collections.abc import Sized

import pytest

from mpmlab.bench.dummy import dummy_blob, dummy_bytes
from mpmlab.core.client_wire import BytesClient
from mpmlab.core.count_wire import CountClient, CountWire
from mpmlab.core.h11_wire import H11Wire
from tests.mpms.lab import Lab
from tests.mpms.loaded import PYTHONLIKE, plan_of, run_plan


class BytesWire(H11Wire):
    """H11Wire for the simulated application, whose answers are only lengths."""

    def respond(self, status: int, body: Sized, keep_alive: bool) -> bytes:
        return super().respond(status, bytes(len(body)), keep_alive)


def test_dummy_requests_are_equally_long() -> None:
    """The counted dummy request is as long as the real one."""
    assert len(dummy_blob()) == len(dummy_bytes())


@pytest.mark.parametrize("scenario", ["default", "connection-per-request"])
@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_real_bytes_give_the_same_trajectory(mpm: str, scenario: str) -> None:
    """Every operation of every thread happens at the same time, and every record is the same."""
    plan = plan_of(scenario, 5, 2.0)
    counted = Lab(mpm, {}, platform=PYTHONLIKE, wire=CountWire)
    spelled = Lab(mpm, {}, platform=PYTHONLIKE, wire=BytesWire, dummy=dummy_bytes)
    first = run_plan(counted, plan, client=CountClient)
    second = run_plan(spelled, plan, client=BytesClient)
    assert len(first.index) > 50
    assert (first.status == 200).all()
    assert first.last_byte_s.tobytes() == second.last_byte_s.tobytes()
    assert counted.world.digest == spelled.world.digest
