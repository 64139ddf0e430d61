"""The benchmark of httpd's handler measures what it says, in a short run. (Long ones are their own
affair.)"""

from __future__ import annotations

import pytest

from benchmarks import handler_cost
from benchmarks.programs import missing
from benchmarks.slices import ratio_of
from mpmlab.core.directives import effective
from tests.httpd.httpd_lab import MPMS, needs_httpd, program


@pytest.mark.parametrize("mpm", MPMS)
def test_the_pool_is_larger_than_the_load(mpm: str) -> None:
    """With workers to spare for the status and for event's idle connections, and no change."""
    settings = effective(mpm, handler_cost.pool_of(mpm))
    assert not [one for one in settings.messages if one.level == "warn"]
    started = settings.start_servers * settings.threads_per_child
    assert started == settings.max_request_workers == 2 * handler_cost.CONNECTIONS
    assert settings.max_keep_alive_requests == 0


@needs_httpd
@pytest.mark.real
@pytest.mark.skipif(bool(missing(["wrk"])), reason=missing(["wrk"]))
def test_a_short_run_measures_handler_and_sampling(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is lost, the handler costs about as much as a file or some of them, the status comes
    about as often as it says, and both tables are told. (Who else runs here may be anybody.)"""
    costs = handler_cost.measure(program(), "worker", pairs=2, seconds=1)
    for pair in (*costs.handler, *costs.sampling):
        for one in (pair.first, pair.second):
            assert one.lost == 0
            assert one.per_s > 500
            assert 5 < one.cpu_us < 2000
    ratio, count = ratio_of(costs.handler, lambda one: one.cpu_us)
    assert ratio is not None
    assert count == 2
    assert 0.5 < ratio.value < 10
    for pair in costs.sampling:
        assert pair.first.samples_per_s == 0
        assert 5 < pair.second.samples_per_s <= handler_cost.SAMPLES_PER_S
    assert len(costs.sample_us) == handler_cost.SAMPLES_PER_S
    assert min(costs.sample_us) > 0
    handler_cost.tell({"worker": costs}, 1)
    told = capsys.readouterr().out
    assert "handler / static" in told
    assert "us per report, idle" in told
