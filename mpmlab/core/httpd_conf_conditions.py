"""The conditions of an httpd.conf: <IfModule>, <IfDefine>, <IfVersion>, <IfFile> and the like.

Here lives what a configuration has said so far (modules, variables, ServerRoot) and the answers
that follow from it. Sources: server/core.c (start_cond_section and its tests),
modules/metadata/mod_version.c.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Final

from mpmlab.core import httpd_conf_names as names
from mpmlab.core.httpd_conf_include import Files
from mpmlab.core.httpd_conf_text import ConfError, next_word, words

#: Sections that are asked while the file is read; what is inside counts as if they were not there.
CONDITIONS: Final = frozenset(
    {"ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection"}
)
_VERSION: Final = re.compile(r"([0-9]+)(?:\.([0-9]*)(?:\.([0-9]*))?)?")
#: <IfVersion> operators that compare numbers -> what the order (-1, 0, 1) may be.
_OPERATORS: Final = {
    "=": (0,), "==": (0,), "<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (1, 0),
}  # fmt: skip


class Facts:
    """What is known while a configuration is read."""

    def __init__(
        self, mpm: str, files: Files, root: str, defines: Iterable[str], version: str
    ) -> None:
        self.mpm = mpm
        self.files = files
        #: Relative paths begin here: ServerRoot, or the folder of the first file.
        self.root = root
        self.version = version
        self.modules = set(names.STATIC_MODULES | names.mpm_names(mpm))
        self.defined: set[str] = set()
        self.variables: dict[str, str] = {}
        for define in defines:
            name, equals, value = define.partition("=")
            self.define(name, value if equals else None)

    def define(self, name: str, value: str | None) -> None:
        """Define NAME [value]. Without a value, one from before stays."""
        self.defined.add(name)
        if value is not None:
            self.variables[name] = value

    def undefine(self, name: str) -> None:
        """UnDefine NAME."""
        self.defined.discard(name)
        self.variables.pop(name, None)

    def load(self, identifier: str, path: str) -> None:
        """LoadModule: by identifier, and by the source file, which is mod_NAME.c or as the shared
        object. MPMs are not loaded: which one runs is mpmlab's choice."""
        if names.is_mpm_module(identifier):
            return
        stem = posixpath.splitext(posixpath.basename(path))[0]
        short = identifier.removesuffix("_module")
        self.modules |= {identifier, f"{stem}.c", f"mod_{short}.c"}

    def path(self, text: str) -> str:
        """A path of the configuration, from the root if it is relative."""
        return posixpath.join(self.root, text)

    def holds(self, section: str, inside: str, where: str) -> bool | None:
        """Whether a condition (its name, the text between name and bracket) holds; None where that
        depends on modules that mpmlab does not know."""
        if section.lower() == "ifversion":
            return self._version(inside, where)
        inside = inside.lstrip()
        negated = inside.startswith("!")
        asked = next_word(inside[1:] if negated else inside)[0]
        if not asked:
            raise ConfError(f"{where}: <{section}> needs to be told what to ask for")
        answer = self._answer(section.lower(), asked)
        return answer if answer is None else answer != negated

    def _answer(self, section: str, asked: str) -> bool | None:
        if section == "ifmodule":
            return asked in self.modules
        if section == "ifdefine":
            return asked in self.defined
        if section == "iffile":
            return self.files.exists(self.path(asked))
        asked = asked.lower()
        if section == "ifsection":
            return True if asked in names.CORE_SECTIONS else None
        if names.is_ours(asked):
            return names.accepts(self.mpm, asked)
        return False if names.guard_for(asked) else None

    def _version(self, inside: str, where: str) -> bool:
        """<IfVersion [[!]operator] version>, version a number or a regular expression."""
        told = words(inside)
        if len(told) == 1:
            told.insert(0, "=")
        if len(told) != 2 or not told[1]:
            raise ConfError(f"{where}: <IfVersion> takes an operator and a version, as >= 2.4")
        operator, version = told
        negated = operator.startswith("!") and len(operator) > 1
        operator = operator[negated:]
        if operator in ("=", "==") and version.startswith("/"):
            if len(version) < 2 or not version.endswith("/"):
                raise ConfError(f"{where}: <IfVersion {inside}>: the closing / is missing")
            operator, version = "~", version[1:-1]
        if operator == "~":
            try:
                return bool(re.search(version, self.version)) != negated
            except re.error as error:
                raise ConfError(f"{where}: <IfVersion {inside}>: {error}") from None
        if operator not in _OPERATORS:
            accepted = ", ".join((*_OPERATORS, "~"))
            raise ConfError(f"{where}: <IfVersion>: operator {operator!r}; accepted: {accepted}")
        order = self._order(version, where)
        return (order in _OPERATORS[operator]) != negated

    def _order(self, version: str, where: str) -> int:
        """-1, 0, 1: this httpd is older, the same, newer."""
        other = _VERSION.fullmatch(version)
        mine = _VERSION.match(self.version)
        if other is None or mine is None:
            raise ConfError(
                f"{where}: <IfVersion>: {version!r} is no version; accepted: 2, 2.4, 2.4.71"
            )
        ours = [int(part or 0) for part in mine.groups()]
        theirs = [int(part or 0) for part in other.groups()]
        return (ours > theirs) - (ours < theirs)
