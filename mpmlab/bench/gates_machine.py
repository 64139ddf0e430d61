"""The gates on the machine: did anything else run, and did it keep its speed?

One function for each gate; thresholds stand here with their sources. No clock, no I/O.
"""

from __future__ import annotations

from typing import Final

from mpmlab.bench.gates_evidence import Evidence
from mpmlab.bench.gates_verdict import Gate, Strictness, Verdict, judged, skipped
from mpmlab.bench.speed import DISTURBED_RATIO

#: Of the time of a client's core. A foreign process keeps the core for a slice of 3 to 4 ms, so
#: with 5 % of it one send in twenty may be that late; less is what the system itself and the
#: harness's own reading of the scoreboard take, and near what ticks of 10 ms can tell at all.
CLIENT_FOREIGN_LIMIT: Final = 0.05
#: Of the time of the server's cores: it is missing there as if the core were slower by so much, and
#: 10 % is what a p99 is known to by default, 5 % when it is to be published (G22).
SERVER_FOREIGN_LIMIT: Final = {Strictness.DEFAULT: 0.10, Strictness.PUBLISH: 0.05}
#: Slow against fast state. Virtual CPUs jump by 1.85 as their neighbours come and go: of 119
#: windows of 10 s on such a machine 98 were above 1.25, 5 % above 1.97, none above 2.2. Were that a
#: failure, next to no run there would be valid; so it is told by default. Beyond it is something
#: else: throttling, a guest that is paused. What is published as it stands must be of one speed.
SPEED_LIMIT: Final = {Strictness.DEFAULT: 2.5, Strictness.PUBLISH: DISTURBED_RATIO}


def client_core(seen: Evidence) -> Gate:
    """Nobody else on the clients' cores."""
    return _foreign(
        "client-core", seen.facts.client_foreign, CLIENT_FOREIGN_LIMIT, "a core of the clients"
    )


def server_core(seen: Evidence, strictness: Strictness) -> Gate:
    """Nobody else on the server's cores."""
    limit = SERVER_FOREIGN_LIMIT[strictness]
    return _foreign("server-core", seen.facts.server_foreign, limit, "the server's cores")


def _foreign(name: str, share: float | None, limit: float, whose: str) -> Gate:
    if share is None:
        return skipped(name, "of the time", "what else ran there was not recorded")
    return judged(
        name, share, "of the time", limit,
        f"processes that are not of this run had {share:.1%} of the time of {whose}, the limit "
        f"{limit:.0%}",
        "end what else runs on this machine, or bind it to other cores",
    )  # fmt: skip


def speed(seen: Evidence, strictness: Strictness) -> Gate:
    """The same loop took the same CPU time all through the run."""
    read = seen.facts.speed
    if read is None:
        return skipped("speed", "ratio", "the machine's speed was not recorded")
    limit = SPEED_LIMIT[strictness]
    text = (
        f"the machine's speed changed by a factor of {read.ratio:.2f} during the run (on average "
        f"it was {read.mean_us / read.fast_us:.2f} times slower than in its fast state); steady is "
        f"up to {DISTURBED_RATIO:g}"
    )
    advice = "other machines on the same host? Repeat in pairs (ABBA) and compare ratios"
    found = judged("speed", read.ratio, "ratio", limit, text, advice)
    if found.verdict is Verdict.PASS and read.ratio > DISTURBED_RATIO:
        return Gate("speed", read.ratio, "ratio", limit, Verdict.NOTE, text, advice)
    return found
