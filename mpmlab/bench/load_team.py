"""The load processes of one run: one or several that share a plan, a zero of time and a table.

Starting them together, ending them together, and making one table of their records. Each process
carries out every n-th session (load.client.load, `part`); rows are merged, never percentiles.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mpmlab.bench.load_process import PLAIN, Asking, LoadProcess
from mpmlab.load.recorder import Records, merged
from mpmlab.real.load_process import COMPLETE, START_DELAY_S, STOPPED

#: Unpacking the plan's columns takes 0.09 s per million requests; twice that is allowed for.
UNPACK_S: Final = 0.2e-6
#: What the processes' facts come to in the run's: the sum, or the worst of them.
_SUMS: Final = ("planned", "ok", "errors", "shortages", "queued_connects", "max_connections")
_WORST: Final = ("client_cpu", "client_busy", "lateness_p50_us", "lateness_p99_us")


class LoadTeam:
    """Load processes that have been started and wait for `begin`. Use as a context manager: at the
    end of the block they are gone, and so are the parts of the records that were not collected.
    They die with the thread that made them, as LoadProcess says."""

    def __init__(
        self,
        plan: Path,
        host: str,
        port: int,
        records: Path,
        *,
        count: int = 1,
        timeout_s: float,
        cores: Sequence[int] = (),
        paced: bool = False,
        namespace: int | None = None,
        asking: Asking = PLAIN,
    ) -> None:
        self._records = records
        self._parts = [records.with_name(f".{records.stem}.{i}.npz") for i in range(count)]
        self._exit = contextlib.ExitStack()
        self._processes: list[LoadProcess] = []
        self._cores: dict[int, int | None] = {}
        with contextlib.ExitStack() as opened:
            for i, part in enumerate(self._parts):
                core = cores[i % len(cores)] if cores else None
                process = LoadProcess(
                    plan, host, port, part, timeout_s=timeout_s, part=(i, count),
                    cores=() if core is None else (core,),
                    paced=paced, hold=True, namespace=namespace, asking=asking,
                )  # fmt: skip
                self._processes.append(opened.enter_context(process))
                self._cores[process.pid] = core
            self._exit = opened.pop_all()

    def __enter__(self) -> LoadTeam:
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()
        for part in self._parts:
            part.unlink(missing_ok=True)

    @property
    def pids(self) -> dict[int, int | None]:
        """The processes, in order of their parts, and the core that each is bound to (None: not
        bound)."""
        return dict(self._cores)

    def ready(self) -> bool:
        """Whether all have read the plan and wait for `begin`."""
        self.drain()
        return all(process.ready for process in self._processes)

    def begin(self, requests: int) -> float:
        """Let them begin, all at the same time; that time, the plan's zero, on time.monotonic().
        `requests`: of the plan, whose columns each has yet to unpack."""
        start_s = time.monotonic() + START_DELAY_S + requests * UNPACK_S
        for process in self._processes:
            process.begin(start_s)
        return start_s

    def drain(self) -> None:
        """Take what they report, or their pipes fill up."""
        for process in self._processes:
            process.progress()

    def poll(self) -> int | None:
        """The first exit code that is not COMPLETE, as soon as there is one: a run without one of
        them is no run. Else None while one of them runs, and then COMPLETE."""
        codes = [process.poll() for process in self._processes]
        ended = next((code for code in codes if code not in (None, COMPLETE)), None)
        if ended is not None:
            return ended
        return None if None in codes else COMPLETE

    def stop(self) -> None:
        """Ask them to end now: each writes what it has, marked as incomplete."""
        for process in self._processes:
            process.stop()

    def wait(self, timeout_s: float) -> None:
        """Until they have ended. Raises TimeoutError, and LoadError as LoadProcess.wait does."""
        deadline_s = time.monotonic() + timeout_s
        for process in self._processes:
            process.wait(max(0.0, deadline_s - time.monotonic()))

    def collect(self) -> Records | None:
        """One table of what they have recorded, written to the records' path too; None if one of
        them left nothing."""
        codes = [process.poll() for process in self._processes]
        if not set(codes) <= {COMPLETE, STOPPED} or not all(p.exists() for p in self._parts):
            return None
        parts = [Records.load(path) for path in self._parts]
        records = merged(parts, facts([part.metadata for part in parts]))
        records.save(self._records)
        return records


def facts(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The facts of a run from those of its processes, which are kept under "processes"."""
    found = dict(parts[0])
    for name in _SUMS:
        found[name] = sum(part[name] for part in parts)
    for name in _WORST:
        found[name] = max((part[name] for part in parts if part[name] is not None), default=None)
    found["complete"] = all(part["complete"] for part in parts)
    found["processes"] = [dict(part) for part in parts]
    found.pop("part", None)
    return found
