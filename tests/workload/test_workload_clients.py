"""[client]: every field by its name, ranges, what does not go together; and the value itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mpmlab.workload.clients import ClientKind, Group
from mpmlab.workload.errors import ScenarioError
from mpmlab.workload.plan import Plan
from tests.workload.workload_samples import plan_with, scenario_with

SESSIONS = 'kind = "sessions"\nrate_per_s = 5\nrequests_per_session = 4\n'
CLOSED = 'kind = "closed"\nusers = 3\n'
POISSON = 'kind = "poisson"\nrate_per_s = 5\n'
#: A value for every field but keep_alive, all of which go together.
EVERY = {
    "pool": 8,
    "requests_per_connection": 3,
    "connection_s": 1.5,
    "send_bytes": 10,
    "send_interval_s": 0.5,
    "read_bytes_per_s": 2000.0,
    "receive_buffer_bytes": 4096,
    "stall_after_bytes": 0,
    "stall_s": 7.0,
    "abandon_s": 2.5,
    "rtt_s": 0.02,
    "down_bytes_per_s": 1e6,
    "up_bytes_per_s": 1e5,
}


def client_of(folder: Path, arrivals: str, client: str | None) -> ClientKind:
    """The clients of a scenario with this [client]; None: without one."""
    table = "" if client is None else f"[client]\n{client}\n"
    (load,) = scenario_with(folder, f"{arrivals}{table}").groups
    return load.group.client


def error_of(folder: Path, arrivals: str, client: str) -> str:
    """The one line of complaint."""
    with pytest.raises(ScenarioError) as caught:
        client_of(folder, arrivals, client)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'test.toml'}:")
    assert "\n" not in message
    return message


def test_the_sample_has_every_field() -> None:
    """The tests below leave no field of ClientKind out."""
    fields = {field.name for field in dataclasses.fields(ClientKind)}
    assert set(EVERY) | {"keep_alive", "hold_s"} == fields


def test_every_field_arrives(tmp_path: Path) -> None:
    """Each under its own name, as it was written."""
    text = "\n".join(f"{key} = {value}" for key, value in EVERY.items())
    expected = dataclasses.replace(ClientKind(), **EVERY)  # type: ignore[arg-type]
    assert client_of(tmp_path, SESSIONS, text) == expected
    assert client_of(tmp_path, SESSIONS, "hold_s = 9") == ClientKind(hold_s=9)


@pytest.mark.parametrize(
    ("arrivals", "usual"), [(POISSON, False), (SESSIONS, True), (CLOSED, True)]
)
def test_keep_alive(tmp_path: Path, arrivals: str, usual: bool) -> None:
    """By default single requests have connections of their own, and sessions one each; [client] or
    [arrivals] may say otherwise, but not both."""
    assert client_of(tmp_path, arrivals, None) == ClientKind(keep_alive=usual)
    assert client_of(tmp_path, arrivals, "") == ClientKind(keep_alive=usual)
    for word in ("true", "false"):
        expected = ClientKind(keep_alive=word == "true")
        assert client_of(tmp_path, arrivals, f"keep_alive = {word}") == expected
        assert client_of(tmp_path, f"{arrivals}keep_alive = {word}\n", None) == expected
    message = error_of(tmp_path, f"{arrivals}keep_alive = true\n", "keep_alive = true")
    assert ".keep_alive: is in [arrivals] too; accepted: in one of them" in message


@pytest.mark.parametrize(
    ("arrivals", "client", "complaint"),
    [
        (POISSON, "pool = 4", ":7: client.pool: needs keep_alive = true"),
        (POISSON, "hold_s = 4", ":7: client.hold_s: needs keep_alive = true"),
        (
            SESSIONS,
            "connection_s = 1\nkeep_alive = false",
            ":8: client.connection_s: needs keep_al",
        ),
        (POISSON, "requests_per_connection = 2", ":7: client.requests_per_connection: needs keep_"),
        (SESSIONS, "send_bytes = 4", ":8: client.send_bytes: needs send_interval_s above 0 beside"),
        (SESSIONS, "send_interval_s = 4", ":8: client.send_interval_s: needs send_bytes above 0 b"),
        (
            SESSIONS,
            "send_interval_s = 4\nsend_bytes = 0",
            ":8: client.send_interval_s: needs send_by",
        ),
        (SESSIONS, "stall_s = 4", ":8: client.stall_s: needs stall_after_bytes beside it (0: noth"),
        (SESSIONS, "stall_after_bytes = 0", ":8: client.stall_after_bytes: needs stall_s above 0"),
        (SESSIONS, "hold_s = 1\npool = 3", ":8: client.hold_s: not accepted beside pool, which ke"),
        (CLOSED, "pool = 2", ":7: client.pool: not accepted in closed arrivals, whose sessions"),
        (
            CLOSED,
            "hold_s = 1",
            ":7: client.hold_s: not accepted in closed arrivals, whose sessions",
        ),
        (SESSIONS, "rtt = 1", ":8: client.rtt: unknown key; did you mean rtt_s? accepted: abandon"),
        (SESSIONS, "rtt_s = 11", ":8: client.rtt_s: is 11; accepted: a number from 0 to 10"),
        (
            SESSIONS,
            "pool = 2.5",
            ":8: client.pool: is 2.5; accepted: a whole number from 0 to 60000",
        ),
        (
            SESSIONS,
            "stall_after_bytes = -1\nstall_s = 1",
            "stall_after_bytes: is -1; accepted: a wh",
        ),
        (SESSIONS, "abandon_s = nan", ":8: client.abandon_s: is nan; accepted: a number from 0 to"),
        (
            SESSIONS,
            "read_bytes_per_s = '5'",
            ":8: client.read_bytes_per_s: is '5'; accepted: a num",
        ),
        (SESSIONS, "keep_alive = 1", ":8: client.keep_alive: is 1; accepted: true, false"),
    ],
)
def test_errors(tmp_path: Path, arrivals: str, client: str, complaint: str) -> None:
    """One line naming file, line, key and what is accepted."""
    assert complaint in error_of(tmp_path, arrivals, client)


def test_a_pool_of_single_requests(tmp_path: Path) -> None:
    """Open arrivals over a pool of keep-alive connections, as a reverse proxy has it."""
    plan = plan_with(tmp_path, f"{POISSON}[client]\nkeep_alive = true\npool = 4\n")
    assert plan.groups == (Group("main", True, ClientKind(pool=4)),)
    assert "(keep-alive, pool of 4)" in plan.describe()


def test_clients_move_no_number(tmp_path: Path) -> None:
    """How clients behave is in the plan and its hash, and changes not one of its columns."""
    plain = plan_with(tmp_path, SESSIONS)
    slow = plan_with(tmp_path, f"{SESSIONS}[client]\nrtt_s = 0.1\n")
    assert plain.hash != slow.hash
    for name in ("planned_us", "think_us", "cpu_us", "session_start_us", "session_group"):
        assert getattr(plain, name).tolist() == getattr(slow, name).tolist()


def test_a_plan_keeps_its_clients(tmp_path: Path) -> None:
    """Written and read again they are the same, through JSON."""
    text = "\n".join(f"{key} = {value}" for key, value in EVERY.items())
    plan = plan_with(tmp_path, f"{SESSIONS}[client]\n{text}\n")
    plan.save(tmp_path / "plan.npz")
    assert Plan.load(tmp_path / "plan.npz").groups == plan.groups


def test_equal_groups_have_equal_texts() -> None:
    """A whole number in place of a fraction is the same client, so that hashes do not tell them
    apart."""
    whole, fraction = (Group("g", True, ClientKind(rtt_s=one, pool=3)) for one in (1, 1.0))
    assert whole == fraction
    assert json.dumps(whole.as_dict()) == json.dumps(fraction.as_dict())
    assert Group.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole


@pytest.mark.parametrize(
    "damaged", [{}, {"name": "a", "measured": True, "client": {"speed": 1}}, {"name": "a"}]
)
def test_damaged_groups_are_refused(damaged: dict[str, object]) -> None:
    """What `as_dict` did not write is an error that the reader of plans knows."""
    with pytest.raises((KeyError, TypeError)):
        Group.from_dict(damaged)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ClientKind(), "keep-alive"),
        (ClientKind(keep_alive=False), "a new connection for each request"),
        (ClientKind(pool=64, rtt_s=0.02), "keep-alive, pool of 64, 20 ms round trip"),
        (ClientKind(send_bytes=5, send_interval_s=1), "keep-alive, sends 5 B every 1 s"),
        (
            ClientKind(stall_after_bytes=0, stall_s=5, read_bytes_per_s=8000),
            "keep-alive, reads 8 kB/s, stalls after 0 B for 5 s",
        ),
        (ClientKind(abandon_s=0.5), "keep-alive, leaves after 500 ms"),
        (ClientKind(hold_s=9), "keep-alive, holds the idle connection for 9 s"),
    ],
)
def test_described(kind: ClientKind, text: str) -> None:
    """For people, without what is ordinary."""
    assert kind.describe() == text


@pytest.mark.parametrize("key", [*EVERY, "hold_s"])
def test_every_field_is_described(key: str) -> None:
    """Whatever is set is said: no two kinds that differ in one field read alike."""
    value = EVERY.get(key, 3)
    kind = dataclasses.replace(ClientKind(), **{key: value})  # type: ignore[arg-type]
    assert kind.describe() != ClientKind().describe() or key in ("send_interval_s", "stall_s")
