"""Ctrl-C and SIGTERM, turned into a fact to look at while an engine runs.

Only the handlers live here. Children run in sessions of their own, so that the terminal's Ctrl-C
reaches this process alone, which then ends them in order and saves what there is.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether the user asked to stop.

    Outside `polite()` a signal raises KeyboardInterrupt where the program is. Inside, the first one
    is noted in `reason` for the engine to see, and only further ones raise: whoever presses
    Ctrl-C twice does not want to wait. Nothing but the main thread may use it."""

    def __init__(self) -> None:
        #: "" while nobody asked.
        self.reason = ""
        self._polite = False
        self._patience = True

    def __bool__(self) -> bool:
        return bool(self.reason)

    @contextmanager
    def installed(self) -> Iterator[Interruption]:
        """Handle SIGINT and SIGTERM inside; the handlers before it are put back."""
        before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def polite(self, patience: bool = True) -> Iterator[None]:
        """Note the first signal instead of raising. With patience=False the code inside does not
        look at `reason` (it saves results, which takes moments), so the second does not raise
        either."""
        outer = self._polite, self._patience
        self._polite, self._patience = True, patience
        try:
            yield
        finally:
            self._polite, self._patience = outer

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again = bool(self.reason)
        self.reason = f"interrupted by {signal.Signals(number).name}"
        if not self._polite or (again and self._patience):
            raise KeyboardInterrupt
