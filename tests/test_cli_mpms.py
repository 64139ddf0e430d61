"""`mpmlab mpms` and `mpmlab serve`: what is listed, and that exactly one MPM is loaded."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from mpmlab import cli
from mpmlab.core.directives import accepted_by, effective
from mpmlab.core.settings import MPMS
from mpmlab.mpms.catalog import CATALOG
from mpmlab.mpms.portrait import PORTRAITS
from mpmlab.mpms.query import queries

DEADLINE_S = 20.0


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that succeeds prints."""
    assert cli.run(words) == 0
    return capsys.readouterr().out


def test_the_list_of_what_is_compiled_in(capsys: pytest.CaptureFixture[str]) -> None:
    """As httpd -l: core first, then the source of each MPM; of one, that alone."""
    lines = printed(capsys, "mpms", "-l").splitlines()
    assert lines[:3] == ["Compiled in modules:", "  core.c", "  http_core.c"]
    assert lines[3:] == [
        "  prefork.c", "  worker.c", "  event.c", "  leader.c", "  threadpool.c",
        "  mpm_winnt.c", "  mpm_netware.c", "  mpmt_os2.c", "  beos.c",
    ]  # fmt: skip
    assert printed(capsys, "serve", "-l", "--mpm", "mpm_winnt").splitlines()[3:] == [
        "  mpm_winnt.c"
    ]


@pytest.mark.parametrize(
    ("mpm", "name", "threaded", "forked"),
    [
        ("prefork", "prefork", "no", "yes (variable process count)"),
        ("worker", "worker", "yes (fixed thread count)", "yes (variable process count)"),
        ("event", "event", "yes (fixed thread count)", "yes (variable process count)"),
        ("winnt", "WinNT", "yes (fixed thread count)", "no"),
        ("netware", "NetWare", "yes (variable thread count)", "no"),
        ("os2", "mpmt_os2", "yes (variable thread count)", "no"),
        ("beos", "beos", "yes (variable thread count)", "no"),
    ],
)
def test_the_version_page(
    capsys: pytest.CaptureFixture[str], mpm: str, name: str, threaded: str, forked: str
) -> None:
    """The three lines of httpd -V, with its spelling and columns."""
    text = printed(capsys, "mpms", mpm, "-V")
    assert f"Server MPM:     {name}\n  threaded:     {threaded}\n    forked:     {forked}" in text


@pytest.mark.parametrize("mpm", MPMS)
def test_the_page_of_an_mpm(capsys: pytest.CaptureFixture[str], mpm: str) -> None:
    """Names, source, structure, quirks, every directive and every answer of ap_mpm_query."""
    text = printed(capsys, "mpms", mpm)
    assert PORTRAITS[mpm].source in text
    assert PORTRAITS[mpm].structure in text
    assert all(directive.name in text for directive in accepted_by(mpm))
    assert all(code in text for code in queries(effective(mpm)))
    assert all(quirk in text for quirk in PORTRAITS[mpm].quirks)


def test_the_page_tells_names_and_defaults_of_both_versions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2.2 has other names, other values, and not all of the directives."""
    text = printed(capsys, "mpms", "event")

    def row(name: str) -> list[str]:
        (line,) = [line for line in text.splitlines() if line.startswith(f"│ {name} ")]
        return [cell.strip() for cell in line.strip("│").split("│")]

    assert row("MaxRequestWorkers")[1:3] == ["MaxClients 400", "400"]
    assert row("MaxConnectionsPerChild")[1:3] == ["MaxRequestsPerChild 10000", "0"]
    assert row("Timeout")[1:3] == ["300", "60"]
    assert row("AsyncRequestWorkerFactor")[1:3] == ["-", "2.0"]
    assert row("ServerLimit")[3] == "clamped to 1 to 20000"
    assert row("MaxSpareThreads")[3] == "clamped to 101 to any"


@pytest.mark.parametrize(
    ("mpm", "answers"),
    [
        ("prefork", {"IS_THREADED": 0, "IS_FORKED": 2, "MAX_DAEMONS": 256, "MAX_THREADS": 1}),
        ("worker", {"IS_THREADED": 1, "IS_FORKED": 2, "MAX_DAEMONS": 16, "MAX_THREADS": 25}),
        ("event", {"IS_ASYNC": 1, "CAN_WAITIO": 1, "HARD_LIMIT_THREADS": 64}),
        ("winnt", {"MAX_DAEMON_USED": 64, "IS_FORKED": 0, "HARD_LIMIT_THREADS": 1920}),
        ("netware", {"HARD_LIMIT_THREADS": 2048, "MIN_SPARE_THREADS": 10, "IS_THREADED": 2}),
        ("os2", {"HARD_LIMIT_DAEMONS": 10, "HARD_LIMIT_THREADS": 256, "IS_FORKED": 0}),
        ("beos", {"MIN_SPARE_THREADS": 50, "MAX_SPARE_THREADS": 1, "MAX_THREADS": 50}),
    ],
)
def test_answers_of_ap_mpm_query(mpm: str, answers: dict[str, int]) -> None:
    """As the reference lists them; os2 does not answer MAX_THREADS, and beos swaps two."""
    found = queries(effective(mpm))
    assert {code: found[code] for code in answers} == answers
    assert ("MAX_THREADS" in found) == (mpm != "os2")
    assert ("IS_ASYNC" in found) == CATALOG[mpm].asynchronous


def test_without_quirks_beos_answers_in_order() -> None:
    """Least and most in their places."""
    found = queries(effective("beos", {"Quirks": "Off"}))
    assert (found["MIN_SPARE_THREADS"], found["MAX_SPARE_THREADS"]) == (1, 50)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--mpm", "worker", "--mpm", "event"], "AH00534: mpmlab: Configuration error: More than"),
        (["--with-mpm=worker,event"], "AH00534: mpmlab: Configuration error: More than one MPM"),
        (["--mpm", ""], "AH00534: mpmlab: Configuration error: No MPM loaded."),
        (["--mpm", "wroker"], "unknown MPM 'wroker'; accepted: prefork, worker, event, leader"),
        (["--mpm", "worker", "--set", "StartThreads=1"], "belongs to netware, beos"),
    ],
)
def test_exactly_one_mpm_is_loaded(
    capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    """httpd's errors, and exit code 2."""
    assert cli.run(["serve", *words]) == 2
    assert text in capsys.readouterr().err


def test_a_checked_configuration_says_what_httpd_says(capsys: pytest.CaptureFixture[str]) -> None:
    """-t: the warnings of clamping, and Syntax OK; no server."""
    command = ["serve", "--mpm", "worker", "-t", "--set", "ThreadsPerChild=100"]
    assert cli.run(command) == 0
    said = capsys.readouterr().err
    assert "AH00310" in said
    assert said.endswith("Syntax OK\n")


@pytest.mark.real
@pytest.mark.parametrize("mpm", ["prefork", "winnt", "netware"])
def test_a_server_serves_until_it_is_told_to_stop(mpm: str) -> None:
    """It says where it is, answers, and Ctrl-C ends it with code 0 and nothing left of it."""
    command = [sys.executable, "-m", "mpmlab", "serve", "--mpm", mpm]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        assert program.stdout is not None
        found = re.match(
            r"\S+ at http://127.0.0.1:(\d+)/ \(process (\d+)\)", program.stdout.readline()
        )
        assert found is not None
        with socket.create_connection(("127.0.0.1", int(found[1])), DEADLINE_S) as client:
            client.sendall(b"GET /work?bytes=3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=DEADLINE_S)
    assert program.returncode == 0, said
    assert "resuming normal operations" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[2]), 0)
