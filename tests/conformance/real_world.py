"""Runs one body of the conformance suite in the real world: a fresh process per body."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.real.launch import LaunchContext, start_server
from mpmlab.real.launched import find

#: A body that takes longer hangs.
TIMEOUT_S = 20.0
#: Room for a result, as JSON.
_RESULT_BYTES = 1 << 16


class BodyError(AssertionError):
    """The body raised, died or did not end. Carries what it wrote to stderr."""


def run_body(body: Callable[..., Steps[Any]], backlog: int = 8) -> Any:
    """The body's result, after JSON (tuples are lists). Nothing of it is left running."""
    payload = {"body": f"{body.__module__}:{body.__qualname__}"}
    entry = f"{__name__}:play"
    with start_server(entry, payload, board_size=_RESULT_BYTES, backlog=backlog) as server:
        code = server.wait(TIMEOUT_S)
        if code != 0:
            how = f"did not end in {TIMEOUT_S} s" if code is None else f"ended with code {code}"
            raise BodyError(f"{payload['body']} {how}\n{server.stderr()}")
        assert server.buffer is not None
        return json.loads(bytes(server.buffer).rstrip(b"\0"))


def play(k: Kernel, context: LaunchContext) -> Steps[int]:
    """The entry point in the fresh process: run the body, leave its result in the memory."""
    result = yield from find(context.payload["body"])(k, context.listener)
    text = json.dumps(result).encode()
    assert context.board_buffer is not None
    context.board_buffer[: len(text)] = text
    return 0
