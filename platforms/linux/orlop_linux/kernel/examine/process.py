"""What is asked for a process: ids, clocks, memory policy, network devices, limits, a terminal."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from orlop_hookspecs.availability import Answer
from orlop_linux.init import syscalls
from orlop_linux.init.identity import NUMBER
from orlop_linux.kernel.unprivileged import in_user_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop_linux.kernel.kernel import LinuxKernel

_RANGES = ("/etc/subuid", "/etc/subgid")


def answers(kernel: LinuxKernel, names: Sequence[str]) -> dict[str, Answer]:  # noqa: ARG001 - as the other rooms
    """Answer about the process."""
    return {name: ask() for name, ask in _ASKED.items() if name in names}


def _has(capability: str) -> bool:
    effective, _, _ = syscalls.capget()
    return bool(effective >> NUMBER[capability] & 1)


def _ids() -> Answer:
    if _has("CAP_SETUID") and _has("CAP_SETGID") and not in_user_namespace():
        return Answer(available=True)
    missing = [helper for helper in ("newuidmap", "newgidmap") if shutil.which(helper) is None]
    if missing:
        reason = f"only the caller's own id can be mapped: {' and '.join(missing)} is not installed"
        return Answer(available=True, reason=reason, remedy="install the package uidmap")
    unlisted = [file for file in _RANGES if not _is_listed(file)]
    if unlisted:
        reason = (
            f"only the caller's own id can be mapped: the caller has no range in {' and '.join(unlisted)}"
        )
        return Answer(
            available=True, reason=reason, remedy="let an administrator add ranges (usermod(8), -v, -w)"
        )
    return Answer(available=True, reason="the ranges in /etc/subuid and /etc/subgid")


def _is_listed(file: str) -> bool:
    """Tell whether the caller has a range in *file*, by name or number (subuid(5))."""
    import pwd

    uid = os.geteuid()
    try:
        owners = {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        owners = {str(uid)}
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as lines:
            return any(line.partition(":")[0] in owners for line in lines)
    except OSError:
        return False


def _clocks() -> Answer:
    if os.path.exists("/proc/self/timens_offsets"):
        return Answer(available=True)
    return Answer(
        available=False, reason="the kernel has no time namespaces", remedy="use Linux 5.6 or newer"
    )


def _memory_policy() -> Answer:
    try:
        syscalls.get_mempolicy()
    except OSError as error:
        if error.errno == errno.ENOSYS:
            reason = "the kernel knows no memory nodes (CONFIG_NUMA)"
            return Answer(available=False, reason=reason, remedy="use a kernel that does")
        return Answer(
            available=True,
            allowed=False,
            reason=f"get_mempolicy(2) is refused: {os.strerror(error.errno or 0).lower()}",
            remedy="allow the calls in the filter that the caller runs under",
        )
    return Answer(available=True)


def _net_devices() -> Answer:
    if _has("CAP_NET_ADMIN") and not in_user_namespace():
        return Answer(available=True)
    reason = "the caller lacks CAP_NET_ADMIN in the user namespace that owns the devices"
    return Answer(available=True, allowed=False, reason=reason, remedy="run as root")


def _limits() -> Answer:
    if _has("CAP_SYS_RESOURCE"):
        return Answer(available=True)
    reason = "up to the caller's own hard limits: CAP_SYS_RESOURCE is lacking"
    return Answer(available=True, reason=reason, remedy="raise the caller's limits (limits.conf(5))")


def _terminal() -> Answer:
    if os.path.exists("/dev/ptmx"):
        return Answer(available=True)
    reason = "the host has no pseudoterminals: /dev/ptmx is missing"
    return Answer(available=False, reason=reason, remedy="mount a devpts file system at /dev/pts (pts(4))")


_ASKED: dict[str, Callable[[], Answer]] = {
    "user.ids": _ids,
    "time.offsets": _clocks,
    "memoryPolicy": _memory_policy,
    "netDevices": _net_devices,
    "rlimits": _limits,
    "terminal": _terminal,
}
