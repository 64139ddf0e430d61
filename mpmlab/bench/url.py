"""Where a server is that is not ours: --url, read and checked.

A name is looked up once, here: what the clients are given is an address.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Url:
    """Where a server is. `target`: what is asked of it instead of the plan's own targets, "" for
    those."""

    text: str
    #: IPv4, as the clients dial it.
    host: str
    port: int
    target: str
    #: What the Host header says: the URL's own words.
    host_header: str

    @property
    def label(self) -> str:
        """What results call the server."""
        return self.host_header.replace(":", "-")


def read_url(text: str) -> Url:
    """http://HOST[:PORT][/PATH[?QUERY]]. Raises ValueError saying what is accepted."""
    accepted = "accepted: http://HOST[:PORT][/PATH[?QUERY]], such as http://127.0.0.1:8080/"
    try:
        parts = urlsplit(text)
        port = parts.port or 80
    except ValueError as error:
        raise ValueError(f"--url {text!r}: {error}; {accepted}") from None
    if parts.scheme != "http" or not parts.hostname or parts.username or parts.fragment:
        raise ValueError(f"--url {text!r}: {accepted}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"--url {text!r}: {accepted}; other characters are written as %20")
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        host = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise ValueError(
            f"--url {text!r}: {parts.hostname}: {error.strerror}; {accepted}"
        ) from None
    return Url(text, str(host), port, "" if target in ("", "/") else target, parts.netloc)
