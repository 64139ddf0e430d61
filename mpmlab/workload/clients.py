"""How clients behave: whether they keep connections, how fast they send and read, when they leave.

Pure data, part of a plan and of its hash. Ranges are checked where a scenario is read
(client_table.py); carrying it out is the load client's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClientKind:
    """The behaviour of the clients of a group; without arguments an ordinary client on a link that
    costs nothing. Times are seconds, sizes bytes."""

    #: One connection for the requests of a session; False: a new one for each request.
    keep_alive: bool = True
    #: Above 0: the group's sessions share at most so many keep-alive connections. A session takes
    #: any that is free, from its first request to its last answer, and waits for one on the
    #: client's side if there is none; latency counts that wait.
    pool: int = 0
    #: Above 0: the client closes a connection after so many requests.
    requests_per_connection: int = 0
    #: Above 0: the client closes a connection older than this, as soon as it is idle.
    connection_s: float = 0.0
    #: Above 0: a request leaves in pieces of so many bytes, head and body ...
    send_bytes: int = 0
    #: ... one each so often; the first at once.
    send_interval_s: float = 0.0
    #: Above 0: the answer is read no faster than this.
    read_bytes_per_s: float = 0.0
    #: Above 0: the receive buffer asked of the system (SO_RCVBUF).
    receive_buffer_bytes: int = 0
    #: 0 or more: only so many bytes of a request are sent (0: connects and says nothing) ...
    stall_after_bytes: int = -1
    #: ... then the client is silent so long, or until the server ends the connection, and closes.
    stall_s: float = 0.0
    #: Above 0: the client closes the connection so long after the request left, if the answer is
    #: not complete by then.
    abandon_s: float = 0.0
    #: Above 0: after a session's last answer the idle connection is held so long, or until the
    #: server closes it.
    hold_s: float = 0.0
    #: Round trip of the client's link.
    rtt_s: float = 0.0
    #: Bandwidth of the client's link, from the server; 0: as fast as it goes.
    down_bytes_per_s: float = 0.0
    #: Bandwidth of the client's link, to the server; 0: as fast as it goes.
    up_bytes_per_s: float = 0.0

    def describe(self) -> str:
        """For people: "keep-alive, pool of 64, 20 ms round trip"."""
        return ", ".join(self._traits())

    def _traits(self) -> Iterator[str]:
        yield "keep-alive" if self.keep_alive else "a new connection for each request"
        if self.pool:
            yield f"pool of {self.pool}"
        if self.requests_per_connection:
            yield f"{self.requests_per_connection} requests per connection"
        if self.connection_s:
            yield f"connections up to {_time(self.connection_s)} old"
        if self.send_bytes:
            yield f"sends {self.send_bytes} B every {_time(self.send_interval_s)}"
        if self.read_bytes_per_s:
            yield f"reads {_rate(self.read_bytes_per_s)}"
        if self.receive_buffer_bytes:
            yield f"receive buffer of {self.receive_buffer_bytes} B"
        if self.stall_after_bytes >= 0:
            yield f"stalls after {self.stall_after_bytes} B for {_time(self.stall_s)}"
        if self.abandon_s:
            yield f"leaves after {_time(self.abandon_s)}"
        if self.hold_s:
            yield f"holds the idle connection for {_time(self.hold_s)}"
        if self.rtt_s:
            yield f"{_time(self.rtt_s)} round trip"
        if self.down_bytes_per_s:
            yield f"{_rate(self.down_bytes_per_s)} down"
        if self.up_bytes_per_s:
            yield f"{_rate(self.up_bytes_per_s)} up"


@dataclass(frozen=True)
class Group:
    """Clients of one behaviour. What the others do is part of the load, but not of the figures."""

    name: str
    #: Whether the answers to these clients count in the summary.
    measured: bool
    client: ClientKind

    def as_dict(self) -> dict[str, Any]:
        """Numbers, texts and dicts, for JSON. Equal groups give equal texts: a whole number where a
        fraction may stand is written as a fraction."""
        client = {
            field.name: float(value) if isinstance(field.default, float) else value
            for field in dataclasses.fields(ClientKind)
            for value in [getattr(self.client, field.name)]
        }
        return {"name": self.name, "measured": self.measured, "client": client}

    @staticmethod
    def from_dict(given: Mapping[str, Any]) -> Group:
        """What `as_dict` gave. Raises KeyError or TypeError where it is something else."""
        return Group(given["name"], given["measured"], ClientKind(**given["client"]))


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e3:g} kB/s"
