"""A made-up cost profile for tests of whole runs, so that none of them waits for the probe."""

from __future__ import annotations

from dataclasses import fields

from mpmlab.core.platform import Costs, Platform
from mpmlab.core.platform_file import provenance, write_platform
from mpmlab.real.probe import profile_path


def use_made_up_profile() -> None:
    """Put a profile where this user's cache, as the environment names it, keeps this machine's."""
    told = provenance("made up for a test", "2026-07-23")
    names = [field.name for kind in (Costs, Platform) for field in fields(kind)]
    others = ("name", "costs", "sources", "intervals")
    sources = {name: told for name in names if name not in others}
    costs = Costs(request_us=250, connection_us=60, recv_us=5, send_us=8, accept_us=10)
    platform = Platform(
        "made up", costs, gil=True, process_memory_kib=6000, thread_memory_kib=40, sources=sources
    )
    write_platform(platform, profile_path())
