"""The root of a restored container: images do not say that it was read-only, because it is not in them."""

from __future__ import annotations

import os
from threading import Thread

from orlop_hookspecs.errors import StepError
from orlop_linux.live.process import reason

_CLONE_FS = 0x00000200
_CLONE_NEWNS = 0x00020000


def protect_root(pid: int) -> None:
    """Make the root of process *pid* read-only; mounts below it keep their own options.

    A mount is changed from its own namespace only, which is entered by a thread of its own: setns(2) needs
    one that shares its root directory with nobody.

    Raises:
        StepError: The kernel refused.
    """
    failures: list[OSError] = []
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def act() -> None:
        from orlop_linux.init import syscalls

        try:
            syscalls.unshare(_CLONE_FS)
            syscalls.setns(namespace, _CLONE_NEWNS)
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                syscalls.mount_setattr(root, set_=syscalls.MOUNT_ATTR_RDONLY)
            finally:
                os.close(root)
        except OSError as error:
            failures.append(error)

    try:
        thread = Thread(target=act, name="orlop-root")
        thread.start()
        thread.join()
    finally:
        os.close(namespace)
    if failures:
        error = failures[0]
        raise StepError(
            f"cannot make the root read-only: {reason(error)}", pointer="/root/readonly", errno=error.errno
        ) from error
