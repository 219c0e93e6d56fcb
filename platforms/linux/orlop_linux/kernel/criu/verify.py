"""What came out of images, before it runs: it has to be what the config says.

Images are input. Whoever changed them may have changed what holds the processes: the mounts, the namespaces,
their capabilities. All of that is read from the kernel while the processes still stand, and what is not as
the config demands ends them.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init.identity import NUMBER
from orlop_linux.kernel.criu import keys
from orlop_linux.kernel.criu.family import family

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.record import Record

_FILES = {
    "network": "net",
    "pid": "pid",
    "ipc": "ipc",
    "uts": "uts",
    "mount": "mnt",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}


def verify(record: Record, planned: PlannedStep, cgroups: Mapping[str, str], pid: int) -> None:
    """Refuse processes that are not held as the config demands.

    Args:
        record: The container.
        planned: RestoreProcesses.
        cgroups: The container's cgroups by controllers, as /proc/PID/cgroup has them (cgroups(7)).
        pid: The container process.

    Raises:
        StepError: They are not.
    """
    step: Any = planned.step

    def refuse(what: str, pointer: str, value: object) -> StepError:
        return StepError(
            f"the images are refused: {what}",
            plugin=planned.plugin,
            pointer=pointer,
            value=value,
            errno=errno.EPERM,
            container=record.id,
            hint="the config says otherwise",
        )

    for kind in step.own:
        file = _FILES[kind]
        if _same(f"/proc/{pid}/ns/{file}", f"/proc/self/ns/{file}"):
            raise refuse(f"they have no {kind} namespace of their own", "/linux/namespaces", kind)
    for kind, path, because in step.joined:
        if not _same(f"/proc/{pid}/ns/{_FILES[kind]}", path):
            raise refuse(f"they are in another {kind} namespace", because, path)
    _verify_status(step, pid, refuse)
    _verify_maps(step, pid, refuse)
    _verify_mounts(step, pid, refuse)
    for one in family(pid):
        found = _cgroups(one)
        for names, path in cgroups.items():
            where = found.get(names, path)
            if where != path and not where.startswith(f"{path.rstrip('/')}/"):
                raise refuse("a process is outside the container's cgroup", "/linux/cgroupsPath", where)


def _same(one: str, other: str) -> bool:
    try:
        first, second = os.stat(one), os.stat(other)
    except OSError as error:
        raise StepError("cannot compare namespaces", path=one, errno=error.errno) from error
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _verify_status(step: Any, pid: int, refuse: Any) -> None:  # noqa: ANN401 - RestoreProcesses, a function
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
    if step.bounding is not None:
        allowed = sum(1 << NUMBER[name] for name in step.bounding if name in NUMBER)
        for field in ("CapBnd", "CapPrm", "CapInh"):
            if int(status[field], 16) & ~allowed:
                raise refuse(
                    f"the container process has more capabilities ({field})",
                    "/process/capabilities/bounding",
                    status[field],
                )
    if step.no_new_privileges and status.get("NoNewPrivs") != "1":
        raise refuse("the container process may gain privileges", "/process/noNewPrivileges", "0")
    if step.filtered and status.get("Seccomp") != "2":
        raise refuse("no system calls are filtered", "/linux/seccomp", status.get("Seccomp"))


def _verify_maps(step: Any, pid: int, refuse: Any) -> None:  # noqa: ANN401 - RestoreProcesses, a function
    for name, wanted in (("uid", step.uid), ("gid", step.gid)):
        if not wanted:
            continue
        with open(f"/proc/{pid}/{name}_map", encoding="ascii") as file:
            found = {tuple(map(int, line.split())) for line in file}
        if found != set(wanted):
            raise refuse("ids are mapped in another way", f"/linux/{name}Mappings", sorted(found))


def _verify_mounts(step: Any, pid: int, refuse: Any) -> None:  # noqa: ANN401 - RestoreProcesses, a function
    wanted = [(destination, because) for destination, _, because in step.mounts]
    found = keys.mount_points(pid, [*wanted, ("/", "/root")])
    readonly = set(step.readonly)
    binds = dict.fromkeys(step.places)
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for destination, source, because in step.mounts:
            if destination not in binds:
                continue  # a mask or a device: it hides less than it shows
            if destination not in found:
                raise refuse("a mount of the config is not there", because, destination)
            if not _shows(root, destination, source):
                raise refuse("a mount shows something else", because, destination)
            if destination in readonly and "ro" not in found[destination][1].options:
                raise refuse("a mount can be written to", because, destination)
    finally:
        os.close(root)
    if "/" in readonly and "ro" not in found["/"][1].options:
        raise refuse("the root can be written to", "/root/readonly", "/")


def _shows(root: int, destination: str, source: str) -> bool:
    from orlop_linux.init import resolve

    try:
        fd = resolve.open_in_root(root, destination)
        try:
            inside, outside = os.fstat(fd), os.stat(source)
        finally:
            os.close(fd)
    except OSError:
        return False
    return (inside.st_dev, inside.st_ino) == (outside.st_dev, outside.st_ino)


def _cgroups(pid: int) -> dict[str, str]:
    """Return the cgroups of a process: path by the controllers of the hierarchy, empty for version 2."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return {}
    return {names: path for _, names, path in lines}
