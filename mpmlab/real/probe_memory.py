"""What a server's processes, threads and connections take of memory here, as PSS.

PSS (proportional set size) counts a page that n processes share as 1/n in each, so that the sum
over processes is what they take together. A parent with n children is measured for two n, and a
line laid through: its slope is a child's own, its start the parent's. Where the system does not
tell PSS (elsewhere than on Linux), USS stands in, which leaves out what is shared.
"""

from __future__ import annotations

import os
from typing import Final

import psutil

from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.wire import Limits, Request
from mpmlab.kernel.interface import Kernel, KernelError, Queue, Signal, Steps
from mpmlab.real.handles import Listener
from mpmlab.real.probe_whole import CLIENT_TIMEOUT_S, child, closed_loop, request_bytes, slice_of

#: The two sizes of the pool through which the line is laid.
FEW: Final = 2
MANY: Final = 8
#: Threads, and connections, by which their own share is told.
THREADS: Final = 32
CONNECTIONS: Final = 64


def pss_kib(pid: int) -> float:
    """KiB that a process takes: PSS, or USS where there is none."""
    info = psutil.Process(pid).memory_full_info()
    return float(getattr(info, "pss", info.uss)) / 1024


def memory_kib(k: Kernel, client_core: int | None) -> dict[str, float]:
    """KiB by the names of Platform: parent, child, worker thread, connection."""
    few, many = (_pool_kib(k, n, client_core) for n in (FEW, MANY))
    process = (many - few) / (MANY - FEW)
    empty, threads, connections = _grown_kib(k)
    return {
        "parent_memory_kib": max(few - FEW * process, 0.0),
        "process_memory_kib": max(process, 0.0),
        "thread_memory_kib": max(threads - empty, 0.0) / THREADS,
        "connection_memory_kib": max(connections - threads, 0.0) / CONNECTIONS,
    }


def _pool_kib(k: Kernel, children: int, client_core: int | None) -> float:
    """A parent and so many children that have served requests, together."""
    total = 0.0

    def sample(pids: list[int]) -> None:
        nonlocal total
        total = sum(pss_kib(pid) for pid in (os.getpid(), *pids))

    slice_of(k, children, child, closed_loop, client_core, children, 0.0, True, before_stop=sample)
    return total


def _grown_kib(k: Kernel) -> tuple[float, float, float]:
    """One child: as it is, with THREADS waiting threads, and with CONNECTIONS besides."""
    listener = Listener.bind()
    ask, told = k.queue(shared=True), k.queue(shared=True)
    pid = k.fork(_grow, listener, ask, told)
    if pid is None:
        raise KernelError("the system refuses the probe's fork")
    sizes = []
    for _ in range(3):
        if k.get(told, CLIENT_TIMEOUT_S) is None:
            raise KernelError("the probe's child does not answer")
        sizes.append(pss_kib(pid))
        k.put(ask, "!")
    k.wait(CLIENT_TIMEOUT_S)
    k.close(listener)
    return sizes[0], sizes[1], sizes[2]


def _grow(k: Kernel, listener: Listener, ask: Queue, told: Queue) -> Steps[int]:
    queue = k.queue()
    ready = k.queue()
    yield k.put(told, "0")
    yield k.get(ask, CLIENT_TIMEOUT_S)
    for _ in range(THREADS):
        yield k.thread(_waiting, queue, ready)
    for _ in range(THREADS):
        yield k.get(ready, CLIENT_TIMEOUT_S)
    yield k.put(told, "1")
    yield k.get(ask, CLIENT_TIMEOUT_S)
    held = []
    request = request_bytes(keep_alive=True)
    for _ in range(CONNECTIONS):
        near = yield k.connect(listener, CLIENT_TIMEOUT_S)
        far = yield k.accept(listener, CLIENT_TIMEOUT_S)
        wire = H11Wire(Limits())
        yield k.send(near, request, CLIENT_TIMEOUT_S)
        wire.feed((yield k.recv(far, len(request), CLIENT_TIMEOUT_S)))
        if isinstance(wire.next(), Request):
            yield k.send(far, wire.respond(200, b"", True), CLIENT_TIMEOUT_S)
        held.append((near, far, wire))
    yield k.put(told, "2")
    yield k.get(ask, CLIENT_TIMEOUT_S)
    return int(Signal.TERM in k.signals())


def _waiting(k: Kernel, queue: Queue, ready: Queue) -> Steps[None]:
    yield k.put(ready, "!")
    yield k.get(queue, None)
