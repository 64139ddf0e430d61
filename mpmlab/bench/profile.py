"""The cost profiles of this machine, for the simulation: the probed one, and those calibrated for
an engine and an MPM, where there are any.

Where they come from and are kept; what is in them is the affair of real/probe.py and
calibration.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mpmlab.core.platform import Platform
from mpmlab.core.platform_file import PlatformFileError, read_platform
from mpmlab.mpms.catalog import CATALOG
from mpmlab.real.machine import fingerprint_key
from mpmlab.real.probe import code_key, local_platform, profile_path

#: A calibrated profile holds for the code that it was fitted with: the simulation's, too.
_CODE: Final = ("core", "real", "sim", "mpms", "httpd")


@dataclass(frozen=True)
class Profiles:
    """What simulations are given: one calibrated for the MPM, or else the probed one. `engine`:
    what they were calibrated against."""

    probed: Platform
    engine: str = "real"
    by_mpm: Mapping[str, Platform] = field(default_factory=dict)

    def of(self, mpm: str) -> Platform:
        """The profile for simulations of that MPM."""
        return self.by_mpm.get(mpm, self.probed)

    def calibrated(self, mpm: str) -> bool:
        """Whether that was calibrated."""
        return mpm in self.by_mpm


def profile_for(
    engines: Collection[str],
    refresh: bool,
    phase: Callable[[str], None],
    advance: Callable[[float], None],
) -> Profiles:
    """The profiles that the engines need: the probed one measured on first use (or with `refresh`),
    then from the user's cache folder, as are those that were calibrated: against Apache httpd if
    that is run and our own servers are not. Real runs alone need no costs: the plain defaults."""
    if "sim" not in engines:
        return Profiles(Platform(name="not needed"))
    phase("cost profile of this machine")
    probed = local_platform(refresh=refresh, progress=advance)
    engine = "httpd" if "httpd" in engines and "real" not in engines else "real"
    found = {}
    for mpm in CATALOG:
        # Not there, or of another version: the probed one stands in.
        with contextlib.suppress(OSError, PlatformFileError):
            found[mpm] = read_platform(calibrated_path(engine, mpm))
    return Profiles(probed, engine, found)


def calibrated_path(engine: str, mpm: str) -> Path:
    """Where the profile is kept that was calibrated for them on this machine, with this code."""
    key = f"{fingerprint_key()}-{code_key(_CODE)}"
    return profile_path().parent.parent / "calibrated" / f"{key}-{engine}-{mpm}.toml"
