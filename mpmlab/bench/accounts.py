"""What was used between the two ends of the measured window: CPU of the server, and of each core by
processes that are not ours.

The keeping of readings only; taking one is meter.py's and cores.py's, when is the engine's affair.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from mpmlab.bench.cores import CoreTimes, foreign_share, read_cores
from mpmlab.bench.meter import server_cpu_s
from mpmlab.kernel.interface import KernelError
from mpmlab.real.link import Link

FROM: Final = "from"
TO: Final = "to"


@dataclass(frozen=True)
class _Mark:
    time_s: float
    server_cpu_s: float | None
    client_cpu_s: Mapping[int, float]
    link_cpu_s: float | None
    cores: CoreTimes


class Accounts:
    """Readings at the marks FROM and TO. `clients`: the load processes, once there are any, and the
    core that each is bound to (None: not bound)."""

    def __init__(
        self,
        server_pid: int | None,
        server_cores: Sequence[int],
        client_cores: Sequence[int],
        link: Link | None = None,
    ):
        self.clients: Mapping[int, int | None] = {}
        self._server_pid = server_pid
        self._server_cores, self._client_cores = tuple(server_cores), tuple(client_cores)
        self._link = link
        self._marks: dict[str, _Mark] = {}
        self._client_cpu_s: dict[int, float] = {}

    def has(self, mark: str) -> bool:
        """Whether that reading has been taken."""
        return mark in self._marks

    def look(self) -> None:
        """Note what the load processes have used: of one that has ended nobody can tell."""
        for pid in self.clients:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                used_s = times.user + times.system
                self._client_cpu_s[pid] = max(self._client_cpu_s.get(pid, 0.0), used_s)

    def mark(self, mark: str) -> None:
        """Take the reading now."""
        pid = self._server_pid
        used_s = None if pid is None else server_cpu_s(pid)
        self.look()
        self._marks[mark] = _Mark(
            time_s=time.monotonic(),
            server_cpu_s=used_s,
            client_cpu_s=dict(self._client_cpu_s),
            link_cpu_s=self._forwarder_cpu_s(),
            cores=read_cores({*self._server_cores, *self._client_cores}),
        )

    def close(self) -> None:
        """Take the last reading if the window was cut short."""
        if not self.has(TO):
            self.mark(TO)

    def _forwarder_cpu_s(self) -> float | None:
        if self._link is None or not self._link.pids:
            return None
        try:
            return self._link.cpu_s()
        except KernelError:  # it has ended, which Link.fault tells
            return None

    # ---- what they come to -----------------------------------------------------------------------

    def server_cpu_s(self) -> float | None:
        """CPU of the server in the window; None if that never began."""
        ends = self._ends()
        if ends is None or None in (ends[0].server_cpu_s, ends[1].server_cpu_s):
            return None
        return (ends[1].server_cpu_s or 0.0) - (ends[0].server_cpu_s or 0.0)

    def server_share(self) -> float | None:
        """Share of the server's cores, all together, that others had; None if it is not known. All
        together, because nobody tells on which of them a server's process was."""
        if self._server_pid is None:
            return None
        return self._foreign(self._server_cores)

    def client_share(self) -> float | None:
        """Share that others had of a client's core: of the worst, because each load process keeps
        to its own. None if it is not known."""
        shares = [self._foreign((core,)) for core in self._client_cores]
        return max((share for share in shares if share is not None), default=None)

    def forwarder_share(self) -> float | None:
        """Share of one core that the forwarder of the link had; None without one."""
        ends = self._ends()
        if ends is None:
            return None
        first, last = ends
        if first.link_cpu_s is None or last.link_cpu_s is None or last.time_s <= first.time_s:
            return None
        return (last.link_cpu_s - first.link_cpu_s) / (last.time_s - first.time_s)

    def _ends(self) -> tuple[_Mark, _Mark] | None:
        first, last = self._marks.get(FROM), self._marks.get(TO)
        return None if first is None or last is None else (first, last)

    def _foreign(self, cores: tuple[int, ...]) -> float | None:
        ends = self._ends()
        if ends is None:
            return None
        return foreign_share(ends[0].cores, ends[1].cores, cores, self._ours_s(cores, *ends))

    def _ours_s(self, cores: tuple[int, ...], first: _Mark, last: _Mark) -> float:
        """CPU of our own on these cores. The forwarder runs where there is room, so its time is
        taken for ours wherever it was."""
        ours_s = (last.link_cpu_s or 0.0) - (first.link_cpu_s or 0.0)
        if set(cores) & set(self._server_cores):
            ours_s += self.server_cpu_s() or 0.0
        for pid, used_s in last.client_cpu_s.items():
            if self.clients.get(pid) in cores:
                ours_s += used_s - first.client_cpu_s.get(pid, 0.0)
        return ours_s
