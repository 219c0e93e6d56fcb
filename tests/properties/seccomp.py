"""Cases of ``linux.seccomp`` (config-linux.md, Seccomp); what is blocked has an errno of its own."""

from __future__ import annotations

import ctypes
import os
import re

from tests.properties.case import Config, Seen, case

from orlop_hookspecs.documents import vocabulary

SHELL = [
    "access",
    "arch_prctl",
    "brk",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "dup",
    "dup2",
    "dup3",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fcntl",
    "fork",
    "fstat",
    "futex",
    "getcwd",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getpgrp",
    "getppid",
    "getrandom",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "set_robust_list",
    "set_tid_address",
    "stat",
    "statx",
    "umask",
    "uname",
    "vfork",
    "wait4",
    "write",
    "writev",
]
"""The calls of a shell that starts small programs."""


def _filter(**change: object) -> Config:
    # With noNewPrivileges the filter is loaded last and need not allow what sets the process up.
    return {
        "process": {"noNewPrivileges": True},
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"} | change},
    }


case(
    "linux.seccomp.syscalls[].names[]",
    "linux.seccomp.syscalls[].action",
    "linux.seccomp.syscalls[].errnoRet",
    "linux.seccomp.architectures[]",
    config=_filter(
        architectures=list(vocabulary.SECCOMP_ARCHITECTURES),
        syscalls=[
            {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}
        ],
    ),
    probe="busybox mkdir /tmp/made 2>&1; busybox touch /tmp/file && echo made",
    shows="mkdir: can't create directory '/tmp/made': Read-only file system\nmade",
    alone=True,
)
case(
    "linux.seccomp.defaultAction",
    "linux.seccomp.defaultErrnoRet",
    config=_filter(
        defaultAction="SCMP_ACT_ERRNO",
        defaultErrnoRet=28,
        syscalls=[{"names": SHELL, "action": "SCMP_ACT_ALLOW"}],
    ),
    probe="busybox mkdir /tmp/made 2>&1",
    shows="mkdir: can't create directory '/tmp/made': No space left on device",
    alone=True,
)
MODE = {"index": 1, "value": 0o7000, "valueTwo": 0o4000, "op": "SCMP_CMP_MASKED_EQ"}
case(
    *(f"linux.seccomp.syscalls[].args[].{name}" for name in MODE),
    config=_filter(
        syscalls=[
            {"names": ["chmod", "fchmod"], "action": "SCMP_ACT_ERRNO", "args": [MODE]},
            {"names": ["fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "args": [MODE | {"index": 2}]},
        ]
    ),
    probe="busybox touch /tmp/mode; busybox chmod 4755 /tmp/mode 2>/dev/null; echo $?; "
    "busybox chmod 755 /tmp/mode; echo $?",
    shows="1\n0",
    alone=True,
)
_SEIZE, _INTERRUPT, _DETACH, _GET_METADATA = 0x4206, 0x4207, 17, 0x420D
_LOG = 1 << 1


class _Metadata(ctypes.Structure):
    """struct seccomp_metadata: which filter, and with which flags it was loaded (ptrace(2))."""

    _fields_ = (("filter_off", ctypes.c_uint64), ("flags", ctypes.c_uint64))


def _is_logged(seen: Seen) -> None:
    """Of the flags that a filter was loaded with, the kernel tells this one alone."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    ptrace.restype = ctypes.c_long
    assert ptrace(_SEIZE, seen.pid, None, None) == 0, os.strerror(ctypes.get_errno())
    try:
        assert ptrace(_INTERRUPT, seen.pid, None, None) == 0
        os.waitpid(seen.pid, getattr(os, "__WALL", 0x40000000))
        told = _Metadata()
        size = ptrace(_GET_METADATA, seen.pid, ctypes.sizeof(told), ctypes.byref(told))
        assert size == ctypes.sizeof(told), os.strerror(ctypes.get_errno())
        assert told.flags == _LOG
    finally:
        ptrace(_DETACH, seen.pid, None, None)


case(
    "linux.seccomp.flags[]",
    config=_filter(flags=list(vocabulary.SECCOMP_FLAGS)),
    probe="busybox sed -n 's/^Speculation_Store_Bypass:[[:space:]]*//p' /proc/self/status",
    shows=re.compile("not vulnerable|thread vulnerable|vulnerable|globally mitigated"),
    host=_is_logged,
    alone=True,
)
