"""What machine this is: the facts that make measurements comparable, and a key made of them.

Only reading of facts lives here, nothing is measured (probe.py measures). No host name and no user
name: a fingerprint may be published with the results.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Final

_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_DMI: Final = Path("/sys/class/dmi/id")
_KEY_DIGITS: Final = 16


def fingerprint() -> dict[str, str | int | bool]:
    """The machine and the interpreter. Texts are "" where the system does not tell.

    `cpu` model, `cores` that this process may use, `memory_gib` (rounded), `system` and `kernel`
    release, `governor` of the first core, `virtualisation` as far as the system shows it,
    `python` version and build, `compiler`, `optimised` (an interpreter built with PGO and LTO may
    be a third faster), `gil` in force, `switch_interval_us` of it."""
    return {
        "cpu": _cpu_model(),
        "cores": len(usable_cores()),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "governor": _first_line(_GOVERNOR),
        "virtualisation": _virtualisation(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "optimised": "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS") or ""),
        "gil": gil_enabled(),
        "switch_interval_us": round(sys.getswitchinterval() * 1e6),
    }


def fingerprint_key(facts: dict[str, str | int | bool] | None = None) -> str:
    """16 hexadecimal digits that stand for a fingerprint (this machine's by default): equal for
    equal facts, whatever their order."""
    text = json.dumps(fingerprint() if facts is None else facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may run on, in order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def gil_enabled() -> bool:
    """Whether a global interpreter lock is in force (a free-threaded build can run without)."""
    ask = getattr(sys, "_is_gil_enabled", None)  # since Python 3.13
    return True if ask is None else bool(ask())


def _cpu_model() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "cpu model"):
            return value.strip()
    return platform.processor()


def _virtualisation() -> str:
    """ "none seen", or what the firmware and the processor's flags say of a hypervisor."""
    vendor = " ".join(
        filter(None, (_first_line(_DMI / "sys_vendor"), _first_line(_DMI / "product_name")))
    )
    flags = next((line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("flags")), "")
    if "hypervisor" in flags.split():
        return f"virtual machine ({vendor})" if vendor else "virtual machine"
    return "none seen"


def _first_line(path: Path) -> str:
    return next(iter(_lines(path)), "").strip()


def _lines(path: Path) -> list[str]:
    """A small file of the system's, or nothing where there is none or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
