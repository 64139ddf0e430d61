"""The tables of a calibration: what was fitted, and how close the simulation came."""

from __future__ import annotations

from dataclasses import replace

from mpmlab.bench.calibration import PARAMETERS
from mpmlab.report.calibration_table import factor_table, residual_table
from tests.bench.calibration_data import made_fit
from tests.bench.seen import shown


def rows(text: str) -> list[list[str]]:
    """The cells of each row below the heading."""
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_every_parameter_has_a_row_and_every_mpm_a_column() -> None:
    """The value of its first cost with its interval; what has none was not fitted."""
    other = made_fit("worker")
    costs = replace(other.platform.costs, request_us=200.0)
    intervals = {"request_us": (190.0, 210.0), "latency_us": (0.0, 12.345)}
    platform = replace(other.platform, costs=costs, latency_us=5.0, intervals=intervals)
    fits = {"prefork": made_fit(), "worker": replace(other, platform=platform)}
    text = shown(factor_table(fits, "real"))
    assert "real: fitted costs, us (95 % interval)" in " ".join(text.split())
    assert "prefork" in text
    assert "worker" in text
    found = rows(text)
    assert len(found) == len(PARAMETERS)
    more = len(PARAMETERS["request"]) - 1
    assert found[0] == [f"request and {more} more alike", "180 (171-189)", "200 (190-210)"]
    cells = {row[0]: row[1:] for row in found}
    assert cells["latency"] == ["-", "5 (0-12.3)"]
    assert cells["fresh"] == ["-", "-"]


def test_every_figure_of_every_case_has_a_row() -> None:
    """Measured, how far its runs lie apart, and the errors before and after, with their signs."""
    text = shown(residual_table(made_fit(), "the title"))
    assert "the title" in text
    assert rows(text) == [
        ["users-1", "CPU beyond demand, us", "250", "4", "+100.0", "+2.0"],
        ["queue", "p99, ms", "40", "20", "+25.0", "-10.0"],
    ]
