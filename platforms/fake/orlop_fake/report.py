"""What is there: leaks for assertions, snapshots to compare and to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop_fake.machine import Machine
    from orlop_fake.mounts import Mount
    from orlop_fake.resctrl import Group


def leaks(kernel: Machine) -> list[str]:
    """Return one line for everything that was made for a container and still exists, in a fixed order.

    Processes (zombies as well), cgroups, units of systemd, resctrl groups, mounts that outlived a container's
    own mount namespace, network namespaces that are held for devices in them, entries and locks of the store,
    sandboxes that were not closed.
    """
    kernel.scheduler.settle()
    found = [
        f"process {process.pid} ({process.stage}) of container {process.owner}"
        for process in kernel.all_processes()
        if process.owner
    ]
    found += [
        f"cgroup {group.path} in hierarchy {hierarchy.name or 'unified'}, made for container {group.owner}"
        for hierarchy in kernel.hierarchies.values()
        for group in hierarchy.root.subtree()
        if group.owner
    ]
    found += [
        f"unit {unit.name}, made for container {unit.owner}"
        for unit in (kernel.units or {}).values()
        if unit.owner
    ]
    if kernel.resctrl is not None:
        for clos in kernel.resctrl.all_classes():
            if clos.owner:
                found.append(f"resctrl group {clos.name}, made for container {clos.owner}")
            found += [
                f"resctrl monitoring group {clos.name}/{name}"
                for name, one in clos.monitors.items()
                if one.owner
            ]
    found += [
        f"mount {mount.describe()}, made for container {mount.owner}"
        for tree in _host_trees(kernel)
        for mount in tree
        if mount.owner
    ]
    found += [f"network namespace that is pinned for container {name}" for name in kernel.pins]
    found += [f"store entry {name}" for name in kernel.memory.names()]
    found += [f"lock on store entry {name}" for name in kernel.memory.locked()]
    found += [
        f"sandbox of container {sandbox.container} that was not closed" for sandbox in kernel.open_sandboxes
    ]
    return found


def _host_trees(kernel: Machine) -> Iterator[Sequence[Mount]]:
    seen: dict[int, None] = {}
    for process in kernel.all_processes():
        space = process.namespaces.mount
        if not process.owner and space.inode not in seen:
            seen[space.inode] = None
            yield space.tree.mounts


def _group_lines(group: Group, indent: str) -> Iterator[str]:
    yield f"{indent}{group.name}: pids {sorted(process.pid for process in group.processes)}"
    for line in group.text().splitlines():
        yield f"{indent}  {line}"
    for monitor in group.monitors.values():
        yield from _group_lines(monitor, indent + "  mon ")


class Snapshot:
    """The state of a machine at one moment, as text by section; equal snapshots mean equal machines."""

    __slots__ = ("sections",)

    def __init__(self, sections: dict[str, tuple[str, ...]]) -> None:
        """Keep *sections*, each a tuple of lines."""
        self.sections = sections

    @classmethod
    def of(cls, kernel: Machine) -> Snapshot:
        """Return the state of *kernel*; processes and cgroups that nobody uses are not hidden."""
        kernel.scheduler.settle()
        sections: dict[str, tuple[str, ...]] = {}
        sections["processes"] = tuple(
            f"{process.pid} {process.stage} {process.owner or 'host'} "
            f"{' '.join(process.args) or process.comm}"
            + "".join(
                f" {space.link}" for space in (process.namespaces.get(k) for k in ("mount", "network", "uts"))
            )
            for process in kernel.all_processes()
            if process is not kernel.runtime
        )
        sections["cgroups"] = tuple(
            f"{hierarchy.name or 'unified'}:{group.path} "
            f"pids {sorted(p.pid for p in group.processes if p is not kernel.runtime)}"
            + "".join(f" {file}={group.read(file)!r}" for file in sorted(group.values))
            for hierarchy in kernel.hierarchies.values()
            for group in hierarchy.root.subtree()
        )
        sections["mounts"] = tuple(
            f"{process.pid}: {mount.describe()}"
            for process in kernel.all_processes()
            if process is not kernel.runtime
            for mount in process.namespaces.mount.tree.mounts
        )
        if kernel.resctrl is not None:
            sections["resctrl"] = tuple(
                line for group in kernel.resctrl.all_classes() for line in _group_lines(group, "")
            )
        if kernel.units is not None:
            sections["units"] = tuple(str(unit) for unit in kernel.units.values())
        sections["links"] = tuple(link.describe() for link in kernel.init.namespaces.network.links.values())
        sections["store"] = tuple(kernel.memory.names())
        return cls(sections)

    def __eq__(self, other: object) -> bool:
        """Tell whether both machines are in the same state; time and the runtime itself do not count."""
        return isinstance(other, Snapshot) and self.sections == other.sections

    def __hash__(self) -> int:
        """Return the hash of the content."""
        return hash(tuple(self.sections.items()))

    def __str__(self) -> str:
        """Return all sections as text."""
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> list[str]:
        lines = []
        for name, content in self.sections.items():
            lines.append(f"{name}:")
            lines += [f"  {line}" for line in content]
        return lines

    def diff(self, other: Snapshot) -> str:
        """Return what is different in *other*, as a unified diff; empty when nothing is."""
        from difflib import unified_diff

        return "\n".join(unified_diff(self._lines(), other._lines(), "before", "after", lineterm="", n=1))
