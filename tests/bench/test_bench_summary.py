"""Summaries against numbers worked out by hand: percentiles, windows, censoring, errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mpmlab.bench.measured import measured
from mpmlab.bench.summary import Summary, error_percent, quantile_ms, summarise
from mpmlab.load.recorder import Outcome, Records
from tests.bench.bench_data import failed, make_records, make_run, make_samples, ok


def summary_of(records: Records, **changes: object) -> Summary:
    """2 s of warm-up, 10 s in all, time-out 3 s."""
    run = dataclasses.replace(make_run("real", records), **changes)  # type: ignore[arg-type]
    return summarise(run, 2.0, 10.0, 3.0)


def test_percentiles_are_values_that_were_measured() -> None:
    """Of 1, 2, ... 1000 ms the p-percentile is the smallest with at least p at or below it."""
    rows = [ok(2 + 0.005 * i, (i + 1) / 1000) for i in reversed(range(1000))]
    found = summary_of(make_records(rows))
    assert found.p50_ms == pytest.approx(500)
    assert found.p90_ms == pytest.approx(900)
    assert found.p99_ms == pytest.approx(990)
    assert found.p999_ms == pytest.approx(999)
    assert found.mean_ms == pytest.approx(500.5)
    assert found.lower_bounds == ()


def test_one_request_is_every_percentile() -> None:
    """With one answer there is no interpolation and no failure."""
    found = summary_of(make_records([ok(5, 0.25)]))
    assert found.p50_ms == found.p999_ms == pytest.approx(250)
    assert quantile_ms(np.array([]), 0.5) is None


def test_the_window_is_closed_at_its_start_and_open_at_its_end() -> None:
    """A request planned at 2 s counts, one planned just before or at 10 s does not."""
    rows = [ok(1.999, 0.1), ok(2.0, 0.2), ok(9.999, 0.3), ok(10.0, 0.4)]
    found = summary_of(make_records(rows))
    assert (found.requests, found.completed) == (2, 2)
    assert found.offered_rps == pytest.approx(2 / 8)
    assert found.mean_ms == pytest.approx(250)


def test_throughput_counts_answers_that_came_inside_the_window() -> None:
    """What was planned inside but answered after 10 s is no throughput of the window; what was
    planned in the warm-up and answered inside is."""
    rows = [ok(1.0, 1.5), ok(5.0, 0.1), ok(9.0, 2.0)]
    found = summary_of(make_records(rows))
    assert found.throughput_rps == pytest.approx(2 / 8)
    assert found.completed == 2


def test_response_counts_from_the_plan_and_service_from_the_send() -> None:
    """A request planned at 5 s, sent 300 ms late and answered after 400 ms in all: response 400,
    service 100, lateness 300."""
    found = summary_of(make_records([ok(5.0, 0.4, late_s=0.3)]))
    assert found.p50_ms == pytest.approx(400)
    assert found.service_p50_ms == pytest.approx(100)
    assert found.lateness_p50_ms == pytest.approx(300)


def test_a_timeout_counts_with_at_least_the_timeout() -> None:
    """Nine answers of 10 ms and one time-out noted after 2.9 s: p50 and p90 are 10 ms, p99 is 3 s
    and marked as a lower bound, as is the mean; the time-out is an error too."""
    rows = [ok(3 + 0.1 * i, 0.01) for i in range(9)] + [failed(5, 2.9, Outcome.TIMEOUT)]
    found = summary_of(make_records(rows))
    assert found.p90_ms == pytest.approx(10)
    assert found.p99_ms == pytest.approx(3000)
    assert set(found.lower_bounds) == {"mean_ms", "p99_ms", "p999_ms"}
    assert (found.errors, found.errors_by_kind) == (1, {"timeout": 1})


def test_a_connect_timeout_that_waited_longer_keeps_its_time() -> None:
    """Waited 4.5 s from the planned send with a time-out of 3 s: 4.5 s it is."""
    found = summary_of(make_records([failed(5, 4.5, Outcome.CONNECT_TIMEOUT)]))
    assert found.p50_ms == pytest.approx(4500)
    assert "p50_ms" in found.lower_bounds


@pytest.mark.parametrize(
    "kind", [o for o in Outcome if o.name in ("CONNECT_REFUSED", "RESET", "HTTP_ERROR")]
)
def test_a_quick_failure_is_an_error_and_no_response_time(kind: Outcome) -> None:
    """A refusal after 1 ms must not make the median look good."""
    found = summary_of(make_records([failed(5, 0.001, kind), ok(6, 0.5)]))
    assert found.p50_ms == pytest.approx(500)
    assert found.errors_by_kind == {kind.name.lower(): 1}
    assert found.requests == found.completed + found.errors


def test_what_a_complete_run_never_sent_still_waited() -> None:
    """NOT_SENT in a complete run stands for an overloaded session: a lower bound of what it waited;
    without a time of its end it has none, but is an error all the same."""
    rows = [ok(3, 0.1), failed(4, 6.0, Outcome.NOT_SENT), failed(4, float("nan"), Outcome.NOT_SENT)]
    found = summary_of(make_records(rows))
    assert found.p99_ms == pytest.approx(6000)
    assert "p99_ms" in found.lower_bounds
    assert found.errors_by_kind == {"not_sent": 2}


def test_a_run_cut_short_has_a_shorter_window() -> None:
    """Stopped at 6 s: rates are over 2..6 s, what was under way then is an error without a time."""
    rows = [ok(3, 0.1), ok(5, 0.2), failed(5.9, 0.1, Outcome.UNFINISHED)]
    found = summary_of(make_records(rows, complete=False, end_s=6.0), cpu_s=2.0)
    assert found.throughput_rps == pytest.approx(2 / 4)
    assert found.cpu_utilisation == pytest.approx(0.5)
    assert found.p99_ms == pytest.approx(200)
    assert found.errors_by_kind == {"unfinished": 1}


def test_a_run_that_ended_in_its_warm_up_has_no_rates() -> None:
    """Nothing is divided by zero, nothing is made up."""
    found = summary_of(make_records([ok(0.5, 0.1)], complete=False, end_s=1.0), cpu_s=None)
    assert found.throughput_rps is None
    assert found.offered_rps is None
    assert found.p50_ms is None
    assert found.busy_mean is None
    assert found.cpu_utilisation is None


def test_busy_workers_are_averaged_inside_the_window() -> None:
    """Samples each second: 9 in the warm-up do not count, 1..8 after it do."""
    samples = make_samples([9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    found = summary_of(make_records([ok(5, 0.1)]), samples=samples)
    assert found.busy_mean == pytest.approx(4.5)
    assert found.idle_mean == pytest.approx(5.5)
    assert found.processes_mean == pytest.approx(2)


def test_cpu_and_memory_are_per_core_and_in_mib() -> None:
    """4 s of CPU in 8 s on two cores is a quarter; 65,536 KiB are 64 MiB."""
    records = make_records([ok(3 + i, 0.1) for i in range(5)])
    found = summary_of(records, server_cores=2)
    assert found.cpu_utilisation == pytest.approx(0.25)
    assert found.cpu_per_request_us == pytest.approx(800_000)
    assert found.memory_mib == pytest.approx(64)


@pytest.mark.parametrize(
    ("simulated", "real", "expected"),
    [(110.0, 100.0, 10.0), (90.0, 100.0, -10.0), (0.0, 0.0, 0.0), (1.0, 0.0, None),
     (None, 1.0, None), (1.0, None, None)],
)  # fmt: skip
def test_error_percent(simulated: float | None, real: float | None, expected: float | None) -> None:
    """Relative to the real value; no meaning where that is zero or one is missing."""
    assert error_percent(simulated, real) == (None if expected is None else pytest.approx(expected))


def test_measured_rows_are_in_order_of_planning() -> None:
    """Records come in order of ending; the selection is by plan."""
    records = make_records([ok(4, 0.3, 0.03), ok(3, 0.2, 0.02), ok(2, 0.1, 0.01)])
    assert measured(records, 2.0, 10.0, 3.0).lateness_s == pytest.approx([0.01, 0.02, 0.03])
