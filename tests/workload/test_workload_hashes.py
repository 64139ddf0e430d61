"""One scenario and one seed, one plan: pinned hashes, so that Python versions, numpy versions and
platforms must agree (CI runs this file under two Python versions).

Whoever changes what a seed means must know it, and say so in the change log; new values:
pytest tests/workload/test_workload_hashes.py prints them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mpmlab.workload.compile import compile_plan
from mpmlab.workload.plan import Plan
from mpmlab.workload.scenario import load_scenario
from tests.workload.test_workload_har_replay import CLASSES, har_of
from tests.workload.workload_samples import ONE_CLASS, plan_with

#: Shipped scenario -> hash of its plan with seed 7: each kind of arrivals, most distributions, and
#: several groups of clients.
PINNED = {
    "default": "b3a9dc348148b526c2a4e94be8da191b2ec75aa6b49618ade868163560eea0ec",
    "nasa": "d6613bbb0260b25612995d1b7fc65904e6e539cc0307325beb2a57dcbbb587c5",
    "closed": "19ca5ab3dd9c7541b837c03f1e92f0b0b05ec50157633286ffbc110856b75020",
    "bursty": "010cd8f577299064fe72070337dbe86ef8c0f397cfbfd7c38e64b30802b743c3",
    "spike": "a9e390eb08e6389c24e2ed18447aa16660151cd479ead839fce84a12ffad5f32",
    "heavy-tail": "7c367d63eed9f0959c33d19d51b680a321a54a581f00000c021c176fd9d80fb3",
    "pool": "b0aa652ffa91f184e015ae039f637b8238318586e07c2c6527c9a52e0ca3bd71",
    "slowloris": "828c34a9a590e96186552bc504f5ac457235b618567548d99b2c25761fcd7667",
    "slow-readers": "23b5f2f1095ff9562ee8dca190abf2c709ed513bc48f605a730115740d069f05",
}
#: Arrivals that no shipped scenario has.
ARRIVALS = {
    "mmpp": """
kind = "mmpp"
next = "random"
states = [
    { rate_per_s = 9, mean_s = 1 },
    { rate_per_s = 90, mean_s = 0.1 },
    { rate_per_s = 0, mean_s = 0.3 },
]
""",
    "even stages": """
kind = "piecewise"
spacing = "constant"
repeat = true
stages = [{ duration_s = 0.7, to_per_s = 333 }, { duration_s = 0.3, rate_per_s = 7 }]
""",
    "hyperexponential": """
kind = "renewal"
rate_per_s = 77
gap = { dist = "hyperexponential", cv = 3 }
""",
    "sessions": """
kind = "sessions"
requests_per_session = { dist = "geometric", mean = 3 }
think_s = { dist = "lognormal", mean = 0.3, cv = 2 }
starts = { kind = "renewal", rate_per_s = 9, gap = { dist = "lognormal", cv = 2 } }
""",
    "har": """
kind = "har"
file = "a.har"
speedup = 3
recorded_wait = true
""",
}
PINNED_ARRIVALS = {
    "mmpp": "9a831f820a3faa297bf0ea297f3139a7efcbaa4d48faaadc91225083b5db4794",
    "even stages": "92a6de479023a826cc4982d9b1fadb755a24676e10dd8aea1684e5b9473cd0f8",
    "hyperexponential": "7304c962c56da7beb358e4ab318ce60267e6562f19dd14bc347a3a155e915691",
    "sessions": "bd02fbf4c0068571108524a8c0f7f368d273177a7a7edd65b8c4700de556b1bf",
    "har": "28b0da3ebdc127717558fe33c5fd1a1c909464748760028e360ddbe730f1a752",
}


def told(plan: Plan) -> str:
    """What to pin, and where it was made."""
    return f"{plan.hash}, on Python {sys.version.split()[0]}, numpy {np.__version__}"


@pytest.mark.parametrize("name", PINNED)
def test_shipped_scenarios(name: str) -> None:
    """A seed means the same load everywhere."""
    plan = compile_plan(load_scenario(name), 7)
    assert plan.hash == PINNED[name], told(plan)


@pytest.mark.parametrize("name", ARRIVALS)
def test_other_arrivals(tmp_path: Path, name: str) -> None:
    """The same for the other kinds of arrivals, and for a HAR file."""
    (tmp_path / "a.har").write_text(har_of())
    classes = CLASSES if name == "har" else ONE_CLASS
    plan = plan_with(tmp_path, ARRIVALS[name], classes, seed=7)
    assert plan.hash == PINNED_ARRIVALS[name], told(plan)
