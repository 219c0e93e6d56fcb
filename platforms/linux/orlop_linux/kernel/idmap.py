"""Writing the id maps of a new user namespace: user_namespaces(7), newuidmap(1)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop_linux.kernel.spawn import Launch

_HINT = (
    "ids that are not the caller's own are mapped by newuidmap(1) and newgidmap(1) of the package uidmap, "
    "from the ranges in /etc/subuid and /etc/subgid"
)
Maps = tuple[tuple[int, int, int], ...]
"""(id in the namespace, id outside, how many)."""


def _text(maps: Maps) -> bytes:
    return "".join(f"{inside} {outside} {size}\n" for inside, outside, size in maps).encode()


def _hint(number: int, maps: Maps) -> str:
    if number in {errno.EPERM, errno.ENOENT}:
        return _HINT
    if number == errno.EINVAL and len(_text(maps)) >= (limit := os.sysconf("SC_PAGESIZE")):
        return f"the kernel takes less than {limit} bytes of text for a map: use fewer, larger ranges"
    return ""


def _write(directory: int, name: str, data: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _with_helper(helper: str, pid: int, maps: Maps) -> None:
    """Let the set-user-id helper of the shadow package write the map; it gets numbers only."""
    import shutil
    import subprocess

    program = shutil.which(helper)
    if program is None:
        raise FileNotFoundError(2, "not found in PATH", helper)
    numbers = [str(number) for one in maps for number in one]
    command = [program, str(pid), *numbers]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - numbers only
    if done.returncode:
        raise PermissionError(1, done.stderr.decode("utf-8", "replace").strip()[:200], helper)


def write_maps(pid: int, uid: Maps, gid: Maps) -> None:
    """Write both maps of the waiting process *pid*.

    A caller that may not write them itself uses newuidmap(1) and newgidmap(1), or, for its own single id,
    denies setgroups(2) first, as the kernel demands.

    Raises:
        StepError: A map is refused.
    """
    directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name, helper, maps in (("uid_map", "newuidmap", uid), ("gid_map", "newgidmap", gid)):
            try:
                try:
                    _write(directory, name, _text(maps))
                except PermissionError:
                    if name == "gid_map" and len(maps) == 1 and maps[0][1:] == (os.getegid(), 1):
                        _write(directory, "setgroups", b"deny")
                        _write(directory, name, _text(maps))
                    else:
                        _with_helper(helper, pid, maps)
            except OSError as error:
                number = error.errno or 0
                raise StepError(
                    f"cannot write {name}: {error.strerror or os.strerror(number)}".lower(),
                    pointer=f"/linux/{name[:3]}Mappings",
                    errno=number,
                    value=[list(one) for one in maps[:5]],
                    hint=_hint(number, maps),
                ) from error
    finally:
        os.close(directory)


def verify_maps(pid: int, uid: Maps, gid: Maps) -> None:
    """Compare the maps of process *pid*, in a user namespace that it has joined, with those that are wanted.

    Raises:
        StepError: One is another; an empty one is not compared.
    """
    for name, maps in (("uid_map", uid), ("gid_map", gid)):
        with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
            found = [tuple(map(int, line.split())) for line in file]
        if maps and _merged(found) != _merged(maps):
            raise StepError(
                f"the user namespace that is joined has another {name}",
                pointer=f"/linux/{name[:3]}Mappings",
                errno=errno.EINVAL,
                value=[list(one) for one in found[:5]],
                hint="leave the mappings out, or repeat those of the namespace",
            )


def _merged(maps: Iterable[tuple[int, ...]]) -> list[list[int]]:
    """Return mappings in order, with those joined that continue one another."""
    made: list[list[int]] = []
    for inside, outside, size in sorted(maps):
        last = made[-1] if made else [-1, -1, 0]
        if (inside, outside) == (last[0] + last[2], last[1] + last[2]):
            last[2] += size
        else:
            made.append([inside, outside, size])
    return made


def map_users(born: Launch, uid: Maps, gid: Maps) -> int:
    """Return a descriptor of a new user namespace with these id maps, in which no process is any more.

    A namespace needs somebody to be born in it (user_namespaces(7)): *born*, which does nothing else.
    """
    from orlop_hookspecs.plan import PlannedStep
    from orlop_hookspecs.steps import NewNamespace, SetIdMappings

    steps = (NewNamespace(because="", type="user"), SetIdMappings(because="", uid=uid, gid=gid))
    try:
        born.clone(
            [PlannedStep(one, one.phase, one.slot, "") for one in steps],
            namespaces={},
            cgroup_fd=None,
            task_fds=(),
        )
        return os.open(f"/proc/{born.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        born.abort()
