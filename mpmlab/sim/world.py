"""World: the simulation as a whole - machines, processes, what is done to them from outside.

It makes and keeps things and runs the clock; how threads compute, wait and communicate is in the
other files of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakSet

from mpmlab.core.log_line import LogLine
from mpmlab.core.platform import NEARLY_FREE, Platform
from mpmlab.kernel.interface import Dead, KernelError, Signal, Steps
from mpmlab.sim.clock import INF, Clock, Timer
from mpmlab.sim.costs import DEBT_CARRY_S
from mpmlab.sim.deadlines import Deadlines
from mpmlab.sim.frozen import check_frozen, check_function
from mpmlab.sim.kernel import SimKernel
from mpmlab.sim.listener import SimListener
from mpmlab.sim.machine import Machine
from mpmlab.sim.network import Network
from mpmlab.sim.process import SimProcess
from mpmlab.sim.sync import SimMutex
from mpmlab.sim.trace import Trace

#: Port of the first listener.
FIRST_PORT: Final = 8001
#: A client machine that is never the bottleneck.
AMPLE_CLIENT: Final = Platform(name="ample client", costs=NEARLY_FREE, cores=1_000_000)


class Deadlock(KernelError):  # noqa: N818 - the field's word for it
    """Nothing will ever happen again, and there are threads that wait."""


class World:
    """A server and a client machine, their link, and a clock that starts at 0.

    `server` gives the server's costs and cores and the link's latency, rate and buffers; `client`
    the client's costs and cores (nearly free by default). `seed` names the streams of faults;
    the kernel itself draws nothing. Without `trace` there is no digest. `debt_carry_s`: see
    sim/costs.py; 0 is exact."""

    def __init__(
        self,
        server: Platform,
        client: Platform | None = None,
        seed: int = 0,
        trace: bool = True,
        debt_carry_s: float = DEBT_CARRY_S,
    ) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.seed = seed
        self.debt_carry_s = debt_carry_s
        self.trace = Trace(trace)
        self.log: list[LogLine] = []
        self.network = Network(self.clock, server)
        self.machines: Mapping[str, Machine] = {
            "server": Machine(self, "server", server),
            "client": Machine(self, "client", client or AMPLE_CLIENT),
        }
        self.processes: dict[int, SimProcess] = {}  # alive, by pid
        self.deaths: dict[int, Dead] = {}  # how the others ended
        self.roots: dict[int, None] = {}  # pids that spawn() made
        self.live_threads = 0
        self._next_pid = 1
        self.mutexes: WeakSet[SimMutex] = WeakSet()
        self._names: dict[str, int] = {}
        self._listeners = 0
        self._samplers = 0  # timers of every() that are scheduled
        self._buried: list[Any] = []
        self._frozen: set[int] = set()
        self._frozen_kept: list[Any] = []
        self._until_exit: int | None = None

    # ---- setting up ----------------------------------------------------------------------------

    def listener(self, backlog: int) -> SimListener:
        """A bound, listening socket on the server, of which its root processes have copies. The
        platform's somaxconn bounds the backlog."""
        machine = self.machines["server"]
        platform = machine.platform
        port = FIRST_PORT + self._listeners
        self._listeners += 1
        made = SimListener(
            self.network, port, min(backlog, platform.somaxconn), platform.wake_policy
        )
        machine.listeners.append(made)
        for process in machine.processes.values():
            if process.parent is None:
                process.open_listener(made)
        return made

    def spawn(
        self, fn: Callable[..., Steps[Any]], *args: Any, machine: str = "server", name: str = ""
    ) -> int:
        """Start a process that nobody waits for: its main thread runs fn(k, *args). -> pid"""
        process = self.new_process(self.machines[machine], None, name or fn.__name__)
        if process is None:
            raise ValueError(f"the {machine}'s process limit does not allow one more process")
        self.roots[process.pid] = None
        main = process.main
        assert main is not None
        main.start(fn(main, *args))
        return process.pid

    def every(self, interval_s: float, fn: Callable[[float], object]) -> None:
        """Call fn(now) each interval from now on, as long as any thread lives."""

        def ring(_event: Timer) -> None:
            self._samplers -= 1
            if not self.live_threads:
                return
            fn(self.now)
            if self.clock.pending() == self._samplers:
                raise Deadlock(self._stuck())
            again(_event)

        def again(event: Timer) -> None:
            self._samplers += 1
            event.callbacks = callbacks
            self.clock.at(event, self.clock._now + interval_s)

        callbacks: list[Any] = [ring]
        again(Timer(callbacks, None))

    def at(self, time_s: float, fn: Callable[[float], object]) -> None:
        """Call fn(now) at that time."""
        if time_s < self.now:
            raise ValueError(f"at({time_s}): the clock stands at {self.now} s already")
        self.clock.at(Timer([lambda _event: fn(self.now)], None), time_s)

    # ---- running -------------------------------------------------------------------------------

    def run(self, until_s: float | None = None, until_exit: int | None = None) -> None:
        """Run until the clock reaches `until_s`, until that process has ended, or until no thread
        lives; whichever comes first. Raises Deadlock, Livelock, or what a generator raised."""
        if until_exit is not None and until_exit in self.deaths:
            return
        if until_exit is not None and until_exit not in self.processes:
            raise ValueError(f"run(until_exit={until_exit}): there is no such process")
        self._until_exit = until_exit
        limit_s = INF if until_s is None else until_s
        if self.clock.run_until(limit_s):
            return
        if self.live_threads:
            raise Deadlock(self._stuck())
        if until_s is not None:
            self.clock.stand_at(until_s)

    def kill(self, pid: int, signal: Signal) -> bool:
        """Send a signal, from outside or for a process. False if no such process lives."""
        process = self.processes.get(pid)
        if process is None:
            return False
        process.signal(signal)
        return True

    def _stuck(self) -> str:
        lines = []
        for process in self.processes.values():
            for thread in process.threads.values():
                what = repr(thread.where) if thread.where is not None else "nothing known"
                lines.append(f"  {thread.describe()} waits for {what}")
        return f"nothing can happen after {self.now} s:\n" + "\n".join(lines[:100])

    # ---- looking -------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds of simulated time."""
        return self.clock._now

    @property
    def events(self) -> int:
        """SimPy events processed by the runs that have ended."""
        return self.clock.events

    @property
    def digest(self) -> str:
        """Hash of every operation's time, process, thread and kind so far; "" without trace."""
        return self.trace.digest

    @property
    def listen_overflows(self) -> int:
        """SYNs that were dropped on a full backlog."""
        return self.network.overflows

    def exit_code(self, pid: int) -> int | None:
        """Its exit code, minus the number of the signal that killed it, or None while it lives."""
        dead = self.deaths.get(pid)
        return None if dead is None else dead.code

    def cpu_seconds(self, machine: str = "server") -> float:
        """CPU that a machine has consumed so far."""
        return self.machines[machine].cpu.used_s()

    def thread_count(self, machine: str = "server") -> int:
        """How many threads a machine's processes have now."""
        return self.machines[machine].thread_count()

    def memory_kib(self, machine: str = "server") -> float:
        """What the platform says that a machine's live processes, threads, connections take."""
        return self.machines[machine].memory_kib()

    # ---- for the kernels -----------------------------------------------------------------------

    def check_fork(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """TypeError unless these can be handed to a forked process."""
        check_function(fn)
        for i, arg in enumerate(args):
            known = len(self._frozen)
            check_frozen(arg, f"argument {i + 1} of {fn.__name__}", self._frozen)
            if len(self._frozen) != known:
                self._frozen_kept.append(arg)  # so that its id stays its own

    def new_process(
        self, machine: Machine, parent: SimProcess | None, name: str
    ) -> SimProcess | None:
        """A process with a main thread that has no generator yet; None at the process limit."""
        if len(machine.processes) >= machine.platform.process_limit:
            return None
        pid = self._next_pid
        self._next_pid += 1
        process = SimProcess(machine, pid, parent, name)
        self.processes[pid] = machine.processes[pid] = process
        if parent is not None:
            parent.children[pid] = process
        process.main = SimKernel(process, 0)
        process.threads[0] = process.main
        self.live_threads += 1
        return process

    def process_ended(self, process: SimProcess, dead: Dead) -> None:
        """A process has died; its parent has been told."""
        del self.processes[process.pid]
        del process.machine.processes[process.pid]
        self.deaths[process.pid] = dead
        if process.pid == self._until_exit:
            self.clock.stopping = True

    def bury(self, threads: dict[int, SimKernel]) -> None:
        """Keep dead threads' generators, so that nothing runs their `finally` blocks."""
        self.live_threads -= len(threads)
        self._buried.extend(thread.strand for thread in threads.values())

    def record(self, code: int) -> None:
        """Note something in the trace that no operation of a thread notes."""
        self.trace.times.append(self.clock._now)
        self.trace.codes.append(code)

    def log_line(self, pid: int, level: str, ident: str, text: str) -> None:
        """One line for the error log."""
        self.log.append(LogLine(self.now, pid, level, ident, text))

    def name_of(self, kind: str) -> str:
        """A name for a new handle: mutex 3."""
        number = self._names.get(kind, 0) + 1
        self._names[kind] = number
        return f"{kind} {number}"


def run_function(
    fn: Callable[..., Steps[Any]], *args: Any, platform: Platform | None = None
) -> Any:
    """What fn(k, *args) returns as the main thread of a process in a world of its own."""
    world = World(platform or Platform())
    result: list[Any] = []

    def main(k: SimKernel) -> Steps[int]:
        result.append((yield from fn(k, *args)))
        return 0

    pid = world.spawn(main, name=fn.__name__)
    world.run(until_exit=pid)
    if not result:
        raise RuntimeError(f"{fn.__name__} was killed by {world.deaths[pid].signal}")
    return result[0]
