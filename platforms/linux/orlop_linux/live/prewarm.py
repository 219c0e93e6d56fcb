"""Start the helper from which containers are cloned, out of a protected copy of the interpreter.

A container's program may be ``/proc/self/exe``: then the interpreter of the helper runs inside the container,
and whoever holds ``/proc/PID/exe`` open can try to write to the file behind it. Here that file is in a
read-only overlay that is attached nowhere, or a sealed memory file; never the host's interpreter itself.

This module is loaded before everything dear, so that the helper starts while the engine is still importing.
It therefore calls the kernel through ``_ctypes``: the public ``ctypes`` costs two milliseconds.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only signal
import errno
import fcntl
import os
import sys
import time

from orlop_hookspecs.errors import PlatformError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# In ASCII, because the command line is encoded by the caller's locale and decoded as UTF-8.
DEFAULT = f"import sys; sys.path.append({_PACKAGES!a}); from orlop_linux.init.zygote import main; main()"
"""The helper's program, the zygote. Its directory is the last of the path and shadows no standard module."""

_helper = getattr(__spec__.loader, "helper", None)
SOURCE_FD = -1
"""A descriptor of the file that the helper's modules are in, where all modules are in one file; else -1.

The helper has it as its descriptor 4: the file that a path names may be another one by then.
"""
if _helper is not None:
    SOURCE_FD, DEFAULT = _helper()

HELPER_FD = 3
"""The descriptor as which the helper finds the one that was handed to :func:`launch`."""

_OPTIONS = ("-I", "-S", "-B", "-X", "utf8", "-c")

# Numbers from 424 on are the same on every architecture.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 6
_MOUNT_ATTR_RDONLY_NOSUID_NODEV = 0x1 | 0x2 | 0x4

_MFD_EXEC = 0x10  # Linux 6.3; os has no name for it
_F_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_CHUNK = 1 << 30

_SMALL = 256 * 1024
"""Bytes up to which an executable is a mere loader of libpython, and a copy is cheaper than an overlay."""

_PATH_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

# Above what the helper's file actions write to, and out of the way of the low numbers of the caller.
_LOWEST_FD = 10

# An overlay without an upper layer wants two lower ones that are not nested; the second contributes nothing.
_SECOND_LAYERS = (os.path.dirname(__file__), "/etc", "/dev", "/usr/share")

_BUSY_TRIES = 100
_BUSY_PAUSE = 0.005


class _Copy:
    """A protected executable: its descriptor, which file that is, and the environment that it needs."""

    __slots__ = ("environment", "fd", "identity")

    def __init__(self, path: str) -> None:
        self.environment = _environment(path)
        self.fd = protect(path)
        self.identity = _identity(self.fd)


_copies: dict[str, _Copy] = {}


def launch(extra_fd: int, program: str = DEFAULT) -> int:
    """Start the protected interpreter with *program* and return its process id; the caller reaps it.

    The helper has *extra_fd* as its descriptor 3 and /dev/null as 0, 1 and 2. No signal is blocked, and none
    ignored but by its C library and Python themselves. Its process group is its own, so a terminal's SIGINT
    for the caller does not reach it. Its environment is empty, or LD_PRELOAD with the caller's libpython
    where the interpreter is a shared library. Other descriptors that the caller left inheritable are its to
    close.

    The copy of the interpreter is kept, as a close-on-exec descriptor, for later launches of this process.

    Raises:
        PlatformError: The interpreter is not known, cannot be protected, or does not start.
    """
    interpreter = base_interpreter()
    copy = _copy_of(interpreter)
    # The order matters: extra_fd may itself be one of 0, 1 and 2.
    actions = [
        (os.POSIX_SPAWN_DUP2, extra_fd, HELPER_FD),
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]
    if SOURCE_FD >= 0:
        actions.insert(1, (os.POSIX_SPAWN_DUP2, SOURCE_FD, HELPER_FD + 1))
    tries = 0
    while True:
        try:
            return os.posix_spawn(
                f"/proc/self/fd/{copy.fd}",
                [interpreter, *_OPTIONS, program],
                copy.environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=_signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP},
            )
        except OSError as error:
            # Another thread forked while the copy was being written, and its child still has it open.
            if error.errno == errno.ETXTBSY and tries < _BUSY_TRIES:
                tries += 1
                time.sleep(_BUSY_PAUSE)
                continue
            raise PlatformError(
                f"the protected copy of the interpreter does not start: {os.strerror(error.errno or 0)}",
                path=interpreter,
                errno=error.errno,
                hint="orlop needs a procfs on /proc" if error.errno == errno.ENOENT else "",
            ) from error


def base_interpreter() -> str:
    """Return the path of the interpreter's own file: beneath virtual environments and symbolic links.

    Raises:
        PlatformError: The caller's interpreter is embedded in another program, or a script stands for it.
    """
    named: str = getattr(sys, "_base_executable", "") or sys.executable or ""
    path = os.path.realpath(named) if named else ""
    hint = "run orlop with a python executable, not from a program that embeds one"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            magic = os.read(fd, 4)
        finally:
            os.close(fd)
    except OSError as error:
        raise PlatformError(
            "cannot find the python interpreter", path=path, errno=error.errno, hint=hint
        ) from error
    if magic != b"\x7fELF":
        # A script would be interpreted by a program that nothing protects.
        raise PlatformError("the python interpreter is not an executable program", path=path, hint=hint)
    return path


def _copy_of(path: str) -> _Copy:
    """Return the protected copy of *path*, made at most once in this process."""
    copy = _copies.get(path)
    if copy is not None:
        # A program that becomes a daemon closes what it does not know; the number may have a new owner.
        try:
            if _identity(copy.fd) == copy.identity:
                return copy
        except OSError:
            pass
        _copies.pop(path, None)
    copy = _Copy(path)
    kept = _copies.setdefault(path, copy)
    if kept is not copy:
        os.close(copy.fd)  # another thread was faster
    return kept


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _environment(path: str) -> dict[str, str]:
    """Return what the dynamic loader needs in order to find the libpython of the caller.

    An executable that was built to look for it at ``$ORIGIN`` does not find it from the copy, which is
    elsewhere; one that needed LD_LIBRARY_PATH does not get that. LD_PRELOAD names one file, and no directory
    to search later.
    """
    if os.stat(path).st_size > _SMALL:
        return {}
    name = f"/libpython{sys.version_info[0]}.{sys.version_info[1]}".encode()
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            if name in line:
                library = os.fsdecode(line.rstrip(b"\n").split(None, 5)[-1])
                # The loader's list is separated by these and knows no escape.
                usable = not (":" in library or " " in library) and os.path.isfile(library)
                return {"LD_PRELOAD": library} if usable else {}
    return {}


def protect(path: str) -> int:
    """Return a new close-on-exec descriptor, read-only, of a copy of *path* that cannot be written to.

    Raises:
        PlatformError: Neither an overlay nor a sealed memory file can be made.
    """
    refusals: list[OSError] = []
    ways = (sealed_copy, overlay) if os.stat(path).st_size <= _SMALL else (overlay, sealed_copy)
    for way in ways:
        try:
            return way(path)
        except OSError as error:
            refusals.append(error)
    reasons = ", ".join(
        f"{way.__name__.replace('_', ' ')}: {os.strerror(error.errno or 0)}"
        for way, error in zip(ways, refusals, strict=True)
    )
    raise PlatformError(
        f"cannot protect the interpreter from containers ({reasons})",
        path=path,
        errno=refusals[-1].errno,
        hint="an overlay needs CAP_SYS_ADMIN and overlayfs, a sealed copy the sysctl vm.memfd_noexec below 2",
    ) from refusals[-1]


def overlay(path: str) -> int:
    """Open *path* in a new read-only overlay of its directory that is attached nowhere.

    A privileged container can make a read-only bind mount writable again. This file system has no upper
    layer, so there is no writable state to go back to.

    Raises:
        OSError: Without CAP_SYS_ADMIN, without overlayfs, or on a file system that it refuses.
    """
    call = _kernel()
    directory = os.path.dirname(path)
    layer = os.open(directory, _PATH_FLAGS)
    try:
        refusal = OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        for second in _SECOND_LAYERS:
            if not _nested(directory, os.path.realpath(second)):
                try:
                    return _open_in_overlay(call, layer, second, os.path.basename(path))
                except OSError as error:
                    refusal = error
        raise refusal
    finally:
        os.close(layer)


def _open_in_overlay(call: Callable[..., int], layer: int, second: str, name: str) -> int:
    other = os.open(second, _PATH_FLAGS)
    try:
        mount = _mount_overlay(call, layer, other)
    finally:
        os.close(other)
    try:
        return _keep(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=mount))
    finally:
        os.close(mount)


def sealed_copy(path: str) -> int:
    """Copy *path* into a memory file, seal it for good, and return a read-only descriptor of it.

    Raises:
        OSError: Too little memory, or the kernel does not allow executable memory files.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            memory = os.memfd_create("orlop-python", flags | _MFD_EXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            memory = os.memfd_create("orlop-python", flags)
        try:
            while os.sendfile(memory, source, None, _CHUNK):
                pass
            os.fchmod(memory, 0o555)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _F_SEALS)
            # A file that is open for writing cannot be executed (ETXTBSY), sealed or not.
            return _keep(os.open(f"/proc/self/fd/{memory}", os.O_RDONLY | os.O_CLOEXEC))
        finally:
            os.close(memory)
    finally:
        os.close(source)


def _keep(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FD)
    finally:
        os.close(fd)


def _nested(one: str, other: str) -> bool:
    return os.path.commonpath((one, other)) in (one, other)


def _mount_overlay(call: Callable[..., int], layer: int, other: int) -> int:
    context = call(_FSOPEN, b"overlay", _FSOPEN_CLOEXEC)
    try:
        # By descriptor: nothing to escape in these paths, and none longer than the 255 bytes of fsconfig(2).
        layers = b"/proc/self/fd/%d:/proc/self/fd/%d" % (layer, other)
        for key, value in ((b"source", b"orlop"), (b"lowerdir", layers), (b"xino", b"off")):
            call(_FSCONFIG, context, _FSCONFIG_SET_STRING, key, value, 0)
        call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, _MOUNT_ATTR_RDONLY_NOSUID_NODEV)
    finally:
        os.close(context)


def _kernel() -> Callable[..., int]:
    """Return syscall(2) as a function that raises :class:`OSError`."""
    try:
        long, function, get_errno = _private_syscall()
    except (ImportError, AttributeError, TypeError):
        long, function, get_errno = _public_syscall()

    def call(*arguments: int | bytes | None) -> int:
        # A bare int would be passed as a C int, of which a variadic function may see 32 bits of rubbish.
        result = function(*(long(a) if isinstance(a, int) else a for a in arguments))
        if result == -1:
            number = get_errno()
            raise OSError(number, os.strerror(number))
        return result

    return call


def _private_syscall() -> tuple[type, Callable[..., int], Callable[[], int]]:
    """Reach syscall(2) through the C half of ctypes alone, whose names are CPython's own business."""
    import _ctypes

    class Long(_ctypes._SimpleCData):  # type: ignore[type-arg] # noqa: SLF001 - see above
        _type_ = "l"

    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
        _restype_ = Long

    program = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type] # dlopen(3) knows NULL, typeshed does not
    address = _ctypes.dlsym(program, "syscall")
    return Long, Function(address), _ctypes.get_errno


def _public_syscall() -> tuple[type, Callable[..., int], Callable[[], int]]:
    """Reach syscall(2) through the public module, in an interpreter without the C half that we know."""
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    return ctypes.c_long, function, ctypes.get_errno
