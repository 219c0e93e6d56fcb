"""Whether the host has a security module that works (Documentation/admin-guide/LSM of the kernel)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_linux.init.syscalls import statfs_type
from orlop_linux.kernel.refusal import refuse

if TYPE_CHECKING:
    from orlop_hookspecs.steps.security import RequireSecurityModule

SELINUX_MAGIC = 0xF97CFF8C
"""Magic number of selinuxfs (linux/magic.h)."""


def require(step: RequireSecurityModule, plugin: str, *, sysfs: str = "/sys", procfs: str = "/proc") -> None:
    """Execute RequireSecurityModule.

    Raises:
        StepError: The module is not there or does not work.
    """
    why = apparmor_trouble(sysfs) if step.module == "apparmor" else selinux_trouble(sysfs, procfs)
    if why:
        name = step.because.rpartition("/")[2]
        raise refuse(step, plugin, why, hint=f"leave out {name} on this host", number=errno.EOPNOTSUPP)


def apparmor_trouble(sysfs: str) -> str:
    """Return why AppArmor does not work here."""
    try:
        with open(f"{sysfs}/module/apparmor/parameters/enabled", "rb") as file:
            return "" if file.read(2).strip() == b"Y" else "AppArmor is not enabled on this host"
    except OSError:
        return "this host has no AppArmor"


def selinux_trouble(sysfs: str, procfs: str) -> str:
    """Return why SELinux does not work here; without a policy every process has the context ``kernel``."""
    try:
        fd = os.open(f"{sysfs}/fs/selinux", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return "this host has no SELinux"
    try:
        mounted = statfs_type(fd) == SELINUX_MAGIC
    finally:
        os.close(fd)
    if not mounted:
        return "this host has no SELinux: its file system is not mounted"
    try:
        with open(f"{procfs}/thread-self/attr/current", "rb") as file:
            context = file.read(4096).rstrip(b"\n\0")
    except OSError:
        context = b""
    return "" if context not in {b"", b"kernel"} else "SELinux has no policy on this host"
