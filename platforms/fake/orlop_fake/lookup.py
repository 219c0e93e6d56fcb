"""How an executable is found, with the messages that engines look for."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.mounts import walk
from orlop_fake.refusals import refusal
from orlop_fake.vfs import Directory, File

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop_fake.mounts import Location
    from orlop_fake.processes import Process

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the environment does not say."""


def find_executable(process: Process, args: Sequence[str], search: str, cwd: str) -> tuple[str, Location]:
    """Return the path under which *args*'s program was found, and where it leads.

    Raises:
        OSError: ENOENT, EACCES, EISDIR, as execvp(3); the message is one that engines know.
    """
    name = args[0] if args else ""
    if not name:
        raise refusal(errno.ENOENT, message='exec: "": executable file not found in $PATH')
    if "/" in name:
        path = name if name.startswith("/") else f"{cwd.rstrip('/')}/{name}"
        where = _look(process, path, name)
        _check(process, where, name)
        return path, where
    denied: OSError | None = None
    for directory in (search or DEFAULT_PATH).split(":"):
        path = f"{directory or cwd}/{name}"
        if not path.startswith("/"):
            path = f"{cwd.rstrip('/')}/{path}"
        try:
            where = walk(process.namespaces.mount.tree, process.root, path)
            _check(process, where, name)
        except OSError as error:
            if error.errno == errno.EACCES:
                denied = error
            continue
        return path, where
    if denied is not None:
        raise denied
    raise refusal(errno.ENOENT, message=f'exec: "{name}": executable file not found in $PATH')


def _look(process: Process, path: str, name: str) -> Location:
    try:
        return walk(process.namespaces.mount.tree, process.root, path)
    except OSError as error:
        raise refusal(
            error.errno or errno.ENOENT, message=f'exec: "{name}": stat {name}: {error.strerror}'
        ) from None


def _check(process: Process, where: Location, name: str) -> None:
    node = where.node
    if isinstance(node, Directory):
        raise refusal(errno.EISDIR, message=f'exec: "{name}": is a directory: permission denied')
    executable = isinstance(node, File) and node.mode & 0o111
    if not executable or "noexec" in where.mount.attributes or not process.credentials.allows(node, 1):
        raise refusal(errno.EACCES, message=f'exec: "{name}": permission denied')
