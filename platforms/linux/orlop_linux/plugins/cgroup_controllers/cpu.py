"""``linux.resources.cpu`` (config-linux.md, CPU; kernel docs sched-bwc.rst, cgroup-v2.rst)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import WriteCgroup
from orlop_linux.plugins.number_lists import fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.documents import CPU

POINTER = "/linux/resources/cpu"
SHARES_MIN, SHARES_MAX = 2, 262144
WEIGHT_MIN, WEIGHT_MAX = 1, 10000
QUOTA_MIN = 1000
PERIODS = (1000, 1_000_000)
NUMBER_MAX = 1 << 16


def weight(shares: int) -> int:
    """Return the cpu.weight of cgroup v2 (1 to 10000) for the cpu.shares of v1 (2 to 262144).

    The curve through (2, 1), (1024, 100) and (262144, 10000) that is quadratic in the logarithms, as runc,
    crun and Kubernetes have it since 2025, so that the defaults of both versions meet: 10 ** ((l*l + 125*l) /
    612 - 7/34), l = log2(shares), rounded up.
    """
    if shares <= SHARES_MIN:
        return WEIGHT_MIN
    if shares >= SHARES_MAX:
        return WEIGHT_MAX
    from math import ceil, log2

    logarithm = log2(shares)
    exponent = (logarithm * logarithm + 125 * logarithm) / 612 - 7 / 34
    # 1024 shares are exactly 100, whatever the last bit of the floating-point result is.
    return ceil(round(10**exponent, 9))


def problems(cpu: CPU) -> Iterator[Problem]:
    """Yield times that the kernel refuses on every host, and lists that are none.

    Zero is no valid quota, period or share; it is what engines write when they ask for nothing.
    """
    quota, period = cpu.quota, cpu.period
    if quota and 0 < quota < QUOTA_MIN:
        yield Problem(
            f"{POINTER}/quota", f"the quota must be at least {QUOTA_MIN} microseconds, or -1", quota
        )
    if period and not PERIODS[0] <= period <= PERIODS[1]:
        yield Problem(f"{POINTER}/period", f"the period must be from {PERIODS[0]} to {PERIODS[1]}", period)
    if cpu.burst is not None and quota and 0 < quota < cpu.burst:
        yield Problem(f"{POINTER}/burst", f"the burst must be no larger than the quota, {quota}", cpu.burst)
    if cpu.idle is not None and cpu.idle not in {0, 1}:
        yield Problem(f"{POINTER}/idle", "the value must be 0 or 1", cpu.idle)
    if cpu.realtime_runtime is not None and cpu.realtime_runtime < -1:
        yield Problem(
            f"{POINTER}/realtimeRuntime", "the time must not be negative, or -1", cpu.realtime_runtime
        )
    for name, text in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        why = fault(text, NUMBER_MAX) if text else ""
        if why:
            yield Problem(f"{POINTER}/{name}", why, text)


def steps(cpu: CPU, *, update: bool = False) -> Iterator[WriteCgroup]:
    """Yield one step for each property or inseparable pair, in the order in which the kernel takes them."""
    yield from _share(cpu, update=update)
    yield from _bandwidth(cpu, update=update)
    if cpu.realtime_period:
        yield _write("realtimePeriod", (("cpu.rt_period_us", str(cpu.realtime_period)),), None)
    if cpu.realtime_runtime is not None:
        yield _write("realtimeRuntime", (("cpu.rt_runtime_us", str(cpu.realtime_runtime)),), None)
    for name, text in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if text:
            pairs = ((f"cpuset.{name}", text),)
            yield WriteCgroup(because=f"{POINTER}/{name}", controller="cpuset", v1=pairs, v2=pairs)


def _share(cpu: CPU, *, update: bool) -> Iterator[WriteCgroup]:
    """Yield shares and idle: an idle group's weight cannot be changed, so it is not idle meanwhile."""
    idle = (("cpu.idle", "1"),)
    normal = (("cpu.idle", "0"),)
    if cpu.idle == 0 or (cpu.idle == 1 and cpu.shares and update):
        yield _write("idle", normal, normal)
    if cpu.shares:
        yield _write(
            "shares",
            (("cpu.shares", str(min(max(cpu.shares, SHARES_MIN), SHARES_MAX))),),
            (("cpu.weight", str(weight(cpu.shares))),),
        )
    if cpu.idle == 1:
        yield _write("idle", idle, idle)


def _bandwidth(cpu: CPU, *, update: bool) -> Iterator[WriteCgroup]:
    """Yield period, quota and burst: the period first, because it decides how the quota is judged."""
    quota, period, burst = cpu.quota or None, cpu.period or None, cpu.burst
    if burst is not None and update and quota is not None:
        # The old burst may be above the new quota.
        yield _write("burst", (("cpu.cfs_burst_us", "0"),), (("cpu.max.burst", "0"),))
    if period is not None:
        # cpu.max holds both and can only be written whole, or without the period.
        v2 = () if quota is not None else (("cpu.max", f"= {period}" if update else f"max {period}"),)
        yield _write("period", (("cpu.cfs_period_us", str(period)),), v2, keep=update and quota is None)
    if quota is not None:
        v1_quota, v2_quota = ("-1", "max") if quota < 0 else (str(quota), str(quota))
        kept = "=" if update else ""
        yield _write(
            "quota",
            (("cpu.cfs_quota_us", v1_quota),),
            (("cpu.max", f"{v2_quota} {period or kept}".strip()),),
            keep=update and period is None,
        )
    if burst is not None:
        yield _write("burst", (("cpu.cfs_burst_us", str(burst)),), (("cpu.max.burst", str(burst)),))


def _write(
    name: str,
    v1: tuple[tuple[str, str], ...] | None,
    v2: tuple[tuple[str, str], ...] | None,
    *,
    keep: bool = False,
) -> WriteCgroup:
    return WriteCgroup(because=f"{POINTER}/{name}", controller="cpu", v1=v1, v2=v2, keep=keep)
