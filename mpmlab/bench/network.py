"""The network between real clients and the real server: none but the loopback, the clients' own
pacing, or a link between two namespaces. Which one, and what is said of it.

Choosing and telling only: pacing is load/habits.py, the link is real/link.py.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from mpmlab.bench.task import EngineError, Task
from mpmlab.real.link import Link, emulated_link
from mpmlab.workload.clients import ClientKind
from mpmlab.workload.plan import Plan

#: What --network accepts.
PACING: Final = "pacing"
NAMESPACE: Final = "namespace"
NETWORKS: Final = (PACING, NAMESPACE)

_Figures = tuple[float, float, float]


def paced_links(plan: Plan) -> set[_Figures]:
    """(round trip in s, bytes/s down, bytes/s up) of each link that clients of the plan have."""
    return {_figures(group.client) for group in plan.groups} - {(0.0, 0.0, 0.0)}


def shared_link(plan: Plan) -> _Figures:
    """The one link that all clients of the plan are on: round trip in s, bytes/s down and up.
    Raises EngineError if they are not all on the same one."""
    kinds = {_figures(group.client) for group in plan.groups}
    if len(kinds) > 1:
        raise EngineError(
            "--network namespace: its one link is shared by all clients, but the scenario's groups "
            "have different rtt_s, down_bytes_per_s or up_bytes_per_s; use --network pacing"
        )
    return kinds.pop()


def link_for(task: Task) -> contextlib.AbstractContextManager[Link]:
    """The link between two namespaces that the plan's clients are on. Raises EngineError as
    shared_link does, and, when entered, LinkError."""
    return emulated_link(*shared_link(task.plan))


def link_figures(link: Link, forwarder_share: float | None) -> dict[str, Any]:
    """What a run keeps of its link, JSON-able: what was asked, what was measured before the run,
    what went through, and the share of a core that carrying it took (None: the kernel did)."""
    return {**link.figures(), "forwarder_share": forwarder_share}


def network_notes(task: Task, link: Link | None) -> tuple[str, ...]:
    """What the reader is told of the network."""
    if link is not None:
        return (f"network: {link.describe()}",)
    if paced_links(task.plan):
        return ("network: loopback; the clients keep to their links by their own pacing",)
    return ()


def _figures(kind: ClientKind) -> _Figures:
    return kind.rtt_s, kind.down_bytes_per_s, kind.up_bytes_per_s
