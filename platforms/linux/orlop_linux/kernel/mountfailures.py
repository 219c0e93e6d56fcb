"""Why a mount was refused, in words: what was tried, which part of it, and what can be done about it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError, shorten
from orlop_linux.init import failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from orlop_hookspecs.errors import OrlopError
    from orlop_hookspecs.plan import PlannedStep

_TYPES = {"MountProc": "proc", "MountSysfs": "sysfs", "MountCgroup": "cgroup"}

_REAL = ("proc", "sysfs")

_TARGET_HINTS = {
    errno.EBUSY: "nothing can be mounted over the container's root",
    errno.ELOOP: "proc and sysfs are only mounted on real directories, never where a symbolic link leads",
    errno.ENOTDIR: "a directory is only mounted on a directory, and anything else only on what is none",
    errno.EPERM: "nothing may hide a procfs or parts of it",
    errno.EROFS: "the mount point is missing, and what is mounted there already is read-only",
}
_ROOT_HINTS = {
    errno.EBUSY: "nothing can be mounted over the root of a mount namespace that others use as well",
    errno.ENOENT: "the mount namespace of the container does not have it",
    errno.ESTALE: "the path leads to another directory in the mount namespace of the container",
}
_DETAIL_HINTS = {
    failure.DETAIL_ATTRIBUTES: {
        errno.EPERM: "attributes of a mount that comes from another user namespace are locked",
    },
    failure.DETAIL_COPY: {
        errno.E2BIG: "the image has too many files there",
        errno.EINVAL: "an owner of a file there has no id in the container's user namespace",
        errno.ENAMETOOLONG: "the image has too many directories inside each other there",
        errno.ENOSPC: "what the image has there does not fit into the tmpfs",
    },
    failure.DETAIL_IDMAP: {
        errno.EINVAL: "not every file system can be id-mapped (mount_setattr(2))",
        errno.EPERM: "a mount is id-mapped only once, and by whoever owns its file system (mount_setattr(2))",
        errno.EOPNOTSUPP: "give uidMappings and gidMappings, or the container a user namespace",
    },
    failure.DETAIL_NONE: {
        errno.E2BIG: "mount(2) takes options of 4095 bytes at most",
        errno.EINVAL: "the file system does not take this source or these options",
        errno.EOPNOTSUPP: "iversion and long options need a mount namespace of the container's own",
        errno.ENODEV: "/proc/filesystems names the types that the kernel knows",
        errno.EPERM: "the container's user namespace does not own it, or its device rules forbid the device",
    },
    failure.DETAIL_TARGET: _TARGET_HINTS,
}


def unopened(step: Any, number: int) -> StepError:  # noqa: ANN401 - any of the steps that need a source
    """Return the error for a source of *step* on the host that could not be opened."""
    name = type(step).__name__
    path = step.as_data().get("source") or step.as_data().get("path") or ""
    what, pointer = f"what is needed to {step.words()}", step.because
    if name == "PrepareRoot":
        what = f"the root file system {path}"
    elif name in {"MountBind", "MountSysfs"}:
        what, pointer = f"the mount source {path or '/sys'}", f"{step.because}/source"
    elif name == "CreateDevice":
        what = f"the device {path}"
    hint = ""
    if number == errno.ELOOP:
        hint = "a source may not be a magic link of /proc, nor a loop of symbolic links"
    elif number == errno.EINVAL:
        hint = "mounts below it are locked together (mount_namespaces(7)): only rbind takes them along"
    return StepError(
        f"cannot open {what}: {os.strerror(number).lower()}", pointer=pointer, errno=number, hint=hint
    )


def explain(step: Any, number: int, detail: int) -> StepError:  # noqa: ANN401 - any of the mount steps
    """Return the error for a mount *step* that was refused with errno *number*, and *detail* of the child."""
    name = type(step).__name__
    if name == "MountBind":
        what = f"cannot mount {step.source} at {step.destination}"
    else:
        what = f"cannot mount a file system of type {_TYPES.get(name) or step.type} at {step.destination}"
    why = os.strerror(number).lower()
    option = detail - failure.DETAIL_OPTION
    hint = _DETAIL_HINTS.get(detail, {}).get(number, "")
    if hint and number == errno.ELOOP and _TYPES.get(name) not in _REAL and step.destination != "/proc":
        hint = "symbolic links of the image lead in a circle, or there are more than 40 on the way"
    if 0 <= option < len(step.as_data().get("data", ())):
        why = f"the file system refuses the option {shorten(step.data[option])}: {why}"
    elif detail == failure.DETAIL_IDMAP:
        why = f"it cannot be id-mapped: {why}"
    elif detail == failure.DETAIL_ATTRIBUTES:
        why = f"its attributes cannot be set: {why}"
    elif detail == failure.DETAIL_COPY:
        why = f"tmpcopyup: {why}"
    return StepError(f"{what}: {why}", pointer=step.because, errno=number, hint=hint)


def _homeless(step: Any, number: int) -> StepError:  # noqa: ANN401 - a PrepareRoot
    return StepError(
        f"cannot use the root file system {step.path} in a shared mount namespace: "
        f"{os.strerror(number).lower()}",
        pointer=step.because,
        errno=number,
        hint=_ROOT_HINTS.get(number, ""),
    )


def refine(error: OrlopError, payload: bytes, container: Sequence[PlannedStep]) -> OrlopError:
    """Return *error*, which the child's *payload* stands for, said better if it is that of a mount."""
    unpacked = failure.unpack_failure(payload)
    if unpacked is None or not isinstance(error, StepError) or error.errno is None:
        return error
    phase, index, number, detail, _ = unpacked
    if phase != failure.PHASE_CONTAINER or not 0 <= index < len(container):
        return error
    step = container[index].step
    if number != error.errno:
        return error
    if detail == failure.DETAIL_SOURCE:
        better = unopened(step, number)
    elif detail == failure.DETAIL_ROOT:
        better = _homeless(step, number)
    elif type(step).__name__.startswith("Mount"):
        better = explain(step, number, detail)
    else:
        return error
    better.container, better.plugin = error.container, error.plugin
    return better
