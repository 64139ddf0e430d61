"""The cost profile of this machine, for the simulation. Nothing but where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Collection

from mpmlab.core.platform import Platform
from mpmlab.real.probe import local_platform


def profile_for(
    engines: Collection[str],
    refresh: bool,
    phase: Callable[[str], None],
    advance: Callable[[float], None],
) -> Platform:
    """The profile that the engines need: measured on first use (or with `refresh`), then from the
    user's cache folder. A real run alone needs no costs: the plain defaults."""
    if "sim" not in engines:
        return Platform(name="not needed")
    phase("cost profile of this machine")
    return local_platform(refresh=refresh, progress=advance)
