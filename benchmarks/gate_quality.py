"""Do the validity gates tell disturbed runs from clean ones? Short real runs of `mpmlab bench`,
every other one disturbed on purpose: which were flagged (exit code 3), and by which gates.

Disturbances: a process that takes the clients' core, too few descriptors for the connections, a
rate beyond what the server can do, and one beyond what the client can do as well. The clean runs
are of four kinds of load at a fifth of a core; all go through prefork, worker and event.

Fails (exit code 1) if fewer than 19 in 20 of the disturbed runs are flagged, or more than 1 in 20
of the clean ones.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.common import CORES, report
from benchmarks.programs import end_session, start
from mpmlab.bench.conduct import EXIT_INVALID
from mpmlab.bench.gates import Gate, failures
from mpmlab.bench.live import divide
from mpmlab.bench.results import load_results
from mpmlab.real.loop import SPARE_DESCRIPTORS

RUNS: Final = 20
SECONDS: Final = 4.0
WARMUP_S: Final = 1.0
#: Of so many disturbed runs one may pass, and of so many clean ones one may be flagged.
ONE_IN: Final = 20
MPMS: Final = ("prefork", "worker", "event")
#: A pool that is there from the start: prefork begins with five processes.
_SETTINGS: Final = {"prefork": ("StartServers=40", "MaxSpareServers=60")}
#: How long one run may take in all.
_PATIENCE_S: Final = 120.0
#: Connections that a run with too few descriptors can have.
_FEW_CONNECTIONS: Final = 2
#: ... for whose evenly spaced requests they would do, did these not come faster than they are
#: answered; the server can do that.
_FEW_PER_S: Final = {"dialling": 400}
#: Clients wait so long for an answer: runs beyond the server's capacity end that much later.
_TIMEOUT_S: Final = 3.0
#: One core does about 1,000/s of the pages below.
BEYOND_SERVER_PER_S: Final = {"pool": 3000, "sessions": 3000, "dialling": 3000}
#: One client process does about 70,000/s on connections that are there, and dials 12,000/s.
BEYOND_CLIENT_PER_S: Final = {"pool": 100_000, "sessions": 50_000, "dialling": 20_000}

_PAGE: Final = """
[[class]]
name = "page"
cpu_us = 500
wait_us = 5000
response_bytes = 2000
"""
_OPEN: Final = {
    "pool": """
[arrivals]
kind = "poisson"
rate_per_s = 150
[client]
keep_alive = true
pool = 16
""",
    "sessions": """
[arrivals]
kind = "sessions"
rate_per_s = 30
requests_per_session = 5
think_s = { dist = "exponential", mean = 0.1 }
""",
    "dialling": """
[arrivals]
kind = "constant"
rate_per_s = 150
[client]
keep_alive = false
""",
}
SCENARIOS: Final = {
    **_OPEN,
    "closed": """
[arrivals]
kind = "closed"
users = 16
think_s = { dist = "exponential", mean = 0.1 }
""",
}
CLEAN: Final = "clean"
#: Gates that say that others used the cores.
_OTHERS: Final = frozenset({"client-core", "server-core"})


@dataclass(frozen=True)
class Trial:
    """A run to be made. `kind` is CLEAN or the name of a disturbance."""

    kind: str
    scenario: str
    mpm: str
    seed: int

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.kind}: {self.mpm}, {self.scenario}, seed {self.seed}"


@dataclass(frozen=True)
class Finding:
    """What came of it: the exit code of `mpmlab bench`, and the gates that failed."""

    trial: Trial
    code: int
    failed: tuple[Gate, ...]
    said: str

    @property
    def flagged(self) -> bool:
        """True if the run was called invalid."""
        return self.code == EXIT_INVALID

    @property
    def right(self) -> bool:
        """True if it was called what it was. A run that failed altogether was not judged."""
        return self.code == (0 if self.trial.kind == CLEAN else EXIT_INVALID)


# ---- disturbances --------------------------------------------------------------------------------


@contextmanager
def hog() -> Iterator[None]:
    """Somebody else on the clients' core, all the time."""
    process = start([sys.executable, "-c", "while True: pass"], divide(list(CORES)).client)
    try:
        yield
    finally:
        end_session(process)


def few_descriptors() -> None:
    """Run in the bench's process before it begins: its load process can have few connections."""
    limit = SPARE_DESCRIPTORS + _FEW_CONNECTIONS
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


DISTURBANCES: Final = ("hog on the clients' core", "too few descriptors", "beyond the server",
                       "beyond server and client")  # fmt: skip
#: Disturbance -> load -> its rate, where that is not the load's own.
RATES: Final = {
    DISTURBANCES[1]: _FEW_PER_S,
    DISTURBANCES[2]: BEYOND_SERVER_PER_S,
    DISTURBANCES[3]: BEYOND_CLIENT_PER_S,
}


def trials(runs: int) -> list[Trial]:
    """So many disturbed ones and as many clean ones, in turn."""
    found = []
    for number in range(runs):
        mpm, seed = MPMS[number % len(MPMS)], number + 1
        found.append(Trial(CLEAN, list(SCENARIOS)[number % len(SCENARIOS)], mpm, seed))
        kind = DISTURBANCES[number % len(DISTURBANCES)]
        found.append(Trial(kind, list(_OPEN)[number // len(MPMS) % len(_OPEN)], mpm, seed))
    return found


# ---- a run ---------------------------------------------------------------------------------------


def carry_out(trial: Trial, seconds: float) -> Finding:
    """Make the run."""
    with tempfile.TemporaryDirectory(prefix="mpmlab-gates.") as folder:
        scenario = Path(folder, "scenario.toml")
        scenario.write_text(scenario_text(trial.scenario, seconds))
        results = Path(folder, "results")
        command = [sys.executable, "-m", "mpmlab", "bench", "--quiet", "--engine", "real",
                   "--scenario", str(scenario), "--mpm", trial.mpm, "--seed", str(trial.seed),
                   "--timeout", str(_TIMEOUT_S), "--out", str(results)]  # fmt: skip
        for setting in _SETTINGS.get(trial.mpm, ()):
            command += ["--set", setting]
        rate_per_s = RATES.get(trial.kind, {}).get(trial.scenario)
        if rate_per_s is not None:
            command += ["--rate", str(rate_per_s)]
        preset: Callable[[], None] = lambda: None  # noqa: E731 (nothing to be named)
        if trial.kind == DISTURBANCES[1]:
            preset = few_descriptors
        with hog() if trial.kind == DISTURBANCES[0] else nullcontext():
            process = start(command, CORES, subprocess.PIPE, subprocess.STDOUT, preset=preset)
            try:
                said, _ = process.communicate(timeout=_PATIENCE_S)
            finally:
                end_session(process)
        return Finding(trial, process.returncode, failed_gates(results), said)


def scenario_text(name: str, seconds: float) -> str:
    """The scenario's file."""
    return (
        f'name = "{name}"\nduration_s = {seconds}\nwarmup_s = {WARMUP_S}\n{SCENARIOS[name]}{_PAGE}'
    )


def failed_gates(results: Path) -> tuple[Gate, ...]:
    """Those of the run that was stored below that folder; none if none was."""
    runs = [
        run for at in results.glob("*/run.json") for run in load_results(at.parent).runs.values()
    ]
    return tuple(gate for run in runs for gate in failures(run.gates))


# ---- what came of it -----------------------------------------------------------------------------


def good_enough(findings: Sequence[Finding]) -> bool:
    """Whether no more than one in ONE_IN of either sort was called what it is not."""
    for clean in (True, False):
        mine = [one for one in findings if (one.trial.kind == CLEAN) == clean]
        if sum(not one.right for one in mine) > len(mine) // ONE_IN:
            return False
    return True


def tell(findings: Sequence[Finding], seconds: float, took_s: float) -> None:
    """Print counts, and every run that was not called what it was."""
    rows = []
    for kind in (CLEAN, *DISTURBANCES):
        mine = [one for one in findings if one.trial.kind == kind]
        if not mine:
            continue
        gates = Counter(gate.name for one in mine for gate in one.failed)
        broken = sum(one.code not in (0, EXIT_INVALID) for one in mine)
        rows.append((
            kind, len(mine), sum(one.flagged for one in mine), broken,
            ", ".join(f"{name} {count}" for name, count in gates.most_common()),
        ))  # fmt: skip
    report(
        "Runs called invalid",
        ("kind", "runs", "invalid", "failed", "by which gates"),
        rows,
        f"runs of {seconds:g} s, {took_s:.0f} s in all; wanted: at most 1 in {ONE_IN} of the clean "
        f"ones, all but 1 in {ONE_IN} of the others",
    )
    for one in findings:
        if not one.right:
            print(f"WRONG: {one.trial.label}: exit code {one.code}")
            for gate in one.failed:
                print(f"    {gate.name}: {gate.text}")
            if not one.failed:
                print(f"    it said: {one.said.strip()[-500:]}")
    if any(gate.name in _OTHERS for one in findings if one.trial.kind == CLEAN
           for gate in one.failed):  # fmt: skip
        print("Something else ran on this machine: end it and repeat, the clean runs were not.")


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    made = argparse.ArgumentParser(prog="gate_quality", description=__doc__.split("\n\n")[0])
    made.add_argument("--runs", type=int, default=RUNS, help="of each sort (%(default)s)")
    made.add_argument("--seconds", type=float, default=SECONDS, help="of a run (%(default)s)")
    made.add_argument("--verbose", action="store_true", help="tell of every run as it ends")
    chosen = made.parse_args(argv)
    if chosen.runs < 1 or chosen.seconds <= WARMUP_S:
        made.error(f"accepted: at least one run, and runs longer than {WARMUP_S:g} s")
    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code."""
    asked = options(argv)
    began_s, findings = time.monotonic(), []
    for trial in trials(asked.runs):
        found = carry_out(trial, asked.seconds)
        findings.append(found)
        if asked.verbose:
            gates = ", ".join(gate.name for gate in found.failed)
            print(f"{trial.label}: exit code {found.code} {gates}", flush=True)
    tell(findings, asked.seconds, time.monotonic() - began_s)
    return 0 if good_enough(findings) else 1


if __name__ == "__main__":
    sys.exit(main())
