"""The real engine: the MPM as processes of this machine, the clients in processes of their own.

Starting and ending it only; the run is live.py's. Nothing survives this function; were this process
killed outright, its children would die with it, as they ask the system to (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from mpmlab.bench.live import LOOPBACK, Before, LiveRun, divide
from mpmlab.bench.network import NAMESPACE, link_for
from mpmlab.bench.run import Run
from mpmlab.bench.samples import SampleLog
from mpmlab.bench.server import ENTRY, board_bytes, payload
from mpmlab.bench.task import Task, Watch
from mpmlab.core.platform import Platform
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.real.error_log import parse_line
from mpmlab.real.launch import start_server
from mpmlab.real.machine import usable_cores


class BoardEye(SampleLog):
    """Sees the workers in the memory that the server shares with us."""

    def pause(self, seconds: float) -> None:
        """See live.Eye."""
        time.sleep(seconds)


def run_real(task: Task, platform: Platform, watch: Watch, folder: Path) -> Run:
    """Run the task on this machine. The plan is read from, and the records are written to, files in
    `folder` (plan_path, records_path). Raises EngineError or LaunchError if it cannot start, and
    LinkError if there cannot be the network that was asked for."""
    cores = divide(usable_cores(), task.clients)
    before = Before.now(cores)
    settings = task.known()
    told = payload(task.source, task.directives, not platform.unserialized_accept)
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(link_for(task)) if task.network == NAMESPACE else None
        server = stack.enter_context(
            start_server(
                ENTRY,
                told,
                board_bytes(settings),
                settings.listen_backlog,
                cores.server,
                send_buffer_bytes=settings.send_buffer_size,
                host=LOOPBACK if link is None else link.server_address,
                namespace=None if link is None else link.server_namespace,
            )
        )
        board = Scoreboard(settings.server_limit, settings.thread_limit, server.buffer)
        live = LiveRun("real", task, watch, server, BoardEye(board), cores, before, folder, link)
        live.start_pool()
        live.run_load()
        live.stop_server()
        said = [parse_line(line) or line for line in server.stderr().splitlines()]
        return live.run(said)
