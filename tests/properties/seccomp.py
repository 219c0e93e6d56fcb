"""Cases of ``linux.seccomp`` (config-linux.md, Seccomp); what is blocked has an errno of its own."""

from __future__ import annotations

import re

from tests.properties.case import Config, case

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
case(
    "linux.seccomp.flags[]",
    config=_filter(flags=list(vocabulary.SECCOMP_FLAGS)),
    probe="busybox sed -n 's/^Speculation_Store_Bypass:[[:space:]]*//p' /proc/self/status",
    shows=re.compile("not vulnerable|thread vulnerable|vulnerable|globally mitigated"),
    alone=True,
)
