"""Objectives: what is understood, what is refused and how, and how runs are held against them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mpmlab.bench.measured import Measured, measured
from mpmlab.bench.slo import Finding, Objective, SloError, all_met, judge, parse
from mpmlab.load.recorder import Outcome
from tests.bench.bench_data import Row, failed, make_records, ok


def seen(rows: list[Row]) -> Measured:
    """2 s of warm-up, 10 s in all, time-out 3 s."""
    return measured(make_records(rows), 2.0, 10.0, 3.0)


def finding(text: str, rows: list[Row]) -> Finding:
    """Of one objective."""
    (found,) = judge(parse(text), seen(rows))
    return found.finding


#: 1, 2, ... 1000 ms.
THOUSAND = [ok(2 + 0.005 * i, (i + 1) / 1000) for i in range(1000)]


# ---- reading ------------------------------------------------------------------------------------


def test_the_text_of_the_manual() -> None:
    """Limits come in ms, as a fraction and per second."""
    assert parse("p99<50ms,errors<0.1%,throughput>100") == (
        Objective("p99", "<", 50.0, "ms", "p99<50ms"),
        Objective("errors", "<", 0.001, "", "errors<0.1%"),
        Objective("throughput", ">", 100.0, "/s", "throughput>100"),
    )


@pytest.mark.parametrize(
    ("text", "metric", "sign", "limit"),
    [
        ("p99.9<=1.5s", "p99.9", "<=", 1500.0),
        (" P95 < 250 US ", "p95", "<", 0.25),
        ("p50<300µs", "p50", "<", 0.3),
        ("service_p99<20ms", "service_p99", "<", 20.0),
        ("mean<1e2ms", "mean", "<", 100.0),
        ("max<.5s", "max", "<", 500.0),
        ("errors<=0.001", "errors", "<=", 0.001),
        ("rate>=100/s", "throughput", ">=", 100.0),
        ("throughput>1e3rps", "throughput", ">", 1000.0),
    ],
)
def test_ways_to_write_it(text: str, metric: str, sign: str, limit: float) -> None:
    """Units, spaces, capitals, other names."""
    (found,) = parse(text)
    assert (found.metric, found.sign) == (metric, sign)
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "piece", "accepted"),
    [
        ("p99<50", "p99<50", "its unit us, ms or s"),
        ("p50<1ms, p99<50m", "p99<50m", "its unit us, ms or s"),
        ("p100<5ms", "p100<5ms", "above 0 and below 100"),
        ("p0<5ms", "p0<5ms", "above 0 and below 100"),
        ("errors<5", "errors<5", "a fraction such as 0.001"),
        ("errors<5ms", "errors<5ms", "a fraction such as 0.001"),
        ("throughput>5ms", "throughput>5ms", "answers per second"),
        ("latency<5ms", "latency<5ms", "p50, p95, p99.9"),
        ("p<5ms", "p<5ms", "p50, p95, p99.9"),
        ("p99=5ms", "p99=5ms", "<, <=, > or >="),
        ("p99<fast", "p99<fast", "as in 'p99<50ms,"),
        ("p99<5ms,", "''", "as in 'p99<50ms,"),
        ("", "''", "as in 'p99<50ms,"),
        ("mean<1e999s", "mean<1e999s", "its unit us, ms or s"),
    ],
)
def test_what_is_not_understood_is_named(text: str, piece: str, accepted: str) -> None:
    """The message has the piece at fault and what would be accepted in its place."""
    with pytest.raises(SloError) as caught:
        parse(text)
    assert piece in str(caught.value)
    assert accepted in str(caught.value)


def test_two_limits_of_one_kind_are_refused() -> None:
    """One of them would be for nothing; a limit from below and one from above are two kinds."""
    with pytest.raises(SloError, match="p99 has such a limit already"):
        parse("p99<50ms,p99<=60ms")
    assert len(parse("throughput>100,throughput<200")) == 2


def test_an_objective_knows_its_quantile() -> None:
    """p99.9 is 0.999 and not the number next to it; others have none."""
    found = [one.quantile for one in parse("p99.9<1s,service_p50<1s,mean<1s,max<1s,errors<1")]
    assert found == [0.999, 0.5, None, None, None]


# ---- judging ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("p50<1s", 500), ("p99<1s", 990), ("p99.9<1s", 999), ("max<2s", 1000), ("mean<1s", 500.5),
     ("p12.34<1s", 124)],
)  # fmt: skip
def test_percentiles_are_order_statistics(text: str, value: float) -> None:
    """Any percentile, as the summary has them: a value that was measured."""
    (found,) = judge(parse(text), seen(THOUSAND))
    assert found.value == pytest.approx(value)
    assert found.finding is Finding.MET


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p99<989ms", Finding.MISSED),
        ("p99<991ms", Finding.MET),
        ("p99>991ms", Finding.MISSED),
        ("p99>=989ms", Finding.MET),
    ],
)
def test_signs(text: str, expected: Finding) -> None:
    """p99 is 990 ms."""
    assert finding(text, THOUSAND) is expected


def test_equal_to_the_limit() -> None:
    """Exactly as many as allowed is not fewer."""
    rows = [ok(3, 0.1), failed(4, 0.1, Outcome.RESET)]
    assert finding("errors<50%", rows) is Finding.MISSED
    assert finding("errors<=50%", rows) is Finding.MET


def test_errors_are_a_share_of_what_was_asked() -> None:
    """One failure of four; a request that the client abandoned is none of them."""
    rows = [ok(3, 0.1), ok(4, 0.1), ok(5, 0.1), failed(6, 0.1, Outcome.HTTP_ERROR)]
    rows += [failed(7, 0.1, Outcome.ABANDONED)] * 4
    (found,) = judge(parse("errors<30%"), seen(rows))
    assert found.value == pytest.approx(0.25)
    assert finding("errors<1%", rows[:3] + rows[4:]) is Finding.MET


def test_time_outs_and_what_was_never_sent_are_errors() -> None:
    """Nobody got an answer."""
    for outcome in (Outcome.TIMEOUT, Outcome.CONNECT_TIMEOUT, Outcome.NOT_SENT):
        assert finding("errors<40%", [ok(3, 0.1), failed(4, 3.0, outcome)]) is Finding.MISSED


def test_throughput_counts_good_answers_in_the_window() -> None:
    """Four in eight seconds."""
    rows = [ok(3 + i, 0.1) for i in range(4)] + [failed(8, 0.1, Outcome.HTTP_ERROR)]
    (found,) = judge(parse("throughput>=0.5"), seen(rows))
    assert found.value == pytest.approx(0.5)
    assert found.finding is Finding.MET


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p99<2s", Finding.MISSED),  # it took at least 3 s
        ("p99<5s", Finding.UNKNOWN),  # perhaps more than 5
        ("p99>2s", Finding.MET),
        ("p99>5s", Finding.UNKNOWN),
        ("p50<1s", Finding.MET),  # the time-out is far beyond
        ("mean<5s", Finding.UNKNOWN),
        ("mean<100ms", Finding.MISSED),
        ("max<5s", Finding.UNKNOWN),
        ("service_p50<1s", Finding.MET),
        ("service_p99<1s", Finding.UNKNOWN),
        ("service_mean<1s", Finding.UNKNOWN),
    ],
)
def test_a_lower_bound_decides_only_what_it_can(text: str, expected: Finding) -> None:
    """Nine answers of 10 ms and a time-out of 3 s."""
    rows = [ok(3 + 0.1 * i, 0.01) for i in range(9)] + [failed(5, 2.9, Outcome.TIMEOUT)]
    assert finding(text, rows) is expected


def test_nothing_measured_is_unknown() -> None:
    """No answers, no requests, no window: no value, and not met."""
    for text in ("p99<1s", "service_mean<1s", "max<1s", "errors<1%"):
        assert finding(text, [ok(1, 0.1)]) is Finding.UNKNOWN
    short = measured(make_records([], complete=False, end_s=1.0), 2.0, 10.0, 3.0)
    (found,) = judge(parse("throughput>1"), short)
    assert (found.value, found.finding) == (None, Finding.UNKNOWN)
    assert not all_met([found])


def test_service_starts_at_the_actual_send() -> None:
    """Sent 300 ms late and answered after 400 ms: a service of 100 ms."""
    rows = [ok(5.0, 0.4, late_s=0.3)]
    assert finding("service_p50<150ms", rows) is Finding.MET
    assert finding("p50<150ms", rows) is Finding.MISSED


def test_all_must_be_met() -> None:
    """One missed of two is missed."""
    found = judge(parse("p50<600ms,p99<600ms"), seen(THOUSAND))
    assert [one.finding for one in found] == [Finding.MET, Finding.MISSED]
    assert not all_met(found)
    assert all_met(found[:1])


def test_judgements_are_json() -> None:
    """Plain values, with what was asked and what was found."""
    (found,) = judge(parse("p99<5s"), seen([ok(3, 0.25)]))
    assert json.loads(json.dumps(found.to_dict())) == {
        "metric": "p99", "sign": "<", "limit": 5000.0, "unit": "ms", "text": "p99<5s",
        "value": pytest.approx(250), "lower_bound": False, "finding": "met",
    }  # fmt: skip


def test_a_percentile_of_many_values_is_the_right_one() -> None:
    """99.9 % of a thousand is the 999th, though 99.9 / 100 is more than 0.999."""
    rows = [ok(2 + 0.005 * i, 0.001) for i in np.arange(999)] + [ok(7, 1.0)]
    assert finding("p99.9<10ms", rows) is Finding.MET
