"""The last steps: find the program, enter its working directory, leave nothing open, execve(2)."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # typeshed has only signal
import errno
import fcntl
import os
import stat

from orlop_linux.init import failure, syscalls
from orlop_linux.init.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orlop_linux.init.context import Context

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSWD_LIMIT = 1 << 20
_PASSWD_FIELDS = 6
"""A line of passwd(5) up to the home directory: name, password, uid, gid, comment, home."""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _verify(path: str) -> None:
    """Refuse what execve(2) would refuse for everybody."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise Failure(errno.EISDIR, failure.DETAIL_DIRECTORY)
    if not stat.S_ISREG(mode) or not mode & 0o111:
        raise OSError(errno.EACCES, "")


def find(name: str, search: str, cwd: str) -> str:
    """Return the path of program *name*, as execvp(3) finds it from *cwd* with PATH *search*.

    Raises:
        Failure: It is in no directory of PATH, or it is a directory.
        OSError: It is given by its path and cannot be executed.
    """
    if "/" in name:
        _verify(name if name.startswith("/") else f"{cwd}/{name}")
        return name
    denied = False
    for directory in (search or DEFAULT_PATH).split(":"):
        candidate = f"{directory or '.'}/{name}"
        try:
            _verify(candidate if candidate.startswith("/") else f"{cwd}/{candidate}")
        except PermissionError:
            denied = True
        except (OSError, Failure):
            continue
        else:
            return candidate
    if denied:
        raise OSError(errno.EACCES, "")
    raise Failure(errno.ENOENT, failure.DETAIL_NOT_IN_PATH)


def enter_directory(path: str) -> None:
    """Change to *path* and make sure that it is inside the root.

    A directory can be reached through a descriptor of /proc and lie outside; getcwd(3) then says so.

    Raises:
        Failure: The directory cannot be entered, or is not below the root.
    """
    try:
        os.chdir(path)
    except OSError as error:
        raise Failure(error.errno or 0, failure.DETAIL_CHDIR) from None
    try:
        where = os.getcwdb()
    except FileNotFoundError:
        where = b""
    if not where.startswith(b"/"):
        raise Failure(errno.ENOENT, failure.DETAIL_CWD)


def _home(uid: int) -> str:
    """Return the home directory of *uid* from the container's /etc/passwd, read as plain bounded text."""
    try:
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return "/"
    try:
        info = os.fstat(fd)
        text = os.read(fd, _PASSWD_LIMIT) if stat.S_ISREG(info.st_mode) else b""
    except OSError:
        text = b""
    finally:
        os.close(fd)
    for line in text.split(b"\n"):
        fields = line.split(b":")
        known = len(fields) >= _PASSWD_FIELDS and fields[2] == str(uid).encode()
        if known and fields[5].startswith(b"/"):
            return fields[5].decode("utf-8", "surrogateescape")
    return "/"


def _move_descriptors(context: Context) -> None:
    """Leave 0, 1, 2 and the preserved ones from 3 on; everything else is closed by execve(2)."""
    count = len(context.preserved)
    floor = 3 + count
    if context.status_fd < floor:
        context.status_fd = fcntl.fcntl(context.status_fd, fcntl.F_DUPFD_CLOEXEC, floor)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, floor) for fd in context.preserved]
    for number, fd in enumerate(high, start=3):
        os.dup2(fd, number, inheritable=True)
    syscalls.close_range(floor, 0xFFFFFFFF, cloexec=True)


def _default_signals() -> None:
    """Undo what the interpreter ignores: an ignored signal would stay ignored in the program."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def settle(context: Context) -> None:
    """Arrange descriptors and signals as the program shall have them; once."""
    if not context.settled:
        _move_descriptors(context)
        _default_signals()
        context.settled = True


def prepare_early(context: Context) -> None:
    """Do what an early filter may forbid and does not depend on the user.

    Filters leave out close_range(2) or deny getcwd(2), and are loaded before the user changes.
    """
    settle(context)
    enter_early(context)


def enter_early(context: Context) -> None:
    """Enter the working directory as root of the container, before the process becomes another user.

    Images have working directories that their user may not enter, such as root's home, and programs that
    never look at where they are. Where root may not, the user may: Execute tries again, and tells.
    """
    if context.execute_fields is None or context.entered:
        return
    try:
        enter_directory(context.execute_fields["cwd"])
    except Failure:
        return
    context.entered = True


def prepare(context: Context, fields: dict[str, Any]) -> None:
    """Do everything that needs system calls or memory, before a filter may forbid them."""
    if context.prepared:
        return
    env = list(fields["env"])
    if not any(entry.startswith("HOME=") for entry in env):
        env.append(f"HOME={_home(os.getuid())}")
    if context.listen_fds:
        env += [f"LISTEN_FDS={context.listen_fds}", f"LISTEN_PID={os.getpid()}"]
    search = next((entry[5:] for entry in env if entry.startswith("PATH=")), "")
    if not context.entered:
        enter_directory(fields["cwd"])
    path = find(fields["args"][0], search, ".")
    settle(context)
    os.umask(context.umask)
    args = [_bytes(arg) for arg in fields["args"]]
    context.prepared = (syscalls.prepare_execve(_bytes(path), args, [_bytes(entry) for entry in env]),)


def execute(context: Context, fields: dict[str, Any], _index: int) -> None:
    """Execute Execute: replace the process."""
    prepare(context, fields)
    context.prepared[0]()


OPS = {"Execute": execute}
