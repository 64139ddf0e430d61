"""What each MPM answers to ap_mpm_query(), from its settings. Pure.

httpd: include/ap_mpm.h for the codes, the *_query() function of each MPM for the answers. Codes of
the running state (MPM_STATE, GENERATION) are not here, nor is one that an MPM does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from mpmlab.core.clamping_native import BEOS_THREADS, NETWARE_THREADS, OS2_PROCESSES, OS2_THREADS
from mpmlab.core.settings import Settings

#: AP_MPMQ_NOT_SUPPORTED, _STATIC, _DYNAMIC.
NO: Final = 0
STATIC: Final = 1
DYNAMIC: Final = 2
#: MAXIMUM_WAIT_OBJECTS of Windows.
_WAIT_OBJECTS: Final = 64


def queries(settings: Settings) -> Mapping[str, int]:
    """Code without its prefix AP_MPMQ_ -> answer. MAX_DAEMON_USED is that of a server that has just
    started."""
    return MappingProxyType(_ANSWERS[settings.mpm](settings))


def _common(used: int, threaded: int, forked: int) -> dict[str, int]:
    return {"MAX_DAEMON_USED": used, "IS_THREADED": threaded, "IS_FORKED": forked}


def _spare(servers: tuple[int, int], threads: tuple[int, int]) -> dict[str, int]:
    return {
        "MIN_SPARE_DAEMONS": servers[0],
        "MIN_SPARE_THREADS": threads[0],
        "MAX_SPARE_DAEMONS": servers[1],
        "MAX_SPARE_THREADS": threads[1],
    }


def _prefork(s: Settings) -> dict[str, int]:
    return {
        **_common(s.max_request_workers, NO, DYNAMIC),
        "HARD_LIMIT_DAEMONS": s.server_limit,
        "HARD_LIMIT_THREADS": 1,
        "MAX_THREADS": 1,
        **_spare((s.min_spare_servers, s.max_spare_servers), (0, 0)),
        "MAX_REQUESTS_DAEMON": s.max_connections_per_child,
        "MAX_DAEMONS": s.max_request_workers,
    }


def _worker(s: Settings) -> dict[str, int]:
    return {
        **_common(s.start_servers, STATIC, DYNAMIC),
        "HARD_LIMIT_DAEMONS": s.server_limit,
        "HARD_LIMIT_THREADS": s.thread_limit,
        "MAX_THREADS": s.threads_per_child,
        **_spare((0, 0), (s.min_spare_threads, s.max_spare_threads)),
        "MAX_REQUESTS_DAEMON": s.max_connections_per_child,
        "MAX_DAEMONS": s.daemons_limit,
    }


def _event(s: Settings) -> dict[str, int]:
    return {**_worker(s), "IS_ASYNC": 1, "CAN_WAITIO": 1}


def _winnt(s: Settings) -> dict[str, int]:
    return {
        **_common(_WAIT_OBJECTS, STATIC, NO),
        "HARD_LIMIT_DAEMONS": 1,
        "HARD_LIMIT_THREADS": s.thread_limit,
        "MAX_THREADS": s.threads_per_child,
        **_spare((0, 0), (0, 0)),
        "MAX_REQUESTS_DAEMON": s.max_connections_per_child,
        "MAX_DAEMONS": 1,
    }


def _netware(s: Settings) -> dict[str, int]:
    return {
        **_common(1, DYNAMIC, NO),
        "HARD_LIMIT_DAEMONS": 1,
        "HARD_LIMIT_THREADS": NETWARE_THREADS,
        "MAX_THREADS": s.max_threads,
        **_spare((0, 0), (s.min_spare_threads, s.max_spare_threads)),
        "MAX_REQUESTS_DAEMON": s.max_connections_per_child,
        "MAX_DAEMONS": 1,
    }


def _os2(s: Settings) -> dict[str, int]:
    """It says that it is not forked, although it has several processes."""
    return {
        **_common(s.daemons_limit, DYNAMIC, NO),
        "HARD_LIMIT_DAEMONS": OS2_PROCESSES,
        "HARD_LIMIT_THREADS": OS2_THREADS,
        "MIN_SPARE_DAEMONS": 0,
        "MAX_SPARE_DAEMONS": 0,
        "MAX_REQUESTS_DAEMON": s.max_connections_per_child,
    }


def _beos(s: Settings) -> dict[str, int]:
    """A quirk: it answers MaxSpareThreads for the least and MinSpareThreads for the most."""
    threads = (s.min_spare_threads, s.max_spare_threads)
    return {
        **_common(s.start_threads, DYNAMIC, NO),
        "HARD_LIMIT_DAEMONS": 1,
        "HARD_LIMIT_THREADS": BEOS_THREADS,
        "MAX_THREADS": BEOS_THREADS,
        **_spare((0, 0), threads[::-1] if s.quirks else threads),
        "MAX_REQUESTS_DAEMON": s.max_requests_per_thread,
        "MAX_DAEMONS": 1,
    }


_ANSWERS: Final[Mapping[str, Callable[[Settings], dict[str, int]]]] = MappingProxyType(
    {
        "prefork": _prefork,
        "worker": _worker,
        "event": _event,
        "winnt": _winnt,
        "netware": _netware,
        "os2": _os2,
        "beos": _beos,
    }
)
