"""One test body for three worlds, and the waiting of real time done at once.

`in_three_worlds` makes a test of a body: a case for each world. Most of a real vector is waiting
for passes a second apart, so that the bodies of all selected tests in real time are begun together,
on a few threads, when the first of them is due; each test then waits for its own. The simulated
ones run in their test. Nothing is started for tests that were not selected.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest

from mpmlab.httpd.program import HttpdMissingError
from tests.httpd.three_httpd import begin_httpd
from tests.httpd.three_real import begin_real
from tests.httpd.three_sim import begin_sim
from tests.httpd.three_worlds import WORLDS

#: Bodies at a time. They wait more than they work; with more, the forks of one would come into the
#: seconds of another.
AT_ONCE: Final = 8

Body = Callable[..., None]


class GivenUp(Exception):  # noqa: N818 - no error of anybody's
    """The tests are over before this body was."""


@dataclass(frozen=True)
class Case:
    """A world, and what else the body is told."""

    world: str
    given: dict[str, Any]


class Ahead:
    """The bodies of the selected tests in real time, under way."""

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="vector")
        self._futures: dict[str, Future[None]] = {}
        for item in items:
            body = getattr(getattr(item, "function", None), "three_worlds_body", None)
            if body is not None:
                case = item.callspec.params["case"]  # type: ignore[attr-defined]
                if case.world != "sim":
                    self._futures[item.nodeid] = self._pool.submit(self._run, body, case)

    def _run(self, body: Body, case: Case) -> None:
        self._go_on()
        begin = begin_httpd if case.world == "httpd" else begin_real
        body(partial(begin, self._go_on), **case.given)

    def _go_on(self) -> None:
        if self._over.is_set():
            raise GivenUp

    def result(self, item: pytest.Item) -> None:
        """Wait for a body's end; raises what it raised."""
        self._futures.pop(item.nodeid).result()

    def close(self) -> None:
        """Give up what still runs, and wait until its servers are gone."""
        self._over.set()
        self._pool.shutdown(cancel_futures=True)


_AHEAD: Final = pytest.StashKey[Ahead]()


def _ahead(request: pytest.FixtureRequest) -> Ahead:
    stash = request.config.stash
    if _AHEAD not in stash:
        stash[_AHEAD] = ahead = Ahead(request.session.items)
        request.config.add_cleanup(ahead.close)
    return stash[_AHEAD]


def in_three_worlds(*cases: dict[str, Any]) -> Callable[[Body], Callable[..., None]]:
    """A test of body(begin, **case) for each case and world. Where there is no httpd, its tests are
    skipped with the reason."""

    def make(body: Body) -> Callable[..., None]:
        @pytest.mark.parametrize("case", _params(cases))
        def test(request: pytest.FixtureRequest, case: Case) -> None:
            if case.world == "sim":
                body(begin_sim, **case.given)
                return
            try:
                _ahead(request).result(request.node)
            except HttpdMissingError as error:
                pytest.skip(str(error))

        test.__name__, test.__doc__, test.__module__ = (
            body.__name__, body.__doc__, body.__module__,
        )  # fmt: skip
        test.three_worlds_body = body  # type: ignore[attr-defined]
        return test

    return make


def _params(cases: Sequence[dict[str, Any]]) -> list[Any]:
    return [
        pytest.param(
            Case(world, given),
            id="-".join([world, *map(str, given.values())]),
            marks=() if world == "sim" else pytest.mark.real,
        )
        for world in WORLDS
        for given in cases
    ]
