"""Scenarios for the tests of workloads: texts written into a folder, and plans made of them."""

from __future__ import annotations

from pathlib import Path

from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import Scenario, load_scenario

ONE_CLASS = '[[class]]\nname = "page"\ncpu_us = 100\n'


def scenario_of(folder: Path, text: str) -> Scenario:
    """The scenario of a whole file's text."""
    path = folder / "test.toml"
    path.write_text(text)
    return load_scenario(path)


def scenario_with(
    folder: Path, arrivals: str, classes: str = ONE_CLASS, duration_s: float = 10
) -> Scenario:
    """The scenario with these [arrivals] and classes, without warm-up."""
    head = f'name = "test"\nduration_s = {duration_s}\n'
    return scenario_of(folder, f"{head}[arrivals]\n{arrivals}\n{classes}")


def plan_with(
    folder: Path,
    arrivals: str,
    classes: str = ONE_CLASS,
    duration_s: float = 10,
    seed: int = 1,
) -> Plan:
    """The plan of `scenario_with`."""
    return compile_plan(scenario_with(folder, arrivals, classes, duration_s), seed)
