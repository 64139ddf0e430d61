"""The simulated world: the kernel interface as events on SimPy, at a platform's costs."""

from mpmlab.sim.clock import Livelock
from mpmlab.sim.world import Deadlock, World, run_function

__all__ = ["Deadlock", "Livelock", "World", "run_function"]
