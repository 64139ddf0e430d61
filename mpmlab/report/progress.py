"""Live progress on stderr: a bar on a terminal, else a plain line every few seconds.

Drawing only. During a real run this process shares its machine with what it measures, so nothing is
drawn more often than once a second, and never from a thread of its own.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

#: Drawing a bar costs about 3 ms of CPU: once a second, that is 0.3 % of a core.
_REDRAW_S: Final = 1.0
_PLAIN_S: Final = 5.0


class Reporter:
    """Told by the harness what is going on. `phase` starts something new, `advance` says how far it
    is (0..1), `say` prints a line that stays. With quiet=True only `say(..., always=True)` prints.
    Use it as a context manager: it leaves the terminal as it was."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None):
        self._stream = sys.stderr if stream is None else stream
        self._console = Console(file=self._stream, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._drawn_s = 0.0

    def __enter__(self) -> Reporter:
        if not self._quiet and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=32),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def phase(self, name: str) -> None:
        """A new thing begins; the one before it is over."""
        self._name = name
        self._drawn_s = time.monotonic()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(name, total=1.0)
            self._bar.refresh()
        elif not self._quiet:
            self._line(f"{name} ...")

    def advance(self, fraction: float) -> None:
        """The current phase is that far. Cheap; draws only when it is time."""
        now = time.monotonic()
        if now - self._drawn_s < (_PLAIN_S if self._bar is None else _REDRAW_S):
            return
        self._drawn_s = now
        fraction = min(max(fraction, 0.0), 1.0)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=fraction)
            self._bar.refresh()
        elif not self._quiet:
            self._line(f"{self._name}: {100 * fraction:.0f} %")

    def say(self, text: str, always: bool = False) -> None:
        """A line that stays: a note, or with `always` a warning that quiet does not silence."""
        if always or not self._quiet:
            self._line(text)

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False)
