"""Other load generators: how each is run, and what it tells in the same words.

wrk, h2load and hey are Debian's; autocannon is npm's, installed into a folder that is given. What
they are compared with, and what comes of it, is load_generator.py and load_peers.py.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.programs import output_of

Floats = npt.NDArray[np.float64]

#: How much longer than its duration a program may run.
_PATIENCE_S: Final = 30.0
_INSTALL_S: Final = 120.0
#: The percentiles, as wrk knows them (whole microseconds) rather than as it prints them.
_WRK_DONE: Final = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('TOLD {"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "lost": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
#: autocannon's own program prints rounded percentiles only; its library tells of each answer.
_AUTOCANNON: Final = """
const [, folder, options] = process.argv
const autocannon = require(folder + '/node_modules/autocannon')
const rows = []
const run = autocannon(JSON.parse(options), (error, result) => {
  if (error) throw error
  console.log(JSON.stringify({ rows, lost: result.errors + result.timeouts + result.non2xx }))
})
run.on('response', (client, status, bytes, ms) => {
  rows.push([Math.round(performance.now() * 1000), Math.round(ms * 1000)])
})
"""


@dataclass(frozen=True, eq=False)
class Told:
    """What a program tells of its run. Latency as it measures it, in seconds."""

    requests: int
    seconds: float
    p50_s: float
    p99_s: float
    #: Requests that ended otherwise than with a good answer.
    lost: int
    #: CPU seconds of the program, start and end included.
    cpu_s: float
    #: When each request left, since the first, sorted; empty if it does not tell.
    sent_s: Floats

    @property
    def per_s(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def _run(command: Sequence[str], cores: Sequence[int], seconds: float) -> tuple[str, float]:
    """What it prints, and the CPU seconds it took."""
    before_s = _children_s()
    said = output_of(command, cores, seconds + _PATIENCE_S)
    return said, _children_s() - before_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _told(sent_s: Floats, latency_s: Floats, lost: int, seconds: float, cpu_s: float) -> Told:
    """From one value for each good answer."""
    if not len(latency_s):
        raise RuntimeError("the other load generator got no answer")
    p50, p99 = np.quantile(latency_s, [0.5, 0.99], method="inverted_cdf")
    sent_s = np.sort(sent_s)
    return Told(len(latency_s), seconds, p50, p99, lost, cpu_s, sent_s - sent_s[0])


def wrk(url: str, connections: int, seconds: float, cores: Sequence[int], threads: int = 1) -> Told:
    """A closed loop over so many keep-alive connections; whole seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_WRK_DONE)
        script.flush()
        command = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{round(seconds)}s"]
        said, cpu_s = _run([*command, "-s", script.name, url], cores, seconds)
    found = json.loads(said.partition("TOLD ")[2])
    return Told(
        requests=found["requests"],
        seconds=found["us"] / 1e6,
        p50_s=found["p50_us"] / 1e6,
        p99_s=found["p99_us"] / 1e6,
        lost=found["lost"],
        cpu_s=cpu_s,
        sent_s=np.zeros(0),
    )


def corrected_as_wrk(latency_s: Floats, seconds: float, connections: int) -> Floats:
    """Latencies with the samples that wrk guesses into them (stats_correct in its stats.c, called
    at the end of main): it takes the mean time from one request of a connection to its next for the
    interval at which requests were meant to leave, and for an answer of two such intervals or more
    it adds one that is an interval shorter, and another, as long as they exceed the interval."""
    interval_s = seconds * connections / max(1, len(latency_s))
    added = []
    slow_s = latency_s[latency_s >= 2 * interval_s] - interval_s
    while len(slow_s):
        added.append(slow_s)
        slow_s = slow_s - interval_s
        slow_s = slow_s[slow_s > interval_s]
    return np.concatenate([latency_s, *added])


def h2load(
    url: str, connections: int, seconds: float, rate_per_s: float, cores: Sequence[int]
) -> Told:
    """A constant rate over so many connections, by a timer for each of them; they are opened one
    after the other (-r), so that the timers are evenly spaced. Whole milliseconds between two."""
    gap_ms = max(1, round(1000 / rate_per_s))
    with tempfile.TemporaryDirectory(prefix="mpmlab-h2load.") as folder:
        log = Path(folder, "log")
        command = [
            "h2load", "--h1", "-t1", f"-c{connections}", "-r1", f"--rate-period={gap_ms}ms",
            f"--rps={rate_per_s / connections:g}", f"-n{round(rate_per_s * seconds)}",
            f"--log-file={log}", url,
        ]  # fmt: skip
        _, cpu_s = _run(command, cores, seconds)
        rows = np.loadtxt(log, dtype=np.int64, ndmin=2)
    good = rows[rows[:, 1] == 200]
    sent_s, latency_s = good[:, 0] / 1e6, good[:, 2] / 1e6
    return _told(sent_s, latency_s, len(rows) - len(good), _length_s(sent_s), cpu_s)


def hey(
    url: str, connections: int, seconds: float, rate_per_s: float, cores: Sequence[int]
) -> Told:
    """A rate limit for each of so many workers, which all tick together. Dialling is taken off the
    first answers' times."""
    each = max(1, round(rate_per_s / connections))
    count = round(each * connections * seconds)
    command = ["hey", "-c", str(connections), "-q", str(each), "-n", str(count), "-o", "csv", url]
    said, cpu_s = _run(command, cores, seconds)
    rows = list(csv.DictReader(said.splitlines()))
    good = [row for row in rows if row["status-code"] == "200"]
    sent_s = np.array([float(row["offset"]) for row in good])
    latency_s = np.array([float(r["response-time"]) - float(r["DNS+dialup"]) for r in good])
    return _told(sent_s, latency_s, count - len(good), _length_s(sent_s), cpu_s)


def autocannon(
    folder: Path,
    url: str,
    connections: int,
    seconds: float,
    rate_per_s: float,
    cores: Sequence[int],
) -> Told:
    """A number of requests for each second and connection, which it sends one after the other as
    fast as they are answered, and then waits for the next second."""
    options: dict[str, Any] = {
        "url": url, "connections": connections, "duration": round(seconds),
        "overallRate": round(rate_per_s), "ignoreCoordinatedOmission": True,
    }  # fmt: skip
    command = ["node", "-e", _AUTOCANNON, str(folder), json.dumps(options)]
    said, cpu_s = _run(command, cores, seconds)
    found = json.loads(said)
    rows = np.array(found["rows"], dtype=np.float64).reshape(-1, 2) / 1e6
    sent_s, latency_s = rows[:, 0] - rows[:, 1], rows[:, 1]
    mine = sent_s < sent_s.min() + round(seconds)  # it begins another second before it looks
    sent_s, latency_s = sent_s[mine], latency_s[mine]
    return _told(sent_s, latency_s, found["lost"], _length_s(sent_s), cpu_s)


def install_autocannon(folder: Path) -> str:
    """Install it below `folder` by npm; its version. Raises RuntimeError with what npm said."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "autocannon"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"npm install autocannon: {done.stderr.strip()}")
    package = json.loads((folder / "node_modules/autocannon/package.json").read_text())
    return str(package["version"])


def _length_s(sent_s: Floats) -> float:
    """From the first request to where the next one after the last would have been."""
    count = len(sent_s)
    return float(np.ptp(sent_s)) * count / (count - 1) if count > 1 else 0.0
