"""The file system types of the fake kernel: proc, sysfs, cgroup, tmpfs and their kin."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake import sysctls
from orlop_fake.namespaces import FILES
from orlop_fake.refusals import ENOTBLK, refusal
from orlop_fake.vfs import Computed, Device, Directory, File, NamespaceFile, Node, Symlink, Virtual, grow

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop_fake.cgroups import Cgroup
    from orlop_fake.links import Link
    from orlop_fake.machine import Machine
    from orlop_fake.namespaces import PidNamespace
    from orlop_fake.processes import Process

_BROADCAST_MULTICAST = 0x1002  # netdevice(7); bit 0 is IFF_UP
_LOOPBACK = 0x8
_PROC_DIRECTORIES = ("acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "tty")
_PROC_FILES = {
    "cmdline": "fake=1\n",
    "cpuinfo": "processor\t: 0\n",
    "filesystems": "",
    "interrupts": "",
    "kcore": "",
    "keys": "",
    "latency_stats": "",
    "meminfo": "MemTotal: 4194304 kB\n",
    "sched_debug": "",
    "stat": "cpu 0 0 0 0\n",
    "sysrq-trigger": "",
    "timer_list": "",
    "timer_stats": "",
    "uptime": "",
    "version": "Linux version 6.12.0-fake\n",
}
_DISK_TYPES = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "iso9660", "squashfs", "f2fs", "erofs"}
)
_PLAIN_TYPES = frozenset(
    {
        "bpf",
        "debugfs",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "pstore",
        "ramfs",
        "securityfs",
        "tracefs",
    }
)
_OPTIONS = {
    "tmpfs": {
        "size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "mpol", "huge", "inode32", "inode64",
        "noswap", "quota", "usrquota", "grpquota",
    },
    "devpts": {"newinstance", "ptmxmode", "mode", "gid", "uid", "max"},
    "proc": {"hidepid", "gid", "subset"},
    "sysfs": set(),
    "mqueue": set(),
    "cgroup2": {"nsdelegate", "memory_localevents", "memory_recursiveprot", "favordynmods"},
    "overlay": {
        "lowerdir", "upperdir", "workdir", "index", "metacopy", "redirect_dir", "userxattr", "volatile",
        "xino", "nfs_export",
    },
}  # fmt: skip
TYPES = frozenset({*_OPTIONS, *_DISK_TYPES, *_PLAIN_TYPES, "cgroup"})
"""What /proc/filesystems lists."""


_LABELS = ("context", "defcontext", "fscontext", "rootcontext")
"""Options that SELinux adds to those of every file system (mount(8))."""


def new_filesystem(kernel: Machine, process: Process, type_: str, source: str, data: tuple[str, ...]) -> Node:
    """Return the root of a new instance, or refuse: ENODEV for unknown types, EINVAL for unknown options."""
    if type_ not in TYPES:
        raise refusal(errno.ENODEV, type_, f"unknown file system type {type_!r}")
    known = _OPTIONS.get(type_)
    labels = _LABELS if kernel.host.selinux else ()
    unknown = [
        option
        for option in data
        if known is not None and (name := option.partition("=")[0]) not in known and name not in labels
    ]
    if unknown:
        raise refusal(errno.EINVAL, type_, f"{type_}: unknown option {unknown[0]!r}")
    if type_ == "proc":
        return kernel.procfs(process.namespaces.pid)
    if type_ == "sysfs":
        return kernel.sysfs
    if type_ == "cgroup2":
        return _cgroup2(kernel, process)
    if type_ in _DISK_TYPES:
        _check_disk(kernel, source)
    elif type_ == "overlay":
        _check_layers(kernel, data)
    return _plain(type_, data)


def _check_disk(kernel: Machine, source: str) -> None:
    node = kernel.host_find(source).node
    if not isinstance(node, Device) or node.type != "b":
        raise refusal(ENOTBLK, source)


def _plain(type_: str, data: tuple[str, ...]) -> Directory:
    options = dict(option.partition("=")[::2] for option in data)
    root = Directory()
    if type_ == "tmpfs":
        try:
            root.mode = int(options.get("mode", "1777"), 8)
            root.uid, root.gid = int(options.get("uid", "0")), int(options.get("gid", "0"))
        except ValueError:
            raise refusal(errno.EINVAL, type_) from None
    elif type_ == "devpts":
        root.put("ptmx", Device("c", 5, 2, int(options.get("ptmxmode", "0"), 8)))
    elif type_ == "mqueue":
        root.mode = 0o1777
    return root


def _cgroup2(kernel: Machine, process: Process) -> Directory:
    unified = kernel.hierarchies.get("")
    if unified is None:
        raise refusal(errno.ENODEV, "cgroup2")
    return cgroup_directory(process.namespaces.cgroup.roots.get("", unified.root))


def _check_layers(kernel: Machine, data: tuple[str, ...]) -> None:
    options = dict(option.partition("=")[::2] for option in data)
    if not options.get("lowerdir"):
        raise refusal(errno.EINVAL, "overlay", "overlay: missing 'lowerdir'")
    for path in (*options["lowerdir"].split(":"), options.get("upperdir"), options.get("workdir")):
        if path and not isinstance(kernel.host_find(path).node, Directory):
            raise refusal(errno.ENOTDIR, path)


class CgroupDirectory(Directory):
    """A cgroup seen as a directory: making a name in it makes a cgroup."""

    __slots__ = ("_files", "_group")

    def __init__(self, group: Cgroup) -> None:
        """Show *group*."""
        super().__init__()
        self._group = group
        self._files: dict[str, Node] = {}

    def get(self, name: str) -> Node | None:
        """Return a child group or a file."""
        child = self._group.children.get(name)
        if child is not None:
            node: Node = cgroup_directory(child)
        elif name in self._files:
            node = self._files[name]
        elif name in self._group.files():
            group = self._group
            node = self._files[name] = Computed(
                lambda: group.read(name) + "\n", lambda text: group.write(name, text)
            )
        else:
            return None
        if child is None:
            node.uid = self._group.owner_of(name)
        node.parent = self
        return node

    def names(self) -> list[str]:
        """Return files and child groups, sorted."""
        return sorted([*self._group.files(), *self._group.children])

    def put(self, name: str, node: Node) -> None:
        """Refuse: only directories can be made here."""
        del node
        raise refusal(errno.EACCES, name)

    def make_directory(self, name: str, mode: int = 0o755) -> Directory:
        """Make a child group."""
        del mode
        return cgroup_directory(self._group.make(name, self._group.owner))

    def drop(self, name: str) -> None:
        """Remove a child group."""
        child = self._group.children.get(name)
        if child is None:
            raise refusal(errno.EPERM, name)
        child.remove()


def cgroup_directory(group: Cgroup) -> Directory:
    """Return the one directory that shows *group*."""
    if group.node is None:
        group.node = CgroupDirectory(group)
    return group.node


def make_sysfs(kernel: Machine) -> Directory:
    """Return the tree that every sysfs shows; the links are those of the reader's network namespace."""
    root = Directory(0o555)
    for path in (
        "firmware",
        "kernel",
        "fs/cgroup",
        "fs/resctrl",
        "devices/virtual/powercap",
        "class",
        "block",
        "bus",
        "dev",
    ):
        here: Directory = root
        for name in path.split("/"):
            below = here.get(name)
            if not isinstance(below, Directory):
                below = Directory(0o555)
                here.put(name, below)
            here = below
    nodes: dict[Link, Node] = {}

    def find(name: str) -> Node | None:
        link = kernel.current.namespaces.network.links.get(name)
        return None if link is None else nodes.setdefault(link, _link_directory(link))

    links = Virtual(find, lambda: kernel.current.namespaces.network.links)
    grow({"class": {"net": links}}, root)
    return root


def _flags(link: Link) -> int:
    return (_LOOPBACK if link.kind == "loopback" else _BROADCAST_MULTICAST) | link.up


def _link_directory(link: Link) -> Directory:
    """Return what sysfs says about a network device (Documentation/ABI/testing/sysfs-class-net)."""
    directory = Directory(0o555)
    directory.put("address", Computed(lambda: f"{link.hardware}\n"))
    directory.put("flags", Computed(lambda: f"{_flags(link):#x}\n"))
    directory.put("ifindex", Computed(lambda: f"{link.index}\n"))
    return directory


def make_procfs(kernel: Machine, space: PidNamespace, static: dict[str, Node]) -> Directory:
    """Return the root of a procfs of pid namespace *space*; *static* is what all instances share."""
    processes: dict[str, tuple[Process, Node]] = {}

    def find(name: str) -> Node | None:
        if name in static:
            return static[name]
        if name in {"self", "thread-self"}:
            number = kernel.current.pids.get(space)
            return Symlink(str(number)) if number is not None else None
        process = space.processes.get(int(name)) if name.isdigit() else None
        if process is None:
            processes.pop(name, None)
            return None
        known = processes.get(name)
        if known is None or known[0] is not process:
            processes[name] = known = (process, _process_directory(kernel, process))
        return known[1]

    return Virtual(find, lambda: [*static, "self", *map(str, space.processes)], refuses=errno.ENOENT)


def make_proc_static(kernel: Machine) -> dict[str, Node]:
    """Return what every procfs has beside processes."""
    nodes: dict[str, Node] = {name: Directory(0o555) for name in _PROC_DIRECTORIES}
    nodes |= {name: File(text, 0o444) for name, text in _PROC_FILES.items()}
    nodes["sysrq-trigger"].mode = 0o200
    nodes["kcore"].mode = 0o400
    nodes["mounts"] = Symlink("self/mounts")
    nodes["net"] = Symlink("self/net")
    nodes["filesystems"] = File("".join(f"nodev\t{name}\n" for name in sorted(TYPES)), 0o444)
    nodes["uptime"] = Computed(lambda: f"{kernel.clock.seconds:.2f} 0.00\n")
    nodes["sys"] = _sysctl_directory(kernel, "")
    return nodes


def _sysctl_directory(kernel: Machine, prefix: str) -> Directory:
    nodes: dict[str, Node] = {}

    def find(name: str) -> Node | None:
        if name not in nodes:
            key = prefix + name
            if key in sysctls.KEYS:
                nodes[name] = Computed(
                    lambda: sysctls.read(key, kernel.current.namespaces, kernel.sysctls) + "\n",
                    lambda text: sysctls.write(key, text, kernel.current.namespaces, kernel.sysctls),
                )
            elif any(known.startswith(f"{key}.") for known in sysctls.KEYS):
                nodes[name] = _sysctl_directory(kernel, f"{key}.")
        return nodes.get(name)

    def names() -> set[str]:
        return {key[len(prefix) :].partition(".")[0] for key in sysctls.KEYS if key.startswith(prefix)}

    return Virtual(find, names, refuses=errno.ENOENT)


def _process_directory(kernel: Machine, process: Process) -> Directory:
    files: dict[str, Callable[[], str | bytes]] = {
        "cgroup": lambda: _cgroup_text(kernel, process),
        "cmdline": lambda: "".join(f"{arg}\0" for arg in process.args),
        "comm": lambda: f"{process.comm}\n",
        "environ": lambda: "".join(f"{name}={value}\0" for name, value in process.env.items()),
        "gid_map": lambda: _map_text(process.namespaces.user.gid_map),
        "limits": lambda: "".join(f"{n} {s} {h}\n" for n, (s, h) in sorted(process.rlimits.items())),
        "mountinfo": lambda: "".join(
            f"{mount.describe()}\n" for mount in process.namespaces.mount.tree.mounts
        ),
        "mounts": lambda: "".join(f"{mount.line()}\n" for mount in process.namespaces.mount.tree.mounts),
        "numa_maps": lambda: f"00400000 {process.traits.memory_text()} file=/bin mapped=1\n",
        "oom_score_adj": lambda: f"{process.oom_score_adj}\n",
        "personality": lambda: f"{8 if process.traits.domain == 'LINUX32' else 0:08x}\n",
        "stat": lambda: stat_text(process),
        "status": lambda: status_text(process),
        "timens_offsets": lambda: "".join(
            f"{c} {s} {n}\n" for c, (s, n) in process.namespaces.time.offsets.items()
        ),
        "uid_map": lambda: _map_text(process.namespaces.user.uid_map),
    }
    root = Directory(0o555)
    for name, read in files.items():
        root.put(name, Computed(read))
    root.put("attr", _attributes(kernel, process))
    spaces = Directory(0o555)
    for kind, name in FILES.items():
        spaces.put(name, NamespaceFile(process.namespaces.get(kind)))
    root.put("ns", spaces)
    root.put("net", Directory(0o555))
    return root


def _attributes(kernel: Machine, process: Process) -> Directory:
    """Return the files of the security modules that the machine has (proc_pid_attr(5))."""
    attributes = Directory(0o555)

    def profile() -> str:
        name = process.traits.profile
        return f"{name}\n" if name == "unconfined" else f"{name} (enforce)\n"

    if kernel.host.selinux:
        attributes.put("current", Computed(lambda: process.traits.label))
    if kernel.host.apparmor is not None:
        own = Directory(0o555)
        own.put("current", Computed(profile))
        attributes.put("apparmor", own)
        if not kernel.host.selinux:
            attributes.put("current", Computed(profile))
    return attributes


def _map_text(extents: tuple[tuple[int, int, int], ...]) -> str:
    return "".join(f"{inside:10} {outside:10} {size:10}\n" for inside, outside, size in extents)


def _cgroup_text(kernel: Machine, process: Process) -> str:
    lines = []
    for number, (name, hierarchy) in enumerate(kernel.hierarchies.items(), 1):
        group = process.cgroups.get(name, hierarchy.root)
        root = kernel.current.namespaces.cgroup.roots.get(name, hierarchy.root)
        path = group.path
        if root.parent is not None and (path + "/").startswith(root.path + "/"):
            path = path[len(root.path) :] or "/"
        lines.append(f"{0 if not name else number}:{name}:{path}\n")
    return "".join(lines)


def stat_text(process: Process) -> str:
    """Return /proc/PID/stat; what the fake kernel does not count is 0 (proc_pid_stat(5))."""
    from orlop_fake.traits import DEADLINE, POLICIES

    traits = process.traits
    parent = process.parent.pids.get(process.namespaces.pid, 0) if process.parent else 0
    fields = dict.fromkeys(range(4, 53), 0)
    fields[4] = parent
    fields[18] = (
        -1 if traits.policy == DEADLINE else -1 - traits.priority if traits.priority else 20 + traits.nice
    )
    fields[19] = traits.nice
    fields[20] = 1
    fields[22] = process.start_time
    fields[40] = traits.priority
    fields[41] = POLICIES.index(traits.policy)
    letter = {"zombie": "Z", "reaped": "X"}.get(process.stage, "T" if process.stopped else "S")
    return f"{process.own_pid} ({process.comm}) {letter} {' '.join(map(str, fields.values()))}\n"


def status_text(process: Process) -> str:
    """Return the lines of /proc/PID/status that matter to containers (proc(5))."""
    from orlop_fake.processes import CAPABILITIES
    from orlop_fake.traits import cpus_text

    user = process.credentials
    letter = {"zombie": "Z (zombie)", "reaped": "X (dead)"}.get(process.stage, "S (sleeping)")

    def mask(names: frozenset[str]) -> str:
        return f"{sum(1 << number for number, name in enumerate(CAPABILITIES) if name in names):016x}"

    lines = {
        "Name": process.comm,
        "Umask": f"{process.umask:04o}",
        "State": "T (stopped)" if process.stopped else letter,
        "Pid": str(process.own_pid),
        "Uid": "\t".join([str(user.uid)] * 4),
        "Gid": "\t".join([str(user.gid)] * 4),
        "Groups": " ".join(map(str, user.groups)),
        "CapInh": mask(user.inheritable),
        "CapPrm": mask(user.permitted),
        "CapEff": mask(user.effective),
        "CapBnd": mask(user.bounding),
        "CapAmb": mask(user.ambient),
        "NoNewPrivs": str(int(process.no_new_privs)),
        "Seccomp": "2" if process.filters else "0",
        "Seccomp_filters": str(len(process.filters)),
        "Cpus_allowed_list": cpus_text(process),
    }
    return "".join(f"{name}:\t{value}\n" for name, value in lines.items())
