"""Groups of different clients in one run, a run in several parts, runs that are stopped, and what
`ahead` may change: the account balances in each (load.watched_worlds.play checks it)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpmlab.bench.account import account
from mpmlab.core.client_wire import BytesClient
from mpmlab.kernel.interface import Steps
from mpmlab.load.client import load, session
from mpmlab.load.deck import AFTER_S
from mpmlab.load.recorder import Outcome, Recorder, merged
from mpmlab.load.way import ROUNDING_S
from mpmlab.real.handles import Address
from mpmlab.real.loop import LoopKernel
from mpmlab.workload.clients import ClientKind
from mpmlab.workload.plan import Plan
from tests.load.load_worlds import HOST, SOON_S, Ask, joined, plan_of, real_server
from tests.load.watched_worlds import Manner, play, slack_s

both = pytest.mark.parametrize("world", ["sim", "real"])


def opened(client: ClientKind, sessions: int = 20, gap_s: float = 0.01) -> Plan:
    """Sessions of two requests each, in a regular beat."""
    asks: list[list[Ask]] = [[(gap_s * i, 0.0, 50), (None, 0.02, 50)] for i in range(sessions)]
    return plan_of(asks, 0.4, request_bytes=40, wait_us=2000, client=client)


def closed(client: ClientKind, users: int = 3) -> Plan:
    """Users that go round until the end."""
    asks: list[list[Ask]] = [[(0.0, 0.01, 20), (None, 0.005, 30)] for _ in range(users)]
    return plan_of(asks, 0.4, cycle=True, client=client)


def mixed() -> Plan:
    """An open group, a closed one, a pool, dribblers and stallers."""
    return joined(
        visitors=opened(ClientKind(keep_alive=False)),
        users=closed(ClientKind()),
        proxy=opened(ClientKind(pool=2)),
        slow=opened(ClientKind(send_bytes=60, send_interval_s=0.01), 4, 0.05),
        silent=plan_of(
            [[(0.1, 0.0, 1)]] * 2, 0.4, client=ClientKind(stall_after_bytes=0, stall_s=0.1)
        ),
    )


@both
def test_groups_of_one_plan_behave_each_in_its_way(world: str) -> None:
    """Closed users go round to the end, open sessions are carried out once, a pool has no more than
    its connections, stallers are abandoned; and no group disturbs another's requests."""
    plan = mixed()
    records = play(world, plan).records
    name = np.array([group.name for group in plan.groups])[plan.session_group[records.session]]
    good = records.error == Outcome.OK
    assert np.array_equal(good, name != "silent")
    assert np.all(records.error[name == "silent"] == Outcome.ABANDONED)
    assert records.cycle[name == "users"].max() >= 3
    assert not records.cycle[name != "users"].any()
    for group, sessions in (("visitors", 20), ("proxy", 20), ("slow", 4), ("silent", 2)):
        rows = records.index[name == group]
        assert len(rows) == len(set(rows.tolist())) == sessions * (1 if group == "silent" else 2)
    assert len(set(records.connection[name == "visitors"].tolist())) == 40
    assert len(set(records.connection[name == "users"].tolist())) == 3
    assert len(set(records.connection[name == "proxy"].tolist())) <= 2
    owners = [set(records.connection[name == group].tolist()) for group in set(name.tolist())]
    assert len(set.union(*owners)) == sum(map(len, owners))


@both
def test_the_parts_of_a_run_make_the_whole(world: str) -> None:
    """A run in three parts, merged: each request of the open groups once, the account balances, and
    no two parts share a connection's number."""
    plan = mixed()
    parts = [play(world, plan, part=(i, 3)).records for i in range(3)]
    whole = merged(parts, {})
    assert whole.breaches(plan) == []
    assert account(whole, plan).breaches() == ()
    sessions = [set(part.session.tolist()) for part in parts]
    assert set.union(*sessions) == set(range(plan.sessions))
    assert sum(map(len, sessions)) == plan.sessions
    used = [len(set(part.connection.tolist()) - {0}) for part in parts]
    assert len(set(whole.connection.tolist()) - {0}) == sum(used)


@both
def test_starting_a_session_ahead_changes_nothing_but_lateness(world: str) -> None:
    """`ahead` prepares a session when the one before it is due; planned times, outcomes, order
    within a session and what is waited for stay as they are, and nothing leaves early."""
    plan = joined(visitors=opened(ClientKind(keep_alive=False)), proxy=opened(ClientKind(pool=2)))
    runs = [play(world, plan, ahead=ahead).records for ahead in (False, True)]
    orders = [np.argsort(records.index) for records in runs]
    for name in ("index", "cycle", "session", "status", "body_bytes", "error", "retried"):
        one, other = (getattr(records, name)[o] for records, o in zip(runs, orders, strict=True))
        assert np.array_equal(one, other), name
    absolute = plan.planned_us >= 0
    for records, order in zip(runs, orders, strict=True):
        planned_s = records.planned_s[order]
        assert np.array_equal(planned_s[absolute], plan.planned_us[absolute] / 1e6)
        assert np.all(records.sent_s[order] >= planned_s - ROUNDING_S)
        assert np.all(records.lateness_s >= 0)
    if world == "sim":
        for name in ("planned_s", "sent_s", "first_byte_s", "last_byte_s", "ended_s"):
            one, other = (getattr(r, name)[o] for r, o in zip(runs, orders, strict=True))
            assert one == pytest.approx(other, abs=AFTER_S + 1e-6), name


KINDS: dict[str, Callable[[], Plan]] = {
    "mixed": mixed,
    "plain": lambda: opened(ClientKind()),
    "closed": lambda: closed(ClientKind()),
    "closed, slow link": lambda: closed(ClientKind(rtt_s=0.05)),
    "pool": lambda: opened(ClientKind(pool=1)),
    "pool, too small": lambda: opened(ClientKind(pool=1), 60, 0.002),
    "three per connection": lambda: closed(ClientKind(requests_per_connection=3)),
    "aged": lambda: closed(ClientKind(connection_s=0.03)),
    "dribble": lambda: opened(ClientKind(send_bytes=30, send_interval_s=0.05)),
    "slow reader": lambda: opened(ClientKind(read_bytes_per_s=1000.0)),
    "stall": lambda: opened(ClientKind(stall_after_bytes=10, stall_s=0.3)),
    "silence": lambda: opened(ClientKind(stall_after_bytes=0, stall_s=0.3)),
    "impatient": lambda: opened(ClientKind(abandon_s=0.001)),
    "holders": lambda: opened(ClientKind(hold_s=1.0)),
    "slow link": lambda: opened(ClientKind(rtt_s=0.1, down_bytes_per_s=1e4, up_bytes_per_s=1e4)),
}


@both
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("stop_s", [0.03, 0.18])
def test_a_run_that_is_stopped_accounts_for_all(world: str, kind: str, stop_s: float) -> None:
    """Whatever the clients are at: it ends at once, what was sent and is not answered is
    UNFINISHED, what was due and not sent is NOT_SENT, and nothing else is missing."""
    plan = KINDS[kind]()
    played = play(world, plan, stop_s=stop_s, paced=world == "real")
    records = played.records
    assert stop_s - ROUNDING_S <= played.ended_s < stop_s + slack_s(world)
    assert records.end_s <= played.ended_s
    sent = np.isfinite(records.sent_s)
    assert not sent[records.error == Outcome.NOT_SENT].any()
    assert sent[records.error == Outcome.UNFINISHED].all()
    assert np.all(records.ended_s[records.error == Outcome.UNFINISHED] >= stop_s - ROUNDING_S)
    assert np.nanmax(records.planned_s) < records.end_s


@both
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_against_a_mute_server_accounts_for_all(world: str, kind: str) -> None:
    """No answer at all: every request that was due ends as a time-out, as abandoned, or was never
    sent, for each kind of client."""
    plan = KINDS[kind]()
    played = play(world, plan, Manner(mute=True), timeout_s=0.15, paced=world == "real")
    kinds = {Outcome(code) for code in played.records.error.tolist()}
    assert kinds <= {Outcome.TIMEOUT, Outcome.ABANDONED, Outcome.NOT_SENT}
    assert np.all(played.records.ended_s < 0.4 + 0.15 + slack_s(world))
    assert played.ended_s < 0.4 + 0.15 + slack_s(world)


class Refusing(LoopKernel):
    """A kernel that has no thread for every third client."""

    asked = 0

    def thread(self, fn: Callable[..., Steps[Any]], *args: Any) -> Any:
        """See LoopKernel.thread."""
        if fn is session:
            self.asked += 1
            if not self.asked % 3:
                return self._later(None)
        return super().thread(fn, *args)


@pytest.mark.parametrize("plan", [opened(ClientKind()), closed(ClientKind())])
def test_clients_that_get_no_thread_are_accounted_for(plan: Plan) -> None:
    """Their requests are NOT_SENT as far as they came due without an answer, the others' good."""
    recorder, k = Recorder(), Refusing()
    with real_server("answers") as port:
        wire = lambda: BytesClient(HOST)  # noqa: E731
        k.run(load, plan, Address(port), wire, recorder, k.now() + SOON_S)
    records = recorder.records()
    assert records.breaches(plan) == []
    assert account(records, plan).breaches() == ()
    refused = records.session % 3 == 2
    assert np.all(records.error[refused] == Outcome.NOT_SENT)
    assert np.all(records.error[~refused] == Outcome.OK)
    assert np.count_nonzero(refused) == plan.sessions // 3
