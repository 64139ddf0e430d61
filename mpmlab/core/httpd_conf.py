"""A user's httpd.conf (or Debian's mods-enabled) -> the directives that mpmlab applies.

The reader lives here: files, sections, and what becomes of each line. How lines and words are cut
is httpd_conf_text.py, what an Include means httpd_conf_include.py, conditions
httpd_conf_conditions.py, names httpd_conf_names.py. No I/O: files come from a `Files`
(mpmlab/workload/conf_files.py has the real ones).

Read as httpd 2.4 does (server/config.c: ap_build_config_sub, ap_build_cont_config), held against
the installed httpd by tests/core/test_httpd_conf_installed.py. Stricter in these points: a
condition must be closed in its file, KeepAlive takes one argument (httpd looks at the first only),
values are those of directives.py, and a name that is nearly one of ours is an error although some
module might have it. More lenient in these: what is not known here is ignored and told, since
mpmlab has no table of all modules' directives, and so is which section may stand in which; a
ServerRoot that is not on this machine is replaced by the folder of the first file.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from mpmlab.core import httpd_conf_names as names
from mpmlab.core.directives import DirectiveError, effective
from mpmlab.core.httpd_conf_conditions import CONDITIONS, Facts
from mpmlab.core.httpd_conf_include import Files, included
from mpmlab.core.httpd_conf_text import (
    ConfError,
    expand,
    logical_lines,
    next_word,
    unknown_variable,
    words,
)
from mpmlab.core.settings import UNIX_MPMS

__all__ = ["ConfError", "ConfLine", "ConfReading", "Files", "read_conf"]

#: include/http_config.h: AP_MAX_INCLUDE_DEPTH; Apache/2.4.71 says so when it is exceeded.
MAX_INCLUDE_DEPTH: Final = 128
#: Ours: files that include others twice each would have httpd read on for ever.
MAX_FILES: Final = 10_000
#: What <IfVersion> is asked about unless told otherwise.
HTTPD_VERSION: Final = "2.4.71"


@dataclass(frozen=True)
class ConfLine:
    """One directive (or section, name "<VirtualHost") of a configuration."""

    name: str
    value: str
    where: str  # "path:line", the line where it begins
    #: For one that is ignored: why, where that is not just that mpmlab has no use for it.
    why: str = ""


@dataclass(frozen=True)
class ConfReading:
    """What a configuration says to one MPM of mpmlab."""

    #: Those that the MPM accepts, in order of effect (later overrides earlier), httpd's spelling.
    directives: tuple[ConfLine, ...]
    #: httpd directives that do not matter to mpmlab, or do not apply to the whole server.
    ignored: tuple[ConfLine, ...]
    #: The files that were read, in order; one that is included twice is there twice.
    files: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """The directives as `directives.effective` takes them."""
        return tuple((line.name, line.value) for line in self.directives)


def read_conf(
    path: str,
    mpm: str,
    files: Files,
    defines: Iterable[str] = (),
    version: str = HTTPD_VERSION,
) -> ConfReading:
    """What the file `path` says to `mpm`. A folder stands for its *.load files and then its *.conf
    files, by name, as Debian's apache2.conf reads mods-enabled.

    `defines` are variables that are there from the start: "NAME" (httpd's -D) or "NAME=value" (as
    from Debian's envvars). Raises ConfError, with file and line."""
    if mpm not in UNIX_MPMS:
        raise ConfError(f"{path}: unknown MPM {mpm!r}; known here: {', '.join(UNIX_MPMS)}")
    folder = files.is_folder(path)
    if not folder and not files.exists(path):
        raise ConfError(f"{path}: there is no such file or folder")
    first = _of_folder(files, path) if folder else [path]
    root = path if folder else posixpath.dirname(path)
    return _Reader(mpm, files, Facts(mpm, files, root, defines, version)).read(first)


def _of_folder(files: Files, folder: str) -> list[str]:
    try:
        found = sorted(name for name in files.names(folder) if not name.startswith("."))
    except OSError as error:
        raise ConfError(f"{folder}: cannot be listed: {error.strerror or error}") from None
    if not any(name.endswith(".conf") for name in found):
        raise ConfError(f"{folder}: no *.conf in this folder; accepted: an httpd.conf, or a folder "
                        "of *.conf files such as mods-enabled")  # fmt: skip
    return [
        posixpath.join(folder, name)
        for ending in (".load", ".conf")
        for name in found
        if name.endswith(ending)
    ]


#: What becomes of the lines in a section: read as if it were not there; not read; read, but nobody
#: knows whether httpd would; read as being of a part of the server; no directives at all.
_TAKEN, _SKIPPED, _UNDECIDED, _PART, _RAW = "taken", "skipped", "undecided", "part", "raw"


@dataclass(frozen=True)
class _Section:
    name: str  # without "<", as written
    text: str  # "<IfModule event.c>"
    where: str
    kind: str
    about: str = ""  # what was asked, of a condition


@dataclass
class _Open:
    """A file that is being read."""

    path: str
    lines: Iterator[tuple[int, str]]
    base: int  # sections that were open before it
    where: str = ""  # the line that is being read
    pending: deque[str] = field(default_factory=deque)  # files that this line includes


class _Reader:
    """One reading. `opened` are the files inside one another, `sections` those around the line."""

    def __init__(self, mpm: str, files: Files, facts: Facts) -> None:
        self.mpm = mpm
        self.files = files
        self.facts = facts
        self.directives: list[ConfLine] = []
        self.ignored: list[ConfLine] = []
        self.read_files: list[str] = []
        self.opened: list[_Open] = []
        self.sections: list[_Section] = []
        self.acts: dict[str, Callable[[str, str, str], None]] = {
            "define": self.define,
            "undefine": self.undefine,
            "include": self.include,
            "includeoptional": self.include,
            "loadmodule": self.load_module,
            "serverroot": self.server_root,
        }

    def read(self, paths: list[str]) -> ConfReading:
        for path in paths:
            self.enter(path, path)
            while self.opened:
                self.step(self.opened[-1])
        return ConfReading(tuple(self.directives), tuple(self.ignored), tuple(self.read_files))

    # ---- files -----------------------------------------------------------------------------------

    def enter(self, path: str, where: str) -> None:
        """Begin with a file."""
        if len(self.read_files) >= MAX_FILES:
            raise ConfError(f"{where}: more than {MAX_FILES} files are included")
        try:
            text = self.files.text(path)
        except OSError as error:
            raise ConfError(f"{where}: cannot read {path}: {error.strerror or error}") from None
        self.read_files.append(path)
        self.opened.append(_Open(path, logical_lines(text), len(self.sections), path))

    def step(self, file: _Open) -> None:
        """One line, the next file that the last line included, or the end of the file."""
        if file.pending:
            self.enter(file.pending.popleft(), file.where)
            return
        number, text = next(file.lines, (0, ""))
        if number == 0:
            if len(self.sections) > file.base:
                left = self.sections[-1]
                raise ConfError(f"{left.where}: {left.text} is not closed when the file ends "
                                f"({file.where})")  # fmt: skip
            self.opened.pop()
            return
        file.where = f"{file.path}:{number}"
        if text and not text.startswith("#"):
            self.line(text, file.where)

    def include(self, name: str, rest: str, where: str) -> None:
        """Include, IncludeOptional."""
        path = self.facts.path(self.one_argument(name, rest, where))
        found = included(self.files, path, where, name.lower() == "includeoptional")
        if found and len(self.opened) > MAX_INCLUDE_DEPTH:
            raise ConfError(f"{where}: Include {path}: more than {MAX_INCLUDE_DEPTH} files inside "
                            f"one another{self.cycle(found[0])}")  # fmt: skip
        self.opened[-1].pending.extend(found)

    def cycle(self, path: str) -> str:
        """The way from a file to itself, for the error."""
        at = [depth for depth, file in enumerate(self.opened) if file.path == path]
        if not at:
            return ""
        return (
            "; it goes round: "
            + " -> ".join(f.where for f in self.opened[at[-1] :])
            + f" -> {path}"
        )

    # ---- lines -----------------------------------------------------------------------------------

    def line(self, text: str, where: str) -> None:
        if self.sections and self.sections[-1].kind == _RAW:
            self.raw_line(text, where)
            return
        name, rest = next_word(expand(text, self.facts.variables))
        if name.startswith("</"):
            self.close(name, rest, where)
            return
        name = name.removesuffix(">")
        skipped = self.around(_SKIPPED)
        if name.startswith("<"):
            self.open_section(name[1:], rest or ">", where, skipped is not None)
        elif skipped is not None:
            self.skipped_line(name, rest, where, skipped)
        else:
            self.acts.get(name.lower(), self.directive)(name, rest, where)

    def around(self, kind: str) -> _Section | None:
        """The outermost section of a kind around the line."""
        return next((section for section in self.sections if section.kind == kind), None)

    def raw_line(self, text: str, where: str) -> None:
        """In a macro and the like only its own end counts, and sections of the same name."""
        inner = self.sections[-1]
        word = next_word(text)[0].lower()
        if word.removesuffix(">") == f"<{inner.name.lower()}":
            self.sections.append(_Section(inner.name, text, where, _RAW))
        elif word == f"</{inner.name.lower()}>":
            self.sections.pop()

    def skipped_line(self, name: str, rest: str, where: str, outer: _Section) -> None:
        """What stands under a condition that does not hold is told if it is of ours, unless the
        condition is about another MPM: then that is what it is for."""
        if not names.is_ours(name):
            return
        asked = [section.about for section in self.sections if section.kind == _SKIPPED]
        if any(map(names.is_mpm_module, asked)):
            return
        hint = next(filter(None, map(names.mpm_hint, asked)), "")
        why = f"in {outer.text} of {outer.where}, which does not hold"
        if hint:
            why += f": {hint}"
        self.ignored.append(ConfLine(name, rest, where, why))

    def directive(self, name: str, rest: str, where: str) -> None:
        """A line that is no section, no condition and does not act on the reading itself."""
        part = self.around(_PART)
        if names.is_ours(name) or names.guard_for(name):
            applies = self.applies(name, where, part)
            line = self.checked(name, rest, where, applies)
            if applies:
                self.directives.append(line)
                return
        elif (meant := names.meant(name)) is not None:
            raise ConfError(f"{where}: Invalid command {name!r}: did you mean {meant}?")
        why = ""
        if part is not None:
            why = f"in {part.text} of {part.where}: not for the whole server"
        elif name.lower() == "use":
            why = "macros are not expanded here"
        self.ignored.append(ConfLine(name, rest, where, why))

    def applies(self, name: str, where: str, part: _Section | None) -> bool:
        """Whether a directive of ours is for the whole server; an error where httpd refuses it, and
        where nobody knows."""
        if not names.accepts(self.mpm, name):
            raise ConfError(
                f"{where}: Invalid command {name!r}: {self.mpm} does not have it (it belongs to "
                f"{names.owners_of(name)}); put it into {names.guard_for(name)}"
            )
        for section in self.sections:
            if section.kind == _PART and not names.may_stand_in(section.name, name):
                raise ConfError(f"{where}: {name} is not allowed in {section.text} of "
                                f"{section.where}")  # fmt: skip
        unsure = self.around(_UNDECIDED)
        if unsure is not None and part is None:
            raise ConfError(
                f"{where}: {name} stands in {unsure.text} of {unsure.where}, and mpmlab does not "
                "know whether that holds; move it out of the section"
            )
        return part is None

    def checked(self, name: str, rest: str, where: str, applies: bool) -> ConfLine:
        """A directive of ours in httpd's spelling. A wrong value is an error wherever it stands, an
        unknown variable only where the value `applies`."""
        value = self.one_argument(name, rest, where)
        if (unknown := unknown_variable(value)) is not None:
            if applies:
                text = f"{name} {value}: {unknown} is not defined; Define it before"
                raise ConfError(f"{where}: {text}")
            return ConfLine(name, value, where)
        try:
            settings = effective(self.mpm, ((name, value),), where)
        except DirectiveError as error:
            raise ConfError(str(error)) from None
        return ConfLine(settings.given[0][0], value, where)

    def one_argument(self, name: str, rest: str, where: str) -> str:
        word, more = next_word(rest)
        if not word or more:
            comment = " (a # after a directive begins no comment)" if more.startswith("#") else ""
            raise ConfError(f"{where}: {name} takes one argument, not {rest!r}{comment}")
        return word

    # ---- directives that act on the reading ------------------------------------------------------

    def define(self, name: str, rest: str, where: str) -> None:
        told = words(rest)
        if not 1 <= len(told) <= 2 or not told[0]:
            raise ConfError(f"{where}: {name} takes one or two arguments, a name and a value")
        self.facts.define(self.variable(told[0], where), told[1] if len(told) == 2 else None)

    def undefine(self, name: str, rest: str, where: str) -> None:
        self.facts.undefine(self.variable(self.one_argument(name, rest, where), where))

    def variable(self, name: str, where: str) -> str:
        if ":" in name:
            raise ConfError(f"{where}: a variable's name must not have a ':' in it: {name!r}")
        return name

    def load_module(self, name: str, rest: str, where: str) -> None:
        told = words(rest)
        if len(told) != 2:
            raise ConfError(f"{where}: {name} takes two arguments, a module and its file")
        self.facts.load(*told)
        mpm = names.is_mpm_module(told[0])
        why = f"the MPM is mpmlab's choice: {self.mpm}" if mpm else ""
        self.ignored.append(ConfLine(name, rest, where, why))

    def server_root(self, name: str, rest: str, where: str) -> None:
        root = self.one_argument(name, rest, where)
        why = ""
        if self.files.is_folder(root):
            self.facts.root = root
        else:
            why = f"no such folder here: Includes begin at {self.facts.root or '.'}"
        self.ignored.append(ConfLine(name, rest, where, why))

    # ---- sections --------------------------------------------------------------------------------

    def open_section(self, name: str, rest: str, where: str, skipped: bool) -> None:
        inside, bracket, _ = rest.rpartition(">")
        lower = name.lower()
        text = f"<{name} {inside.strip()}".rstrip() + ">"
        about = next_word(inside.lstrip(" !"))[0] if lower == "ifmodule" else ""
        if skipped:
            self.sections.append(_Section(name, text, where, _SKIPPED, about))
            return
        if not bracket or (lower == "ifversion" and not rest.endswith(">")):
            raise ConfError(f"{where}: <{name} {rest}: the closing '>' is missing")
        if lower in CONDITIONS:
            holds = self.facts.holds(name, inside, where)
            kind = _UNDECIDED if holds is None else _TAKEN if holds else _SKIPPED
            self.sections.append(_Section(name, text, where, kind, about))
            return
        if (meant := names.meant_section(name)) is not None:
            raise ConfError(f"{where}: Invalid command '<{name}': did you mean <{meant}>?")
        kind = _RAW if names.is_raw_section(name) else _PART
        why = "what is in it is not read" if kind == _RAW else ""
        self.sections.append(_Section(name, text, where, kind))
        self.ignored.append(ConfLine(f"<{name}", inside.strip(), where, why))

    def close(self, name: str, rest: str, where: str) -> None:
        if not name.endswith(">"):
            raise ConfError(f"{where}: {name}: the closing '>' is missing")
        if len(self.sections) <= self.opened[-1].base:
            around = self.sections[-1] if self.sections else None
            elsewhere = f" in this file (that of {around.where} is in another)" if around else ""
            raise ConfError(f"{where}: {name} without a matching <{name[2:-1]}>{elsewhere}")
        inner = self.sections[-1]
        if name[2:-1].lower() != inner.name.lower():
            raise ConfError(
                f"{where}: expected </{inner.name}> for {inner.text} of {inner.where}, "
                f"but saw {name}"
            )
        if rest and inner.kind in (_TAKEN, _UNDECIDED):
            raise ConfError(f"{where}: nothing may follow {name}: {rest!r}")
        self.sections.pop()
