"""The external engine: any server that already runs, under the same plan and the same clients.

Nothing is started or stopped here, and nothing is known of the server but its answers: no workers,
no CPU, no memory. The run is live.py's.
"""

from __future__ import annotations

import time
from pathlib import Path

from mpmlab.bench.live import Before, LiveRun, divide
from mpmlab.bench.run import Run
from mpmlab.bench.samples import SampleRows
from mpmlab.bench.task import EngineError, Task, Watch
from mpmlab.real.handles import Address
from mpmlab.real.machine import usable_cores


class Somewhere:
    """live.Served for a server that is not ours: it is there, and that is all."""

    pid = None

    def __init__(self, address: Address) -> None:
        self.address = address

    def wait(self, _timeout_s: float | None) -> int | None:
        """It runs as long as it answers."""
        return None

    def children(self) -> list[int]:
        """None that we know of."""
        return []

    def stop(self, _timeout_s: float) -> int:
        """Is not called: it is not ours to stop."""
        raise EngineError("a server that is not ours is not stopped")

    def stderr(self) -> str:
        """Nothing."""
        return ""


class Blind(SampleRows):
    """live.Eye that sees nothing."""

    def ready_workers(self) -> int:
        """Unknown."""
        return 0

    def take(self, _time_s: float) -> None:
        """Nothing to see."""

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


def run_external(task: Task, watch: Watch, folder: Path) -> Run:
    """Run the task's plan against `task.url`."""
    url = task.url
    if url is None:
        raise EngineError("the external engine was not told the server's address")
    cores = divide(usable_cores(), task.clients)
    server = Somewhere(Address(url.port, url.host))
    live = LiveRun("external", task, watch, server, Blind(), cores, Before.now(cores), folder)
    live.run_load()
    return live.run((), (f"the server at {url.text} is not ours: its workers, CPU and memory are "
                         "unknown",))  # fmt: skip
