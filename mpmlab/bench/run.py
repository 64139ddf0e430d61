"""One engine's run of a plan: everything that was recorded about it.

Values only; the engines (real.py, sim.py) make them, summary.py condenses them, results.py stores
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpmlab.bench.gates_verdict import Gate, verdict
from mpmlab.bench.samples import Samples
from mpmlab.bench.speed import Speed
from mpmlab.load.recorder import Records


@dataclass(frozen=True)
class Run:
    """What one engine did. Times of records and samples count from the start of the load."""

    #: "real", "sim", "httpd" or "external".
    engine: str
    records: Records
    samples: Samples
    #: How long the run took, server start to last clean-up, on this machine's clock.
    wall_s: float
    #: Cores that the server could use.
    server_cores: int
    #: CPU of all server processes, dead ones too, between warm-up and the plan's end; None if not
    #: recorded.
    cpu_s: float | None
    #: Real: PSS of all server processes as the load ended. Sim: the platform's estimate.
    memory_kib: float | None
    #: Threads of all server processes as the load ended; None if unknown.
    threads: int | None = None
    #: The server's messages (core.log_line.brief_line), with the time since the load began.
    log: tuple[str, ...] = ()
    #: The machine's speed before and after; None for a simulation, where it does not matter.
    speed: Speed | None = None
    #: Rolling digest of a simulation: same seed, same digest.
    digest: str | None = None
    #: Events that a simulation processed.
    events: int | None = None
    #: Why the run is not complete (interrupted, a process died); empty if it is.
    faults: tuple[str, ...] = ()
    #: Where the account of requests does not balance (Records.breaches); empty if it does.
    breaches: tuple[str, ...] = ()
    #: What the reader should know besides.
    notes: tuple[str, ...] = ()
    #: From the server's first word, which is when its parent begins to keep house, to the load's
    #: start; None if it said none.
    lead_s: float | None = None
    #: Share of the measured window that processes which are not ours had of a client's core (of the
    #: worst), and of the server's cores (all together); None where it was not measured.
    client_foreign: float | None = None
    server_foreign: float | None = None
    #: Of the server's cores or its workers, whichever was busier, in the measured window; None if
    #: unknown.
    utilisation: float | None = None
    #: The link between two namespaces, as asked and as it was (network.link_figures); None: none.
    link: Mapping[str, Any] | None = None
    #: What the server said of itself (httpd.StatusEye.facts), its program and version, if any.
    server: Mapping[str, Any] | None = None
    #: What the validity gates found (judge.py); none if nobody has asked them.
    gates: tuple[Gate, ...] = ()

    @property
    def complete(self) -> bool:
        """False if something ended the run before the plan did."""
        return not self.faults

    @property
    def valid(self) -> bool:
        """Whether its numbers may be used: complete, and no gate failed."""
        return self.complete and verdict(self.gates)
