"""Checker: connections are conserved.

Each that a client established was accepted, waits to be, or died with the listener; each open end
on the server belongs to a living process.
"""

from __future__ import annotations

from mpmlab.sim.world import World


def breaches(world: World) -> list[str]:
    """At any time."""
    found = []
    listeners = world.machines["server"].listeners
    connected = world.network.connected
    accepted = sum(listener.accepted for listener in listeners)
    waiting = sum(len(listener.queue) + listener.handshakes for listener in listeners)
    discarded = sum(listener.discarded for listener in listeners)
    if connected != accepted + waiting + discarded:
        found.append(
            f"{connected} connections were established, but {accepted} accepted, {waiting} waiting "
            f"and {discarded} discarded"
        )
    for process in world.processes.values():
        for conn in process.conns:
            server = conn.peer
            if server is None or server.closed or server.process is None:
                continue
            if not server.process.alive:
                found.append(
                    f"a connection of process {process.pid} leads to process "
                    f"{server.process.pid}, which is dead"
                )
    return found


def open_ends(world: World) -> list[str]:
    """Once all clients are gone and the server has had the time to notice: what it holds on to."""
    return [
        f"process {process.pid} ({process.name}) still holds {len(process.conns)} connections"
        for process in world.machines["server"].processes.values()
        if process.conns
    ]
