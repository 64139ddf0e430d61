"""The catalog of MPMs: name, what it is, its entry point; and each platform's default.

A table and look-ups; no behaviour. httpd: docs/manual/mpm.xml (2.0, 2.2, 2.4) for the defaults,
server/mpm/config2.m4 for how 2.4 chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.mpms import (
    beos,
    event,
    leader,
    netware,
    os2,
    prefork,
    threadpool,
    winnt,
    worker,
)
from mpmlab.mpms.site import Site


@dataclass(frozen=True)
class Mpm:
    """One MPM. `threaded`, `forked`: as `httpd -V` prints them; `asynchronous`: IS_ASYNC."""

    name: str
    summary: str
    parent: Callable[[Kernel, Site], Steps[int]]
    threaded: str
    forked: str
    asynchronous: bool = False
    accepts: str = ""  # who accepts connections
    keep_alive_costs: str = ""  # what an idle keep-alive connection holds
    #: As `httpd -V` says "Server MPM".
    httpd_name: str = ""
    #: Other names that users know: 2.2's and 2.4's of configure, and of modules.
    aliases: tuple[str, ...] = ()
    #: Whose directives and limits it has, if it has none of its own.
    directives_of: str = ""

    @property
    def settings_name(self) -> str:
        """The name that directives.effective() knows it by."""
        return self.directives_of or self.name


_NO: Final = "no"
_FIXED_THREADS: Final = "yes (fixed thread count)"
_VARIABLE_THREADS: Final = "yes (variable thread count)"
_VARIABLE_PROCESSES: Final = "yes (variable process count)"

CATALOG = MappingProxyType(
    {
        m.name: m
        for m in (
            Mpm(
                "prefork",
                "one process with one thread per connection",
                prefork.parent,
                _NO,
                _VARIABLE_PROCESSES,
                False,
                "each child",
                "a process",
                "prefork",
            ),
            Mpm(
                "worker",
                "children of a fixed number of threads, one connection per thread",
                worker.parent,
                _FIXED_THREADS,
                _VARIABLE_PROCESSES,
                False,
                "a listener thread per child",
                "a thread",
                "worker",
            ),
            Mpm(
                "event",
                "like worker, but a waiting connection needs no thread",
                event.parent,
                _FIXED_THREADS,
                _VARIABLE_PROCESSES,
                True,
                "a listener thread per child",
                "nothing",
                "event",
            ),
            Mpm(
                "leader",
                "like worker, but the thread that accepts serves, and names its successor",
                leader.parent,
                _FIXED_THREADS,
                _VARIABLE_PROCESSES,
                False,
                "the leading thread of each child",
                "a thread",
                "leader",
                directives_of="worker",
            ),
            Mpm(
                "threadpool",
                "like worker, but a connection goes to the thread that went idle last",
                threadpool.parent,
                _FIXED_THREADS,
                _VARIABLE_PROCESSES,
                False,
                "a listener thread per child",
                "a thread",
                "threadpool",
                directives_of="worker",
            ),
            Mpm(
                "winnt",
                "one child of a fixed number of threads, woken through a completion port",
                winnt.parent,
                _FIXED_THREADS,
                _NO,
                False,
                "an accept thread",
                "a thread",
                "WinNT",
            ),
            Mpm(
                "netware",
                "one process whose threads all wait for connections themselves",
                netware.parent,
                _VARIABLE_THREADS,
                _NO,
                False,
                "every idle thread",
                "a thread",
                "NetWare",
            ),
            Mpm(
                "os2",
                "a fixed number of children, each with a queue and as many threads as it needs",
                os2.parent,
                _VARIABLE_THREADS,
                _NO,
                False,
                "the main thread of each child",
                "a thread",
                "mpmt_os2",
                ("mpmt_os2",),
            ),
            Mpm(
                "beos",
                "one process whose threads take turns to wait for a connection",
                beos.parent,
                _VARIABLE_THREADS,
                _NO,
                False,
                "one thread at a time",
                "a thread",
                "beos",
            ),
        )
    }
)


def find_mpm(text: str) -> Mpm | None:
    """The MPM that a user means: by its name here, by 2.2's and 2.4's (mpm_winnt, mpmt_os2), by
    that of its module (mpm_event_module) or source (worker.c), or as `httpd -V` spells it."""
    plain = text.strip().lower().removesuffix("_module").removesuffix(".c").removeprefix("mpm_")
    for mpm in CATALOG.values():
        if plain in (mpm.name, mpm.httpd_name.lower(), *mpm.aliases):
            return mpm
    return None


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
    a Unix of which nothing is known."""
    if system in _EVENT_SYSTEMS:
        return "event"
    return {"Windows": "winnt", "OS/2": "os2", "NetWare": "netware", "BeOS": "beos"}.get(
        system, "prefork"
    )
