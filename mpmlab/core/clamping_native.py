"""httpd's clamping in the MPMs of other systems than Unix: winnt, netware, os2, beos.

Pure rules, as in clamping.py, whose parts these use. Sources: server/mpm/winnt/mpm_winnt.c
(winnt_check_config), server/mpm/netware/mpm_netware.c (netware_check_config, netware_run),
server/mpm/mpmt_os2/mpmt_os2.c (mpmt_os2_check_config), and of httpd 2.2 server/mpm/beos/beos.c (the
functions of its directives, beos_run). Message numbers came with 2.4: beos's lines have none, and
os2's none that is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from mpmlab.core.clamping import PoolSizes, Warnings, idents_of
from mpmlab.core.settings import INT_MAX, Message

#: MAX_THREAD_LIMIT of winnt; HARD_THREAD_LIMIT of the others; HARD_SERVER_LIMIT of os2.
WINNT_THREADS: Final = 15_000
NETWARE_THREADS: Final = 2048
OS2_PROCESSES: Final = 10
OS2_THREADS: Final = 256
BEOS_THREADS: Final = 50

_NO_SPARE: Final = "(with none the server would almost certainly fail)"


def clamp_native(mpm: str, asked: PoolSizes) -> tuple[PoolSizes, tuple[Message, ...]]:
    """The sizes that `mpm` runs with when asked for these, and the warnings in order.

    `asked` is left alone. Clamping what was clamped changes nothing more."""
    sizes = replace(asked)
    warnings = Warnings(_IDENTS[mpm])
    _CLAMPS[mpm](sizes, warnings)
    return sizes, tuple(warnings.messages)


def _winnt(sizes: PoolSizes, warnings: Warnings) -> None:
    """winnt_check_config(). One child process of so many threads, for ever."""
    sizes.thread_limit = warnings.within("thread", "ThreadLimit", sizes.thread_limit, WINNT_THREADS)
    threads, limit = sizes.threads_per_child, sizes.thread_limit
    if threads > limit:
        warnings.add(
            "child_over",
            f"ThreadsPerChild of {threads} is above ThreadLimit {limit}; lowered to {limit} "
            "(raise ThreadLimit to allow more)",
        )
        sizes.threads_per_child = limit
    else:
        sizes.threads_per_child = warnings.at_least_1("child_low", "ThreadsPerChild", threads)
    sizes.start_servers = sizes.server_limit = sizes.daemons_limit = 1
    sizes.max_request_workers = sizes.threads_per_child


def _netware(sizes: PoolSizes, warnings: Warnings) -> None:
    """netware_check_config(), and the silent rules of netware_run(). StartThreads 0 passes."""
    sizes.max_threads = warnings.within("max", "MaxThreads", sizes.max_threads, NETWARE_THREADS)
    _start_threads(sizes, warnings)
    _min_spare(sizes, warnings)
    sizes.max_spare = min(INT_MAX, max(sizes.max_spare, sizes.min_spare + 1))
    sizes.start_threads = min(sizes.start_threads, sizes.max_threads)
    _one_process(sizes, sizes.max_threads)


def _os2(sizes: PoolSizes, warnings: Warnings) -> None:
    """mpmt_os2_check_config(). StartServers 0 passes: a server without children. That there are no
    more than ten is the length of the scoreboard, which nobody mentions."""
    if sizes.start_servers < 0:
        warnings.add(
            "start_low", f"StartServers of {sizes.start_servers} is not possible; raised to 1"
        )
        sizes.start_servers = 1
    _min_spare(sizes, warnings)
    sizes.start_servers = min(sizes.start_servers, OS2_PROCESSES)
    sizes.server_limit = OS2_PROCESSES
    sizes.daemons_limit = sizes.start_servers
    sizes.threads_per_child = sizes.thread_limit = OS2_THREADS
    sizes.max_request_workers = sizes.daemons_limit * OS2_THREADS


def _beos(sizes: PoolSizes, warnings: Warnings) -> None:
    """The directives' own functions, and the silent rules of beos_run(). Too few clients become the
    most, not one."""
    _start_threads(sizes, warnings)
    _min_spare(sizes, warnings)
    clients = sizes.max_request_workers
    if not 1 <= clients <= BEOS_THREADS:
        why = "above the compiled-in limit" if clients > BEOS_THREADS else "not possible"
        warnings.add("clients", f"MaxClients of {clients} is {why}; set to {BEOS_THREADS}")
        sizes.max_request_workers = BEOS_THREADS
    if sizes.max_requests_per_thread < 0:
        warnings.add(
            "requests_low",
            f"MaxRequestsPerThread of {sizes.max_requests_per_thread} is below 0; set to 0, "
            "that is for ever",
        )
        sizes.max_requests_per_thread = 0
    sizes.max_spare = max(sizes.max_spare, sizes.min_spare)
    sizes.start_threads = min(sizes.start_threads, sizes.max_request_workers)
    _one_process(sizes, sizes.max_request_workers)


def _start_threads(sizes: PoolSizes, warnings: Warnings) -> None:
    if sizes.start_threads < 0:
        warnings.add(
            "start_low", f"StartThreads of {sizes.start_threads} is not possible; raised to 1"
        )
        sizes.start_threads = 1


def _min_spare(sizes: PoolSizes, warnings: Warnings) -> None:
    if sizes.min_spare < 1:
        warnings.add(
            "spare_low",
            f"MinSpareThreads of {sizes.min_spare} is not possible; raised to 1 {_NO_SPARE}",
        )
        sizes.min_spare = 1


def _one_process(sizes: PoolSizes, threads: int) -> None:
    """A server that is one process with at most so many worker threads."""
    sizes.start_servers = sizes.server_limit = sizes.daemons_limit = 1
    sizes.threads_per_child = sizes.thread_limit = sizes.max_request_workers = threads


_CLAMPS: Final[Mapping[str, Callable[[PoolSizes, Warnings], None]]] = MappingProxyType(
    {"winnt": _winnt, "netware": _netware, "os2": _os2, "beos": _beos}
)

_NONE: Final = MappingProxyType(
    dict.fromkeys(("start_low", "spare_low", "clients", "requests_low"), "")
)
_IDENTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "winnt": idents_of(thread_high=439, thread_low=441, child_over=444, child_low=446),
        "netware": idents_of(max_high=228, max_low=230, start_low=231, spare_low=233),
        "os2": _NONE,
        "beos": _NONE,
    }
)
