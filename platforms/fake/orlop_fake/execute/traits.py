"""Steps that change how the container process is scheduled and what it keeps across execve(2)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal
from orlop_fake.traits import DEADLINE, POLICIES, REAL_TIME, allowed
from orlop_fake.versions import MEMORY_MODES

if TYPE_CHECKING:
    from orlop_fake.execute.context import Context, Handler
    from orlop_fake.processes import Process
    from orlop_hookspecs.steps import (
        SetCpuAffinity,
        SetIoPriority,
        SetMemoryPolicy,
        SetPersonality,
        SetScheduler,
    )

_FAIR = frozenset({"SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE"})
_NICE = (-20, 19)
_PRIORITY_MAX = 99
_RUNTIME_MIN = 1024
_PERIODS = (100_000, (1 << 22) * 1000)
"""Shortest and longest period in nanoseconds: /proc/sys/kernel/sched_deadline_period_{min,max}_us."""
_BANDWIDTH = 0.95
"""Share of each CPU that deadlines and real time may have: sched_rt_runtime_us."""
_CLAMPS = frozenset({"SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"})
_KEEP_POLICY, _KEEP_PARAMETERS = "SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"
_LEVELS = 8


def set_scheduler(context: Context, step: SetScheduler) -> None:
    """Set the scheduler: EINVAL, EPERM, EBUSY and EOPNOTSUPP as sched_setattr(2)."""
    process, now = context.process, context.process.traits
    policy = now.policy if _KEEP_POLICY in step.flags else step.policy
    wanted = now._replace(policy=policy, flags=step.flags)
    if _KEEP_PARAMETERS not in step.flags:
        wanted = wanted._replace(
            nice=step.nice,
            priority=step.priority,
            runtime=step.runtime,
            deadline=step.deadline,
            period=step.period or (step.deadline if policy == DEADLINE else 0),
        )
    if policy not in POLICIES or policy == "SCHED_ISO":
        raise refusal(errno.EINVAL, message="no such policy")
    if (policy in REAL_TIME) != bool(wanted.priority) or not 0 <= wanted.priority <= _PRIORITY_MAX:
        raise refusal(errno.EINVAL, message="no such priority of this policy")
    if not _NICE[0] <= wanted.nice <= _NICE[1]:
        raise refusal(errno.EINVAL, message="no such nice value")
    if policy == DEADLINE:
        _check_deadline(context, wanted.runtime, wanted.deadline, wanted.period)
    may = context.kernel.runtime.credentials.may("CAP_SYS_NICE")
    if not may and (policy not in _FAIR or wanted.nice < now.nice):
        raise refusal(errno.EPERM)
    if policy in REAL_TIME and not _has_real_time(process):
        raise refusal(errno.EPERM, message="the cgroup has no real-time runtime")
    if _CLAMPS.intersection(step.flags) and not context.kernel.host.util_clamp:
        raise refusal(errno.EOPNOTSUPP)
    process.traits = wanted
    if policy != step.policy:
        raise refusal(errno.EINVAL, message=f"the flags keep the policy that the process has, {policy}")


def _has_real_time(process: Process) -> bool:
    """Tell whether the cgroup of version 1 has a share of real time (sched-rt-group.rst)."""
    return all(
        group.parent is None or group.read("cpu.rt_runtime_us").strip() != "0"
        for group in process.cgroups.values()
        if group.hierarchy.version == 1 and "cpu" in group.hierarchy.controllers
    )


def _check_deadline(context: Context, runtime: int, deadline: int, period: int) -> None:
    if not _RUNTIME_MIN <= runtime <= deadline <= period or not _PERIODS[0] <= period <= _PERIODS[1]:
        raise refusal(errno.EINVAL, message="no such deadline")
    others = sum(
        other.traits.runtime / other.traits.period
        for other in context.kernel.all_processes()
        if other.traits.policy == DEADLINE and not other.ended and other is not context.process
    )
    if others + runtime / period > _BANDWIDTH * context.kernel.host.cpus:
        raise refusal(errno.EBUSY)


def set_io_priority(context: Context, step: SetIoPriority) -> None:
    """Set the I/O priority; the real-time class needs CAP_SYS_NICE or CAP_SYS_ADMIN (ioprio_set(2))."""
    mine = context.kernel.runtime.credentials
    if step.class_ == "IOPRIO_CLASS_RT" and not (mine.may("CAP_SYS_NICE") or mine.may("CAP_SYS_ADMIN")):
        raise refusal(errno.EPERM)
    if not 0 <= step.priority < _LEVELS:
        raise refusal(errno.EINVAL)
    context.process.traits = context.process.traits._replace(io_class=step.class_, io_priority=step.priority)


def set_personality(context: Context, step: SetPersonality) -> None:
    """Set the execution domain."""
    if step.domain not in {"LINUX", "LINUX32"}:
        raise refusal(errno.EINVAL)
    context.process.traits = context.process.traits._replace(domain=step.domain)


def set_memory_policy(context: Context, step: SetMemoryPolicy) -> None:
    """Set the memory policy: EINVAL as set_mempolicy(2), and for nodes that the kernel would leave out."""
    wanted = tuple(sorted({node for first, last in step.nodes for node in range(first, last + 1)}))
    if context.kernel.host.linux < MEMORY_MODES.get(step.mode, (0, 0)):
        raise refusal(errno.EINVAL, message=f"this kernel has no {step.mode}")
    movable = {"MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"}.intersection(step.flags)
    if len(movable) > 1 or (movable and not wanted):
        raise refusal(errno.EINVAL)
    if step.mode != "MPOL_PREFERRED" and bool(wanted) == (step.mode in {"MPOL_DEFAULT", "MPOL_LOCAL"}):
        raise refusal(errno.EINVAL)
    if "MPOL_F_NUMA_BALANCING" in step.flags and step.mode not in {"MPOL_BIND", "MPOL_PREFERRED_MANY"}:
        raise refusal(errno.EINVAL)
    there = _nodes(context)
    used = set(wanted) if "MPOL_F_RELATIVE_NODES" in step.flags else there.intersection(wanted)
    if wanted and not used:
        raise refusal(errno.EINVAL)
    if not movable and len(used) < len(wanted):
        raise refusal(errno.EINVAL, message="this host or the cpuset lacks one of the nodes")
    mode = step.mode if wanted or step.mode != "MPOL_PREFERRED" else "MPOL_LOCAL"
    context.process.traits = context.process.traits._replace(
        memory_mode=mode, memory_nodes=wanted, memory_flags=step.flags
    )


def set_cpu_affinity(context: Context, step: SetCpuAffinity) -> None:
    """Set the CPUs: EINVAL for those that the host or the cpuset lacks."""
    wanted = {cpu for first, last in step.cpus for cpu in range(first, last + 1)}
    if not wanted <= allowed(context.process, "cpuset.cpus", context.kernel.host.cpus):
        raise refusal(errno.EINVAL, message="the host or the cpuset lacks one of the CPUs")
    context.process.traits = context.process.traits._replace(cpus=tuple(sorted(wanted)))


def _nodes(context: Context) -> set[int]:
    """Return the memory nodes that the host has and the cpusets of the process allow."""
    return allowed(context.process, "cpuset.mems", context.kernel.host.nodes)


HANDLERS: dict[str, Handler] = {
    "SetCpuAffinity": set_cpu_affinity,
    "SetIoPriority": set_io_priority,
    "SetMemoryPolicy": set_memory_policy,
    "SetPersonality": set_personality,
    "SetScheduler": set_scheduler,
}
