"""httpd's configuration makes it do nothing needless: its system calls for a request are counted.
And the counting itself is right."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks import httpd_trace
from benchmarks.httpd_trace import Call, TraceError, calls_of, per_request, trace
from benchmarks.programs import MISSING, missing
from tests.httpd.httpd_lab import MPMS, ROOT, needs_httpd

#: Most calls of each per request. Waiting for the next one costs poll, or epoll and futex; the read
#: that fails is the look for more before it waits.
KNOWN = {
    "read": 2, "read EAGAIN": 1, "writev": 1, "times": 1,
    "stat": 1, "newfstatat": 1,
    "poll": 1, "epoll_wait": 1, "epoll_ctl": 2, "futex": 6, "futex EAGAIN": 2,
}  # fmt: skip
#: And what the content costs.
OF_A_FILE = {"open": 1, "openat": 1, "lseek": 1, "close": 1}
OF_A_DEMAND = {
    "clock_gettime": 40,
    "pselect6": 1,
    "clock_nanosleep": 1,
    "nanosleep": 1,
    "select": 1,
}
#: Memory grows now and then, until every thread has had its share.
OF_MEMORY = dict.fromkeys(("brk", "mmap", "munmap", "mprotect", "madvise"), 1)
ALLOWED = {
    "static": {**KNOWN, **OF_A_FILE, **OF_MEMORY},
    "/work": {**KNOWN, **OF_MEMORY},
    "/work, 100 us, wait": {**KNOWN, **OF_A_DEMAND, **OF_MEMORY},
}


@needs_httpd
@pytest.mark.skipif(bool(missing(["strace"])), reason=missing(["strace"]))
@pytest.mark.real
@pytest.mark.parametrize("mpm", MPMS)
def test_a_request_does_nothing_needless(mpm: str) -> None:
    """No look for a file that is not there, none for .htaccess or links, one stat; the file is read
    once and the answer is written at once. No other calls than the known ones."""
    try:
        traces = trace(mpm)
    except TraceError as error:
        if "cannot trace" in str(error):
            pytest.skip(f"no process can be traced here: {error}")
        raise
    assert traces.keys() == ALLOWED.keys()
    for kind, counts in traces.items():
        assert not [label for label in counts if label.endswith(("ENOENT", "ENOTDIR", "EACCES"))]
        most = ALLOWED[kind]
        beyond = {label: n for label, n in counts.items() if n > most.get(label, 0)}
        assert not beyond, f"{mpm}, {kind}"
        assert counts["writev"] == counts["times"] == 1
        assert counts.get("newfstatat", counts.get("stat")) == 1
    assert traces["/work, 100 us, wait"]["clock_gettime"] > 0
    assert "clock_gettime" not in traces["/work"]


# ---- the counting --------------------------------------------------------------------------------

TRACE = """\
12 read(7, "GET /x HTTP/1.1\\r\\nHost: a"..., 8000) = 38
12 openat(AT_FDCWD, "/y", O_RDONLY) = -1 ENOENT (No such file or directory)
12 read(7,  <unfinished ...>
13 futex(0x7f, FUTEX_WAKE_PRIVATE, 1) = 0
12 <... read resumed>"GET /x HTTP/1.1\\r\\n"..., 8000) = 38
12 writev(7, [{iov_base="GET /x HTTP", iov_len=1}], 1) = 1
13 accept4(3,  <unfinished ...>
12 --- SIGTERM {si_signo=SIGTERM} ---
12 +++ exited with 0 +++
13 <... accept4 resumed>, 0x7f) = -1 EAGAIN (Resource temporarily unavailable)
12 read(7, "GET /x HTTP/1.1\\r\\n"..., 8000 <detached ...>
"""


def test_calls_are_read_from_a_trace() -> None:
    """A call in two halves is one, where it began; signals and ends are none; only reads have a
    target, in whichever half."""
    assert calls_of(TRACE.splitlines()) == [
        Call("read", "", "/x"),
        Call("openat", "ENOENT", ""),
        Call("read", "", "/x"),
        Call("futex", "", ""),
        Call("writev", "", ""),
        Call("accept4", "EAGAIN", ""),
        Call("read", "", "/x"),
    ]
    assert Call("openat", "ENOENT", "").label == "openat ENOENT"


def test_calls_are_counted_between_requests() -> None:
    """From the reading of one to that of the next, on average, without the first ones; too few are
    an error."""
    calls = calls_of(TRACE.splitlines())
    assert per_request(calls, "/x", warmup=0) == {
        "read": 1, "openat ENOENT": 0.5, "futex": 0.5, "writev": 0.5, "accept4 EAGAIN": 0.5,
    }  # fmt: skip
    assert per_request(calls, "/x", warmup=1) == {
        "read": 1, "futex": 1, "writev": 1, "accept4 EAGAIN": 1,
    }  # fmt: skip
    with pytest.raises(TraceError, match="3 requests for /x in the trace, not 4"):
        per_request(calls, "/x", warmup=2)


def test_targets_are_told_apart() -> None:
    """Each is another, and short enough to be shown whole."""
    targets = httpd_trace.TARGETS.values()
    assert len(set(targets)) == len(targets)
    shown = httpd_trace._SHOWN_BYTES - len("GET  HTTP")
    assert max(map(len, targets)) <= shown


@pytest.mark.parametrize("name", ["httpd_trace", "handler_cost"])
def test_without_the_programs_one_sentence_says_what_to_install(name: str, tmp_path: str) -> None:
    """The exit code is 2, nothing is printed but that."""
    text = (
        "import sys; from benchmarks import programs; programs._MORE_PATHS = ();"
        f"from benchmarks import {name}; sys.exit({name}.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=ROOT, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == MISSING
    assert done.stderr.count("\n") == 1
    assert "apt-get install" in done.stderr
    assert not done.stdout
