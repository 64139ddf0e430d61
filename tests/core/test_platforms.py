"""The shipped platforms: where each value comes from, and what the literature says of the systems.

What a file must look like is test_platform_file.py's; here it is what these files say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

import pytest

from mpmlab.core.platform import Costs, Platform
from mpmlab.platforms import shipped, shipped_names

#: Probed before sources told their kind: any will do.
PROBED: Final = "linux-cpython"
NAMES: Final = (
    "beos", "linux", PROBED, "netware", "os2", "unix-1999", "windows", "windows-posix",
)  # fmt: skip
#: Those of one machine, a Pentium II of 400 MHz.
OLD: Final = ("beos", "netware", "os2", "unix-1999")
#: Those of the machine that mpmlab was calibrated on.
PRESENT: Final = ("linux", "windows", "windows-posix")
KINDS: Final = ("measured: ", "published: ", "assumed: ")
MEASURED, PUBLISHED, ASSUMED = KINDS
COSTS: Final = tuple(item.name for item in fields(Costs))
FACTS: Final = tuple(
    item.name
    for item in fields(Platform)
    if item.name not in ("name", "costs", "sources", "intervals")
)
#: A backlog of httpd's, if ListenBacklog does not say otherwise.
LISTEN_BACKLOG: Final = 511


def value_of(platform: Platform, field: str) -> Any:
    """A cost or a fact by its field's name."""
    return getattr(platform.costs if field in COSTS else platform, field)


def said_of(platform: Platform, field: str) -> str:
    """The source of a value, without its date."""
    return platform.sources[field].partition(": ")[2]


def of_kind(platform: Platform, kind: str) -> Iterator[str]:
    """The fields whose source is of that kind."""
    return (field for field in platform.sources if said_of(platform, field).startswith(kind))


def visit_us(platform: Platform) -> float:
    """CPU of a connection with one request for 1 KiB, but for waiting and for the MPM's own."""
    costs = platform.costs
    return (
        costs.accept_us + costs.connection_us + 2 * costs.recv_us + costs.request_us
        + costs.send_us + costs.send_per_kb_us + 2 * costs.close_us
    )  # fmt: skip


# ---- where the values come from ------------------------------------------------------------------


def test_the_shipped_platforms_are_these() -> None:
    """As shipped_names() lists them; each is named as its file."""
    assert tuple(shipped_names()) == NAMES
    assert [shipped(name).name for name in NAMES] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_default_has_a_source(name: str) -> None:
    """No number without provenance: what has none is mpmlab's default."""
    platform, default = shipped(name), Platform()
    for field in (*COSTS, *FACTS):
        if field not in platform.sources:
            assert value_of(platform, field) == value_of(default, field), field


@pytest.mark.parametrize("name", [name for name in NAMES if name != PROBED])
def test_every_source_tells_its_kind(name: str) -> None:
    """measured, published or assumed; and then what was measured, who published, or why."""
    platform = shipped(name)
    for field in platform.sources:
        said = said_of(platform, field)
        (kind,) = [kind for kind in KINDS if said.startswith(kind)]
        assert len(said.removeprefix(kind).split()) >= 2, field


@pytest.mark.parametrize("name", NAMES)
def test_intervals_contain_their_values(name: str) -> None:
    """Of whatever kind they are."""
    platform = shipped(name)
    for field, (low, high) in platform.intervals.items():
        assert low < high, field
        assert low <= value_of(platform, field) <= high, field


@pytest.mark.parametrize("name", NAMES)
def test_what_is_assumed_has_a_range(name: str) -> None:
    """A number with a range above zero. A cost may well be twice or half as much, and lies within
    an order of magnitude."""
    platform = shipped(name)
    for field in of_kind(platform, ASSUMED):
        value = value_of(platform, field)
        assert type(value) in (int, float), field
        low, high = platform.intervals[field]
        assert 0 < low < high, field
        if field in COSTS:
            assert value / 10 <= low, field
            assert high <= 10 * value, field
            assert high >= 3 * low, field


def test_only_what_was_measured_is_called_so() -> None:
    """linux is this project's own and has nothing assumed; of the others nothing was measured."""
    assert not list(of_kind(shipped("linux"), ASSUMED))
    measured = set(of_kind(shipped("linux"), MEASURED))
    assert {field for field in COSTS if value_of(shipped("linux"), field)} <= measured
    for name in NAMES:
        if name not in ("linux", PROBED):
            assert not list(of_kind(shipped(name), MEASURED)), name


# ---- what the systems are ------------------------------------------------------------------------


def test_only_cpython_has_an_interpreter_lock() -> None:
    """httpd is a C program; and each file says so itself, for that is what sets it apart."""
    assert [name for name in NAMES if shipped(name).gil] == [PROBED]
    assert all("gil" in shipped(name).sources for name in NAMES)


def test_old_platforms_are_one_machine() -> None:
    """One processor and 100 Mbit/s, far slower than today's; so that only the systems differ. The
    others are on loopback."""
    for name in OLD:
        platform = shipped(name)
        assert (platform.cores, platform.bandwidth_mbit_s) == (1, 100.0)
        assert visit_us(platform) > 5 * visit_us(shipped("linux"))
    for name in PRESENT:
        assert shipped(name).bandwidth_mbit_s == 0


def test_accept_is_serialised_where_httpd_does() -> None:
    """configure.in of httpd 2.4: Linux, OS/2 and Cygwin need no accept mutex for one listener;
    Solaris 7 does, and whom it does not list."""
    unserialised = [name for name in NAMES if shipped(name).unserialized_accept]
    assert unserialised == ["linux", PROBED, "os2", "windows-posix"]


def test_timers_are_as_fine_as_their_ticks() -> None:
    """Half of a tick: 15.6 ms on Windows, layer or not, and 31.25 on OS/2; a hundredth of a second
    on a Unix of 1999. BeOS and today's Linux have timers of their own for each wait."""
    late = {name: shipped(name).timer_slack_us for name in NAMES}
    assert late["windows"] == late["windows-posix"] == 15_625 / 2
    assert late["os2"] == 31_250 / 2
    assert 5_000 <= late["unix-1999"] <= 20_000
    assert max(late["beos"], late["linux"]) < late["unix-1999"] / 10


def test_backlogs_are_shorter_than_httpd_asks_for() -> None:
    """Everywhere but on today's Linux the system cuts ListenBacklog; a Windows server at 200."""
    assert shipped("windows").somaxconn == 200
    for name in NAMES:
        assert (shipped(name).somaxconn < LISTEN_BACKLOG) != ("linux" in name), name


def test_processes_can_be_too_many() -> None:
    """Documented limits: OS/2's 4095, Solaris 7's by its memory, children in the POSIX layer."""
    assert shipped("os2").process_limit == 4095
    assert shipped("unix-1999").process_limit == 10 + 16 * 128
    assert shipped("windows-posix").process_limit == 256


# ---- what costs more than what -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_process_is_dearer_than_a_thread(name: str) -> None:
    """To make, several times: with what it does before it serves; and in memory."""
    platform = shipped(name)
    made_us = platform.costs.fork_us + platform.costs.child_start_us
    assert made_us > 5 * platform.costs.thread_us
    assert platform.process_memory_kib > 3 * platform.thread_memory_kib


def test_windows_makes_threads_cheaply_and_processes_dearly() -> None:
    """CreateProcess takes several times what linux's fork does (7.5 times: Hunt et al. 2005), and
    threads are far cheaper; an emulated fork takes several times CreateProcess, and that at the
    ends of what is assumed of a thread, too."""
    linux, windows, posix = (shipped(name) for name in PRESENT)
    assert windows.costs.fork_us > 3 * linux.costs.fork_us
    assert windows.costs.fork_us > 10 * windows.costs.thread_us
    assert posix.costs.fork_us > 5 * windows.costs.fork_us
    assert posix.costs.fork_us > 20 * linux.costs.fork_us
    assert posix.intervals["fork_us"][0] > 10 * windows.intervals["thread_us"][1]


def test_a_layer_costs_more_than_what_it_lies_on() -> None:
    """No call is cheaper through the POSIX layer than in Windows itself. (It makes a process by
    copying it, so that there is no configuration to be read.)"""
    windows, posix = shipped("windows"), shipped("windows-posix")
    for field in COSTS:
        if field != "child_start_us":
            assert value_of(posix, field) >= value_of(windows, field), field
    for field in ("accept_us", "recv_us", "send_us", "close_us", "poll_us", "signal_us"):
        assert value_of(posix, field) > 2 * value_of(windows, field), field


def test_netware_switches_and_calls_most_cheaply() -> None:
    """One address space and one mode: less for every switch and every call of the network than
    others on that machine; but its own cached answers were cheaper than httpd's (Novell 1998)."""
    netware = shipped("netware")
    others = [shipped(name) for name in OLD if name != "netware"]
    for field in (
        "switch_us", "thread_switch_us", "accept_us", "recv_us", "send_us", "close_us", "poll_us",
        "lock_us",
    ):  # fmt: skip
        assert value_of(netware, field) < min(value_of(other, field) for other in others), field
    assert visit_us(netware) > 1e6 / 5003 * 266 / 400


def test_beos_has_cheap_threads_and_dear_sockets() -> None:
    """Built on threads, its network in a server process: the other way round than a Unix."""
    beos, unix, os2 = shipped("beos"), shipped("unix-1999"), shipped("os2")
    for field in ("thread_us", "thread_switch_us", "lock_us"):
        assert value_of(beos, field) < min(value_of(unix, field), value_of(os2, field)), field
    for field in ("accept_us", "recv_us", "recv_per_kb_us", "send_us", "close_us", "poll_us"):
        assert value_of(beos, field) > max(value_of(unix, field), value_of(os2, field)), field


def test_a_unix_of_1999_is_as_fast_as_was_published() -> None:
    """Apache 1.3.6 on 500 MHz: 1,184 requests a second on FreeBSD 3.2 and 996 on Linux 2.2.10, with
    the client. A server alone, at 400 MHz, takes between two thirds of the one and the whole of the
    other. And a child that is forked is milliseconds, as a CGI's was."""
    unix = shipped("unix-1999")
    slower = 500 / 400
    assert 1e6 / 1184 * slower * 2 / 3 < visit_us(unix) < 1e6 / 996 * slower
    assert 1_000 < unix.costs.fork_us + unix.costs.child_start_us < 10_000


def test_where_nothing_forks_a_child_starts_from_scratch() -> None:
    """Windows, OS/2, NetWare and BeOS run the program anew, which reads its configuration: most of
    what a child costs is its own start. On a Unix it is a copy."""
    for name in ("windows", "os2", "netware", "beos"):
        costs = shipped(name).costs
        assert costs.child_start_us > costs.fork_us, name
    unix = shipped("unix-1999").costs
    assert unix.child_start_us < unix.fork_us
