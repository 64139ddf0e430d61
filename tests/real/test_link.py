"""Links, for real: their round trip, bandwidth, loss and queue; and nothing is left of them."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import psutil
import pytest

from mpmlab.real.handles import Listener
from mpmlab.real.link import Link, LinkError, Mechanism, emulated_link
from mpmlab.real.link_netem import missing_netem
from mpmlab.real.netns import in_namespace, inside, new_namespace
from tests.real.test_link_netns import NO_LINKS, holders

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(NO_LINKS), reason=NO_LINKS)]

DEADLINE_S = 20.0
RTT_S = 0.02
#: What the machine may add to a round trip: waking the two ends, and with TUN the forwarder between
#: them. It was 0.1 to 0.4 ms.
ADDED_S = 0.6e-3


def without_netem() -> str | None:
    """Why there is no netem here."""
    namespace = new_namespace()
    try:
        return missing_netem(namespace)
    finally:
        os.close(namespace)


@pytest.fixture(params=["tun", "netem"])
def mechanism(request: pytest.FixtureRequest) -> Mechanism:
    """Both ways to make a link, where there are both."""
    if request.param == "netem" and (why := without_netem()):
        pytest.skip(why)
    found: Mechanism = request.param
    return found


def end(link: Link, kind: socket.SocketKind, server: bool = False) -> socket.socket:
    """A socket of either end, bound to that end's address."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, kind)
        sock.settimeout(DEADLINE_S)
        sock.bind((link.server_address if server else link.client_address, 0))
        return sock

    return in_namespace(link.server_namespace if server else link.client_namespace, make)


@contextmanager
def listening(link: Link) -> Iterator[socket.socket]:
    """The server's listening socket, as a server would have it."""
    listener = in_namespace(
        link.server_namespace, partial(Listener.bind, link.server_address, backlog=4096)
    )
    listener.sock.settimeout(DEADLINE_S)
    try:
        yield listener.sock
    finally:
        listener.close()


def quartile(times: list[float]) -> float:
    """The lower one: what the link does; the upper ones are what else this machine does."""
    return sorted(times)[len(times) // 4]


# ---- what a link does ----------------------------------------------------------------------------


def test_a_round_trip_takes_as_long_as_asked(mechanism: Mechanism) -> None:
    """Connecting takes one round trip, and so does an echo: never less than asked, and 0.6 ms more
    at most."""
    with emulated_link(RTT_S, mechanism=mechanism) as link, listening(link) as listener:
        connects, echoes = [], []
        for _ in range(10):
            with end(link, socket.SOCK_STREAM) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                began_s = time.monotonic()
                client.connect(listener.getsockname())
                connects.append(time.monotonic() - began_s)
                server, _ = listener.accept()
                with server:
                    began_s = time.monotonic()
                    client.send(b"ping")
                    server.send(server.recv(10))
                    assert client.recv(10) == b"ping"
                    echoes.append(time.monotonic() - began_s)
        for times in (connects, echoes, [link.check.rtt_s]):
            assert min(times) >= RTT_S
            assert quartile(times) <= RTT_S + ADDED_S


@pytest.mark.parametrize("way", ["down", "up"])
def test_a_bandwidth_is_within_3_percent(mechanism: Mechanism, way: str) -> None:
    """10 Mbit/s carry 1,448 of 1,500 of them as a TCP connection's own bytes, either way, while
    the other way is another; the link's own check found the same."""
    rate, other = 1.25e6, 3e6
    rates = (rate, other) if way == "down" else (other, rate)
    with (
        emulated_link(RTT_S, *rates, mechanism=mechanism) as link,
        listening(link) as listener,
        end(link, socket.SOCK_STREAM) as client,
    ):
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            sender, receiver = (server, client) if way == "down" else (client, server)
            payload = payload_rate(sender, receiver, 2_000_000)
        assert payload * 1500 / 1448 == pytest.approx(rate, rel=0.03)
        checked = getattr(link.check, f"{way}_bytes_per_s")
        assert checked == pytest.approx(rate, rel=0.03)


def payload_rate(sender: socket.socket, receiver: socket.socket, size: int) -> float:
    """Bytes per second of the second half of so many, as they arrive."""
    thread = threading.Thread(target=sender.sendall, args=(bytes(size),))
    thread.start()
    taken, half_s, half = 0, 0.0, 0
    while taken < size:
        taken += len(receiver.recv(65536))
        if not half_s and taken >= size // 2:
            half_s, half = time.monotonic(), taken
    elapsed_s = time.monotonic() - half_s
    thread.join()
    return (taken - half) / elapsed_s


def test_loss_is_the_share_asked_for(mechanism: Mechanism) -> None:
    """Of 2,000 packets with a loss of 20 %, about that many come, and the others are counted."""
    with (
        emulated_link(0.0, loss=0.2, mechanism=mechanism) as link,
        end(link, socket.SOCK_DGRAM) as client,
        end(link, socket.SOCK_DGRAM, server=True) as server,
    ):
        began = accounted(link)
        for number in range(2000):
            client.sendto(number.to_bytes(4, "big"), server.getsockname())
        until(lambda: sum(accounted(link)) == sum(began) + 2000)
        missed = accounted(link)[1] - began[1]
        assert 330 < missed < 470  # 4 standard deviations of 18


def accounted(link: Link) -> tuple[int, int]:
    """Packets upwards: those that came, those that did not."""
    up = link.traffic()[1]
    return up.packets, up.dropped + up.lost


def until(condition: Callable[[], bool]) -> None:
    """Return once it holds; fail if it does not come to hold."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it does not come to hold"
        time.sleep(0.01)


def test_a_full_queue_drops_what_comes_next(mechanism: Mechanism) -> None:
    """Of 100 packets at once, a queue for 20 lets so many through, the first ones."""
    with (
        emulated_link(0.0, up_bytes_per_s=1e5, queue_bytes=20 * 1500, mechanism=mechanism) as link,
        end(link, socket.SOCK_DGRAM) as client,
        end(link, socket.SOCK_DGRAM, server=True) as server,
    ):
        began = accounted(link)
        for number in range(100):
            client.sendto(number.to_bytes(1472, "big"), server.getsockname())
        until(lambda: sum(accounted(link)) == sum(began) + 100)
        came = accounted(link)[0] - began[0]
        numbers = [int.from_bytes(server.recv(1500), "big") for _ in range(came)]
        assert numbers[:20] == list(range(20))
        assert numbers == sorted(numbers)
        assert came <= 25  # the line is not idle meanwhile: it takes one in 15 ms


def test_a_thousand_connections(mechanism: Mechanism) -> None:
    """All are made, all carry an answer, and the link drops none of their packets."""
    count = 1000
    with ExitStack() as ours:
        ours.enter_context(descriptors(2 * count + 200))
        link = ours.enter_context(emulated_link(RTT_S, mechanism=mechanism))
        listener = ours.enter_context(listening(link))
        clients = in_namespace(
            link.client_namespace, lambda: [socket.socket() for _ in range(count)]
        )
        for client in clients:
            ours.enter_context(client)
            client.setblocking(False)
            assert client.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        for _ in range(count):
            server, _ = listener.accept()
            ours.enter_context(server)
            server.send(b"answer")
        for client in clients:
            client.settimeout(DEADLINE_S)
            assert client.recv(10) == b"answer"
        assert [traffic.dropped for traffic in link.traffic()] == [0, 0]


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """With room for so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), max(hard, count)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_client_process_reaches_the_server_by_the_link_only(mechanism: Mechanism) -> None:
    """A process that is started inside the client's namespace gets the answer of a server that
    listens in the other one, a round trip later, and the link has carried it."""
    program = (
        "import socket, sys; where = sys.argv[1], int(sys.argv[2]);"
        "client = socket.create_connection(where, 10, (sys.argv[3], 0)); print(client.recv(100))"
    )
    with emulated_link(RTT_S, mechanism=mechanism) as link, listening(link) as listener:
        began = accounted(link)
        host, port = listener.getsockname()
        command = [sys.executable, "-c", program, host, str(port), link.client_address]
        with subprocess.Popen(
            inside(link.client_namespace, command),
            pass_fds=(link.client_namespace,),
            stdout=subprocess.PIPE,
        ) as client:
            server, (address, _port) = listener.accept()
            with server:
                server.send(b"hello")
            assert client.communicate(timeout=DEADLINE_S)[0] == b"b'hello'\n"
        assert address == link.client_address
        assert accounted(link)[0] >= began[0] + 2


def test_outside_the_namespace_a_client_s_socket_cannot_be_bound(mechanism: Mechanism) -> None:
    """So a load that was not put inside fails instead of leaving this machine."""
    unbound = pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL))
    with emulated_link(0.0, mechanism=mechanism) as link, socket.socket() as client, unbound:
        client.bind((link.client_address, 0))


def test_a_link_tells_what_it_is(mechanism: Mechanism) -> None:
    """In one line for people, and in figures that JSON takes."""
    with emulated_link(0.004, 1.25e6, mechanism=mechanism) as link:
        name = "netem on veth" if mechanism == "netem" else "user-space forwarder between two TUN"
        assert link.describe().startswith(name)
        assert " ms for 4 asked" in link.describe()
        assert " kB/s for 1,250 asked" in link.describe()
        figures = json.loads(json.dumps(link.figures()))
        assert figures["asked"]["down_bytes_per_s"] == 1.25e6
        assert figures["measured"]["rtt_s"] == link.check.rtt_s
        assert link.fault() is None
        assert link.cpu_s() >= 0.0


def test_traffic_is_counted_from_when_the_link_is_handed_out(mechanism: Mechanism) -> None:
    """Packets and their bytes with IP's headers; the link's own check is not among them."""
    with emulated_link(0.0, mechanism=mechanism) as link, end(link, socket.SOCK_DGRAM) as client:
        assert [(way.packets, way.bytes, way.dropped) for way in link.traffic()] == [(0, 0, 0)] * 2
        client.sendto(bytes(72), (link.server_address, 9))  # nobody there: an ICMP message comes
        until(lambda: all(way.packets for way in link.traffic()))
        down, up = link.traffic()
        assert (up.packets, up.bytes) == (1, 100)
        assert (down.packets, down.bytes) == (1, 128)


# ---- its end -------------------------------------------------------------------------------------


def test_nothing_is_left(mechanism: Mechanism) -> None:
    """After the block, however it ends: no descriptor, no process, no namespace."""
    before = sorted(os.listdir("/proc/self/fd"))
    for fault in (None, ZeroDivisionError, KeyboardInterrupt):
        with ExitStack() as raised:
            if fault:
                raised.enter_context(pytest.raises(fault))
            with emulated_link(0.0, mechanism=mechanism) as link:
                pids, inodes = link.pids, namespaces(link)
                assert all(holders(inode) == {os.getpid()} for inode in inodes)
                if fault:
                    raise fault
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert not any(holders(inode) for inode in inodes)
        assert sorted(os.listdir("/proc/self/fd")) == before


def namespaces(link: Link) -> tuple[int, int]:
    """The inodes that name them."""
    return os.fstat(link.server_namespace).st_ino, os.fstat(link.client_namespace).st_ino


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_its_maker_is_killed(
    mechanism: Mechanism, sign: signal.Signals
) -> None:
    """By whatever signal: the forwarder dies with it, and devices and namespaces with both."""
    program = (
        "import os, sys\n"
        "from mpmlab.real.link import emulated_link\n"
        f"with emulated_link(0.0, mechanism={mechanism!r}) as link:\n"
        "    fds = link.server_namespace, link.client_namespace\n"
        "    print(*link.pids, flush=True)\n"
        "    print(*(os.fstat(fd).st_ino for fd in fds), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as maker:
        assert maker.stdout is not None
        forwarders = [psutil.Process(int(pid)) for pid in maker.stdout.readline().split()]
        inodes = [int(inode) for inode in maker.stdout.readline().split()]
        assert all(holders(inode) == {maker.pid} for inode in inodes)
        maker.send_signal(sign)
        maker.wait(DEADLINE_S)
    _gone, alive = psutil.wait_procs(forwarders, DEADLINE_S)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert not any(holders(inode) for inode in inodes)


def test_a_dead_forwarder_is_told() -> None:
    """Nothing flows any more, and the link says so instead of looking like a very slow one."""
    with emulated_link(0.0, mechanism="tun") as link:
        assert link.fault() is None
        os.kill(link.pids[0], signal.SIGKILL)
        until(lambda: link.fault() is not None)
        assert link.fault() == "the link's forwarder was killed by signal 9"
        with pytest.raises(LinkError, match="signal 9"):
            link.cpu_s()


# ---- where there can be none ---------------------------------------------------------------------


def test_a_mechanism_that_is_named_is_that_or_none() -> None:
    """netem where there is none: the error says so and what to do."""
    if not (why := without_netem()):
        pytest.skip("this kernel has netem")
    refused = pytest.raises(LinkError, match="client's own pacing")
    with refused as caught, emulated_link(0.0, mechanism="netem"):
        raise AssertionError("there is no netem")
    assert why in str(caught.value)


def test_without_root_there_is_none() -> None:
    """The error says what is needed and what to do instead; nothing else happens."""
    program = (
        "import os\n"
        "from mpmlab.real.link import LinkError, emulated_link\n"
        "os.setuid(65534)\n"
        "try:\n"
        "    with emulated_link(0.02): print('made')\n"
        "except LinkError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert "unshare: Operation not permitted" in done.stdout, done.stderr
    assert "root (CAP_SYS_ADMIN and CAP_NET_ADMIN)" in done.stdout
    assert "the client's own pacing" in done.stdout
