"""Network devices that were moved into a container: their way back when its creation did not succeed.

While devices are being moved the container's network namespace is *pinned*: mounted at ``netns`` in the
container's directory. Otherwise it could end with the processes of a creation that is killed, and the kernel
would destroy virtual devices along with it. The pin goes as soon as the container is created. From then on
the devices belong to the network namespace, and the runtime may not take them out (config-linux.md, Namespace
Lifecycle and Container Termination). So a pin that is found later means that the creation was not completed.
"""

from __future__ import annotations

import errno
import os

from orlop_hookspecs.errors import StepError, StoreError
from orlop_linux.live.process import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orlop_hookspecs.record import Record

PIN = "netns"
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def identity(fd: int) -> list[int]:
    """Return what tells a namespace from every other one, by a descriptor of it."""
    info = os.fstat(fd)
    return [info.st_dev, info.st_ino]


def own_namespace() -> int:
    """Return a descriptor of the calling thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def open_pin(directory: str) -> int:
    """Return a descriptor of the pin in the container's *directory*; -1: there is none.

    Whether it still is a namespace has to be asked.
    """
    try:
        return os.open(f"{directory}/{PIN}", _FILE)
    except FileNotFoundError:
        return -1


def unpin(directory: str) -> None:
    """Let go of the network namespace that is pinned in *directory*, if it is. Idempotent.

    Raises:
        OSError: It cannot be unmounted or its mount point cannot be removed.
    """
    from orlop_linux.init import syscalls

    fd = os.open(directory, _DIRECTORY)
    try:
        place = f"/proc/self/fd/{fd}/{PIN}"
        while True:
            try:
                os.unlink(place)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                syscalls.umount2(os.fsencode(place), syscalls.MNT_DETACH)
            else:
                return
    finally:
        os.close(fd)


def undo(record: Record, data: Mapping[str, Any]) -> None:
    """Undo a journal entry ``netdev``: ``{"namespace", "home", "joined", "devices"}``.

    ``namespace`` and ``home`` are the identities of the container's network namespace and of the one that the
    devices came from, ``devices`` what :class:`orlop_linux.kernel.links.Device` keeps.
    """
    wanted, home = data.get("namespace"), data.get("home")
    if (
        not all(
            isinstance(one, list) and len(one) == 2 and all(type(n) is int for n in one)
            for one in (wanted, home)
        )
        or not isinstance(data.get("devices"), list)
        or type(data.get("joined")) is not bool
    ):
        raise StoreError(
            "the journal is not usable: netdev entry is malformed", value=dict(data), container=record.id
        )
    try:
        pin = open_pin(record.directory)
        try:
            if pin >= 0 and identity(pin) == wanted:
                from orlop_linux.kernel.netdev import give_back

                give_back(pin, data, record)
            elif pin >= 0 and record.phase == "creating":
                # The runtime was killed beside the moment in which the mount was made or taken away, or the
                # mount is in another mount namespace, and would be lost with its mount point.
                from orlop_linux.kernel.netdev import require_home

                require_home(data, record)
        finally:
            if pin >= 0:
                os.close(pin)
        unpin(record.directory)
    except OSError as error:
        if isinstance(error, StepError):
            raise
        raise StepError(
            f"cannot give network devices back: {reason(error)}",
            container=record.id,
            errno=error.errno,
            act="delete",
        ) from error
