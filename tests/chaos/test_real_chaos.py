"""A short version of the chaos scenario on the real kernel: children killed under load.

What simulation cannot show (flock, the pipe, epoll across a death) is seen here. Times and kills
are bounded; the seed is printed with every failure."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import psutil
import pytest

from mpmlab.core.directives import accepted_by
from mpmlab.mpms.catalog import CATALOG
from tests.mpms.real_lab import RealLab, running, until

pytestmark = pytest.mark.real

SEED = 11
KILLS = 6


class Client(threading.Thread):
    """Asks one request after the other, a connection each, and counts what it gets."""

    def __init__(self, lab: RealLab, stop: threading.Event) -> None:
        super().__init__()
        self.lab, self.stop = lab, stop
        self.answered = 0
        self.lost = 0

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with self.lab.connect() as sock:
                    self.lab.ask(sock, "?wait_us=2000", close=True)
                    data = sock.recv(4096)
            except OSError:
                data = b""
            if data.startswith(b"HTTP/1.1 200"):
                self.answered += 1
            else:
                self.lost += 1


@pytest.mark.parametrize(
    "mpm", ["prefork", "worker", "event", "leader", "threadpool", "winnt", "os2"]
)
def test_killed_children_cost_only_what_they_held(mpm: str, tmp_path: Path) -> None:
    """Children are killed (-9) while clients ask: no client loses more than one request per kill
    (the one its connection was in), the pool heals, and everybody is answered afterwards."""
    directives: dict[str, object] = {
        "ThreadsPerChild": 4, "StartServers": 3, "MinSpareThreads": 8, "MaxSpareThreads": 16,
        "MaxRequestWorkers": 32, "ServerLimit": 8,
    }  # fmt: skip
    has = {directive.name for directive in accepted_by(CATALOG[mpm].settings_name)}
    directives = {name: value for name, value in directives.items() if name in has}
    rng = random.Random(SEED)
    with running(mpm, tmp_path, **directives) as lab:
        stop = threading.Event()
        clients = [Client(lab, stop) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            for _ in range(KILLS):
                kill_one(lab, rng)
            served = sum(c.answered for c in clients)
            until(lambda: sum(c.answered for c in clients) > served + 50, "clients are served")
        finally:
            stop.set()
            for client in clients:
                client.join()
        lost = sum(c.lost for c in clients)
        assert lost <= KILLS * len(clients), f"seed {SEED}: {lost} lost in {KILLS} kills"
        until(lambda: healed(lab), "the pool is as it should be")


def kill_one(lab: RealLab, rng: random.Random) -> None:
    """Kill a random child, and wait until the parent has noticed."""
    until(lambda: any(lab.board.pid), "there is a child")
    slot, pid = rng.choice([(slot, pid) for slot, pid in enumerate(lab.board.pid) if pid])
    psutil.Process(pid).kill()
    until(lambda: lab.board.pid[slot] != pid, f"child {pid} is reaped")
    time.sleep(rng.random() * 0.2)  # the fault's own timing, not a synchronisation


def healed(lab: RealLab) -> bool:
    """Every slot with a pid is alive, nobody is busy, and somebody is idle."""
    live = [pid for pid in lab.board.pid if pid]
    return (
        bool(live)
        and all(psutil.pid_exists(pid) for pid in live)
        and set(lab.letters()) <= set("_.")
        and "_" in lab.letters()
    )
