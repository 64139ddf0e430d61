"""A platform: what each primitive costs somewhere, and the facts of its network and memory.

Pure values; reading and writing TOML (core/platform_file.py), measuring (real/probe.py) and
charging (sim) live elsewhere. Every value has a unit in its name; where it came from is kept beside
it, in `sources`, by field name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace


@dataclass(frozen=True)
class Costs:
    """CPU microseconds that each primitive takes on the calling thread, unless said otherwise."""

    fork_us: float = 1.0  # the parent's share of creating a process
    child_start_us: float = 0.0  # the child's share, before its first step
    thread_us: float = 1.0
    exit_us: float = 1.0  # parent: reaping one child
    switch_us: float = 1.0  # a blocked process gets going again: its main thread
    thread_switch_us: float = 1.0  # another thread of a process does
    idle_us: float = 0.0  # most, for a thread that wakes on a core that rested: idle_after_us
    # What it takes to be warm again.
    stale_us: float = 0.0  # most, for a process that has not computed for long: stale_after_us
    cold_us: float = 0.0  # for a request whose demand kept the core busy for 1 ms; less for less
    lock_us: float = 1.0  # lock and unlock of a shared mutex, nobody waiting
    put_us: float = 1.0
    get_us: float = 1.0
    accept_us: float = 1.0
    connection_us: float = 1.0  # per connection: objects, options, set-up of the parser
    recv_us: float = 1.0
    recv_per_kb_us: float = 0.0
    send_us: float = 1.0
    send_per_kb_us: float = 0.0
    close_us: float = 1.0
    connect_us: float = 1.0
    poll_us: float = 1.0
    arm_us: float = 1.0
    signal_us: float = 1.0
    step_us: float = 0.1  # interpreter's price of the text between two operations
    request_us: float = 1.0  # per request: parsing, building the answer, bookkeeping


@dataclass(frozen=True)
class Platform:
    """One platform. Times in microseconds, sizes as named; `cores` are the server's."""

    name: str = "ideal"
    costs: Costs = field(default_factory=Costs)
    cores: int = 1
    fresh_us: float = 0.0  # how much of what a thread computes after it woke goes before others'
    stale_after_us: float = 3000.0  # a process that did not compute for so long is half cold
    idle_after_us: float = 0.0  # a core that rested for so long takes half of the most to wake
    gil: bool = False
    gil_switch_interval_us: float = 5000.0
    unserialized_accept: bool = True  # httpd's SINGLE_LISTEN_UNSERIALIZED_ACCEPT
    wake_policy: str = "fifo"  # who of several blocked in accept is woken: fifo, lifo, herd (all)
    timer_slack_us: float = 0.0  # how much later than asked a timed wait of the handler ends
    latency_us: float = 0.0  # one way, from send() to readable at the other end
    bandwidth_mbit_s: float = 0.0  # per connection and direction; 0 is unlimited
    send_buffer_bytes: int = 2_626_560  # what a peer that does not read lets us send (loopback)
    somaxconn: int = 4096
    process_limit: int = 32_000
    # Between these factors of all costs lie 90 % of the runs that a profile was fitted to: what one
    # minute differs from another. 1: not known.
    costs_least: float = 1.0
    costs_most: float = 1.0
    parent_memory_kib: float = 0.0  # PSS of the parent
    process_memory_kib: float = 0.0  # PSS of one child without worker threads
    thread_memory_kib: float = 0.0  # per worker thread
    connection_memory_kib: float = 0.0
    sources: Mapping[str, str] = field(default_factory=dict)  # field -> provenance
    # field -> ends of the 95 % interval, or of what it is assumed to be in, where there is one
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def with_costs_times(platform: Platform, factor: float) -> Platform:
    """The same platform with all CPU costs multiplied."""
    costs = {item.name: factor * getattr(platform.costs, item.name) for item in fields(Costs)}
    return replace(platform, costs=Costs(**costs))


#: Costs that are as good as nothing, but not nothing: for theory tests and load clients.
NEARLY_FREE = Costs(
    **{
        name: 1e-6
        for name in Costs.__dataclass_fields__
        if not name.endswith("per_kb_us") and name not in ("idle_us", "stale_us", "cold_us")
    }
)
