"""What the fake machine answers when it is asked what it has, from the profile that it was made with.

Every answer agrees with what executing a plan would do: a test tries each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_fake.versions import FLAGS, LISTENERS, NAMESPACES, REMEDY, lacking
from orlop_hookspecs.availability import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orlop_fake.machine import Machine
    from orlop_hookspecs.availability import Capability

_NAMES = {"io": ("io", "blkio"), "network": ("net_cls", "net_prio")}
"""Controllers that have other names than the capability, by version or for parts."""

_YES = Answer(available=True)


def examine(machine: Machine, asked: Sequence[Capability]) -> Mapping[str, Answer]:
    """Return the answers of *machine*, in the order of what is *asked*."""
    found: dict[str, Answer] = {}
    for one in asked:
        head, _, rest = one.name.partition(".")
        answer = _ROOMS.get(head)
        if answer is not None:
            found[one.name] = answer(machine, rest)
    return found


def _absent(reason: str, remedy: str) -> Answer:
    return Answer(available=False, reason=reason, remedy=remedy)


def _forbidden(reason: str) -> Answer:
    return Answer(available=True, allowed=False, reason=reason, remedy="let the machine's uid be 0")


def _since(machine: Machine, what: str, version: tuple[int, int]) -> Answer | None:
    """Return that *what* is not there, when the machine's kernel is older than *version*."""
    if machine.host.linux >= version:
        return None
    number = ".".join(map(str, version))
    return _absent(
        f"the kernel has no {what}", f"make the machine with Host(linux={version}), Linux {number}"
    )


def _too_old(machine: Machine) -> Answer | None:
    """Return that there can be no container at all, when that is so."""
    why = lacking(machine.host.linux)
    return _absent(why, f"make the machine with {REMEDY}") if why else None


def _namespace(machine: Machine, kind: str) -> Answer:
    missing = _since(machine, f"{kind} namespaces", NAMESPACES.get(kind, (0, 0))) or _too_old(machine)
    if missing is not None:
        return missing
    return Answer(
        available=True, reason="together with a user namespace" if machine.uid and kind != "user" else ""
    )


def _ids(machine: Machine, _: str) -> Answer:
    return Answer(available=True, reason="only the caller's own id can be mapped" if machine.uid else "")


def _mounts(machine: Machine, rest: str) -> Answer:
    missing = _too_old(machine)
    if missing is not None:
        return missing
    if rest == "idmap" and machine.uid:
        return _forbidden("file systems of the machine cannot be id-mapped in a user namespace")
    return Answer(available=True, reason="in a user namespace" if machine.uid and not rest else "")


def _cgroups(machine: Machine, rest: str) -> Answer:
    there = {one.version for one in machine.hierarchies.values()}
    if rest.startswith("systemd"):
        if machine.units is None:
            return _absent("systemd is not the init of the machine", "make the machine with systemd=True")
        if machine.uid and there != {2}:
            return _forbidden("controllers of version 1 cannot be delegated to a user")
        return _YES
    wanted_version = {"v1": 1, "v2": 2}.get(rest)
    if not there or (wanted_version and wanted_version not in there):
        what = f"cgroups of version {wanted_version}" if wanted_version else "cgroups"
        return _absent(f"the machine has no {what}", "make the machine with cgroups='v1', 'v2' or 'hybrid'")
    return _may_make(machine)


def _may_make(machine: Machine) -> Answer:
    return _forbidden("the caller may not make cgroups") if machine.uid else _YES


def _controller(machine: Machine, name: str) -> Answer:
    for hierarchy in machine.hierarchies.values():
        if any(one in hierarchy.controllers for one in _NAMES.get(name, (name,))):
            return _may_make(machine)
        if name == "devices" and hierarchy.version == 2 and hierarchy.controllers:
            return _may_make(machine)
    return _absent(f"the machine has no controller {name}", "make the machine with other cgroups")


def _resctrl(machine: Machine, rest: str) -> Answer:
    if machine.resctrl is None:
        return _absent("the machine has no resource control", "make the machine with resctrl=Resctrl()")
    if rest and not (machine.resctrl.rmids and machine.resctrl.events):
        return _absent("the machine cannot monitor", "make the machine with Resctrl(rmids=..., events=...)")
    return _YES


def _apparmor(machine: Machine, _: str) -> Answer:
    if machine.host.apparmor is None:
        return _absent("the machine has no AppArmor", "make the machine with Host(apparmor=[...])")
    profiles = ", ".join(sorted(machine.host.apparmor)) or "none"
    return Answer(available=True, reason=f"profiles that are loaded: {profiles}")


def _selinux(machine: Machine, _: str) -> Answer:
    if machine.host.selinux:
        return _YES
    return _absent("the machine has no SELinux", "make the machine with Host(selinux=True)")


def _net_devices(machine: Machine, _: str) -> Answer:
    return _forbidden("the caller may not move network devices") if machine.uid else _YES


def _seccomp(machine: Machine, rest: str) -> Answer:
    if not machine.host.seccomp:
        return _absent("the kernel filters no system calls", "make the machine with Host(seccomp=True)")
    since = LISTENERS if rest == "SCMP_ACT_NOTIFY" else FLAGS.get(rest, (0, 0))
    return _since(machine, rest, since) or _YES


def _time(machine: Machine, _: str) -> Answer:
    return _since(machine, "time namespaces", NAMESPACES["time"]) or _YES


def _checkpoint(machine: Machine, _: str) -> Answer:
    return (
        _forbidden("checkpoint and restore need the privileges of the host's root") if machine.uid else _YES
    )


def _always(_: Machine, __: str) -> Answer:
    return _YES


_ROOMS: Mapping[str, Callable[[Machine, str], Answer]] = {
    "apparmor": _apparmor,
    "cgroups": _cgroups,
    "checkpoint": _checkpoint,
    "controller": _controller,
    "intelRdt": _resctrl,
    "memoryPolicy": _always,
    "mounts": _mounts,
    "namespace": _namespace,
    "netDevices": _net_devices,
    "rlimits": _always,
    "seccomp": _seccomp,
    "selinux": _selinux,
    "terminal": _always,
    "time": _time,
    "user": _ids,
}
