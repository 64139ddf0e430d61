"""What runs in the clean process of a real server: payload in, MPM out.

The entry point for real/launch.py and nothing else; it decides nothing. The payload is JSON:
`mpm` (as own_mpm.mpm_of takes it), `directives` (pairs in the order given), `serialized_accept`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mpmlab.bench.dummy import dummy_bytes
from mpmlab.bench.own_mpm import mpm_of
from mpmlab.core.directives import effective
from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.scoreboard import Scoreboard
from mpmlab.core.settings import Settings
from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.mpms.site import Site
from mpmlab.real.launched import LaunchContext

#: How start_server names `serve`.
ENTRY = "mpmlab.bench.server:serve"


def payload(
    mpm: str, directives: Iterable[tuple[str, str]], serialized_accept: bool
) -> dict[str, Any]:
    """What `serve` wants to be told."""
    return {
        "mpm": mpm,
        "directives": [list(pair) for pair in directives],
        "serialized_accept": serialized_accept,
    }


def board_bytes(settings: Settings) -> int:
    """How much shared memory the server's scoreboard takes."""
    return Scoreboard.size_of(settings.server_limit, settings.thread_limit)


def serve(k: Kernel, context: LaunchContext) -> Steps[int]:
    """The server's main thread: the MPM's parent, until it is told to stop; its exit code."""
    told: Mapping[str, Any] = context.payload
    pairs = [(str(name), str(value)) for name, value in told["directives"]]
    mpm = mpm_of(told["mpm"])
    settings = effective(mpm.settings_name, pairs, "payload")
    board = Scoreboard(settings.server_limit, settings.thread_limit, context.board_buffer)
    site = Site(
        settings=settings,
        listener=context.listener,
        board=board,
        wire=H11Wire,
        dummy_request=dummy_bytes,
        serialized_accept=told["serialized_accept"],
    )
    return (yield from mpm.parent(k, site))
