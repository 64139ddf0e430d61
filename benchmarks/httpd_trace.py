"""Which system calls httpd makes for a request, as our configuration has it: a static file, the
handler without work, and the handler that burns and waits, with each MPM. Needs strace.

Counting only, no times: a traced server is slow. All threads of all children are traced from before
the first request on; what is told is steady state on a keep-alive connection, after every worker
has answered often enough to have its Lua state and its caches.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.common import report
from benchmarks.programs import PACKAGES, complain, missing, program
from mpmlab.core.demand import Demand, target_of
from mpmlab.core.directives import effective
from mpmlab.httpd.configuration import STATIC_PATH, Wishes
from mpmlab.httpd.program import HttpdMissingError, find_httpd
from mpmlab.httpd.server import start_httpd

PACKAGES["strace"] = "strace"
MPMS: Final = ("prefork", "worker", "event")
FILE_BYTES: Final = 1024
#: What is asked for -> its target. The targets differ in what a read shows of them.
TARGETS: Final[Mapping[str, str]] = {
    "static": f"{STATIC_PATH}/{FILE_BYTES}",
    "/work": target_of(Demand(response_bytes=FILE_BYTES)),
    "/work, 100 us, wait": target_of(Demand(100, 1000, FILE_BYTES)),
}
#: Requests before those that count: more than there are workers, which take turns.
WARMUP: Final = 12
REQUESTS: Final = 20
#: One process of two workers. prefork has two processes, of which the connection stays with one.
_POOLS: Final = {
    "prefork": {"StartServers": 2, "MinSpareServers": 1, "MaxSpareServers": 2},
    "worker": {"StartServers": 1, "ThreadsPerChild": 2, "MinSpareThreads": 1},
    "event": {"StartServers": 1, "ThreadsPerChild": 2, "MinSpareThreads": 1},
}
#: Between an answer and the next request: httpd, which strace makes slow, then waits for that, as
#: it does for most clients.
_THINK_S: Final = 0.005
_PATIENCE_S: Final = 20.0
_SHOWN_BYTES: Final = 80
#: `12 read(7, "GET /x"..., 8000) = 38` and the halves of a call that others came between.
_CALL: Final = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED: Final = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_FAILED: Final = re.compile(r"= -1 (?P<error>E[A-Z0-9]+) \(")


class Call(NamedTuple):
    """One system call: "read", and what it failed with, or ""."""

    name: str
    error: str
    #: The request target, where it is a read of a request's head.
    target: str

    @property
    def label(self) -> str:
        """For a table."""
        return f"{self.name} {self.error}".rstrip()


class TraceError(Exception):
    """There is no trace; the text says why."""


def calls_of(lines: Iterable[str]) -> list[Call]:
    """The calls of a trace by strace -f, in the order in which they began; those that did not come
    back have no error."""
    found: list[Call] = []
    open_at: dict[tuple[str, str], int] = {}
    for line in lines:
        if match := _RESUMED.match(line):
            at = open_at.pop((match["pid"], match["name"]), None)
            if at is not None:
                name, _, target = found[at]
                rest = match["rest"]
                found[at] = Call(name, _error(rest), target or _target(name, rest))
        elif match := _CALL.match(line):
            name, rest = match["name"], match["rest"]
            if "<unfinished ..." in rest:
                open_at[match["pid"], name] = len(found)
            found.append(Call(name, _error(rest), _target(name, rest)))
    return found


def _error(rest: str) -> str:
    match = _FAILED.search(rest)
    return match["error"] if match else ""


def _target(name: str, rest: str) -> str:
    match = re.search(r'"GET (\S+) HTTP', rest) if name in ("read", "recvfrom") else None
    return match[1] if match else ""


def per_request(calls: Sequence[Call], target: str, warmup: int = WARMUP) -> dict[str, float]:
    """Calls of each label per request for a target, from the reading of one request to that of the
    next, without the first ones. Raises TraceError if there are too few."""
    starts = [at for at, call in enumerate(calls) if call.target == target]
    if len(starts) < warmup + 2:
        raise TraceError(f"{len(starts)} requests for {target} in the trace, not {warmup + 2}")
    first, last = starts[warmup], starts[-1]
    count = len(starts) - 1 - warmup
    labels = Counter(call.label for call in calls[first:last])
    return {label: number / count for label, number in labels.items()}


def trace(mpm: str, targets: Mapping[str, str] = TARGETS) -> dict[str, dict[str, float]]:
    """What is asked for -> calls of each label per request. Raises TraceError, HttpdMissingError,
    or HttpdError."""
    directives = {name: str(value) for name, value in _POOLS[mpm].items()}
    settings = effective(mpm, {**directives, "MaxKeepAliveRequests": "0"})
    wishes = Wishes(sampled=False)
    with (
        start_httpd(find_httpd(), settings, wishes, static_bytes=(FILE_BYTES,)) as server,
        _traced(server.children()) as calls,
    ):
        for target in targets.values():
            _ask(server.port, target, WARMUP + REQUESTS + 1)
    return {kind: per_request(calls, target) for kind, target in targets.items()}


def _ask(port: int, target: str, count: int) -> None:
    """So many requests, one after the other, on one connection."""
    request = f"GET {target} HTTP/1.1\r\nHost: traced\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as sock:
        for _ in range(count):
            sock.sendall(request)
            head, _, body = sock.recv(65_536).partition(b"\r\n\r\n")
            while len(body) < FILE_BYTES:
                data = sock.recv(65_536)
                if not data or not head.startswith(b"HTTP/1.1 200"):
                    raise TraceError(f"{target}: {head[:80]!r}")
                body += data
            time.sleep(_THINK_S)


@contextmanager
def _traced(pids: Sequence[int]) -> Iterator[list[Call]]:
    """A list that has, after the block, the calls that these processes made within."""
    strace = program("strace")
    if strace is None:
        raise TraceError(missing(["strace"]))
    calls: list[Call] = []
    with tempfile.TemporaryDirectory(prefix="mpmlab-trace.") as folder:
        output = Path(folder, "calls")
        attach = [part for pid in pids for part in ("-p", str(pid))]
        command = [strace, "-f", "-s", str(_SHOWN_BYTES), "-o", str(output), *attach]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as tracer:
            try:
                _await_attached(tracer, pids)
                yield calls
                tracer.send_signal(signal.SIGINT)
                tracer.wait(_PATIENCE_S)
            finally:
                tracer.kill()
        calls += calls_of(output.read_text(errors="replace").splitlines())


def _await_attached(tracer: subprocess.Popen[bytes], pids: Sequence[int]) -> None:
    """Until strace has said so of each process."""
    assert tracer.stderr is not None
    said, deadline_s = b"", time.monotonic() + _PATIENCE_S
    while not all(re.search(rb"Process %d attached" % pid, said) for pid in pids):
        left_s = max(0.0, deadline_s - time.monotonic())
        ready = select.select([tracer.stderr], [], [], left_s)[0]
        data = os.read(tracer.stderr.fileno(), 4096) if ready else b""
        if not data:
            raise TraceError(f"strace cannot trace: {said.decode(errors='replace').strip()}")
        said += data


def tell(traces: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print them: a row for each call, a column for each MPM and what was asked for."""
    columns = [(mpm, kind) for mpm in traces for kind in traces[mpm]]
    labels = list(dict.fromkeys(label for mpm, kind in columns for label in traces[mpm][kind]))
    rows: list[list[str]] = [
        [label, *(f"{traces[mpm][kind].get(label, 0.0):.2f}" for mpm, kind in columns)]
        for label in labels
    ]
    sums = [f"{sum(traces[mpm][kind].values()):.2f}" for mpm, kind in columns]
    report(
        f"System calls of httpd per request, {FILE_BYTES} bytes, keep-alive",
        ("call", *(f"{mpm}: {kind}" for mpm, kind in columns)),
        [*([cell if cell != "0.00" else "-" for cell in row] for row in rows), ["all", *sums]],
        f"{REQUESTS} requests each, after {WARMUP}; all threads of all children. clock_gettime of "
        "the last kind: looks at the thread's CPU clock, each with some 10 us of burning between",
    )


def main() -> int:
    """Trace and print; the exit code."""
    if lacking := missing(["strace"]):
        return complain(lacking)
    try:
        tell({mpm: trace(mpm) for mpm in find_httpd().mpms()})
    except (HttpdMissingError, TraceError) as error:
        return complain(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
