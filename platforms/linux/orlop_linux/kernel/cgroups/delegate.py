"""Give the container's cgroup to the user that runs in it (config-linux.md, Cgroup ownership)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FALLBACK = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
"""What is delegated where the kernel does not say it."""

LIST = "/sys/kernel/cgroup/delegate"


def delegated_files() -> Sequence[str]:
    """Return the files whose owner cannot raise the limits of the cgroup through them (cgroups(7))."""
    try:
        with open(LIST, encoding="ascii") as file:
            names = file.read().split()
    except FileNotFoundError:
        return FALLBACK
    return [name for name in names if "/" not in name and name not in {".", ".."}]


def host_id(pid: int, number: int) -> int | None:
    """Return the caller's id for user *number* of the user namespace that process *pid* is in.

    ``None``: it has none. Source: user_namespaces(7), uid_map.
    """
    with open(f"/proc/{pid}/uid_map", encoding="ascii") as file:
        for line in file:
            inside, outside, count = map(int, line.split())
            if inside <= number < inside + count:
                return outside + number - inside
    return None


def give(directory: int, owner: int) -> None:
    """Make *owner* the owner of an open cgroup and of its delegated files, as far as these exist.

    Raises:
        OSError: The kernel refused.
    """
    os.fchown(directory, owner, -1)
    for name in delegated_files():
        try:
            os.chown(name, owner, -1, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
