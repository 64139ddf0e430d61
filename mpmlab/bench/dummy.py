"""The request of an internal dummy connection, as bytes and as counted bytes.

httpd's parent makes these connections to wake a child that waits in accept (server/mpm_unix.c,
dummy_connection). Two functions and nothing else: a Site needs one of them by name, for a fork
takes module-level functions only.
"""

from __future__ import annotations

from typing import Final

from mpmlab.core.count_wire import Blob
from mpmlab.core.wire import Request

_TEXT: Final = b"OPTIONS * HTTP/1.0\r\nUser-Agent: mpmlab (internal dummy connection)\r\n\r\n"


def dummy_bytes() -> bytes:
    """For the real world."""
    return _TEXT


def dummy_blob() -> Blob:
    """For the simulated one: as long, and it means the same."""
    return Blob(len(_TEXT), 0, Request("OPTIONS", "*", keep_alive=False, http_version="1.0"))
