"""The ranges that several tables of a scenario share; beyond them a number is a typing error."""

from __future__ import annotations

from typing import Final

#: One week.
MAX_DURATION_S: Final = 7 * 86_400
MAX_RATE_PER_S: Final = 1_000_000
MAX_SPEEDUP: Final = 1_000_000


def to_us(seconds: float) -> int:
    """Seconds to whole microseconds."""
    return round(seconds * 1e6)
