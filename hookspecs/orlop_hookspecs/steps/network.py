"""Steps on network devices: config-linux.md, Network Devices; rtnetlink(7)."""

from __future__ import annotations

from typing import ClassVar

from orlop_hookspecs.steps.base import Step, step


@step
class MoveNetDevices(Step):
    """Move network devices of the runtime's network namespace into the container's, and bring them up.

    All are examined before the first one is moved: it exists, it can be moved, its name is free inside. Each
    keeps its attributes and its permanent addresses of global scope (config-linux.md).
    """

    ACT = "move the network devices"
    PHASE = "host-with-pid"
    SLOT = "netdev"
    UNDO: ClassVar[str] = (
        "a creation that fails gives the devices back as they were; later they are the network namespace's: "
        "with its end the kernel returns physical ones to the host and destroys virtual ones"
    )

    because: str
    devices: tuple[tuple[str, str], ...]
    """Name on the host and name inside of each; the one inside may end in ``%d``, for which the kernel puts
    the first number that is free."""
