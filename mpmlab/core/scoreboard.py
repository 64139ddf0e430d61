"""The scoreboard: one class over a buffer (shared memory in reality, a bytearray in simulation).

Layout and accessors only; no decisions, no clock. httpd: include/scoreboard.h, server/scoreboard.c.
Each field has one writer at a time (the owner of the slot, or the parent while the slot is dead),
so aligned single stores need no lock.
"""

from __future__ import annotations

from typing import Final

# Worker statuses (include/scoreboard.h). The order matters: idle is <= READY.
DEAD: Final = 0
STARTING: Final = 1
READY: Final = 2
BUSY_READ: Final = 3
BUSY_WRITE: Final = 4
BUSY_KEEPALIVE: Final = 5
BUSY_LOG: Final = 6
BUSY_DNS: Final = 7
CLOSING: Final = 8
GRACEFUL: Final = 9
IDLE_KILL: Final = 10

#: mod_status' letter of each status.
LETTERS: Final = ".S_RWKLDCGI"

_GLOBAL_WORDS: Final = 4  # generation, restarts, watermark, spare
# per process: pid, generation, quiescing, not_accepting, connections, write_completion,
# lingering_close, keep_alive (server/scoreboard.h process_score)
_PROCESS_WORDS: Final = 8


class Scoreboard:
    """`server_limit` process rows of `thread_limit` worker cells each, over `buffer`.

    `status` is a flat memoryview of bytes indexed slot * thread_limit + thread; the int32 columns
    are indexed by slot; `served` (requests) and `accepted` (connections) by cell."""

    def __init__(self, server_limit: int, thread_limit: int, buffer: memoryview | None = None):
        self.server_limit = server_limit
        self.thread_limit = thread_limit
        self.cells = server_limit * thread_limit
        size = self.size_of(server_limit, thread_limit)
        if buffer is None:
            buffer = memoryview(bytearray(size))
        if len(buffer) < size:
            raise ValueError(f"scoreboard needs {size} bytes, the buffer has {len(buffer)}")
        self.buffer = buffer
        words = buffer[: 4 * (_GLOBAL_WORDS + _PROCESS_WORDS * server_limit)].cast("i")
        self._global = words[:_GLOBAL_WORDS]
        columns = [
            words[_GLOBAL_WORDS + i * server_limit : _GLOBAL_WORDS + (i + 1) * server_limit]
            for i in range(_PROCESS_WORDS)
        ]
        (
            self.pid,
            self.generation_of,
            self.quiescing,
            self.not_accepting,
            self.connections,
            self.write_completion,
            self.lingering_close,
            self.keep_alive,
        ) = columns
        at = 4 * len(words)
        self.served = buffer[at : at + 4 * self.cells].cast("I")
        at += 4 * self.cells
        self.accepted = buffer[at : at + 4 * self.cells].cast("I")
        at += 4 * self.cells
        self.status = buffer[at : at + self.cells]

    @staticmethod
    def size_of(server_limit: int, thread_limit: int) -> int:
        """Bytes that a board of these limits takes."""
        cells = server_limit * thread_limit
        return 4 * (_GLOBAL_WORDS + _PROCESS_WORDS * server_limit) + 9 * cells

    @property
    def generation(self) -> int:
        """The running generation: 0 at first, one more at each restart."""
        return self._global[0]

    @generation.setter
    def generation(self, value: int) -> None:
        self._global[0] = value

    def set(self, cell: int, status: int) -> None:
        """One worker's status. Cell is slot * thread_limit + thread."""
        self.status[cell] = status

    def row(self, slot: int, threads: int | None = None) -> memoryview:
        """The statuses of one process's first `threads` workers (all by default)."""
        at = slot * self.thread_limit
        return self.status[at : at + (self.thread_limit if threads is None else threads)]

    def clear_slot(self, slot: int) -> None:
        """The process is gone: all its cells dead, its row zero (counters of cells stay)."""
        at = slot * self.thread_limit
        self.status[at : at + self.thread_limit] = bytes(self.thread_limit)
        for column in (
            self.pid,
            self.generation_of,
            self.quiescing,
            self.not_accepting,
            self.connections,
            self.write_completion,
            self.lingering_close,
            self.keep_alive,
        ):
            column[slot] = 0

    def clear(self) -> None:
        """A fresh board (ungraceful restart); the generation stays."""
        for slot in range(self.server_limit):
            self.clear_slot(slot)
        self.served[:] = memoryview(bytes(4 * self.cells)).cast("I")
        self.accepted[:] = memoryview(bytes(4 * self.cells)).cast("I")

    def letters(self) -> str:
        """mod_status' scoreboard string, process by process."""
        return "".join(LETTERS[s] for s in self.status)
