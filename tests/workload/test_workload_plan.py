"""The plan: invariants, hash, file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.errors import PlanError
from mpmlab.workload.plan import Plan

VISITORS = Group("visitors", True, ClientKind(rtt_s=0.02))
HOLDERS = Group("holders", False, ClientKind(hold_s=5))


def small(**changes: Any) -> Plan:
    """Two sessions of two and one requests, the second not measured, with some columns changed."""
    columns: dict[str, Any] = {
        "session_start_us": [0, 500_000],
        "session_first": [0, 2],
        "session_requests": [2, 1],
        "session_group": [0, 1],
        "session_cycle": [False, False],
        "planned_us": [0, -1, 500_000],
        "think_us": [0, 1000, 0],
        "klass": [0, 1, 0],
        "cpu_us": [1, 2, 3],
        "wait_us": [4, 5, 6],
        "request_bytes": [0, 0, 7],
        "response_bytes": [8, 9, 10],
        "classes": ("a", "b"),
        "groups": (VISITORS, HOLDERS),
        "arrivals": "poisson",
        "duration_us": 1_000_000,
        "warmup_us": 200_000,
        "seed": 1,
        "scenario": "small",
    }
    columns.update(changes)
    return Plan(**columns)


def test_columns_are_typed_and_read_only() -> None:
    """Whatever the caller gave, the plan holds the stated types, and nobody can change them."""
    plan = small()
    assert plan.session_requests.dtype == np.int32
    assert plan.klass.dtype == np.int16
    assert plan.planned_us.dtype == np.int64
    assert (plan.sessions, plan.requests) == (2, 3)
    with pytest.raises(ValueError, match="read-only"):
        plan.cpu_us[0] = 9


def test_the_plan_does_not_share_the_callers_array() -> None:
    """Changing the array that was passed in does not change the plan."""
    cpu = np.array([1, 2, 3])
    plan = small(cpu_us=cpu)
    cpu[0] = 99
    assert plan.cpu_us[0] == 1


def test_hash_is_pinned() -> None:
    """The canonical bytes are part of the file format: this hash holds on every platform."""
    assert small().hash == "e07c59d01ff3346cb6f1de3197a4b7997f1470061938362f2ff06836b772d8b2"


@pytest.mark.parametrize(
    "change",
    [
        {"session_start_us": [0, 500_001], "planned_us": [0, -1, 500_001]},
        {"session_group": [0, 0]},
        {"session_cycle": [False, True]},
        {"groups": (VISITORS, Group("holders", False, ClientKind(hold_s=6)))},
        {"groups": (VISITORS, Group("holders", True, ClientKind(hold_s=5)))},
        {"groups": (VISITORS, Group("others", False, ClientKind(hold_s=5)))},
        {"arrivals": "constant"},
        {"session_first": [0, 1], "session_requests": [1, 2], "planned_us": [0, 500_000, -1]},
        {"think_us": [0, 1001, 0]},
        {"klass": [0, 1, 1]},
        {"cpu_us": [1, 2, 4]},
        {"wait_us": [4, 5, 7]},
        {"request_bytes": [0, 1, 7]},
        {"response_bytes": [8, 9, 11]},
        {"classes": ("a", "c")},
        {"duration_us": 1_000_001},
        {"warmup_us": 0},
        {"seed": 2},
        {"scenario": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_is_hashed(change: dict[str, Any]) -> None:
    """No two plans that differ in anything share a hash; equality follows the hash."""
    assert small(**change).hash != small().hash
    assert small(**change) != small()
    assert small() == small()
    assert hash(small()) == hash(small())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"cpu_us": [1, 2]}, "equally long"),
        ({"cpu_us": [1.5, 2, 3]}, "cpu_us must be one row"),
        ({"cpu_us": [[1, 2, 3]]}, "cpu_us must be one row"),
        ({"klass": [0, 40_000, 0]}, "klass holds values that do not fit"),
        ({"klass": [0, 2, 0]}, "klass names class 2"),
        ({"wait_us": [0, -1, 0]}, "wait_us must not be negative"),
        ({"session_requests": [2, 2]}, "session_requests"),
        ({"session_requests": [3, 0]}, "session_requests"),
        ({"session_first": [0, 1]}, "session_first"),
        ({"session_start_us": [500_000, 0]}, "must not decrease"),
        ({"planned_us": [1, -1, 500_000]}, "first request of each session"),
        ({"planned_us": [0, -2, 500_000]}, "planned_us must be -1, or"),
        ({"planned_us": [0, 1_000_000, 500_000]}, "planned_us must be -1, or"),
        ({"session_cycle": [True, False], "planned_us": [0, 5, 500_000]}, "in a cycle"),
        ({"session_group": [0, 2]}, "session_group must be from 0 to 1"),
        ({"session_group": [-1, 0]}, "session_group must be from 0 to 1"),
        ({"groups": ()}, "no group is measured"),
        ({"groups": (HOLDERS, HOLDERS)}, "no group is measured"),
        ({"groups": (VISITORS, VISITORS)}, "two groups have one name"),
        ({"warmup_us": 1_000_000}, "warm-up"),
        (
            {
                "session_start_us": [300_000],
                "session_first": [0],
                "session_requests": [3],
                "session_group": [0],
                "session_cycle": [False],
                "planned_us": [300_000, -1, 200_000],
            },
            "absolute times of a session",
        ),
        (
            {
                name: np.zeros(0, dtype=np.bool_ if name == "session_cycle" else np.int64)
                for name in (
                    *("session_start_us", "session_first", "session_requests"),
                    *("session_group", "session_cycle"),
                    *("planned_us", "think_us", "klass", "cpu_us", "wait_us"),
                    *("request_bytes", "response_bytes"),
                )
            },
            "not one request",
        ),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], complaint: str) -> None:
    """A plan that no client could carry out does not come into being."""
    with pytest.raises(PlanError, match=complaint):
        small(**change)


def test_save_and_load(tmp_path: Path) -> None:
    """A round trip keeps every column, the metadata and the hash, and leaves no scratch file."""
    plan, path = small(scenario="naïve"), tmp_path / "plan.npz"
    plan.save(path)
    again = Plan.load(path)
    assert again == plan
    assert again.classes == plan.classes
    assert again.groups == plan.groups
    assert again.response_bytes.tolist() == [8, 9, 10]
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.npz"]


def test_saving_over_an_old_file(tmp_path: Path) -> None:
    """An existing file is replaced, not written into: another link to the old one keeps it."""
    path = tmp_path / "plan.npz"
    small().save(path)
    old = tmp_path / "old.npz"
    old.hardlink_to(path)
    small(seed=2).save(path)
    assert Plan.load(path).seed == 2
    assert Plan.load(old) == small()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_plan(tmp_path: Path, content: bytes) -> None:
    """One clear error that names the file."""
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=r"x\.npz: not a plan file"):
        Plan.load(path)


def test_a_cut_off_or_tampered_file(tmp_path: Path) -> None:
    """Half a file is refused; so is one whose arrays do not give the hash that it states."""
    path = tmp_path / "plan.npz"
    small().save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(PlanError, match="not a plan file"):
        Plan.load(path)
    small().save(path)
    with np.load(path) as stored:
        columns = {**stored}
    columns["cpu_us"] = columns["cpu_us"] + 1
    np.savez(path, **columns)
    with pytest.raises(PlanError, match="damaged"):
        Plan.load(path)
    np.savez(path, cpu_us=np.arange(3))
    with pytest.raises(PlanError, match="not a plan file"):
        Plan.load(path)


def test_offered_rate_and_earliest() -> None:
    """Thinks add up from the last absolute time; the rate counts the measured requests of
    [warm-up, duration) only; a measured closed workload offers none, one beside it changes
    nothing."""
    plan = small(think_us=[0, 300_000, 0])
    assert plan.earliest_us().tolist() == [0, 300_000, 500_000]
    assert plan.offered_rate == pytest.approx(1 / 0.8)
    assert small(think_us=[0, 300_000, 0], session_group=[0, 0]).offered_rate == 2 / 0.8
    assert small(session_cycle=[True, False]).offered_rate is None
    assert small(think_us=[0, 300_000, 0], session_cycle=[False, True]).offered_rate == 1 / 0.8


def test_who_is_measured() -> None:
    """Sessions and requests are measured as their group is; `cycle` says whether any session
    cycles."""
    plan = small()
    assert plan.measured_sessions().tolist() == [True, False]
    assert plan.request_measured().tolist() == [True, True, False]
    assert not plan.cycle
    assert small(session_cycle=[False, True]).cycle


def test_older_formats_are_refused(tmp_path: Path) -> None:
    """A file of another format is not guessed at."""
    path = tmp_path / "plan.npz"
    small().save(path)
    with np.load(path) as stored:
        columns = {**stored}
    columns["header"] = np.array('{"format": "mpmlab-plan-1", "hash": ""}')
    np.savez(path, **columns)
    with pytest.raises(PlanError, match="format 'mpmlab-plan-1'; this reads 'mpmlab-plan-2'"):
        Plan.load(path)


def test_describe_names_what_matters() -> None:
    """The paragraph has size, rate, connections, seed and the beginning of the hash."""
    text = small().describe()
    for part in ("3 requests in 2 sessions", "requests/s offered", "seed 1", small().hash[:12]):
        assert part in text
    assert (
        "1 of visitors: keep-alive, 20 ms round trip; 1 of holders, not measured: keep-al" in text
    )
    assert "closed loop" in small(session_cycle=[True, False]).describe()
    alone = small(groups=(VISITORS,), session_group=[0, 0]).describe()
    assert "in 2 sessions (keep-alive, 20 ms round trip) over 1 s" in alone
    assert "\n" not in text
