"""--url: which addresses are accepted, what they come to, and what the wrong ones are told."""

from __future__ import annotations

import socket

import pytest

from mpmlab.bench.url import Url, read_url

ACCEPTED = "accepted: http://HOST[:PORT][/PATH[?QUERY]]"


@pytest.mark.parametrize(
    ("text", "port", "target", "host_header", "label"),
    [
        ("http://127.0.0.1:8080/x?y=1", 8080, "/x?y=1", "127.0.0.1:8080", "127.0.0.1-8080"),
        ("http://127.0.0.1:8080", 8080, "", "127.0.0.1:8080", "127.0.0.1-8080"),
        ("http://127.0.0.1:8080/", 8080, "", "127.0.0.1:8080", "127.0.0.1-8080"),
        ("http://127.0.0.1/a/b", 80, "/a/b", "127.0.0.1", "127.0.0.1"),
        ("HTTP://127.0.0.1/%C3%A4", 80, "/%C3%A4", "127.0.0.1", "127.0.0.1"),
        ("http://127.0.0.1:65535/", 65535, "", "127.0.0.1:65535", "127.0.0.1-65535"),
        ("http://127.0.0.1:81/?q", 81, "/?q", "127.0.0.1:81", "127.0.0.1-81"),
        ("http://127.0.0.1:81?q=/", 81, "/?q=/", "127.0.0.1:81", "127.0.0.1-81"),
        ("http://127.0.0.1//x", 80, "//x", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_what_an_address_comes_to(
    text: str, port: int, target: str, host_header: str, label: str
) -> None:
    """Port 80 where none is said; a target that begins with a slash, or none where there is no
    path; a Host header in the URL's own words; a label that can be part of a folder's name."""
    url = read_url(text)
    assert url == Url(text, "127.0.0.1", port, target, host_header)
    assert url.label == label


def test_a_name_is_looked_up_once_and_said_as_it_is() -> None:
    """The clients are given an IPv4 address; the Host header keeps the name."""
    url = read_url("http://localhost:8080/x")
    assert url.host == socket.gethostbyname("localhost")
    assert (url.host_header, url.label) == ("localhost:8080", "localhost-8080")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ACCEPTED),
        ("127.0.0.1:8080", ACCEPTED),
        ("/work", ACCEPTED),
        ("https://127.0.0.1/", ACCEPTED),
        ("ftp://127.0.0.1/", ACCEPTED),
        ("http://", ACCEPTED),
        ("http:///x", ACCEPTED),
        ("http://:80/x", ACCEPTED),
        ("http://user@127.0.0.1/", ACCEPTED),
        ("http://user:secret@127.0.0.1/", ACCEPTED),
        ("http://:secret@127.0.0.1/", ACCEPTED),
        ("http://@127.0.0.1/", ACCEPTED),
        ("http://127.0.0.1/x#there", ACCEPTED),
        ("http://127.0.0.1/x#", ACCEPTED),
        ("http://127.0.0.1:65536/", "Port out of range"),
        ("http://127.0.0.1:0/", "Port out of range 1-65535"),
        ("http://127.0.0.1:-1/", "Port"),
        ("http://127.0.0.1:http/", "Port"),
        ("http://[::1/", "Invalid IPv6 URL"),
        ("http://[::1]:80/", "::1: "),
        ("http://127.0.0.1/a b", "written as %20"),
        (" http://127.0.0.1/", "written as %20"),
        ("http://127.0.0.1/a\tb", "written as %20"),
        ("http://127.0.0.1/a\r\nX-Smuggled: 1", "written as %20"),
        ("http://127.0.0.1/ä", "written as %20"),
        ("http://a..b/", "a..b: not a host name"),
        (f"http://{'a' * 64}.invalid/", "not a host name"),
        ("http://nobody.invalid/", "nobody.invalid: "),
    ],
)
def test_wrong_addresses(text: str, why: str) -> None:
    """One line that repeats what was typed, says what is wrong where that is not plain, and what is
    accepted."""
    with pytest.raises(ValueError) as caught:
        read_url(text)
    said = str(caught.value)
    assert said.startswith(f"--url {text!r}: ")
    assert why in said
    assert ACCEPTED in said
    assert "\n" not in said
