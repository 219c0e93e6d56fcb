"""Filters, security modules and resource control: what the kernel was built with, and what is switched on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop_hookspecs.availability import Answer
from orlop_hookspecs.errors import PlatformError
from orlop_linux.init import syscalls
from orlop_linux.kernel.resctrlfs import DEFAULT_ROOT, DIRECTORY, monitoring_events, mount_options
from orlop_linux.kernel.security import apparmor_trouble, selinux_trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_linux.kernel.kernel import LinuxKernel

_ACTIONS = {
    "SCMP_ACT_KILL": "kill_thread",
    "SCMP_ACT_NOTIFY": "user_notif",
}
"""Names in actions_avail that are not simply the action's in lower case."""

_ACTIONS_FILE = "/proc/sys/kernel/seccomp/actions_avail"


def answers(kernel: LinuxKernel, names: Sequence[str]) -> dict[str, Answer]:
    """Answer about seccomp, AppArmor, SELinux and resctrl."""
    found: dict[str, Answer] = {}
    seccomp = [name for name in names if name.partition(".")[0] == "seccomp"]
    if seccomp:
        found |= _seccomp(seccomp)
    if "apparmor" in names:
        found["apparmor"] = _module(apparmor_trouble("/sys"), "AppArmor", "apparmor")
    if "selinux" in names:
        found["selinux"] = _module(selinux_trouble("/sys", "/proc"), "SELinux", "selinux")
    resctrl = [name for name in names if name.partition(".")[0] == "intelRdt"]
    if resctrl:
        found |= dict.fromkeys(resctrl, _resctrl(kernel.resctrl_root or DEFAULT_ROOT))
        if "intelRdt.monitoring" in resctrl:
            found["intelRdt.monitoring"] = _monitoring(found["intelRdt.monitoring"], kernel)
    return found


def _seccomp(names: Sequence[str]) -> dict[str, Answer]:
    from orlop_linux.kernel.seccomp_tables import library

    if not syscalls.seccomp_takes(0):
        none = Answer(
            available=False, reason="the kernel has no seccomp filters", remedy="use a kernel with them"
        )
        return dict.fromkeys(names, none)
    try:
        library()
    except PlatformError as error:
        return dict.fromkeys(names, Answer(available=False, reason=error.message, remedy=error.hint))
    try:
        with open(_ACTIONS_FILE, encoding="ascii") as file:
            actions = file.read().split()
    except OSError:
        actions = []
    return {name: _word(name.partition(".")[2], actions) for name in names}


def _word(word: str, actions: Sequence[str]) -> Answer:
    """Answer about a flag, an action, or with an empty word about filters as such."""
    from orlop_linux.kernel.seccomp_tables import FLAGS

    bits = FLAGS.get(word, 0)
    if word == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":
        bits |= syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER  # only together with a listener (seccomp(2))
    if not syscalls.seccomp_takes(bits):
        return Answer(available=False, reason=f"the kernel does not know {word}", remedy="use a newer kernel")
    if word == "SCMP_ACT_NOTIFY" and not syscalls.seccomp_takes(syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER):
        return Answer(available=False, reason="the kernel has no listeners", remedy="use a newer kernel")
    if word.startswith("SCMP_ACT_") and actions:
        name = _ACTIONS.get(word, word.removeprefix("SCMP_ACT_").lower())
        if name not in actions:
            reason = f"the kernel does not have the action {name}"
            return Answer(available=False, reason=reason, remedy="use a newer kernel")
    return Answer(available=True)


def _module(trouble: str, name: str, parameter: str) -> Answer:
    if not trouble:
        return Answer(available=True)
    remedy = f"boot a kernel that has {name} with {parameter} in its parameter lsm="
    return Answer(available=False, reason=trouble, remedy=remedy)


def _resctrl(root: str) -> Answer:
    try:
        descriptor = os.open(root, DIRECTORY)
    except OSError:
        descriptor = -1
    try:
        mounted = descriptor >= 0 and bool(mount_options(descriptor))
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    if mounted:
        if os.access(root, os.W_OK | os.X_OK, effective_ids=True):
            return Answer(available=True)
        reason = f"the caller may not make groups in {root}"
        return Answer(available=True, allowed=False, reason=reason, remedy="run as root")
    try:
        with open("/proc/filesystems", encoding="ascii") as file:
            known = "resctrl" in file.read().split()
    except OSError:
        known = False
    if known:
        reason = f"no resctrl file system is mounted at {root}"
        return Answer(available=False, reason=reason, remedy=f"mount -t resctrl resctrl {root}")
    return Answer(
        available=False,
        reason="the processor has no resource control, or the kernel no resctrl file system",
        remedy="use a machine with it, or leave out linux.intelRdt",
    )


def _monitoring(control: Answer, kernel: LinuxKernel) -> Answer:
    if not control.available:
        return control
    descriptor = os.open(kernel.resctrl_root or DEFAULT_ROOT, DIRECTORY)
    try:
        events = monitoring_events(descriptor)
    finally:
        os.close(descriptor)
    if events:
        return control
    return Answer(
        available=False,
        reason="the processor cannot monitor its use of the cache and of the memory bandwidth",
        remedy="use a machine that can, or leave out linux.intelRdt.enableMonitoring",
    )
