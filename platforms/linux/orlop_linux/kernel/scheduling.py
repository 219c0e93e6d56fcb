"""Scheduler and I/O priority of the container process, set from the host (sched(7), ioprio_set(2))."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

from orlop_linux.init.syscalls import call
from orlop_linux.kernel.refusal import refuse, refuse_os
from orlop_linux.live.process import is_alive

if TYPE_CHECKING:
    from orlop_hookspecs.steps.scheduling import SetIoPriority, SetScheduler

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
"""Numbers of the policies (linux/sched.h)."""

FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
"""Bits of the flags (linux/sched.h)."""

IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_IO_CLASS_SHIFT = 13
_IO_WHO_PROCESS = 1

# Policies that use the nice value, so that sched_setattr(2) sets it.
_FAIR = ("SCHED_OTHER", "SCHED_BATCH")
_KEEP_PARAMETERS = "SCHED_FLAG_KEEP_PARAMS"

_HINTS = {
    errno.EPERM: "it needs CAP_SYS_NICE, in a cgroup with a share of real time where the kernel counts it, "
    "and all CPUs for SCHED_DEADLINE",
    errno.EBUSY: "the CPUs have not that much time left for deadlines",
    errno.EINVAL: "the running kernel does not have this policy, or not with these values",
}


class SchedAttr(ctypes.Structure):
    """``struct sched_attr`` of sched_setattr(2), in its second version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
        ("util_min", ctypes.c_uint32),
        ("util_max", ctypes.c_uint32),
    )


def scheduling_of(pid: int) -> SchedAttr:
    """Return how process *pid* is scheduled, see sched_getattr(2)."""
    found = SchedAttr()
    size = ctypes.sizeof(found)
    call("sched_getattr", ctypes.c_long(pid), ctypes.byref(found), ctypes.c_uint(size), ctypes.c_uint(0))
    return found


def _require(pid: int, start_time: int) -> None:
    """Make sure that *pid* is still the process that was made."""
    if not is_alive(pid, start_time):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def set_scheduler(step: SetScheduler, plugin: str, pid: int, start_time: int) -> None:
    """Execute SetScheduler, and verify what a flag kept.

    Raises:
        StepError: The kernel refused it, or kept another policy than the step names.
    """
    attr = SchedAttr(
        size=ctypes.sizeof(SchedAttr),
        policy=POLICIES[step.policy],
        flags=sum(FLAGS[flag] for flag in set(step.flags)),
        nice=step.nice,
        priority=step.priority,
        runtime=step.runtime,
        deadline=step.deadline,
        period=step.period,
    )
    try:
        _require(pid, start_time)
        if step.policy not in _FAIR and _KEEP_PARAMETERS not in step.flags:
            # The kernel keeps the value for later; sched_setattr(2) would not set it.
            os.setpriority(os.PRIO_PROCESS, pid, step.nice)
        call("sched_setattr", ctypes.c_long(pid), ctypes.byref(attr), ctypes.c_uint(0))
        kept = scheduling_of(pid).policy
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        raise refuse_os(
            step, plugin, f"cannot set the scheduler to {step.policy}", error, hint=hint
        ) from error
    if kept != attr.policy:
        name = next((name for name, number in POLICIES.items() if number == kept), str(kept))
        raise refuse(
            step,
            plugin,
            f"the flags keep the policy that the process has, {name}, and not {step.policy}",
            hint=f"leave out SCHED_FLAG_KEEP_POLICY, or ask for {name}",
        )


def set_io_priority(step: SetIoPriority, plugin: str, pid: int, start_time: int) -> None:
    """Execute SetIoPriority.

    Raises:
        StepError: The kernel refused it.
    """
    value = IO_CLASSES[step.class_] << _IO_CLASS_SHIFT | step.priority
    try:
        _require(pid, start_time)
        call("ioprio_set", ctypes.c_int(_IO_WHO_PROCESS), ctypes.c_int(pid), ctypes.c_int(value))
    except OSError as error:
        hint = "the class IOPRIO_CLASS_RT needs CAP_SYS_NICE" if error.errno == errno.EPERM else ""
        act = f"cannot set the I/O priority to {step.class_}, {step.priority}"
        raise refuse_os(step, plugin, act, error, hint=hint) from error
