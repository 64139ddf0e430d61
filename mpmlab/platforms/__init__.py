"""Shipped platform profiles (*.toml), and the functions that find them. No measuring here."""

from __future__ import annotations

from importlib import resources

from mpmlab.core.platform import Platform
from mpmlab.core.platform_file import parse_platform


def shipped_names() -> list[str]:
    """The names of the profiles that come with mpmlab."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def shipped(name: str) -> Platform:
    """The profile of that name. ValueError, naming those that there are, if there is none."""
    if name not in shipped_names():
        raise ValueError(f"no platform {name!r}; shipped: {', '.join(shipped_names())}")
    file = resources.files(__name__) / f"{name}.toml"
    return parse_platform(file.read_text(encoding="utf-8"), str(file))
