"""Directives become settings: the table, the errors of the user's input, and httpd's clamping.

The expected numbers are those of mpm-reference.md sections 2.4, 2.5, 3.5, 3.6, 4.6, 4.7 and 20.
"""

from __future__ import annotations

import random

import pytest

from mpmlab.core.directive_table import DIRECTIVES
from mpmlab.core.directives import DirectiveError, accepted_by, effective
from mpmlab.core.settings import MPMS, Settings, directive_name


def idents(settings: Settings) -> list[str]:
    """The ids of the messages, in order."""
    return [message.ident for message in settings.messages]


def test_prefork_defaults_are_those_of_the_code() -> None:
    """Without directives prefork has the defaults of mpm_default.h, and says nothing."""
    s = effective("prefork")
    assert (s.start_servers, s.min_spare_servers, s.max_spare_servers) == (5, 5, 10)
    assert (s.server_limit, s.max_request_workers, s.daemons_limit) == (256, 256, 256)
    assert (s.threads_per_child, s.thread_limit) == (1, 1)
    assert (s.min_spare_threads, s.max_spare_threads, s.async_factor_floor) == (0, 0, 0)
    assert s.messages == ()
    assert s.given == ()


@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_threaded_defaults_are_those_of_the_code(mpm: str) -> None:
    """worker and event share their defaults; only event has the factor."""
    s = effective(mpm)
    assert (s.start_servers, s.min_spare_threads, s.max_spare_threads) == (3, 75, 250)
    assert (s.threads_per_child, s.thread_limit, s.server_limit) == (25, 64, 16)
    assert (s.max_request_workers, s.daemons_limit) == (400, 16)
    assert (s.min_spare_servers, s.max_spare_servers) == (0, 0)
    assert s.async_factor_floor == (2 if mpm == "event" else 0)
    assert s.messages == ()


@pytest.mark.parametrize("mpm", MPMS)
def test_common_defaults(mpm: str) -> None:
    """The core's directives have httpd 2.4's defaults under every MPM."""
    s = effective(mpm)
    assert (s.timeout_s, s.keep_alive, s.keep_alive_timeout_s) == (60, True, 5.0)
    assert (s.max_keep_alive_requests, s.max_connections_per_child) == (100, 0)
    assert (s.limit_request_line, s.limit_request_field_size) == (8190, 8190)
    assert (s.limit_request_fields, s.limit_request_body) == (100, 1_073_741_824)
    assert (s.flush_max_threshold, s.listen_backlog) == (65_535, 511)
    assert s.thread_stack_size == (65_536 if mpm == "netware" else 0)
    assert (s.graceful_shutdown_timeout_s, s.buckets) == (0, 1)


def test_names_are_case_insensitive_and_the_last_wins() -> None:
    """As in httpd.conf; what was given is kept in httpd's spelling, in order."""
    s = effective("prefork", [("STARTSERVERS", "7"), ("startservers", " 8 ")])
    assert s.start_servers == 8
    assert s.given == (("StartServers", "7"), ("StartServers", " 8 "))


def test_a_mapping_is_as_good_as_pairs() -> None:
    """A TOML table can be passed as it is."""
    given = {"ThreadsPerChild": "5"}
    assert effective("worker", given) == effective("worker", list(given.items()))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("500ms", 0.5),
        ("2s", 2.0),
        ("1min", 60.0),
        ("1mi", 60.0),
        ("1h", 3600.0),
        ("0", 0),
    ],
)
def test_keep_alive_timeout_units(text: str, seconds: float) -> None:
    """KeepAliveTimeout takes units; without one it is seconds."""
    assert effective("event", [("KeepAliveTimeout", text)]).keep_alive_timeout_s == seconds


@pytest.mark.parametrize(
    ("text", "stored", "acts_as"),
    [
        ("2", 2.0, 2),
        ("1.9", 1.9, 1),
        ("3", 3.0, 3),
        ("0.5", 1.0, 1),
        ("1.5", 1.5, 1),
        ("2e1", 20, 20),
    ],
)
def test_the_factor_acts_as_its_floor(text: str, stored: float, acts_as: int) -> None:
    """AsyncRequestWorkerFactor is kept as given, raised to 1, and acts as a whole number."""
    s = effective("event", [("AsyncRequestWorkerFactor", text)])
    assert (s.async_request_worker_factor, s.async_factor_floor) == (stored, acts_as)


@pytest.mark.parametrize(
    ("mpm", "name", "text", "accepted"),
    [
        ("prefork", "StartServers", "five", "a whole number from"),
        ("prefork", "StartServers", "", "a whole number from"),
        ("prefork", "StartServers", "5.0", "a whole number from"),
        ("prefork", "StartServers", "1_0", "a whole number from"),
        ("prefork", "StartServers", "٥", "a whole number from"),
        ("prefork", "StartServers", "9999999999", "from -2147483648 to 2147483647"),
        ("prefork", "StartServers", "9" * 5000, "from -2147483648 to 2147483647"),
        ("worker", "MaxConnectionsPerChild", "-1", "a whole number from 0 to"),
        ("worker", "Timeout", "0", "a whole number from 1 to"),
        ("worker", "ListenBacklog", "0", "a whole number from 1 to"),
        ("event", "FlushMaxThreshold", "4294967296", "a whole number from 0 to 4294967295"),
        ("event", "KeepAlive", "yes", "On, Off"),
        ("event", "KeepAliveTimeout", "5x", "500ms"),
        ("event", "KeepAliveTimeout", "-5", "500ms"),
        ("event", "KeepAliveTimeout", "5 s", "500ms"),
        ("event", "KeepAliveTimeout", "ms", "500ms"),
        ("event", "AsyncRequestWorkerFactor", "0", "a number above 0"),
        ("event", "AsyncRequestWorkerFactor", "-2", "a number above 0"),
        ("event", "AsyncRequestWorkerFactor", "nan", "a number above 0"),
        ("event", "AsyncRequestWorkerFactor", "inf", "a number above 0"),
        ("event", "AsyncRequestWorkerFactor", "1e999", "a number above 0"),
    ],
)
def test_a_value_that_cannot_be_read(mpm: str, name: str, text: str, accepted: str) -> None:
    """One error, which tells where, which directive, what was given and what is accepted."""
    with pytest.raises(DirectiveError) as caught:
        effective(mpm, [(name, text)], where="demo.toml:12")
    message = str(caught.value)
    assert message.startswith(f"demo.toml:12: {name} {text!r}: accepted: ")
    assert accepted in message


def test_a_directive_of_another_mpm() -> None:
    """The error tells whose it is and what this one accepts instead."""
    with pytest.raises(DirectiveError) as caught:
        effective("prefork", [("threadsperchild", "5")])
    message = str(caught.value)
    head = "--set: Invalid command 'threadsperchild': belongs to worker, event, winnt; "
    assert message.startswith(head + "prefork accepts: StartServers, MinSpareServers, ")
    assert "ThreadsPerChild" not in message


@pytest.mark.parametrize(
    ("mpm", "name", "reason"),
    [
        ("worker", "StartServer", "did you mean StartServers?"),
        ("worker", "maxclient", "did you mean MaxClients?"),
        ("worker", "AsyncRequestWorkerFactor", "belongs to event;"),
        ("worker", "MinSpareServers", "belongs to prefork;"),
        ("event", "StartThreads", "belongs to netware, beos;"),
        ("event", "MaxMemFree", "not modelled here"),
        ("event", "zzz", "unknown directive; event accepts: "),
        ("event", "", "unknown directive; event accepts: "),
    ],
)
def test_an_unknown_directive(mpm: str, name: str, reason: str) -> None:
    """The error tells why, with the nearest name if one is near."""
    with pytest.raises(DirectiveError, match="Invalid command") as caught:
        effective(mpm, [(name, "5")])
    assert reason in str(caught.value)
    assert f"{mpm} accepts: StartServers" in str(caught.value)


def test_an_unknown_mpm() -> None:
    """The MPMs that have settings are listed."""
    known = "prefork, worker, event, winnt, netware, os2, beos"
    with pytest.raises(DirectiveError, match=f"unknown MPM 'mpm_unknown'; known here: {known}"):
        effective("mpm_unknown")


def test_buckets_are_refused_unless_0() -> None:
    """ListenCoresBucketsRatio is not modelled, and does not pretend to be."""
    assert effective("worker", [("ListenCoresBucketsRatio", "0")]).buckets == 1
    with pytest.raises(DirectiveError, match="'8': buckets of listeners are not modelled yet"):
        effective("worker", [("listencoresbucketsratio", "8")])
    with pytest.raises(DirectiveError, match="'x': accepted: 0"):
        effective("worker", [("ListenCoresBucketsRatio", "x")])


@pytest.mark.parametrize(
    ("mpm", "ident"), [("prefork", "AH00188"), ("worker", "AH00324"), ("event", "AH00521")]
)
def test_the_names_of_22_still_work(mpm: str, ident: str) -> None:
    """MaxClients and MaxRequestsPerChild set what they are called now, with a note each."""
    s = effective(mpm, [("maxclients", "100"), ("MaxRequestsPerChild", "9")])
    assert (s.max_request_workers, s.max_connections_per_child) == (100, 9)
    assert [(m.level, m.ident) for m in s.messages] == [("info", ident), ("info", "AH00545")]
    assert "MaxRequestWorkers" in s.messages[0].text
    assert "MaxConnectionsPerChild" in s.messages[1].text
    assert s.given[0] == ("MaxClients", "100")


# ---- clamping ----


@pytest.mark.parametrize(
    ("given", "expected", "ids"),
    [
        ({"ServerLimit": "300000", "MaxRequestWorkers": "9"}, {"server_limit": 200_000}, [175]),
        ({"ServerLimit": "0"}, {"server_limit": 1, "max_request_workers": 1}, [177, 180]),
        ({"ServerLimit": "100"}, {"max_request_workers": 100, "daemons_limit": 100}, [180]),
        ({"MaxRequestWorkers": "1000"}, {"max_request_workers": 256}, [180]),
        ({"MaxRequestWorkers": "-3"}, {"max_request_workers": 1, "start_servers": 1}, [182]),
        ({"StartServers": "0"}, {"start_servers": 1}, [184]),
        ({"MinSpareServers": "0"}, {"min_spare_servers": 1}, [186]),
        ({"MinSpareServers": "20"}, {"max_spare_servers": 21}, []),
        ({"MaxSpareServers": "-1"}, {"max_spare_servers": 6}, []),
        ({"StartServers": "500"}, {"start_servers": 256}, []),
    ],
)
def test_prefork_clamps(given: dict[str, str], expected: dict[str, int], ids: list[int]) -> None:
    """prefork_check_config warns by id, prefork_run is silent (2.4)."""
    s = effective("prefork", given)
    assert {name: getattr(s, name) for name in expected} == expected
    assert idents(s) == [f"AH{n:05d}" for n in ids]
    assert all(m.level == "warn" for m in s.messages)


@pytest.mark.parametrize(
    ("given", "expected", "ids"),
    [
        ({"ServerLimit": "20001"}, {"server_limit": 20_000}, [(300, 497)]),
        ({"ServerLimit": "0"}, {"server_limit": 1, "daemons_limit": 1}, [(302, 499), (318, 515)]),
        ({"ThreadLimit": "0"}, {"thread_limit": 1, "threads_per_child": 1}, None),
        ({"ThreadsPerChild": "100"}, {"threads_per_child": 64}, None),
        (
            {"ThreadsPerChild": "0", "MaxRequestWorkers": "16"},
            {"threads_per_child": 1},
            [(312, 509)],
        ),
        (
            {"MaxRequestWorkers": "7"},
            {"max_request_workers": 25, "daemons_limit": 1, "start_servers": 1},
            [(314, 511)],
        ),
        (
            {"MaxRequestWorkers": "110"},
            {"max_request_workers": 100, "daemons_limit": 4},
            [(316, 513)],
        ),
        ({"StartServers": "-1"}, {"start_servers": 1}, [(320, 517)]),
        (
            {"MinSpareThreads": "0"},
            {"min_spare_threads": 1, "max_spare_threads": 250},
            [(322, 519)],
        ),
        ({"MinSpareThreads": "240"}, {"max_spare_threads": 240 + 25 + 1}, []),
        ({"StartServers": "99"}, {"start_servers": 16}, []),
    ],
)
@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_threaded_clamps(
    mpm: str,
    given: dict[str, str],
    expected: dict[str, int],
    ids: list[tuple[int, int]] | None,
) -> None:
    """The same rules in both, with each one's message ids (3.5, 4.6)."""
    s = effective(mpm, given)
    assert {name: getattr(s, name) for name in expected} == expected
    if ids is not None:
        assert idents(s) == [f"AH{pair[mpm == 'event']:05d}" for pair in ids]


@pytest.mark.parametrize(
    ("mpm", "given"),
    [
        ("prefork", {"ServerLimit": "200000", "MaxRequestWorkers": "200000"}),
        ("prefork", {"ServerLimit": "1", "MaxRequestWorkers": "1", "MinSpareServers": "1"}),
        ("worker", {"ServerLimit": "20000", "ThreadLimit": "20000", "ThreadsPerChild": "20000"}),
        ("event", {"ServerLimit": "20000", "ThreadLimit": "100000", "ThreadsPerChild": "100000"}),
        ("worker", {"ServerLimit": "1", "ThreadLimit": "1", "ThreadsPerChild": "1"}),
    ],
)
def test_values_at_the_limits_are_silent(mpm: str, given: dict[str, str]) -> None:
    """What is just allowed brings no warning and is taken as it is."""
    if mpm != "prefork":
        given = given | {"MaxRequestWorkers": given["ThreadsPerChild"], "MinSpareThreads": "1"}
    s = effective(mpm, given | {"StartServers": "1"})
    assert s.messages == ()
    assert {k: v for k, v in s.as_directives().items() if k in given} == {
        k: int(v) for k, v in given.items()
    }


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("AsyncRequestWorkerFactor", 134_217_727),
        ("LimitRequestBody", 2**63 - 1),
        ("FlushMaxThreshold", 2**32 - 1),
        ("ListenBacklog", 2**31 - 1),
    ],
)
def test_the_greatest_values(name: str, most: int) -> None:
    """The greatest value is accepted, and one more is an error that tells it."""
    assert effective("event", [(name, str(most))]).as_directives()[name] == most
    with pytest.raises(DirectiveError, match=str(most)):
        effective("event", [(name, str(most + 1))])


def test_the_order_of_threaded_warnings() -> None:
    """ServerLimit, ThreadLimit, ThreadsPerChild, MaxRequestWorkers thrice, StartServers, spares."""
    given = {
        "ServerLimit": "30000",
        "ThreadLimit": "30000",
        "ThreadsPerChild": "30001",
        "MaxRequestWorkers": "5",
        "StartServers": "0",
        "MinSpareThreads": "0",
    }
    assert idents(effective("worker", given)) == [
        f"AH{n:05d}" for n in (300, 305, 310, 314, 320, 322)
    ]
    # event allows 100,000 threads per process, so there only ThreadsPerChild is too high
    assert idents(effective("event", given)) == [f"AH{n:05d}" for n in (497, 507, 511, 517, 519)]


@pytest.mark.parametrize(("mpm", "ident"), [("worker", "AH00318"), ("event", "AH00515")])
def test_server_limit_leaves_max_request_workers_alone(mpm: str, ident: str) -> None:
    """ServerLimit lowers the number of processes; the stored MaxRequestWorkers stays, although the
    warning says that it is lowered to 8 (section 21, vector 14)."""
    s = effective(mpm, {"ServerLimit": "2", "ThreadsPerChild": "4", "MaxRequestWorkers": "100"})
    assert (s.max_request_workers, s.daemons_limit) == (100, 2)
    assert idents(s) == [ident]
    assert "100 would need 25 servers" in s.messages[0].text
    assert "lowered to 8 " in s.messages[0].text


# ---- writing back ----


@pytest.mark.parametrize("mpm", ["worker", "netware"])
def test_the_largest_number_can_be_written_back(mpm: str) -> None:
    """What must be more than MinSpareThreads does not outgrow a C int."""
    s = effective(mpm, {"MinSpareThreads": str(2**31 - 1)})
    again = effective(mpm, {k: _text(v) for k, v in s.as_directives().items()})
    assert again.max_spare_threads == s.max_spare_threads == 2**31 - 1


@pytest.mark.parametrize("mpm", MPMS)
def test_as_directives_names_what_the_mpm_accepts(mpm: str) -> None:
    """Each directive of the MPM is there by httpd's name, with a value of its kind."""
    written = effective(mpm).as_directives()
    assert set(written) == {d.name for d in accepted_by(mpm)}
    assert written["KeepAliveTimeout"] == 5
    assert written["KeepAlive"] is True


def test_a_fraction_of_a_second_is_written_as_httpd_reads_it() -> None:
    """KeepAliveTimeout of half a second is 500ms, not 0.5."""
    s = effective("event", [("KeepAliveTimeout", "1500ms")])
    assert s.as_directives()["KeepAliveTimeout"] == "1500ms"


def test_names_and_fields_agree() -> None:
    """A directive's name follows from its field, each is there once, and has a line of doc."""
    assert len({d.name.lower() for d in DIRECTIVES}) == len(DIRECTIVES)
    assert all(d.name == directive_name(d.field) and d.doc for d in DIRECTIVES)
    assert all(d.field in Settings.__dataclass_fields__ for d in DIRECTIVES)


@pytest.mark.parametrize("mpm", MPMS)
def test_effective_settings_are_a_fixed_point(mpm: str) -> None:
    """Random pools: the effective values, given again, give themselves, and hold httpd's relations.
    That is what lets a recorded run be run again."""
    rng = random.Random(f"directives {mpm}")
    names = [d.name for d in accepted_by(mpm) if d.low < 0]
    for _ in range(300):
        given = {
            name: str(rng.choice([-5, 0, 1, 2, 7, 25, 64, 65, 400, 30_000, 250_000]))
            for name in names
            if rng.random() < 0.6
        }
        s = effective(mpm, given)
        again = effective(mpm, {k: _text(v) for k, v in s.as_directives().items()})
        assert again.as_directives() == s.as_directives(), given
        assert again.daemons_limit == s.daemons_limit
        assert (0 if mpm == "os2" else 1) <= s.start_servers <= s.daemons_limit <= s.server_limit
        assert 1 <= s.threads_per_child <= s.thread_limit
        assert s.max_request_workers % s.threads_per_child == 0
        if mpm == "prefork":
            assert 1 <= s.min_spare_servers < s.max_spare_servers
        elif mpm != "winnt":  # which has no spares; os2 does not compare its own
            room = {"netware": 1, "beos": 0}.get(mpm, s.threads_per_child + 1)
            assert s.min_spare_threads >= 1
            assert mpm == "os2" or s.max_spare_threads >= s.min_spare_threads + room


def _text(value: object) -> str:
    return {True: "On", False: "Off"}[value] if isinstance(value, bool) else str(value)


def test_a_send_buffer_is_the_systems_or_not_tiny() -> None:
    """As httpd: 0, or 512 bytes and more; what is between is refused with what is accepted."""
    assert effective("event", [("SendBufferSize", "512")]).send_buffer_size == 512
    assert effective("event", [("SendBufferSize", "0")]).send_buffer_size == 0
    for text in ("1", "511", "-1"):
        with pytest.raises(DirectiveError, match="accepted: 0, or a whole number from 512 to"):
            effective("event", [("SendBufferSize", text)])
