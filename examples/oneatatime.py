"""The smallest server that there is: one process, one connection at a time.

mpmlab bench --mpm oneatatime:ONE_AT_A_TIME --engine real,sim
"""

from mpmlab.core.scoreboard import READY
from mpmlab.kernel.interface import Kernel, Steps
from mpmlab.mpms.catalog import Mpm
from mpmlab.mpms.connection import serve
from mpmlab.mpms.site import EXIT_OK, Site


def parent(k: Kernel, site: Site) -> Steps[int]:
    """Accept, serve, look whether it is time to go."""
    site.board.pid[0] = k.pid()
    while True:
        site.board.set(0, READY)
        conn = yield k.accept(site.listener, 1.0)
        if conn is not None:
            yield from serve(k, conn, 0, site, k.signals)
        elif k.take_signals():
            return EXIT_OK


ONE_AT_A_TIME = Mpm(
    name="one-at-a-time",
    summary="one process, one connection at a time",
    parent=parent,
    threaded="no",
    forked="no",
    directives_of="prefork",
)
