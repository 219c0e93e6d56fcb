"""System calls that Python does not offer: wrappers of a few lines with the kernel's names.

All functions raise :class:`OSError` with the kernel's errno. Structures that the kernel may write to are
larger than any kernel's idea of them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
# This handle keeps the GIL: clone3(2) must not return into an interpreter that has to wait for one.
_held_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_held_syscall.restype = ctypes.c_long

# Numbers from 424 on are the same on every architecture; the older ones are not.
_OLDER = (
    "pivot_root", "seccomp", "keyctl", "capset", "capget", "rt_sigaction",
    "set_mempolicy", "get_mempolicy", "sched_setattr", "sched_getattr", "ioprio_set",
)  # fmt: skip
_GENERIC = (41, 277, 219, 91, 90, 134, 237, 236, 274, 275, 30)
_OLD = {
    "x86_64": (155, 317, 250, 126, 125, 13, 238, 239, 314, 315, 251),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
    "ppc64le": (203, 358, 271, 184, 183, 173, 261, 260, 355, 356, 273),
    "s390x": (217, 348, 280, 185, 184, 174, 270, 269, 345, 346, 282),
}.get(os.uname().machine, ())
NUMBERS = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
    **dict(zip(_OLDER, _OLD, strict=False)),
}
"""System call numbers of this architecture; an architecture that is not in the table lacks the older ones."""

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

MS_RDONLY = 0x1
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

CLONE_NEWTIME = 0x00000080
CLONE_FILES = 0x00000400
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_DESCRIBE = 6
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3

SA_NOCLDWAIT = 2

_PADDING = 256
_MFD_NOEXEC_SEAL = 0x8
_NODE_MASK = 1024  # bytes; no kernel has more memory nodes than bits in it (CONFIG_NODES_SHIFT)


def _check(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def _call(name: str, *args: object) -> int:
    return _check(_syscall(ctypes.c_long(NUMBERS[name]), *args))


def call(name: str, *args: object) -> int:
    """Make the system call *name*, which has no wrapper here; *args* are of ctypes."""
    return _call(name, *args)


def _long(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)


class _CloneArgs(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("pidfd", ctypes.c_uint64),
        ("child_tid", ctypes.c_uint64),
        ("parent_tid", ctypes.c_uint64),
        ("exit_signal", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("stack_size", ctypes.c_uint64),
        ("tls", ctypes.c_uint64),
        ("set_tid", ctypes.c_uint64),
        ("set_tid_size", ctypes.c_uint64),
        ("cgroup", ctypes.c_uint64),
    )


def clone3(flags: int, cgroup: int = -1) -> tuple[int, int]:
    """Clone the calling process, see clone(2); return (pid, pidfd), or (0, -1) in the child.

    With CLONE_PARENT the exit signal must be 0: the child inherits the caller's.
    """
    pidfd = ctypes.c_int(-1)
    args = _CloneArgs(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd))
    if cgroup >= 0:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup
    if not flags & CLONE_PARENT:
        args.exit_signal = 17  # SIGCHLD, signal(7)
    pid = _check(_held_syscall(_long(NUMBERS["clone3"]), ctypes.byref(args), _long(ctypes.sizeof(args))))
    return (pid, pidfd.value) if pid else (0, -1)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dirfd: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """Open *path* with restrictions on how it is resolved, see openat2(2)."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return _call("openat2", _long(dirfd), path, ctypes.byref(how), _long(ctypes.sizeof(how)))


def open_tree(dirfd: int, path: bytes, flags: int) -> int:
    """Return a descriptor of a mount or, with OPEN_TREE_CLONE, of a detached copy of it."""
    return _call("open_tree", _long(dirfd), path, _long(flags | OPEN_TREE_CLOEXEC))


def move_mount(from_fd: int, to_fd: int) -> None:
    """Attach the mount *from_fd* at the directory or file *to_fd*; no path is resolved."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _call("move_mount", _long(from_fd), b"", _long(to_fd), b"", _long(flags))


def fsopen(fstype: bytes) -> int:
    """Open a context to make a file system instance of type *fstype*."""
    return _call("fsopen", fstype, _long(FSOPEN_CLOEXEC))


def fsconfig(fd: int, command: int, key: bytes | None = None, value: bytes | None = None) -> None:
    """Set a parameter of the context *fd*, or make the instance."""
    _call("fsconfig", _long(fd), _long(command), key, value, _long(0))


def fsmount(fd: int, attributes: int) -> int:
    """Return a detached mount of the instance of context *fd*."""
    return _call("fsmount", _long(fd), _long(FSMOUNT_CLOEXEC), _long(attributes))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount_setattr(  # noqa: PLR0913 - the fields of struct mount_attr
    fd: int, *, set_: int = 0, clear: int = 0, propagation: int = 0, userns: int = 0, recursive: bool = False
) -> None:
    """Change the mount that *fd* stands for, see mount_setattr(2)."""
    attr = _MountAttr(set_, clear, propagation, userns)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _call("mount_setattr", _long(fd), b"", _long(flags), ctypes.byref(attr), _long(ctypes.sizeof(attr)))


def mount(
    source: bytes | None, target: bytes, fstype: bytes | None, flags: int, data: bytes | None = None
) -> None:
    """Call mount(2); only for propagation changes and moves at fixed paths."""
    _check(_libc.mount(source, target, fstype, ctypes.c_ulong(flags), data))


def fchownat(fd: int, uid: int, gid: int) -> None:
    """Change the owner of exactly the file *fd*, which may be O_PATH, see fchownat(2), AT_EMPTY_PATH."""
    _check(
        _libc.fchownat(
            ctypes.c_int(fd), b"", ctypes.c_uint(uid), ctypes.c_uint(gid), ctypes.c_int(AT_EMPTY_PATH)
        )
    )


def umount2(target: bytes, flags: int) -> None:
    """Call umount2(2)."""
    _check(_libc.umount2(target, ctypes.c_int(flags)))


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """Call pivot_root(2)."""
    _call("pivot_root", new_root, put_old)


def unshare(flags: int) -> None:
    """Call unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(flags)))


def setns(fd: int, nstype: int) -> None:
    """Call setns(2)."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(nstype)))


def prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    """Call prctl(2)."""
    return _check(
        _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(arg2), ctypes.c_ulong(arg3), _long(0), _long(0))
    )


def sethostname(name: bytes) -> None:
    """Call sethostname(2)."""
    _check(_libc.sethostname(name, ctypes.c_size_t(len(name))))


def setdomainname(name: bytes) -> None:
    """Call setdomainname(2)."""
    _check(_libc.setdomainname(name, ctypes.c_size_t(len(name))))


def join_session_keyring(name: bytes | None) -> int:
    """Join a session keyring and return its serial number, see keyctl_join_session_keyring(3).

    One of that name that the caller may search is joined, and 0 returned if it is the caller's already;
    without a name there always is a new one.
    """
    return _call("keyctl", _long(KEYCTL_JOIN_SESSION_KEYRING), name)


def describe_key(serial: int) -> bytes:
    """Return ``type;uid;gid;perm;description`` of a key, see keyctl_describe(3)."""
    buffer = ctypes.create_string_buffer(4096 + _PADDING)
    size = _call("keyctl", _long(KEYCTL_DESCRIBE), _long(serial), buffer, _long(ctypes.sizeof(buffer)))
    return buffer.raw[: min(size, ctypes.sizeof(buffer))].rstrip(b"\0")


def personality(persona: int) -> None:
    """Set the execution domain, see personality(2)."""
    _check(_libc.personality(ctypes.c_ulong(persona)))


def set_mempolicy(mode: int, nodes: int) -> None:
    """Set the memory policy of the calling thread; *nodes* is a bit mask, see set_mempolicy(2)."""
    size = 8 * (nodes.bit_length() // 64 + 1)
    mask = nodes.to_bytes(size, sys.byteorder) if nodes else None
    # The kernel takes one bit less than it is told.
    _call("set_mempolicy", _long(mode), mask, ctypes.c_ulong(8 * size + 1 if nodes else 0))


def get_mempolicy() -> int:
    """Return the nodes of the calling thread's memory policy as a bit mask, see get_mempolicy(2)."""
    buffer = ctypes.create_string_buffer(_NODE_MASK)
    _call("get_mempolicy", None, buffer, ctypes.c_ulong(8 * _NODE_MASK + 1), None, _long(0))
    return int.from_bytes(buffer.raw, sys.byteorder)


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_CapData = ctypes.c_uint32 * 6
_CAPABILITY_VERSION_3 = 0x20080522


def capget() -> tuple[int, int, int]:
    """Return the caller's effective, permitted and inheritable sets as bit masks, see capget(2)."""
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    data = _CapData()
    _call("capget", ctypes.byref(header), ctypes.byref(data))
    return data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the caller's capability sets from bit masks, see capset(2)."""
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    low = 0xFFFFFFFF
    data = _CapData(
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> 32,
        permitted >> 32,
        inheritable >> 32,
    )
    _call("capset", ctypes.byref(header), ctypes.byref(data))


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def prepare_seccomp(flags: int, program: bytes) -> Callable[[], int]:
    """Return a function that loads the BPF *program* (struct sock_filter array), see seccomp(2).

    It returns what the call returns: the listener, if *flags* ask for one. Nothing is left for it to do but
    the call, and what it needs lives as long as it does.

    Raises:
        OSError: EINVAL also for a program of more instructions than the 16-bit length can say.
    """
    count, rest = divmod(len(program), 8)
    if rest or not 0 < count <= 0xFFFF:
        raise OSError(22, "")
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = _SockFprog(count, ctypes.addressof(buffer))
    call = (_long(NUMBERS["seccomp"]), _long(SECCOMP_SET_MODE_FILTER), _long(flags), ctypes.byref(fprog))

    def load(_alive: object = buffer) -> int:
        return _check(_syscall(*call))

    return load


def seccomp_takes(flags: int) -> bool:
    """Tell whether the kernel knows *flags* of seccomp(2), without loading anything.

    Flags are looked at before the program, and EFAULT is about the program.
    """
    try:
        _call("seccomp", _long(SECCOMP_SET_MODE_FILTER), _long(flags), None)
    except OSError as error:
        return error.errno not in (errno.EINVAL, errno.ENOSYS)
    return True


def crash() -> NoReturn:
    """End at once and without a system call; the kernel's own signal ends even the first process."""
    ctypes.string_at(0)
    while True:
        pass


def close_range(first: int, last: int, *, cloexec: bool) -> None:
    """Close descriptors, or only mark them close-on-exec, see close_range(2)."""
    _call("close_range", ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(4 if cloexec else 0))


def prepare_execve(path: bytes, args: list[bytes], env: list[bytes]) -> Callable[[], None]:
    """Return a function that replaces the program; order and duplicates of the environment are kept.

    Nothing is left for it to do but execve(2): a seccomp filter may forbid everything else.
    """
    argv = (ctypes.c_char_p * (len(args) + 1))(*args, None)
    envp = (ctypes.c_char_p * (len(env) + 1))(*env, None)
    call = _libc.execve

    def execve() -> None:
        _check(call(path, argv, envp))

    return execve


def memory_file(name: str) -> int:
    """Return a new file in memory that no program can be executed from, see memfd_create(2)."""
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, os.MFD_CLOEXEC)  # before Linux 6.3


def default_signal(number: int, flags: int = 0) -> None:
    """Give signal *number* its default action, with *flags* of sigaction(2).

    The C library hides its own signals (32, 33) from sigaction(2), and posix_spawn(3) leaves them ignored.
    """
    action = ctypes.create_string_buffer(bytes(8) + flags.to_bytes(8, sys.byteorder), 32 + _PADDING)
    _call("rt_sigaction", _long(number), ctypes.byref(action), None, _long(8))


def statfs_type(fd: int) -> int:
    """Return the magic number of the file system of *fd*, see fstatfs(2)."""
    buffer = ctypes.create_string_buffer(120 + _PADDING)
    _check(_libc.fstatfs(ctypes.c_int(fd), ctypes.byref(buffer)))
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF


# Bind the functions once, before any namespace is entered: a first use looks symbols up in libraries.
for _function in (
    "mount",
    "umount2",
    "unshare",
    "setns",
    "prctl",
    "sethostname",
    "setdomainname",
    "execve",
    "fchownat",
    "fstatfs",
    "personality",
):
    getattr(_libc, _function).restype = ctypes.c_int
