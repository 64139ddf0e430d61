"""The gates on a link between two namespaces: is it what was asked for, and did it keep up?

One function for each gate; thresholds stand here with their sources. What the link says of itself
is Facts.link (network.link_figures). No clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mpmlab.bench.gates_verdict import Gate, judged, skipped

#: Of the round trip asked for, or so much where that is less: the limits of the clients' own
#: lateness (gates_client.py), which a longer way distorts response times as much as.
RTT_SHARE: Final = 0.05
RTT_LIMIT_MS: Final = 1.0
#: Of one core: beyond it the packets' queue in the forwarder itself grows, as requests do in a
#: client that is as busy.
FORWARDER_LIMIT: Final = 0.9


def round_trip(link: Mapping[str, Any]) -> Gate:
    """The idle link, measured before the run, has the round trip that was asked for."""
    asked_ms, found_ms = (1000 * link[when]["rtt_s"] for when in ("asked", "measured"))
    limit_ms = max(RTT_LIMIT_MS, RTT_SHARE * asked_ms)
    return judged(
        "link-rtt", abs(found_ms - asked_ms), "ms", limit_ms,
        f"the link's round trip was {found_ms:.3g} ms where {asked_ms:g} ms were asked; it may be "
        f"{limit_ms:.3g} ms off (the larger of {RTT_LIMIT_MS:g} ms and {RTT_SHARE:.0%})",
        "end what else runs on this machine, or use --network pacing",
    )  # fmt: skip


def forwarder(link: Mapping[str, Any]) -> Gate:
    """The process that carries the packets has a tenth of its core to spare."""
    share = link["forwarder_share"]
    if share is None:
        why = "what the link's forwarder used was not recorded"
        if link["without_netem"] is None:
            why = "the kernel carries the packets"
        return skipped("link-forwarder", "of a core", why)
    return judged(
        "link-forwarder", share, "of a core", FORWARDER_LIMIT,
        f"the process that carries the link's packets worked for {share:.0%} of its time, the "
        f"limit {FORWARDER_LIMIT:.0%}",
        "lower the rate or the size of the answers, or use --network pacing",
    )  # fmt: skip
