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
    why = trouble(step.module, sysfs, procfs)
    if why:
        name = step.because.rpartition("/")[2]
        raise refuse(step, plugin, why, hint=f"leave out {name} on this host", number=errno.EOPNOTSUPP)


def trouble(module: str, sysfs: str = "/sys", procfs: str = "/proc") -> str:
    """Return why a security module does not work here; empty when it does."""
    return apparmor_trouble(sysfs) if module == "apparmor" else selinux_trouble(sysfs, procfs)


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


def shown_label(module: str, label: str, *, sysfs: str = "/sys") -> str:
    """Return how the kernel writes a profile or context that a config has.

    A policy may have several names for one type, and brings categories into an order; a profile of another
    namespace is ``:namespace:name`` and ``:namespace://name`` (apparmor(7)).
    """
    if module == "apparmor":
        namespace, colon, name = label[1:].partition(":")
        return f":{namespace}://{name.removeprefix('//')}" if label[:1] == ":" and colon else label
    try:
        fd = os.open(f"{sysfs}/fs/selinux/context", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(fd, os.fsencode(label))
            return os.fsdecode(os.read(fd, 4096)).rstrip("\0")
        finally:
            os.close(fd)
    except OSError:
        return label  # no policy has it: nobody has it either
