"""Callers without privileges: what they need, and what the host may deny them (user_namespaces(7))."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import syscalls
from orlop_linux.init.identity import NUMBER

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep

_ALL_IDS = ["0", "0", "4294967295"]
_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", b"0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", b"0"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "kernel.apparmor_restrict_unprivileged_userns",
        b"1",
    ),
)
"""File and name of each kernel parameter by which a host denies user namespaces, and the value that does."""


def may_mount() -> bool:
    """Tell whether the caller may mount in its own mount namespace: it has CAP_SYS_ADMIN."""
    effective, _, _ = syscalls.capget()
    return bool(effective >> NUMBER["CAP_SYS_ADMIN"] & 1)


def may_make_nodes() -> bool:
    """Tell whether the caller may make device nodes: it has CAP_MKNOD, and not in a mere user namespace."""
    effective, _, _ = syscalls.capget()
    return bool(effective >> NUMBER["CAP_MKNOD"] & 1) and not in_user_namespace()


def in_user_namespace() -> bool:
    """Tell whether the caller's user namespace is not the initial one, by its id map."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != _ALL_IDS
    except FileNotFoundError:
        return False


def birth_hint(number: int, namespaces: Collection[str]) -> str:
    """Return what helps when the kernel refused to make a process in *namespaces* with errno *number*."""
    if number == errno.ENOMEM and "pid" in namespaces:
        return "no process can be made in a pid namespace whose first process has ended"
    if number not in {errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS}:
        return ""
    return _denied(number, namespaces)


def _denied(number: int, namespaces: Collection[str]) -> str:
    if "user" not in namespaces:
        return (
            ""
            if may_mount()
            else "without privileges a container needs a user namespace: add one to linux.namespaces, with "
            "uidMappings and gidMappings, as `orlop spec --rootless` does"
        )
    denied = _switch()
    if denied:
        return f"the host denies user namespaces: {denied}"
    if number in {errno.ENOSPC, errno.EUSERS}:
        return "there are as many namespaces as the host allows, or 32 user namespaces inside each other"
    return "the host denies user namespaces, or the caller's root directory has been changed by chroot(2)"


def _switch() -> str:
    """Return the kernel parameter that denies user namespaces, with its value; empty if none does."""
    for path, name, value in _SWITCHES:
        try:
            with open(path, "rb") as file:
                found = file.read(64).strip()
        except OSError:
            continue  # the kernel does not have it
        if found == value:
            return f"{name} is {value.decode()}"
    return ""


def refuse_groups(pid: int, execute: Sequence[PlannedStep]) -> None:
    """Refuse supplementary groups where the container's user namespace denies setgroups(2).

    It does so when an unprivileged caller has written its group map itself (user_namespaces(7)).

    Raises:
        StepError: They were asked for.
    """
    for planned in execute:
        step: Any = planned.step
        if type(step).__name__ != "SetUser" or not step.groups:
            continue
        try:
            with open(f"/proc/{pid}/setgroups", "rb") as file:
                denied = file.read(16).strip() == b"deny"
        except FileNotFoundError:
            return  # the process has ended, or the kernel has no such file
        if denied:
            raise StepError(
                f"cannot set additional groups in this user namespace: {os.strerror(errno.EPERM).lower()}",
                pointer=f"{step.because}/additionalGids",
                plugin=planned.plugin,
                value=list(step.groups[:10]),
                errno=errno.EPERM,
                hint="only where newgidmap(1) writes linux.gidMappings, from ranges in /etc/subgid",
            )
