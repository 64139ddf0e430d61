"""Checker: every accepted connection on which something has arrived is attended to, in the end.

A hand-over that is lost (a connection in no thread's hands and in no poller) shows as data, or an
end of stream, that nobody reads.
"""

from __future__ import annotations

from mpmlab.sim.network import SimConn
from mpmlab.sim.world import World


class Attention:
    """Looks at each `interval_s` whether any connection on the server has had something to read
    for longer than `limit_s`; `found` lists each once. `limit_s` is longer than any request."""

    def __init__(self, world: World, limit_s: float, interval_s: float = 1.0) -> None:
        self.found: list[str] = []
        self._world = world
        self._limit_s = limit_s
        self._since: dict[SimConn, float] = {}
        world.every(interval_s, self._look)

    def _look(self, now: float) -> None:
        since: dict[SimConn, float] = {}
        for process in self._world.machines["server"].processes.values():
            for conn in process.conns:
                if not (conn.unread or conn.eof):
                    continue
                first = self._since.get(conn, now)
                since[conn] = first
                if first <= now - self._limit_s:
                    since[conn] = float("inf")  # reported
                    self.found.append(
                        f"process {process.pid} ({process.name}) has not read {conn.unread} bytes"
                        f"{' and the end' if conn.eof else ''} on a connection since {first} s"
                    )
        self._since = since
