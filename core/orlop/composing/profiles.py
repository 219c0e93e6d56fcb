"""Profiles: sets of plugins for a purpose, shipped as data."""

from __future__ import annotations

import os
from typing import Any

from orlop_hookspecs.errors import UsageError

_DIRECTORY = f"{os.path.dirname(os.path.abspath(__file__))}/profiles"


def names() -> list[str]:
    """Return the names of the profiles, sorted."""
    return sorted(name.removesuffix(".toml") for name in os.listdir(_DIRECTORY) if name.endswith(".toml"))


def plugins_of(profile: str) -> list[str]:
    """Return the plugins of *profile*, in the order in which it lists them.

    Raises:
        UsageError: There is no such profile.
    """
    known = names()
    if profile not in known:
        raise UsageError("no such profile", value=profile, hint=f"there are: {', '.join(known)}")
    import tomllib

    with open(f"{_DIRECTORY}/{profile}.toml", "rb") as file:
        data: dict[str, Any] = tomllib.load(file)
    return list(data["plugins"])
