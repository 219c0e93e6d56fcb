"""What control files said before an update, so that one that fails half-way is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_linux.live.cgroups import read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_hookspecs.steps import WriteCgroup
    from orlop_linux.kernel.cgroups.write import Target

_NOTHING_SET = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.latency": "target=0",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "rdma.max": "hca_handle=max hca_object=max",
    "misc.max": "max",
    "blkio.bfq.weight_device": "default",
    "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.write_bps_device": "0",
    "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_iops_device": "0",
    "net_prio.ifpriomap": "0",
}
"""What takes a line of a keyed file away (kernel docs, cgroup-v2.rst and cgroup-v1/)."""

Earlier = tuple[int, str, str]
"""Directory, file and the text that brings back what was there."""


def earlier(target: Target, pairs: Sequence[tuple[str, str]], step: WriteCgroup) -> list[Earlier]:
    """Return what undoes writing *pairs*; files that cannot be read are left out, they cannot be written."""
    found: list[Earlier] = []
    for name, text in pairs:
        try:
            present = read_file(target.fd, name).strip()
        except OSError:
            continue
        before = _before(name, text, present, keyed=step.append or name in _NOTHING_SET)
        if before is not None:
            found.append((target.fd, name, before))
    return found


def _before(name: str, text: str, present: str, *, keyed: bool) -> str | None:
    """Return what to write so that *name* says *present* again after *text* was written to it."""
    lines = present.split("\n")
    key, *rest = text.split()
    if keyed and rest:
        for line in lines:
            if line.split()[:1] == [key]:
                return line
        return f"{key} {_NOTHING_SET[name]}" if name in _NOTHING_SET else None
    if name == "memory.oom_control":
        return lines[0].rpartition(" ")[2]  # oom_kill_disable 0
    for line in lines:
        if line.startswith("default "):
            return line
    # An empty list of processors is written as an empty line: a write of nothing does nothing.
    return present or "\n" if len(lines) == 1 else None


def restore(changes: Sequence[Earlier]) -> OSError | None:
    """Bring everything back, the latest change first, and return the first failure.

    Limits hold each other: a write that is refused is tried again after the others.
    """
    refused: list[Earlier] = []
    failure: OSError | None = None
    for change in reversed(changes):
        try:
            write_file(*change)
        except OSError:
            refused.append(change)
    for change in refused:
        try:
            write_file(*change)
        except OSError as error:
            failure = failure or error
    return failure
