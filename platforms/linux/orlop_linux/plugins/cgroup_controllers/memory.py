"""``linux.resources.memory`` (config-linux.md, Memory; kernel docs cgroup-v1/memory.rst, cgroup-v2.rst)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import WriteCgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop_hookspecs.documents import Memory

POINTER = "/linux/resources/memory"
UNLIMITED = -1
SWAPPINESS_MAX = 100

Pairs = tuple[tuple[str, str], ...]


def problems(memory: Memory, *, update: bool = False) -> Iterator[Problem]:
    """Yield values that are no sizes, and a limit of memory and swap that is below the one of memory.

    An *update* may change the limit of memory and swap alone: the other one is in force already.
    """
    for name, value in (
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernel", memory.kernel),
        ("kernelTCP", memory.kernel_tcp),
    ):
        if value is not None and value < UNLIMITED:
            yield Problem(
                f"{POINTER}/{name}", "the limit must be a number of bytes, or -1 for unlimited", value
            )
    if memory.swappiness is not None and memory.swappiness > SWAPPINESS_MAX:
        yield Problem(
            f"{POINTER}/swappiness", f"the value must be from 0 to {SWAPPINESS_MAX}", memory.swappiness
        )
    swap, limit = memory.swap, memory.limit
    if swap is None or swap == UNLIMITED:
        return
    if limit is None:
        if not update:
            yield Problem(f"{POINTER}/swap", "the limit of memory and swap needs one of memory", swap)
    elif limit == UNLIMITED or swap < limit:
        yield Problem(
            f"{POINTER}/swap",
            "memory and swap together cannot be limited to less than the memory alone",
            swap,
        )


def steps(memory: Memory, *, update: bool = False) -> Iterator[WriteCgroup]:
    """Yield one step for each property, in the order in which the kernel takes them."""
    if memory.use_hierarchy is not None:
        # v2 is always hierarchical.
        on = memory.use_hierarchy
        yield _write("useHierarchy", (("memory.use_hierarchy", str(int(on))),), () if on else None)
    if memory.kernel is not None:
        yield _write(
            "kernel",
            (("memory.kmem.limit_in_bytes", str(memory.kernel)),),
            _only_unlimited(memory.kernel),
            verify=True,  # since version 5.16 the kernel ignores the limit
        )
    if memory.kernel_tcp is not None:
        yield _write(
            "kernelTCP",
            (("memory.kmem.tcp.limit_in_bytes", str(memory.kernel_tcp)),),
            _only_unlimited(memory.kernel_tcp),
        )
    yield from _limits(memory, update=update)
    if memory.reservation is not None:
        yield _write(
            "reservation",
            (("memory.soft_limit_in_bytes", str(memory.reservation)),),
            (("memory.low", _v2(memory.reservation)),),
        )
    if memory.swappiness is not None:
        yield _write("swappiness", (("memory.swappiness", str(memory.swappiness)),), None)
    if memory.disable_oom_killer is not None:
        # v2 has no way to keep the OOM killer out.
        off = memory.disable_oom_killer
        yield _write("disableOOMKiller", (("memory.oom_control", str(int(off))),), None if off else ())


def _limits(memory: Memory, *, update: bool) -> Iterator[WriteCgroup]:
    """Yield the limit of memory, and the one of memory and swap, which is never below it.

    With ``checkBeforeUpdate`` v2 checks the usage as v1 always does.
    """
    limit, swap, check = memory.limit, memory.swap, bool(memory.check_before_update)
    if limit == UNLIMITED and swap is None:
        # Unlimited memory below a limit of memory and swap would not be unlimited.
        swap = UNLIMITED
    if swap is not None and update and limit is not None:
        # Any order of old and new limits: first out of the way, then down to the value.
        yield _write("swap", (("memory.memsw.limit_in_bytes", "-1"),), ())
    if limit is not None:
        yield _write(
            "limit",
            (("memory.limit_in_bytes", str(limit)),),
            (("memory.max", _v2(limit)),),
            usage="memory.current" if check else "",
        )
    if swap is not None:
        # Without the limit of memory, an update asks the cgroup for the one in force.
        alone = swap != UNLIMITED and limit is None
        text = _v2(swap if swap == UNLIMITED or limit is None else swap - limit)
        yield _write(
            "swap",
            (("memory.memsw.limit_in_bytes", str(swap)),),
            (("memory.swap.max", text),),
            usage="memory.swap.current" if check else "",
            minus="memory.max" if alone else "",
        )


def _write(  # noqa: PLR0913 - the parts of a step
    name: str,
    v1: Pairs | None,
    v2: Pairs | None,
    *,
    usage: str = "",
    minus: str = "",
    verify: bool = False,
) -> WriteCgroup:
    return WriteCgroup(
        because=f"{POINTER}/{name}",
        controller="memory",
        v1=v1,
        v2=v2,
        usage=usage,
        minus=minus,
        verify=verify,
    )


def _v2(size: int) -> str:
    return "max" if size == UNLIMITED else str(size)


def _only_unlimited(size: int) -> Pairs | None:
    """Return the v2 form of a limit that v2 lacks: there is none, so unlimited is what everything is."""
    return () if size == UNLIMITED else None
