"""Cgroups: which hierarchies and controllers are there, which the caller may use, and is there systemd."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop_hookspecs.availability import Answer
from orlop_hookspecs.errors import OrlopError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_linux.kernel.cgroups.hierarchies import Hierarchy
    from orlop_linux.kernel.kernel import LinuxKernel

_PREFIX = "controller."
_V1 = {
    "cpu": ("cpu",), "cpuset": ("cpuset",), "memory": ("memory",), "pids": ("pids",), "io": ("blkio",),
    "hugetlb": ("hugetlb",), "network": ("net_cls", "net_prio"), "devices": ("devices",), "rdma": ("rdma",),
}  # fmt: skip
"""Controllers of version 1 by capability (kernel doc, admin-guide/cgroup-v1)."""

_SYSTEMD = "/run/systemd/system"
"""It exists where systemd is the init (sd_booted(3))."""

_DELEGATE = "let an administrator delegate it to the caller (systemd: Delegate=yes)"


def answers(kernel: LinuxKernel, names: Sequence[str]) -> dict[str, Answer]:
    """Answer about cgroups."""
    found: dict[str, Answer] = {}
    wanted = [name for name in names if name.startswith(("cgroups", _PREFIX))]
    hierarchies = kernel.hierarchies() if wanted else []
    for name in wanted:
        if name in {"cgroups.systemd", "cgroups.systemdUser"}:
            found[name] = _systemd(user=name.endswith("User"))
        elif name.startswith(_PREFIX):
            found[name] = _controller(hierarchies, name.removeprefix(_PREFIX))
        else:
            found[name] = _hierarchy(hierarchies, name)
    return found


def _directories(one: Hierarchy) -> tuple[str, str]:
    """Return the directory of the caller's own cgroup, and that of the root of what is mounted."""
    return os.path.join(one.mount, *one.own), one.mount


def _writable(one: Hierarchy) -> str:
    """Return the directory below which the caller may make cgroups; empty when there is none."""
    for directory in _directories(one):
        if os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            return directory
    return ""


def _may_not(one: Hierarchy) -> Answer:
    return Answer(
        available=True,
        allowed=False,
        reason=f"the caller may not make cgroups below {_directories(one)[0]}",
        remedy=_DELEGATE,
    )


def _hierarchy(hierarchies: Sequence[Hierarchy], name: str) -> Answer:
    version = {"cgroups.v1": 1, "cgroups.v2": 2}.get(name, 0)
    there = [one for one in hierarchies if not one.named and version in {0, one.version}]
    if not there:
        what = f"no hierarchy of version {version}" if version else "no cgroup hierarchy"
        return Answer(available=False, reason=f"{what} is mounted", remedy="mount one, see cgroups(7)")
    return Answer(available=True) if any(map(_writable, there)) else _may_not(there[0])


def _controller(hierarchies: Sequence[Hierarchy], name: str) -> Answer:
    for wanted in _V1[name]:
        for one in hierarchies:
            if one.version == 1 and wanted in one.controllers:
                return Answer(available=True) if _writable(one) else _may_not(one)
    for one in hierarchies:
        if one.version == 2 and name in _unified(one.mount):
            directory = _writable(one)
            if directory and name in _unified(directory):
                return Answer(available=True)
            reason = f"the controller {name} has not been delegated to the caller's cgroup"
            return Answer(available=True, allowed=False, reason=reason, remedy=_DELEGATE)
    if name == "devices" and (unified := [one for one in hierarchies if one.version == 2]):
        # Version 2 has programs in place of a controller (kernel doc, cgroup-v2, Device controller).
        if os.geteuid() == 0 and _writable(unified[0]):
            return Answer(available=True)
        reason = "only root may load programs that decide about devices"
        return Answer(
            available=True, allowed=False, reason=reason, remedy="run as root, or leave out the rules"
        )
    return _absent(name)


def _unified(directory: str) -> list[str]:
    try:
        with open(f"{directory}/cgroup.controllers", encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _absent(name: str) -> Answer:
    """Return why no mounted hierarchy has the controller (/proc/cgroups, cgroups(7))."""
    try:
        with open("/proc/cgroups", encoding="ascii") as file:
            rows = [line.split() for line in file if not line.startswith("#")]
    except OSError:
        rows = []
    states = {row[0]: row[-1] for row in rows if row}
    for one in _V1[name]:
        if states.get(one) == "1":
            return Answer(
                available=False,
                reason=f"the kernel has the controller {one}, but no hierarchy with it is mounted",
                remedy="mount one with it (cgroups(7))",
            )
        if states.get(one) == "0":
            reason = f"the controller {one} was disabled when the kernel was booted"
            return Answer(
                available=False, reason=reason, remedy="remove it from cgroup_disable= and boot again"
            )
    missing = " and ".join(_V1[name])
    reason = f"the kernel was built without the controller {missing}"
    return Answer(available=False, reason=reason, remedy="use a kernel with it, or leave out its limits")


def _systemd(*, user: bool) -> Answer:
    if not os.path.isdir(_SYSTEMD):
        return Answer(
            available=False,
            reason="systemd is not the init of this host",
            remedy="let orlop make the cgroups itself: leave out --systemd-cgroup",
        )
    from orlop_linux.kernel.systemd.manager import Manager

    whose = "user's" if user else "system's"
    try:
        Manager(user=user).close()
    except (OrlopError, OSError) as error:
        return Answer(
            available=not user,
            allowed=False,
            reason=f"the {whose} systemd cannot be reached: {error}",
            remedy="log in so that a session of the user is there, or install dbus"
            if user
            else "install dbus",
        )
    if not user and os.geteuid() != 0:
        return Answer(
            available=True,
            allowed=False,
            reason="only root may let the system's systemd make scopes",
            remedy="use the user's systemd",
        )
    return Answer(available=True)
