"""The tree is tidy: yield discipline, banned imports, sizes. And each check catches its fault."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.tidy import (
    BANNED_IN_CORE,
    BANNED_IN_MPMS,
    BANNED_IN_SIM,
    Fault,
    Generators,
    Operations,
    cleanup_faults,
    import_faults,
    open_faults,
    operations,
    size_faults,
    yield_faults,
)

ROOT = Path(__file__).resolve().parent.parent
OPERATIONS = operations((ROOT / "mpmlab/kernel/interface.py").read_text())

#: Functions that may be longer than the rule, each with its reason: {"path:function": "why"}.
LONGER: dict[str, str] = {}


def files(*patterns: str) -> dict[str, str]:
    """Path relative to the root -> source."""
    found = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return {str(path.relative_to(ROOT)): path.read_text() for path in found}


def module_of(path: str) -> str:
    """mpmlab/mpms/event.py -> mpmlab.mpms.event"""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def discipline_faults(sources: dict[str, str], ops: Operations = OPERATIONS) -> list[Fault]:
    """All that a kernel's text can do wrong, over a set of modules that call one another."""
    trees = {path: ast.parse(source) for path, source in sources.items()}
    known = Generators.of({module_of(path): tree for path, tree in trees.items()})
    faults: list[Fault] = []
    for path, tree in trees.items():
        faults += yield_faults(path, module_of(path), tree, ops, known)
        faults += cleanup_faults(path, tree)
    return sorted(faults)


#: What the clients are made of, but for their recorder, which writes a file.
LOAD_TEXT = ("client", "deck", "exchange", "habits", "parts", "way")


def world_free() -> dict[str, str]:
    """The modules that a kernel drives."""
    clients = (f"mpmlab/load/{name}.py" for name in LOAD_TEXT)
    return files("mpmlab/mpms/*.py", *clients)


def listed(faults: list[Fault]) -> str:
    return "\n" + "\n".join(map(str, faults))


# ---- the tree ------------------------------------------------------------------------------------


def test_operations_are_read_from_the_interface() -> None:
    """The checks know every wait that the interface promises, and tell them from plain calls."""
    named = "fork thread wait sleep work lock put get accept poll recv send connect"
    assert OPERATIONS.waits == set(named.split())
    assert {"now", "close", "unlock", "kill", "arm", "wake", "queue", "mutex"} <= OPERATIONS.plain


def test_yield_discipline_of_the_mpms_and_the_client() -> None:
    """Every wait of MPMs and clients is yielded where it stands, every generator delegated to."""
    sources = world_free()
    assert {"mpmlab/mpms/prefork.py", "mpmlab/mpms/event.py", "mpmlab/load/client.py"} <= set(
        sources
    )
    assert {path.stem for path in (ROOT / "mpmlab/load").glob("*.py")} == {
        *LOAD_TEXT, "__init__", "recorder",
    }  # fmt: skip
    faults = discipline_faults(sources)
    assert not faults, listed(faults)


def test_mpms_reach_the_world_through_the_kernel_only() -> None:
    """No MPM and no client imports a clock, a socket, a thread or a simulator."""
    faults = [
        fault
        for path, source in world_free().items()
        for fault in import_faults(path, ast.parse(source), BANNED_IN_MPMS)
    ]
    assert not faults, listed(faults)


def test_core_has_no_clock_and_no_io() -> None:
    """core imports nothing that waits, reads the time or touches files; one file reads a path."""
    faults = []
    for path, source in files("mpmlab/core/*.py", "mpmlab/kernel/*.py").items():
        banned = BANNED_IN_CORE
        if path == "mpmlab/core/platform_file.py":
            banned = banned - {"pathlib"}
        tree = ast.parse(source)
        faults += import_faults(path, tree, banned) + open_faults(path, tree)
    assert not faults, listed(faults)


def test_the_simulation_has_no_real_clock() -> None:
    """Nothing of sim imports the machine's clock, sockets, threads or signals."""
    faults = [
        fault
        for path, source in files("mpmlab/sim/**/*.py").items()
        for fault in import_faults(path, ast.parse(source), BANNED_IN_SIM)
    ]
    assert not faults, listed(faults)


def test_files_and_functions_stay_small() -> None:
    """One noun per file: sizes within the rule, and each module says what lives in it."""
    faults = []
    for path, source in files("mpmlab/**/*.py", "tests/**/*.py", "benchmarks/*.py").items():
        if source:  # an empty __init__.py has nothing to say
            faults += size_faults(path, source, ast.parse(source))
    excused = [f for f in faults if f"{f.path}:{f.text.split('(')[0]}" not in LONGER]
    assert not excused, listed(excused)
    assert len(faults) - len(excused) == len(LONGER), "an exception in LONGER is needed no more"


# ---- planted faults ------------------------------------------------------------------------------

GOOD = '''
"""A tidy MPM."""
from mpmlab.mpms.connection import serve
from mpmlab.mpms import connection


class Shared:
    def drain(self, k):
        while (yield k.get(self.queue, timeout_s=0)):
            pass


def child(k, site):
    yield k.lock(site.mutex)
    conn = yield k.accept(site.listener, timeout_s=10)
    k.unlock(site.mutex)
    yield from serve(k, conn)
    yield from connection.linger(k, conn)
    yield from site.shared.drain(k)
    if (yield k.get(site.pod, timeout_s=0)) and k.signals():
        k.close(conn)
    yield k.fork(serve, conn)
    return 0


def delegated(k, site) -> "Steps[int]":
    return child(k, site)


TABLE = {"child": child}
'''
CONNECTION = '''
"""Shared."""
def serve(k, conn):
    yield k.recv(conn, 10, timeout_s=1)


def linger(k, conn):
    yield k.recv(conn, 10, timeout_s=1)
'''


def planted(before: str, after: str) -> list[Fault]:
    """Faults of the tidy MPM with one piece of text replaced."""
    assert GOOD.count(before) == 1, f"{before!r} must stand exactly once in the tidy text"
    sources = {
        "mpmlab/mpms/connection.py": CONNECTION,
        "mpmlab/mpms/good.py": GOOD.replace(before, after),
    }
    return discipline_faults(sources)


def test_the_tidy_text_has_no_fault() -> None:
    """What the rules allow is allowed: references, delegation, waits inside conditions."""
    assert planted("TABLE", "TABLE") == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("    yield k.lock", "    k.lock", "k.lock without its yield"),
        ("conn = yield k.accept", "conn = k.accept", "k.accept without its yield"),
        ("(yield k.get(site.pod, timeout_s=0))", "k.get(site.pod, timeout_s=0)", "k.get without"),
        ("    yield k.lock(site.mutex)", "    x = k.lock(site.mutex); yield x", "k.lock without"),
        ("    yield k.lock(site.mutex)", "    yield 3", "yields something that is no k.op"),
        ("    yield k.lock", "    yield from k.lock", "k.lock without its yield"),
        ("yield from serve(k, conn)", "serve(k, conn)", "serve(...) without yield from"),
        ("yield from connection.linger", "connection.linger", "connection.linger(...) without"),
        ("yield from site.shared.drain", "site.shared.drain", "site.shared.drain(...) without"),
        ("yield k.fork(serve, conn)", "yield k.fork(serve(k, conn))", "serve(...) without"),
        ('"Steps[int]"', '"int"', "child(...) without yield from"),
        ("    k.unlock", "    yield k.unlock", "k.unlock is a plain call"),
        ("    k.unlock", "    k.unlok", "k.unlok is no operation"),
        ("    k.unlock", "    try: pass\n    except: pass\n    k.unlock", "catches its own"),
        (
            "    yield k.lock(site.mutex)",
            "    try:\n        yield k.lock(site.mutex)\n    finally:\n        pass",
            "finally with a yield",
        ),
        ("    yield k.lock", "    with site.mutex:\n        yield k.lock", "with around a yield"),
        ("def delegated", "async def delegated", "async has no place"),
    ],
)  # fmt: skip
def test_planted_yield_faults_are_caught(before: str, after: str, message: str) -> None:
    """Each way to break the yield discipline is caught, and named, in the file that breaks it."""
    faults = planted(before, after)
    assert any(message in fault.text for fault in faults), listed(faults)
    assert {fault.path for fault in faults} == {"mpmlab/mpms/good.py"}


@pytest.mark.parametrize(
    "line",
    ["import time", "from time import monotonic", "import os.path", "def f():\n    import socket"],
)
def test_a_planted_import_is_caught(line: str) -> None:
    """`import time` in an MPM is caught, however it is written and wherever it stands."""
    tree = ast.parse(GOOD + line)
    assert len(import_faults("good.py", tree, BANNED_IN_MPMS)) == 1
    assert import_faults("good.py", ast.parse(GOOD), BANNED_IN_MPMS) == []


def test_a_planted_open_is_caught() -> None:
    """open() in core is caught; a method of that name is not."""
    assert open_faults("core.py", ast.parse("open('x')"))
    assert not open_faults("core.py", ast.parse("valve.open('x')"))


def test_planted_sizes_are_caught() -> None:
    """A long file, a long function and a silent module are caught; docstrings do not count."""
    long_docstring = '"""Says."""\ndef f():\n    """' + "\n" * 60 + '"""\n' + "    # why\n\n" * 60
    assert size_faults("a.py", long_docstring + "    return 1\n", ast.parse(long_docstring)) == []
    body = '"""Says."""\ndef f():\n' + "    x = 1\n" * 51
    assert [f.text for f in size_faults("a.py", body, ast.parse(body))] == [
        "f() has 51 lines of code, more than 50"
    ]
    silent = "x = 1\n" * 451
    texts = [f.text for f in size_faults("a.py", silent, ast.parse(silent))]
    assert texts == ["451 lines, more than 450", "no module docstring"]
