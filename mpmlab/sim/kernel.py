"""SimKernel: the operations of kernel/interface.py in the simulated world, one kernel per thread.

Here an operation is traced and charged; what it does is in its attempt (process.py, sync.py,
listener.py, network.py, poller.py), how a thread pays and waits in thread.py. Each operation reads
alike: note it, add its cost to what the thread owes, and either pay first or attempt at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from mpmlab.core.count_wire import counted
from mpmlab.kernel.interface import Dial, KernelError, Signal, Steps
from mpmlab.sim.clock import LIVELOCK_LIMIT
from mpmlab.sim.costs import US
from mpmlab.sim.listener import SimListener, try_accept, try_connect
from mpmlab.sim.network import SimConn, try_recv, try_send
from mpmlab.sim.poller import SimPoller, Source, try_poll
from mpmlab.sim.process import NUMBERS, try_wait
from mpmlab.sim.sync import SimMutex, SimQueue, try_get, try_lock, try_put
from mpmlab.sim.thread import PARKED, SimThread
from mpmlab.sim.trace import (
    ACCEPT,
    CLOSE,
    CONNECT,
    FORK,
    GET,
    KILL,
    LOCK,
    POLL,
    PUT,
    RECV,
    SEND,
    SLEEP,
    THREAD,
    WAIT,
    WORK,
)

if TYPE_CHECKING:
    from mpmlab.sim.process import SimProcess


class _Asleep:
    """Where a thread waits that waits for time to pass."""

    def __repr__(self) -> str:
        return "its alarm"

    def forget(self, thread: SimThread) -> None:
        thread.drop_alarm()


ASLEEP: Final = _Asleep()


class SimKernel(SimThread):
    """The kernel as one simulated thread sees it. Contracts: kernel/interface.py."""

    __slots__ = ("_codes", "_times")

    def __init__(self, process: SimProcess, tid: int) -> None:
        super().__init__(process, tid)
        record = process.machine.world.trace
        self._times = record.times
        self._codes = record.codes

    def _note(self, kind: int) -> None:
        """Trace a plain call."""
        times = self._times
        times.append(self.clock._now)
        self._codes.append(self.tag + kind)
        if len(times) >= LIVELOCK_LIMIT:
            self.process.machine.world.trace.roll()

    def _perform(self, kind: int, attempt: Callable[[Any], bool], cost_s: float) -> Any:
        """Trace the operation; pay what is due, then attempt, or attempt at once if that is little.
        The operands are in x, y and timeout_s."""
        times = self._times
        times.append(self.clock._now)
        self._codes.append(self.tag + kind)
        if len(times) >= LIVELOCK_LIMIT:
            self.process.machine.world.trace.roll()
        owed = self.owed + cost_s
        if owed >= self.carry or (self.gil is not None and self.gil.wanted):
            return self.pay(attempt, owed)
        self.owed = owed
        self.attempt = attempt
        return self.done if attempt(self) else PARKED

    # ---- processes and threads -----------------------------------------------------------------

    def fork(self, fn: Callable[..., Steps[int]], *args: Any) -> Any:
        world = self.process.machine.world
        world.check_fork(fn, args)
        if len(self.process.threads) != 1:
            raise KernelError(
                f"fork needs a process with one thread; process {self.process.pid} has "
                f"{len(self.process.threads)}"
            )
        self.x = fn
        self.y = args
        return self._perform(FORK, _try_fork, self.cost.fork)

    def thread(self, fn: Callable[..., Steps[Any]], *args: Any) -> Any:
        self.x = fn
        self.y = args
        return self._perform(THREAD, _try_thread, self.cost.thread)

    def wait(self, timeout_s: float | None) -> Any:
        if not self.is_main:
            raise KernelError("only the main thread waits for children")
        self.timeout_s = timeout_s
        return self._perform(WAIT, try_wait, self.cost.step)

    # ---- time and the application --------------------------------------------------------------

    def sleep(self, seconds: float) -> Any:
        self.x = seconds
        return self._perform(SLEEP, _try_sleep, self.cost.step)

    def work(self, demand: Any) -> Any:
        """One burst for the request, the application and the sending of the answer: the send that
        follows is paid already, and takes effect at once."""
        self.x = demand
        cost = self.cost
        self.prepaid = True
        return self._perform(
            WORK,
            _try_work,
            cost.request
            + demand.cpu_us * US
            + min(cost.cold, demand.cpu_us * cost.cold_rate * US)
            + cost.send
            + demand.response_bytes * cost.send_per_byte,
        )

    # ---- mutexes and queues --------------------------------------------------------------------

    def lock(self, mutex: SimMutex) -> Any:
        self.x = mutex
        return self._perform(LOCK, try_lock, self.cost.lock if mutex.shared else self.cost.step)

    def put(self, queue: SimQueue, item: Any) -> Any:
        self.x = queue
        self.y = item
        return self._perform(PUT, try_put, self.cost.put)

    def get(self, queue: SimQueue, timeout_s: float | None) -> Any:
        self.x = queue
        self.timeout_s = timeout_s
        return self._perform(GET, try_get, self.cost.get)

    # ---- network -------------------------------------------------------------------------------

    def accept(self, listener: SimListener, timeout_s: float | None) -> Any:
        self.x = listener
        self.timeout_s = timeout_s
        return self._perform(ACCEPT, try_accept, self.cost.accept)

    def poll(self, poller: SimPoller, timeout_s: float | None) -> Any:
        self.x = poller
        self.timeout_s = timeout_s
        return self._perform(POLL, try_poll, self.cost.poll)

    def recv(self, conn: SimConn, n: int, timeout_s: float | None) -> Any:
        self.x = conn
        self.y = n
        self.timeout_s = timeout_s
        return self._perform(RECV, try_recv, self.cost.recv)

    def send(self, conn: SimConn, data: Any, timeout_s: float | None) -> Any:
        self.x = conn
        self.y = data
        self.timeout_s = timeout_s
        cost_s = 0.0
        if self.prepaid:
            self.prepaid = False
        else:
            cost = self.cost
            size = len(data)
            room = conn.space()
            cost_s = cost.send + (size if size < room else room) * cost.send_per_byte
        return self._perform(SEND, try_send, cost_s)

    def connect(
        self, address: SimListener, timeout_s: float | None, dial: Dial | None = None
    ) -> Any:
        self.x = address
        self.y = dial
        self.timeout_s = timeout_s
        return self._perform(CONNECT, try_connect, self.cost.connect)

    # ---- plain calls ---------------------------------------------------------------------------

    def now(self) -> float:
        return self.clock._now

    def pid(self) -> int:
        return self.process.pid

    def signals(self) -> Sequence[Signal]:
        return self.process.pending

    def take_signals(self) -> Sequence[Signal]:
        taken = self.process.pending
        self.process.pending = []
        return taken

    def dies_of(self, signal: Signal) -> None:
        if signal is Signal.WINCH:
            raise KernelError("dies_of(WINCH): no process dies of WINCH by default")
        process = self.process
        process.deadly.append(signal)
        if signal in process.pending:
            process.die(-NUMBERS[signal], signal)

    def kill(self, pid: int, signal: Signal) -> bool:
        if self.dead:
            return False
        self.owed += self.cost.signal
        self._note(KILL)
        process = self.process
        if pid != process.pid and pid not in process.children:
            return False  # as the real kernel has it: a number may be somebody else's by now
        return process.machine.world.kill(pid, signal)

    def interrupt(self) -> None:
        self.process.interrupt_threads()

    def unlock(self, mutex: SimMutex) -> None:
        if not self.dead:
            mutex.release(self.process if mutex.shared else self)

    def close(self, handle: SimConn | SimListener | SimPoller, half: bool = False) -> None:
        if self.dead:
            return
        if isinstance(handle, SimConn):
            self._note(CLOSE)
            self.owed += self.cost.close
            if half:
                handle.half_close()
            else:
                handle.close()
        elif isinstance(handle, SimListener):
            process = self.process
            for poller in process.pollers_of(handle):
                poller.disarm(handle)
            process.close_listener(handle)
        else:
            handle.close()

    def arm(self, poller: SimPoller, source: Source, on: bool = True, write: bool = False) -> None:
        if self.dead:
            return
        self.owed += self.cost.arm
        if on:
            poller.arm(source, write)
        else:
            poller.disarm(source)

    def wake(self, poller: SimPoller) -> None:
        self.owed += self.cost.arm
        poller.wake()

    def size(self, queue: SimQueue) -> int:
        return len(queue.items)

    def log(self, level: str, ident: str, text: str) -> None:
        self.process.machine.world.log_line(self.process.pid, level, ident, text)

    # ---- factories -----------------------------------------------------------------------------

    def queue(self, order: str = "fifo", shared: bool = False) -> SimQueue:
        return SimQueue(self.process.machine.world.name_of("queue"), order, shared)

    def mutex(self, shared: bool = False) -> SimMutex:
        world = self.process.machine.world
        made = SimMutex(world.name_of("mutex"), shared)
        world.mutexes.add(made)
        return made

    def poller(self) -> SimPoller:
        return SimPoller(self.process.machine.world.name_of("poller"), self.process)


def _try_fork(thread: SimKernel) -> bool:
    """The parent has paid for it: the child is there."""
    fn, args = thread.x, thread.y
    thread.x = thread.y = None
    process = thread.process
    child = process.machine.world.new_process(process.machine, process, fn.__name__)
    thread.done._value = None if child is None else child.pid
    if child is not None:
        main = child.main
        assert main is not None
        main.x = fn(main, *args)
        main.owed = main.cost.child_start
        if main.owed >= main.carry:
            main.pay(_begin, main.owed)  # before its first step is visible
        else:
            _begin(main)
    return True


def _begin(thread: SimKernel) -> bool:
    """The first step of a new process, once it has paid for its start. -> False: SimPy starts the
    generator, there is no result to resume it with."""
    generator = thread.x
    thread.x = None
    thread.start(generator)
    return False


def _try_thread(thread: SimKernel) -> bool:
    fn, args = thread.x, thread.y
    thread.x = thread.y = None
    process = thread.process
    tid = process.next_tid
    process.next_tid = tid + 1
    new = SimKernel(process, tid)
    process.threads[tid] = new
    process.machine.world.live_threads += 1
    new.start(fn(new, *args))
    thread.done._value = tid
    return True


def _try_sleep(thread: SimKernel) -> bool:
    if thread.is_main and thread.process.pending:
        thread.done._value = None
        return True
    thread.interruptible = thread.is_main
    thread.fallback = None
    thread.alarm(ASLEEP, max(0.0, thread.x))
    return False


def _try_work(thread: SimKernel) -> bool:
    """The CPU has been burnt: crash, answer, or wait and answer."""
    demand = thread.x
    if demand.crash:
        thread.process.die(-NUMBERS[Signal.SEGV], Signal.SEGV)
        return False
    body = counted(demand.response_bytes)
    if demand.wait_us > 0:
        thread.interruptible = False
        thread.fallback = body
        thread.alarm(ASLEEP, demand.wait_us * US + thread.cost.timer_slack)
        return False
    thread.done._value = body
    return True
