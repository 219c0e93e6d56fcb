"""systemd in memory, as far as it makes cgroups: slices and transient scopes.

Source: systemd.slice(5), systemd.scope(5).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from orlop_fake.cgroups import Cgroup


class Unit:
    """A scope that runs: its cgroups, and how many components of their path systemd did not make for it."""

    __slots__ = ("groups", "kept", "name", "owner", "properties")

    def __init__(self, name: str, owner: str, properties: dict[str, Any]) -> None:
        """Make a unit without cgroups."""
        self.name = name
        self.owner = owner
        """The container for which it was made; empty: somebody else's."""
        self.properties = properties
        self.groups: list[Cgroup] = []
        self.kept: list[int] = []

    def __str__(self) -> str:
        """Return the unit as one line."""
        places = " ".join(f"{group.hierarchy.name or 'unified'}:{group.path}" for group in self.groups)
        return f"{self.name} {self.properties} {places}"


def slice_path(name: str) -> str:
    """Return the cgroup of a slice: each part of its name between dashes is a slice below the one before."""
    stem = name.removesuffix(".slice")
    words = stem.split("-")
    if stem == name or "/" in name or not all(words):
        if name == "-.slice":
            return ""
        raise refusal(errno.EINVAL, name, f"{name} is not a slice")
    return "".join(f"/{'-'.join(words[: count + 1])}.slice" for count in range(len(words)))


def scope_path(unit: str, slice_: str, uid: int) -> str:
    """Return the cgroup of the scope *unit*, of the system's manager or of the one of user *uid*."""
    if not unit.endswith(".scope") or "/" in unit or len(unit) > 255:
        raise refusal(errno.EINVAL, unit, f"{unit} is not a scope")
    above = f"/user.slice/user-{uid}.slice/user@{uid}.service" if uid else ""
    default = "user.slice" if uid else "system.slice"
    return f"{above}{slice_path(slice_ or default)}/{unit}"
