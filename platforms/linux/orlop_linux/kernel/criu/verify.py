"""What came out of images, before it runs: it has to be what the config says.

Images are input. Whoever changed them may have changed what holds the processes: the mounts, the namespaces,
their capabilities, of each process and each thread its own. All of that is read from the kernel while the
processes still stand, and what is not as the config demands ends them.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init.identity import NUMBER
from orlop_linux.kernel.criu import shown
from orlop_linux.kernel.criu.family import family
from orlop_linux.kernel.security import shown_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.record import Record
    from orlop_linux.kernel.criu.shown import Refuse

_MODE = re.compile(r" \([a-z]+\)\Z")

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
    _verify_maps(step, pid, refuse)
    for one in family(pid):
        found = _cgroups(one)
        for names, path in cgroups.items():
            where = found.get(names, path)
            if where != path and not where.startswith(f"{path.rstrip('/')}/"):
                raise refuse("a process is outside the container's cgroup", "/linux/cgroupsPath", where)
        _verify_threads(step, pid, one, refuse)
        if one != pid:
            _verify_namespaces(step, pid, one, refuse)
    shown.verify(pid, step, refuse)


def _same(one: str, other: str) -> bool:
    try:
        first, second = os.stat(one), os.stat(other)
    except OSError as error:
        raise StepError("cannot compare namespaces", path=one, errno=error.errno) from error
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _verify_namespaces(step: Any, pid: int, other: int, refuse: Refuse) -> None:  # noqa: ANN401 - RestoreProcesses
    """Refuse a process in namespaces of the host; and in others than the first one's, if none can be made."""
    bound = step.bounding is not None and "CAP_SYS_ADMIN" not in step.bounding
    for kind, file in _FILES.items():
        name = f"/proc/{other}/ns/{file}"
        if not os.path.exists(name):
            continue  # a zombie, or a kernel without time namespaces
        if kind in step.own and _same(name, f"/proc/self/ns/{file}"):
            raise refuse(f"a process is in the host's {kind} namespace", "/linux/namespaces", kind)
        if bound and not _same(name, f"/proc/{pid}/ns/{file}"):
            raise refuse(f"a process has another {kind} namespace", "/linux/namespaces", kind)


def _verify_threads(step: Any, pid: int, one: int, refuse: Refuse) -> None:  # noqa: ANN401 - RestoreProcesses
    """Refuse a process of which a thread may more than the config allows, or is not confined as it says."""
    for thread in os.listdir(f"/proc/{one}/task"):
        place = f"/proc/{one}/task/{thread}"
        with open(f"{place}/status", encoding="utf-8", errors="replace") as file:
            status = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
        if status["State"][:1] not in {"Z", "X"}:  # what has ended does nothing any more
            who = "the container process" if one == pid else "a process"
            _verify_status(step, status, who, refuse)
            _verify_label(step, place, who, refuse)


def _verify_status(step: Any, status: Mapping[str, str], who: str, refuse: Refuse) -> None:  # noqa: ANN401 - RestoreProcesses
    if step.bounding is not None:
        allowed = sum(1 << NUMBER[name] for name in step.bounding if name in NUMBER)
        for field in ("CapBnd", "CapPrm", "CapInh"):
            if int(status[field], 16) & ~allowed:
                raise refuse(
                    f"{who} has more capabilities ({field})",
                    "/process/capabilities/bounding",
                    status[field],
                )
    if step.user is not None:
        _verify_user(step, status, who, refuse)
    if step.no_new_privileges and status.get("NoNewPrivs") != "1":
        raise refuse(f"{who} may gain privileges", "/process/noNewPrivileges", "0")
    if step.filtered and status.get("Seccomp") != "2":
        raise refuse("no system calls are filtered", "/linux/seccomp", status.get("Seccomp"))


def _verify_user(step: Any, status: Mapping[str, str], who: str, refuse: Refuse) -> None:  # noqa: ANN401 - RestoreProcesses
    user, group, groups = step.user
    gid = _outside(group, step.gid)
    if {*map(int, status["Uid"].split())} != {_outside(user, step.uid)}:
        raise refuse(f"{who} is another user", "/process/user/uid", status["Uid"])
    if {*map(int, status["Gid"].split())} != {gid}:
        raise refuse(f"{who} is in another group", "/process/user/gid", status["Gid"])
    if not {*map(int, status["Groups"].split())} <= {gid, *(_outside(one, step.gid) for one in groups)}:
        raise refuse(f"{who} is in more groups", "/process/user/additionalGids", status["Groups"])


def _outside(number: int, maps: Iterable[tuple[int, int, int]]) -> int:
    """Return the number on the host of a user or group of the container; without *maps* it is the same."""
    found = [outside + number - inside for inside, outside, size in maps if 0 <= number - inside < size]
    return found[0] if found else number


def _verify_label(step: Any, place: str, who: str, refuse: Refuse) -> None:  # noqa: ANN401 - RestoreProcesses
    if step.label is None:
        return
    module, wanted, pointer = step.label
    found = _label(place, module)
    if found != shown_label(module, wanted):
        name = {"apparmor": "AppArmor profile", "selinux": "SELinux context"}.get(module, module)
        raise refuse(f"{who} has another {name}", pointer, found)


def _label(place: str, module: str) -> str:
    """Return what confines a thread; before Linux 5.8 AppArmor had no file of its own (apparmor(7))."""
    for name in (f"attr/{module}/current", "attr/current"):
        try:
            with open(f"{place}/{name}", encoding="utf-8", errors="surrogateescape") as file:
                text = file.read().rstrip("\n\0")
        except OSError:
            continue
        # The profile is followed by its mode.
        return _MODE.sub("", text) if module == "apparmor" else text
    return ""


def _verify_maps(step: Any, pid: int, refuse: Refuse) -> None:  # noqa: ANN401 - RestoreProcesses
    for name, wanted in (("uid", step.uid), ("gid", step.gid)):
        if not wanted:
            continue
        with open(f"/proc/{pid}/{name}_map", encoding="ascii") as file:
            found = {tuple(map(int, line.split())) for line in file}
        if found != set(wanted):
            raise refuse("ids are mapped in another way", f"/linux/{name}Mappings", sorted(found))


def _cgroups(pid: int) -> dict[str, str]:
    """Return the cgroups of a process: path by the controllers of the hierarchy, empty for version 2."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return {}
    return {names: path for _, names, path in lines}
