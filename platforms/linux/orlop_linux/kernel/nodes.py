"""Device nodes for a container that may make none, with mode and owner of the config.

config-linux.md, Devices: fileMode, uid and gid, the ids being those of the container.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

from orlop_hookspecs.errors import StepError
from orlop_linux.init import syscalls
from orlop_linux.kernel.unprivileged import may_make_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK}
_NAME = "node"


def settle(fd: int, step: Any, user_namespace: int | None) -> int:  # noqa: ANN401 - a CreateDevice
    """Return *fd*, a copy of the host's node, if it is as the config says; otherwise a node of our own.

    Args:
        fd: It is closed when another is returned; -1: the host has no such node.
        step: What the config says.
        user_namespace: Process id whose user namespace the ids are of; ``None``: the caller's own.

    Raises:
        StepError: An id is not mapped, or the caller may not make nodes.
    """
    wanted = {name: getattr(step, name) for name in step.exact}
    try:
        for name in wanted.keys() - {"mode"}:
            wanted[name] = _outside(step, name, user_namespace)
        found = _found(fd)
        different = next((name for name in step.exact if found and wanted[name] != found[name]), "")
        if not (different or (fd < 0 and may_make_nodes())):
            return fd
        if not may_make_nodes():
            _refuse(step, different, found[different])
        made = {"mode": step.mode, "uid": 0, "gid": 0, **found, **wanted}
        node = make(_TYPES[step.type] | made["mode"], (step.major, step.minor), (made["uid"], made["gid"]))
    except BaseException:
        _close(fd)
        raise
    _close(fd)
    return node


def refuse_different(path: str, step: Any, user_namespace: int | None) -> None:  # noqa: ANN401 - as above
    """Refuse a node that the container process will bind by itself, and that is not as the config says.

    Raises:
        StepError: See :func:`settle`.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # who opens it tells of it
    try:
        found = _found(fd)
    finally:
        os.close(fd)
    for name in step.exact:
        wanted = step.mode if name == "mode" else _outside(step, name, user_namespace)
        if wanted != found[name]:
            _refuse(step, name, found[name])


def _found(fd: int) -> dict[str, int]:
    if fd < 0:
        return {}
    info = os.fstat(fd)
    return {"mode": stat.S_IMODE(info.st_mode), "uid": info.st_uid, "gid": info.st_gid}


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _outside(step: Any, name: str, user_namespace: int | None) -> int:  # noqa: ANN401 - as above
    """Return the id as we see it that is ``step.uid`` or ``step.gid`` in the container."""
    number: int = getattr(step, name)
    if user_namespace is None:
        return number
    for first, outside, size in _map(user_namespace, name):
        if first <= number < first + size:
            return outside + number - first
    raise StepError(
        "the id is not mapped into the container's user namespace",
        pointer=f"{step.because}/{name}",
        value=number,
        errno=errno.EINVAL,
    )


def _map(pid: int, name: str) -> Iterator[list[int]]:
    with open(f"/proc/{pid}/{name}_map", encoding="ascii") as file:
        for line in file:
            yield [int(word) for word in line.split()]


def _refuse(step: Any, name: str, found: int) -> NoReturn:  # noqa: ANN401 - as above
    what = {"mode": "fileMode", "uid": "uid", "gid": "gid"}[name]
    raise StepError(
        f"the host's {step.path}, which takes the place of a node that we may not make, has another {what}",
        pointer=f"{step.because}/{what}",
        value=getattr(step, name),
        errno=errno.EPERM,
        hint=f"leave {what} out, or set it to that of the host's node, which is {found}",
    )


def make(mode: int, device: tuple[int, int], owner: tuple[int, int]) -> int:
    """Return a detached mount of a new device node, which is in no directory of the host.

    It is made in a new file system and in a mount namespace that a thread has for itself: until Linux 6.15
    only what is attached somewhere can be copied.

    Raises:
        OSError: The kernel refuses.
    """
    made: list[int] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            made.append(_make(mode, os.makedev(*device), owner))
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=work, name="orlop-node", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _make(mode: int, device: int, owner: tuple[int, int]) -> int:
    # From here on this thread has a directory, an umask and mounts of its own.
    syscalls.unshare(syscalls.CLONE_NEWNS)
    os.umask(0)
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    context = tree = -1
    try:
        syscalls.mount_setattr(top, propagation=syscalls.MS_PRIVATE, recursive=True)
        context = syscalls.fsopen(b"tmpfs")
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        tree = syscalls.fsmount(context, syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC)
        syscalls.move_mount(tree, top)
        os.mknod(_NAME, mode, device, dir_fd=tree)
        os.chown(_NAME, *owner, dir_fd=tree, follow_symlinks=False)
        os.chmod(_NAME, stat.S_IMODE(mode), dir_fd=tree)
        return syscalls.open_tree(tree, _NAME.encode(), syscalls.OPEN_TREE_CLONE)
    finally:
        for fd in (tree, context, top):
            _close(fd)
