"""What becomes CRIU: a process of the engine's that makes its place and then executes ``criu swrk``.

It is executed by the interpreter's protected copy, like the zygote, finds a socket as descriptor 3 and
reads one message from it: JSON, with the descriptors that it is to have. What CRIU mounts while it restores
a container is mounted in a mount namespace of its own, so that nothing of it is left on the host, whoever is
killed; and it is in the container's cgroups, so that whatever it makes is ended with them.

CRIU looks for the directories of a request among the descriptors of who made its socket, by the name of a
process and a number. So the socket is made here, once the namespace is there, and one end is sent back: the
directories are CRIU's own descriptors, open where it can mount below them.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from array import array

from orlop_linux.init import sources, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTROL = 3
SERVICE = 4
"""The descriptor of CRIU's end of its socket."""
FIRST = 5
"""The first of the descriptors that CRIU is to have."""

MOST = 64
_MESSAGE = 1 << 16
_ABOVE = 200  # where descriptors wait for their numbers
_CLONE_NEWNS = 0x00020000


def receive() -> tuple[dict[str, Any], list[int]]:
    """Return the message and its descriptors."""
    from _socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET, socket

    control = socket(fileno=CONTROL)
    data, ancillary, _, _ = control.recvmsg(_MESSAGE, CMSG_SPACE(4 * MOST))
    control.detach()
    fds = array("i")
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return json.loads(data), list(fds)


def prepare(message: dict[str, Any], fds: list[int]) -> None:
    """Enter the cgroups, make the mount namespace with the container's root, and place the descriptors.

    The first descriptors are ``cgroup.procs`` or ``tasks`` files, then comes the root's if there is one.
    """
    for _ in range(message["cgroups"]):
        fd = fds.pop(0)
        os.write(fd, b"0")
        os.close(fd)
    root = message["root"]
    if root:
        # A copy can be made in the namespace of the original only, and attached in any.
        tree = sources.clone(fds.pop(0), recursive=True, propagation=syscalls.MS_SLAVE)
        syscalls.unshare(_CLONE_NEWNS)
        # What is mounted here stays here; what the host mounts or unmounts meanwhile is followed.
        syscalls.mount(None, b"/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
        fds[: message["directories"]] = [_reopen(fd) for fd in fds[: message["directories"]]]
        place = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        syscalls.move_mount(tree, place)
    waiting = [os.dup2(fd, _ABOVE + index, inheritable=False) for index, fd in enumerate(fds)]
    syscalls.close_range(SERVICE, _ABOVE - 1, cloexec=True)
    for index, fd in enumerate(waiting):
        os.dup2(fd, FIRST + index)
    if message["terminal"]:
        os.dup2(waiting[-1], 0)


def _reopen(fd: int) -> int:
    """Return the same directory, in the mount namespace that this process is in now."""
    found = os.open(os.readlink(f"/proc/self/fd/{fd}"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    here, there = os.fstat(found), os.fstat(fd)
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino) or not stat.S_ISDIR(here.st_mode):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return found


def _send_back(service: int) -> None:
    from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET, socket, socketpair

    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    control = socket(fileno=CONTROL)
    control.sendmsg([b"."], [(SOL_SOCKET, SCM_RIGHTS, array("i", [theirs.fileno()]))])
    control.detach()
    os.dup2(ours.fileno(), service)


def main() -> None:
    """Become CRIU; a failure is told by its error number."""
    try:
        message, fds = receive()
        prepare(message, fds)
        _send_back(SERVICE)
        os.chdir("/")
        os.set_inheritable(CONTROL, False)  # noqa: FBT003 - the function's only form
        program = message["program"]
        os.execve(program, [program, "swrk", str(SERVICE)], message["environment"])  # noqa: S606 - as meant
    except OSError as error:
        number = error.errno or errno.EIO
    except (ValueError, LookupError):
        number = errno.EBADMSG
    os.write(CONTROL, b"!%d" % number)
    os._exit(1)
