"""Which httpd there is on this machine: the program, its modules, what it was built with.

Looking and asking only (`httpd -V`, `httpd -l`); nothing is started to serve. Where something is
missing, HttpdMissingError says in one sentence what to install.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Names of the program: Debian's, and everybody else's.
NAMES: Final = ("apache2", "httpd")
#: Where it is that is not in an ordinary user's PATH.
_SYSTEM_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/usr/local/apache2/bin", "/sbin")
#: Where distributions keep modules; HTTPD_ROOT/modules comes first.
_MODULE_FOLDERS: Final = (
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/libexec/apache2",
    "/usr/local/apache2/modules",
    "/usr/lib64/apache2",
)
#: How long a question to the program may take.
_ASK_S: Final = 20.0
INSTALL: Final = "on Debian and Ubuntu: apt-get install apache2-bin lua-posix"
#: The handler is written for this one: `-e` of mod_lua's own interpreter.
_LUA: Final = "5.3"
#: Where distributions keep Lua's compiled libraries.
_LUA_LIBRARIES: Final = (
    "/usr/lib/*-linux-gnu/lua/5.3/?.so",
    "/usr/lib64/lua/5.3/?.so",
    "/usr/lib/lua/5.3/?.so",
    "/usr/local/lib/lua/5.3/?.so",
)
_LUA_SCRIPTS: Final = ("/usr/share/lua/5.3", "/usr/local/share/lua/5.3")


class HttpdMissingError(Exception):
    """httpd, or a part of it, is not on this machine; the text says how to get it."""


@dataclass(frozen=True)
class Program:
    """An httpd that can be run."""

    path: Path
    modules: Path
    #: As it says of itself: "Apache/2.4.71 (Debian)".
    version: str
    #: Modules that are compiled in, such as "mod_so" or "prefork".
    static: frozenset[str]

    def loadable(self, module: str) -> Path | None:
        """The file of a module such as "mod_status"; None if there is none (it may be static)."""
        path = self.modules / f"{module}.so"
        return path if path.is_file() else None

    def mpms(self) -> tuple[str, ...]:
        """The MPMs of ours that it can run with."""
        known = ("prefork", "worker", "event")
        fixed = [name for name in known if name in self.static]
        return tuple(fixed or [name for name in known if self.loadable(f"mod_mpm_{name}")])


def find_httpd(given: str | os.PathLike[str] | None = None) -> Program:
    """The program that was named, or the first there is. Raises HttpdMissingError."""
    path = _locate(given)
    built = _ask(path, "-V")
    version = _field(r"^Server version:\s*(.+)$", built)
    if version is None:
        raise HttpdMissingError(f"{path} is not Apache httpd: it does not answer -V as httpd does")
    root = _field(r'HTTPD_ROOT="([^"]*)"', built)
    listed = re.findall(r"^\s+(\w+)\.c\s*$", _ask(path, "-l"), re.MULTILINE)
    return Program(path, _modules_folder(root), version, frozenset(listed))


def _locate(given: str | os.PathLike[str] | None) -> Path:
    if given is not None:
        found = shutil.which(os.fspath(given))
        if found is None:
            raise HttpdMissingError(
                f"--httpd {os.fspath(given)}: no such program, or not executable"
            )
        return Path(found)
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
    for name in NAMES:
        found = shutil.which(name, path=folders)
        if found is not None:
            return Path(found)
    raise HttpdMissingError(
        f"Apache httpd is not installed; {INSTALL}, or give its path with --httpd"
    )


def _ask(path: Path, option: str) -> str:
    """What it prints. Its exit code does not matter: Debian's has no configuration to read here and
    complains after it has answered."""
    try:
        done = subprocess.run(
            [path, option],
            capture_output=True, text=True, errors="replace", timeout=_ASK_S, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, **_UNSET_OF_DEBIAN},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HttpdMissingError(f"{path} {option} cannot be run: {error}") from error
    return done.stdout + done.stderr


#: Variables that Debian's apache2.conf wants and apache2ctl sets: without them -V complains.
_UNSET_OF_DEBIAN: Final = {
    "APACHE_RUN_DIR": "/nonexistent",
    "APACHE_PID_FILE": "/nonexistent/apache2.pid",
    "APACHE_RUN_USER": "nobody",
    "APACHE_RUN_GROUP": "nogroup",
    "APACHE_LOG_DIR": "/nonexistent",
    "APACHE_LOCK_DIR": "/nonexistent",
}


def _field(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return None if found is None else found[1].strip()


def _modules_folder(root: str | None) -> Path:
    own = [Path(root, "modules")] if root else []
    for folder in (*own, *map(Path, _MODULE_FOLDERS)):
        if any(folder.glob("mod_*.so")):
            return folder
    return own[0] if own else Path("/nonexistent")


# ---- Lua ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LuaPaths:
    """What package.path and package.cpath must have in them for luaposix."""

    scripts: str
    libraries: str


def find_luaposix() -> LuaPaths:
    """Where Lua's interface to clock_gettime is. Raises HttpdMissingError."""
    for pattern in _LUA_LIBRARIES:
        folder, _, _ = pattern.rpartition("/")
        for library in sorted(Path("/").glob(folder.lstrip("/"))):
            if (library / "posix.so").exists() or (library / "posix").is_dir():
                scripts = ";".join(f"{at}/?.lua;{at}/?/init.lua" for at in _LUA_SCRIPTS)
                return LuaPaths(scripts, f"{library}/?.so")
    raise HttpdMissingError(
        f"the handler that httpd runs needs luaposix for Lua {_LUA} (a thread's CPU clock); "
        f"{INSTALL}"
    )
