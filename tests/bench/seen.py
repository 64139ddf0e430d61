"""Made-up observations for the tests of what is said of a validation. Builders only."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from mpmlab.bench.validation import SIM, Observation


def seen(
    case: str = "a",
    mpm: str = "event",
    mean_ms: float | None = 110.0,
    real_ms: float = 100.0,
    **changes: Any,
) -> Observation:
    """Measured 100 ms, simulated 110, at a utilisation of 0.6."""
    values: dict[str, Any] = {
        "case": case, "scenario": "cpu", "role": "held-out", "mpm": mpm, "repetition": 1,
        "folder": "f", "utilisation": 0.6, "reasons": (),
        "measured": {"mean_ms": real_ms, "p99_ms": None},
        "predicted": {SIM: {"mean_ms": mean_ms, "p99_ms": 5.0}, "M/M/c": {"mean_ms": 50.0}},
        "quantiles_ms": {"measured": [1.0, 2.0], "sim": [1.1, 2.2]},
    }  # fmt: skip
    return Observation(**{**values, **changes})


def apart(
    case: str,
    mpm: str,
    low_ms: float,
    high_ms: float,
    predicted: Mapping[str, float],
    **changes: Any,
) -> Observation:
    """The measured mean lies between the two; `predicted` says it by predictor."""
    return seen(
        case, mpm,
        intervals={"mean_ms": (low_ms, high_ms)},
        predicted={name: {"mean_ms": value} for name, value in predicted.items()},
        **changes,
    )  # fmt: skip


def shown(*tables: Any) -> str:
    """As they look in a wide terminal."""
    out = io.StringIO()
    for table in tables:
        Console(file=out, width=200).print(table)
    return out.getvalue()
