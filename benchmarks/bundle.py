"""The bundle that all contestants run: static busybox and a config made from ``orlop spec``."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")


def make_rootfs(rootfs: Path) -> None:
    """Fill *rootfs* with static busybox and links to the few applets that the benchmarks call."""
    (rootfs / "bin").mkdir(parents=True)
    for name in ("proc", "sys", "dev", "tmp", "etc"):
        (rootfs / name).mkdir()
    shutil.copy2(BUSYBOX, rootfs / "bin/busybox")
    for applet in ("sh", "sleep", "true", "cat"):
        (rootfs / "bin" / applet).symlink_to("busybox")


def make_config(
    base: dict[str, Any], *, seccomp: dict[str, Any] | None = None, args: list[str]
) -> dict[str, Any]:
    """Return *base* (what ``orlop spec`` writes) made ready for a run without a terminal."""
    config: dict[str, Any] = json.loads(json.dumps(base))
    config["process"]["terminal"] = False
    config["process"]["args"] = args
    # Debian's runc and crun are older than the newest version of the spec; both accept this one.
    config["ociVersion"] = "1.0.2"
    if seccomp is not None:
        config["linux"]["seccomp"] = seccomp
    return config


def allow_list() -> dict[str, Any]:
    """Return a seccomp section of the size of engines' defaults: allowed names and three conditions."""
    names = SYSCALLS.split()
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            *(
                {
                    "names": ["personality"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}],
                }
                for value in (0, 8, 0xFFFFFFFF)
            ),
        ],
    }


def write_bundle(bundle: Path, config: dict[str, Any]) -> Path:
    """Write *config* and a root file system to *bundle* and return it."""
    bundle.mkdir(parents=True)
    make_rootfs(bundle / "rootfs")
    (bundle / "config.json").write_text(json.dumps(config, indent=2))
    os.chmod(bundle, 0o700)
    return bundle


SYSCALLS = """
accept accept4 access alarm bind brk capget capset chdir chmod chown clock_getres clock_gettime
clock_nanosleep clone clone3 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group
faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchown fchownat fcntl
fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex
futimesat getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid
getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit get_robust_list getrusage getsid
getsockname getsockopt get_thread_area gettid gettimeofday getuid getxattr inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents ioprio_get ioprio_set io_setup
io_submit kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat
listen listxattr llistxattr lremovexattr lseek lsetxattr lstat madvise membarrier memfd_create mincore mkdir
mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at
nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 poll ppoll prctl
pread64 preadv preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
recvfrom recvmmsg recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile
sendmmsg sendmsg sendto setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid
setresuid setreuid setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid
setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socket socketpair splice stat
statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill
truncate ugetrlimit umask uname unlink unlinkat utime utimensat utimes vfork wait4 waitid write writev
arch_prctl mount umount2 setns unshare
"""
