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
    """Yield sizes that have two limits; the document's own pattern keeps file names out."""
    seen: dict[str, int] = {}
    for index, limit in enumerate(limits):
        here = f"{POINTER}/{index}/pageSize"
        if limit.page_size in seen:
            yield Problem(
                here, f"the size stands already in hugepageLimits/{seen[limit.page_size]}", limit.page_size
            )
        seen.setdefault(limit.page_size, index)


def steps(limits: Sequence[HugepageLimit]) -> Iterator[WriteCgroup]:
    """Yield two steps for each size: reservations are limited where the kernel can, and page faults always.

    A page that is used was reserved, so that the second limit takes nothing more away; it is the one that
    monitors and peers know.
    """
    for index, limit in enumerate(limits):
        base, text = f"hugetlb.{limit.page_size}", str(limit.limit)
        v1, v2 = (f"{base}.limit_in_bytes", text), (f"{base}.max", text)
        yield WriteCgroup(
            because=f"{POINTER}/{index}",
            controller="hugetlb",
            v1=((f"{base}.rsvd.limit_in_bytes", text), v1),
            v2=((f"{base}.rsvd.max", text), v2),
            alternatives=True,
        )
        yield WriteCgroup(because=f"{POINTER}/{index}", controller="hugetlb", v1=(v1,), v2=(v2,))
