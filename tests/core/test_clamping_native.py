"""The MPMs of other systems than Unix: their defaults, directives, and clamping, as table tests.

The expected numbers are those of mpm-reference.md sections 5.4, 6.3, 7.3, 8.3 and 20. What the
MPMs of Unix do, and how text is read, is test_directives.py's.
"""

from __future__ import annotations

import random
from dataclasses import fields, replace

import pytest

from mpmlab.core.clamping import PoolSizes
from mpmlab.core.clamping_native import clamp_native
from mpmlab.core.directives import DirectiveError, accepted_by, effective
from mpmlab.core.settings import MPMS, NATIVE_MPMS, UNIX_MPMS

Given = dict[str, str]
Expected = dict[str, int]
#: The number of each warning, 0 where the reference states none, and how its text begins.
Warned = list[tuple[int, str]]

#: What each accepts of the directives that not all MPMs accept.
OWN = {
    "winnt": {"ThreadsPerChild", "ThreadLimit", "MaxConnectionsPerChild"},
    "netware": {
        "StartThreads",
        "MinSpareThreads",
        "MaxSpareThreads",
        "MaxThreads",
        "MaxConnectionsPerChild",
        "Quirks",
    },
    "os2": {
        "StartServers",
        "MinSpareThreads",
        "MaxSpareThreads",
        "MaxConnectionsPerChild",
        "Quirks",
    },
    "beos": {
        "StartThreads",
        "MinSpareThreads",
        "MaxSpareThreads",
        "MaxRequestWorkers",
        "MaxRequestsPerThread",
        "Quirks",
    },
}
#: Those that none of these accepts.
UNIX_ONLY = {
    "MinSpareServers",
    "MaxSpareServers",
    "ServerLimit",
    "AsyncRequestWorkerFactor",
    "GracefulShutdownTimeout",
}
WITH_QUIRKS = ("netware", "os2", "beos")


def check(mpm: str, given: Given, expected: Expected, warned: Warned) -> None:
    """The settings have these values, and brought these warnings, in this order."""
    s = effective(mpm, given)
    assert {name: getattr(s, name) for name in expected} == expected
    idents = [f"AH{number:05d}" if number else "" for number, _ in warned]
    assert [(m.level, m.ident) for m in s.messages] == [("warn", ident) for ident in idents]
    for message, (_, start) in zip(s.messages, warned, strict=True):
        assert message.text.startswith(start)


# ---- defaults ----

COLUMNS = (
    *("start_servers", "start_threads", "min_spare_threads", "max_spare_threads"),
    *("threads_per_child", "thread_limit", "max_threads"),
    *("server_limit", "daemons_limit", "max_request_workers"),
)


@pytest.mark.parametrize(
    ("mpm", "numbers"),
    [
        ("winnt", (1, 0, 0, 0, 64, 1920, 0, 1, 1, 64)),
        ("netware", (1, 50, 10, 100, 2048, 2048, 2048, 1, 1, 2048)),
        ("os2", (2, 0, 5, 10, 256, 256, 0, 10, 2, 512)),
        ("beos", (1, 10, 1, 50, 50, 50, 0, 1, 1, 50)),
    ],
)
def test_defaults_are_those_of_the_code(mpm: str, numbers: tuple[int, ...]) -> None:
    """Without directives each has the defaults of its mpm_default.h, and says nothing."""
    check(mpm, {}, dict(zip(COLUMNS, numbers, strict=True)), [])
    s = effective(mpm)
    assert (s.max_connections_per_child, s.max_requests_per_thread) == (0, 0)
    assert (s.min_spare_servers, s.max_spare_servers, s.async_factor_floor) == (0, 0, 0)
    assert s.quirks
    assert s.given == ()


@pytest.mark.parametrize(
    ("mpm", "given", "first", "most"),
    [
        ("winnt", {}, 64, 64),
        ("winnt", {"ThreadsPerChild": "100"}, 100, 100),
        ("netware", {}, 50, 2048),
        ("netware", {"StartThreads": "0"}, 0, 2048),
        ("netware", {"MaxThreads": "20"}, 20, 20),
        ("os2", {}, 10, 512),
        ("os2", {"StartServers": "10", "MinSpareThreads": "7"}, 70, 2560),
        ("os2", {"StartServers": "0"}, 0, 0),
        ("beos", {}, 10, 50),
        ("beos", {"StartThreads": "3"}, 3, 50),
        ("beos", {"MaxClients": "8"}, 8, 8),
    ],
)
def test_how_many_workers_there_are(mpm: str, given: Given, first: int, most: int) -> None:
    """winnt starts all its threads, netware and beos StartThreads, an os2 child MinSpareThreads."""
    s = effective(mpm, given)
    assert (s.first_workers, s.workers_limit) == (first, most)


# ---- which directives ----


@pytest.mark.parametrize("mpm", NATIVE_MPMS)
def test_each_accepts_its_directives(mpm: str) -> None:
    """The matrix of section 20, and 8.3; what all seven MPMs accept is left out."""
    assert {d.name for d in accepted_by(mpm) if set(d.mpms) != set(MPMS)} == OWN[mpm]
    for name in OWN[mpm]:
        text = "On" if name == "Quirks" else "1"
        assert effective(mpm, {name: text}).given == ((name, text),)


@pytest.mark.parametrize("mpm", NATIVE_MPMS)
def test_each_refuses_those_of_others(mpm: str) -> None:
    """What only others accept is an invalid command here; the error tells what is accepted."""
    for name in UNIX_ONLY.union(*OWN.values()) - OWN[mpm]:
        with pytest.raises(DirectiveError) as caught:
            effective(mpm, {name: "1"})
        assert f"Invalid command '{name}': belongs to " in str(caught.value)
        assert f"; {mpm} accepts: " in str(caught.value)


@pytest.mark.parametrize("mpm", NATIVE_MPMS)
def test_each_accepts_what_all_do(mpm: str) -> None:
    """The directives of the core and of the listeners belong to no MPM."""
    given = {"ListenBacklog": "7", "SendBufferSize": "4096", "Timeout": "9", "KeepAlive": "Off"}
    s = effective(mpm, given | {"ListenCoresBucketsRatio": "0"})
    assert (s.listen_backlog, s.send_buffer_size, s.timeout_s, s.keep_alive) == (7, 4096, 9, False)
    assert s.buckets == 1
    assert s.messages == ()


@pytest.mark.parametrize("mpm", ["winnt", "netware", "os2"])
def test_max_clients_is_refused(mpm: str) -> None:
    """They have no limit of requests by that name: neither the new one nor the old one."""
    for name in ("MaxClients", "MaxRequestWorkers"):
        with pytest.raises(
            DirectiveError,
            match=f"Invalid command '{name}': belongs to prefork, worker, event, beos; {mpm} acc",
        ):
            effective(mpm, {name: "100"})


def test_beos_takes_max_clients_without_a_note() -> None:
    """beos is of 2.2, where that is the name: nothing about it is deprecated."""
    s = effective("beos", {"maxclients": "20"})
    assert (s.max_request_workers, s.threads_per_child, s.thread_limit) == (20, 20, 20)
    assert s.messages == ()
    assert s.given == (("MaxClients", "20"),)
    assert effective("beos", {"MaxRequestWorkers": "20"}) == replace(
        s, given=(("MaxRequestWorkers", "20"),)
    )


@pytest.mark.parametrize("mpm", ["winnt", "netware", "os2"])
def test_max_requests_per_child_is_the_old_name(mpm: str) -> None:
    """It sets MaxConnectionsPerChild, with the note that the core's table brings."""
    s = effective(mpm, {"MaxRequestsPerChild": "9"})
    assert s.max_connections_per_child == 9
    assert [(m.level, m.ident) for m in s.messages] == [("info", "AH00545")]


def test_beos_counts_per_thread_only() -> None:
    """MaxRequestsPerThread is beos's; MaxRequestsPerChild is everybody else's."""
    assert effective("beos", {"MaxRequestsPerThread": "7"}).max_requests_per_thread == 7
    with pytest.raises(
        DirectiveError,
        match="'MaxRequestsPerChild': belongs to prefork, worker, event, winnt, netware, os2; beos",
    ):
        effective("beos", {"MaxRequestsPerChild": "9"})


@pytest.mark.parametrize("mpm", WITH_QUIRKS)
def test_quirks_can_be_turned_off(mpm: str) -> None:
    """On by default; Off is kept and written back; nothing else is a value."""
    for text, value in (("On", True), ("off", False)):
        s = effective(mpm, {"Quirks": text})
        assert s.quirks is value
        assert s.as_directives()["Quirks"] is value
    with pytest.raises(DirectiveError, match="Quirks 'no': accepted: On, Off"):
        effective(mpm, {"Quirks": "no"})


@pytest.mark.parametrize("mpm", [*UNIX_MPMS, "winnt"])
def test_quirks_are_of_three(mpm: str) -> None:
    """An MPM without known mistakes does not accept the word."""
    for text in ("On", "Off"):
        with pytest.raises(DirectiveError, match="'Quirks': belongs to netware, os2, beos; "):
            effective(mpm, {"Quirks": text})
    assert "Quirks" not in effective(mpm).as_directives()


# ---- clamping ----


@pytest.mark.parametrize(
    ("given", "expected", "warned"),
    [
        (
            {"ThreadLimit": "15001"},
            {"thread_limit": 15_000, "threads_per_child": 64},
            [(439, "ThreadLimit of 15001 ")],
        ),
        ({"ThreadLimit": "15000"}, {"thread_limit": 15_000}, []),
        (
            {"ThreadLimit": "0"},
            {"thread_limit": 1, "threads_per_child": 1, "max_request_workers": 1},
            [(441, "ThreadLimit of 0 "), (444, "ThreadsPerChild of 64 is above ThreadLimit 1")],
        ),
        (
            {"ThreadLimit": "-5", "ThreadsPerChild": "1"},
            {"thread_limit": 1, "threads_per_child": 1},
            [(441, "ThreadLimit of -5 ")],
        ),
        (
            {"ThreadsPerChild": "1921"},
            {"threads_per_child": 1920, "max_request_workers": 1920},
            [(444, "ThreadsPerChild of 1921 is above ThreadLimit 1920")],
        ),
        ({"ThreadsPerChild": "1920"}, {"threads_per_child": 1920, "thread_limit": 1920}, []),
        (
            {"ThreadsPerChild": "0"},
            {"threads_per_child": 1, "max_request_workers": 1, "thread_limit": 1920},
            [(446, "ThreadsPerChild of 0 ")],
        ),
        ({"ThreadsPerChild": "-1"}, {"threads_per_child": 1}, [(446, "ThreadsPerChild of -1 ")]),
        (
            {"ThreadsPerChild": "20000", "ThreadLimit": "20000"},
            {"threads_per_child": 15_000, "thread_limit": 15_000, "daemons_limit": 1},
            [(439, "ThreadLimit of 20000 "), (444, "ThreadsPerChild of 20000 is above Thre")],
        ),
        (
            {"ThreadsPerChild": "0", "ThreadLimit": "0"},
            {"threads_per_child": 1, "thread_limit": 1},
            [(441, "ThreadLimit of 0 "), (446, "ThreadsPerChild of 0 ")],
        ),
    ],
)
def test_winnt_clamps(given: Given, expected: Expected, warned: Warned) -> None:
    """winnt_check_config: ThreadLimit first, then ThreadsPerChild against it (5.4)."""
    check("winnt", given, expected, warned)


@pytest.mark.parametrize(
    ("given", "expected", "warned"),
    [
        (
            {"MaxThreads": "2049"},
            {"max_threads": 2048, "thread_limit": 2048},
            [(228, "MaxThreads of 2049 ")],
        ),
        ({"MaxThreads": "2048"}, {"max_threads": 2048}, []),
        (
            {"MaxThreads": "0"},
            {"max_threads": 1, "threads_per_child": 1, "start_threads": 1},
            [(230, "MaxThreads of 0 ")],
        ),
        ({"MaxThreads": "-5"}, {"max_threads": 1}, [(230, "MaxThreads of -5 ")]),
        ({"StartThreads": "0"}, {"start_threads": 0}, []),
        ({"StartThreads": "-1"}, {"start_threads": 1}, [(231, "StartThreads of -1 ")]),
        ({"StartThreads": "3000"}, {"start_threads": 2048}, []),
        ({"MaxThreads": "20"}, {"start_threads": 20, "max_request_workers": 20}, []),
        (
            {"MinSpareThreads": "0"},
            {"min_spare_threads": 1, "max_spare_threads": 100},
            [(233, "MinSpareThreads of 0 ")],
        ),
        (
            {"MinSpareThreads": "-3", "MaxSpareThreads": "-3"},
            {"min_spare_threads": 1, "max_spare_threads": 2},
            [(233, "MinSpareThreads of -3 ")],
        ),
        ({"MinSpareThreads": "100"}, {"min_spare_threads": 100, "max_spare_threads": 101}, []),
        ({"MaxSpareThreads": "10"}, {"max_spare_threads": 11}, []),
        ({"MaxSpareThreads": "11"}, {"max_spare_threads": 11}, []),
        (
            {"MinSpareThreads": "0", "StartThreads": "-1", "MaxThreads": "0"},
            {"min_spare_threads": 1, "start_threads": 1, "max_threads": 1},
            [(230, "MaxThreads "), (231, "StartThreads "), (233, "MinSpareThreads ")],
        ),
    ],
)
def test_netware_clamps(given: Given, expected: Expected, warned: Warned) -> None:
    """netware_check_config warns by id, netware_run is silent; StartThreads 0 passes (6.3)."""
    check("netware", given, expected, warned)


@pytest.mark.parametrize(
    ("given", "expected", "warned"),
    [
        ({"StartServers": "0"}, {"start_servers": 0, "max_request_workers": 0}, []),
        (
            {"StartServers": "-1"},
            {"start_servers": 1, "daemons_limit": 1, "max_request_workers": 256},
            [(0, "StartServers of -1 ")],
        ),
        ({"StartServers": "10"}, {"start_servers": 10, "max_request_workers": 2560}, []),
        (
            {"StartServers": "11"},
            {"start_servers": 10, "daemons_limit": 10, "server_limit": 10},
            [],
        ),
        (
            {"MinSpareThreads": "0"},
            {"min_spare_threads": 1, "max_spare_threads": 10},
            [(0, "MinSpareThreads of 0 ")],
        ),
        ({"MinSpareThreads": "20"}, {"min_spare_threads": 20, "max_spare_threads": 10}, []),
        ({"MaxSpareThreads": "0"}, {"min_spare_threads": 5, "max_spare_threads": 0}, []),
        (
            {"MinSpareThreads": "-1", "StartServers": "-9"},
            {"min_spare_threads": 1, "start_servers": 1},
            [(0, "StartServers of -9 "), (0, "MinSpareThreads of -1 ")],
        ),
    ],
)
def test_os2_clamps(given: Given, expected: Expected, warned: Warned) -> None:
    """mpmt_os2_check_config: StartServers 0 passes, and nobody compares the spares (7.3)."""
    check("os2", given, expected, warned)


@pytest.mark.parametrize(
    ("given", "expected", "warned"),
    [
        (
            {"MinSpareThreads": "0"},
            {"min_spare_threads": 1, "max_spare_threads": 50},
            [(0, "MinSpareThreads of 0 ")],
        ),
        ({"MinSpareThreads": "60"}, {"min_spare_threads": 60, "max_spare_threads": 60}, []),
        ({"MaxSpareThreads": "0"}, {"min_spare_threads": 1, "max_spare_threads": 1}, []),
        ({"StartThreads": "0"}, {"start_threads": 0}, []),
        ({"StartThreads": "-1"}, {"start_threads": 1}, [(0, "StartThreads of -1 ")]),
        ({"StartThreads": "60"}, {"start_threads": 50}, []),
        ({"MaxClients": "8"}, {"max_request_workers": 8, "start_threads": 8}, []),
        ({"MaxClients": "50"}, {"max_request_workers": 50}, []),
        ({"MaxClients": "51"}, {"max_request_workers": 50}, [(0, "MaxClients of 51 is above ")]),
        (
            {"MaxClients": "0"},
            {"max_request_workers": 50, "threads_per_child": 50},
            [(0, "MaxClients of 0 is not possible")],
        ),
        ({"MaxRequestWorkers": "-1"}, {"max_request_workers": 50}, [(0, "MaxClients of -1 ")]),
        (
            {"MaxRequestsPerThread": "-1"},
            {"max_requests_per_thread": 0},
            [(0, "MaxRequestsPerThread of -1 ")],
        ),
        (
            {"MaxClients": "0", "MinSpareThreads": "0", "StartThreads": "-1"},
            {"max_request_workers": 50, "min_spare_threads": 1, "start_threads": 1},
            [(0, "StartThreads "), (0, "MinSpareThreads "), (0, "MaxClients ")],
        ),
    ],
)
def test_beos_clamps(given: Given, expected: Expected, warned: Warned) -> None:
    """The functions of its directives warn, beos_run is silent; MaxClients is at most 50 (8.3)."""
    check("beos", given, expected, warned)


@pytest.mark.parametrize("mpm", NATIVE_MPMS)
def test_clamping_is_a_fixed_point(mpm: str) -> None:
    """What was clamped stays as it is, in silence; what was asked for is left alone; and the most
    workers are those of all processes."""
    rng = random.Random(f"clamping {mpm}")
    numbers = (-7, -1, 0, 1, 2, 9, 10, 11, 50, 51, 256, 2048, 2049, 15_000, 15_001, 300_000)
    for _ in range(300):
        asked = PoolSizes(*(rng.choice(numbers) for _ in fields(PoolSizes)))
        kept = replace(asked)
        once, _ = clamp_native(mpm, asked)
        assert asked == kept
        assert clamp_native(mpm, once) == (once, ())
        assert once.max_request_workers == once.daemons_limit * once.threads_per_child
        assert 0 <= once.start_servers <= once.daemons_limit <= once.server_limit
        assert 1 <= once.threads_per_child <= once.thread_limit
