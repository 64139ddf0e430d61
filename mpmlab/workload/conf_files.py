"""A user's httpd.conf on this machine's file system. What it means is core/httpd_conf.py."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Final

from mpmlab.core.httpd_conf import ConfReading, read_conf

#: The one file that is not regular and that httpd reads (server/util.c: ap_pcfg_openfile).
_NOTHING: Final = "/dev/null"


class RealFiles:
    """The `Files` of this machine."""

    def text(self, path: str) -> str:
        """All of a file. Bytes that are not UTF-8 are kept as they are, since httpd does not mind
        them in comments. Raises OSError, also for what is neither a regular file nor /dev/null."""
        if path != _NOTHING and not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(f"{path} is not a regular file")
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()

    def names(self, folder: str) -> list[str]:
        """The names in a folder. Raises OSError."""
        return os.listdir(folder)

    def is_folder(self, path: str) -> bool:
        """Whether it is a folder, or a link to one."""
        return os.path.isdir(path)

    def exists(self, path: str) -> bool:
        """Whether it is there."""
        return os.path.exists(path)


def read_httpd_conf(
    path: str | os.PathLike[str], mpm: str, defines: Iterable[str] = ()
) -> ConfReading:
    """`read_conf` of a file or folder of this machine. Raises ConfError."""
    return read_conf(os.fspath(path), mpm, RealFiles(), defines)
