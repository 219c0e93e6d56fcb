"""Steps on the resctrl file system (Intel RDT, AMD QoS): kernel doc Documentation/filesystems/resctrl.rst."""

from __future__ import annotations

from typing import ClassVar

from orlop_hookspecs.steps.base import Step, step


@step
class CreateResctrlGroup(Step):
    """Make, or find, the container's class of service and, if asked, its monitoring group."""

    ACT = "make the class of service {clos_id}"
    PHASE = "host"
    SLOT = "resctrl"
    UNDO: ClassVar[str] = "remove the groups that this container made"

    because: str
    clos_id: str
    """Directory name below the resctrl root; ``/`` is the root's own class."""
    create: bool = True
    """False: the class must exist already (config-linux.md: closID without any schema)."""
    may_exist: bool = True
    """True: a class that exists is shared; its schemata must then equal what the config asks for."""
    monitoring: bool = False
    """Make ``mon_groups/<container id>`` as well, and remove it on delete even when the class is shared."""
    events: tuple[str, ...] = ()
    """What the processor must be able to count (``info/L3_MON/mon_features``): ``llc_occupancy``, ..."""


@step
class WriteSchemata(Step):
    """Write lines to the schemata of the container's class of service.

    When the class was there before, its lines must be equal instead: equal in what they mean, so that
    ``00ff`` is ``ff`` and a bandwidth is what the kernel rounds it to.
    """

    ACT = "write the schemata of the class of service"
    PHASE = "host"
    SLOT = "resctrl"

    because: str
    clos_id: str
    """Empty for a container that exists: the class that it has, if that was made for it."""
    lines: tuple[str, ...] = ()


@step
class JoinResctrlGroup(Step):
    """Move the waiting container process into its class of service and monitoring group."""

    ACT = "enter the class of service {clos_id}"
    PHASE = "host-with-pid"
    SLOT = "resctrl"
    JOINS = True

    because: str
    clos_id: str
    monitoring: bool = False
