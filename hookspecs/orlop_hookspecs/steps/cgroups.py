"""Steps on the container's cgroup: made on the host before the process, joined by the process itself."""

from __future__ import annotations

from typing import ClassVar

from orlop_hookspecs.steps.base import Step, step

DeviceRule = tuple[bool, str, int | None, int | None, str]
"""(allow, type "a"|"b"|"c", major or None for any, minor or None for any, access out of "rwm")."""


@step
class CreateCgroup(Step):
    """Make the container's cgroup in every hierarchy that the host has mounted (cgroups(7)).

    A cgroup that exists already is refused if it has processes in it or was made for another container that
    still exists; parents that had to be made are removed on delete when nobody else uses them.
    """

    ACT = "make the cgroup {path}"
    PHASE = "host"
    SLOT = "cgroup"
    UNDO: ClassVar[str] = (
        "kill what is left in the cgroup, then remove it and the parents that were made for it"
    )

    because: str
    path: str
    """As config-linux.md, "Cgroups Path": absolute from the hierarchy's root, or relative to the caller's own
    cgroup."""
    explicit: bool = True
    """False when the config left the path to the runtime: then a host that allows no cgroups is tolerated
    for an unprivileged caller."""


@step
class CreateScope(Step):
    """Let systemd make the container's cgroup, in place of CreateCgroup: a scope (systemd.scope(5)).

    The system manager is asked by a privileged caller, and the caller's own manager otherwise. Limits that
    systemd knows are given to it as properties, so that it does not take them back; then all are written as
    without it.
    """

    ACT = "let systemd make the scope {unit}"
    PHASE = "host"
    SLOT = "cgroup"
    UNDO: ClassVar[str] = "kill what is left in the scope, then stop it"

    because: str
    unit: str
    """Name of the unit, escaped: ``libpod-1234.scope``."""
    slice: str = ""
    """The slice above it, such as ``machine.slice``; empty: ``system.slice``, or ``user.slice`` of a user."""
    description: str = ""
    properties: tuple[tuple[str, str, str | int | bool | tuple[str, ...]], ...] = ()
    """(name, D-Bus signature, value) of properties that annotations ask for."""


@step
class WriteCgroup(Step):
    """Set one resource of the container's cgroup.

    Both forms are planned, and the kernel takes the one of its hierarchy. A form that is ``None`` does not
    exist on that version: the step is then an error there, because a property is applied precisely or not
    at all.
    """

    ACT = "set a limit of the cgroup's controller {controller}"
    PHASE = "host"
    SLOT = "resources"

    because: str
    controller: str
    """Controller name of cgroups(7): ``memory``, ``cpu``, ``rdma``, ..."""
    v1: tuple[tuple[str, str], ...] | None = None
    """(file, text) pairs for cgroup v1, in the order in which they are written."""
    v2: tuple[tuple[str, str], ...] | None = None
    """(file, text) pairs for cgroup v2, in the order in which they are written."""
    v1_controller: str = ""
    """The v1 hierarchy when its name differs (``io`` is ``blkio`` there); empty: the same."""
    append: bool = False
    """Each pair is one line of a keyed file (rdma.max, io.max): all are written, none replaces another."""
    alternatives: bool = False
    """The pairs say the same in several ways, best first: the first one that the kernel has is written. It
    has not when the file is missing, or when the file does not support the device."""
    usage: str = ""
    """A file of cgroup v2 that counts what the value limits. A value below it is refused, as the kernel does
    by itself on v1 (``checkBeforeUpdate``)."""
    minus: str = ""
    """A file of cgroup v2 whose number is subtracted from the value: v1 limits memory and swap together."""
    keep: bool = False
    """A word ``=`` of a value on cgroup v2 stands for the one that the file has there: ``cpu.max`` holds two
    properties, of which an update may set one."""
    verify: bool = False
    """Read the value back: there are kernels that take a limit and ignore it."""


@step
class SetDeviceRules(Step):
    """Set which device nodes the container may make and open, from the first rule to the last one.

    Applied as devices.allow and devices.deny on v1 and as a BPF_PROG_TYPE_CGROUP_DEVICE program on v2.
    """

    ACT = "set the device rules of the cgroup"
    PHASE = "host"
    SLOT = "resources"

    because: str
    rules: tuple[DeviceRule, ...] = ()


@step
class JoinCgroup(Step):
    """Move the container process into its cgroup, before it can consume anything that is limited there."""

    ACT = "enter the cgroup"
    PHASE = "host-with-pid"
    SLOT = "cgroup"
    JOINS = True

    because: str


@step
class DelegateCgroup(Step):
    """Make the container's user the owner of its cgroup, where cgroup v2 is all that there is.

    The directory and the files that the kernel lists as delegated change hands, no others: limits stay out of
    the container's reach (config-linux.md, Cgroup ownership). On other hosts nothing is done.
    """

    ACT = "give the cgroup to the container's user"
    PHASE = "host-with-pid"
    SLOT = "cgroup"

    because: str
    uid: int
    """User id in the container's user namespace."""
