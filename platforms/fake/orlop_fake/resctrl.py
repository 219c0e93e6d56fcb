"""The resctrl file system in memory: classes of service, schemata and monitoring groups.

Source: Documentation/filesystems/resctrl.rst of the kernel.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop_fake.processes import Process

_PERCENT = 100
EVENTS = ("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes")
"""What a machine with all of the monitoring counts."""


class Group:
    """A class of service, or a monitoring group below one."""

    __slots__ = ("monitors", "name", "owner", "parent", "processes", "schemata")

    def __init__(self, name: str, parent: Group | None, schemata: dict[str, dict[int, str]]) -> None:
        """Make a group with *schemata* by resource and domain."""
        self.name = name
        self.parent = parent
        self.schemata = schemata
        self.owner = ""
        self.processes: dict[Process, None] = {}
        self.monitors: dict[str, Group] = {}

    def text(self) -> str:
        """Return the schemata file's content."""
        return "".join(
            f"{resource}:{';'.join(f'{domain}={value}' for domain, value in domains.items())}\n"
            for resource, domains in self.schemata.items()
        )


class Resctrl:
    """A mounted resctrl file system.

    Args:
        closids: How many classes of service the hardware has, the root's own included.
        cache_bits: Width of a cache bit mask.
        min_bits: The fewest bits that a mask may have.
        domains: How many caches there are.
        bandwidth_gran: Step of the memory bandwidth, in percent; also its minimum.
        rmids: How many monitoring groups the hardware can tell apart, those of classes included; 0: no
            monitoring.
        events: What the hardware can count, as in ``info/L3_MON/mon_features``.
    """

    __slots__ = (
        "_full", "bandwidth_gran", "cache_bits", "closids", "events", "groups", "min_bits", "rmids", "root",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - the parameters are the hardware's
        self,
        *,
        closids: int = 4,
        cache_bits: int = 20,
        min_bits: int = 1,
        domains: int = 2,
        bandwidth_gran: int = 10,
        rmids: int = 16,
        events: Iterable[str] = EVENTS,
    ) -> None:
        """Make the root group with everything."""
        self.closids = closids
        self.cache_bits = cache_bits
        self.min_bits = min_bits
        self.bandwidth_gran = bandwidth_gran
        self.rmids = rmids
        self.events = tuple(events) if rmids else ()
        full = f"{(1 << cache_bits) - 1:x}"
        self._full = {
            "L3": dict.fromkeys(range(domains), full),
            "MB": dict.fromkeys(range(domains), str(_PERCENT)),
        }
        self.root = Group("/", None, self._copy())
        self.groups: dict[str, Group] = {}

    def _copy(self) -> dict[str, dict[int, str]]:
        return {resource: dict(domains) for resource, domains in self._full.items()}

    def find(self, name: str) -> Group | None:
        """Return the class *name*; ``/`` is the root."""
        return self.root if name in ("/", "") else self.groups.get(name)

    def make(self, name: str, owner: str = "") -> Group:
        """Make a class of service: ENOSPC when the hardware has no more."""
        if name in {".", "..", "info", "mon_groups", "mon_data"} or "/" in name:
            raise refusal(errno.EINVAL, self.path(name))
        if name in self.groups:
            raise refusal(errno.EEXIST, self.path(name))
        if len(self.groups) + 1 >= self.closids:
            raise refusal(errno.ENOSPC, self.path(name))
        self._monitor_left()
        made = self.groups[name] = Group(name, self.root, self._copy())
        made.owner = owner
        return made

    def _monitor_left(self) -> None:
        used = 1 + len(self.groups) + sum(len(group.monitors) for group in self.all_classes())
        if self.rmids and used >= self.rmids:
            raise refusal(errno.ENOSPC, "mon_groups")

    def make_monitor(self, clos: Group, name: str, owner: str = "") -> Group:
        """Make the monitoring group *name* below *clos*."""
        if not self.rmids:
            raise refusal(errno.EOPNOTSUPP, f"{self.path(clos.name)}/mon_groups/{name}")
        if name in clos.monitors:
            raise refusal(errno.EEXIST, f"{self.path(clos.name)}/mon_groups/{name}")
        self._monitor_left()
        made = clos.monitors[name] = Group(name, clos, {})
        made.owner = owner
        return made

    def remove(self, name: str) -> None:
        """Remove a class; its processes fall back to the root, its monitoring groups go with it."""
        group = self.groups.pop(name, None)
        if group is not None:
            for each in (group, *group.monitors.values()):
                self.root.processes.update(each.processes)

    def all_classes(self) -> list[Group]:
        """Return the root and all classes."""
        return [self.root, *self.groups.values()]

    def join(self, process: Process, group: Group) -> None:
        """Move *process* to *group*, as a write to its tasks file does."""
        self.leave(process)
        group.processes[process] = None
        if group.parent not in (None, self.root) and group.parent is not None:
            group.parent.processes[process] = None

    def leave(self, process: Process) -> None:
        """Forget *process* in all groups."""
        for clos in self.all_classes():
            clos.processes.pop(process, None)
            for monitor in clos.monitors.values():
                monitor.processes.pop(process, None)

    def path(self, name: str) -> str:
        """Return the host's path of group *name*."""
        return f"/sys/fs/resctrl/{name.lstrip('/')}".rstrip("/")

    def write(self, group: Group, line: str) -> None:
        """Write a line of schemata, such as ``L3:0=f;1=ff`` or ``MB:0=50``; EINVAL for the impossible."""
        parsed = self.parse(line)
        for resource, domains in parsed.items():
            group.schemata[resource].update(domains)

    def change(self, group: Group, lines: Sequence[str]) -> None:
        """Write all of *lines*, or none of them."""
        before = {resource: dict(domains) for resource, domains in group.schemata.items()}
        try:
            for line in lines:
                self.write(group, line)
        except OSError:
            group.schemata = before
            raise

    def parse(self, line: str) -> dict[str, dict[int, str]]:
        """Return resource and domains of a schemata line; EINVAL for what the hardware does not know."""
        where = "schemata"
        resource, colon, rest = line.strip().partition(":")
        resource = resource.strip()
        known = self._full.get(resource)
        if not colon or known is None:
            raise refusal(errno.EINVAL, where, f"invalid schemata line {line!r}")
        found: dict[int, str] = {}
        for part in rest.split(";"):
            domain, equals, value = (word.strip() for word in part.partition("="))
            if not equals or not domain.isdigit() or int(domain) not in known or int(domain) in found:
                raise refusal(errno.EINVAL, where, f"invalid schemata line {line!r}")
            found[int(domain)] = self._bandwidth(value) if resource == "MB" else self._mask(value)
        return {resource: found}

    def _bandwidth(self, text: str) -> str:
        if not text.isdigit() or not self.bandwidth_gran <= int(text) <= _PERCENT:
            raise refusal(errno.EINVAL, "schemata", f"invalid memory bandwidth {text!r}")
        steps = -(-int(text) // self.bandwidth_gran)
        return str(min(_PERCENT, steps * self.bandwidth_gran))

    def _mask(self, text: str) -> str:
        try:
            mask = int(text, 16)
        except ValueError:
            mask = 0
        # Cache bit masks must be contiguous (resctrl.rst, "Cache Bit Masks").
        low = mask & -mask
        if not 0 < mask < 1 << self.cache_bits or (mask + low) & mask or mask.bit_count() < self.min_bits:
            raise refusal(errno.EINVAL, "schemata", f"invalid cache bit mask {text!r}")
        return f"{mask:x}"

    def matches(self, group: Group, lines: Sequence[str]) -> bool:
        """Tell whether *group* has what *lines* ask for; a later line changes what an earlier one sets."""
        wanted: dict[str, dict[int, str]] = {}
        for line in lines:
            for resource, domains in self.parse(line).items():
                wanted.setdefault(resource, {}).update(domains)
        return all(
            group.schemata[resource].get(domain) == value
            for resource, domains in wanted.items()
            for domain, value in domains.items()
        )

    def counted(self, group: Group) -> dict[str, dict[str, dict[str, int]]]:
        """Return what is counted for *group*, by resource, domain and event; nothing is."""
        del group
        return {"L3": {str(domain): dict.fromkeys(self.events, 0) for domain in self._full["L3"]}}
