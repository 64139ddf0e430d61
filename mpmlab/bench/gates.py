"""The validity gates: all of them over one run's evidence, in the order in which they are told.

A run is valid if none fails; what an invalid one measured is not to be used. The evidence is
gates_evidence.py's, the gates are those of gates_data.py, gates_client.py, gates_machine.py and
gates_link.py (which a run without a link does not have).

A clean run must pass: two gates are tests that reject by chance, stationarity in at most 1 % of
steady runs and arrivals in far less (a plan's own bad luck is not held against the client); the
others have limits that an undisturbed run stays away from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mpmlab.bench import gates_client, gates_data, gates_link, gates_machine
from mpmlab.bench.gates_data import COMPLETED
from mpmlab.bench.gates_evidence import Evidence, Facts, gather
from mpmlab.bench.gates_verdict import Gate, Strictness, Verdict, failures, verdict

__all__ = [
    "COMPLETED",
    "OVERLOAD",
    "Evidence",
    "Facts",
    "Gate",
    "Strictness",
    "Verdict",
    "failures",
    "gates",
    "gather",
    "overloaded",
    "verdict",
]

#: Gates that fail where the server cannot carry the load. A search for the highest rate takes such
#: a run for an answer (too much), where any other failure says that nothing was measured.
OVERLOAD: Final = frozenset({"answers", "backlog", "rate", "stationarity"})


def gates(evidence: Evidence, strictness: Strictness = Strictness.DEFAULT) -> tuple[Gate, ...]:
    """Judge a run. The gates on clients and machine are left out of a simulated run: its clients
    are never late, and its machine is nobody else's."""
    found = [
        gates_data.completed(evidence),
        gates_data.balance(evidence),
        gates_data.answers(evidence),
    ]
    if evidence.facts.engine != "sim":
        found += [
            gates_client.lateness(evidence),
            gates_client.rate(evidence),
            gates_client.client(evidence),
            gates_machine.client_core(evidence),
            gates_machine.server_core(evidence, strictness),
            gates_machine.speed(evidence, strictness),
            gates_client.descriptors(evidence),
            gates_client.connect_queue(evidence),
            gates_client.arrivals(evidence),
        ]
    if (link := evidence.facts.link) is not None:
        found += [gates_link.round_trip(link), gates_link.forwarder(link)]
    found += [
        gates_data.starvation(evidence),
        gates_data.backlog(evidence),
        gates_data.stationarity(evidence),
        *(gates_data.samples(evidence, p, strictness) for p in evidence.facts.quantiles),
        gates_data.converged(evidence, strictness),
    ]
    return tuple(found)


def overloaded(found: Iterable[Gate]) -> bool:
    """True if the run is invalid only because the server could not carry the load."""
    failed = {gate.name for gate in failures(found)}
    return bool(failed) and failed <= OVERLOAD
