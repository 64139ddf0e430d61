"""httpd's clamping: what becomes of pool sizes that contradict one another or its limits.

Pure rules, in httpd's order: first those of the configuration check, which warn, then those of the
start, which are silent. Message ids are httpd's; the wording is ours. Those of the MPMs of other
systems than Unix are clamping_native.py's. Sources:
server/mpm/{prefork/prefork,worker/worker,event/event}.c, functions *_check_config and *_run (2.4).
One bucket of listeners throughout (ListenCoresBucketsRatio 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from mpmlab.core.settings import INT_MAX, Message


@dataclass
class PoolSizes:
    """The numbers that clamp one another. For prefork the threads are 1 and spares are servers;
    for the others spares are threads. `daemons_limit` is an outcome only."""

    start_servers: int
    min_spare: int
    max_spare: int
    server_limit: int
    max_request_workers: int
    threads_per_child: int = 1
    thread_limit: int = 1
    daemons_limit: int = 0
    start_threads: int = 0
    max_threads: int = 0
    max_requests_per_thread: int = 0


@dataclass(frozen=True)
class _Rules:
    """What differs between the MPMs: compiled-in limits, and the id of each warning at start."""

    max_server_limit: int
    max_thread_limit: int
    idents: Mapping[str, str]


def idents_of(**idents: int) -> Mapping[str, str]:
    """Message numbers by what they are about."""
    return MappingProxyType({key: f"AH{number:05d}" for key, number in idents.items()})


#: MAX_SERVER_LIMIT, MAX_THREAD_LIMIT and the APLOGNO of each warning's start-up variant (2.4.x).
_RULES: Final[Mapping[str, _Rules]] = MappingProxyType(
    {
        "prefork": _Rules(
            200_000,
            1,
            idents_of(
                server_high=175,
                server_low=177,
                workers_over=180,
                workers_low=182,
                start_low=184,
                spare_low=186,
            ),
        ),
        "worker": _Rules(
            20_000,
            20_000,
            idents_of(
                server_high=300,
                server_low=302,
                thread_high=305,
                thread_low=307,
                child_over=310,
                child_low=312,
                workers_low=314,
                workers_multiple=316,
                workers_over=318,
                start_low=320,
                spare_low=322,
            ),
        ),
        "event": _Rules(
            20_000,
            100_000,
            idents_of(
                server_high=497,
                server_low=499,
                thread_high=502,
                thread_low=504,
                child_over=507,
                child_low=509,
                workers_low=511,
                workers_multiple=513,
                workers_over=515,
                start_low=517,
                spare_low=519,
            ),
        ),
    }
)


class Warnings:
    """Collects the warnings of one configuration check."""

    def __init__(self, idents: Mapping[str, str]) -> None:
        self.idents = idents
        self.messages: list[Message] = []

    def add(self, key: str, text: str) -> None:
        self.messages.append(Message("warn", self.idents[key], text))

    def within(self, key: str, name: str, value: int, high: int) -> int:
        """`value` brought into 1..high, with a warning if it was outside."""
        if value > high:
            text = f"{name} of {value} is above the compiled-in limit of {high}; lowered to {high}"
            self.add(f"{key}_high", text)
            return high
        return self.at_least_1(f"{key}_low", name, value)

    def at_least_1(self, key: str, name: str, value: int) -> int:
        """`value`, or 1 with a warning."""
        if value >= 1:
            return value
        self.add(key, f"{name} of {value} is not possible; raised to 1")
        return 1


def clamp(mpm: str, asked: PoolSizes) -> tuple[PoolSizes, tuple[Message, ...]]:
    """The sizes that `mpm` runs with when asked for these, and the warnings in order.

    `asked` is left alone. Clamping what was clamped changes nothing more."""
    rules = _RULES[mpm]
    sizes = replace(asked)
    warnings = Warnings(rules.idents)
    sizes.server_limit = warnings.within(
        "server", "ServerLimit", sizes.server_limit, rules.max_server_limit
    )
    if mpm == "prefork":
        _check_prefork(sizes, warnings)
        _run(sizes, 1)
    else:
        _check_threaded(sizes, warnings, rules)
        # The documentation says MinSpareThreads + ThreadsPerChild; the code adds one.
        _run(sizes, sizes.threads_per_child + 1)
    return sizes, tuple(warnings.messages)


def _check_prefork(sizes: PoolSizes, warnings: Warnings) -> None:
    """prefork.c: prefork_check_config, after ServerLimit."""
    limit = sizes.server_limit
    if sizes.max_request_workers > limit:
        warnings.add(
            "workers_over",
            f"MaxRequestWorkers of {sizes.max_request_workers} is above ServerLimit {limit}; "
            f"lowered to {limit} (raise ServerLimit to allow more)",
        )
        sizes.max_request_workers = limit
    else:
        sizes.max_request_workers = warnings.at_least_1(
            "workers_low", "MaxRequestWorkers", sizes.max_request_workers
        )
    sizes.daemons_limit = sizes.max_request_workers
    _check_pool(sizes, warnings, "MinSpareServers")


def _check_threaded(sizes: PoolSizes, warnings: Warnings, rules: _Rules) -> None:
    """worker.c: worker_check_config, event.c: event_check_config, after ServerLimit."""
    sizes.thread_limit = warnings.within(
        "thread", "ThreadLimit", sizes.thread_limit, rules.max_thread_limit
    )
    if sizes.threads_per_child > sizes.thread_limit:
        warnings.add(
            "child_over",
            f"ThreadsPerChild of {sizes.threads_per_child} is above ThreadLimit "
            f"{sizes.thread_limit}; lowered to {sizes.thread_limit} "
            "(raise ThreadLimit to allow more)",
        )
        sizes.threads_per_child = sizes.thread_limit
    else:
        sizes.threads_per_child = warnings.at_least_1(
            "child_low", "ThreadsPerChild", sizes.threads_per_child
        )
    _check_workers(sizes, warnings)
    _check_pool(sizes, warnings, "MinSpareThreads")


def _check_workers(sizes: PoolSizes, warnings: Warnings) -> None:
    """MaxRequestWorkers of worker and event, and the number of processes it stands for."""
    threads, asked = sizes.threads_per_child, sizes.max_request_workers
    if asked < threads:
        warnings.add(
            "workers_low",
            f"MaxRequestWorkers of {asked} is below ThreadsPerChild {threads}, "
            f"the least that one process serves; raised to {threads}",
        )
        sizes.max_request_workers = threads
    servers, rest = divmod(sizes.max_request_workers, threads)
    if rest:
        warnings.add(
            "workers_multiple",
            f"MaxRequestWorkers of {sizes.max_request_workers} is not a multiple of "
            f"ThreadsPerChild {threads}; lowered to {servers * threads}, that is {servers} servers",
        )
        sizes.max_request_workers = servers * threads
    limit = sizes.server_limit
    if servers > limit:
        # httpd says that it lowers MaxRequestWorkers, but lowers only the number of processes.
        # That is why a saturated server then repeats "scoreboard is full" for ever.
        warnings.add(
            "workers_over",
            f"MaxRequestWorkers of {sizes.max_request_workers} would need {servers} servers, above "
            f"ServerLimit {limit}; lowered to {limit * threads} (raise ServerLimit to allow more)",
        )
        servers = limit
    sizes.daemons_limit = servers


def _check_pool(sizes: PoolSizes, warnings: Warnings, min_spare: str) -> None:
    """The end of every configuration check. The maximum of spares is not looked at here."""
    sizes.start_servers = warnings.at_least_1("start_low", "StartServers", sizes.start_servers)
    if sizes.min_spare < 1:
        warnings.add(
            "spare_low",
            f"{min_spare} of {sizes.min_spare} is not possible; raised to 1 "
            "(with none the server would almost certainly fail)",
        )
        sizes.min_spare = 1


def _run(sizes: PoolSizes, one_more: int) -> None:
    """prefork_run, worker_run, event_run: silent. The most spares must leave room for one more
    process (`one_more`) above the least, or each start would be followed by a stop."""
    sizes.max_spare = min(INT_MAX, max(sizes.max_spare, sizes.min_spare + one_more))
    sizes.start_servers = min(sizes.start_servers, sizes.daemons_limit)
