"""An MPM by what the user calls it: one of the catalog, or the user's own, `module:attribute`.

Finding it only. A module is looked for in the folder that the program runs in, too.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Final

from mpmlab.bench.errors import RequestError
from mpmlab.core.settings import MPMS
from mpmlab.mpms.catalog import CATALOG, Mpm, find_mpm

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
_HOW: Final = (
    "accepted: module:attribute, where the attribute is an mpmlab.mpms.catalog.Mpm (see "
    "CONTRIBUTING.md)"
)


def mpm_of(text: str) -> Mpm:
    """The MPM. Raises RequestError for a name that nobody has, a module that cannot be imported or
    has no such attribute, and an Mpm that is not one."""
    if ":" not in text:
        found = find_mpm(text)
        if found is None:
            raise RequestError(
                f"unknown MPM {text!r}; accepted: {', '.join(CATALOG)}, or your own as module:name"
            )
        return found
    module_name, _, attribute = text.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise RequestError(f"--mpm {text}: {error}; {_HOW}") from error
    return _checked(text, found)


def _checked(text: str, found: object) -> Mpm:
    if not isinstance(found, Mpm):
        raise RequestError(f"--mpm {text}: it is a {type(found).__name__}; {_HOW}")
    if not _NAME.fullmatch(found.name) or found.name in CATALOG:
        raise RequestError(
            f"--mpm {text}: its name is {found.name!r}; accepted: small letters, digits, - and _, "
            "and no name of the catalog"
        )
    if found.settings_name not in MPMS:
        raise RequestError(
            f"--mpm {text}: directives_of is {found.directives_of!r}; accepted: {', '.join(MPMS)}"
        )
    return found
