"""The stage: a short-lived process that enters namespaces on the child's behalf, then clones the child.

setns(2) of a pid or time namespace only takes effect for children, and a user namespace has to be there
before the namespaces that it shall own. So the order is: other namespaces while the caller's privileges still
count, the user namespace, what was refused before it, the clocks, and the clone.
"""

from __future__ import annotations

import errno
import os

from orlop_linux.init import child, failure, protocol, syscalls, traits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from typing import Any, NoReturn

CLOCKS = {"monotonic": 1, "boottime": 7}
"""Clock numbers of time_namespaces(7), as written to timens_offsets."""


def _join(joins: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Enter what can be entered; return what the kernel refused with EPERM."""
    refused = []
    for fd, nstype in joins:
        try:
            syscalls.setns(fd, nstype)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
            refused.append((fd, nstype))
    return refused


def _before_the_clone(birth: child.Birth) -> list[tuple[int, int]]:
    """Return the joins of the stage, without that of a user namespace.

    A cgroup2 that is mounted with nsdelegate, as systemd does, lets nobody leave the part that his cgroup
    namespace shows, nor clone a process out of it (cgroup_namespaces(7)). So a cgroup namespace is joined
    from within the container's cgroup: by the child, or, as the child may not when it lives in another user
    namespace, by the stage, which goes there first.
    """
    joins = [join for join in birth.joins if join[1] != syscalls.CLONE_NEWUSER]
    if birth.cgroup_fd < 0 or all(nstype != syscalls.CLONE_NEWCGROUP for _, nstype in joins):
        return joins
    if not birth.enters_user_namespace():
        birth.joins_cgroup_late = True
        return [join for join in joins if join[1] != syscalls.CLONE_NEWCGROUP]
    procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=birth.cgroup_fd)
    os.write(procs, b"0")
    os.close(procs)
    os.close(birth.cgroup_fd)
    birth.cgroup_fd = -1
    return joins


def _open_clocks(birth: child.Birth) -> list[int]:
    """Return a descriptor for each clock that has to be set.

    The file of a process that is not dumpable, as this one, belongs to root. So for any other user it is
    opened while the process is in the caller's namespaces still, and dumpable for that moment.
    """
    if not birth.clocks:
        return []
    if birth.map_dumpable:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    try:
        return [os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC) for _ in birth.clocks]
    finally:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _set_clocks(birth: child.Birth, fds: list[int]) -> None:
    """Make the time namespace for the children and set its offsets while nobody is in it."""
    syscalls.unshare(syscalls.CLONE_NEWTIME)
    for index, (clock, secs, nanosecs) in enumerate(birth.clocks):
        with failure.At(failure.DETAIL_CLOCK + index):
            os.write(fds[index], f"{CLOCKS[clock]} {secs} {nanosecs}\n".encode())
            os.close(fds[index])


def _before_entry(birth: child.Birth, entry: dict[str, Any]) -> None:
    """Give the process what it can only have while it is the caller's: before anything is joined.

    The CPUs until it is in the container's cgroup (config.md, execCPUAffinity), and the score for the OOM
    killer. The file of that belongs to root, as this process is not dumpable; for any other user it is made
    so for the moment.
    """
    if entry["affinity"]:
        with failure.At(failure.DETAIL_AFFINITY):
            traits.set_affinity(entry["affinity"])
    if entry["score"] is not None:
        with failure.At(failure.DETAIL_SCORE):
            if birth.map_dumpable:
                syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
            try:
                fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
            finally:
                syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
            try:
                os.write(fd, str(entry["score"]).encode())
            finally:
                os.close(fd)


def enter(channel: socket.socket, birth: child.Birth) -> int:
    """Enter and make namespaces; return the flags that are left for the clone of the child."""
    if birth.entry is not None:
        _before_entry(birth, birth.entry)
    clocks = _open_clocks(birth)
    users = [join for join in birth.joins if join[1] == syscalls.CLONE_NEWUSER]
    later = _join(_before_the_clone(birth))
    flags = birth.flags
    if flags & syscalls.CLONE_NEWUSER:
        flags &= ~syscalls.CLONE_NEWUSER
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        child.wait_for_mapping(channel, birth)
        birth.mapped = True
    for fd, nstype in users:
        syscalls.setns(fd, nstype)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    for fd, nstype in later:
        syscalls.setns(fd, nstype)
    if flags & syscalls.CLONE_NEWTIME:
        flags &= ~syscalls.CLONE_NEWTIME
        _set_clocks(birth, clocks)
    if birth.root_fd >= 0:
        os.fchdir(birth.root_fd)
        os.chroot(".")
        os.close(birth.root_fd)
    # The stage stays the caller's user: the cgroup and its own files in procfs belong to that one.
    return flags


def run_stage(channel: socket.socket, birth: child.Birth) -> NoReturn:
    """Do the stage's work and clone the child; in the child, continue as the child. Never return."""
    try:
        flags = enter(channel, birth)
        pid, pidfd = syscalls.clone3(syscalls.CLONE_PARENT | flags, birth.cgroup_fd)
        if pid == 0:
            child.run(channel, birth)
        protocol.send(channel, protocol.PID, str(pid).encode(), (pidfd,))
    except OSError as error:
        detail = error.detail if isinstance(error, failure.Refusal) else failure.DETAIL_NONE
        packed = failure.pack_failure(failure.PHASE_SPAWN, 0, error.errno or 0, detail)
        protocol.send(channel, protocol.FAILED, packed)
    finally:
        os._exit(0)
