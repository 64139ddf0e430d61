"""Vectors 11 and 13: what becomes of directives that contradict one another or are wrong, and who
needs an accept mutex. Settings are made by mpmlab.core.directives for real and sim alike, so that
it is what httpd is held against, and then the three servers' logs."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from mpmlab.core.directives import DirectiveError, effective
from mpmlab.core.platform import Platform
from mpmlab.httpd.configuration import Place, Wishes, configuration
from mpmlab.httpd.error_log import read_messages
from mpmlab.httpd.program import find_httpd
from mpmlab.platforms import shipped, shipped_names
from tests.httpd.httpd_lab import needs_httpd
from tests.httpd.three_ahead import in_three_worlds
from tests.httpd.three_httpd import HttpdEngine, begin_httpd
from tests.httpd.three_worlds import Begin

Pairs = Sequence[tuple[str, str]]

#: How long httpd may take to read its configuration.
CHECK_S: Final = 20.0

_PREFORK: Final[dict[str, list[Pairs]]] = {
    "prefork": [
        [("ServerLimit", "200001")],
        [("ServerLimit", "0")],
        [("ServerLimit", "-3"), ("MaxRequestWorkers", "0")],
        [("MaxRequestWorkers", "257")],
        [("MaxRequestWorkers", "0")],
        [("MinSpareServers", "0"), ("StartServers", "0")],
        [("MinSpareServers", "-1"), ("MaxSpareServers", "-1")],
        [("StartServers", "1000")],
        [("MaxClients", "7")],
        [("MaxRequestsPerChild", "7"), ("MaxClients", "300")],
    ]
}
#: For both threaded MPMs.
_THREADED: Final[list[Pairs]] = [
    [("ServerLimit", "20001")],
    [("ServerLimit", "0")],
    [("ThreadLimit", "0")],
    [("ThreadsPerChild", "65")],
    [("ThreadsPerChild", "0")],
    [("ThreadsPerChild", "70"), ("ThreadLimit", "80"), ("MaxRequestWorkers", "100")],
    [("MaxRequestWorkers", "24")],
    [("MaxRequestWorkers", "0")],
    [("MaxRequestWorkers", "401")],
    [("MaxRequestWorkers", "99")],
    [("ServerLimit", "2"), ("ThreadsPerChild", "4"), ("MaxRequestWorkers", "102")],
    [("StartServers", "0"), ("MinSpareThreads", "0")],
    [("MinSpareThreads", "-5"), ("MaxSpareThreads", "-5")],
    [("MaxClients", "50")],
    [("MaxRequestsPerChild", "9")],
]
_OF_ONE: Final[list[tuple[str, Pairs]]] = [
    # The most threads of a child are five times as many in event.
    ("worker", [("ThreadLimit", "20001"), ("ServerLimit", "1")]),
    ("event", [("ThreadLimit", "20001"), ("ServerLimit", "1")]),
    ("event", [("ThreadLimit", "100001"), ("ServerLimit", "1")]),
    ("event", [("AsyncRequestWorkerFactor", "0.5")]),  # raised to 1, and nothing is said
]
ODD: Final[list[tuple[str, Pairs]]] = [
    *[(mpm, pairs) for mpm, rows in _PREFORK.items() for pairs in rows],
    *[(mpm, pairs) for mpm in ("worker", "event") for pairs in _THREADED],
    *_OF_ONE,
]


def check(folder: Path, mpm: str, pairs: Pairs, lines: Sequence[str] = ()) -> tuple[int, str]:
    """(exit code, what it says) of httpd that reads a configuration and does nothing more, at the
    log level at which it notes older names."""
    program = find_httpd()
    place = Place(folder, "127.0.0.1", 65_535, "check.invalid")
    place.documents.mkdir()
    place.handler.touch()
    wishes = Wishes(sampled=False, lines=tuple(lines))
    file = folder / "httpd.conf"
    file.write_text(configuration(program, effective(mpm, pairs), place, wishes))
    command = [os.fspath(program.path), "-t", "-e", "info", "-f", os.fspath(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)
    return done.returncode, done.stdout + done.stderr


@needs_httpd
@pytest.mark.real
@pytest.mark.parametrize(("mpm", "pairs"), ODD, ids=str)
def test_three_vector_11_clamp_messages(tmp_path: Path, mpm: str, pairs: Pairs) -> None:
    """Odd numbers are no error: httpd says what it makes of each, and core the same, by number."""
    code, said = check(tmp_path, mpm, pairs)
    assert code == 0, said
    theirs = sorted(line.ident for line in read_messages(said.splitlines(), 0, 0))
    ours = sorted(message.ident for message in effective(mpm, pairs).messages)
    assert ours == theirs


@in_three_worlds(
    {"mpm": "prefork", "text": "ServerLimit=0 StartServers=0"},
    {"mpm": "prefork", "text": "ServerLimit=8 MaxRequestWorkers=9 MinSpareServers=0"},
    {"mpm": "worker", "text": "ServerLimit=2 ThreadsPerChild=4 MaxRequestWorkers=102"},
    {"mpm": "worker", "text": "ThreadLimit=8 ThreadsPerChild=10 MaxRequestWorkers=4"},
    {"mpm": "event", "text": "ServerLimit=2 ThreadsPerChild=0"},
    {"mpm": "event", "text": "ThreadLimit=8 ThreadsPerChild=10 MaxRequestWorkers=25"},
)
def test_three_vector_11_servers_run_with_what_they_made_of_it(
    begin: Begin, mpm: str, text: str
) -> None:
    """Each of the three logs the warnings at its start, and runs: answers, and in httpd's status
    has places for as many workers as the effective limits allow, MaxRequestWorkers //
    ThreadsPerChild processes at most (the memory is for ServerLimit x ThreadLimit, in ours, too).
    httpd reads its configuration twice and says it again then, under the number that follows."""
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in text.split())]
    settings = effective(mpm, pairs)
    numbers = [message.ident for message in settings.messages if message.level == "warn"]
    assert numbers
    with begin(mpm, dict(pairs)) as engine:
        for number in numbers:
            assert len(engine.told(number)) == 1
            if isinstance(engine, HttpdEngine):
                assert len(engine.told(f"AH{int(number[2:]) + 1:05d}")) == 1
        if isinstance(engine, HttpdEngine):
            assert engine.places() == settings.daemons_limit * settings.threads_per_child
        engine.hush()
        caller = engine.call()
        engine.until(lambda: caller.saw("200"), "an answer")


@needs_httpd
@pytest.mark.real
@pytest.mark.parametrize(
    ("mpm", "name", "value"),
    [
        ("prefork", "ThreadsPerChild", "4"),
        ("worker", "MinSpareServers", "4"),
        ("worker", "AsyncRequestWorkerFactor", "2"),
        ("worker", "MinSpareThread", "8"),
        ("event", "StartThreads", "8"),
        ("event", "MaxSpareServers", "8"),
        ("event", "AsyncRequestWorkerFactor", "0"),
        ("event", "AsyncRequestWorkerFactor", "-1.5"),
        ("event", "AsyncRequestWorkerFactor", "two"),
    ],
)
def test_three_vector_11_what_is_an_error(tmp_path: Path, mpm: str, name: str, value: str) -> None:
    """What httpd refuses to start with is a DirectiveError here: unknown directives, those of
    another MPM, and a factor that is not above 0."""
    code, said = check(tmp_path, mpm, (), [f"{name} {value}"])
    assert code == 1
    assert "AH00526: Syntax error on line" in said
    with pytest.raises(DirectiveError, match=name):
        effective(mpm, [(name, value)])


@needs_httpd
@pytest.mark.real
def test_three_vector_11_words_for_numbers(tmp_path: Path) -> None:
    """The one difference, and meant: to httpd a word is the number 0 (atoi), which it then clamps;
    here it is an error, since nobody means it."""
    code, said = check(tmp_path, "prefork", (), ["StartServers many"])
    assert (code, "AH00184" in said) == (0, True)
    with pytest.raises(DirectiveError, match="StartServers"):
        effective("prefork", [("StartServers", "many")])


@needs_httpd
@pytest.mark.real
@pytest.mark.parametrize("listens", [1, 2])
@pytest.mark.parametrize("mpm", ["prefork", "worker", "event"])
def test_three_vector_13_accept_mutex(mpm: str, listens: int) -> None:
    """With one Listen httpd's children need no accept mutex on this kind of system, with two those
    of prefork and worker do; event has none. Ours have one Listen always (mpmlab's plans know one
    server address), so the question is the platform's alone, and every platform that is a Linux
    answers as httpd does there: none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        lines = [f"Listen 127.0.0.1:{probe.getsockname()[1]}"] * (listens - 1)
    with begin_httpd(lambda: None, mpm, debug=True, lines=lines) as engine:
        found = engine.texts("AH00165") + engine.texts("AH00294")
        if mpm == "event":
            assert not found
            return
        (text,) = found
        assert text.startswith("Accept mutex: none") == (listens == 1)
    assert Platform().unserialized_accept
    assert all(shipped(name).unserialized_accept for name in shipped_names() if "linux" in name)
