"""prefork: each child is one process of one thread; it accepts and serves a connection at a time.

The child and how the parent talks to children; the parent's loop is supervisor.py, its spare-server
rule core/spare.py. httpd: server/mpm/prefork/prefork.c.
"""

from __future__ import annotations

from collections.abc import Mapping

from mpmlab.core.scoreboard import GRACEFUL, READY, STARTING, Scoreboard
from mpmlab.core.settings import Settings
from mpmlab.core.spare import Decision, SpareState, prefork_spares
from mpmlab.kernel.interface import Kernel, ResourceShortage, Signal, Steps
from mpmlab.mpms.connection import serve
from mpmlab.mpms.site import EXIT_CHILDSICK, EXIT_OK, Site
from mpmlab.mpms.supervisor import Ids, dummy_connection, supervise


def child_main(k: Kernel, site: Site, slot: int) -> Steps[int]:
    """prefork.c: child_main(). Accept, serve, look whether it is time to go."""
    k.dies_of(Signal.TERM)  # just_die(): the handler exits at once, mid-request or not
    k.dies_of(Signal.HUP)
    board = site.board
    limit = site.settings.max_connections_per_child
    passes = 0
    while not k.signals():  # USR1 and WINCH set die_now
        if limit and passes >= limit:
            break
        passes += 1  # passes, not connections: a lost race counts, as in httpd
        board.set(slot, READY)
        if site.accept_mutex is not None:
            yield k.lock(site.accept_mutex)
        try:
            conn = yield k.accept(site.listener, None)
        except ResourceShortage:
            return EXIT_CHILDSICK
        if site.accept_mutex is not None:
            k.unlock(site.accept_mutex)
        if conn is None:
            continue
        yield from serve(k, conn, slot, site, k.signals)
        assert site.pod is not None
        if (yield k.get(site.pod, 0)):
            break  # a letter in the pipe of death: whoever ends a connection first takes it
        if board.generation != site.generation:
            break
    return EXIT_OK


class Prefork:
    """prefork's side of the supervisor's bargain (see supervisor.Module)."""

    name = "prefork"
    child = staticmethod(child_main)
    quick_respawn = False
    takes_turns = True
    ids = Ids(
        resuming="AH00163",
        stale_fatal="AH00166",
        long_lost="AH00167",
        term="AH00169",
        graceful_stop="AH00170",
        graceful="AH00171",
        restart="AH00173",
        fork_failed="AH00159",
        many_kills="",
    )

    def spares(self, board: Scoreboard, settings: Settings, state: SpareState) -> Decision:
        """perform_idle_server_maintenance()"""
        return prefork_spares(board, settings, state)

    def slots(self, settings: Settings) -> int:
        """How many slots startup_children() looks at."""
        return settings.daemons_limit

    def starting(self, board: Scoreboard, slot: int) -> None:
        """make_child(): the slot counts as idle from now on."""
        board.set(slot, STARTING)

    def kill_one(self, k: Kernel, site: Site) -> Steps[None]:
        """ap_mpm_pod_signal(): a letter, then a connection so that somebody reads it."""
        assert site.pod is not None
        yield k.put(site.pod, "!")
        yield from dummy_connection(k, site)

    def tell_all(
        self, k: Kernel, site: Site, children: Mapping[int, int], graceful: bool
    ) -> Steps[None]:
        """Graceful: mark every child G and send it USR1. httpd makes dummy connections to the idle
        ones too; ours hear the signal in accept() itself, and pass the accept mutex on. Ungraceful:
        the signal to the process group, ahead of the reclaim ladder's."""
        yield k.sleep(0)
        for pid, slot in sorted(children.items(), key=lambda item: item[1]):
            if graceful:
                site.board.set(slot, GRACEFUL)
            k.kill(pid, Signal.USR1 if graceful else Signal.TERM)


def parent(k: Kernel, site: Site) -> Steps[int]:
    """prefork_run()"""
    return (yield from supervise(k, site, Prefork()))
