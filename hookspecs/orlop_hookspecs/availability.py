"""What a host can be asked for: capabilities by name, and a platform's answers about its host.

The features document says what is implemented and never looks at the host. This is the other question: what
does this host have, and what may this caller do there? A kernel that can tell implements
:class:`Examinable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from orlop_hookspecs.documents import vocabulary
from orlop_hookspecs.frozen import Frozen, frozen


@frozen
class Capability(Frozen):
    """Something that a container may need of the host."""

    name: str
    """Short name: ``namespace.user``, ``controller.memory``."""
    paths: tuple[str, ...] = ()
    """Properties of a config that need it, as in :class:`~orlop_hookspecs.hooks.capability.Handle`."""
    values: frozenset[str] | None = None
    """The strings at these properties that need it; ``None``: whatever they hold."""
    feature: str = ""
    """Dotted path in the features document that says whether it is implemented; empty: whoever handles the
    properties implements it. What follows ``annotations.`` is one key, dots and all."""
    basic: bool = False
    """Hardly any container does without it."""


@frozen
class Answer(Frozen):
    """What a platform says about one capability."""

    available: bool
    """This host has it."""
    allowed: bool = True
    """This caller may use it; without meaning when the host does not have it."""
    reason: str = ""
    """Why not, or with what limits: lower case, one line."""
    remedy: str = ""
    """What an administrator, or the caller, can do about it."""


class Examinable(Protocol):
    """A kernel that can be asked about its host; not every kernel can."""

    def examine(self, asked: Sequence[Capability]) -> Mapping[str, Answer]:
        """Return answers by name, for those of *asked* that the platform knows something about.

        Nothing on the host is changed: what has to be tried is tried in a process and in namespaces of its
        own, and ends with them.

        Raises:
            PlatformError: The host cannot be examined at all.
        """


def _namespace(kind: str) -> Capability:
    return Capability(
        f"namespace.{kind}",
        ("linux.namespaces[].type",),
        frozenset((kind,)),
        "linux.namespaces",
        basic=kind in {"mount", "pid"},
    )


def _controller(name: str, *properties: str) -> Capability:
    return Capability(f"controller.{name}", tuple(f"linux.resources.{one}" for one in properties))


def _word(prefix: str, word: str, paths: Iterable[str], feature: str) -> Capability:
    return Capability(f"{prefix}.{word}", tuple(paths), frozenset((word,)), feature)


CHECKPOINTS = "annotations.org.opencontainers.runc.checkpoint.enabled"
"""The features document has no field for checkpoints; engines look for this annotation."""

_CPU = ("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "idle")
_OLD = frozenset(("rbind", "ridmap", "rprivate", "rshared", "rslave", "runbindable"))
_RECURSIVE = frozenset(
    option
    for option in vocabulary.MOUNT_OPTIONS
    if option[0] == "r" and option[1:] in vocabulary.MOUNT_OPTIONS and option not in _OLD
)

CATALOGUE: tuple[Capability, ...] = (
    *(_namespace(kind) for kind in vocabulary.NAMESPACE_TYPES),
    Capability("user.ids", ("linux.uidMappings", "linux.gidMappings")),
    Capability("time.offsets", ("linux.timeOffsets",)),
    Capability("mounts", ("mounts",), feature="mountOptions", basic=True),
    Capability("mounts.recursive", ("mounts[].options[]",), _RECURSIVE, "mountOptions"),
    Capability(
        "mounts.idmap",
        ("mounts[].uidMappings", "mounts[].gidMappings"),
        feature="linux.mountExtensions.idmap.enabled",
    ),
    Capability("cgroups", ("linux.cgroupsPath", "linux.resources")),
    Capability("cgroups.v1", feature="linux.cgroup.v1"),
    Capability("cgroups.v2", ("linux.resources.unified",), feature="linux.cgroup.v2"),
    Capability("cgroups.systemd", feature="linux.cgroup.systemd"),
    Capability("cgroups.systemdUser", feature="linux.cgroup.systemdUser"),
    _controller("cpu", *(f"cpu.{one}" for one in _CPU)),
    _controller("cpuset", "cpu.cpus", "cpu.mems"),
    _controller("memory", "memory"),
    _controller("pids", "pids"),
    _controller("io", "blockIO"),
    _controller("hugetlb", "hugepageLimits"),
    _controller("network", "network"),
    _controller("devices", "devices"),
    Capability("controller.rdma", ("linux.resources.rdma",), feature="linux.cgroup.rdma"),
    Capability("seccomp", ("linux.seccomp",), feature="linux.seccomp.enabled"),
    *(
        _word(
            "seccomp",
            action,
            ("linux.seccomp.defaultAction", "linux.seccomp.syscalls[].action"),
            "linux.seccomp.actions",
        )
        for action in vocabulary.SECCOMP_ACTIONS
    ),
    *(
        _word("seccomp", flag, ("linux.seccomp.flags[]",), "linux.seccomp.supportedFlags")
        for flag in vocabulary.SECCOMP_FLAGS
    ),
    Capability("apparmor", ("process.apparmorProfile",), feature="linux.apparmor.enabled"),
    Capability("selinux", ("process.selinuxLabel", "linux.mountLabel"), feature="linux.selinux.enabled"),
    Capability("intelRdt", ("linux.intelRdt",), feature="linux.intelRdt.enabled"),
    Capability(
        "intelRdt.monitoring",
        ("linux.intelRdt.enableMonitoring", "linux.intelRdt.enableCMT", "linux.intelRdt.enableMBM"),
        feature="linux.intelRdt.monitoring",
    ),
    Capability("memoryPolicy", ("linux.memoryPolicy",), feature="linux.memoryPolicy.modes"),
    Capability("netDevices", ("linux.netDevices",), feature="linux.netDevices.enabled"),
    Capability("rlimits", ("process.rlimits",)),
    Capability("terminal", ("process.terminal",)),
    Capability("checkpoint", feature=CHECKPOINTS),
    Capability("checkpoint.preDump", feature=CHECKPOINTS),
    Capability("checkpoint.lazyPages", feature=CHECKPOINTS),
)
"""Everything that is asked about by default."""
