"""What may be handed to a forked process: a module-level function and frozen arguments.

A real fork copies objects and a simulated one shares them; where nothing can change, there is no
difference. Checks only.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, Final

from mpmlab.core.scoreboard import Scoreboard
from mpmlab.sim.listener import SimListener
from mpmlab.sim.network import SimConn
from mpmlab.sim.poller import SimPoller
from mpmlab.sim.sync import SimMutex, SimQueue

_ATOMS: Final = (
    type(None), bool, int, float, complex, str, bytes, enum.Enum, type,
    types.ModuleType, Scoreboard, memoryview, SimListener, SimConn, SimMutex, SimQueue, SimPoller,
)  # fmt: skip


def check_function(fn: Callable[..., Any]) -> None:
    """TypeError unless `fn` is a function of a module: no closure, no method of an object."""
    if not isinstance(fn, types.FunctionType):
        raise TypeError(f"fork: {fn!r} is not a module-level function")
    if fn.__closure__:
        raise TypeError(f"fork: {fn.__qualname__} is a closure, not a module-level function")
    if "<locals>" in fn.__qualname__:
        raise TypeError(f"fork: {fn.__qualname__} is a local function, not a module-level one")


def check_frozen(value: Any, path: str, seen: set[int]) -> None:
    """TypeError that names the part of a value that a process could change. `seen`: ids of what
    was found frozen before; their owner keeps them alive."""
    if isinstance(value, _ATOMS) or id(value) in seen:
        return
    if isinstance(value, types.FunctionType):
        if value.__closure__:
            for name, cell in zip(value.__code__.co_freevars, value.__closure__, strict=True):
                check_frozen(cell.cell_contents, f"{path}'s {name}", seen)
    elif isinstance(value, types.MethodType | types.BuiltinMethodType):
        check_frozen(value.__self__, f"{path}.__self__", seen)
    elif isinstance(value, tuple | frozenset):
        for i, item in enumerate(value):
            check_frozen(item, f"{path}[{i}]", seen)
    elif isinstance(value, types.MappingProxyType):
        for key, item in value.items():
            check_frozen(item, f"{path}[{key!r}]", seen)
    elif isinstance(value, partial):
        check_frozen((value.func, value.args), path, seen)
        check_frozen(tuple(value.keywords.values()), path, seen)
    elif is_dataclass(value) and getattr(type(value), "__dataclass_params__").frozen:  # noqa: B009
        for field in fields(value):
            check_frozen(getattr(value, field.name), f"{path}.{field.name}", seen)
        seen.add(id(value))
    else:
        raise TypeError(
            f"fork: {path} is a {type(value).__name__}, which is neither frozen nor a kernel "
            "handle; processes share through scoreboard, queues and mutexes only"
        )
