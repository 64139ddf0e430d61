"""Which files an Include means: folders, wildcards, what is missing.

No I/O of its own: everything is asked of a Files. Source: server/config.c
(process_resource_config_nofnmatch, process_resource_config_fnmatch) and Apache/2.4.71.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, Protocol

from mpmlab.core.httpd_conf_text import ConfError

#: server/config.c: AP_MAX_INCLUDE_DIR_DEPTH, folders inside an included folder.
MAX_FOLDER_DEPTH: Final = 20


class Files(Protocol):
    """Where configuration files are read from; paths are separated by "/"."""

    def text(self, path: str) -> str:
        """All of a file. Raises OSError."""

    def names(self, folder: str) -> Sequence[str]:
        """The names in a folder, in any order, without "." and "..". Raises OSError."""

    def is_folder(self, path: str) -> bool:
        """Whether it is there and a folder (or leads to one)."""

    def exists(self, path: str) -> bool:
        """Whether it is there; a link that leads nowhere is not."""


def included(files: Files, path: str, where: str, optional: bool) -> list[str]:
    """The files of an `Include path` (IncludeOptional: `optional`), in the order in which httpd
    reads them: by name in a folder, folders with all that is in them. `where` begins the text of a
    ConfError: nothing there, nothing that fits, or folders without end."""
    search = _Search(files, where, optional)
    if not _wild(path):
        return search.whole(path, 0)
    start = "/" if path.startswith("/") else ""
    return search.matching(start, [part for part in path.split("/") if part])


def _wild(text: str) -> bool:
    return any(char in text for char in "*?[")


def _fits(name: str, pattern: str) -> bool:
    """Wildcards never stand for a leading dot (APR_FNM_PERIOD)."""
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatchcase(name, pattern.replace("[^", "[!"))


class _Search:
    """One Include on its way to its files."""

    def __init__(self, files: Files, where: str, optional: bool) -> None:
        self.files = files
        self.where = where
        self.optional = optional

    def whole(self, path: str, depth: int) -> list[str]:
        """A file, or a folder with everything in it."""
        if self.files.is_folder(path):
            if depth >= MAX_FOLDER_DEPTH:
                raise self.wrong(path, f"is more than {MAX_FOLDER_DEPTH} folders deep")
            inside = (posixpath.join(path, name) for name in self.names(path))
            return [file for entry in inside for file in self.whole(entry, depth + 1)]
        if self.files.exists(path):
            return [path]
        if self.optional:
            return []
        raise self.wrong(path, "there is no such file or folder")

    def matching(self, folder: str, parts: Sequence[str]) -> list[str]:
        """What fits a path with wildcards, taken part by part below a folder."""
        first, rest = parts[0], parts[1:]
        if not _wild(first):
            path = posixpath.join(folder, first)
            return self.matching(path, rest) if rest else self.whole(path, 0)
        paths = [posixpath.join(folder, name) for name in self.names(folder) if _fits(name, first)]
        if rest:
            paths = [path for path in paths if self.files.is_folder(path)]
        if not paths and not self.optional:
            raise self.wrong(posixpath.join(folder, first), "nothing there fits; IncludeOptional "
                             "would not mind")  # fmt: skip
        return [
            file
            for path in paths
            for file in (self.matching(path, rest) if rest else self.whole(path, 0))
        ]

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(self.files.names(folder or "."))
        except (FileNotFoundError, NotADirectoryError):
            if self.optional:
                return []
            raise self.wrong(folder, "there is no such folder") from None
        except OSError as error:
            raise self.wrong(folder, f"cannot be listed: {error.strerror or error}") from None

    def wrong(self, path: str, text: str) -> ConfError:
        return ConfError(f"{self.where}: Include {path}: {text}")
