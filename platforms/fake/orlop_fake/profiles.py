"""Hosts to test against, as data: what is different about each machine that software is run on.

    kernel = machine_of("rootless")

Each profile is the keywords of :class:`~orlop_fake.FakeKernel`, those of its :class:`~orlop_fake.Host`, and
those of its :class:`~orlop_fake.Resctrl` when there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orlop_fake.host import Host
from orlop_fake.kernel import FakeKernel
from orlop_fake.resctrl import Resctrl

if TYPE_CHECKING:
    from collections.abc import Mapping


class Profile(NamedTuple):
    """One kind of machine."""

    text: str
    """What it stands for."""
    kernel: Mapping[str, Any] = {}
    host: Mapping[str, Any] = {}
    resctrl: Mapping[str, Any] | None = None


PROFILES: Mapping[str, Profile] = {
    "v2": Profile("a current distribution: unified cgroups, systemd"),
    "v1": Profile("an older distribution: one hierarchy for each controller", {"cgroups": "v1"}),
    "hybrid": Profile("old hierarchies, and a unified one without controllers", {"cgroups": "hybrid"}),
    "no-cgroups": Profile("a minimal system that mounts no cgroups", {"cgroups": "none", "systemd": False}),
    "no-systemd": Profile("a distribution with another init", {"systemd": False}),
    "no-seccomp": Profile("a kernel that was built without filters of system calls", host={"seccomp": False}),
    "rootless": Profile("a caller without privileges", {"uid": 1000, "systemd": False}),
    "rdt": Profile("a processor with Intel RDT and four classes of service", resctrl={"closids": 4}),
    "old-kernel": Profile(
        "Linux 5.14 with cgroups of version 1: no id-mapped tmpfs or btrfs, no weighted memory policies",
        {"cgroups": "v1"},
        {"linux": (5, 14), "util_clamp": False},
    ),
    "too-old-kernel": Profile(
        "Linux 5.4: no mount_setattr(2), close_range(2), openat2(2), so no container at all",
        {"cgroups": "hybrid"},
        {"linux": (5, 4), "util_clamp": False},
    ),
    "ancient-kernel": Profile(
        "Linux 4.18: no clone3(2), fsopen(2), pidfds and seccomp agents either",
        {"cgroups": "v1", "systemd": False},
        {"linux": (4, 18), "util_clamp": False},
    ),
    "apparmor": Profile(
        "Debian, Ubuntu: AppArmor with a profile for containers", host={"apparmor": ("box",)}
    ),
    "selinux": Profile("Fedora: SELinux", host={"selinux": True}),
    "small": Profile(
        "one CPU, no RDMA, no huge pages", host={"cpus": 1, "rdma_devices": (), "huge_pages": ()}
    ),
}
"""Every profile by its name."""


def machine_of(profile: str, **changes: Any) -> FakeKernel:  # noqa: ANN401 - keywords of FakeKernel
    """Return a fresh machine of *profile*; *changes* replace keywords of the kernel.

    Raises:
        ValueError: There is no such profile.
    """
    found = PROFILES.get(profile)
    if found is None:
        raise ValueError(f"expected one of {', '.join(PROFILES)}, not {profile!r}")
    made: dict[str, Any] = {"host": Host(**found.host)}
    if found.resctrl is not None:
        made["resctrl"] = Resctrl(**found.resctrl)
    return FakeKernel(**(made | dict(found.kernel) | changes))
