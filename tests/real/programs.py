"""Programs for the tests of the real kernel and the launcher, run in processes of their own.

Bodies as in tests/conformance/table.py (`f(k, listener)`), and entry points (`f(k, context)`).
Nothing here knows pytest: it would be imported into every server.
"""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpmlab.kernel.interface import KernelError, ResourceShortage, Signal, Steps
from mpmlab.real import process
from mpmlab.real.drive import drive
from mpmlab.real.handles import Conn, Listener, Poller
from mpmlab.real.kernel import MainKernel, ThreadKernel
from mpmlab.real.launched import LaunchContext
from mpmlab.real.sync import LocalQueue, SharedMutex
from tests.conformance.bodies_sync import enters, holds_and_forks, overlaps
from tests.conformance.table import LONG_S, SHORT_S, end_of, lasted, pair

Kernel = Any  # these programs are about this world's kernel only, and look inside


def ends(k: Kernel, listener: Listener) -> Steps[tuple[Conn, Conn]]:
    """Both ends of a fresh connection, as this world's handles: (client's, server's)."""
    client, server = yield from pair(k, listener)
    assert isinstance(client, Conn)
    assert isinstance(server, Conn)
    return client, server


# ---- bodies --------------------------------------------------------------------------------------


def misuses(k: Kernel, listener: Listener) -> Steps[Any]:
    """The message of each error that only the caller can have caused."""
    messages = []

    def attempt(call: Callable[[], object]) -> None:
        try:
            call()
        except KernelError as error:
            messages.append(str(error))

    thread_kernel = ThreadKernel(prepared(k))
    attempt(lambda: thread_kernel.accept(listener, 1))
    attempt(lambda: thread_kernel.wait(0))
    attempt(lambda: thread_kernel.fork(misuses))
    attempt(lambda: k.queue("lifo", shared=True))
    attempt(lambda: k.queue("stack"))
    attempt(lambda: k.queue(shared=True).push("ab"))
    attempt(lambda: k.dies_of(Signal.WINCH))
    attempt(lambda: k.unlock(k.mutex(shared=True)))
    attempt(lambda: Listener.bind(port=listener.port))
    done = k.queue()
    yield k.thread(waits_for, done)
    attempt(lambda: k.fork(misuses))
    return messages


def prepared(k: Kernel) -> Any:
    """The process of a kernel, ready for threads."""
    k._process.prepare_threads()
    return k._process


def waits_for(k: Kernel, queue: Any) -> Steps[None]:
    """A thread that gets one item."""
    yield k.get(queue, None)


def dies_at_once(k: Kernel) -> Steps[int]:
    """A child that only dies."""
    yield k.sleep(0)
    return 0


def deaths_disturb_no_wait(k: Kernel, listener: Listener) -> Steps[Any]:
    """How long waits last while children die, all the time."""
    found = []
    queues = k.queue(), k.queue(shared=True)
    for number in range(4):
        for _ in range(10):
            yield k.fork(dies_at_once)
        start = k.now()
        if number == 0:
            yield k.sleep(2 * SHORT_S)
        elif number == 1:
            assert (yield k.accept(listener, 2 * SHORT_S)) is None
        else:
            assert (yield k.get(queues[number - 2], 2 * SHORT_S)) is None
        found.append(lasted(k, start, 2 * SHORT_S))
    reaped = 0
    while (yield k.wait(0)) is not None:
        reaped += 1
    return found, reaped


def full_wakeup_pipe(k: Kernel, _listener: Listener) -> Steps[Any]:
    """Rings without end do no harm: the next sleep lasts, and a signal still ends the one after."""
    for _ in range(100_000):
        k._process.ring()
    k.kill(k.pid(), Signal.USR1)
    start = k.now()
    yield k.sleep(LONG_S)
    first = lasted(k, start, 0)
    k.take_signals()
    start = k.now()
    yield k.sleep(SHORT_S)
    return first, lasted(k, start, SHORT_S)


def shortage(k: Kernel, listener: Listener) -> Steps[Any]:
    """Without descriptors accept and connect say ResourceShortage, and recover."""
    first = yield k.connect(listener, LONG_S)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first.fd + 1, limit[1]))
    found = []
    for call in (k.accept, k.connect):
        try:
            call(listener, LONG_S)
        except ResourceShortage as error:
            found.append(str(error))
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    return found, (yield k.accept(listener, LONG_S)) is not None


def named_mutex(k: Kernel, _listener: Listener) -> Steps[Any]:
    """The mutex of systems without /proc: a named file in the run's folder."""
    with tempfile.TemporaryDirectory() as folder:
        mutex, trace = SharedMutex(folder, named=True), k.queue(shared=True)
        for letter in "ab":
            yield k.fork(enters, mutex, trace, letter)
        found = yield from overlaps(k, trace, 2)
        codes = [(yield from end_of(k)), (yield from end_of(k))]
        return found, codes, len(os.listdir(folder))


def without_death_signal(k: Kernel, _listener: Listener) -> Steps[Any]:
    """A system that cannot tie the death of children to their parent's: an orphan ends by itself
    within the time of its checks, and until then keeps no lock of its dead parent."""
    process._prctl = None
    mutex, queue = k.mutex(shared=True), k.queue(shared=True)
    yield k.fork(holds_and_forks, mutex, queue)
    yield k.wait(LONG_S)
    start = k.now()
    yield k.lock(mutex)
    soon = k.now() - start < process.PARENT_CHECK_S / 2
    while orphans := [p for p in session() if p != os.getpid()]:
        yield k.sleep(0.005)
        if k.now() - start > LONG_S:
            return soon, orphans
    return soon, lasted(k, start, 0)


def session() -> list[int]:
    """The processes of this session that are more than zombies."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                if int(state[3]) == os.getsid(0) and state[0] != "Z":
                    found.append(int(name))
    return found


def shared_mutex_and_threads(k: Kernel, _listener: Listener) -> Steps[Any]:
    """flock alone would let in all threads of the owner's process."""
    mutex, trace = k.mutex(shared=True), k.queue()
    for letter in "abc":
        yield k.thread(enters, mutex, trace, letter)
    return (yield from overlaps(k, trace, 3))


def many_puts(k: Kernel, queue: LocalQueue, number: int) -> Steps[None]:
    """A thread that puts as fast as it can."""
    for item in range(1, number + 1):
        yield k.put(queue, item)


def no_wakeup_is_lost(k: Kernel, _listener: Listener) -> Steps[Any]:
    """The main thread gets what four threads put, while children's signals ring, until it has it
    all: a lost wake-up would leave it waiting."""
    number, threads = 3000, 4
    queue = k.queue()
    for _ in range(threads):
        yield k.thread(many_puts, queue, number)
    total = 0
    for _ in range(number * threads):
        item = yield k.get(queue, LONG_S)
        if item is None:
            return "lost"
        total += item
    return total == threads * number * (number + 1) // 2


def polls_once(k: Kernel, poller: Poller, done: LocalQueue) -> Steps[None]:
    """A thread inside one poll."""
    yield k.put(done, "polls")
    ready = yield k.poll(poller, None)
    yield k.put(done, ("over", len(ready)))


def close_under_poll(k: Kernel, listener: Listener) -> Steps[Any]:
    """An armed connection is closed while another thread polls: its number is not free before that
    poll is over, and yet the peer hears of it at once."""
    poller, done = k.poller(), k.queue()
    client, server = yield from pair(k, listener)
    k.arm(poller, server)
    yield k.thread(polls_once, poller, done)
    yield k.get(done, LONG_S)
    while not poller.polling:
        yield k.sleep(0.001)
    k.close(server)
    data = yield k.recv(client, 10, LONG_S)
    after_close = yield k.recv(server, 10, 0)
    return len(data), (yield k.get(done, LONG_S)), len(after_close), poller.doomed


def echo_listener(k: Kernel, poller: Poller, ready: LocalQueue) -> Steps[None]:
    """event's listener thread: hand ready connections to the workers."""
    while True:
        for source in (yield k.poll(poller, None)):
            yield k.put(ready, source)


def echo_worker(k: Kernel, poller: Poller, ready: LocalQueue) -> Steps[None]:
    """event's worker thread: one read, one answer, armed again."""
    while True:
        conn = yield k.get(ready, None)
        data = yield k.recv(conn, 100, 0)
        if data:
            yield k.send(conn, data, LONG_S)
            k.arm(poller, conn)
        elif data is not None:
            k.close(conn)


def echo_over_a_poller(k: Kernel, listener: Listener) -> Steps[Any]:
    """Eight connections, 200 rounds, four workers re-arming under the poll of another thread:
    every message comes back once, and connections come and go under the same numbers."""
    poller, ready = k.poller(), k.queue()
    yield k.thread(echo_listener, poller, ready)
    for _ in range(4):
        yield k.thread(echo_worker, poller, ready)
    clients: list[Conn] = []
    answered = 0
    for turn in range(200):
        if turn % 50 == 0:
            for conn in clients:
                k.close(conn)
            clients = []
            for _ in range(8):
                client, server = yield from ends(k, listener)
                clients.append(client)
                k.arm(poller, server)
        for number, conn in enumerate(clients):
            yield k.send(conn, b"%d/%d" % (turn, number), LONG_S)
        for number, conn in enumerate(clients):
            answered += (yield k.recv(conn, 100, LONG_S)) == b"%d/%d" % (turn, number)
    return answered


def overhead(k: Kernel, listener: Listener) -> Steps[Any]:
    """Nanoseconds that an operation costs over the bare socket call, least of many slices taken in
    turn (the machine's speed jumps)."""
    client, server = yield from ends(k, listener)
    rounds, data = 500, b"x" * 100

    def bare() -> None:
        send, recv = client.sock.send, server.sock.recv
        for _ in range(rounds):
            send(data)
            recv(8192)

    def through() -> Steps[None]:
        for _ in range(rounds):
            yield k.send(client, data, LONG_S)
            yield k.recv(server, 8192, LONG_S)

    def driven() -> None:
        drive(through())

    least = [float("inf")] * 2
    for _ in range(40):
        for number, run in enumerate((bare, driven)):
            start = time.perf_counter_ns()
            run()
            least[number] = min(least[number], time.perf_counter_ns() - start)
    return (least[1] - least[0]) / (2 * rounds)


# ---- entry points --------------------------------------------------------------------------------


def echo_server(k: MainKernel, context: LaunchContext) -> Steps[int]:
    """Answers each connection's first bytes, twice over; ends with the payload's code on TERM."""
    while not k.signals():
        conn = yield k.accept(context.listener, None)
        if conn is not None:
            data = yield k.recv(conn, 100, LONG_S)
            yield k.send(conn, 2 * data, LONG_S)
            k.close(conn)
    code: int = context.payload.get("code", 0)
    return code


def stays_forever(k: Kernel) -> Steps[int]:
    """A descendant that hears nothing."""
    while True:
        k.take_signals()
        yield k.sleep(LONG_S)


def forks_one(k: Kernel) -> Steps[int]:
    """A child with a child."""
    yield k.fork(stays_forever)
    return (yield from stays_forever(k))


def stubborn(k: Kernel, context: LaunchContext) -> Steps[int]:
    """A server with a child and a grandchild, none of which ends by TERM."""
    yield k.fork(forks_one)
    if context.board_buffer is not None:
        context.board_buffer[0] = 1
    return (yield from stays_forever(k))


def leaves_child(k: Kernel, _context: LaunchContext) -> Steps[int]:
    """A server that ends before its child does."""
    yield k.fork(stays_forever)
    return 5


def leaves_stranger(_k: Kernel, context: LaunchContext) -> Steps[int]:
    """A server that ends before a process that knows nothing of our ways."""
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    assert context.board_buffer is not None
    context.board_buffer.cast("i")[0] = pid
    yield None
    return 6


def board_echo(k: Kernel, context: LaunchContext) -> Steps[int]:
    """Waits for a byte on the board, answers on the board, logs, and ends."""
    board = context.board_buffer
    assert board is not None
    while not board[0]:
        yield k.sleep(0.001)
    board[1] = 2 * board[0]
    return 0


def logs(k: Kernel, context: LaunchContext) -> Steps[int]:
    """Some lines from two processes, and the times around them on the payload's file."""
    before = k.now()
    k.log("notice", "AH00163", "resuming\nnormal operations")
    yield k.fork(logs_one, context.payload["text"])
    yield k.wait(LONG_S)
    k.log("error", "AH00161", "server reached MaxRequestWorkers setting: [a] b: c")
    Path(context.payload["times"]).write_text(f"{before} {k.now()} {k.pid()}")
    return 0


def logs_one(k: Kernel, text: str) -> Steps[int]:
    """One line from a child."""
    yield k.sleep(0)
    k.log("warn", "AH00045", text)
    return 0


def facts(k: Kernel, _context: LaunchContext) -> Steps[int]:
    """Prints what the launcher arranged for this process."""
    yield k.sleep(0)
    print(
        sorted(os.sched_getaffinity(0)),
        os.getsid(0) == os.getpid(),
        os.environ.get("MPMLAB_TEST"),
        resource.getrlimit(resource.RLIMIT_CORE)[0],
        threading.active_count(),
    )
    return 0


def stops_listening(k: Kernel, context: LaunchContext) -> Steps[int]:
    """Closes the listener at USR1, ends at TERM."""
    yield k.sleep(LONG_S)
    assert k.take_signals() == (Signal.USR1,)
    k.close(context.listener)
    assert context.board_buffer is not None
    context.board_buffer[0] = 1
    yield k.sleep(LONG_S)
    return 0


def child_with_bug(k: Kernel) -> Steps[int]:
    """A child that raises."""
    yield k.sleep(0)
    raise ZeroDivisionError("the child's bug")


def bug_in_child(k: Kernel, _context: LaunchContext) -> Steps[int]:
    """Ends with its child's exit code."""
    yield k.fork(child_with_bug)
    code: int = yield from end_of(k)
    return code


def bug_in_thread(k: Kernel, _context: LaunchContext) -> Steps[int]:
    """A server one of whose threads raises."""
    yield k.thread(child_with_bug)
    yield k.sleep(LONG_S)
    return 0


def bug_in_main(k: Kernel, _context: LaunchContext) -> Steps[int]:
    """A server that raises, with a thread still there."""
    yield k.thread(stays_forever)
    return (yield from child_with_bug(k))


def not_steps(_k: Kernel, _context: LaunchContext) -> None:
    """No generator."""


def child_with_bug_as_body(k: Kernel, _listener: Listener) -> Steps[int]:
    """A body that raises."""
    return (yield from child_with_bug(k))
