"""The drive loop of the real world. Nothing else lives here: it runs once per operation.

In this world an operation is performed when it is called, and what is yielded is already its
result; all that is left to do is to hand it back.
"""

from __future__ import annotations

from typing import TypeVar

from mpmlab.kernel.interface import Steps

T = TypeVar("T")


def drive(steps: Steps[T]) -> T:
    """Run a function that waits to its end in the calling thread, and return what it returns."""
    send = steps.send
    value = None
    try:
        while True:
            value = send(value)
    except StopIteration as end:  # only the generator's own end: PEP 479 turns others into errors
        result: T = end.value
        return result
