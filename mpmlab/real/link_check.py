"""What a link is really like: its round trip and its bandwidth, measured once before it is used.

Datagrams only, by sockets that were made in the link's namespaces: no TCP connection, whose memory
(thresholds, round trips) would change the first ones of a run.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from mpmlab.real.link_pipe import Way
from mpmlab.real.link_spec import CLIENT_ADDRESS, SERVER_ADDRESS, LinkError, LinkSpec
from mpmlab.real.netns import in_namespace

#: Echoes are sent for so long, but at least and at most so many.
_ECHO_S: Final = 0.4
_ECHOES: Final = (3, 50)
#: How much longer than the round trip an echo may take before it counts as lost: on a link that
#: loses packets, and on one that does not.
_LOSSY_PATIENCE_S: Final = 0.05
_PATIENCE_S: Final = 0.5
#: A train of packets for the bandwidth lasts so long at the rate asked for, but has at least ...
_TRAIN_S: Final = 0.2
_SHORTEST_TRAIN: Final = 4
#: ... and where no rate is asked for, so many packets.
_FREE_TRAIN: Final = 256
#: The longest, in packets: what the devices queue for the forwarder.
_LONGEST_TRAIN: Final = 1024
#: Bytes of a packet that UDP does not carry: the headers of IP and UDP.
_HEADERS: Final = 28
#: The smallest packet of a train.
_SMALLEST: Final = 64
_BUFFER_BYTES: Final = 8 << 20
# <asm-generic/socket.h>
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@ll")


@dataclass(frozen=True, slots=True)
class LinkCheck:
    """What was measured on the idle link."""

    #: Median and maximum round trip of the smallest datagrams, from sendto() to recv().
    rtt_s: float
    rtt_max_s: float
    echoes: int
    echoes_lost: int
    #: Rate at which a train of full packets came out, in bytes of IP packets; None if too few came.
    down_bytes_per_s: float | None
    up_bytes_per_s: float | None

    def figures(self) -> dict[str, Any]:
        """For a run's metadata."""
        return asdict(self)


def check_link(namespaces: tuple[int, int], spec: LinkSpec) -> LinkCheck:
    """Measure the link between the server's and the client's namespace. Takes half a second, and
    no longer than a few round trips. Raises LinkError if nothing comes through."""
    with contextlib.ExitStack() as ours:
        server, client = (
            ours.enter_context(in_namespace(namespace, partial(_datagrams, address)))
            for namespace, address in zip(namespaces, (SERVER_ADDRESS, CLIENT_ADDRESS), strict=True)
        )
        server.connect(client.getsockname())
        client.connect(server.getsockname())
        times, lost = _echoes(server, client, spec)
        return LinkCheck(
            rtt_s=float(np.median(times)),
            rtt_max_s=max(times),
            echoes=len(times),
            echoes_lost=lost,
            down_bytes_per_s=_train(server, client, spec.down, spec.mtu),
            up_bytes_per_s=_train(client, server, spec.up, spec.mtu),
        )


def _datagrams(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind((address, 0))
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            made.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        made.close()
        raise
    return made


def _echoes(
    server: socket.socket, client: socket.socket, spec: LinkSpec
) -> tuple[list[float], int]:
    """Round trips in seconds, and how many were lost. This one thread plays both sides, so that
    no time is spent in waking another."""
    least, most = _ECHOES
    wanted = max(least, min(most, int(_ECHO_S / spec.rtt_s) if spec.rtt_s else most))
    for side in (server, client):
        side.settimeout(spec.rtt_s + (_LOSSY_PATIENCE_S if spec.loss else _PATIENCE_S))
    times: list[float] = []
    tries = 0
    while len(times) < wanted and tries < 2 * wanted:
        tries += 1
        data = tries.to_bytes(4, "big")
        began_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            client.send(data)
            _receive(server, data)
            server.send(data)
            _receive(client, data)
            times.append(time.monotonic() - began_s)
    if not times:
        raise LinkError(f"link: none of {tries} packets came through, with loss = {spec.loss}")
    return times, tries - len(times)


def _receive(side: socket.socket, data: bytes) -> None:
    """Until that comes; what comes late of an earlier echo is not it. Raises TimeoutError."""
    while side.recv(len(data)) != data:
        pass


def _train(sender: socket.socket, receiver: socket.socket, way: Way, mtu: int) -> float | None:
    """Send packets at once, and see from the kernel's stamps how fast they come out."""
    count, size = train(way, mtu)
    receiver.settimeout(way.delay_s + _PATIENCE_S)
    body = os.urandom(size - _HEADERS)
    for _ in range(count):
        sender.send(body)
    stamps = []
    with contextlib.suppress(TimeoutError):  # lost ones are not waited for
        for _ in range(count):
            stamps.append(_stamp(receiver))
    taken_s = stamps[-1] - stamps[0] if stamps else 0.0
    return (len(stamps) - 1) * size / taken_s if taken_s > 0 else None


def train(way: Way, mtu: int) -> tuple[int, int]:
    """How many packets, of how many bytes, show the bandwidth: short enough for the queue."""
    if not way.bytes_per_s:
        return _FREE_TRAIN, mtu
    wanted = way.bytes_per_s * _TRAIN_S
    size = min(mtu, max(_SMALLEST, int(wanted / _SHORTEST_TRAIN)))
    return max(2, min(int(wanted / size), way.queue_bytes // mtu, _LONGEST_TRAIN)), size


def _stamp(receiver: socket.socket) -> float:
    """When the next datagram came, by the kernel's realtime clock."""
    _data, notes, _flags, _address = receiver.recvmsg(1, socket.CMSG_SPACE(_TIMESPEC.size))
    for level, kind, note in notes:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(note)
            return float(seconds + nanoseconds * 1e-9)
    raise LinkError("link: this kernel does not say when a packet came (SO_TIMESTAMPNS)")
