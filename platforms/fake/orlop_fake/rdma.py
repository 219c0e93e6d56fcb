"""What processes use of RDMA devices, and cgroups that bound it (cgroup-v2.rst, cgroup-v1/rdma.rst)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from orlop_fake.cgroups import Cgroup
    from orlop_fake.processes import Process

KINDS = ("hca_handle", "hca_object")


def limits(group: Cgroup, device: str) -> dict[str, int | None]:
    """Return what *group* itself allows of *device*; ``None``: any number."""
    found = dict(part.split("=") for part in group.line_of("rdma.max", device).split())
    return {kind: None if found.get(kind, "max") == "max" else int(found[kind]) for kind in KINDS}


def charge(process: Process, devices: frozenset[str], device: str, wanted: dict[str, int]) -> None:
    """Let *process* have more of *device*, until it ends.

    Raises:
        OSError: ENODEV: there is no such device; EAGAIN: its cgroup, or one above, does not allow it.
    """
    if device not in devices:
        raise refusal(errno.ENODEV, device)
    home = next((one for one in process.cgroups.values() if "rdma" in one.hierarchy.controllers), None)
    if home is None:
        return
    for group in home.line():
        allowed = limits(group, device)
        for kind, number in wanted.items():
            most = allowed[kind]
            if most is not None and group.rdma.get((device, kind), 0) + number > most:
                raise refusal(errno.EAGAIN, device)
    for kind, number in wanted.items():
        process.rdma.append((home, device, kind, number))
        for group in home.line():
            group.rdma[device, kind] = group.rdma.get((device, kind), 0) + number


def release(process: Process) -> None:
    """Give back what *process* has; it is charged where it was taken, wherever the process is now."""
    for home, device, kind, number in process.rdma:
        for group in home.line():
            group.rdma[device, kind] -= number
    process.rdma.clear()


def shown(group: Cgroup, *, current: bool) -> str:
    """Return the content of ``rdma.current`` or ``rdma.max``: one line for each device of the machine."""
    lines = []
    for device in sorted(group.hierarchy.host.rdma_devices):
        used = {kind: group.rdma.get((device, kind), 0) for kind in KINDS}
        values = used if current else limits(group, device)
        shown = (f"{kind}={'max' if values[kind] is None else values[kind]}" for kind in KINDS)
        lines.append(f"{device} {' '.join(shown)}")
    return "\n".join(lines)
