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
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"--url {text!r}: {accepted}; other characters are written as %20")
    try:
        parts = urlsplit(text)
        port = 80 if parts.port is None else parts.port
    except ValueError as error:
        raise ValueError(f"--url {text!r}: {error}; {accepted}") from None
    # urlsplit() tells neither an empty user nor an empty fragment from none.
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc or "#" in text:
        raise ValueError(f"--url {text!r}: {accepted}")
    if port == 0:
        raise ValueError(f"--url {text!r}: Port out of range 1-65535; {accepted}")
    try:
        host = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError) as error:  # UnicodeError: labels that are empty or too long
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ValueError(f"--url {text!r}: {parts.hostname}: {why}; {accepted}") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(text, str(host), port, "" if target == "/" else target, parts.netloc)
