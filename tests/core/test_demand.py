"""core/demand.py: demands in targets and back; and how requests that ask for them are written."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from mpmlab.core.client_wire import BytesClient
from mpmlab.core.count_wire import CountClient
from mpmlab.core.demand import MAX_RESPONSE_BYTES, MAX_US, Demand, demand_of, target_of
from mpmlab.core.h11_wire import H11Wire
from mpmlab.core.http_text import request_head, request_head_bytes, target_bytes
from mpmlab.core.wire import Limits, Request

HOST = "127.0.0.1:40000"
#: Numbers of requests: none, and those where the count of digits changes.
IDENTS = (-1, 0, 9, 10, 99, 100, 9_999_999)


def demands() -> Iterator[Demand]:
    """Random ones of every kind, of numbers of all lengths, and the largest there are."""
    rng = random.Random(9)
    yield Demand()
    yield Demand(MAX_US, MAX_US, MAX_RESPONSE_BYTES, True)
    yield Demand(response_bytes=MAX_RESPONSE_BYTES, static=True)
    for _ in range(300):
        cpu, wait, size = (rng.randrange(10 ** rng.randrange(1, 10)) for _ in range(3))
        yield Demand(cpu, wait, size, rng.random() < 0.2)
        yield Demand(response_bytes=size, static=True)


# ---- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "size"),
    [
        ("/static/0", 0),
        ("/static/1", 1),
        ("/static/1024", 1024),
        ("/static/1073741824", MAX_RESPONSE_BYTES),
        ("/static/7?cached=no", 7),
    ],
)
def test_static_targets(target: str, size: int) -> None:
    """A file of so many bytes; what follows the path does not matter, as with files of httpd."""
    assert demand_of(target) == (200, Demand(response_bytes=size, static=True))


@pytest.mark.parametrize(
    "target",
    [
        *("/static/", "/static/x", "/static/1k", "/static/-1", "/static/+1", "/static/1.5"),
        *("/static/07", "/static/00", "/static/ 7", "/static/7/", "/static/7/7", "/static/1_0"),
        "/static/1073741825",  # one more than the most
        "/static/0000000000007",  # 13 digits
        "/static/1000000000000",
        "/static/" + "9" * 5000,  # more than int() takes
        "/static/\u0667",  # a digit, but none of a file's name
        "/static/\u00b2",
        *("/static", "/Static/7", "/static/..", "/x/static/7"),
    ],
)
def test_no_such_file(target: str) -> None:
    """404 and the path for every name that no file of httpd's folder has."""
    status, why = demand_of(target)
    assert status == 404
    assert isinstance(why, str)
    assert target in why


def test_a_target_says_the_whole_demand() -> None:
    """Writing and reading are each other's inverse, for files as for the handler."""
    for demand in demands():
        assert demand_of(target_of(demand)) == (200, demand)
        assert target_bytes(demand) == len(target_of(demand))


# ---- heads ---------------------------------------------------------------------------------------


def test_heads_have_the_length_that_is_counted() -> None:
    """Every kind of demand, with and without body, keep-alive and number: what is counted is what
    is written, of the head alone and by both clients."""
    rng = random.Random(10)
    for demand in demands():
        body = 0 if demand.static else rng.choice((0, 0, 1, 10, 4096))
        keep, ident = rng.random() < 0.5, rng.choice(IDENTS)
        head = request_head(HOST, demand, body, keep, ident)
        assert request_head_bytes(HOST, demand, body, keep, ident) == len(head)
        written = BytesClient(HOST).compose(demand, body, keep, ident)
        counted = CountClient(HOST).compose(demand, body, keep, ident)
        assert written == head + bytes(body)
        assert (counted.head_bytes, len(counted)) == (len(head), len(written))
        assert counted.meta.method == head.split()[0].decode()
        assert counted.meta.demand == demand


def told(text: bytes) -> Request:
    """What the server's wire makes of a request."""
    wire = H11Wire(Limits())
    wire.feed(text)
    request = wire.next()
    assert isinstance(request, Request)
    return request


def test_the_server_reads_what_the_client_means() -> None:
    """Method, target, body and demand of requests with numbers, files among them."""
    for demand in demands():
        for body in (0,) if demand.static else (0, 5):
            request = told(BytesClient(HOST).compose(demand, body, True, 7))
            assert request.method == ("POST" if body else "GET")
            assert request.target == target_of(demand)
            assert request.body_bytes == body


@pytest.mark.parametrize("ident", IDENTS)
@pytest.mark.parametrize("body", [0, 3])
def test_the_number_is_a_header_of_its_own(ident: int, body: int) -> None:
    """X-Request-Id once, with the number in the plan; without one the head is what it was."""
    plain = request_head(HOST, Demand(1, 2, 3), body, True)
    head = request_head(HOST, Demand(1, 2, 3), body, True, ident)
    line = f"X-Request-Id: {ident}\r\n".encode()
    assert head.count(b"X-Request-Id") == (ident >= 0)
    assert head.replace(line, b"") == plain


@pytest.mark.parametrize("body", [0, 3])
def test_another_target_stands_instead_of_the_demands(body: int) -> None:
    """Whatever the demand, a file's too, the target is asked for; nothing else of the head
    changes."""
    for demand in (Demand(1, 2, 3), Demand(response_bytes=9, static=True)):
        own = BytesClient("a:1").compose(demand, body, False, 4)
        other = BytesClient("a:1", "/x?y=1").compose(demand, body, False, 4)
        assert other == own.replace(target_of(demand).encode(), b"/x?y=1", 1)
