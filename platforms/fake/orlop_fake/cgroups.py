"""Control groups in memory: version 1, version 2 and hybrid, with limits that are enforced (cgroups(7))."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake import cgroup_files, rdma
from orlop_fake.refusals import refusal
from orlop_fake.versions import CONTROLLERS, FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orlop_fake.host import Host
    from orlop_fake.processes import Process
    from orlop_fake.vfs import Directory

V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
V1_HIERARCHIES = (
    "cpuset",
    "cpu,cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls,net_prio",
    "perf_event",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
)
_UNIFIED = 2
DELEGATED = frozenset({"cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "memory.oom.group"})
"""What /sys/kernel/cgroup/delegate lists."""


class Cgroup:
    """One control group: a directory with files, processes and children."""

    __slots__ = (
        "children", "device_rules", "enabled", "events", "frozen", "hierarchy", "memory", "name", "node",
        "owner", "parent", "processes", "rdma", "uid", "values",
    )  # fmt: skip

    def __init__(self, hierarchy: Hierarchy, name: str, parent: Cgroup | None) -> None:
        """Make a group; :meth:`make` is how others do."""
        self.hierarchy = hierarchy
        self.name = name
        self.parent = parent
        self.children: dict[str, Cgroup] = {}
        self.processes: dict[Process, None] = {}
        self.values: dict[str, str | dict[str, str]] = {}
        self.enabled: tuple[str, ...] = ()
        """Version 2: what cgroup.subtree_control enables for the children."""
        self.owner = ""
        self.uid = 0
        """The host's id of the user who owns the directory and the delegated files in it."""
        self.node: Directory | None = None
        """Its directory in the file system, made when it is first looked at."""
        self.frozen = False
        self.memory = 0
        """Bytes that are charged here, those of the groups below included."""
        self.rdma: dict[tuple[str, str], int] = {}
        """What is used of each device and kind of resource, by those of the groups below as well."""
        self.events: dict[str, int] = {}
        """Counted events: ``max``, ``oom``, ``oom_kill``, ``oom_group_kill``, ``pids.max``."""
        self.device_rules: tuple[tuple[bool, str, int | None, int | None, str], ...] = ()

    @property
    def path(self) -> str:
        """The path from the root of the hierarchy."""
        if self.parent is None:
            return "/"
        return f"{self.parent.path.rstrip('/')}/{self.name}"

    @property
    def controllers(self) -> Sequence[str]:
        """What is controlled here: on version 2 only what the parent enables for its children."""
        if self.hierarchy.version != _UNIFIED or self.parent is None:
            return self.hierarchy.controllers
        return self.parent.enabled

    # Directories ------------------------------------------------------------

    def make(self, name: str, owner: str = "") -> Cgroup:
        """Make the child *name*: mkdir(2)."""
        if name in self.children:
            raise refusal(errno.EEXIST, f"{self.path.rstrip('/')}/{name}")
        self._descends()
        made = self.children[name] = Cgroup(self.hierarchy, name, self)
        made.owner = owner
        return made

    def _descends(self) -> None:
        """Refuse with EAGAIN a child where this group or one above has enough (cgroup.max.depth)."""
        for depth, group in enumerate(self.line(), 1):
            most = group.values.get("cgroup.max.depth", "max")
            if most != "max" and depth > int(str(most)):
                raise refusal(errno.EAGAIN, self.path)
            most = group.values.get("cgroup.max.descendants", "max")
            if most != "max" and len(list(group.subtree())) > int(str(most)):
                raise refusal(errno.EAGAIN, self.path)

    def remove(self) -> None:
        """Remove this group: rmdir(2); EBUSY while it has processes or children."""
        if self.processes or self.children or self.parent is None:
            raise refusal(errno.EBUSY, self.path)
        self.set_frozen(frozen=False)
        del self.parent.children[self.name]

    def find(self, path: str) -> Cgroup | None:
        """Return the group at *path* from here, or ``None``."""
        group: Cgroup | None = self
        for part in path.split("/"):
            if part and group is not None:
                group = group.children.get(part)
        return group

    def subtree(self) -> Iterator[Cgroup]:
        """Yield this group and all below it, parents first."""
        yield self
        for child in self.children.values():
            yield from child.subtree()

    def line(self) -> Iterator[Cgroup]:
        """Yield this group and all above it."""
        group: Cgroup | None = self
        while group is not None:
            yield group
            group = group.parent

    # Files ------------------------------------------------------------

    def _known(self, file: str) -> tuple[str, cgroup_files.Check | None]:
        controller = file.partition(".")[0]
        hierarchy = self.hierarchy
        if hierarchy.version == _UNIFIED:
            # The root has no limits: it is the machine.
            tables = (
                cgroup_files.V2.get(controller, {}) if controller in self.controllers and self.parent else {}
            )
            if file in cgroup_files.CORE_V2 and not (
                self.parent is None and file in {"cgroup.freeze", "cgroup.type"}
            ):
                tables = cgroup_files.CORE_V2
        else:
            tables = cgroup_files.V1.get(controller, {}) if controller in hierarchy.controllers else {}
        if controller == "hugetlb" and controller in self.controllers and self.parent:
            tables = hierarchy.huge_pages
        if file not in tables or hierarchy.host.linux < FILES.get(file, (0, 0)):
            raise refusal(errno.ENOENT, self.file(file))
        return tables[file]

    def owner_of(self, file: str) -> int:
        """Return the host's id of the user who owns *file*; only some go with the directory (cgroups(7))."""
        return self.uid if file in DELEGATED else 0

    def file(self, name: str) -> str:
        """Return the host's path of file *name*."""
        return f"{self.hierarchy.mountpoint}{self.path.rstrip('/')}/{name}"

    def files(self) -> list[str]:
        """Return the names of all files, sorted."""
        names = {"cgroup.procs"}
        if self.hierarchy.version == _UNIFIED:
            names |= set(cgroup_files.CORE_V2) | {
                "cgroup.controllers",
                "cgroup.events",
                "cgroup.kill",
                "cgroup.threads",
            }
            for controller in self.controllers if self.parent else ():
                names |= set(cgroup_files.V2.get(controller, ()))
            names |= {
                name
                for name in _COMPUTED
                if name.partition(".")[0] in self.controllers and self.parent and name not in _ONLY_V1
            }
        else:
            names |= {"tasks"}
            for controller in self.hierarchy.controllers:
                names |= set(cgroup_files.V1.get(controller, ()))
                names |= {
                    name for name in _COMPUTED.keys() - _ONLY_V2 if name.partition(".")[0] == controller
                }
            if "devices" in self.hierarchy.controllers:
                names |= {"devices.list", "devices.allow", "devices.deny"}
        if "hugetlb" in self.controllers and self.parent:
            names |= set(self.hierarchy.huge_pages)
        return sorted(name for name in names if self.hierarchy.host.linux >= FILES.get(name, (0, 0)))

    def read(self, file: str) -> str:
        """Return the content of *file* without a final newline."""
        computed = _CORE.get(file)
        if computed is None and file.partition(".")[0] in self.controllers:
            computed = _COMPUTED.get(file)
        of_others = _ONLY_V1 if self.hierarchy.version == _UNIFIED else _ONLY_V2
        if computed is not None and file not in of_others:
            return computed(self)
        default, _ = self._known(file)
        if file in {"cpuset.cpus", "cpuset.mems"} and self.parent is None:
            count = self.hierarchy.host.cpus if file.endswith("cpus") else self.hierarchy.host.nodes
            return f"0-{count - 1}" if count > 1 else "0"
        value = self.values.get(file, default)
        return "\n".join(f"{key} {value[key]}" for key in value) if isinstance(value, dict) else value

    def write(self, file: str, text: str) -> None:
        """Write *text* to *file*; refused as the kernel refuses it."""
        if file in {"devices.allow", "devices.deny"} and "devices" in self.hierarchy.controllers:
            self._device_line(file, text)
            return
        there = self.hierarchy.host.linux >= FILES["cgroup.kill"]
        if file == "cgroup.kill" and self.hierarchy.version == _UNIFIED and self.parent is not None and there:
            if text.strip() != "1":
                raise refusal(errno.ERANGE, self.file(file))
            self.hierarchy.host.kill_all(process for group in self.subtree() for process in group.processes)
            return
        _, check = self._known(file)
        if check is None:
            raise refusal(errno.EACCES, self.file(file))
        try:
            kept = check(self, file, text)
        except OSError as error:
            raise refusal(error.errno or errno.EINVAL, self.file(file)) from None
        if not isinstance(self.values.get(file), dict) and file != "cgroup.subtree_control":
            self.values[file] = kept
        if file == "memory.max":
            self.hierarchy.host.shrunk(self)

    def keyed(self, file: str, key: str, value: str) -> str:
        """Set one line of a keyed file."""
        lines = self.values.get(file)
        if not isinstance(lines, dict):
            lines = {}
            self.values[file] = lines
        lines[key] = value
        return value

    def line_of(self, file: str, key: str) -> str:
        """Return one line of a keyed file without its key; empty when it is not there."""
        lines = self.values.get(file)
        return lines.get(key, "") if isinstance(lines, dict) else ""

    def _device_line(self, file: str, text: str) -> None:
        kind, _, rest = text.strip().partition(" ")
        if kind == "a":
            numbers, access = "*:*", "rwm"
        else:
            numbers, _, access = rest.partition(" ")
        major, colon, minor = numbers.partition(":")
        fine = kind in {"a", "b", "c"} and colon and access and set(access) <= set("rwm")
        if not fine or any(part != "*" and not part.isdigit() for part in (major, minor)):
            raise refusal(errno.EINVAL, self.file(file))
        rule = (
            file == "devices.allow",
            kind,
            None if major == "*" else int(major),
            None if minor == "*" else int(minor),
            access,
        )
        self.device_rules = (rule,) if kind == "a" else (*self.device_rules, rule)

    # Processes ------------------------------------------------------------

    def join(self, process: Process) -> None:
        """Move *process* here from its group of the same hierarchy."""
        version, parent = self.hierarchy.version, self.parent
        if version == _UNIFIED and parent is not None and self.enabled:
            raise refusal(errno.EBUSY, self.file("cgroup.procs"))
        if self.hierarchy.needs_cpus and not (self.read("cpuset.cpus") and self.read("cpuset.mems")):
            raise refusal(errno.ENOSPC, self.file("tasks"))
        self.leave(process)
        self.enter(process)

    def enter(self, process: Process) -> None:
        """Count *process* here, as a fork does."""
        self.processes[process] = None
        process.cgroups[self.hierarchy.name] = self
        if process.memory and self.hierarchy.charges_memory:
            for group in self.line():
                group.memory += process.memory

    def leave(self, process: Process) -> None:
        """Stop counting *process* in this hierarchy."""
        known = process.cgroups.pop(self.hierarchy.name, None)
        if known is not None:
            known.processes.pop(process, None)
            if process.memory and self.hierarchy.charges_memory:
                for group in known.line():
                    group.memory -= process.memory

    def forks(self) -> None:
        """Refuse a fork with EAGAIN where pids.max is reached, here or above."""
        for group in self.line():
            limit = group.values.get("pids.max", "max")
            if limit != "max" and sum(len(below.processes) for below in group.subtree()) >= int(str(limit)):
                group.events["pids.max"] = group.events.get("pids.max", 0) + 1
                raise refusal(errno.EAGAIN)

    def over_limit(self, more: int) -> Cgroup | None:
        """Return the group, from here upwards, that does not allow *more* bytes; ``None`` when all do."""
        for group in self.line():
            limit = group.memory_limit()
            if limit is not None and group.memory + more > limit:
                return group
        return None

    def memory_limit(self) -> int | None:
        """Return the bytes that this group itself allows; ``None``: any number."""
        file = "memory.max" if self.hierarchy.version == _UNIFIED else "memory.limit_in_bytes"
        limit = self.values.get(file, "max")
        return None if limit == "max" else int(str(limit))

    @property
    def effectively_frozen(self) -> bool:
        """This group or one above it is frozen."""
        return any(group.frozen for group in self.line())

    def set_frozen(self, *, frozen: bool) -> None:
        """Freeze or thaw all processes here and below."""
        if frozen == self.frozen:
            return
        self.frozen = frozen
        self.hierarchy.host.frozen += 1 if frozen else -1
        if not frozen:
            self.hierarchy.host.thawed()

    def allows_device(self, kind: str, major: int, minor: int, access: str) -> bool:
        """Tell whether the rules allow *access*: the last match decides; without rules all is allowed."""
        allowed = dict.fromkeys(access, not self.device_rules)
        for allow, type_, want_major, want_minor, letters in self.device_rules:
            if (
                type_ not in ("a", kind)
                or want_major not in (None, -1, major)
                or want_minor not in (None, -1, minor)
            ):
                continue
            for letter in access:
                if letter in letters or type_ == "a":
                    allowed[letter] = allow
        return all(allowed.values())


def _rule_text(rule: tuple[bool, str, int | None, int | None, str]) -> str:
    allow, kind, major, minor, access = rule
    numbers = ":".join("*" if part is None else str(part) for part in (major, minor))
    return f"{kind} {numbers} {access}" if allow else f"deny {kind} {numbers} {access}"


def _pids(group: Cgroup) -> str:
    return "\n".join(str(process.pid) for process in group.processes)


def _core_events(group: Cgroup) -> str:
    populated = any(below.processes for below in group.subtree())
    return f"populated {int(populated)}\nfrozen {int(group.effectively_frozen)}"


def _device_list(group: Cgroup) -> str:
    return "\n".join(_rule_text(rule) for rule in group.device_rules) or "a *:* rwm"


def _memory_events(group: Cgroup) -> str:
    return "\n".join(
        f"{name} {group.events.get(name, 0)}"
        for name in ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")
    )


def _oom_control(group: Cgroup) -> str:
    disabled = group.values.get("memory.oom_control", "0")
    return f"oom_kill_disable {disabled}\nunder_oom 0\noom_kill {group.events.get('oom_kill', 0)}"


_CORE: Mapping[str, Callable[[Cgroup], str]] = {
    "cgroup.procs": _pids,
    "cgroup.threads": _pids,
    "tasks": _pids,
    "cgroup.controllers": lambda group: " ".join(group.controllers),
    "cgroup.events": _core_events,
    "cgroup.subtree_control": lambda group: " ".join(group.enabled),
}
_CORE_V2 = frozenset({"cgroup.controllers", "cgroup.events", "cgroup.subtree_control", "cgroup.threads"})
_COMPUTED: Mapping[str, Callable[[Cgroup], str]] = {
    "devices.list": _device_list,
    "memory.current": lambda group: str(group.memory),
    "memory.usage_in_bytes": lambda group: str(group.memory),
    "memory.failcnt": lambda group: str(group.events.get("max", 0)),
    "memory.oom_control": _oom_control,
    "memory.events": _memory_events,
    "rdma.current": lambda group: rdma.shown(group, current=True),
    "rdma.max": lambda group: rdma.shown(group, current=False),
    "pids.current": lambda group: str(sum(len(below.processes) for below in group.subtree())),
    "pids.events": lambda group: f"max {group.events.get('pids.max', 0)}",
}


_ONLY_V1 = frozenset(
    {"tasks", "memory.usage_in_bytes", "memory.failcnt", "memory.oom_control", "devices.list"}
)
_ONLY_V2 = _CORE_V2 | {"memory.current", "memory.events"}


class Hierarchy:
    """One tree of cgroups with the controllers that are bound to it."""

    __slots__ = (
        "charges_memory", "controllers", "host", "huge_pages", "mountpoint", "name", "needs_cpus", "root",
        "version",
    )  # fmt: skip

    def __init__(
        self, host: Host, name: str, version: int, controllers: tuple[str, ...], mountpoint: str
    ) -> None:
        """Make a hierarchy with its root; *name* is as in /proc/PID/cgroup, empty for the unified one."""
        self.host = host
        self.name = name
        self.version = version
        self.controllers = controllers
        self.mountpoint = mountpoint
        self.charges_memory = "memory" in controllers
        self.needs_cpus = version == 1 and "cpuset" in controllers
        self.huge_pages = cgroup_files.huge_pages(version, host.huge_pages)
        self.root = Cgroup(self, "", None)


def _has(host: Host, version: int, controller: str) -> bool:
    return host.linux >= CONTROLLERS.get((version, controller), (0, 0))


def hierarchies(host: Host, mode: str) -> dict[str, Hierarchy]:
    """Return the hierarchies of a host in *mode* ``v1``, ``v2``, ``hybrid`` or ``none``, by name."""
    made: dict[str, Hierarchy] = {}
    if mode == "v2":
        there = tuple(name for name in V2_CONTROLLERS if _has(host, 2, name))
        made[""] = Hierarchy(host, "", 2, there, "/sys/fs/cgroup")
    elif mode in ("v1", "hybrid"):
        for name in (name for name in V1_HIERARCHIES if _has(host, 1, name)):
            made[name] = Hierarchy(host, name, 1, tuple(name.split(",")), f"/sys/fs/cgroup/{name}")
        made["name=systemd"] = Hierarchy(host, "name=systemd", 1, (), "/sys/fs/cgroup/systemd")
        if mode == "hybrid":
            made[""] = Hierarchy(host, "", 2, (), "/sys/fs/cgroup/unified")
    elif mode != "none":
        msg = f"cgroups must be 'v1', 'v2', 'hybrid' or 'none', not {mode!r}"
        raise ValueError(msg)
    return made
