"""Limits, user and capabilities of the process: what it may do from now on."""

from __future__ import annotations

import errno
import os
import resource

from orlop_linux.init import execute, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""Capability names of capabilities(7); the index is the kernel's number."""

NUMBER = {name: number for number, name in enumerate(CAPABILITIES)}
_LAST = 63
_INFINITY = (1 << 64) - 1

RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
"""Limit names of getrlimit(2) with the numbers of the common architectures."""


def _signed(value: int) -> int:
    """Return *value* as the C library's signed type takes it; the largest one is infinity, -1."""
    return value - (1 << 64) if value >= 1 << 63 else value


def set_rlimits(_context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetRlimits."""
    for name, soft, hard in fields["limits"]:
        try:
            resource.setrlimit(RLIMITS[name], (_signed(soft), _signed(hard)))
        except ValueError:
            # The module turns EINVAL and a raised hard limit into ValueError.
            raise OSError(errno.EPERM, "") from None


def set_umask(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetUmask: it takes effect when nothing of ours is made any more."""
    context.umask = fields["umask"]


def set_no_new_privileges(_context: Context, _fields: dict[str, Any], _index: int) -> None:
    """Execute SetNoNewPrivileges."""
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def _chown_stdio(uid: int) -> None:
    """Give the user its pipes and sockets, so that /dev/stdout can be reopened.

    Files and devices stay who they belong to: the host's /dev/null above all.
    """
    for fd in (0, 1, 2):
        try:
            mode = os.fstat(fd).st_mode
            if mode & 0o170000 in (0o010000, 0o140000):  # S_IFIFO, S_IFSOCK
                os.fchown(fd, uid, -1)
        except OSError:
            continue  # closed, or not ours to give: an owner outside the user namespace


def set_user(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetUser, keeping the permitted capabilities; root still enters the working directory."""
    execute.enter_early(context)
    if fields["uid"]:
        _chown_stdio(fields["uid"])
    try:
        if not context.keep_groups:
            os.setgroups(fields["groups"])
    except PermissionError:
        # Where setgroups is denied there is nothing to drop either; groups that were asked for are an error.
        if fields["groups"]:
            raise
    os.setresgid(fields["gid"], fields["gid"], fields["gid"])
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setresuid(fields["uid"], fields["uid"], fields["uid"])
    # A change of credentials resets the flag, see prctl(2).
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _mask(names: list[str]) -> int:
    """Return the capabilities of *names*; of those that there are not, the host has warned."""
    return sum(1 << NUMBER[name] for name in set(names) if name in NUMBER)


def _bounding() -> int:
    """Return our bounding set."""
    found = 0
    for number in range(_LAST):
        try:
            found |= syscalls.prctl(syscalls.PR_CAPBSET_READ, number) << number
        except OSError as error:
            if error.errno == errno.EINVAL:
                break  # the kernel knows no higher number
            raise
    return found


def set_capabilities(_context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute SetCapabilities: what the process does not have cannot be given and is left out."""
    _, had, inherited = syscalls.capget()
    limit = _bounding()
    bounding = _mask(fields["bounding"])
    permitted = _mask(fields["permitted"]) & had
    effective = _mask(fields["effective"]) & permitted
    # Before the bounding set shrinks: it limits what the inheritable one can get, not what it has.
    inheritable = _mask(fields["inheritable"]) & had & (limit | inherited)
    syscalls.capset(had, had, inheritable)
    for number in range(_LAST):
        if limit & ~bounding & 1 << number:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.capset(effective, permitted, inheritable)
    for name in fields["ambient"]:
        if permitted & inheritable & _mask([name]):
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, NUMBER[name])
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


OPS = {
    "SetRlimits": set_rlimits,
    "SetUmask": set_umask,
    "SetNoNewPrivileges": set_no_new_privileges,
    "SetUser": set_user,
    "SetCapabilities": set_capabilities,
}
