"""The catalog of MPMs: name, what it is, its entry point; and each platform's default.

A table and look-ups; no behaviour. httpd: docs/manual/mpm.xml (2.0, 2.2, 2.4) for the defaults,
server/mpm/config2.m4 for how 2.4 chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.mpms import event, prefork, worker
from mpmlab.mpms.site import Site


@dataclass(frozen=True)
class Mpm:
    """One MPM. `threaded`, `forked`: as `httpd -V` prints them; `asynchronous`: IS_ASYNC."""

    name: str
    summary: str
    parent: Callable[[Kernel, Site], Steps[int]]
    threaded: str
    forked: str
    asynchronous: bool
    accepts: str  # who accepts connections
    keep_alive_costs: str  # what an idle keep-alive connection holds


CATALOG = MappingProxyType(
    {
        m.name: m
        for m in (
            Mpm(
                "prefork",
                "one process with one thread per connection",
                prefork.parent,
                "no",
                "yes (variable process count)",
                False,
                "each child",
                "a process",
            ),
            Mpm(
                "worker",
                "children of a fixed number of threads, one connection per thread",
                worker.parent,
                "yes (fixed thread count)",
                "yes (variable process count)",
                False,
                "a listener thread per child",
                "a thread",
            ),
            Mpm(
                "event",
                "like worker, but a waiting connection needs no thread",
                event.parent,
                "yes (fixed thread count)",
                "yes (variable process count)",
                True,
                "a listener thread per child",
                "nothing",
            ),
        )
    }
)

#: (operating system, 2.0, 2.2, 2.4): which MPM is built when none is chosen.
PLATFORM_DEFAULTS: tuple[tuple[str, str, str, str], ...] = (
    ("BeOS", "beos", "beos", "(removed)"),
    ("NetWare", "mpm_netware", "mpm_netware", "mpm_netware"),
    ("OS/2", "mpmt_os2", "mpmt_os2", "mpmt_os2"),
    ("Unix", "prefork", "prefork", "event, worker or prefork"),
    ("Windows", "mpm_winnt", "mpm_winnt", "mpm_winnt"),
)

_EVENT_SYSTEMS = ("Linux", "Darwin", "FreeBSD", "NetBSD", "OpenBSD", "DragonFly", "SunOS")


def default_mpm(system: str) -> str:
    """The MPM httpd 2.4 would choose on platform.system() `system`: event where threads and
    thread-safe polling (epoll, kqueue, event ports) exist, the platform's own elsewhere, prefork on
    a Unix of which nothing is known. The name may be one the catalog does not have."""
    if system in _EVENT_SYSTEMS:
        return "event"
    return {"Windows": "mpm_winnt", "OS/2": "mpmt_os2", "NetWare": "mpm_netware"}.get(
        system, "prefork"
    )
