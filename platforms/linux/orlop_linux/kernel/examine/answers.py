"""All answers, by the name of the capability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_linux.kernel.examine import births, groups, images, modules, mounts, process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop_hookspecs.availability import Answer, Capability
    from orlop_linux.kernel.kernel import LinuxKernel


def examine(kernel: LinuxKernel, asked: Sequence[Capability]) -> Mapping[str, Answer]:
    """Return the answers to what is *asked*, in that order."""
    names = [one.name for one in asked]
    known: dict[str, Answer] = {}
    for room in (births, mounts, groups, modules, process, images):
        known |= room.answers(kernel, names)
    return {name: known[name] for name in names if name in known}
