"""What each operation costs on one machine: a platform's microseconds as seconds, step included.

Arithmetic on a Platform's values only; who charges them is thread.py and kernel.py.
"""

from __future__ import annotations

from typing import Final

from mpmlab.core.platform import Platform

US: Final = 1e-6

#: CPU debt that a thread carries on before it is paid as a burst. Smaller debts are added to the
#: next one: no time is lost or made up, only moved by at most this much. It saves about two events
#: per request. 0 pays every debt before its operation takes effect.
DEBT_CARRY_S: Final = 5e-6


#: Computing of the application after which a core is as cold as it gets: what the probe measures at
#: (real/probe_whole.py BURN_US).
BURNED_US: Final = 1000.0


class CostTable:
    """Seconds per operation. Those of waits include the interpreter's step; those charged after the
    fact (reap, connection, close, ...) do not."""

    __slots__ = (
        "accept",
        "arm",
        "child_start",
        "close",
        "cold",
        "cold_rate",
        "connect",
        "connection",
        "fork",
        "get",
        "idle",
        "lock",
        "poll",
        "put",
        "reap",
        "recv",
        "recv_per_byte",
        "request",
        "send",
        "send_per_byte",
        "signal",
        "stale",
        "step",
        "switch",
        "thread",
        "thread_switch",
        "timer_slack",
    )  # fmt: skip

    def __init__(self, platform: Platform) -> None:
        costs = platform.costs
        step_us = costs.step_us
        self.step = step_us * US
        self.fork = (costs.fork_us + step_us) * US
        self.thread = (costs.thread_us + step_us) * US
        self.lock = (costs.lock_us + step_us) * US
        self.put = (costs.put_us + step_us) * US
        self.get = (costs.get_us + step_us) * US
        self.accept = (costs.accept_us + step_us) * US
        self.recv = (costs.recv_us + step_us) * US
        self.send = (costs.send_us + step_us) * US
        self.connect = (costs.connect_us + step_us) * US
        self.poll = (costs.poll_us + step_us) * US
        self.request = (costs.request_us + step_us) * US
        self.recv_per_byte = costs.recv_per_kb_us * US / 1024
        self.send_per_byte = costs.send_per_kb_us * US / 1024
        self.child_start = costs.child_start_us * US
        self.reap = costs.exit_us * US
        self.switch = costs.switch_us * US
        self.thread_switch = costs.thread_switch_us * US
        self.stale = costs.stale_us * US
        self.idle = costs.idle_us * US
        self.cold = costs.cold_us * US
        self.cold_rate = costs.cold_us / BURNED_US
        self.connection = costs.connection_us * US
        self.close = costs.close_us * US
        self.arm = costs.arm_us * US
        self.signal = costs.signal_us * US
        self.timer_slack = platform.timer_slack_us * US
