"""``linux.resources.hugepageLimits`` (config-linux.md, Huge page limits)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_hookspecs.hooks.capability import Problem
from orlop_hookspecs.steps.cgroups import WriteCgroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_hookspecs.documents import HugepageLimit

POINTER = "/linux/resources/hugepageLimits"


def problems(limits: Sequence[HugepageLimit]) -> Iterator[Problem]:
    """Yield sizes that have two limits, and sizes that could not be part of a file's name."""
    seen: dict[str, int] = {}
    for index, limit in enumerate(limits):
        here = f"{POINTER}/{index}/pageSize"
        if not limit.page_size.isalnum():
            yield Problem(here, "the value must be a size such as 2MB", limit.page_size)
        if limit.page_size in seen:
            yield Problem(
                here, f"the size stands already in hugepageLimits/{seen[limit.page_size]}", limit.page_size
            )
        seen.setdefault(limit.page_size, index)


def steps(limits: Sequence[HugepageLimit]) -> Iterator[WriteCgroup]:
    """Yield one step for each size: reservations are limited where the kernel can, else page faults."""
    for index, limit in enumerate(limits):
        base, text = f"hugetlb.{limit.page_size}", str(limit.limit)
        yield WriteCgroup(
            because=f"{POINTER}/{index}",
            controller="hugetlb",
            v1=((f"{base}.rsvd.limit_in_bytes", text), (f"{base}.limit_in_bytes", text)),
            v2=((f"{base}.rsvd.max", text), (f"{base}.max", text)),
            alternatives=True,
        )
