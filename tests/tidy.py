"""The checks of test_tidy.py: yield discipline, banned imports, sizes. Syntax trees in, faults out.

Nothing here imports the code that it checks. A *world-free* module is one whose functions a kernel
drives: mpmlab/mpms/*.py and the load client.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

#: What a kernel is called where it is used: `k`, `self.k`.
KERNEL_NAMES = frozenset({"k", "kernel"})

#: Imports by which an MPM could reach past the kernel into the real world.
BANNED_IN_MPMS = frozenset(
    {"os", "socket", "threading", "time", "random", "simpy", "select", "selectors", "signal"}
    | {"multiprocessing", "asyncio", "subprocess"}
)
#: core holds decisions: no clock, no I/O, no chance.
BANNED_IN_CORE = BANNED_IN_MPMS | {"pathlib", "tempfile", "shutil", "io", "mmap", "fcntl"}
#: A simulation that looks at the clock of the machine is not one.
BANNED_IN_SIM = BANNED_IN_MPMS - {"random", "simpy"}

MAX_FILE_LINES = 450  # the design asks for 400; a tenth more is tolerated
MAX_FUNCTION_LINES = 50  # of code: without docstring, comments and blank lines


@dataclass(frozen=True, order=True)
class Fault:
    """One broken rule, at a line of a file."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Operations:
    """The kernel's waits and plain calls, as its Protocol declares them."""

    waits: frozenset[str]
    plain: frozenset[str]


def operations(interface: str) -> Operations:
    """Read class Kernel of kernel/interface.py: what returns Any is a wait, the rest is plain."""
    kernel = next(
        node
        for node in ast.parse(interface).body
        if isinstance(node, ast.ClassDef) and node.name == "Kernel"
    )
    methods = [node for node in kernel.body if isinstance(node, ast.FunctionDef)]
    waits = {m.name for m in methods if isinstance(m.returns, ast.Name) and m.returns.id == "Any"}
    return Operations(frozenset(waits), frozenset({m.name for m in methods} - waits))


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions and classes inside it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, FunctionNode | ast.ClassDef | ast.Lambda):
            yield from own_nodes(child)


def functions_of(tree: ast.AST) -> list[FunctionNode]:
    """Every function of a module, methods and inner ones too."""
    return [node for node in ast.walk(tree) if isinstance(node, FunctionNode)]


def has_yield(node: ast.AST) -> bool:
    """Whether a yield belongs to this function (or block)."""
    return any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in own_nodes(node))


def makes_steps(function: FunctionNode) -> bool:
    """Whether calling it gives a generator: it yields, or it says that it returns Steps."""
    said = ast.unparse(function.returns) if function.returns else ""
    return has_yield(function) or said.strip("'").split("[")[0].split(".")[-1] in (
        "Steps",
        "Generator",
    )


@dataclass
class Generators:
    """The generator functions of all world-free modules, by module and by method name."""

    functions: dict[str, set[str]] = field(default_factory=dict)  # module -> names
    methods: set[str] = field(default_factory=set)  # names that are generators in every class

    @classmethod
    def of(cls, trees: Mapping[str, ast.Module]) -> Generators:
        """Collect from module name -> syntax tree."""
        found = cls()
        plain_methods: set[str] = set()
        for module, tree in trees.items():
            methods = {
                function
                for node in ast.walk(tree)
                if isinstance(node, ast.ClassDef)
                for function in node.body
                if isinstance(function, FunctionNode)
            }
            for function in functions_of(tree):
                if function not in methods:
                    if makes_steps(function):
                        found.functions.setdefault(module, set()).add(function.name)
                elif makes_steps(function):
                    found.methods.add(function.name)
                else:
                    plain_methods.add(function.name)
        found.methods -= plain_methods
        return found

    def visible_in(self, module: str, tree: ast.Module) -> set[str]:
        """How this module can write a call of one: its own, imported ones, `module.name`."""
        names = set(self.functions.get(module, ()))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    here = alias.asname or alias.name
                    if alias.name in self.functions.get(node.module or "", ()):
                        names.add(here)
                    inner = self.functions.get(f"{node.module}.{alias.name}", ())
                    names.update(f"{here}.{name}" for name in inner)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    inner = self.functions.get(alias.name, ())
                    names.update(f"{alias.asname or alias.name}.{name}" for name in inner)
        return names


def is_kernel(node: ast.AST) -> bool:
    """Whether an expression is a kernel, by the name that the house gives it."""
    if isinstance(node, ast.Name):
        return node.id in KERNEL_NAMES
    return isinstance(node, ast.Attribute) and node.attr in KERNEL_NAMES


def yield_faults(
    path: str, module: str, tree: ast.Module, ops: Operations, known: Generators
) -> list[Fault]:
    """Waits are yielded where they are called, plain calls never, generators are delegated to."""
    faults: list[Fault] = []
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    visible = known.visible_in(module, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Yield):
            value = node.value
            if not (
                isinstance(value, ast.Call)
                and isinstance(value.func, ast.Attribute)
                and is_kernel(value.func.value)
            ):
                faults.append(Fault(path, node.lineno, "yields something that is no k.op(...)"))
        if not isinstance(node, ast.Call):
            continue
        text = _call_fault(node, parents, ops, visible, known.methods)
        if text:
            faults.append(Fault(path, node.lineno, text))
    return faults


def _call_fault(
    call: ast.Call,
    parents: Mapping[ast.AST, ast.AST],
    ops: Operations,
    visible: set[str],
    methods: set[str],
) -> str | None:
    """What is wrong with one call, or None."""
    parent, func = parents[call], call.func
    if isinstance(func, ast.Attribute) and is_kernel(func.value):
        if func.attr in ops.waits:
            return None if isinstance(parent, ast.Yield) else f"k.{func.attr} without its yield"
        if func.attr not in ops.plain:
            return f"k.{func.attr} is no operation of the kernel"
        yielded = isinstance(parent, ast.Yield | ast.YieldFrom)
        return f"k.{func.attr} is a plain call and must not be yielded" if yielded else None
    name = ast.unparse(func)
    is_method = isinstance(func, ast.Attribute) and func.attr in methods
    if name not in visible and not is_method:
        return None
    if isinstance(parent, ast.YieldFrom):
        return None
    function: ast.AST = call
    while function in parents and not isinstance(function, FunctionNode):
        function = parents[function]
    if (
        isinstance(parent, ast.Return)
        and isinstance(function, FunctionNode)
        and not has_yield(function)
        and makes_steps(function)
    ):
        return None  # hands the unstarted generator to its own caller, and says so
    return f"{name}(...) without yield from"


def cleanup_faults(path: str, tree: ast.AST) -> list[Fault]:
    """A simulated kill never resumes a generator: no clean-up may hang on a yield's return."""
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Try | ast.TryStar) and node.finalbody and has_yield(node):
            faults.append(Fault(path, node.lineno, "finally with a yield inside its try"))
        if isinstance(node, ast.With | ast.AsyncWith) and has_yield(node):
            faults.append(Fault(path, node.lineno, "with around a yield"))
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            if caught in ("", "BaseException", "GeneratorExit"):
                faults.append(Fault(path, node.lineno, f"except {caught} catches its own end"))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            faults.append(Fault(path, node.lineno, "async has no place under a kernel"))
    return faults


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, absolute module) of every import, inside functions too. `from a import b` gives a."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""


def import_faults(path: str, tree: ast.AST, banned: Iterable[str]) -> list[Fault]:
    """Imports of modules that this part of the project must not touch."""
    refused = frozenset(banned)
    return [
        Fault(path, line, f"imports {module}")
        for line, module in imports_of(tree)
        if module.split(".")[0] in refused
    ]


def open_faults(path: str, tree: ast.AST) -> list[Fault]:
    """Calls of the built-in open()."""
    return [
        Fault(path, node.lineno, "opens a file")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
    ]


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold code: no blank lines, no comments."""
    lines: set[int] = set()
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.ENCODING,
    }
    for token in tokenize.tokenize(io.BytesIO(source.encode()).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def size_faults(
    path: str,
    source: str,
    tree: ast.Module,
    max_file_lines: int = MAX_FILE_LINES,
    max_function_lines: int = MAX_FUNCTION_LINES,
) -> list[Fault]:
    """Files and functions that outgrew their noun, and modules that do not say what they are."""
    faults = []
    total = source.count("\n")
    if total > max_file_lines:
        faults.append(Fault(path, total, f"{total} lines, more than {max_file_lines}"))
    if ast.get_docstring(tree) is None:
        faults.append(Fault(path, 1, "no module docstring"))
    code = code_lines(source)
    for function in functions_of(tree):
        first, last = function.body[0], function.body[-1]
        start = first.lineno
        if ast.get_docstring(function) is not None:
            start = (first.end_lineno or first.lineno) + 1
        length = sum(1 for line in code if start <= line <= (last.end_lineno or last.lineno))
        if length > max_function_lines:
            text = f"{function.name}() has {length} lines of code, more than {max_function_lines}"
            faults.append(Fault(path, function.lineno, text))
    return faults
