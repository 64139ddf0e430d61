"""Imports only go down: the table of floors, held over every module of mpmlab.

A module may import its own package and packages of lower floors, inside functions too. Packages of
one floor do not know one another, but for the pairs named here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Package (or single module, which then counts instead of its package) -> floor.
FLOORS = {
    "mpmlab.core": 0,
    "mpmlab.kernel": 1,
    "mpmlab.platforms": 1,  # data, and the one function that finds it
    "mpmlab.mpms": 2,
    "mpmlab.real": 2,
    "mpmlab.sim": 2,
    "mpmlab.workload": 3,
    "mpmlab.load": 3,
    # The executable that joins load, workload and the real world's loop into the client's process.
    "mpmlab.real.load_process": 4,
    "mpmlab.httpd": 4,
    "mpmlab.bench": 4,
    "mpmlab.plan": 5,
    "mpmlab.report": 5,
    "mpmlab.cli_options": 6,
    "mpmlab.cli_bench": 6,
    "mpmlab.cli_calibrate": 6,
    "mpmlab.cli_compare": 6,
    "mpmlab.cli_export": 6,
    "mpmlab.cli_mpms": 6,
    "mpmlab.cli_profile": 6,
    "mpmlab.cli_serve": 6,
    "mpmlab.cli_validate": 6,
    "mpmlab.cli": 7,
    "mpmlab.__main__": 8,
}

#: Neighbours of one floor that may be imported: (importer, imported) -> why.
NEIGHBOURS = {
    ("mpmlab.load", "mpmlab.workload"): "the clients read the plan that workload compiled",
    ("mpmlab.bench", "mpmlab.httpd"): "the harness runs it as an engine",
    ("mpmlab.cli_bench", "mpmlab.cli_options"): "its own options",
    ("mpmlab.cli_serve", "mpmlab.cli_mpms"): "one MPM by its name",
    ("mpmlab.bench", "mpmlab.real.load_process"): "the harness starts the client's process",
}


def home_of(module: str) -> str | None:
    """The entry of FLOORS that a module belongs to: the longest that fits; None outside mpmlab."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in FLOORS:
            return name
    return None


def imported_modules(module: str, is_package: bool, tree: ast.AST) -> list[tuple[int, str]]:
    """(line, absolute name) of everything of mpmlab that a module imports, as deep as is written:
    `from mpmlab.real import probe` counts as mpmlab.real.probe."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                drop = node.level - (1 if is_package else 0)
                anchor = module.split(".")
                anchor = anchor[: len(anchor) - drop]
                base = ".".join(anchor + ([base] if base else []))
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return [(line, name) for line, name in found if name.split(".")[0] == "mpmlab"]


def floor_faults(module: str, is_package: bool, source: str) -> list[str]:
    """The imports of one module that do not go down."""
    home = home_of(module)
    if home is None:
        if module != "mpmlab":
            return [f"{module} has no floor: name it in FLOORS"]
        return [
            f"mpmlab/__init__.py:{line}: imports {name}; it stands below every floor"
            for line, name in imported_modules(module, is_package, ast.parse(source))
        ]
    faults = []
    for line, name in imported_modules(module, is_package, ast.parse(source)):
        target = home_of(name)
        if target is None:
            if name.startswith("mpmlab.__version__"):
                continue
            faults.append(f"{module}:{line}: imports {name}, which has no floor")
        elif target == home or (home, target) in NEIGHBOURS:
            continue
        elif FLOORS[target] >= FLOORS[home]:
            faults.append(
                f"{module}:{line}: floor {FLOORS[home]} imports {name} of floor {FLOORS[target]}"
            )
    return faults


def test_imports_only_go_down() -> None:
    """Every import of mpmlab goes to a lower floor, and every module has one."""
    faults = []
    paths = sorted((ROOT / "mpmlab").rglob("*.py"))
    assert len(paths) > 20
    for path in paths:
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        faults += floor_faults(module, is_package, path.read_text())
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("mpmlab.core.spares", "import mpmlab.kernel.interface"),
        ("mpmlab.core.spares", "from mpmlab.kernel import Signal"),
        ("mpmlab.core.spares", "from ..sim import kernel"),
        ("mpmlab.core.spares", "def f():\n    from mpmlab.cli import main"),
        ("mpmlab.kernel.interface", "from mpmlab.mpms import catalog"),
        ("mpmlab.mpms.event", "from mpmlab.sim.kernel import SimKernel"),
        ("mpmlab.mpms.event", "from mpmlab.real import kernel"),
        ("mpmlab.sim.kernel", "from mpmlab.real.kernel import RealKernel"),
        ("mpmlab.real.kernel", "from mpmlab.load.client import user"),
        ("mpmlab.real.kernel", "from mpmlab.real.load_process import main"),
        ("mpmlab.workload.plan", "from mpmlab.load import recorder"),
        ("mpmlab.bench.harness", "from mpmlab.report import tables"),
        ("mpmlab.novel.thing", "x = 1"),
        ("mpmlab.sim.kernel", "import mpmlab.novel"),
        ("mpmlab", "from mpmlab.core import demand"),
    ],
)
def test_a_planted_upward_import_is_caught(module: str, line: str) -> None:
    """An import that goes up or sideways is caught, however it is written."""
    assert len(floor_faults(module, module == "mpmlab", line)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("mpmlab.core.spares", "from mpmlab.core import scoreboard\nimport math"),
        ("mpmlab.mpms.event", "from mpmlab.kernel.interface import Kernel"),
        ("mpmlab.mpms.event", "from . import connection"),
        ("mpmlab.mpms.event", "from ..core.scoreboard import READY"),
        ("mpmlab.load.client", "from mpmlab.workload.plan import Plan"),
        ("mpmlab.real.load_process", "from mpmlab.load.client import user"),
        ("mpmlab.bench.harness", "from mpmlab.real import kernel\nfrom mpmlab.sim import kernel"),
        ("mpmlab.cli", "from mpmlab.report import tables"),
    ],
)
def test_downward_imports_are_allowed(module: str, line: str) -> None:
    """What the table allows raises nothing."""
    assert floor_faults(module, False, line) == []
