"""What there is to say of each MPM: where it comes from, how it is built, what is odd about it.

Text only; what it does is in its own file, and what it is called in catalog.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Portrait:
    """`source`: in httpd's tree; `versions`: of httpd that have it; `platforms`: whose default it
    was or is; `structure`: a drawing; `quirks`: mistakes of the source that `Quirks On` keeps."""

    source: str
    versions: str
    platforms: str
    structure: str
    quirks: tuple[str, ...] = ()


PORTRAITS: Final[Mapping[str, Portrait]] = MappingProxyType(
    {
        "prefork": Portrait(
            "server/mpm/prefork/prefork.c",
            "2.0 and later",
            "Unix in 2.0 and 2.2; in 2.4 where there are no threads",
            """\
parent: starts, reaps and counts children, once a second
 |- child   accept -> serve -> accept ...      one connection at a time
 |- child   accept -> serve -> accept ...
 `- child   ...            as many as MaxRequestWorkers""",
        ),
        "worker": Portrait(
            "server/mpm/worker/worker.c",
            "2.0 and later",
            "Unix in 2.4 where there are threads and no thread-safe polling",
            """\
parent
 `- child                                      up to ServerLimit
     |- listener   takes an idle worker, then accepts
     |     | queue of accepted connections
     |- worker     serve, to the end of the connection
     `- worker     ...         ThreadsPerChild of them""",
        ),
        "event": Portrait(
            "server/mpm/event/event.c",
            "2.2 (experimental), 2.4 and later",
            "Unix in 2.4 where there are threads and thread-safe polling",
            """\
parent
 `- child                                      up to ServerLimit
     |- listener   accepts; watches connections that wait for a request,
     |     ^ |     for a slow reader or for their end
     |     | v
     |- worker     one request, then back to the listener
     `- worker     ...         ThreadsPerChild of them""",
        ),
        "leader": Portrait(
            "server/mpm/experimental/leader/leader.c",
            "2.0 (experimental)",
            "none",
            """\
parent
 `- child                                      up to ServerLimit
     |- leader     accepts, names its successor, serves
     |     ^ last to come, first to lead
     |- follower   waits to lead
     `- follower   ...         ThreadsPerChild with the leader""",
        ),
        "threadpool": Portrait(
            "server/mpm/experimental/threadpool/threadpool.c",
            "2.0 (experimental)",
            "none",
            """\
parent
 `- child                                      up to ServerLimit
     |- listener   takes the worker that went idle last, then accepts
     |     | a cell of each worker's own
     |- worker     serve, to the end of the connection
     `- worker     ...         ThreadsPerChild of them""",
        ),
        "winnt": Portrait(
            "server/mpm/winnt/mpm_winnt.c, child.c",
            "2.0 and later",
            "Windows",
            """\
parent: starts another child when this one ends
 `- child          one that listens; behind the start mutex the next
     |- accept     hands each connection to the completion port
     |     | last to wait, first to be woken
     |- worker     serve, to the end of the connection
     `- worker     ...         ThreadsPerChild of them, for ever""",
        ),
        "netware": Portrait(
            "server/mpm/netware/mpm_netware.c",
            "2.0 to 2.4",
            "NetWare",
            """\
one process (NLM)
 |- main           counts threads, once a second
 |- worker         select -> accept -> serve   every idle one is woken
 `- worker         ...         StartThreads to MaxThreads""",
            (
                "of too many idle threads the last of all is told to end, busy or not; a busy one "
                "overwrites the order",
            ),
        ),
        "os2": Portrait(
            "server/mpm/mpmt_os2/mpmt_os2.c, mpmt_os2_child.c",
            "2.0 to 2.4",
            "OS/2",
            """\
parent: keeps StartServers children
 `- child
     |- main       accepts, whoever is idle
     |     | queue without a bound
     |- worker     serve, to the end of the connection
     |- worker     ...         up to 256
     `- maintenance   twice a second: as many workers as are missing""",
            (
                "when more connections wait than workers are idle, one worker is told to end, too: "
                "the difference is unsigned",
            ),
        ),
        "beos": Portrait(
            "server/mpm/beos/beos.c",
            "2.0 and 2.2",
            "BeOS",
            """\
one process (team)
 |- main           once a second: threads into all free cells
 |- worker         [ lock: poll -> accept ] -> serve
 `- worker         ...         up to MaxClients""",
            (
                "the pool grows to MaxClients, whatever Min- and MaxSpareThreads say",
                "ap_mpm_query() answers MaxSpareThreads for the least and MinSpareThreads for the "
                "most",
            ),
        ),
    }
)
