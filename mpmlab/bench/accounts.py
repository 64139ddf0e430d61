"""What was used between the two ends of the measured window: CPU of the server, and of each core by
processes that are not ours.

The keeping of readings only; taking one is meter.py's and cores.py's, when is the engine's affair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from mpmlab.bench.cores import Reading, foreign_share, read_cores
from mpmlab.bench.meter import server_cpu_s

FROM: Final = "from"
TO: Final = "to"


@dataclass(frozen=True)
class _Mark:
    server_cpu_s: float | None
    server: Reading
    client: Reading


class Accounts:
    """Readings at the marks "from" and "to". `clients`: the load processes, once there are any."""

    def __init__(self, server_pid: int, server_cores: Sequence[int], client_cores: Sequence[int]):
        self.clients: tuple[int, ...] = ()
        self._server_pid = server_pid
        self._cores = tuple(server_cores), tuple(client_cores)
        self._marks: dict[str, _Mark] = {}
        self._client_cpu_s = 0.0

    def has(self, mark: str) -> bool:
        """Whether that reading has been taken."""
        return mark in self._marks

    def look(self) -> None:
        """Note what the load processes have used: of one that has ended nobody can tell."""
        found_s = 0.0
        for pid in self.clients:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                found_s += times.user + times.system
        self._client_cpu_s = max(self._client_cpu_s, found_s)

    def mark(self, mark: str) -> None:
        """Take the reading now."""
        used_s = server_cpu_s(self._server_pid)
        self.look()
        server, client = self._cores
        shared = bool(set(server) & set(client))
        ours = (used_s or 0.0) + self._client_cpu_s
        self._marks[mark] = _Mark(
            used_s,
            read_cores(server, ours if shared else used_s or 0.0),
            read_cores(client, ours if shared else self._client_cpu_s),
        )

    def close(self) -> None:
        """Take the last reading if the window was cut short."""
        if not self.has(TO):
            self.mark(TO)

    def server_cpu_s(self) -> float | None:
        """CPU of the server in the window; None if that never began."""
        first, last = self._marks.get(FROM), self._marks.get(TO)
        if first is None or last is None or None in (first.server_cpu_s, last.server_cpu_s):
            return None
        return (last.server_cpu_s or 0.0) - (first.server_cpu_s or 0.0)

    def server_share(self) -> float | None:
        """Share of the server's cores that others had; None if it is not known."""
        first, last = self._marks.get(FROM), self._marks.get(TO)
        return foreign_share(first.server, last.server) if first and last else None

    def client_share(self) -> float | None:
        """The same of the clients' cores."""
        first, last = self._marks.get(FROM), self._marks.get(TO)
        return foreign_share(first.client, last.client) if first and last else None
