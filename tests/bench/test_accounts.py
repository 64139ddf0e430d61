"""Who used the cores: by arithmetic on made-up readings, and on this machine with a real hog."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mpmlab.bench.accounts import FROM, TO, Accounts
from mpmlab.bench.cores import CoreTimes, foreign_share, read_cores
from mpmlab.real.link import LinkError

#: Burns so many seconds of CPU on a core, says so, and stays until its input ends.
BURNER = """
import os, sys, time
core, seconds = int(sys.argv[1]), float(sys.argv[2])
os.sched_setaffinity(0, {core})
sys.stdin.readline()
end = time.process_time() + seconds
while time.process_time() < end: pass
print("done", flush=True)
sys.stdin.read()
"""
BURN_S = 1.0
#: What the system's accounts may be off by: ticks, and the start and end of the burning.
TICKS_S = 0.1


@contextlib.contextmanager
def burner(core: int, seconds: float = BURN_S) -> Iterator[subprocess.Popen[str]]:
    """A process that is ready to burn."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", BURNER, str(core), str(seconds)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def burn(process: subprocess.Popen[str]) -> None:
    """Let it, until it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def last_core() -> int:
    """One that we may use."""
    return max(os.sched_getaffinity(0))


# ---- readings ------------------------------------------------------------------------------------


def at(total_s: float, **busy_s: float) -> CoreTimes:
    """A reading in which each core has been there so long and was busy for some of it: c0=1.5."""
    busy = {int(name[1:]): seconds for name, seconds in busy_s.items()}
    return CoreTimes(busy, dict.fromkeys(busy, total_s))


def test_what_is_not_ours_is_somebody_elses() -> None:
    """Of 10 s a core was busy for 4, of which 3 were ours: a tenth. Two cores are taken together,
    and our own time is never counted against others."""
    first, last = at(100, c0=50, c1=20), at(110, c0=54, c1=20)
    assert foreign_share(first, last, [0], 3.0) == pytest.approx(0.1)
    assert foreign_share(first, last, [0], 0.0) == pytest.approx(0.4)
    assert foreign_share(first, last, [0, 1], 3.0) == pytest.approx(0.05)
    assert foreign_share(first, last, [1], 0.0) == 0.0
    assert foreign_share(first, last, [0], 9.0) == 0.0


def test_no_time_and_no_core_have_no_share() -> None:
    """Two equal readings, and a core that the system does not list."""
    assert foreign_share(at(100, c0=50), at(100, c0=50), [0], 0.0) is None
    assert foreign_share(at(100, c0=50), at(110, c0=50), [7], 0.0) is None
    beyond = psutil.cpu_count() or 1
    assert read_cores([beyond + 1000]) == CoreTimes({}, {})


@pytest.mark.parametrize("rest", [{"idle": 5.0, "iowait": 0.5}, {"idle": 5.5}])
def test_busy_is_what_is_not_rest(monkeypatch: pytest.MonkeyPatch, rest: dict[str, float]) -> None:
    """Idle and iowait are rest, on systems that tell of the latter; the columns that are sampled at
    ticks (here they claim ten seconds of two) have no say."""
    later = {**rest, "idle": rest["idle"] + 1.0}
    readings = [SimpleNamespace(user=0.0, **rest), SimpleNamespace(user=10.0, **later)]
    clock = [100.0, 102.0]
    system = SimpleNamespace(cpu_times=lambda **_: [readings.pop(0)])
    monkeypatch.setattr("mpmlab.bench.cores.psutil", system)
    monkeypatch.setattr("mpmlab.bench.cores.time", SimpleNamespace(monotonic=lambda: clock.pop(0)))
    first, last = read_cores([0]), read_cores([0])
    assert first.busy_s[0] == 94.5
    assert foreign_share(first, last, [0], 0.25) == (1.0 - 0.25) / 2.0


@pytest.mark.real
def test_a_hog_on_the_core_is_seen() -> None:
    """A second of CPU that a process burns on a core is missing there, to the ticks; taken for our
    own it is not."""
    core = last_core()
    with burner(core) as hog:
        first = read_cores([core])
        burn(hog)
        last = read_cores([core])
    length_s = last.total_s[core] - first.total_s[core]
    foreign, ours = (foreign_share(first, last, [core], s) for s in (0.0, BURN_S))
    assert foreign is not None
    assert ours is not None
    assert BURN_S - TICKS_S <= foreign * length_s <= length_s
    assert foreign - ours == pytest.approx(BURN_S / length_s, abs=TICKS_S / length_s)


# ---- accounts ------------------------------------------------------------------------------------


@pytest.mark.real
def test_our_own_processes_are_told_from_others() -> None:
    """Server and client burn on one core each (or on the only one): who takes them for ours finds
    so much less of others than who does not; and the server's CPU is what it burnt."""
    client_core, server_core = last_core(), min(os.sched_getaffinity(0))
    with (
        burner(server_core) as server,
        burner(client_core) as client,
        burner(client_core) as nobody,
    ):
        ours = Accounts(server.pid, [server_core], [client_core])
        ours.clients = {client.pid: client_core}
        others = Accounts(nobody.pid, [server_core], [client_core])
        for account in (ours, others):
            account.mark(FROM)
        began_s = time.monotonic()
        for process in (server, client):
            burn(process)
        length_s = time.monotonic() - began_s
        for account in (ours, others):
            account.close()
        assert ours.server_cpu_s() == pytest.approx(BURN_S, abs=TICKS_S)
    for name in ("client_share", "server_share"):
        known, unknown = getattr(ours, name)(), getattr(others, name)()
        assert unknown * length_s > BURN_S - TICKS_S
        assert (unknown - known) * length_s > BURN_S - 2 * TICKS_S
    assert ours.forwarder_share() is None


class _Machine:
    """Readings that a test makes up, in the place of the system's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.busy_s = {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}
        self.server_s = 0.0
        self.clients_s: dict[int, float] = {}
        system = SimpleNamespace(Process=self.process, NoSuchProcess=psutil.NoSuchProcess)
        for name, instead in (
            ("server_cpu_s", lambda _: self.server_s),
            ("read_cores", self.read),
            ("time", SimpleNamespace(monotonic=lambda: self.now_s)),
            ("psutil", system),
        ):
            monkeypatch.setattr(f"mpmlab.bench.accounts.{name}", instead)

    def read(self, wanted: set[int]) -> CoreTimes:
        return CoreTimes(
            {core: self.busy_s[core] for core in wanted}, dict.fromkeys(wanted, self.now_s)
        )

    def process(self, pid: int) -> Any:
        if pid not in self.clients_s:
            raise psutil.NoSuchProcess(pid)
        times = SimpleNamespace(user=self.clients_s[pid], system=0.0)
        return SimpleNamespace(cpu_times=lambda: times)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> _Machine:
    """Four cores, of which the tests give 0 and 1 to the server and 2 and 3 to the clients."""
    return _Machine(monkeypatch)


def test_the_worst_of_the_clients_cores_counts(machine: _Machine) -> None:
    """A hog that has half of one client's core is half, however quiet the other is; of the server's
    cores it would be a quarter, since its processes may run on either."""
    found = Accounts(1, [0, 1], [2, 3])
    found.clients = {8: 2, 9: 3}
    machine.clients_s = {8: 1.0, 9: 1.0}
    found.mark(FROM)
    machine.now_s, machine.server_s = 10.0, 4.0
    machine.busy_s = {0: 2.0, 1: 7.0, 2: 2.0, 3: 8.0}
    machine.clients_s = {8: 3.0, 9: 4.0}
    found.mark(TO)
    assert found.client_share() == pytest.approx(0.5)  # 8 s on core 3, of which 3 were the client's
    assert found.server_share() == pytest.approx(0.25)  # 9 s on two cores, of which 4 the server's


def test_an_ended_client_keeps_its_account(machine: _Machine) -> None:
    """What it had used when it was last looked at still counts as ours."""
    found = Accounts(1, [0], [2])
    found.clients = {8: 2}
    machine.clients_s = {8: 1.0}
    found.mark(FROM)
    machine.now_s, machine.clients_s = 9.0, {8: 5.0}
    found.look()
    machine.now_s, machine.clients_s = 10.0, {}
    machine.busy_s[2] = 4.0
    found.mark(TO)
    assert found.client_share() == 0.0


def test_the_forwarder_of_a_link_is_ours(machine: _Machine) -> None:
    """Its share of a core is told, and it is nobody else on whatever core it ran; once it has ended
    there is no share."""
    used_s = iter([1.0, 6.0])

    def cpu_s() -> float:
        value = next(used_s, None)
        if value is None:
            raise LinkError("it has ended")
        return value

    link: Any = SimpleNamespace(pids=(77,), cpu_s=cpu_s)
    found = Accounts(1, [0], [2], link)
    found.mark(FROM)
    machine.now_s, machine.busy_s[2] = 10.0, 6.0
    found.mark(TO)
    assert found.forwarder_share() == pytest.approx(0.5)
    assert found.client_share() == pytest.approx(0.1)
    found.mark(TO)
    assert found.forwarder_share() is None


def test_a_window_that_never_began_has_no_account(machine: _Machine) -> None:
    """Neither CPU nor shares; closing takes the missing end, and no other."""
    found = Accounts(1, [0], [2])
    assert (found.server_cpu_s(), found.client_share(), found.server_share()) == (None,) * 3
    found.close()
    assert found.has(TO)
    assert not found.has(FROM)
    assert (found.server_cpu_s(), found.client_share(), found.forwarder_share()) == (None,) * 3
    found.mark(FROM)
    machine.server_s, machine.now_s = 3.0, 1.0
    found.close()
    assert found.server_cpu_s() == 0.0
