"""Where results are printed, and how wide. Nothing is formatted here."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

#: Width of the tables when stdout is not a terminal.
FILE_WIDTH: Final = 160


def stdout() -> Console:
    """Where results go."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
