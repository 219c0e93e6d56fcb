"""What the features document promises, turned into configs that rely on it.

For each path of the document there is a way to write the smallest configs that use a value at that path. The
tests demand that there is one for every path that the document can have, so that nothing new is forgotten.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orlop_hookspecs.launch import LaunchOptions

Config = dict[str, Any]

ROOTFS = "/bundle/rootfs"
HOOK = "/hooks/nothing"
DEVICE = "eth0"
SOURCE = "/data"
AGENT = "/run/agent.sock"
MAPPINGS = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]

BASE: Config = {
    "ociVersion": "1.3.0",
    "root": {"path": ROOTFS},
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sh"], "cwd": "/"},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
}
"""A config that relies on no more than every composition here has."""


def base(**changes: Any) -> Config:
    """Return the base with *changes*; those of ``linux`` and ``process`` are added to what stands there."""
    made = copy.deepcopy(BASE)
    for name, value in changes.items():
        if name in {"linux", "process"}:
            made[name].update(value)
        else:
            made[name] = value
    return made


def _namespace(kind: str) -> Iterator[Config]:
    entries = [one for one in BASE["linux"]["namespaces"] if one["type"] != kind]
    made = base(linux={"namespaces": [*entries, {"type": kind}]})
    if kind == "user":
        made["linux"] |= {"uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
    yield made
    if kind == "time":
        yield base(linux=made["linux"] | {"timeOffsets": {"boottime": {"secs": 3}}})


def _hook(kind: str) -> Iterator[Config]:
    yield base(hooks={kind: [{"path": HOOK, "args": ["nothing"], "timeout": 5}]})


def capabilities(*names: str) -> Iterator[Config]:
    """Yield configs that have all of *names*, one for each place where they can stand."""
    for sets in (("bounding",), ("inheritable",), ("permitted",), ("permitted", "effective"), ("ambient",)):
        yield base(process={"capabilities": {one: list(names) for one in sets}})


def bind(*options: str) -> Config:
    """Return a config with a bind mount, on which no file system could have an option of its own."""
    return base(mounts=[{"destination": "/mnt", "type": "bind", "source": SOURCE, "options": list(options)}])


def tmpfs(*options: str) -> Config:
    """Return a config with a new file system."""
    return base(
        mounts=[{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": list(options)}]
    )


def _mount_option(option: str) -> Iterator[Config]:
    if option == "tmpcopyup":
        yield tmpfs(option)
        return
    made = bind(option)
    if option in {"idmap", "ridmap"}:
        for one in (made, tmpfs(option)):
            one["mounts"][0] |= {"uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
            yield one
        return
    yield made
    if option not in {"bind", "rbind"}:
        yield tmpfs(option)


def _seccomp(**changes: Any) -> Config:
    return base(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"} | changes})


def _action(action: str) -> Iterator[Config]:
    listener = {"listenerPath": AGENT, "listenerMetadata": "box"} if action == "SCMP_ACT_NOTIFY" else {}
    yield _seccomp(defaultAction=action, **listener)
    yield _seccomp(syscalls=[{"names": ["getcwd"], "action": action}], **listener)


def _operator(operator: str) -> Iterator[Config]:
    argument = {"index": 1, "value": 7, "valueTwo": 7, "op": operator}
    yield _seccomp(syscalls=[{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [argument]}])


def _architecture(architecture: str) -> Iterator[Config]:
    yield _seccomp(architectures=[architecture])


def _flag(flag: str) -> Iterator[Config]:
    yield _seccomp(flags=[flag])


def _memory_policy(mode: str) -> Iterator[Config]:
    nodes = {} if mode in {"MPOL_DEFAULT", "MPOL_LOCAL"} else {"nodes": "0"}
    yield base(linux={"memoryPolicy": {"mode": mode} | nodes})


def _memory_policy_flag(flag: str) -> Iterator[Config]:
    yield base(linux={"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}})


LISTS: Mapping[str, Callable[[str], Iterator[Config]]] = {
    "hooks": _hook,
    "mountOptions": _mount_option,
    "linux.namespaces": _namespace,
    "linux.capabilities": capabilities,
    "linux.seccomp.actions": _action,
    "linux.seccomp.operators": _operator,
    "linux.seccomp.archs": _architecture,
    "linux.seccomp.knownFlags": _flag,
    "linux.seccomp.supportedFlags": _flag,
    "linux.memoryPolicy.modes": _memory_policy,
    "linux.memoryPolicy.flags": _memory_policy_flag,
}
"""Path of each list to the configs that use one of its values."""

SYSTEMD = LaunchOptions(systemd_cgroup=True)


def resources(**wanted: Any) -> Config:
    """Return a config with resources."""
    return base(linux={"cgroupsPath": "/features/box", "resources": wanted})


def _rdt(**wanted: Any) -> Config:
    return base(linux={"intelRdt": wanted})


def mapped() -> Config:
    """Return a config with an id-mapped mount."""
    made = bind("rbind")
    made["mounts"][0] |= {"uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
    return made


PIDS = resources(pids={"limit": 10})
UNIT = base(linux={"cgroupsPath": "a-b.slice:orlop:box", "resources": {"pids": {"limit": 10}}})

FLAGS: Mapping[str, tuple[tuple[Config, str, LaunchOptions], ...]] = {
    "linux.cgroup.v1": ((PIDS, "v1", LaunchOptions()),),
    "linux.cgroup.v2": ((PIDS, "v2", LaunchOptions()),),
    "linux.cgroup.systemd": (
        (base(linux={"cgroupsPath": "system.slice:orlop:box"}), "v2", SYSTEMD),
        (UNIT, "v1", SYSTEMD),
        (UNIT, "hybrid", SYSTEMD),
    ),
    "linux.cgroup.systemdUser": ((base(linux={"cgroupsPath": "user.slice:orlop:box"}), "v2", SYSTEMD),),
    "linux.cgroup.rdma": tuple(
        (resources(rdma={"mlx5_0": {"hcaHandles": 3, "hcaObjects": 10}}), version, LaunchOptions())
        for version in ("v1", "v2", "hybrid")
    ),
    "linux.seccomp.enabled": ((_seccomp(), "v2", LaunchOptions()),),
    "linux.apparmor.enabled": ((base(process={"apparmorProfile": "box"}), "v2", LaunchOptions()),),
    "linux.selinux.enabled": (
        (base(process={"selinuxLabel": "a:b:c:s0"}), "v2", LaunchOptions()),
        (base(linux={"mountLabel": "a:b:c:s0"}), "v2", LaunchOptions()),
    ),
    "linux.intelRdt.enabled": (
        (_rdt(), "v2", LaunchOptions()),
        (_rdt(closID="shared", l3CacheSchema="L3:0=f"), "v2", LaunchOptions()),
        (_rdt(memBwSchema="MB:0=50"), "v2", LaunchOptions()),
    ),
    "linux.intelRdt.schemata": ((_rdt(schemata=["L3:0=f", "MB:0=50"]), "v2", LaunchOptions()),),
    "linux.intelRdt.monitoring": (
        (_rdt(enableMonitoring=True), "v2", LaunchOptions()),
        *(
            (_rdt(**{name: True}) | {"ociVersion": "1.2.1"}, "v2", LaunchOptions())
            for name in ("enableCMT", "enableMBM")
        ),
    ),
    "linux.mountExtensions.idmap.enabled": ((mapped(), "v2", LaunchOptions()),),
    "linux.netDevices.enabled": (
        (
            base(
                linux={
                    "namespaces": [*BASE["linux"]["namespaces"], {"type": "network"}],
                    "netDevices": {DEVICE: {"name": "inside"}},
                }
            ),
            "v2",
            LaunchOptions(),
        ),
    ),
}
"""Path of each boolean to configs that use it, with the version of cgroups that they need and the launch."""

SPOKEN = frozenset({"ociVersionMin", "ociVersionMax", "annotations", "potentiallyUnsafeConfigAnnotations"})
"""Paths that have tests of their own."""


def leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything in the features document *data* that is no object."""
    if isinstance(data, dict) and path not in SPOKEN:
        for name, value in data.items():
            yield from leaves(value, f"{path}.{name}".lstrip("."))
    else:
        yield path, data


def at(data: Any, path: str) -> Any:
    """Return what the features document *data* has at *path*; ``None``: nothing."""
    for name in path.split("."):
        if data is None:
            return None
        data = data.get(name)
    return data
