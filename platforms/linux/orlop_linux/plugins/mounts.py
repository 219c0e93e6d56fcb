"""Plugin ``mounts``: ``mounts``, in the listed order (config.md, Mounts).

A bind mount has the option ``bind`` or ``rbind``, or the type ``bind``. ``remount`` gives further options to
the earlier mount at the same destination; where there is none, the mount is made with the options. Options in
r-form go for the mount and all below it, and count more than the others, wherever they stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop_hookspecs.hooks import hookimpl
from orlop_hookspecs.hooks.capability import Handle, Problem
from orlop_hookspecs.steps.mounts import MountBind, MountCgroup, MountFilesystem, MountProc, MountSysfs
from orlop_linux.plugins.mount_options import BINDS, KNOWN, MountOptions
from orlop_linux.plugins.shared import (
    NO_MOUNT_NAMESPACE,
    NO_MOUNT_NAMESPACE_HINT,
    can_mount,
    clean_path,
    container_path_fault,
    containers,
    has_new,
    is_absolute,
    is_below,
    mapping_problems,
    mapping_triples,
    mounts_below_root,
    namespace,
    owns_mounts,
    path_fault,
    plugin_info,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop_hookspecs.documents import Config, Mount
    from orlop_hookspecs.hooks.identity import PluginInfo
    from orlop_hookspecs.launch import PlanContext
    from orlop_hookspecs.steps.base import Step

BELOW_PROC = frozenset(
    {
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/net/dev",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/uptime",
    }
)
"""What may be mounted over in a procfs: files that tell about the machine, as lxcfs supplies them.

Anything else could mislead those who write to the container's procfs."""

KERNEL_TYPES = frozenset({"cgroup", "cgroup2", "devpts", "mqueue", "proc", "ramfs", "sysfs", "tmpfs"})
"""Types without a medium: ``ro`` is an attribute of the mount there, not of a shared superblock."""

CONTEXTS = frozenset({"context", "defcontext", "fscontext", "rootcontext"})
"""Options by which a mount has an SELinux label of its own; linux.mountLabel is for the others (mount(8))."""

NEVER_MAPPED = frozenset(
    {
        "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl",
        "mqueue", "nsfs", "proc", "pstore", "resctrl", "securityfs", "selinuxfs", "smackfs", "sysfs",
        "tracefs",
    }
)  # fmt: skip
"""Types that show the kernel's own objects: their owners mean what they say, and no kernel maps them.

Which others can be id-mapped depends on the kernel (mount_setattr(2)), and only it is asked."""

OWNERS = {"mqueue": "ipc", "proc": "pid"}
"""Types that show a namespace: who may mount them is for its owner to say (user_namespaces(7))."""

VALUE_MAX = 255
"""Bytes of one option's value in fsconfig(2); with a longer one mount(2) has to be called."""

DATA_MAX = 4095
"""Bytes of all options in mount(2)."""

LABELS = frozenset({"context", "defcontext", "fscontext", "rootcontext"})
"""Options of every file system that say what SELinux makes of its files (mount(8))."""


@hookimpl
def orlop_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return plugin_info("mounts", "mounts with all options of the specification", after=("rootfs",))


@hookimpl
def orlop_handles() -> Sequence[Handle]:
    """Return the properties of a mount; which options a file system has of its own is the kernel's to say."""
    return (
        *containers("mounts", "mounts[]"),
        *(
            Handle(f"mounts[].{name}")
            for name in ("destination", "type", "source", "options", "uidMappings", "gidMappings")
        ),
    )


@hookimpl
def orlop_features() -> Mapping[str, Any]:
    """Name the options, and say that mounts can be id-mapped."""
    return {"mountOptions": tuple(sorted(KNOWN)), "linux.mountExtensions.idmap.enabled": True}


class _Entry:
    """A mount with its cleaned destination and what its options, and those of later remounts, mean."""

    __slots__ = ("destination", "mount", "options", "pointer", "remounts")

    def __init__(self, index: int, mount: Mount) -> None:
        self.pointer = f"/mounts/{index}"
        self.mount = mount
        self.destination = clean_path(mount.destination)
        self.options = MountOptions()
        self.options.add(mount.options or (), f"{self.pointer}/options")
        if mount.type == "bind" and not self.options.bind:
            self.options.bind = "bind"
        self.remounts: list[_Entry] = []

    @property
    def mapped(self) -> bool:
        """Whether the mount is id-mapped."""
        return bool(self.options.idmap or self.mount.uid_mappings or self.mount.gid_mappings)

    def remount(self, later: _Entry) -> None:
        """Take in the options of a remount; whether it says bind again makes no difference."""
        self.remounts.append(later)
        kept = (option if option not in BINDS else "defaults" for option in later.mount.options or ())
        self.options.add(kept, f"{later.pointer}/options")


def _entries(config: Config) -> list[_Entry]:
    """Return the mounts of *config* in order, each with what later remounts add to it."""
    entries: list[_Entry] = []
    latest: dict[str, _Entry] = {}
    for index, mount in enumerate(config.mounts or ()):
        entry = _Entry(index, mount)
        earlier = latest.get(entry.destination)
        if entry.options.remount and earlier is not None:
            earlier.remount(entry)
            continue
        entries.append(entry)
        latest[entry.destination] = entry
    return entries


@hookimpl
def orlop_validate(config: Config) -> Sequence[Problem]:
    """Refuse destinations that endanger the container's procfs, and options that mean nothing there."""
    if config.mounts and not can_mount(config):
        return (Problem("/mounts", NO_MOUNT_NAMESPACE, hint=NO_MOUNT_NAMESPACE_HINT),)
    problems: list[Problem] = []
    for entry in _entries(config):
        fault = container_path_fault(entry.mount.destination)
        if fault:
            problems.append(Problem(f"{entry.pointer}/destination", fault, entry.mount.destination))
            continue
        problems += _options(entry)
        problems += _bind(entry) if entry.options.bind else _filesystem(entry, config)
        problems += _procfs(entry)
        problems += _idmap(entry, config)
    return problems


def _options(entry: _Entry) -> Iterator[Problem]:
    for later in entry.remounts:
        if later.mount.uid_mappings or later.mount.gid_mappings:
            yield Problem(later.pointer, "a remount cannot change the id mappings of a mount")


def _bind(entry: _Entry) -> Iterator[Problem]:
    mount = entry.mount
    source = mount.source or ""
    if path_fault(source):
        yield Problem(f"{entry.pointer}/source", f"the source of a bind mount: {path_fault(source)}", source)
    for pointer, option in entry.options.data:
        # A remount would mean the file system.
        if not (_is_ignored(option) and pointer.startswith(f"{entry.pointer}/")):
            yield Problem(
                pointer,
                "the option is unknown; a bind mount has none of a file system",
                option,
            )
    if entry.options.tmpcopyup:
        yield Problem(f"{entry.pointer}/options", "tmpcopyup needs the type tmpfs", mount.type)


def _size(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))


def _data(entry: _Entry, config: Config) -> Iterator[Problem]:
    """Yield why mount(2) could not take all options: it would leave out the last ones without a word."""
    options = [option for _, option in entry.options.data]
    values = (entry.mount.source or "", *(option.partition("=")[2] for option in options))
    long = (value for value in values if len(value) > VALUE_MAX // 4 and _size(value) > VALUE_MAX)
    if "iversion" not in entry.options.superblock and not any(long):
        return
    if not owns_mounts(config):
        yield Problem(
            f"{entry.pointer}/options",
            f"iversion and values of more than {VALUE_MAX} bytes need a mount namespace for this container",
            hint="add a mount namespace without a path to linux.namespaces",
        )
    whole = ",".join(options)
    if _size(whole) > DATA_MAX:
        yield Problem(
            f"{entry.pointer}/options",
            f"the options of the file system are longer than the {DATA_MAX} bytes that mount(2) takes",
            _size(whole),
        )


def _owned(entry: _Entry, config: Config) -> Iterator[Problem]:
    """Yield that a new user namespace does not own the namespace that the file system would show."""
    kind = OWNERS.get(entry.mount.type or "")
    if kind is not None and has_new(config, "user") and not has_new(config, kind):
        yield Problem(
            f"{entry.pointer}/type",
            f"a container with a new user namespace can only mount this with a new {kind} namespace",
            entry.mount.type,
            f"add a {kind} namespace to linux.namespaces, or bind-mount the caller's",
        )


def _is_ignored(option: str) -> bool:
    """Tell whether *option* is one of a file system, which mount(2) ignores for a bind mount.

    The specification has unknown options passed to mount(2) as data. A word alone could be a misspelt flag,
    and whoever asks for a label or an id mapping must not get the mount without it.
    """
    name, equals, _ = option.partition("=")
    return bool(name and equals) and name not in KNOWN and name not in LABELS


def _filesystem(entry: _Entry, config: Config) -> Iterator[Problem]:
    mount = entry.mount
    if not mount.type or mount.type == "none":
        yield Problem(
            f"{entry.pointer}/type",
            "a mount that is no bind mount needs the type of a file system",
            mount.type,
            "add the option bind or rbind, or set the type",
        )
        return
    if entry.options.tmpcopyup and mount.type != "tmpfs":
        yield Problem(f"{entry.pointer}/options", "tmpcopyup needs the type tmpfs", mount.type)
    yield from _data(entry, config)
    yield from _owned(entry, config)
    if mount.type == "cgroup":
        for pointer, option in entry.options.data:
            yield Problem(pointer, "a mount of type cgroup has no such option", option)
    elif mount.type == "cgroup2" and namespace(config, "cgroup") is None:
        yield Problem(
            f"{entry.pointer}/type",
            "without a cgroup namespace the mount would show the host's whole tree",
            mount.type,
            "use the type cgroup, or add a cgroup namespace to linux.namespaces",
        )


def _procfs(entry: _Entry) -> Iterator[Problem]:
    """Yield why the mount would hide the procfs, or a part of it, from those who rely on it."""
    mount = entry.mount
    pointer = f"{entry.pointer}/destination"
    if entry.destination == "/proc":
        source = mount.source or ""
        own = entry.options.bind and is_absolute(source) and clean_path(source) == "/proc"
        if not own and (entry.options.bind or mount.type != "proc"):
            yield Problem(pointer, "only a procfs may be mounted at /proc", mount.destination)
    elif is_below(entry.destination, "/proc") and entry.destination not in BELOW_PROC:
        yield Problem(pointer, "this may not be mounted over: it is below /proc", mount.destination)


def _idmap(entry: _Entry, config: Config) -> Iterator[Problem]:
    mount = entry.mount
    if not entry.mapped:
        return
    if bool(mount.uid_mappings) != bool(mount.gid_mappings):
        missing = "gidMappings" if mount.uid_mappings else "uidMappings"
        yield Problem(f"{entry.pointer}/{missing}", "uidMappings and gidMappings must stand together")
    elif not mount.uid_mappings and namespace(config, "user") is None:
        yield Problem(
            f"{entry.pointer}/options",
            f"{entry.options.idmap} needs uidMappings and gidMappings, or a user namespace",
            entry.options.idmap,
        )
    if not entry.options.bind and mount.type in NEVER_MAPPED:
        yield Problem(f"{entry.pointer}/type", "a file system of this type cannot be id-mapped", mount.type)
    yield from mapping_problems(mount.uid_mappings or (), f"{entry.pointer}/uidMappings")
    yield from mapping_problems(mount.gid_mappings or (), f"{entry.pointer}/gidMappings")


@hookimpl
def orlop_plan(config: Config, context: PlanContext) -> Sequence[Step]:
    """Plan one step for each mount, in the listed order."""
    if not mounts_below_root(config):
        return ()
    cgroup_namespace = namespace(config, "cgroup") is not None
    label = (config.linux and config.linux.mount_label) or ""
    return tuple(
        _step(entry, context.bundle, label, cgroup_namespace=cgroup_namespace) for entry in _entries(config)
    )


def _step(entry: _Entry, bundle: str, label: str, *, cgroup_namespace: bool) -> Step:
    mount, options = entry.mount, entry.options
    kind = mount.type or ""
    common: dict[str, Any] = {
        "because": entry.pointer,
        "destination": entry.destination,
        "attributes": options.attributes,
        "cleared": options.cleared,
        "propagation": tuple(options.propagation),
        "recursive": options.recursive,
    }
    if options.bind:
        source = mount.source or ""
        if _is_sys(source) and "ro" in options.attributes:
            # The caller's cgroups are mounted below: a sysfs that is read-only for the container has to be so
            # there, too, unless the options say otherwise in r-form.
            said = dict(options.recursive)
            common["recursive"] = tuple({"ro": True, **said}.items())
        return MountBind(
            **common,
            source=source if is_absolute(source) else f"{bundle}/{source}",
            submounts=options.bind == "rbind",
            superblock=options.superblock,
            idmap=_mappings(entry),
        )
    data = tuple(option for _, option in options.data)
    if kind == "proc":
        return MountProc(**common, data=data)
    if kind == "sysfs":
        return MountSysfs(**common, data=data)
    if kind == "cgroup":
        return MountCgroup(**common, own_namespace=cgroup_namespace)
    if label and not any(option.partition("=")[0] in CONTEXTS for option in data):
        data = (*data, f"context={label}")
    readonly = "ro" in options.attributes and kind not in KERNEL_TYPES
    return MountFilesystem(
        **common,
        type=kind,
        source=mount.source or kind,
        superblock=(*options.superblock, "ro") if readonly else options.superblock,
        data=data,
        tmpcopyup=options.tmpcopyup,
        idmap=_mappings(entry),
    )


def _is_sys(source: str) -> bool:
    """Tell whether *source* is the caller's sysfs, or where it has the caller's cgroups."""
    return is_absolute(source) and clean_path(source) in {"/sys", "/sys/fs", "/sys/fs/cgroup"}


def _mappings(entry: _Entry) -> dict[str, Any] | None:
    if not entry.mapped:
        return None
    return {
        "recursive": entry.options.idmap == "ridmap",
        "uid": mapping_triples(entry.mount.uid_mappings),
        "gid": mapping_triples(entry.mount.gid_mappings),
    }
