"""The machine under the fake kernel: what it has, its file tree, its first processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop_fake.vfs import Device, Directory, File, grow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orlop_fake.cgroups import Cgroup
    from orlop_fake.processes import Process
    from orlop_fake.vfs import Seed

DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "console": (5, 1),
    "ptmx": (5, 2),
    "fuse": (10, 229),
    "kmsg": (1, 11),
}
"""Character devices under the host's /dev; the numbers are those of Documentation/admin-guide/devices.txt."""


class Host:
    """What hardware and kernel configuration there are; cgroups and resctrl verify values against it."""

    __slots__ = (
        "apparmor",
        "block_devices",
        "cpus",
        "frozen",
        "huge_pages",
        "interfaces",
        "kill_all",
        "linux",
        "nodes",
        "rdma_devices",
        "seccomp",
        "selinux",
        "shrunk",
        "thawed",
        "util_clamp",
    )

    def __init__(  # noqa: PLR0913 - the parts of a machine; all are keywords
        self,
        *,
        cpus: int = 4,
        nodes: int = 1,
        huge_pages: Iterable[str] = ("2MB", "1GB"),
        block_devices: Iterable[str] = ("8:0",),
        rdma_devices: Iterable[str] = ("mlx5_0",),
        interfaces: Iterable[str] = ("lo", "eth0"),
        util_clamp: bool = True,
        apparmor: Iterable[str] | None = None,
        selinux: bool = False,
        seccomp: bool = True,
        linux: tuple[int, int] = (6, 12),
    ) -> None:
        """Make a machine."""
        self.cpus = cpus
        self.nodes = nodes
        self.huge_pages = tuple(huge_pages)
        self.block_devices = frozenset(block_devices)
        self.rdma_devices = frozenset(rdma_devices)
        self.interfaces = frozenset(interfaces)
        self.apparmor = None if apparmor is None else frozenset(apparmor)
        """Names of the AppArmor profiles that are loaded; ``None``: there is no AppArmor."""
        self.selinux = selinux
        """There is SELinux, with a policy that has every label."""
        self.seccomp = seccomp
        """The kernel can filter system calls (CONFIG_SECCOMP_FILTER)."""
        self.linux = linux
        """Version of the kernel: what came later is refused as that version does."""
        self.util_clamp = util_clamp
        """The kernel can clamp the utilization of a process (CONFIG_UCLAMP_TASK)."""
        self.frozen = 0
        """How many cgroups are frozen."""
        self.kill_all: Callable[[Iterable[Process]], None] = lambda _: None
        self.thawed: Callable[[], None] = lambda: None
        self.shrunk: Callable[[Cgroup], None] = lambda _: None
        """Called with a group that has a new limit of memory."""

    def boot(self) -> Host:
        """Return a machine of the same parts for one kernel: what runs on it is that kernel's alone."""
        return Host(
            cpus=self.cpus,
            nodes=self.nodes,
            huge_pages=self.huge_pages,
            block_devices=self.block_devices,
            rdma_devices=self.rdma_devices,
            interfaces=self.interfaces,
            util_clamp=self.util_clamp,
            apparmor=self.apparmor,
            selinux=self.selinux,
            seccomp=self.seccomp,
            linux=self.linux,
        )


def host_tree(seed: Seed | None) -> Directory:
    """Return the host's root: the usual directories, a few programs, and *seed* over them."""
    tree = grow(
        {
            "bin": {"sh": File(mode=0o755), "true": File(mode=0o755), "false": File(mode=0o755)},
            "dev": {name: Device("c", *numbers) for name, numbers in DEVICES.items()}
            | {"sda": Device("b", 8, 0, 0o660), "shm": {}, "pts": {}, "mqueue": {}},
            "etc": {
                "hostname": "fake\n",
                "resolv.conf": "nameserver 192.0.2.1\n",
                "hosts": "127.0.0.1 localhost\n",
            },
            "proc": {},
            "run": {"netns": {}},
            "sys": {},
            "tmp": Directory(0o1777),
            "usr": {"bin": {"env": File(mode=0o755)}},
            "var": {"lib": {}},
        }
    )
    return grow(seed, tree) if seed else tree


def minimal_rootfs() -> dict[str, object]:
    """Return the seed of a small image: usual directories and the programs of :mod:`orlop_fake.builtins`."""
    from orlop_fake.builtins import BUILTINS

    return {
        "bin": {name: File(mode=0o755) for name in BUILTINS},
        "dev": {},
        "etc": {"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n", "hostname": "image\n"},
        "home": {},
        "proc": {},
        "root": Directory(0o700),
        "run": {},
        "sys": {},
        "tmp": Directory(0o1777),
        "usr": {"bin": {}, "lib": {}},
        "var": {"tmp": Directory(0o1777)},
    }
