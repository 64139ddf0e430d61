"""The network between real clients and the real server: none but the loopback, the clients' own
pacing, or a link between two namespaces. Which one, and what is said of it.

Choosing only: pacing is load/exchange.py, the link is real/link.py.
"""

from __future__ import annotations

import contextlib
from typing import Final

from mpmlab.bench.task import EngineError, Task
from mpmlab.real.link import Link, emulated_link
from mpmlab.workload.clients import ClientKind
from mpmlab.workload.plan import Plan

#: What --network accepts.
NETWORKS: Final = ("pacing", "namespace")

_Figures = tuple[float, float, float]


def link_figures(plan: Plan) -> set[_Figures]:
    """(round trip in s, bytes/s down, bytes/s up) of each link that clients of the plan have."""
    return {_figures(group.client) for group in plan.groups} - {(0.0, 0.0, 0.0)}


def link_for(task: Task) -> contextlib.AbstractContextManager[Link]:
    """The link between two namespaces that the plan's clients are on. Raises EngineError if they
    are not all on the same one, and, when entered, LinkError."""
    kinds = {_figures(group.client) for group in task.plan.groups}
    if len(kinds) > 1:
        raise EngineError(
            "--network namespace: its one link is shared by all clients, but the scenario's groups "
            "have different rtt_s, down_bytes_per_s or up_bytes_per_s; use --network pacing"
        )
    return emulated_link(*kinds.pop())


def network_notes(task: Task, link: Link | None) -> tuple[str, ...]:
    """What the reader is told of the network."""
    if link is not None:
        return (f"network: {link.describe()}",)
    if link_figures(task.plan):
        return ("network: loopback; the clients keep to their links by their own pacing",)
    return ()


def _figures(kind: ClientKind) -> _Figures:
    return kind.rtt_s, kind.down_bytes_per_s, kind.up_bytes_per_s
