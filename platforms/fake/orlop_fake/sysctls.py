"""Kernel parameters: which there are, whose they are, and what they accept (proc(5), sysctl(8))."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop_fake.refusals import refusal

if TYPE_CHECKING:
    from orlop_fake.namespaces import NamespaceSet

_IPC = {
    "kernel.msgmax": "8192",
    "kernel.msgmnb": "16384",
    "kernel.msgmni": "32000",
    "kernel.sem": "32000\t1024000000\t500\t32000",
    "kernel.shmall": "18446744073692774399",
    "kernel.shmmax": "18446744073692774399",
    "kernel.shmmni": "4096",
    "kernel.shm_rmid_forced": "0",
    "fs.mqueue.msg_default": "10",
    "fs.mqueue.msg_max": "10",
    "fs.mqueue.msgsize_default": "8192",
    "fs.mqueue.msgsize_max": "8192",
    "fs.mqueue.queues_max": "256",
}
_NETWORK = {
    "net.core.somaxconn": "4096",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_default_ttl": "64",
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.ip_unprivileged_port_start": "1024",
    "net.ipv4.ping_group_range": "1\t0",
    "net.ipv4.tcp_fin_timeout": "60",
    "net.ipv4.tcp_keepalive_time": "7200",
    "net.ipv4.tcp_rmem": "4096\t131072\t6291456",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.tcp_wmem": "4096\t16384\t4194304",
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.all.forwarding": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv4.conf.all.forwarding": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
_HOST = {
    "fs.file-max": "9223372036854775807",
    "fs.inotify.max_user_watches": "65536",
    "kernel.core_pattern": "core",
    "kernel.osrelease": "6.12.0-fake",
    "kernel.panic": "0",
    "kernel.pid_max": "4194304",
    "kernel.printk": "4\t4\t1\t7",
    "vm.overcommit_memory": "0",
    "vm.swappiness": "60",
}
_UTS = ("kernel.hostname", "kernel.domainname")
_TEXT = frozenset({"kernel.core_pattern", "kernel.osrelease"})
_READ_ONLY = frozenset({"kernel.osrelease"})

KEYS = tuple(sorted((*_IPC, *_NETWORK, *_HOST, *_UTS)))
"""Every known key, in dotted form."""


def dotted(key: str) -> str:
    """Return *key* in dotted form; the first separator decides in which form it is (sysctl(8))."""
    first = next((letter for letter in key if letter in "./"), ".")
    return key if first == "." else key.replace(".", "\0").replace("/", ".").replace("\0", "/")


def _table(key: str, namespaces: NamespaceSet, host: dict[str, str]) -> tuple[dict[str, str], str]:
    if key in _IPC:
        return namespaces.ipc.sysctls, _IPC[key]
    if key in _NETWORK:
        return namespaces.network.sysctls, _NETWORK[key]
    if key in _HOST:
        return host, _HOST[key]
    raise refusal(errno.ENOENT, f"/proc/sys/{key.replace('.', '/')}")


def read(key: str, namespaces: NamespaceSet, host: dict[str, str]) -> str:
    """Return the value of *key* as a process in *namespaces* sees it; *host* holds what is not namespaced."""
    if key in _UTS:
        name: str = getattr(namespaces.uts, key.partition(".")[2])
        return name
    values, default = _table(key, namespaces, host)
    return values.get(key, default)


def write(key: str, value: str, namespaces: NamespaceSet, host: dict[str, str]) -> None:
    """Set *key*; unknown keys are ENOENT, values of a wrong form EINVAL."""
    if key in _UTS:
        namespaces.uts.set(key.partition(".")[2], value.strip())
        return
    values, default = _table(key, namespaces, host)
    path = f"/proc/sys/{key.replace('.', '/')}"
    if key in _READ_ONLY:
        raise refusal(errno.EACCES, path)
    words = value.split()
    if key in _TEXT:
        values[key] = value
        return
    if (
        not words
        or len(words) > len(default.split())
        or not all(word.lstrip("-").isdigit() for word in words)
    ):
        raise refusal(errno.EINVAL, path)
    values[key] = "\t".join(words)
