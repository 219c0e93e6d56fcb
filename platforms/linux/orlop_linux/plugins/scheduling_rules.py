"""What sched_setattr(2) and ioprio_set(2) take, for :mod:`orlop_linux.plugins.scheduling`.

Much that the kernel cannot use it ignores without a word: a deadline of another policy, flags of another
policy. Such a config is refused, because it would not be applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.scheduling import SetCpuAffinity, SetIoPriority, SetScheduler
from orlop_linux.plugins.number_lists import fault, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.documents import Config, CPUAffinity, IOPriority, Scheduler
    from orlop_hookspecs.steps.base import Step

SCHEDULER = "/process/scheduler"
IO_PRIORITY = "/process/ioPriority"
AFFINITY = "/process/execCPUAffinity"

DEADLINE = "SCHED_DEADLINE"
REAL_TIME = frozenset({"SCHED_FIFO", "SCHED_RR"})
NICE = (-20, 19)
PRIORITY = (1, 99)
RUNTIME_MIN = 1024
"""Shortest runtime of a deadline: the kernel counts in units of 2**10 nanoseconds (sched_setattr(2))."""
TIME_MAX = (1 << 63) - 1

LEVELS = (0, 7)
CPU_MAX = 1 << 16
"""More CPUs than any kernel has (CONFIG_NR_CPUS)."""

KEEP_PARAMETERS = "SCHED_FLAG_KEEP_PARAMS"
RESET = "SCHED_FLAG_RESET_ON_FORK"
ONLY_DEADLINE = frozenset({"SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"})
PARAMETERS = ("nice", "priority", "runtime", "deadline", "period")


def problems(config: Config, *, joins: bool = False) -> Iterator[Problem]:
    """Yield what is wrong with the three properties; a process that joins starts no hooks."""
    process = config.process
    if process is None:
        return
    if process.scheduler is not None:
        yield from _scheduler(process.scheduler)
        if not joins:
            yield from _forks(config, process.scheduler)
    if process.io_priority is not None:
        yield from _io_priority(process.io_priority)
    if process.exec_cpu_affinity is not None:
        yield from _affinity(process.exec_cpu_affinity)


def _scheduler(wanted: Scheduler) -> Iterator[Problem]:
    policy = wanted.policy
    flags = wanted.flags or ()
    yield from _flags(flags, policy)
    if KEEP_PARAMETERS in flags:
        for name in PARAMETERS:
            if getattr(wanted, name) is not None:
                yield Problem(
                    f"{SCHEDULER}/{name}",
                    f"{KEEP_PARAMETERS} keeps the parameters, so none can be given",
                    getattr(wanted, name),
                )
        return
    low, high = NICE
    if wanted.nice is not None and not low <= wanted.nice <= high:
        yield Problem(f"{SCHEDULER}/nice", f"the nice value must be from {low} to {high}", wanted.nice)
    priority = wanted.priority or 0
    low, high = PRIORITY
    if policy in REAL_TIME and not low <= priority <= high:
        yield Problem(
            f"{SCHEDULER}/priority",
            f"the priority of {policy} must be from {low} to {high}",
            wanted.priority,
        )
    elif priority and policy not in REAL_TIME:
        yield Problem(
            f"{SCHEDULER}/priority",
            f"{policy} has no static priority",
            priority,
            "leave it out, or take SCHED_FIFO or SCHED_RR",
        )
    if policy == DEADLINE:
        yield from _deadline(wanted)
        return
    for name in ("runtime", "deadline", "period"):
        if getattr(wanted, name):
            yield Problem(
                f"{SCHEDULER}/{name}",
                f"only {DEADLINE} has it, and the policy is {policy}",
                getattr(wanted, name),
            )


def _flags(flags: tuple[str, ...], policy: str) -> Iterator[Problem]:
    for index, flag in enumerate(flags):
        here = f"{SCHEDULER}/flags/{index}"
        if flag in flags[:index]:
            yield Problem(here, "the flag stands there twice", flag)
        elif flag in ONLY_DEADLINE and policy != DEADLINE:
            yield Problem(here, f"only {DEADLINE} has the flag, and the policy is {policy}", flag)


def _deadline(wanted: Scheduler) -> Iterator[Problem]:
    """Yield times that are not runtime <= deadline <= period; a period of 0 is the deadline."""
    runtime, deadline, period = wanted.runtime or 0, wanted.deadline or 0, wanted.period or 0
    if runtime < RUNTIME_MIN:
        yield Problem(f"{SCHEDULER}/runtime", f"the runtime must be at least {RUNTIME_MIN} ns", runtime)
    if deadline < runtime:
        yield Problem(
            f"{SCHEDULER}/deadline", f"the deadline is before the runtime, {runtime}, is over", deadline
        )
    elif deadline > TIME_MAX:
        yield Problem(f"{SCHEDULER}/deadline", f"the deadline must be at most {TIME_MAX} ns", deadline)
    if period and period < deadline:
        yield Problem(f"{SCHEDULER}/period", f"the period is over before the deadline, {deadline}", period)
    elif period > TIME_MAX:
        yield Problem(f"{SCHEDULER}/period", f"the period must be at most {TIME_MAX} ns", period)


def _forks(config: Config, wanted: Scheduler) -> Iterator[Problem]:
    """Yield hooks that a process with a deadline could not start: its fork(2) fails (sched(7))."""
    hooks = config.hooks and config.hooks.start_container
    if hooks and wanted.policy == DEADLINE and RESET not in (wanted.flags or ()):
        yield Problem(
            "/hooks/startContainer",
            f"a process with {DEADLINE} cannot start hooks",
            hint=f"add {RESET} to process.scheduler.flags",
        )


def _io_priority(wanted: IOPriority) -> Iterator[Problem]:
    low, high = LEVELS
    if wanted.priority is None:
        yield Problem(f"{IO_PRIORITY}/priority", "the property is required")
    elif not low <= wanted.priority <= high:
        yield Problem(
            f"{IO_PRIORITY}/priority", f"the priority must be from {low} to {high}", wanted.priority
        )


def _affinity(wanted: CPUAffinity) -> Iterator[Problem]:
    for name, text in (("initial", wanted.initial), ("final", wanted.final)):
        why = fault(text, CPU_MAX) if text else ""
        if why:
            yield Problem(f"{AFFINITY}/{name}", why, text)


def steps(config: Config, *, joins: bool = False) -> Iterator[Step]:
    """Yield the steps; parameters that are not set are 0, as config.md says.

    The affinity is one of processes that join the container, never of its first one.
    """
    process = config.process
    if process is None:
        return
    wanted = process.scheduler
    if wanted is not None:
        yield SetScheduler(
            because=SCHEDULER,
            policy=wanted.policy,
            flags=wanted.flags or (),
            **{name: getattr(wanted, name) or 0 for name in PARAMETERS},
        )
    level = process.io_priority
    if level is not None:
        yield SetIoPriority(because=IO_PRIORITY, class_=level.class_, priority=level.priority or 0)
    affinity = process.exec_cpu_affinity
    if joins and affinity is not None:
        for name, text in (("initial", affinity.initial), ("final", affinity.final)):
            if text:
                yield SetCpuAffinity(
                    because=f"{AFFINITY}/{name}", cpus=ranges(text, CPU_MAX), final=name == "final"
                )
